//! Turns a scored batch into records on the output topics; reports alerts and metrics once they are committed.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context as _;
use tidemill_core::kafka::{DeadLetters, Outgoing, Producer, StoredPosition, TopicId, one_header};

use crate::input::batch::{Answer, Batch};
use crate::output::prediction::{
    RECEIPT_HEADER, Receipt, receipt_prefix, round, write_prediction, write_receipt,
};
use crate::page::{Alert, Counts, KEPT};
use crate::scoring::Scored;
use crate::settings::Config;
use crate::shared::Shared;

/// Writes a worker's predictions.
pub struct Publisher {
    topic: String,
    source: String,
    /// Digest of the model whose receipts begin with `prefixes`.
    model: String,
    /// By partition.
    prefixes: BTreeMap<i32, Prefix>,
    value: Vec<u8>,
    receipt: Vec<u8>,
}

/// The constant beginning of a partition's receipts.
struct Prefix {
    /// Kafka's id of the topic that it names.
    topic: Option<TopicId>,
    text: Vec<u8>,
}

impl Publisher {
    /// A publisher to the configured topic.
    pub fn new(config: &Config) -> Self {
        Publisher {
            topic: config.output_topic.clone(),
            source: config.shared.topic.clone(),
            model: String::new(),
            prefixes: BTreeMap::new(),
            value: Vec::new(),
            receipt: Vec::new(),
        }
    }

    /// Queues a prediction or a dead letter for each record, in the records' order; `positions` are those after them.
    ///
    /// # Errors
    ///
    /// The producer does not take a record.
    pub fn send(
        &mut self,
        producer: &Producer,
        dead_letters: &DeadLetters,
        batch: &Batch<'_>,
        scored: &Scored,
        positions: &[(i32, StoredPosition<u64>)],
    ) -> anyhow::Result<()> {
        if self.model != scored.model.sha256 {
            self.model.clone_from(&scored.model.sha256);
            self.prefixes.clear();
        }
        for (partition, position) in positions {
            self.name_topic(*partition, position.topic);
        }
        let threshold = scored.model.manifest.threshold;
        for (record, answer) in batch.answers() {
            let row = match answer {
                Answer::Prediction(row) => row,
                Answer::Reject(reject) => {
                    dead_letters.send(producer, record, reject)?;
                    continue;
                }
            };
            let score = scored.scores[row.index];
            self.value.clear();
            write_prediction(&mut self.value, row.id, score, score > threshold);
            let receipt = Receipt {
                offset: record.offset(),
                inputs: row.inputs,
                statuses: row.statuses,
                times: record.timestamp().map(|origin| scored.times.since(origin)),
            };
            let partition = record.partition();
            let prefix = self.prefixes.get(&partition);
            let prefix = prefix.with_context(|| format!("no position after {partition}"))?;
            self.receipt.clear();
            write_receipt(&mut self.receipt, &prefix.text, &receipt);
            producer.send(Outgoing {
                topic: &self.topic,
                key: Some(row.id.as_bytes()),
                value: Some(&self.value),
                headers: Some(one_header(RECEIPT_HEADER, &self.receipt)),
                ..Outgoing::default()
            })?;
        }
        Ok(())
    }

    /// Has the receipts of a partition name the topic of this id.
    fn name_topic(&mut self, partition: i32, topic: Option<TopicId>) {
        let known = self.prefixes.get(&partition);
        if known.is_none_or(|known| known.topic != topic) {
            let text = receipt_prefix(&self.model, &self.source, topic, partition);
            self.prefixes.insert(partition, Prefix { topic, text });
        }
    }

    /// Reports a batch that was committed at `now` (epoch milliseconds): alerts, metrics and the live page.
    pub fn published(&self, shared: &Shared, batch: &Batch<'_>, scored: &Scored, now: i64) {
        let threshold = scored.model.manifest.threshold;
        let (mut predictions, mut frauds) = (0, 0);
        let mut counts = Counts::default();
        for (_, answer) in batch.answers() {
            let row = match answer {
                Answer::Prediction(row) => row,
                Answer::Reject(reject) => {
                    shared.dead_letters.count(reject.reason);
                    continue;
                }
            };
            predictions += 1;
            let score = scored.scores[row.index];
            counts.count(score);
            if score > threshold {
                frauds += 1;
                let (transaction_id, fraud_score) = (row.id, round(score));
                tracing::info!(transaction_id, fraud_score, "fraud alert");
            }
        }
        let alerts = last_alerts(batch, scored, now, frauds as usize);
        shared.seen.take(now, &counts, alerts);
        metrics::counter!("tidemill_records_total").increment(batch.len() as u64);
        metrics::counter!("tidemill_predictions_total").increment(predictions);
        metrics::counter!("tidemill_frauds_total").increment(frauds);
        metrics::histogram!("tidemill_batch_records").record(batch.len() as f64);
        if let Some(oldest) = batch.oldest_ms() {
            let waited = (now - oldest).max(0) as f64 / 1000.0;
            // Of the batch's oldest record: from its timestamp to its committed prediction.
            metrics::histogram!("tidemill_latency_seconds").record(waited);
        }
        tracing::debug!(
            records = batch.len(),
            predictions,
            frauds,
            "batch committed"
        );
    }
}

/// The last of the batch's `frauds` alerts, as many as the live page keeps.
fn last_alerts(batch: &Batch<'_>, scored: &Scored, now: i64, frauds: usize) -> Vec<Alert> {
    if frauds == 0 {
        return Vec::new();
    }
    let manifest = &scored.model.manifest;
    let names = manifest.inputs.iter().map(|input| input.name.clone());
    let names: Arc<[String]> = names.collect();
    let alerted = batch.answers().filter_map(|(record, answer)| match answer {
        Answer::Prediction(row) => {
            let score = scored.scores[row.index];
            (score > manifest.threshold).then_some((record, row, score))
        }
        Answer::Reject(_) => None,
    });
    let last = alerted.skip(frauds.saturating_sub(KEPT));
    last.map(|(record, row, score)| {
        let times = (scored.times, now);
        Alert::of((record, &row), (score, manifest.threshold), times, &names)
    })
    .collect()
}
