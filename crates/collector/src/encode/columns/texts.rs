//! The parts that columns of variable length are made of.

use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer};

/// Texts end to end.
#[derive(Debug, Default)]
pub(super) struct Texts {
    ends: Vec<i32>,
    bytes: Vec<u8>,
}

impl Texts {
    /// Adds a text; an empty one means null.
    pub(super) fn push(&mut self, text: &[u8]) {
        self.bytes.extend_from_slice(text);
        // Bounded by the 64 MiB of values that a file holds, or by its only record.
        self.ends.push(self.bytes.len() as i32);
    }

    pub(super) fn truncate(&mut self, rows: usize) {
        self.ends.truncate(rows);
        self.bytes
            .truncate(self.ends.last().map_or(0, |end| *end as usize));
    }

    /// Offsets and bytes as Arrow has them.
    pub(super) fn finish(self) -> (OffsetBuffer<i32>, Buffer) {
        (offsets(self.ends), self.bytes.into())
    }
}

/// Arrow's offsets, which begin with 0, from the ends of the values.
pub(super) fn offsets(mut ends: Vec<i32>) -> OffsetBuffer<i32> {
    ends.insert(0, 0);
    OffsetBuffer::new(ends.into())
}

/// Arrow's nulls; none at all where every row has a value.
pub(super) fn nulls(valid: Vec<bool>) -> Option<NullBuffer> {
    let nulls = NullBuffer::from(valid);
    (nulls.null_count() > 0).then_some(nulls)
}
