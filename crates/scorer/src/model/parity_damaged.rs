//! Tests: damaged model files are refused or give some answer; they never end the process.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::load::compile_file;
use super::{Manifest, Session, load};

/// A pseudo-random sequence, the same in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) as usize % end
    }
}

/// Most changes keep the file's framing, so that they reach what lies behind it.
fn damage(bytes: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=dice.below(3) {
        let at = dice.below(bytes.len());
        match dice.below(20) {
            0 => bytes.truncate(at.max(1)),
            1 => bytes.insert(at, dice.below(256) as u8),
            2 if bytes.len() > 1 => drop(bytes.remove(at)),
            3..8 => bytes[at] = dice.below(256) as u8,
            _ => bytes[at] ^= 1 << dice.below(8),
        }
    }
    bytes
}

#[test]
fn damaged_models_are_refused_or_answer() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let models = [
        "logistic_zipmap",
        "onehot_logistic",
        "decision_tree",
        "xgboost_regressor",
        "gaussian_nb",
        "kbins_logistic",
        "stacking",
        "torch_norms_gelu",
        "torch_embedding",
        "adaboost",
    ];
    let (mut dice, mut refused, mut answered) = (Dice(7), 0, 0);
    for model in models {
        let bytes = fs::read(folder.join(model).with_extension("onnx")).unwrap();
        for _ in 0..40 {
            let bytes = damage(&bytes, &mut dice);
            match compile_file(&bytes, Manifest::default()) {
                Err(error) => {
                    assert!(!error.to_string().is_empty());
                    refused += 1;
                }
                Ok(loaded) => {
                    let mut scores = Vec::new();
                    if let Ok(mut session) = Session::new(&loaded) {
                        session.score(&[1.5, 3.0, 1.0, 0.2, 900.0, 23.0, 0.0, 0.9], &mut scores);
                        assert_eq!(scores.len(), 2);
                    }
                    answered += 1;
                }
            }
        }
    }
    println!("{refused} refused, {answered} answered");
    assert!(refused > 100 && answered > 20);
}

/// All models of the fixtures.
fn fixtures() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let folders = [folder.join("default_opsets"), folder];
    let files = folders
        .iter()
        .flat_map(|folder| fs::read_dir(folder).unwrap());
    let files = files.map(|file| file.unwrap().path());
    let mut models: Vec<PathBuf> = files
        .filter(|file| file.extension().is_some_and(|end| end == "onnx"))
        .collect();
    models.sort();
    models
}

/// `just fuzz-models`. The model under test and the slowest one lie in files, so that they can be tried again.
#[test]
#[ignore = "goes on for as long as TIDEMILL_FUZZ_SECONDS says"]
fn models_are_fuzzed() {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let seconds = number("TIDEMILL_FUZZ_SECONDS").unwrap_or(60);
    let started = Instant::now();
    let clock = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let seed = number("TIDEMILL_SEED").unwrap_or(clock);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/fuzz-models");
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join("tried.onnx");
    println!("seed {seed}; what is tried lies in {}", file.display());
    let (mut dice, mut refused, mut answered, mut slowest) = (Dice(seed), 0, 0, Duration::ZERO);
    let models = fixtures();
    while started.elapsed() < Duration::from_secs(seconds) {
        let bytes = fs::read(&models[dice.below(models.len())]).unwrap();
        fs::write(&file, damage(&bytes, &mut dice)).unwrap();
        let before = Instant::now();
        match load(&file) {
            Err(_) => refused += 1,
            Ok(model) => {
                let mut scores = Vec::new();
                let mut session = Session::new(&model).unwrap();
                session.score(
                    &[1.5, 3.0, 1.0, 0.2, f64::NAN, 1e39, -1.0, 0.9],
                    &mut scores,
                );
                assert_eq!(scores.len(), 2);
                answered += 1;
            }
        }
        if before.elapsed() > slowest {
            slowest = before.elapsed();
            fs::copy(&file, folder.join("slowest.onnx")).unwrap();
        }
    }
    println!("{refused} refused, {answered} answered, the slowest in {slowest:?}");
    assert!(slowest < Duration::from_secs(12), "loading has a budget");
}
