//! The model: a bundle of an ONNX file, its weights and its manifest, run by tract. No other folder names tract.

mod anatomy;
mod axes;
mod bundle;
mod golden;
mod graph;
mod graph_inputs;
mod half;
mod layout;
mod load;
mod manifest;
mod manifest_toml;
mod mixing;
mod operators;
#[cfg(test)]
mod parity;
#[cfg(test)]
mod parity_damaged;
mod refusal;
mod rows;
mod session;
mod sizes;
#[cfg(test)]
mod suites;
mod toml_fields;
mod trees;
mod weights;

pub use anatomy::{Picked, Place};
pub use bundle::{Contents, manifest_path, read_manifest};
pub use load::{Loaded, load, load_as};
pub use manifest::{Golden, Input, Manifest, Output, Source, Transform};
pub use operators::Operators;
pub use session::{Failure, Session};

/// Tests: a fixture model, with the default manifest.
#[cfg(test)]
pub(crate) fn fixture(name: &str) -> anyhow::Result<Loaded> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    load(&folder.join(name).with_extension("onnx"))
}
