//! The window of one user: a pure function of the entries inserted, in their order in the log.

use super::definitions::Definitions;
use super::entry;
use super::plan::Plan;
use super::tile::{Tile, minute};

/// Limits on the entries that a window keeps.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Entries kept exactly; beyond it, the oldest minutes are folded into tiles.
    pub exact_events: usize,
    /// True if entries are dropped that have left the longest window before the newest event. Otherwise, the window can
    /// be evaluated at any time of the past.
    pub forget: bool,
}

impl Limits {
    /// Everything is kept exactly.
    pub const NONE: Self = Self {
        exact_events: usize::MAX,
        forget: false,
    };
}

/// The newest time and value of a feature without a window; void if the time is `i64::MIN`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Carried {
    pub(super) time: i64,
    pub(super) bits: u64,
}

impl Carried {
    pub(super) const NONE: Self = Self {
        time: i64::MIN,
        bits: 0,
    };
}

/// The events of one user that still matter to a feature. All calls must pass the same definitions.
///
/// It keeps exactly the entries of all minutes after the newest tile's, sorted by time and, for equal times, by log
/// order.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// The newest time of any event; `i64::MIN` before the first.
    pub(super) newest: i64,
    pub(super) entries: Vec<u8>,
    pub(super) tiles: Vec<Tile>,
    /// One for each carry of the plan; empty before the first.
    pub(super) carried: Vec<Carried>,
}

impl Default for Window {
    fn default() -> Self {
        Self {
            newest: i64::MIN,
            entries: Vec::new(),
            tiles: Vec::new(),
            carried: Vec::new(),
        }
    }
}

impl Window {
    /// The time of the newest event; `None` before the first.
    pub fn newest(&self) -> Option<i64> {
        (self.newest != i64::MIN).then_some(self.newest)
    }

    /// Bytes on the heap, for budgets.
    pub fn heap_bytes(&self) -> usize {
        let tiles = self.tiles.iter().map(Tile::heap_bytes);
        self.entries.capacity()
            + self.tiles.capacity() * size_of::<Tile>()
            + tiles.sum::<usize>()
            + self.carried.capacity() * size_of::<Carried>()
    }

    /// Inserts a new entry (see [`Definitions::entry`]), whatever its time.
    pub fn insert(&mut self, definitions: &Definitions, new: &[u8], limits: &Limits) {
        let plan = &definitions.plan;
        let time = entry::time(new);
        let (mask, columns) = entry::new_parts(new);
        self.newest = self.newest.max(time);
        if limits.forget {
            self.forget_through(definitions, self.newest.saturating_sub(plan.longest_ms));
        }
        if mask == 0 {
            return;
        }
        self.carry(plan, time, mask, columns);
        if limits.forget && time <= self.newest.saturating_sub(plan.longest_ms) {
            return;
        }
        let mask = &mask.to_le_bytes()[..plan.mask_bytes];
        match self.tiles.last() {
            Some(tile) if minute(time) <= tile.minute => {
                let kept = [&new[..8], mask, columns].concat();
                self.tile(plan, minute(time)).add(plan, &kept);
            }
            _ => self.keep(plan.stride, time, [&new[..8], mask, columns]),
        }
        while self.entries.len() / plan.stride > limits.exact_events {
            self.fold(plan);
        }
    }

    /// Drops everything up to and including `time`, except the carried values of features without a window.
    pub fn forget_through(&mut self, definitions: &Definitions, time: i64) {
        let stride = definitions.plan.stride;
        let left = self.tiles.partition_point(|tile| tile.newest() <= time);
        self.tiles.drain(..left);
        let left = self
            .entries
            .chunks_exact(stride)
            .take_while(|kept| entry::time(kept) <= time);
        let bytes = left.count() * stride;
        if bytes > 0 {
            self.entries.drain(..bytes);
        }
    }

    fn carry(&mut self, plan: &Plan, time: i64, mask: u64, columns: &[u8]) {
        for (index, carry) in plan.carries.iter().enumerate() {
            let bits = carry.column.map(|column| entry::word(columns, 8 * column));
            let present = bits.is_none_or(|bits| !f64::from_bits(bits).is_nan());
            if mask & (1 << carry.filter) == 0 || !present {
                continue;
            }
            if self.carried.is_empty() {
                self.carried.resize(plan.carries.len(), Carried::NONE);
            }
            if time >= self.carried[index].time {
                self.carried[index] = Carried {
                    time,
                    bits: bits.unwrap_or(0),
                };
            }
        }
    }

    /// Inserts an entry after all those that are not newer.
    fn keep(&mut self, stride: usize, time: i64, parts: [&[u8]; 3]) {
        let end = self.entries.len();
        if end == 0 || entry::time(&self.entries[end - stride..]) <= time {
            // Grows by an eighth: doubling would cost more memory than the time it saves.
            if self.entries.capacity() - end < stride {
                self.entries.reserve_exact((end / 8).max(4 * stride));
            }
            parts
                .iter()
                .for_each(|part| self.entries.extend_from_slice(part));
            return;
        }
        let at = self.position(stride, time) * stride;
        self.entries.splice(at..at, parts.concat());
    }

    /// The number of kept entries that are not newer than `time`.
    pub(super) fn position(&self, stride: usize, time: i64) -> usize {
        let (mut low, mut high) = (0, self.entries.len() / stride);
        while low < high {
            let middle = (low + high) / 2;
            if entry::time(&self.entries[middle * stride..]) <= time {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// Folds the oldest minute of the kept entries into its tile.
    fn fold(&mut self, plan: &Plan) {
        let oldest = minute(entry::time(&self.entries));
        let mut tile = Tile::new(plan, oldest);
        let mut bytes = 0;
        for kept in self.entries.chunks_exact(plan.stride) {
            if minute(entry::time(kept)) != oldest {
                break;
            }
            tile.add(plan, kept);
            bytes += plan.stride;
        }
        self.entries.drain(..bytes);
        self.tiles.push(tile);
    }

    /// The tile of a minute, created if it is missing.
    fn tile(&mut self, plan: &Plan, minute: i64) -> &mut Tile {
        let at = self.tiles.partition_point(|tile| tile.minute < minute);
        if self.tiles.get(at).is_none_or(|tile| tile.minute != minute) {
            self.tiles.insert(at, Tile::new(plan, minute));
        }
        &mut self.tiles[at]
    }
}
