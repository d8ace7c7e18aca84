//! The value of every feature at a time, and the time until which these values stay right.

use super::definition::Aggregate;
use super::definitions::Definitions;
use super::entry;
use super::number;
use super::plan::{Carry, Cell, Plan, Source};
use super::stats::{Stats, kind};
use super::window::{Carried, Window};

/// One feature's value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FeatureValue {
    /// A number of events or of different values.
    Count(u64),
    /// Any other number; always finite.
    Number(f64),
    /// A time in milliseconds since the epoch; written in seconds.
    Time(i64),
    /// No event has the value that the feature needs.
    Absent,
}

impl FeatureValue {
    /// The value as a number, times in epoch seconds; `None` if absent.
    pub fn number(self) -> Option<f64> {
        match self {
            Self::Count(count) => Some(count as f64),
            Self::Number(number) => Some(number),
            Self::Time(millis) => Some(millis as f64 / 1000.0),
            Self::Absent => None,
        }
    }

    /// Appends the value as decimal text; nothing if absent.
    pub fn write(self, out: &mut Vec<u8>) {
        match self {
            Self::Count(count) => number::write_integer(out, count),
            Self::Number(value) => number::write_number(out, value),
            Self::Time(millis) => number::write_seconds(out, millis),
            Self::Absent => {}
        }
    }
}

/// Every feature of one user at one time. Made once, then filled again by each [`Window::evaluate`].
#[derive(Clone, Debug, Default)]
pub struct Evaluation {
    /// One value per feature, in the order of the definitions.
    pub values: Vec<FeatureValue>,
    /// The time for which they are right (epoch ms).
    pub as_of: i64,
    /// The time from which they are not (epoch ms), unless a newer event changes them before.
    pub valid_until: i64,
    /// The time (epoch ms) at which the next event leaves a window, or the excess of a tile changes; `None` if no event
    /// counts.
    pub next_expiry: Option<i64>,
    /// True if every counted tile lies wholly inside its window.
    pub exact: bool,
    stats: Vec<Stats>,
}

impl Window {
    /// Evaluates every feature at `as_of`: an event counts if as_of - window < its time <= as_of.
    ///
    /// Times before the newest event are right only for windows that do not forget; others have lost a part of the
    /// events that counted then.
    pub fn evaluate(&self, definitions: &Definitions, as_of: i64, out: &mut Evaluation) {
        let plan = &definitions.plan;
        out.as_of = as_of;
        out.exact = true;
        out.next_expiry = None;
        out.stats.resize(plan.series.len(), Stats::EMPTY);
        for (series, stats) in plan.series.iter().zip(&mut out.stats) {
            let (cell, after) = (
                &plan.cells[series.cell],
                as_of.saturating_sub(series.window_ms),
            );
            stats.clear();
            let mut leaves = i64::MAX;
            for tile in &self.tiles {
                let tiled = &tile.cells[series.cell];
                if tiled.events == 0 || tiled.newest <= after || tiled.first > as_of {
                    continue;
                }
                let whole = tiled.first > after;
                out.exact &= whole && tiled.newest <= as_of;
                leaves = leaves.min(if whole { tiled.first } else { tiled.newest });
                stats.merge(tiled);
            }
            self.sum_up(plan, cell, (after, as_of), &mut leaves, stats);
            if leaves != i64::MAX {
                let expiry = leaves.saturating_add(series.window_ms);
                out.next_expiry = Some(out.next_expiry.map_or(expiry, |other| other.min(expiry)));
            }
        }
        out.valid_until = out
            .next_expiry
            .unwrap_or_else(|| as_of.saturating_add(definitions.ttl_ms()));
        out.values.clear();
        for (feature, source) in definitions.features().iter().zip(&plan.sources) {
            out.values.push(match *source {
                Source::Series(series) => value(feature.aggregate, &mut out.stats[series]),
                Source::Carry(carry) => {
                    let carried = self.carried_at(plan, carry, as_of);
                    match feature.aggregate {
                        _ if carried.time == i64::MIN => FeatureValue::Absent,
                        Aggregate::LastTime => FeatureValue::Time(carried.time),
                        _ => FeatureValue::Number(f64::from_bits(carried.bits)),
                    }
                }
            });
        }
    }

    /// Counts the kept entries with after < time <= until, and lowers `leaves` to the time of the first that counts.
    fn sum_up(
        &self,
        plan: &Plan,
        cell: &Cell,
        (after, until): (i64, i64),
        leaves: &mut i64,
        stats: &mut Stats,
    ) {
        let stride = plan.stride;
        // Usually a window is evaluated at the present: nothing is newer.
        let end = if self.newest <= until {
            self.entries.len()
        } else {
            self.position(stride, until) * stride
        };
        let begin = match self.entries.get(..8) {
            Some(oldest) if entry::time(oldest) <= after => self.position(stride, after) * stride,
            _ => 0,
        };
        let kind = kind(cell, &plan.columns);
        for kept in self
            .entries
            .get(begin..end)
            .unwrap_or_default()
            .chunks_exact(stride)
        {
            if !entry::matches(plan, kept, cell.filter) {
                continue;
            }
            let time = entry::time(kept);
            *leaves = (*leaves).min(time);
            let bits = match cell.column {
                Some(column) => entry::column(plan, kept, column),
                None => f64::NAN.to_bits(),
            };
            stats.add(cell, kind, time, bits);
        }
    }

    /// The value of a feature without a window at a time: the newest carried one, or an earlier one.
    fn carried_at(&self, plan: &Plan, index: usize, as_of: i64) -> Carried {
        match self.carried.get(index) {
            None => return Carried::NONE,
            Some(carried) if carried.time <= as_of => return *carried,
            Some(_) => {}
        }
        let Carry { filter, column } = plan.carries[index];
        let past = self.position(plan.stride, as_of) * plan.stride;
        for kept in self.entries[..past].chunks_exact(plan.stride).rev() {
            let bits = column.map(|column| entry::column(plan, kept, column));
            let present = bits.is_none_or(|bits| !f64::from_bits(bits).is_nan());
            if present && entry::matches(plan, kept, filter) {
                return Carried {
                    time: entry::time(kept),
                    bits: bits.unwrap_or(0),
                };
            }
        }
        Carried::NONE
    }
}

fn value(aggregate: Aggregate, stats: &mut Stats) -> FeatureValue {
    let present = |number: f64| match stats.present {
        0 => FeatureValue::Absent,
        _ => FeatureValue::Number(finite(number)),
    };
    let count = stats.present as f64;
    match aggregate {
        Aggregate::Count => FeatureValue::Count(stats.events),
        Aggregate::Sum => FeatureValue::Number(finite(stats.sum)),
        Aggregate::Mean if stats.present == 0 => FeatureValue::Number(0.0),
        Aggregate::Mean => present(stats.sum / count),
        Aggregate::Min => present(stats.min),
        Aggregate::Max => present(stats.max),
        Aggregate::Last => present(stats.last),
        Aggregate::Stddev => present((stats.squares / count).sqrt()),
        Aggregate::LastTime if stats.events == 0 => FeatureValue::Absent,
        Aggregate::LastTime => FeatureValue::Time(stats.newest),
        Aggregate::Distinct => {
            stats.settle();
            FeatureValue::Count(stats.hashes.len() as u64)
        }
    }
}

/// Sums of numbers near the limit of an f64 overflow: the limit itself is the nearest value.
fn finite(number: f64) -> f64 {
    if number.is_nan() {
        f64::MAX
    } else {
        number.clamp(f64::MIN, f64::MAX)
    }
}
