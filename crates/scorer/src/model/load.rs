//! Loads a model: file and manifest read, graph prepared, compiled and checked.

use std::fs;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use prost::Message;
use sha2::{Digest, Sha256};
use tract_onnx::Onnx;
use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::*;

use super::graph;
use super::graph_inputs::{self, GraphInput};
use super::layout::{self, Slot};
use super::manifest::Manifest;
use super::operators::{self, Operators};
use super::{golden, manifest_toml, mixing, rows};

/// A model ready to run, shared by the workers.
pub struct Loaded {
    /// What its manifest says.
    pub manifest: Manifest,
    /// SHA-256 of the model file, in hexadecimal.
    pub sha256: String,
    pub(super) plan: Arc<TypedRunnableModel>,
    pub(super) slots: Vec<Slot>,
    /// Whether the graph is run with one row at a time.
    pub(super) single: bool,
    /// What in the graph may make a row's score depend on the rows beside it.
    pub(super) mixing: Vec<String>,
}

/// Where the manifest of a model lies: beside it, with the extension `toml`.
pub fn manifest_path(model: &Path) -> PathBuf {
    model.with_extension("toml")
}

/// Loads the model at `path` and checks it against its golden vectors.
///
/// # Errors
///
/// Everything that keeps it from being run, named with the file and, in a manifest, field and line.
pub fn load(path: &Path) -> anyhow::Result<Loaded> {
    let loaded = load_as(path, read_manifest(path)?, Operators::Ours)?;
    golden::check(&loaded).with_context(|| format!("model {}", path.display()))?;
    Ok(loaded)
}

/// Loads the model at `path` as `manifest` says, whatever lies beside it, and checks no golden vectors.
///
/// # Errors
///
/// Everything that keeps it from being run.
pub fn load_as(path: &Path, manifest: Manifest, operators: Operators) -> anyhow::Result<Loaded> {
    let bytes = fs::read(path).with_context(|| format!("reading model {}", path.display()))?;
    compile(&bytes, path.parent(), manifest, operators)
        .with_context(|| format!("model {}", path.display()))
}

/// Reads the manifest beside the model at `path`; without one the default holds.
pub fn read_manifest(path: &Path) -> anyhow::Result<Manifest> {
    let path = manifest_path(path);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Manifest::default()),
        Err(error) => {
            return Err(error).with_context(|| format!("reading manifest {}", path.display()));
        }
    };
    manifest_toml::parse(&text).map_err(|problems| {
        anyhow!(
            "manifest {} cannot be used:\n  {}",
            path.display(),
            problems.join("\n  ")
        )
    })
}

/// Compiles a model file's bytes; `folder` is where its external data lies.
pub(super) fn compile(
    bytes: &[u8],
    folder: Option<&Path>,
    manifest: Manifest,
    operators: Operators,
) -> anyhow::Result<Loaded> {
    // tract panics on some graphs that make no sense: they are files that cannot be used, no more.
    let trusting = || compile_trusting(bytes, folder, manifest, operators);
    catch_unwind(AssertUnwindSafe(trusting))
        .unwrap_or_else(|_| Err(anyhow!("the graph makes no sense: reading it panicked")))
}

fn compile_trusting(
    bytes: &[u8],
    folder: Option<&Path>,
    manifest: Manifest,
    operators: Operators,
) -> anyhow::Result<Loaded> {
    let mut proto = ModelProto::decode(bytes).context("this is no ONNX file, or not all of one")?;
    let inputs = graph::prepare(&mut proto, manifest.output.name.as_deref())?;
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
    let folder = folder.and_then(Path::to_str);
    let sha256 = Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect::<String>();
    let mixing = proto
        .graph
        .as_ref()
        .map(mixing::reasons)
        .unwrap_or_default();
    let ready = |rows: Option<i64>| {
        let model = Loaded {
            manifest: manifest.clone(),
            sha256: sha256.clone(),
            plan: plan(&onnx, &mut proto.clone(), folder, &slots, rows)?,
            slots: slots.clone(),
            single: rows.is_some(),
            mixing: mixing.clone(),
        };
        rows::check(&model)?;
        Ok(model)
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
    folder: Option<&str>,
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
    let parsed = tracing::subscriber::with_default(quiet, || onnx.parse(proto, folder))?;
    if let Some(name) = parsed.unresolved_inputs.first() {
        bail!("the graph uses {name:?}, which nothing in it computes");
    }
    parsed.model.into_optimized()?.into_runnable()
}
