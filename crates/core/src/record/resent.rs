//! Copies of rejected records: finds the original that a copy names, and counts each original at most once.
//!
//! A record that cannot be used becomes a dead letter. Once the cause is fixed it is sent again, to the partition that
//! it came from, and this copy names the original in the headers [`TOPIC`], [`PARTITION`] and [`OFFSET`].

use std::collections::BTreeMap;

use super::{Reason, Reject};

/// Header with the topic of the original.
pub const TOPIC: &str = "source.topic";
/// Header with the partition of the original.
pub const PARTITION: &str = "source.partition";
/// Header with the offset of the original.
pub const OFFSET: &str = "source.offset";
/// Header with the Kafka timestamp of the original (epoch ms), which a copy has too: an event without a time of its own
/// stays where it was, and an erasure that came after it covers the copy.
pub const TIMESTAMP: &str = "source.timestamp";

/// Limit of entries of one [`Judged`].
const MOST_ENTRIES: usize = 1_000_000;

/// Limit of ranges of deleted records that one [`Judged`] remembers.
const MOST_GAPS: usize = 32;

/// Bytes of an entry: nodes of the tree have room for 11, and hold 6 to 11.
const ENTRY_BYTES: usize = 24;

/// Coordinates of the record that a copy replaces, in the topic of the copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Original {
    /// The partition of the original.
    pub partition: i32,
    /// The offset of the original.
    pub offset: i64,
}

impl Original {
    /// Reads the original that the record at `offset` of a `partition` of `topic` names; `None` for an ordinary record.
    ///
    /// Of several headers with one name the last counts: those before it are the record's own. A copy follows its
    /// original, so a record that names itself or a later one of its partition is an ordinary record, with headers
    /// about another log of this name.
    pub fn of<'a>(
        headers: impl Iterator<Item = (impl AsRef<[u8]>, Option<&'a [u8]>)>,
        topic: &str,
        partition: i32,
        offset: i64,
    ) -> Option<Self> {
        let [mut its_topic, mut its_partition, mut its_offset] = [None; 3];
        for (name, value) in headers {
            match name.as_ref() {
                name if name == TOPIC.as_bytes() => its_topic = value,
                name if name == PARTITION.as_bytes() => its_partition = value,
                name if name == OFFSET.as_bytes() => its_offset = value,
                _ => {}
            }
        }
        if its_topic? != topic.as_bytes() {
            return None;
        }
        let original = Self {
            partition: i32::try_from(number(its_partition?)?).ok()?,
            offset: number(its_offset?)?,
        };
        let precedes = original.partition != partition || original.offset < offset;
        precedes.then_some(original)
    }

    /// The offset of the original, if the copy is in the same partition.
    ///
    /// # Errors
    ///
    /// A reject for a copy in another partition: only the original's partition knows if the original counts.
    pub fn within(self, partition: i32) -> Result<i64, Reject> {
        if self.partition == partition {
            return Ok(self.offset);
        }
        let error = format!(
            "a copy of partition {} offset {} lies in partition {partition}, where nobody knows whether its original \
             counts: `sandbox dead-letters --resend` sends it to partition {0}",
            self.partition, self.offset
        );
        Err(Reject::new(Reason::ResentElsewhere, error))
    }
}

/// A number of at least 0.
fn number(value: &[u8]) -> Option<i64> {
    let number: i64 = std::str::from_utf8(value).ok()?.parse().ok()?;
    (number >= 0).then_some(number)
}

/// The state of an original that has an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Neither the original nor a copy counts.
    Rejected,
    /// A copy counts.
    Counted,
}

/// The originals of one partition that the state built from it has rejected, or counted by a copy.
///
/// An original counts at most once, by itself or by one copy, in whatever order they arrive. One that the state has
/// read and that has no entry was accepted; one before the first offset of the state was not read, so its copy counts.
///
/// It keeps up to 1,000,000 entries. Beyond that it evicts the oldest, and copies of originals up to the last evicted
/// one no longer count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// First offset that the state was built from.
    begin: i64,
    /// Originals before this offset were evicted.
    floor: i64,
    /// Ranges of originals, from the first offset up to the second, that were deleted before the state could read them.
    skipped: Vec<(i64, i64)>,
    entries: BTreeMap<i64, Verdict>,
}

impl Judged {
    /// Starts without entries, for a state built from `begin` on.
    pub fn new(begin: i64) -> Self {
        Self::restore(begin, 0, [])
    }

    /// Restores stored values of [`begin`](Self::begin), [`floor`](Self::floor) and [`entries`](Self::entries).
    pub fn restore(
        begin: i64,
        floor: i64,
        entries: impl IntoIterator<Item = (i64, Verdict)>,
    ) -> Self {
        let entries = entries.into_iter().collect();
        Self {
            begin,
            floor,
            skipped: Vec::new(),
            entries,
        }
    }

    /// Notes that the records from one offset up to another were deleted before they could be read: their copies count.
    pub fn skip(&mut self, from: i64, to: i64) {
        self.skipped.push((from, to));
        // No one resends records from that many gaps ago.
        if self.skipped.len() > MOST_GAPS {
            self.skipped.remove(0);
        }
    }

    /// The ranges passed to [`Judged::skip`].
    pub fn skipped(&self) -> &[(i64, i64)] {
        &self.skipped
    }

    /// First offset that the state was built from.
    pub fn begin(&self) -> i64 {
        self.begin
    }

    /// First offset whose verdict is remembered.
    pub fn floor(&self) -> i64 {
        self.floor
    }

    /// The entries in the order of their offsets.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = (i64, Verdict)> {
        self.entries
            .iter()
            .map(|(offset, verdict)| (*offset, *verdict))
    }

    /// Memory of the entries, in bytes.
    pub fn bytes(&self) -> usize {
        self.entries.len() * ENTRY_BYTES
    }

    /// Judges the record at `offset` of `partition`, which is a copy of `original` or an ordinary record. Returns the
    /// offset to [`reject`](Self::reject) if the record is unusable: for a copy, that of its original; `None` for a
    /// copy that does not count.
    ///
    /// # Errors
    ///
    /// A reject for a copy outside of its original's partition; it leaves no entry.
    pub fn judge(
        &mut self,
        original: Option<Original>,
        partition: i32,
        offset: i64,
    ) -> Result<Option<i64>, Reject> {
        let Some(original) = original else {
            return Ok(Some(offset));
        };
        let original = original.within(partition)?;
        Ok(self.admit(original, offset).then_some(original))
    }

    /// Notes that the record at `offset` was rejected. For an admitted copy that was rejected in turn, pass the offset
    /// of its original, which a further copy may then replace.
    pub fn reject(&mut self, offset: i64) {
        self.enter(offset, Verdict::Rejected);
    }

    /// True if a copy of the record at `original` counts, which is then noted; `next` is the offset of the copy, or any
    /// other up to which the partition was read.
    ///
    /// A copy counts if its original was rejected, or lies before the first offset of the state, or was deleted unread,
    /// and no copy of it counts yet. An original at or after `next` is not a record of this log: its copy is an
    /// ordinary record.
    pub fn admit(&mut self, original: i64, next: i64) -> bool {
        if original >= next {
            return true;
        }
        let counts = original >= self.floor
            && match self.entries.get(&original) {
                Some(verdict) => *verdict == Verdict::Rejected,
                None => original < self.begin || self.is_skipped(original),
            };
        if counts {
            self.enter(original, Verdict::Counted);
        }
        counts
    }

    /// Evicts originals before `offset`: their copies no longer count.
    pub fn forget_before(&mut self, offset: i64) {
        if offset > self.floor {
            self.floor = offset;
            self.entries = self.entries.split_off(&offset);
        }
    }

    fn is_skipped(&self, offset: i64) -> bool {
        let skipped = |(from, to): &(i64, i64)| (*from..*to).contains(&offset);
        self.skipped.iter().any(skipped)
    }

    fn enter(&mut self, offset: i64, verdict: Verdict) {
        if offset < self.floor {
            return;
        }
        self.entries.insert(offset, verdict);
        if self.entries.len() > MOST_ENTRIES
            && let Some((oldest, _)) = self.entries.pop_first()
        {
            self.floor = oldest + 1;
        }
    }
}

#[cfg(test)]
mod tests;
