//! Entries: the bytes that a window keeps of an event.
//!
//! A new entry is the event's time (i64, ms), the mask of the filters it matches (u64) and one 8-byte column for each
//! value that features need, all little endian. A kept entry has only those bytes of the mask that the plan needs.

use super::definitions::Definitions;
use super::plan::{Kind, Plan};
use crate::record::{Reject, Value};
use sha2::{Digest, Sha256};

/// Bytes of time and mask in a new entry.
const HEAD: usize = 16;

impl Definitions {
    /// Bytes of a new entry.
    pub fn entry_bytes(&self) -> usize {
        HEAD + 8 * self.plan.columns.len()
    }

    /// Appends the entry of an event to `out`. `values` are those that [`Definitions::fields`] decoded, with defaults
    /// filled in. Fails, with `out` unchanged, if a field that is aggregated as a number is not one.
    pub fn entry(&self, time: i64, values: &[Value<'_>], out: &mut Vec<u8>) -> Result<(), Reject> {
        let plan = &self.plan;
        let mut mask = 0u64;
        for (bit, conditions) in plan.filters.iter().enumerate() {
            let matches = conditions
                .iter()
                .all(|(field, scalar)| scalar.equals(&values[*field]));
            mask |= u64::from(matches) << bit;
        }
        let start = out.len();
        out.extend_from_slice(&time.to_le_bytes());
        out.extend_from_slice(&mask.to_le_bytes());
        for column in &plan.columns {
            let (value, name) = (&values[column.field], &plan.names[column.field]);
            let bits = match column.kind {
                Kind::Number => value
                    .number(name)
                    .map(|number| number.unwrap_or(f64::NAN).to_bits()),
                Kind::Hash => hash(value, name),
            };
            match bits {
                Ok(bits) => out.extend_from_slice(&bits.to_le_bytes()),
                Err(reject) => {
                    out.truncate(start);
                    return Err(reject);
                }
            }
        }
        Ok(())
    }
}

/// The first 8 bytes of the value's SHA-256, so that nobody makes two values look like one; 0 only for an absent value.
/// A whole number equals the same number written with a fraction of zero.
fn hash(value: &Value<'_>, field: &str) -> Result<u64, Reject> {
    let exact = |number: i128| number as f64 as i128 == number;
    let mut sha = Sha256::new();
    match value {
        Value::Absent => return Ok(0),
        Value::Bool(flag) => sha.update([b'b', u8::from(*flag)]),
        Value::Integer(number) if !exact(*number) => {
            sha.update(b"i");
            sha.update(number.to_le_bytes());
        }
        Value::Integer(number) => {
            sha.update(b"f");
            sha.update((*number as f64).to_le_bytes());
        }
        Value::Float(number) => {
            sha.update(b"f");
            sha.update((number + 0.0).to_le_bytes());
        }
        Value::Text(text) => {
            sha.update(b"t");
            sha.update(text.as_bytes());
        }
        Value::Nested => return Err(value.wrong(field, "a text, a number or a bool")),
    }
    let digest = sha.finalize();
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&digest[..8]);
    Ok(u64::from_le_bytes(bytes).max(1))
}

/// The little-endian number at `at`; the caller has checked the length.
pub(super) fn word(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

/// The time of a new or a kept entry.
pub(super) fn time(entry: &[u8]) -> i64 {
    word(entry, 0) as i64
}

/// The mask and columns of a new entry.
pub(super) fn new_parts(entry: &[u8]) -> (u64, &[u8]) {
    (word(entry, 8), &entry[HEAD..])
}

/// True if a kept entry matches a filter.
#[inline]
pub(super) fn matches(plan: &Plan, entry: &[u8], filter: usize) -> bool {
    plan.mask_bytes == 0 || entry[8 + filter / 8] & (1 << (filter % 8)) != 0
}

/// The bits of a kept entry's column.
#[inline]
pub(super) fn column(plan: &Plan, entry: &[u8], column: usize) -> u64 {
    word(entry, 8 + plan.mask_bytes + 8 * column)
}
