//! What is stored of a user: the window, and what was written of it.
//!
//! An event changes little of a window, so what is stored is a whole state followed by what each later write added
//! to it; now and then a write replaces all that by the whole again. Redis, its append-only file and its replicas
//! are spared a window for each event.

use tidemill_core::features::{Definitions, Limits, Window};

/// What a stored user begins with, and what each addition does.
const WHOLE: u8 = 2;
const ADDED: u8 = 0xad;
/// Bytes of a whole before the window: what it is, the window's length, marks, partition, epoch, expires_at, scheduled.
const HEAD: usize = 1 + 4 + 1 + 4 + 4 + 8 + 8;
/// Bytes of an addition before its events: what it is, how many bytes they are, marks, expires_at, scheduled.
const ADDED_HEAD: usize = 1 + 4 + 1 + 8 + 8;
/// The life of what is stored is prolonged by wholes alone, so that additions may outlive them by that much.
pub const WHOLE_EVERY_MS: i64 = 30 * 60 * 1000;

/// Fields that the hash may hold and that must go when they no longer apply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// `_exact`
    pub inexact: bool,
    /// `_complete_from`
    pub incomplete: bool,
}

/// What the store holds of a user after the last write, which decides what the next one is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// Bytes of the whole; 0 when the next write must be one.
    whole: usize,
    /// Bytes added to it since.
    added: usize,
    /// `expires_at` as the whole was written.
    expires_at: i64,
}

/// The state of a user.
#[derive(Clone, Debug, PartialEq)]
pub struct User {
    /// The partition whose records made it.
    pub partition: i32,
    /// The partition's epoch when they did.
    pub epoch: u32,
    /// When the hash ends (epoch ms), unless another record renews it.
    pub expires_at: i64,
    /// The score in the partition's sorted set of expiries; `None` where the user is not in it.
    pub scheduled: Option<i64>,
    /// What the hash holds beside the features.
    pub marks: Marks,
    /// The events.
    pub window: Window,
    /// What the store has of all this.
    pub stored: Stored,
}

impl User {
    /// A user of whom nothing is known yet.
    pub fn new(partition: i32, epoch: u32) -> Self {
        Self {
            partition,
            epoch,
            expires_at: 0,
            scheduled: None,
            marks: Marks::default(),
            window: Window::default(),
            stored: Stored::default(),
        }
    }

    /// Whether a write may add `events` bytes of events to what is stored: not to more than doubles the whole, and not
    /// where its life must be prolonged.
    pub fn may_add(&self, events: usize) -> bool {
        let Stored {
            whole,
            added,
            expires_at,
        } = self.stored;
        added + ADDED_HEAD + events <= whole && self.expires_at - expires_at < WHOLE_EVERY_MS
    }

    /// Appends the bytes of the whole, and takes them for stored.
    pub fn encode(&mut self, definitions: &Definitions, out: &mut Vec<u8>) {
        let begin = out.len();
        out.push(WHOLE);
        out.extend_from_slice(&[0; 4]);
        self.encode_state(out, |user, out| {
            out.extend_from_slice(&user.partition.to_le_bytes());
            out.extend_from_slice(&user.epoch.to_le_bytes());
        });
        self.window.encode(definitions, out);
        let whole = out.len() - begin;
        // More than that of anything does not fit a Redis value.
        out[begin + 1..begin + 5].copy_from_slice(&((whole - HEAD) as u32).to_le_bytes());
        self.stored = Stored {
            whole,
            added: 0,
            expires_at: self.expires_at,
        };
    }

    /// Appends what a write with these entries adds, and takes it for stored.
    pub fn encode_added(&mut self, entries: &[u8], out: &mut Vec<u8>) {
        out.push(ADDED);
        out.extend_from_slice(&(entries.len() as u32).to_le_bytes());
        self.encode_state(out, |_, _| {});
        out.extend_from_slice(entries);
        self.stored.added += ADDED_HEAD + entries.len();
    }

    fn encode_state(&self, out: &mut Vec<u8>, origin: impl FnOnce(&Self, &mut Vec<u8>)) {
        out.push(u8::from(self.marks.inexact) | u8::from(self.marks.incomplete) << 1);
        origin(self, out);
        out.extend_from_slice(&self.expires_at.to_le_bytes());
        out.extend_from_slice(&self.scheduled.unwrap_or(i64::MIN).to_le_bytes());
    }

    /// Partition and epoch of what is stored, whatever its definitions are; `None` when no whole stands there.
    pub fn origin(bytes: &[u8]) -> Option<(i32, u32)> {
        let mut from = bytes;
        let ([WHOLE], _length, _marks) = (
            take::<1>(&mut from)?,
            take::<4>(&mut from)?,
            take::<1>(&mut from)?,
        ) else {
            return None;
        };
        let partition = i32::from_le_bytes(take(&mut from)?);
        Some((partition, u32::from_le_bytes(take(&mut from)?)))
    }

    /// Reads what was written with the same definitions and limits; `None` when it is something else.
    pub fn decode(definitions: &Definitions, limits: &Limits, bytes: &[u8]) -> Option<Self> {
        let mut from = bytes;
        let ([WHOLE], length) = (take::<1>(&mut from)?, take(&mut from)?) else {
            return None;
        };
        let marks = take(&mut from)?;
        let mut user = Self::new(
            i32::from_le_bytes(take(&mut from)?),
            u32::from_le_bytes(take(&mut from)?),
        );
        user.decode_state(marks, &mut from)?;
        let (window, mut from) = from.split_at_checked(u32::from_le_bytes(length) as usize)?;
        user.window = Window::decode(definitions, window)?;
        user.stored = Stored {
            whole: bytes.len() - from.len(),
            added: from.len(),
            expires_at: user.expires_at,
        };
        while !from.is_empty() {
            let ([ADDED], length) = (take::<1>(&mut from)?, take(&mut from)?) else {
                return None;
            };
            let marks = take(&mut from)?;
            user.decode_state(marks, &mut from)?;
            let (entries, rest) = from.split_at_checked(u32::from_le_bytes(length) as usize)?;
            let entries = entries.chunks_exact(definitions.entry_bytes());
            if !entries.remainder().is_empty() {
                return None;
            }
            entries.for_each(|entry| user.window.insert(definitions, entry, limits));
            from = rest;
        }
        Some(user)
    }

    fn decode_state(&mut self, [marks]: [u8; 1], from: &mut &[u8]) -> Option<()> {
        self.marks = Marks {
            inexact: marks & 1 != 0,
            incomplete: marks & 2 != 0,
        };
        self.expires_at = i64::from_le_bytes(take(from)?);
        let scheduled = i64::from_le_bytes(take(from)?);
        self.scheduled = (scheduled != i64::MIN).then_some(scheduled);
        Some(())
    }
}

fn take<const N: usize>(from: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = from.split_first_chunk()?;
    *from = rest;
    Some(*taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: Limits = Limits {
        exact_events: 6,
        forget: true,
    };

    fn entry(time: i64, amount: f64) -> Vec<u8> {
        let (definitions, mut entry) = (Definitions::standard(), Vec::new());
        entry.extend_from_slice(&time.to_le_bytes());
        entry.extend_from_slice(&1u64.to_le_bytes());
        entry.extend_from_slice(&amount.to_le_bytes());
        assert_eq!(entry.len(), definitions.entry_bytes());
        entry
    }

    #[test]
    fn users_read_back_and_their_prefixes_do_not() {
        let definitions = Definitions::standard();
        let mut user = User::new(3, 0xdead_beef);
        user.expires_at = 17;
        user.scheduled = Some(-2);
        user.marks.incomplete = true;
        let mut bytes = Vec::new();
        user.encode(&definitions, &mut bytes);
        let whole = bytes.len();
        let new = entry(5, 2.5);
        assert!(user.may_add(new.len()));
        user.window.insert(&definitions, &new, &LIMITS);
        user.scheduled = None;
        user.encode_added(&new, &mut bytes);
        let read = |bytes: &[u8]| User::decode(&definitions, &LIMITS, bytes);
        assert_eq!(read(&bytes), Some(user));
        assert_eq!(User::origin(&bytes), Some((3, 0xdead_beef)));
        assert_eq!(User::origin(&bytes[whole..]), None);
        for end in (0..bytes.len()).filter(|end| *end != whole) {
            assert_eq!(read(&bytes[..end]), None);
        }
        assert_eq!(read(&bytes[whole..]), None, "an addition to nothing");
    }

    #[test]
    fn a_whole_is_written_before_it_would_run_out() {
        let mut user = User::new(0, 0);
        assert!(!user.may_add(0), "nothing is stored");
        user.encode(&Definitions::standard(), &mut Vec::new());
        assert!(user.may_add(0));
        user.expires_at += WHOLE_EVERY_MS;
        assert!(!user.may_add(0));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3_000))]
        #[test]
        fn what_is_stored_is_what_is_in_memory(
            writes in prop::collection::vec(
                (prop::collection::vec((0i64..200_000_000, -1e6..1e6f64), 0..5), any::<bool>()),
                0..40,
            ),
        ) {
            let definitions = Definitions::standard();
            let (mut user, mut bytes, mut added) = (User::new(1, 2), Vec::new(), 0);
            for (number, (events, marked)) in writes.iter().enumerate() {
                let mut news = Vec::new();
                for (time, amount) in events {
                    let entry = entry(*time, *amount);
                    user.window.insert(&definitions, &entry, &LIMITS);
                    news.extend_from_slice(&entry);
                }
                user.scheduled = marked.then_some(number as i64);
                user.expires_at = number as i64 * 1000;
                user.marks.inexact = *marked;
                if user.may_add(news.len()) {
                    user.encode_added(&news, &mut bytes);
                    added += 1;
                } else {
                    bytes.clear();
                    user.encode(&definitions, &mut bytes);
                }
                // By their bytes, since tiles hold what equals nothing, not even itself.
                let read = User::decode(&definitions, &LIMITS, &bytes);
                let whole = |mut user: User| {
                    let (stored, mut whole) = (user.stored, Vec::new());
                    user.encode(&definitions, &mut whole);
                    (stored, whole)
                };
                prop_assert_eq!(read.map(whole), Some(whole(user.clone())));
            }
            prop_assert!(added > 0 || writes.len() < 20);
        }
    }
}
