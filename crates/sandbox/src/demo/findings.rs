//! What the checks of the demo found, in figures: for the report that people look at.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use hdrhistogram::Histogram;

use crate::kafka::Stored;
use crate::oracle::Waited;
use crate::simulate::Kind;

/// The figures behind the report.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// One for each second in which payments were produced, in order.
    pub(super) seconds: Vec<Second>,
    /// The way from the topic to the prediction, in its order.
    pub(super) stages: Vec<Stage>,
    /// Planted frauds.
    pub(super) kinds: Vec<Planted>,
    /// Alerts that were no planted fraud.
    pub(super) false_alerts: u64,
}

/// The payments that were produced in one second.
#[derive(Debug, PartialEq)]
pub(super) struct Second {
    pub(super) p50_ms: u64,
    pub(super) p99_ms: u64,
}

/// One stage on the way of all payments.
#[derive(Debug, PartialEq)]
pub(super) struct Stage {
    pub(super) name: &'static str,
    pub(super) p50_ms: u64,
    pub(super) p99_ms: u64,
}

/// One kind of fraud.
#[derive(Debug)]
pub(super) struct Planted {
    pub(super) name: &'static str,
    pub(super) planted: u64,
    pub(super) found: u64,
}

impl Findings {
    /// Takes in how long each payment waited for its prediction; the predictions' receipts say where.
    pub(super) fn latency(&mut self, waited: &[Waited], predictions: &[Stored]) -> Result<()> {
        let mut seconds = BTreeMap::new();
        for one in waited {
            let histogram = match seconds.entry(one.produced_ms.div_euclid(1000)) {
                std::collections::btree_map::Entry::Vacant(vacant) => {
                    vacant.insert(Histogram::<u64>::new(3)?)
                }
                std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
            };
            histogram.record(one.waited_ms)?;
        }
        let second = |histogram: Histogram<u64>| Second {
            p50_ms: histogram.value_at_quantile(0.5),
            p99_ms: histogram.value_at_quantile(0.99),
        };
        self.seconds = seconds.into_values().map(second).collect();
        let by_id: BTreeMap<&[u8], u64> = waited
            .iter()
            .map(|one| (one.id.as_slice(), one.waited_ms))
            .collect();
        let mut stages = [
            ("waited in the topic", Histogram::<u64>::new(3)?),
            ("features read", Histogram::new(3)?),
            ("scored", Histogram::new(3)?),
            ("published, committed and read", Histogram::new(3)?),
        ];
        for prediction in predictions {
            let id = prediction.key.as_deref().unwrap_or_default();
            let Some(all) = by_id.get(id) else { continue };
            let receipt = prediction
                .header("tidemill")
                .context("a prediction without a receipt")?;
            let receipt: serde_json::Value = serde_json::from_str(&receipt)?;
            let time = |name: &str| receipt["t"][name].as_u64();
            let times = (time("fetched"), time("features"), time("scored"));
            let (Some(fetched), Some(features), Some(scored)) = times else {
                continue;
            };
            let parts = [
                fetched,
                features.saturating_sub(fetched),
                scored.saturating_sub(features),
                all.saturating_sub(scored),
            ];
            for ((_, histogram), part) in stages.iter_mut().zip(parts) {
                histogram.record(part)?;
            }
        }
        let stage = |(name, histogram): (&'static str, Histogram<u64>)| Stage {
            name,
            p50_ms: histogram.value_at_quantile(0.5),
            p99_ms: histogram.value_at_quantile(0.99),
        };
        self.stages = stages.into_iter().map(stage).collect();
        Ok(())
    }

    /// Takes in the planted frauds and those found, by kind, and the number of other alerts.
    pub(super) fn alerts(
        &mut self,
        planted: &BTreeMap<String, Kind>,
        found: &BTreeMap<Kind, u64>,
        others: u64,
    ) {
        let kinds = Kind::ALL.into_iter().map(|kind| Planted {
            name: kind.name(),
            planted: planted.values().filter(|one| **one == kind).count() as u64,
            found: found.get(&kind).copied().unwrap_or(0),
        });
        self.kinds = kinds.collect();
        self.false_alerts = others;
    }
}
