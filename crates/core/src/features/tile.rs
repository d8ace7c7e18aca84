//! Tiles: sums over one minute of events each, for events beyond the number that is kept exactly.

use super::entry;
use super::plan::Plan;
use super::stats::{Stats, kind};

pub(super) const MINUTE_MS: i64 = 60_000;

/// The minute of a time: tiles begin at whole minutes since the epoch.
pub(super) fn minute(time: i64) -> i64 {
    time.div_euclid(MINUTE_MS)
}

/// The sums of one minute's events, for each cell of the plan.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tile {
    pub(super) minute: i64,
    pub(super) cells: Vec<Stats>,
}

impl Tile {
    /// The tile of a minute without events.
    pub(super) fn new(plan: &Plan, minute: i64) -> Self {
        let cells = vec![Stats::EMPTY; plan.cells.len()];
        Self { minute, cells }
    }

    /// Adds a kept entry.
    pub(super) fn add(&mut self, plan: &Plan, kept: &[u8]) {
        for (cell, stats) in plan.cells.iter().zip(&mut self.cells) {
            if entry::matches(plan, kept, cell.filter) {
                let bits = cell.column.map(|column| entry::column(plan, kept, column));
                let bits = bits.unwrap_or(f64::NAN.to_bits());
                stats.add(cell, kind(cell, &plan.columns), entry::time(kept), bits);
                stats.settle();
            }
        }
    }

    /// Bytes on the heap, including the values of `distinct`.
    pub(super) fn heap_bytes(&self) -> usize {
        let hashes = self.cells.iter().map(|stats| stats.hashes.capacity());
        self.cells.capacity() * size_of::<Stats>() + hashes.sum::<usize>() * size_of::<u64>()
    }

    /// The time of its newest event, or the minute's begin if no windowed feature counts any.
    pub(super) fn newest(&self) -> i64 {
        let counted = self.cells.iter().filter(|stats| stats.events > 0);
        counted
            .map(|stats| stats.newest)
            .max()
            .unwrap_or(self.minute * MINUTE_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::super::definitions::Definitions;
    use super::super::window::{Limits, Window};

    #[test]
    fn the_values_of_distinct_are_counted() {
        let text = "[[feature]]\nname = \"cards\"\naggregate = \"distinct\"\nfield = \"card\"\nwindow = \"24h\"";
        let definitions = Definitions::parse(text).unwrap();
        let limits = Limits {
            exact_events: 1,
            forget: true,
        };
        let (mut window, count) = (Window::default(), 20_000_u64);
        for value in 1..=count {
            let mut entry = vec![0; definitions.entry_bytes()];
            entry[8] = 1;
            entry[16..24].copy_from_slice(&(value << 32).to_le_bytes());
            window.insert(&definitions, &entry, &limits);
        }
        let held = window.heap_bytes() as u64;
        assert!(held >= (count - 1) * 8, "{held} bytes");
    }
}
