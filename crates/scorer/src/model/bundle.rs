//! A model as it lies on disk: the `.onnx` file, the files of weights that it names, and the manifest beside it.
//! One digest of all their contents says which model it is.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context, anyhow, bail, ensure};
use prost::Message;
use sha2::{Digest, Sha256};
use tract_onnx::pb::ModelProto;

use super::manifest::Manifest;
use super::{manifest_toml, weights};

/// The most bytes that a bundle's files may have together.
const BYTES: u64 = 512 << 20;

/// The most bytes that a manifest may have.
const MANIFEST_BYTES: u64 = 16 << 20;

/// The number of times that files are read again which change during the reading, and the pause before each.
const ATTEMPTS: (usize, Duration) = (5, Duration::from_millis(100));

/// A bundle, read as a whole.
pub(super) struct Bundle {
    /// The decoded `.onnx` file, all weights inside.
    proto: ModelProto,
    /// The manifest's text, if there is one.
    manifest: Option<Vec<u8>>,
    contents: Contents,
    path: PathBuf,
}

/// The SHA-256 of each file of a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    model: Sum,
    manifest: Option<Sum>,
    /// By the names that the model has for them.
    weights: BTreeMap<String, Sum>,
}

type Sum = [u8; 32];

/// The path of a model's manifest: beside it, with the extension `toml`.
pub fn manifest_path(model: &Path) -> PathBuf {
    model.with_extension("toml")
}

impl Contents {
    /// Looks at the files of the model at `path` without keeping them. `before`, what an earlier look found,
    /// saves decoding a model that is the same.
    ///
    /// # Errors
    ///
    /// A file is missing, too large or unreadable, or the model is no ONNX file.
    pub fn look(path: &Path, before: Option<&Contents>) -> anyhow::Result<Self> {
        let mut left = BYTES;
        let model = sum(path, &mut left)?;
        let names: Vec<String> = match before {
            Some(before) if before.model == model => before.weights.keys().cloned().collect(),
            _ => {
                let mut proto = decode(&read(path, &mut BYTES.clone())?)?;
                let graph = proto.graph.as_mut();
                let files = graph.map(weights::files).transpose()?;
                files.unwrap_or_default().into_iter().collect()
            }
        };
        let weights = names.into_iter().map(|name| {
            let sum = sum(&beside(path, &name), &mut left)?;
            Ok((name, sum))
        });
        Ok(Contents {
            model,
            weights: weights.collect::<anyhow::Result<_>>()?,
            manifest: there(sum(&manifest_path(path), &mut left.min(MANIFEST_BYTES)))?,
        })
    }

    /// True if the bundle has a manifest.
    pub fn has_manifest(&self) -> bool {
        self.manifest.is_some()
    }

    /// The bundle's digest: the SHA-256, in hexadecimal, of a line `<sha256> <what>` for each file, which is
    /// `model`, `manifest` or `weights <name>`, by name. The place of the files does not matter.
    pub fn digest(&self) -> String {
        let mut all = Sha256::new();
        let mut line = |sum: &Sum, what: &str| all.update(format!("{} {what}\n", hexadecimal(sum)));
        line(&self.model, "model");
        if let Some(sum) = &self.manifest {
            line(sum, "manifest");
        }
        for (name, sum) in &self.weights {
            line(sum, &format!("weights {name}"));
        }
        hexadecimal(&all.finalize())
    }
}

impl Bundle {
    /// Reads the model at `path` with all that belongs to it, as it stood at one moment.
    ///
    /// # Errors
    ///
    /// A file is missing, not whole, too large or unreadable, the model is no ONNX file, or the files went on
    /// changing while they were read.
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let (attempts, pause) = ATTEMPTS;
        let mut before = None;
        for _ in 0..attempts {
            let outcome = Bundle::read_once(path);
            let read = outcome.as_ref().ok().map(|bundle| &bundle.contents);
            let now = Contents::look(path, read).ok();
            match (outcome, now) {
                (Ok(bundle), Some(now)) if bundle.contents == now => return Ok(bundle),
                (Err(error), None) => return Err(error),
                // Nothing has changed since the last look: these files will not be usable later either.
                (Err(error), now) if now == before => return Err(error),
                (_, now) => before = now,
            }
            thread::sleep(pause);
        }
        bail!("its files change while they are read; put each in its place in one step (mv)")
    }

    fn read_once(path: &Path) -> anyhow::Result<Self> {
        let mut left = BYTES;
        let bytes = read(path, &mut left)?;
        let mut proto = decode(&bytes)?;
        let graph = proto.graph.as_mut().context("the file holds no graph")?;
        let names = weights::files(graph)?.into_iter();
        let files = names.map(|name| {
            let bytes = read(&beside(path, &name), &mut left)?;
            Ok((name, bytes))
        });
        let files: BTreeMap<String, Vec<u8>> = files.collect::<anyhow::Result<_>>()?;
        let manifest = there(read(&manifest_path(path), &mut left.min(MANIFEST_BYTES)))?;
        let sums = files
            .iter()
            .map(|(name, bytes)| (name.clone(), Sha256::digest(bytes).into()));
        let contents = Contents {
            model: Sha256::digest(&bytes).into(),
            manifest: manifest.as_ref().map(|text| Sha256::digest(text).into()),
            weights: sums.collect(),
        };
        weights::take_in(graph, &files, BYTES as usize)?;
        Ok(Bundle {
            proto,
            manifest,
            contents,
            path: path.to_owned(),
        })
    }

    /// A model file without weights beside it or a manifest.
    ///
    /// # Errors
    ///
    /// It is no ONNX file.
    #[cfg(test)]
    pub(super) fn of_file(bytes: &[u8]) -> anyhow::Result<Self> {
        Ok(Bundle {
            proto: decode(bytes)?,
            manifest: None,
            contents: Contents {
                model: Sha256::digest(bytes).into(),
                manifest: None,
                weights: BTreeMap::new(),
            },
            path: PathBuf::new(),
        })
    }

    /// The decoded `.onnx` file, all weights inside, and what the files hold.
    pub(super) fn into_parts(self) -> (ModelProto, Contents) {
        (self.proto, self.contents)
    }

    /// Its manifest, or the default one.
    ///
    /// # Errors
    ///
    /// All problems of the manifest at once, each with field and line.
    pub(super) fn manifest(&self) -> anyhow::Result<Manifest> {
        match &self.manifest {
            Some(text) => parse(text, &manifest_path(&self.path)),
            None => Ok(Manifest::default()),
        }
    }
}

/// Reads the manifest beside the model at `path`; without one the default holds.
///
/// # Errors
///
/// It cannot be read, or all its problems at once, each with field and line.
pub fn read_manifest(path: &Path) -> anyhow::Result<Manifest> {
    let path = manifest_path(path);
    match there(read(&path, &mut MANIFEST_BYTES.clone()))? {
        Some(text) => parse(&text, &path),
        None => Ok(Manifest::default()),
    }
}

fn parse(text: &[u8], path: &Path) -> anyhow::Result<Manifest> {
    let named = || format!("manifest {}", path.display());
    let text = std::str::from_utf8(text).with_context(named)?;
    manifest_toml::parse(text)
        .map_err(|problems| anyhow!("{} cannot be used:\n  {}", named(), problems.join("\n  ")))
}

fn decode(bytes: &[u8]) -> anyhow::Result<ModelProto> {
    ModelProto::decode(bytes)
        .map_err(|_| anyhow!("this is no ONNX file, or not all of one; copy or export it again"))
}

fn beside(model: &Path, name: &str) -> PathBuf {
    model.with_file_name(name)
}

/// Reads a file of at most `left` bytes, which it takes off.
fn read(path: &Path, left: &mut u64) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    contents(path, left, |part| bytes.extend_from_slice(part))?;
    Ok(bytes)
}

/// The SHA-256 of such a file.
fn sum(path: &Path, left: &mut u64) -> anyhow::Result<Sum> {
    let mut sum = Sha256::new();
    contents(path, left, |part| sum.update(part))?;
    Ok(sum.finalize().into())
}

fn contents(path: &Path, left: &mut u64, mut take: impl FnMut(&[u8])) -> anyhow::Result<()> {
    let named = || format!("reading {}", path.display());
    let too_large = || {
        format!(
            "{} is too large: a model's files may have {} MB together, its manifest {} MB",
            path.display(),
            BYTES >> 20,
            MANIFEST_BYTES >> 20
        )
    };
    let metadata = fs::metadata(path).with_context(named)?;
    ensure!(metadata.is_file(), "{} is no file", path.display());
    ensure!(metadata.len() <= *left, too_large());
    let mut file = File::open(path).with_context(named)?;
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = file.read(&mut buffer).with_context(named)?;
        if count == 0 {
            return Ok(());
        }
        *left = left.checked_sub(count as u64).with_context(too_large)?;
        take(&buffer[..count]);
    }
}

/// `None` for a file that is not there.
fn there<T>(outcome: anyhow::Result<T>) -> anyhow::Result<Option<T>> {
    match outcome {
        Ok(found) => Ok(Some(found)),
        Err(error) => match error.downcast_ref::<std::io::Error>() {
            Some(cause) if cause.kind() == ErrorKind::NotFound => Ok(None),
            _ => Err(error),
        },
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
