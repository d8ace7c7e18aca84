//! Loads a model: bundle read, graph prepared, compiled and checked, all within a budget of time.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use tract_onnx::Onnx;
use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::tract_core::ops::logic::IfThenElse;

use super::bundle::{Bundle, Contents};
use super::graph::{self, Prepared};
use super::graph_inputs::{self, GraphInput};
use super::layout::{self, Slot};
use super::manifest::Manifest;
use super::operators::{self, Operators};
use super::refusal::{INSIDE, explain};
use super::{golden, mixing, rows};

/// The longest that a model may take to load, its checks included.
const LONGEST: Duration = Duration::from_secs(10);

/// A model ready to run, shared by the workers.
pub struct Loaded {
    /// Its manifest.
    pub manifest: Manifest,
    /// The digest of its bundle: a SHA-256 in hexadecimal, see [`Contents::digest`].
    pub sha256: String,
    /// The bundle it was loaded from.
    pub contents: Contents,
    pub(super) plan: Arc<TypedRunnableModel>,
    pub(super) slots: Vec<Slot>,
    /// The name of the output that the score is taken from.
    pub(super) output: String,
    /// The lists of classes that the graph's nodes name.
    pub(super) classes: Vec<Vec<String>>,
    /// True if the graph is run with one row at a time.
    pub(super) single: bool,
    /// Parts of the graph that may make a row's score depend on the rows beside it.
    pub(super) mixing: Vec<String>,
}

impl Loaded {
    /// The first of a row's inputs that is no number for the model to take, in words: a fraction, a missing number
    /// or one out of range where the model takes whole numbers.
    pub fn unfit(&self, row: &[f64]) -> Option<String> {
        let (column, why) = layout::unfit(&layout::particular(&self.slots), row)?;
        Some(format!("{} {why}", self.manifest.inputs[column].name))
    }
}

/// Loads the model at `path` with all that belongs to it, and checks it against its golden vectors.
///
/// # Errors
///
/// Everything that keeps it from being run, named with the file and, in a manifest, field and line.
pub fn load(path: &Path) -> anyhow::Result<Loaded> {
    let file = path.to_owned();
    let work = move || {
        let bundle = Bundle::read(&file)?;
        let manifest = bundle.manifest()?;
        let loaded = compile(bundle, manifest, Operators::Ours)?;
        golden::check(&loaded)?;
        rows::check_finite(&loaded)?;
        Ok(loaded)
    };
    within(LONGEST, work).with_context(|| format!("model {}", path.display()))
}

/// Loads the model at `path` as `manifest` says, whatever lies beside it, and checks no golden vectors.
///
/// # Errors
///
/// Everything that keeps it from being run.
pub fn load_as(path: &Path, manifest: Manifest, operators: Operators) -> anyhow::Result<Loaded> {
    let read = Bundle::read(path);
    read.and_then(|bundle| compile(bundle, manifest, operators))
        .with_context(|| format!("model {}", path.display()))
}

/// Gives up on loading after `longest`. The thread that loads cannot be ended: it goes on until it is done.
fn within(
    longest: Duration,
    work: impl FnOnce() -> anyhow::Result<Loaded> + Send + 'static,
) -> anyhow::Result<Loaded> {
    let (done, outcome) = mpsc::sync_channel(1);
    thread::Builder::new()
        .name("load".to_owned())
        // Nobody waits for an outcome that comes too late.
        .spawn(move || drop(done.send(work())))?;
    outcome
        .recv_timeout(longest)
        .unwrap_or_else(|error| match error {
            RecvTimeoutError::Timeout => Err(anyhow!(
                "it takes over {longest:?} to load; make it smaller: fewer trees, layers or nodes"
            )),
            RecvTimeoutError::Disconnected => Err(anyhow!("loading it panicked")),
        })
}

/// Compiles a bundle.
fn compile(bundle: Bundle, manifest: Manifest, operators: Operators) -> anyhow::Result<Loaded> {
    // tract panics on some graphs that make no sense: they are files that cannot be used, no more.
    let trusting = || compile_trusting(bundle, manifest, operators);
    catch_unwind(AssertUnwindSafe(trusting)).unwrap_or_else(|_| {
        Err(anyhow!(
            "the graph makes no sense; {}",
            operators::advice("")
        ))
    })
}

/// Tests: compiles a model file without weights beside it.
#[cfg(test)]
pub(super) fn compile_file(bytes: &[u8], manifest: Manifest) -> anyhow::Result<Loaded> {
    compile(Bundle::of_file(bytes)?, manifest, Operators::Ours)
}

fn compile_trusting(
    bundle: Bundle,
    manifest: Manifest,
    operators: Operators,
) -> anyhow::Result<Loaded> {
    let (mut proto, contents) = bundle.into_parts();
    let Prepared {
        inputs,
        output,
        classes,
    } = graph::prepare(&mut proto, manifest.output.name.as_deref())?;
    let names: Vec<&str> = manifest
        .inputs
        .iter()
        .map(|input| input.name.as_str())
        .collect();
    let slots = layout::assign(&inputs, &names)?;
    let onnx = operators.reader();
    let missing = operators::missing(&onnx, &proto);
    if !missing.is_empty() {
        bail!(
            "operators that are not known here:\n  {}",
            missing.join("\n  ")
        );
    }
    let mixing = proto
        .graph
        .as_ref()
        .map(mixing::reasons)
        .unwrap_or_default();
    let ready = |rows: Option<i64>| {
        let model = Loaded {
            manifest: manifest.clone(),
            sha256: contents.digest(),
            contents: contents.clone(),
            plan: plan(&onnx, &mut proto.clone(), &slots, rows)?,
            slots: slots.clone(),
            output: output.clone(),
            classes: classes.clone(),
            single: rows.is_some(),
            mixing: mixing.clone(),
        };
        rows::check(&model)?;
        Ok(model)
    };
    let ready = |rows| {
        ready(rows).map_err(|error| match &proto.graph {
            Some(graph) => explain(error, graph),
            None => error,
        })
    };
    ready(None).or_else(|error: anyhow::Error| match fixed_batch(&inputs) {
        None => Err(error),
        // A graph exported for one row at a time, with that number fixed inside it.
        Some(1) => ready(Some(1)).map_err(|single| {
            anyhow!("for one row at a time: {single:#}; for any number of rows: {error:#}")
        }),
        Some(rows) => Err(error.context(format!(
            "it is exported for {rows} rows at once; export it with an open first dimension (dynamic_axes)"
        ))),
    })
}

/// The number of rows that the graph was exported for, if it is fixed.
fn fixed_batch(inputs: &[GraphInput]) -> Option<i64> {
    let mut rows = inputs.iter().map(|input| *input.dims.as_ref()?.first()?);
    rows.find_map(|rows| rows)
}

fn plan(
    onnx: &Onnx,
    proto: &mut ModelProto,
    slots: &[Slot],
    rows: Option<i64>,
) -> anyhow::Result<Arc<TypedRunnableModel>> {
    let graph = proto.graph.as_mut().context("the file holds no graph")?;
    for slot in slots {
        let width = (!slot.vector).then_some(slot.columns.len());
        graph_inputs::set_shape(graph, &slot.name, rows, width);
    }
    // Of operator sets after 18 tract warns that it is not tested with them. Our fixtures are of such
    // too, and golden vectors tell whether a model is read rightly.
    let quiet = tracing::subscriber::NoSubscriber::default();
    let parsed = tracing::subscriber::with_default(quiet, || onnx.parse(proto, None));
    let parsed = parsed.context(INSIDE)?;
    if let Some(name) = parsed.unresolved_inputs.first() {
        bail!("the graph uses {name:?}, which nothing in it computes");
    }
    let optimized = parsed.model.into_optimized().context(INSIDE)?;
    // Branches on what is known of every row, such as the number of columns, are decided by now.
    let branches = optimized
        .nodes
        .iter()
        .any(|node| node.op_is::<IfThenElse>());
    if branches && rows.is_none() {
        bail!(
            "it branches (If) on the number of rows or on their values, so that a row's score may depend on the rows \
             beside it; export it by tracing instead of scripting, or with Where for each row"
        );
    }
    optimized.into_runnable().context(INSIDE)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use prost::Message;

    use super::*;
    use crate::model::fixture;

    fn refusal(path: &Path) -> String {
        format!("{:#}", load(path).err().unwrap())
    }

    #[test]
    fn loading_is_given_up_after_its_budget_and_a_panic_is_an_error() {
        let slow = || {
            thread::sleep(Duration::from_secs(2));
            fixture("logistic")
        };
        let error = within(Duration::from_millis(20), slow).err().unwrap();
        assert!(error.to_string().contains("over 20ms to load"), "{error}");
        let error = within(LONGEST, || panic!("on purpose")).err().unwrap();
        assert!(error.to_string().contains("panicked"), "{error}");
        assert!(within(LONGEST, || fixture("logistic")).is_ok());
    }

    #[test]
    fn files_that_are_too_large_or_none_are_refused_before_they_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.onnx");
        fs::File::create(&path).unwrap().set_len(513 << 20).unwrap();
        let error = refusal(&path);
        assert!(error.contains("512 MB together"), "{error}");
        fs::remove_file(&path).unwrap();
        assert!(refusal(&path).contains("No such file"));
        fs::create_dir(&path).unwrap();
        assert!(refusal(&path).contains("is no file"));
        fs::remove_dir(&path).unwrap();
        fs::write(&path, "").unwrap();
        let error = refusal(&path);
        assert!(!error.contains("change while they are read"), "{error}");
    }

    #[test]
    fn a_model_that_no_row_gets_a_finite_score_from_is_refused() {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
        let bytes = fs::read(fixtures.join("logistic.onnx")).unwrap();
        let mut model = ModelProto::decode(&bytes[..]).unwrap();
        let nodes = model.graph.iter_mut().flat_map(|graph| &mut graph.node);
        let attributes = nodes.flat_map(|node| &mut node.attribute);
        let weights = attributes.filter(|one| one.name == "coefficients");
        weights.for_each(|one| one.floats.fill(f32::NAN));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.onnx");
        fs::write(&path, model.encode_to_vec()).unwrap();
        let error = refusal(&path);
        assert!(error.contains("a finite score: look for NaN"), "{error}");
    }
}
