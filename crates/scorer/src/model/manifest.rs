//! The model's manifest: inputs, output, threshold and golden vectors.
//!
//! Only types here; `manifest_toml` reads them from the file.

/// The file beside a model that says how to feed it and what its answer means.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// A score above this is a fraud. Compared with the unrounded score.
    pub threshold: f64,
    /// The place of the fraud probability in the model's answer.
    pub output: Output,
    /// The model's inputs in its column order.
    pub inputs: Vec<Input>,
    /// Known answers, checked whenever the model is loaded.
    pub golden: Vec<Golden>,
}

/// The place of the fraud probability in the model's answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// The output's name; without it the first floating point output.
    pub name: Option<String>,
    /// The element of the output's row; without it the last.
    pub index: Option<usize>,
    /// The function from that element to a probability.
    pub transform: Transform,
    /// Lower numbers are worse, as of isolation forests: the number is negated before the transform, so that higher
    /// scores are worse everywhere else.
    pub lower_is_worse: bool,
}

impl Output {
    /// The score that the model's number `x` means.
    pub fn score(&self, x: f64) -> f64 {
        self.transform
            .apply(if self.lower_is_worse { -x } else { x })
    }
}

/// A function from the model's number to a probability.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transform {
    /// It is one already.
    #[default]
    None,
    /// It is a raw margin: `1 / (1 + exp(-x))`.
    Sigmoid,
}

impl Transform {
    /// Its name in manifests.
    pub fn name(self) -> &'static str {
        match self {
            Transform::None => "none",
            Transform::Sigmoid => "sigmoid",
        }
    }

    /// The probability that the model's number `x` means.
    pub fn apply(self, x: f64) -> f64 {
        match self {
            Transform::None => x,
            Transform::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        }
    }
}

/// One input of the model.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// The transaction's field, or the feature's name.
    pub name: String,
    /// Its source: the transaction or the feature store.
    pub from: Source,
    /// Used where the value is missing. Without it, a transaction that lacks the field is a dead
    /// letter, and a missing feature is 0. Not a number (`nan`) for models that know missing values.
    pub default: Option<f64>,
    /// Features only: past the end of their validity by more than this, in ms, the default is used.
    pub max_stale_ms: Option<i64>,
}

/// The source of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A field of the transaction.
    Event,
    /// A field of the user's feature hash.
    Features,
}

/// A row of inputs whose score is known.
#[derive(Clone, Debug, PartialEq)]
pub struct Golden {
    /// One number for each input.
    pub input: Vec<f64>,
    /// The score the model gives it, after the transform.
    pub score: f64,
}

impl Manifest {
    /// The threshold of a manifest that names none.
    pub const THRESHOLD: f64 = 0.85;

    /// True if any input comes from the feature store.
    pub fn reads_features(&self) -> bool {
        self.inputs
            .iter()
            .any(|input| input.from == Source::Features)
    }
}

impl Default for Manifest {
    /// The manifest of a model that has none: four inputs of the transaction, all required.
    fn default() -> Self {
        Manifest {
            threshold: Manifest::THRESHOLD,
            output: Output::default(),
            inputs: default_inputs(),
            golden: Vec::new(),
        }
    }
}

/// The inputs of a manifest that lists none.
pub(super) fn default_inputs() -> Vec<Input> {
    [
        "amount",
        "hour_of_day",
        "is_international",
        "merchant_risk_score",
    ]
    .map(|name| Input {
        name: name.to_owned(),
        from: Source::Event,
        default: None,
        max_stale_ms: None,
    })
    .to_vec()
}
