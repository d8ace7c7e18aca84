//! A row's score must not depend on the rows beside it: a model is tried with varied rows, each alone, all
//! together and shuffled into batches of many sizes.

use anyhow::{Context, bail};

use super::layout::particular;
use super::load::Loaded;
use super::manifest::Manifest;
use super::session::{CHUNK, Session};

/// The largest difference between the scores of a row: absolute up to 1, relative above.
const TOLERANCE: f64 = 1e-6;

/// The number of rows that a model is tried with: more than the vectors of any operator hold.
const ROWS: usize = 67;

/// The most golden rows among them.
const GOLDEN: usize = 32;

/// Batches that the shuffled rows are cut into, again and again.
const BATCHES: [usize; 6] = [2, 3, 5, 9, 16, 32];

/// Numbers as they occur in payments, for columns that golden rows do not vary.
const NUMBERS: [f64; 10] = [0.0, 1.0, 2.0, 0.25, 3.0, 7.5, 23.0, 120.5, 900.0, -1.0];

/// Different numbers of a column from which on golden rows are varied enough.
const VARIED: usize = 4;

/// Rows to try a model with, one after the other: golden ones, zeros, and rows made up of the golden rows'
/// numbers, defaults (missing values among them) and [`NUMBERS`], as far as a column takes them. The same ones for the
/// same manifest.
fn varied(manifest: &Manifest, takes: impl Fn(usize, f64) -> bool) -> Vec<f64> {
    let golden = || manifest.golden.iter().take(GOLDEN).map(|row| &row.input);
    let pools: Vec<Vec<f64>> = manifest
        .inputs
        .iter()
        .enumerate()
        .map(|(column, input)| {
            let mut pool: Vec<f64> = golden().map(|row| row[column]).collect();
            pool.extend(input.default);
            pool.sort_by(f64::total_cmp);
            pool.dedup();
            if pool.len() < VARIED {
                pool.extend(NUMBERS);
            }
            pool.retain(|number| takes(column, *number));
            pool
        })
        .collect();
    let mut rows: Vec<f64> = golden().flatten().copied().collect();
    rows.extend(pools.iter().map(|_| 0.0));
    let mut dice = Dice(1);
    while rows.len() < ROWS * pools.len() {
        rows.extend(pools.iter().map(|pool| pool[dice.below(pool.len())]));
    }
    rows
}

impl Loaded {
    /// Made-up rows that the model takes, one after the other.
    pub fn varied_rows(&self) -> Vec<f64> {
        let particular = particular(&self.slots);
        varied(&self.manifest, |column, number| {
            let mut kinds = particular.iter().filter(|(other, _)| *other == column);
            kinds.all(|(_, kind)| kind.holds(number))
        })
    }
}

/// Scores varied rows alone, together and shuffled. Rows that the model fails on alone are left out.
///
/// # Errors
///
/// The model fails on every row, on rows together that it scores alone, or a row's score depends on the
/// rows beside it; with the reason, where it is known.
pub(super) fn check(model: &Loaded) -> anyhow::Result<()> {
    let width = model.manifest.inputs.len();
    let mut session = Session::new(model)?;
    let (mut rows, mut alone) = (Vec::new(), Vec::new());
    let mut failure = None;
    for row in model.varied_rows().chunks_exact(width) {
        match session.run(row, &mut alone) {
            Ok(()) => rows.push(row.to_vec()),
            Err(error) => failure = Some(failure.unwrap_or(error)),
        }
    }
    if let (true, Some(error)) = (rows.is_empty(), failure) {
        return Err(error);
    }
    let mut compare = |order: &[usize], batch: usize| -> anyhow::Result<()> {
        let inputs: Vec<f64> = order.iter().flat_map(|at| rows[*at].clone()).collect();
        let mut scores = Vec::new();
        session
            .run(&inputs, &mut scores)
            .with_context(|| format!("it scores rows alone, but not {batch} together"))?;
        for (at, score) in order.iter().zip(scores) {
            if !same(alone[*at], score) {
                bail!(
                    "a row's score depends on the rows beside it: {:?} scores {} alone, {score} among {batch} rows",
                    rows[*at],
                    alone[*at]
                );
            }
        }
        Ok(())
    };
    let mut order: Vec<usize> = (0..rows.len()).collect();
    let mut tried = compare(&order, order.len());
    if tried.is_ok() && !model.single {
        // What depends on the number of rows may begin at any number that the graph is ever run with.
        let most: Vec<usize> = order.iter().copied().cycle().take(CHUNK).collect();
        tried = compare(&most, most.len());
    }
    let mut dice = Dice(2);
    for at in (1..order.len()).rev() {
        order.swap(at, dice.below(at + 1));
    }
    let mut rest = order.as_slice();
    for batch in BATCHES.into_iter().cycle() {
        let (next, behind) = rest.split_at(batch.min(rest.len()));
        if next.is_empty() || tried.is_err() {
            break;
        }
        tried = compare(next, next.len());
        rest = behind;
    }
    match model.mixing.as_slice() {
        [] => tried,
        reasons => tried.with_context(|| reasons.join("; ")),
    }
}

/// Refuses a model that gives no varied row a finite score: with it every payment would be a dead letter.
///
/// # Errors
///
/// No score is finite.
pub(super) fn check_finite(model: &Loaded) -> anyhow::Result<()> {
    let width = model.manifest.inputs.len();
    let mut session = Session::new(model)?;
    let mut scores = Vec::new();
    for row in model.varied_rows().chunks_exact(width) {
        let finite = session.run(row, &mut scores).is_ok()
            && scores.last().is_some_and(|score| score.is_finite());
        if finite {
            return Ok(());
        }
    }
    bail!("it gives none of {ROWS} made-up rows a finite score: look for NaN among its weights")
}

/// True if two scores of a row are as good as equal.
fn same(alone: f64, beside: f64) -> bool {
    alone == beside
        || (alone.is_nan() && beside.is_nan())
        || (alone - beside).abs() <= TOLERANCE * alone.abs().max(1.0)
}

/// A pseudo-random sequence, the same in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use tract_onnx::pb::tensor_proto::DataType;
    use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension};
    use tract_onnx::pb::{
        AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorShapeProto,
        TypeProto, ValueInfoProto, attribute_proto, type_proto,
    };

    use super::*;
    use crate::model::load::compile_file;
    use crate::model::{Golden, fixture};

    fn node(op: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        NodeProto {
            op_type: op.to_owned(),
            name: outputs[0].to_owned(),
            input: names(inputs),
            output: names(outputs),
            ..NodeProto::default()
        }
    }

    fn attribute(name: &str) -> AttributeProto {
        AttributeProto {
            name: name.to_owned(),
            ..AttributeProto::default()
        }
    }

    /// A graph from `x`, four columns, to `y`; `rows` where their number is fixed.
    fn load(nodes: &[NodeProto], rows: Option<i64>) -> anyhow::Result<Loaded> {
        let dim = [rows, Some(4)].map(|size| Dimension {
            value: size.map(dimension::Value::DimValue),
            ..Dimension::default()
        });
        let float = |name: &str, shape| ValueInfoProto {
            name: name.to_owned(),
            r#type: Some(TypeProto {
                value: Some(type_proto::Value::TensorType(type_proto::Tensor {
                    elem_type: DataType::Float.into(),
                    shape,
                })),
                ..TypeProto::default()
            }),
            ..ValueInfoProto::default()
        };
        let graph = GraphProto {
            node: nodes.to_vec(),
            input: vec![float("x", Some(TensorShapeProto { dim: dim.to_vec() }))],
            output: vec![float("y", None)],
            ..GraphProto::default()
        };
        let file = ModelProto {
            ir_version: 8,
            graph: Some(graph),
            opset_import: vec![OperatorSetIdProto {
                version: 13,
                ..OperatorSetIdProto::default()
            }],
            ..ModelProto::default()
        };
        let bytes = file.encode_to_vec();
        compile_file(&bytes, Manifest::default())
    }

    fn refusal(nodes: &[NodeProto], rows: Option<i64>) -> String {
        let outcome = load(nodes, rows);
        outcome.err().map(|error| format!("{error:#}")).unwrap()
    }

    /// `x` less its mean along an axis.
    fn centred(axis: i64) -> [NodeProto; 2] {
        let mut mean = node("ReduceMean", &["x"], &["mean"]);
        mean.attribute = vec![AttributeProto {
            r#type: attribute_proto::AttributeType::Ints.into(),
            ints: vec![axis],
            ..attribute("axes")
        }];
        [mean, node("Sub", &["x", "mean"], &["y"])]
    }

    /// `x` in 256 steps between the batch's extremes.
    fn quantized() -> [NodeProto; 3] {
        let mut cast = node("Cast", &["q"], &["steps"]);
        cast.attribute = vec![AttributeProto {
            r#type: attribute_proto::AttributeType::Int.into(),
            i: DataType::Float as i64,
            ..attribute("to")
        }];
        let outputs = ["q", "scale", "zero"];
        let quantize = node("DynamicQuantizeLinear", &["x"], &outputs);
        [quantize, cast, node("Mul", &["steps", "scale"], &["y"])]
    }

    fn whole(name: &str, value: i64) -> NodeProto {
        let mut constant = node("Constant", &[], &[name]);
        constant.attribute = vec![AttributeProto {
            r#type: attribute_proto::AttributeType::Int.into(),
            i: value,
            ..attribute("value_int")
        }];
        constant
    }

    /// `many`: is the size of this axis of `x` over a limit?
    fn over(axis: i64, limit: i64) -> Vec<NodeProto> {
        vec![
            whole("axis", axis),
            whole("limit", limit),
            node("Shape", &["x"], &["shape"]),
            node("Gather", &["shape", "axis"], &["size"]),
            node("Greater", &["size", "limit"], &["many"]),
        ]
    }

    /// Less `x` where it is, else `x`: by a branch.
    fn branching(axis: i64, limit: i64) -> Vec<NodeProto> {
        let branch = |name: &str, op| AttributeProto {
            r#type: attribute_proto::AttributeType::Graph.into(),
            g: Some(GraphProto {
                name: name.to_owned(),
                node: vec![node(op, &["x"], &[name])],
                output: vec![ValueInfoProto {
                    name: name.to_owned(),
                    ..ValueInfoProto::default()
                }],
                ..GraphProto::default()
            }),
            ..attribute(name)
        };
        let mut branches = node("If", &["many"], &["y"]);
        branches.attribute = vec![
            branch("then_branch", "Neg"),
            branch("else_branch", "Identity"),
        ];
        [over(axis, limit), vec![branches]].concat()
    }

    #[test]
    fn what_depends_on_the_number_of_rows_is_refused() {
        for limit in [5, 100, 10_000] {
            let error = refusal(&branching(0, limit), None);
            assert!(
                error.contains("it branches (If) on the number of rows"),
                "{error}"
            );
        }
        let columns = load(&branching(1, 2), None);
        assert!(columns.is_ok(), "{:#}", columns.err().unwrap());
        assert!(load(&branching(0, 5), Some(1)).unwrap().single);
        let less = [
            node("Neg", &["x"], &["less"]),
            node("Where", &["many", "less", "x"], &["y"]),
        ];
        for limit in [5, 100, 255] {
            let error = refusal(&[&over(0, limit)[..], &less].concat(), None);
            assert!(error.contains("depends on the rows beside it"), "{error}");
        }
    }

    #[test]
    fn the_first_dimension_must_be_the_batch() {
        let error = fixture("outputs_first").err().unwrap();
        let error = format!("{error:#}");
        assert!(error.contains("[2, 1, 2] for 1 rows"), "{error}");
    }

    #[test]
    fn what_mixes_rows_is_refused_by_name() {
        assert!(load(&centred(1), None).is_ok());
        let error = refusal(&centred(0), None);
        assert!(
            error.contains("ReduceMean \"mean\" goes over the batch"),
            "{error}"
        );
        assert!(error.contains("depends on the rows beside it"), "{error}");
        let error = refusal(&quantized(), None);
        assert!(
            error.contains("dynamic quantization takes its scale"),
            "{error}"
        );
        let error = refusal(&centred(0), Some(8));
        assert!(error.contains("exported for 8 rows at once"), "{error}");
    }

    #[test]
    fn a_model_exported_for_one_row_is_run_with_one() {
        let model = load(&centred(0), Some(1)).unwrap();
        assert!(model.single);
        assert!(!load(&centred(1), Some(1)).unwrap().single);
    }

    #[test]
    fn made_up_rows_are_varied_golden_ones_among_them() {
        let mut manifest = Manifest::default();
        manifest.inputs[3].default = Some(f64::NAN);
        let input = vec![1e6, 5.0, 6.0, 7.0];
        let score = 0.5;
        manifest.golden = vec![Golden { input, score }];
        let rows = varied(&manifest, |_, _| true);
        assert_eq!(rows.len(), ROWS * 4);
        assert_eq!(rows[..8], [1e6, 5.0, 6.0, 7.0, 0.0, 0.0, 0.0, 0.0]);
        for column in 0..4 {
            let numbers = || rows.chunks(4).map(|row| row[column]);
            let mut different: Vec<u64> = numbers().map(f64::to_bits).collect();
            different.sort_unstable();
            different.dedup();
            assert!(different.len() > 8, "column {column}: {different:?}");
            assert_eq!(numbers().any(f64::is_nan), column == 3);
        }
    }
}
