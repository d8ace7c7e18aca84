//! Tests: operators against the answers of onnxruntime and of ONNX itself. `fixtures/suites` makes both suites.

use std::fs;
use std::io::Read;
use std::path::Path;

use flate2::read::GzDecoder;
use prost::Message;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{GraphProto, ModelProto, TensorProto};
use tract_onnx::prelude::*;

use super::load::compile_file;
use super::{Input, Manifest, Operators, Output, Session, Source, graph, operators};

/// Absolute on numbers up to 1, relative above.
const TOLERANCE: f64 = 1e-5;

/// A model, and tensors by name: some it is fed with, the others it has to answer.
struct Case {
    name: String,
    model: Vec<u8>,
    tensors: Vec<TensorProto>,
}

/// The outcome of a case.
enum Outcome {
    Agrees,
    /// Refused, with these words.
    Refused(String),
    Differs(String),
}

fn cases(file: &str) -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/suites");
    let packed = fs::File::open(folder.join(file)).unwrap();
    let mut bytes = Vec::new();
    GzDecoder::new(packed).read_to_end(&mut bytes).unwrap();
    let mut rest = bytes.as_slice();
    let mut part = || {
        let (length, behind) = rest.split_first_chunk::<4>()?;
        let (part, behind) = behind.split_at(u32::from_le_bytes(*length) as usize);
        rest = behind;
        Some(part.to_vec())
    };
    let mut found = Vec::new();
    while let Some(name) = part() {
        let (model, tensors) = (part().unwrap(), part().unwrap());
        found.push(Case {
            name: String::from_utf8(name).unwrap(),
            model,
            tensors: GraphProto::decode(&tensors[..]).unwrap().initializer,
        });
    }
    found
}

fn tensor(from: &TensorProto) -> Tensor {
    let kind = match DataType::try_from(from.data_type).unwrap() {
        DataType::Float => DatumType::F32,
        DataType::Double => DatumType::F64,
        DataType::Int64 => DatumType::I64,
        DataType::Int32 => DatumType::I32,
        DataType::Bool => DatumType::Bool,
        other => panic!("{other:?}"),
    };
    let shape: Vec<usize> = from.dims.iter().map(|size| *size as usize).collect();
    // Alignment is the tensor's own.
    unaligned(kind, &shape, &from.raw_data)
}

fn unaligned(kind: DatumType, shape: &[usize], raw: &[u8]) -> Tensor {
    fn of<T: Datum + Copy, const N: usize>(
        shape: &[usize],
        raw: &[u8],
        read: fn([u8; N]) -> T,
    ) -> Tensor {
        let numbers: Vec<T> = raw.as_chunks::<N>().0.iter().map(|x| read(*x)).collect();
        Tensor::from_shape(shape, &numbers).unwrap()
    }
    match kind {
        DatumType::F32 => of(shape, raw, f32::from_le_bytes),
        DatumType::F64 => of(shape, raw, f64::from_le_bytes),
        DatumType::I64 => of(shape, raw, i64::from_le_bytes),
        DatumType::I32 => of(shape, raw, i32::from_le_bytes),
        _ => of(shape, raw, |[x]: [u8; 1]| x != 0),
    }
}

fn numbers(tensor: &Tensor) -> Vec<f64> {
    let cast = tensor.cast_to::<f64>().unwrap();
    let plain = cast.try_as_plain_ram().unwrap();
    plain.as_slice::<f64>().unwrap().to_vec()
}

/// The first place where the answers differ.
fn difference(ours: &[f64], theirs: &[f64]) -> Option<String> {
    if ours.len() != theirs.len() {
        return Some(format!("{} numbers, not {}", ours.len(), theirs.len()));
    }
    let same = |(a, b): (&f64, &f64)| {
        let near = || (a - b).abs() <= TOLERANCE * b.abs().max(1.0);
        a == b || (a.is_nan() && b.is_nan()) || (b.is_finite() && near())
    };
    let at = ours.iter().zip(theirs).position(|pair| !same(pair))?;
    let count = ours.iter().zip(theirs).filter(|pair| !same(*pair)).count();
    Some(format!(
        "[{at}] {} instead of {} ({count} of {})",
        ours[at],
        theirs[at],
        ours.len()
    ))
}

/// Runs a graph of rows as the scorer does, all rows together and each alone, for each element of each answer.
fn score(case: &Case) -> Outcome {
    let (rows, answers) = case.tensors.split_first().unwrap();
    let (rows, columns) = (numbers(&tensor(rows)), rows.dims[1] as usize);
    for answer in answers {
        let theirs = numbers(&tensor(answer));
        let elements = theirs.len() / (rows.len() / columns);
        for element in 0..elements {
            let manifest = Manifest {
                output: Output {
                    name: Some(answer.name.clone()),
                    index: Some(element),
                    ..Output::default()
                },
                inputs: (0..columns).map(input).collect(),
                ..Manifest::default()
            };
            let model = match compile_file(&case.model, manifest) {
                Ok(model) => model,
                Err(error) => return refused(&case.name, &error),
            };
            let mut session = Session::new(&model).unwrap();
            let theirs: Vec<f64> = theirs
                .iter()
                .skip(element)
                .step_by(elements)
                .copied()
                .collect();
            let (mut together, mut alone) = (Vec::new(), Vec::new());
            session.score(&rows, &mut together);
            for row in rows.chunks(columns) {
                session.score(row, &mut alone);
            }
            for (how, ours) in [("together", together), ("alone", alone)] {
                if let Some(found) = difference(&ours, &theirs) {
                    let row = found[1..].split(']').next().unwrap().parse().unwrap_or(0);
                    let row = &rows[row * columns..][..columns];
                    return Outcome::Differs(format!(
                        "{how}: {}[{element}]{found} for {row:?}",
                        answer.name
                    ));
                }
            }
        }
    }
    Outcome::Agrees
}

/// A refusal, which names what works instead and shows nothing of tract's inner state.
fn refused(name: &str, error: &anyhow::Error) -> Outcome {
    let why = format!("{error:#}");
    let inside = [
        "Translating",
        "Failed analyse",
        "Building node",
        "Evaluating",
        "unify",
    ];
    assert!(
        !inside.iter().any(|words| why.contains(words)),
        "{name}: {why}"
    );
    let remedy = ["export", "encode", "train"]
        .iter()
        .any(|words| why.contains(words));
    assert!(remedy, "{name}: {why}");
    Outcome::Refused(why)
}

fn input(column: usize) -> Input {
    Input {
        name: format!("column_{column}"),
        from: Source::Event,
        default: None,
        max_stale_ms: None,
    }
}

/// Runs one of ONNX's node tests: tensors of any shape, and every answer.
fn node_test(case: &Case) -> Outcome {
    let model = ModelProto::decode(&case.model[..]).unwrap();
    let outputs = model.graph.clone().unwrap().output;
    for output in outputs.iter().map(|output| &output.name) {
        let ours = match answer(model.clone(), output, &case.tensors) {
            Ok(ours) => ours,
            Err(error) => return Outcome::Refused(format!("{error:#}")),
        };
        let theirs = case
            .tensors
            .iter()
            .find(|tensor| tensor.name == *output)
            .unwrap();
        let theirs = tensor(theirs);
        // tract counts dimensions in a type of its own.
        let kind = match ours.datum_type() {
            kind if kind == TDim::datum_type() => DatumType::I64,
            kind => kind,
        };
        if ours.shape() != theirs.shape() || kind != theirs.datum_type() {
            let (a, b) = (ours.shape(), theirs.shape());
            return Outcome::Differs(format!(
                "{output}: {:?} {a:?} instead of {:?} {b:?}",
                ours.datum_type(),
                theirs.datum_type()
            ));
        }
        if let Some(found) = difference(&numbers(&ours), &numbers(&theirs)) {
            return Outcome::Differs(format!("{output}{found}"));
        }
    }
    Outcome::Agrees
}

fn answer(mut model: ModelProto, output: &str, tensors: &[TensorProto]) -> anyhow::Result<Tensor> {
    let inputs = graph::prepare(&mut model, Some(output))?.inputs;
    let onnx = Operators::Ours.reader();
    let missing = operators::missing(&onnx, &model);
    anyhow::ensure!(missing.is_empty(), "{}", missing.join(", "));
    let parsed = onnx.parse(&model, None)?;
    let plan = parsed.model.into_optimized()?.into_runnable()?;
    let feed = inputs.iter().filter(|input| input.used);
    let feed = feed.map(|input| {
        tensors
            .iter()
            .find(|tensor| tensor.name == input.name)
            .unwrap()
    });
    let answers = plan.run(feed.map(|found| tensor(found).into_tvalue()).collect())?;
    Ok(answers[0].clone().into_tensor())
}

/// Runs all of them. How many agree and are refused, and which differ why, is pinned beside the suite.
fn run(suite: &str, work: fn(&Case) -> Outcome) {
    let (mut agree, mut refused, mut differ) = (0, 0, Vec::new());
    for case in cases(&format!("{suite}.bin.gz")) {
        match work(&case) {
            Outcome::Agrees => agree += 1,
            Outcome::Refused(why) => {
                println!("refused: {}: {why}", case.name);
                refused += 1;
            }
            Outcome::Differs(how) => {
                println!("differs: {}: {how}", case.name);
                differ.push(case.name);
            }
        }
    }
    let found = format!(
        "{agree} agree, {refused} refused, {} differ\n",
        differ.len()
    );
    let found = found + &differ.join("\n");
    println!("{found}");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/suites");
    let pinned = fs::read_to_string(folder.join(suite).with_extension("pinned")).unwrap();
    let names = pinned
        .lines()
        .map(|line| line.split(':').next().unwrap_or_default());
    assert_eq!(found.trim_end(), names.collect::<Vec<_>>().join("\n"));
}

#[test]
fn graphs_score_as_in_onnxruntime() {
    run("graphs", score);
}

#[test]
fn node_tests_of_onnx_are_passed() {
    run("node_tests", node_test);
}

#[test]
fn an_index_out_of_range_is_named() {
    let mut cases = cases("graphs.bin.gz").into_iter();
    let case = cases.find(|case| case.name == "look_up_gather").unwrap();
    let manifest = Manifest {
        output: Output {
            index: Some(0),
            ..Output::default()
        },
        inputs: (0..4).map(input).collect(),
        ..Manifest::default()
    };
    let model = compile_file(&case.model, manifest).unwrap();
    let (mut scores, mut rows) = (vec![0.5], [0.0; 12]);
    (rows[0], rows[4], rows[8]) = (4.0, 5.0, -6.0);
    let failures = Session::new(&model).unwrap().score(&rows, &mut scores);
    assert_eq!(scores[..2], [0.5, 3.0], "those of earlier rows stay");
    let told: Vec<(usize, bool)> = failures
        .iter()
        .map(|failure| {
            (
                failure.row,
                failure.why.contains("is out of range in the look-up"),
            )
        })
        .collect();
    assert_eq!(told, [(1, true), (2, true)], "{failures:?}");
    assert!(failures[0].why.contains("index 5 ") && failures[1].why.contains("index -6 "));
}

#[test]
fn the_shipped_model_has_no_score_for_an_infinite_amount() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/fraud.onnx");
    let model = super::load(&path).unwrap();
    let mut scores = Vec::new();
    let mut session = Session::new(&model).unwrap();
    session.score(&[1e39, 3.0, 1.0, 0.5, f64::NAN, 3.0, 1.0, 0.5], &mut scores);
    assert!(scores.iter().all(|score| !score.is_finite()), "{scores:?}");
}

#[test]
fn nodes_may_stand_in_any_order() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/fraud.onnx");
    let bytes = fs::read(&path).unwrap();
    let mut reversed = ModelProto::decode(&bytes[..]).unwrap();
    reversed.graph.as_mut().unwrap().node.reverse();
    let scores = [bytes, reversed.encode_to_vec()].map(|bytes| {
        let model = compile_file(&bytes, Manifest::default()).unwrap();
        let mut scores = Vec::new();
        Session::new(&model)
            .unwrap()
            .score(&[120.5, 3.0, 1.0, 0.9], &mut scores);
        scores
    });
    assert_eq!(scores[0], scores[1]);
}
