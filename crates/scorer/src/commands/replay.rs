//! `scorer replay`: scores a stretch of predictions again, from the inputs in their receipts, and
//! compares. Writes nothing.

use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;

use serde::{Deserialize, Serialize};
use tidemill_core::clock::now_ms;
use tidemill_core::kafka::{Consumer, Record, Stretch, numbers};
use tidemill_core::printing::{tell, tell_json};
use tidemill_core::record::timestamp::date;
use tokio_util::sync::CancellationToken;

use crate::model::{Loaded, Session};
use crate::output::prediction::{RECEIPT_HEADER, round};
use crate::settings::Config;

/// Predictions scored at once.
const BATCH: usize = 1_000;

/// The most alerts that flip which are listed.
const LISTED: usize = 20;

/// A prediction's value.
#[derive(Deserialize)]
struct Prediction {
    transaction_id: String,
    fraud_score: f64,
    is_fraud: bool,
}

/// The part of a receipt that scoring again needs.
#[derive(Deserialize)]
struct Receipt {
    model: String,
    inputs: Vec<Option<f64>>,
}

/// The result of the comparison.
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct Comparison {
    /// Predictions compared.
    pub compared: u64,
    /// Predictions that the very model had made that they are compared with.
    pub same_model: u64,
    /// Scores that differ in the 4 published decimals.
    pub differing: u64,
    /// Of those, the ones that had been made by the very model.
    pub differing_same_model: u64,
    /// The largest difference.
    pub largest: f64,
    /// Alerts that the model would raise and that were not, and the other way round: ids.
    pub raised: Vec<String>,
    /// Alerts that were raised and that the model would not.
    pub dropped: Vec<String>,
    /// Records that bear no receipt, or one for another number of inputs.
    pub without_receipt: u64,
}

/// The comparison of a stretch.
#[derive(Debug, Serialize)]
struct Report {
    /// The model's file.
    model: PathBuf,
    /// Its bundle's digest.
    sha256: String,
    /// The topic of the predictions.
    topic: String,
    /// The stretch.
    from: String,
    to: String,
    #[serde(flatten)]
    result: Comparison,
    /// Offsets that retention deleted while they were read.
    lost_offsets: i64,
    /// The partitions whose oldest predictions are deleted, some of them perhaps of the stretch.
    cut_partitions: Vec<i32>,
    /// The whole stretch was read.
    complete: bool,
    /// `from` lies behind the newest prediction.
    #[serde(skip)]
    beyond: bool,
}

/// Compares the predictions between two times (epoch ms) with what the model says. The exit code is 1 where
/// nothing was compared, or the same model scores otherwise.
///
/// # Errors
///
/// The model cannot be used, or the brokers do not answer.
pub fn replay(
    config: &Config,
    model: &Loaded,
    (from, to): (i64, Option<i64>),
    json: bool,
    partitions: usize,
    shutdown: &CancellationToken,
) -> anyhow::Result<ExitCode> {
    let shared = &config.shared;
    let consumer = Consumer::outside(&shared.kafka, &shared.group, &config.output_topic)?;
    let mut comparison = Comparing::new(model)?;
    let to = to.unwrap_or_else(now_ms);
    let partitions: Vec<i32> = (0..i32::try_from(partitions)?).collect();
    let first = consumer.positions_at(&partitions, from)?;
    let last = consumer.positions_at(&partitions, to)?;
    let logs = consumer.log_ranges(&partitions)?;
    let (mut beyond, mut cut_partitions) = (true, Vec::new());
    for ((partition, next), log) in first.iter().zip(logs.values()) {
        beyond &= *next >= log.end;
        if log.is_cut() && *next <= log.oldest {
            cut_partitions.push(*partition);
        }
    }
    let spans = first.into_iter().zip(last);
    let mut stretch =
        Stretch::new(spans.map(|((partition, next), (_, end))| (partition, next, end)));
    stretch.read(&consumer, shutdown, |record| {
        comparison.take(record);
        Ok(())
    })?;
    comparison.score();
    let report = Report {
        model: config.model.clone(),
        sha256: model.sha256.clone(),
        topic: config.output_topic.clone(),
        from: date(from),
        to: date(to),
        result: comparison.result,
        lost_offsets: stretch.lost(),
        cut_partitions,
        complete: stretch.is_read(),
        beyond,
    };
    match json {
        true => tell_json(&report)?,
        false => tell(&report.to_string())?,
    }
    let result = &report.result;
    let agrees = result.compared > 0 && result.differing_same_model == 0;
    Ok(if agrees || !report.complete {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Predictions on their way through the model.
pub(crate) struct Comparing<'m> {
    model: &'m Loaded,
    session: Session,
    waiting: Vec<(Prediction, bool)>,
    inputs: Vec<f64>,
    result: Comparison,
}

impl<'m> Comparing<'m> {
    pub(crate) fn new(model: &'m Loaded) -> anyhow::Result<Self> {
        Ok(Comparing {
            model,
            session: Session::new(model)?,
            waiting: Vec::new(),
            inputs: Vec::new(),
            result: Comparison::default(),
        })
    }

    fn take(&mut self, record: &Record<'_>) {
        let receipt = record
            .headers()
            .find(|(name, _)| *name == RECEIPT_HEADER.as_bytes());
        let receipt = receipt.and_then(|(_, text)| text);
        self.add(
            record.value().unwrap_or_default(),
            receipt.unwrap_or_default(),
        );
    }

    pub(crate) fn add(&mut self, value: &[u8], receipt: &[u8]) {
        let prediction = serde_json::from_slice::<Prediction>(value);
        let receipt = serde_json::from_slice::<Receipt>(receipt);
        let width = self.model.manifest.inputs.len();
        match (prediction, receipt) {
            (Ok(prediction), Ok(receipt)) if receipt.inputs.len() == width => {
                self.inputs
                    .extend(receipt.inputs.iter().map(|x| x.unwrap_or(f64::NAN)));
                self.waiting
                    .push((prediction, receipt.model == self.model.sha256));
            }
            _ => self.result.without_receipt += 1,
        }
        if self.waiting.len() >= BATCH {
            self.score();
        }
    }

    pub(crate) fn score(&mut self) {
        let mut scores = Vec::with_capacity(self.waiting.len());
        self.session.score(&self.inputs, &mut scores);
        self.inputs.clear();
        let result = &mut self.result;
        for ((was, same_model), score) in self.waiting.drain(..).zip(scores) {
            let difference = (round(score) - was.fraud_score).abs();
            // Half of the last decimal: what is printed equal is equal.
            let differs = difference.is_nan() || difference > 0.000_05;
            result.compared += 1;
            result.same_model += u64::from(same_model);
            result.differing += u64::from(differs);
            result.differing_same_model += u64::from(differs && same_model);
            result.largest = result.largest.max(difference);
            match (was.is_fraud, score > self.model.manifest.threshold) {
                (false, true) => result.raised.push(was.transaction_id),
                (true, false) => result.dropped.push(was.transaction_id),
                _ => {}
            }
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (result, topic) = (&self.result, &self.topic);
        writeln!(
            f,
            "model            {} ({})\n\
             compared         {} ({} made by this model)\n\
             scores differing {}, by {:.4} at most",
            self.model.display(),
            self.sha256,
            result.compared,
            result.same_model,
            result.differing,
            result.largest
        )?;
        for (what, ids) in [
            ("alerts raised   ", &result.raised),
            ("alerts dropped  ", &result.dropped),
        ] {
            writeln!(f, "{what} {}", ids.len())?;
            for id in ids.iter().take(LISTED) {
                writeln!(f, "  {id}")?;
            }
            if ids.len() > LISTED {
                writeln!(f, "  and {} more", ids.len() - LISTED)?;
            }
        }
        if result.without_receipt > 0 {
            let count = result.without_receipt;
            writeln!(f, "without a receipt for this model's inputs: {count}")?;
        }
        if self.lost_offsets > 0 {
            let lost = self.lost_offsets;
            writeln!(f, "deleted by retention meanwhile: {lost} offsets")?;
        }
        let Self { from, to, .. } = self;
        if !self.cut_partitions.is_empty() {
            writeln!(
                f,
                "retention has deleted the oldest predictions in partitions {}, some of them perhaps since --from",
                numbers(&self.cut_partitions)
            )?;
        }
        if !self.complete {
            writeln!(f, "stopped before the end: this is a part")
        } else if self.beyond {
            writeln!(
                f,
                "nothing to compare: --from {from} lies behind the newest prediction in topic {topic}"
            )
        } else if result.compared == 0 {
            writeln!(
                f,
                "nothing to compare: topic {topic} has no prediction with a receipt for this model's inputs from {from} \
                 up to {to}"
            )
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fixture;

    fn value(id: &str, score: f64, is_fraud: bool) -> Vec<u8> {
        let mut out = Vec::new();
        crate::output::prediction::write_prediction(&mut out, id, score, is_fraud);
        out
    }

    #[test]
    fn an_unchanged_model_agrees_and_a_changed_one_flips_alerts() {
        let model = fixture("logistic").unwrap();
        let inputs = [[49.99, 10.0, 0.0, 0.12], [900.0, 3.0, 1.0, 0.9]];
        let mut scores = Vec::new();
        Session::new(&model)
            .unwrap()
            .score(&inputs.concat(), &mut scores);
        assert!(scores[0] < 0.85 && scores[1] > 0.85, "{scores:?}");
        let mut comparing = Comparing::new(&model).unwrap();
        let receipt = |inputs: &[f64; 4], model: &str| {
            format!(r#"{{"v":1,"model":"{model}","inputs":{inputs:?},"status":[]}}"#).into_bytes()
        };
        comparing.add(
            &value("a", scores[0], false),
            &receipt(&inputs[0], &model.sha256),
        );
        comparing.add(
            &value("b", scores[1], true),
            &receipt(&inputs[1], &model.sha256),
        );
        comparing.add(&value("c", 0.2, false), &receipt(&inputs[1], "another"));
        comparing.add(&value("d", 0.9, true), &receipt(&inputs[0], "another"));
        comparing.add(&value("e", 0.9, true), b"");
        comparing.score();
        let result = comparing.result;
        assert_eq!(
            (result.compared, result.same_model, result.without_receipt),
            (4, 2, 1)
        );
        assert_eq!((result.differing, result.differing_same_model), (2, 0));
        assert_eq!(
            (result.raised, result.dropped),
            (vec!["c".to_owned()], vec!["d".to_owned()])
        );
    }
}
