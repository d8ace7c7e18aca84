//! Sums over a set of events: one cell over a window, or one cell of a tile.

use super::plan::{Cell, Column, Kind};

/// Sums over events, added in the order of their times.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Stats {
    /// Events counted.
    pub(super) events: u64,
    /// The times of the oldest and the newest event; void if there is none.
    pub(super) first: i64,
    pub(super) newest: i64,
    /// Events whose field was a number; the following sums, up to the hashes, are over these.
    pub(super) present: u64,
    pub(super) sum: f64,
    pub(super) min: f64,
    pub(super) max: f64,
    pub(super) mean: f64,
    /// The sum of squared deviations from the mean.
    pub(super) squares: f64,
    /// The newest value and its time.
    pub(super) last: f64,
    pub(super) last_time: i64,
    /// Distinct hashes in a tile, sorted; in a window they may repeat until [`Stats::settle`].
    pub(super) hashes: Vec<u64>,
}

impl Stats {
    pub(super) const EMPTY: Self = Self {
        events: 0,
        first: i64::MAX,
        newest: i64::MIN,
        present: 0,
        sum: 0.0,
        min: f64::INFINITY,
        max: f64::NEG_INFINITY,
        mean: 0.0,
        squares: 0.0,
        last: f64::NAN,
        last_time: i64::MIN,
        hashes: Vec::new(),
    };

    /// Empties it, except for the capacity of the hashes.
    pub(super) fn clear(&mut self) {
        let mut hashes = std::mem::take(&mut self.hashes);
        hashes.clear();
        *self = Self {
            hashes,
            ..Self::EMPTY
        };
    }

    /// Counts an event; `bits` is its value in the cell's column.
    #[inline]
    pub(super) fn add(&mut self, cell: &Cell, kind: Kind, time: i64, bits: u64) {
        self.events += 1;
        self.first = self.first.min(time);
        self.newest = self.newest.max(time);
        if kind == Kind::Hash {
            if bits != 0 {
                self.hashes.push(bits);
            }
            return;
        }
        let value = f64::from_bits(bits);
        if value.is_nan() {
            return;
        }
        self.present += 1;
        self.sum += value;
        if cell.extremes {
            self.min = self.min.min(value);
            self.max = self.max.max(value);
        }
        if cell.spread {
            // B. P. Welford, Technometrics 4 (1962): stable where a sum of squares cancels.
            let deviation = value - self.mean;
            self.mean += deviation / self.present as f64;
            self.squares += deviation * (value - self.mean);
        }
        if cell.last && time >= self.last_time {
            self.last = value;
            self.last_time = time;
        }
    }

    /// Adds the counts of `other`.
    pub(super) fn merge(&mut self, other: &Self) {
        self.first = self.first.min(other.first);
        self.newest = self.newest.max(other.newest);
        self.events += other.events;
        self.sum += other.sum;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        if other.present > 0 {
            // Chan, Golub and LeVeque (1979): squared deviations of two parts joined.
            let (own, others) = (self.present as f64, other.present as f64);
            let deviation = other.mean - self.mean;
            self.mean += deviation * others / (own + others);
            self.squares += other.squares + deviation * deviation * own * others / (own + others);
            self.present += other.present;
        }
        if other.last_time >= self.last_time {
            self.last = other.last;
            self.last_time = other.last_time;
        }
        self.hashes.extend_from_slice(&other.hashes);
    }

    /// Sorts the hashes, and drops duplicates.
    pub(super) fn settle(&mut self) {
        self.hashes.sort_unstable();
        self.hashes.dedup();
    }
}

/// The encoding of a cell's column; a cell without one reads absent numbers.
pub(super) fn kind(cell: &Cell, columns: &[Column]) -> Kind {
    cell.column
        .map_or(Kind::Number, |column| columns[column].kind)
}
