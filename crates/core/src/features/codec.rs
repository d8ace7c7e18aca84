//! A window as bytes and back.
//!
//! Layout, all numbers little endian: version (u8), newest (i64); for each carry of the plan time (i64) and bits
//! (u64); entries (u32 count, then as they are kept); tiles (u32 count), each its minute (i64) and for each cell of
//! the plan the events counted (u32) and, unless 0, what the cell asks for.

use super::definitions::Definitions;
use super::entry::{self, word};
use super::plan::{Cell, Kind, Plan};
use super::stats::{Stats, kind};
use super::tile::{MINUTE_MS, Tile, minute};
use super::window::{Carried, Window};

const VERSION: u8 = 1;

impl Window {
    /// Appends the window's bytes.
    pub fn encode(&self, definitions: &Definitions, out: &mut Vec<u8>) {
        let plan = &definitions.plan;
        out.reserve(32 + self.entries.len());
        out.push(VERSION);
        out.extend_from_slice(&self.newest.to_le_bytes());
        for index in 0..plan.carries.len() {
            let carried = self.carried.get(index).unwrap_or(&Carried::NONE);
            out.extend_from_slice(&carried.time.to_le_bytes());
            out.extend_from_slice(&carried.bits.to_le_bytes());
        }
        count(out, self.entries.len() / plan.stride);
        out.extend_from_slice(&self.entries);
        count(out, self.tiles.len());
        for tile in &self.tiles {
            out.extend_from_slice(&tile.minute.to_le_bytes());
            for (cell, stats) in plan.cells.iter().zip(&tile.cells) {
                encode_stats(out, plan, cell, stats, tile.minute * MINUTE_MS);
            }
        }
    }

    /// Reads what [`Window::encode`] wrote with the same definitions; `None` for any other bytes.
    pub fn decode(definitions: &Definitions, bytes: &[u8]) -> Option<Self> {
        let plan = &definitions.plan;
        let mut from = Reader(bytes);
        if from.take(1)? != [VERSION] {
            return None;
        }
        let newest = from.word()? as i64;
        let mut carried = Vec::with_capacity(plan.carries.len());
        for _ in &plan.carries {
            carried.push(Carried {
                time: from.word()? as i64,
                bits: from.word()?,
            });
        }
        if carried.iter().all(|carried| *carried == Carried::NONE) {
            carried.clear();
        }
        let entries = from.count()?.checked_mul(plan.stride)?;
        let entries = from.take(entries)?.to_vec();
        let mut times = entries.chunks_exact(plan.stride).map(entry::time);
        if !times.clone().is_sorted() || times.clone().next_back().is_some_and(|time| time > newest)
        {
            return None;
        }
        let oldest = times.next();
        let mut tiles: Vec<Tile> = Vec::new();
        for _ in 0..from.count()? {
            let own = from.word()? as i64;
            let begin = own.checked_mul(MINUTE_MS)?;
            let cells = plan.cells.iter().map(|cell| from.stats(plan, cell, begin));
            let cells = cells.collect::<Option<Vec<_>>>()?;
            let after = tiles.last().is_none_or(|tile| tile.minute < own);
            if !after || oldest.is_some_and(|oldest| minute(oldest) <= own) {
                return None;
            }
            tiles.push(Tile { minute: own, cells });
        }
        from.0.is_empty().then_some(Self {
            newest,
            entries,
            tiles,
            carried,
        })
    }
}

/// A count as u32, which suffices: a Redis value is at most 512 MiB.
fn count(out: &mut Vec<u8>, count: usize) {
    out.extend_from_slice(&(count as u32).to_le_bytes());
}

fn encode_stats(out: &mut Vec<u8>, plan: &Plan, cell: &Cell, stats: &Stats, begin: i64) {
    let events = u32::try_from(stats.events).unwrap_or(u32::MAX);
    out.extend_from_slice(&events.to_le_bytes());
    if events == 0 {
        return;
    }
    let mut times = vec![stats.first, stats.newest];
    let mut numbers = Vec::new();
    if cell.column.is_some() {
        numbers.push(stats.sum);
    }
    if cell.extremes {
        numbers.extend([stats.min, stats.max]);
    }
    if cell.spread {
        numbers.extend([stats.mean, stats.squares]);
    }
    if cell.last {
        numbers.push(stats.last);
        times.push(stats.last_time.max(begin));
    }
    // Times within the minute fit 16 bits.
    times
        .iter()
        .for_each(|time| out.extend_from_slice(&((time - begin) as u16).to_le_bytes()));
    if kind(cell, &plan.columns) == Kind::Hash {
        count(out, stats.hashes.len());
        stats
            .hashes
            .iter()
            .for_each(|hash| out.extend_from_slice(&hash.to_le_bytes()));
    } else if cell.column.is_some() {
        count(out, stats.present as usize);
        numbers
            .iter()
            .for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
    }
}

/// The bytes still to be read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }

    fn word(&mut self) -> Option<u64> {
        Some(word(self.take(8)?, 0))
    }

    fn number(&mut self) -> Option<f64> {
        self.word().map(f64::from_bits)
    }

    fn count(&mut self) -> Option<usize> {
        let bytes = self.take(4)?.try_into().ok()?;
        Some(u32::from_le_bytes(bytes) as usize)
    }

    /// A time within the minute that begins at `begin`.
    fn time(&mut self, begin: i64) -> Option<i64> {
        let bytes = self.take(2)?.try_into().ok()?;
        let within = i64::from(u16::from_le_bytes(bytes));
        (within < MINUTE_MS).then_some(begin + within)
    }

    fn stats(&mut self, plan: &Plan, cell: &Cell, begin: i64) -> Option<Stats> {
        let mut stats = Stats::EMPTY;
        stats.events = self.count()? as u64;
        if stats.events == 0 {
            return Some(stats);
        }
        stats.first = self.time(begin)?;
        stats.newest = self.time(begin)?;
        if cell.last {
            stats.last_time = self.time(begin)?;
        }
        if kind(cell, &plan.columns) == Kind::Hash {
            for _ in 0..self.count()? {
                stats.hashes.push(self.word()?);
            }
            return stats.hashes.is_sorted().then_some(stats);
        }
        if cell.column.is_none() {
            return Some(stats);
        }
        stats.present = self.count()? as u64;
        stats.sum = self.number()?;
        if cell.extremes {
            (stats.min, stats.max) = (self.number()?, self.number()?);
        }
        if cell.spread {
            (stats.mean, stats.squares) = (self.number()?, self.number()?);
        }
        if cell.last {
            stats.last = self.number()?;
        }
        if stats.present == 0 {
            stats.last_time = i64::MIN;
        }
        Some(stats)
    }
}
