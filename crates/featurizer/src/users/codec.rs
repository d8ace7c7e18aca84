//! The stored bytes of a user: a whole state, and the additions of later writes.
//!
//! The events of a few seconds change little of a window, so most writes append; an occasional write replaces
//! everything with a new whole. That spares Redis, its append-only file and its replicas most of a window.

use super::{Erasures, Home, Homes, Marks, User};
use tidemill_core::features::{Definitions, Limits, Window};

/// The first byte of a whole state, and of an addition.
const WHOLE: u8 = 4;
const ADDED: u8 = 0xaf;
/// Bytes of a whole before its earlier homes and the window: kind, the length of these, marks, home, complete_from, then
/// the changing part.
const HEAD: usize = 1 + 4 + 1 + 8 + 8 + CHANGING;
/// Bytes of an addition before its events: kind, the length of the events, marks, then the changing part.
const ADDED_HEAD: usize = 1 + 4 + 1 + CHANGING;
/// Bytes of the part that every write updates: the next offset of the home, recorded, expires_at, scheduled.
const CHANGING: usize = 8 + 8 + 8 + 8;
/// Only a whole write renews the TTL of the window's key, additions do not: a whole write adds this slack (ms), and
/// is forced once it is used up.
pub const WHOLE_EVERY_MS: i64 = 30 * 60 * 1000;

/// The stored form of a user after the last write. It decides the form of the next write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stored {
    /// Bytes of the whole; 0 if the next write must be a whole.
    whole: usize,
    /// Bytes added to it since.
    added: usize,
    /// `expires_at` when the whole was written.
    expires_at: i64,
    /// True if the next write must be a whole: too many entries are unsaved.
    outgrown: bool,
}

impl User {
    /// True if the store holds the user, perhaps as it was some writes ago.
    pub fn is_stored(&self) -> bool {
        self.stored.whole > 0
    }

    /// True if the next write may append: the additions must stay smaller than the whole, and the key must not need a
    /// new TTL.
    pub fn may_add(&self) -> bool {
        let lives = self.expires_at - self.stored.expires_at < WHOLE_EVERY_MS;
        lives && !self.stored.outgrown && self.fits(self.unsaved.len())
    }

    /// True if additions with `events` more bytes of events stay smaller than the whole.
    fn fits(&self, events: usize) -> bool {
        self.stored.added + ADDED_HEAD + events <= self.stored.whole
    }

    /// Keeps an entry for the next addition, unless the next write has to be a whole.
    pub(super) fn keep_unsaved(&mut self, entry: &[u8]) {
        if !self.stored.outgrown && self.fits(self.unsaved.len() + entry.len()) {
            self.unsaved.extend_from_slice(entry);
        } else {
            self.stored.outgrown = true;
            self.unsaved = Vec::new();
        }
    }

    /// Appends the bytes of the whole, and notes them as stored.
    pub fn encode(&mut self, definitions: &Definitions, out: &mut Vec<u8>) {
        let begin = out.len();
        out.push(WHOLE);
        out.extend_from_slice(&[0; 4]);
        out.push(self.bits());
        encode_home(self.home(), out);
        out.extend_from_slice(&self.complete_from.unwrap_or(i64::MIN).to_le_bytes());
        self.encode_changing(out);
        let others = self.homes.others();
        out.extend_from_slice(&(others.len() as u32).to_le_bytes());
        for (home, next) in others {
            encode_home(*home, out);
            out.extend_from_slice(&next.to_le_bytes());
        }
        self.window.encode(definitions, out);
        let whole = out.len() - begin;
        // A Redis value is never longer than 512 MiB.
        out[begin + 1..begin + 5].copy_from_slice(&((whole - HEAD) as u32).to_le_bytes());
        self.stored = Stored {
            whole,
            added: 0,
            expires_at: self.expires_at,
            outgrown: false,
        };
        self.unsaved = Vec::new();
    }

    /// Appends the bytes of an addition with the unsaved entries, and notes them as stored.
    pub fn encode_added(&mut self, out: &mut Vec<u8>) {
        let entries = std::mem::take(&mut self.unsaved);
        out.push(ADDED);
        out.extend_from_slice(&(entries.len() as u32).to_le_bytes());
        out.push(self.bits());
        self.encode_changing(out);
        out.extend_from_slice(&entries);
        self.stored.added += ADDED_HEAD + entries.len();
    }

    fn bits(&self) -> u8 {
        let Marks {
            inexact,
            incomplete,
        } = self.marks;
        u8::from(inexact) | u8::from(incomplete) << 1 | u8::from(self.mixed) << 2
    }

    fn encode_changing(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.homes.next().to_le_bytes());
        out.extend_from_slice(&self.recorded.to_le_bytes());
        out.extend_from_slice(&self.expires_at.to_le_bytes());
        out.extend_from_slice(&self.scheduled.unwrap_or(i64::MIN).to_le_bytes());
    }

    /// The home of a stored user, with whatever definitions; `None` if `bytes` do not begin with a whole.
    pub fn stored_home(bytes: &[u8]) -> Option<Home> {
        let mut from = bytes;
        let ([WHOLE], _length, _bits) = (
            take::<1>(&mut from)?,
            take::<4>(&mut from)?,
            take::<1>(&mut from)?,
        ) else {
            return None;
        };
        decode_home(&mut from)
    }

    /// True for bytes of an earlier version. They belong to no present building, since positions of that version do not
    /// read back.
    pub fn is_of_earlier_version(bytes: &[u8]) -> bool {
        matches!(bytes.first(), Some(1..WHOLE))
    }

    /// Reads bytes written with the same definitions and limits; `None` for anything else. `erasures` are stored under
    /// their own key.
    pub fn decode(
        definitions: &Definitions,
        limits: &Limits,
        bytes: &[u8],
        erasures: Erasures,
    ) -> Option<Self> {
        let mut user = Self::new(Self::stored_home(bytes)?, erasures);
        let mut from = bytes.get(1..)?;
        let (length, bits) = (u32::from_le_bytes(take(&mut from)?), take(&mut from)?);
        let _home = take::<8>(&mut from)?;
        let complete_from = i64::from_le_bytes(take(&mut from)?);
        user.complete_from = (complete_from != i64::MIN).then_some(complete_from);
        user.decode_changing(bits, &mut from)?;
        let (rest, mut from) = from.split_at_checked(length as usize)?;
        let mut window = rest;
        let others = u32::from_le_bytes(take(&mut window)?);
        // Each takes 16 bytes.
        if others as usize > window.len() / 16 {
            return None;
        }
        let mut homes = Vec::with_capacity(others as usize);
        for _ in 0..others {
            let home = decode_home(&mut window)?;
            homes.push((home, i64::from_le_bytes(take(&mut window)?)));
        }
        user.homes = Homes::restore(user.home(), user.homes.next(), homes);
        user.window = Window::decode(definitions, window)?;
        user.stored = Stored {
            whole: bytes.len() - from.len(),
            added: from.len(),
            expires_at: user.expires_at,
            outgrown: false,
        };
        while !from.is_empty() {
            let ([ADDED], length) = (take::<1>(&mut from)?, take(&mut from)?) else {
                return None;
            };
            let bits = take(&mut from)?;
            user.decode_changing(bits, &mut from)?;
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

    fn decode_changing(&mut self, [bits]: [u8; 1], from: &mut &[u8]) -> Option<()> {
        self.marks = Marks {
            inexact: bits & 1 != 0,
            incomplete: bits & 2 != 0,
        };
        self.mixed = bits & 4 != 0;
        self.homes.reach(i64::from_le_bytes(take(from)?));
        self.recorded = i64::from_le_bytes(take(from)?);
        self.expires_at = i64::from_le_bytes(take(from)?);
        let scheduled = i64::from_le_bytes(take(from)?);
        self.scheduled = (scheduled != i64::MIN).then_some(scheduled);
        Some(())
    }
}

fn encode_home(home: Home, out: &mut Vec<u8>) {
    out.extend_from_slice(&home.partition.to_le_bytes());
    out.extend_from_slice(&home.epoch.to_le_bytes());
}

fn decode_home(from: &mut &[u8]) -> Option<Home> {
    Some(Home {
        partition: i32::from_le_bytes(take(from)?),
        epoch: u32::from_le_bytes(take(from)?),
    })
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

    const HOME: Home = Home {
        partition: 3,
        epoch: 0xdead_beef,
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
        let mut user = User::new(HOME, Erasures::default());
        user.expires_at = 17;
        user.scheduled = Some(-2);
        user.reach(30);
        let other = Home {
            partition: 4,
            epoch: 1,
        };
        user.adopt(other, None);
        user.reach(i64::MAX);
        user.adopt(HOME, None);
        user.scheduled = Some(-2);
        (user.recorded, user.complete_from) = (99, Some(7));
        user.marks.incomplete = true;
        let mut bytes = Vec::new();
        user.encode(&definitions, &mut bytes);
        let whole = bytes.len();
        user.insert(&definitions, &LIMITS, &entry(5, 2.5), 100);
        user.reach(40);
        user.scheduled = None;
        assert!(user.may_add());
        user.encode_added(&mut bytes);
        let read = |bytes: &[u8]| User::decode(&definitions, &LIMITS, bytes, Erasures::default());
        assert_eq!(read(&bytes), Some(user));
        assert_eq!(User::stored_home(&bytes), Some(HOME));
        assert!(!User::is_of_earlier_version(&bytes));
        assert!(User::is_of_earlier_version(&[WHOLE - 1, 0]) && !User::is_of_earlier_version(&[]));
        assert_eq!(User::stored_home(&bytes[whole..]), None);
        for end in (0..bytes.len()).filter(|end| *end != whole) {
            assert_eq!(read(&bytes[..end]), None);
        }
        assert_eq!(read(&bytes[whole..]), None, "an addition to nothing");
    }

    #[test]
    fn a_whole_is_written_before_it_would_run_out() {
        let mut user = User::new(HOME, Erasures::default());
        assert!(!user.may_add() && !user.is_stored(), "nothing is stored");
        user.encode(&Definitions::standard(), &mut Vec::new());
        assert!(user.may_add() && user.is_stored());
        user.expires_at += WHOLE_EVERY_MS;
        assert!(!user.may_add());
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
            let (mut user, mut bytes, mut added) = (User::new(HOME, Erasures::default()), Vec::new(), 0);
            for (number, (events, marked)) in writes.iter().enumerate() {
                for (time, amount) in events {
                    user.insert(&definitions, &LIMITS, &entry(*time, *amount), *time);
                }
                user.reach(number as i64);
                // Some changes are written together.
                if number % 3 == 1 {
                    continue;
                }
                user.scheduled = marked.then_some(number as i64);
                user.expires_at = number as i64 * 1000;
                user.marks.inexact = *marked;
                if user.may_add() {
                    user.encode_added(&mut bytes);
                    added += 1;
                } else {
                    bytes.clear();
                    user.encode(&definitions, &mut bytes);
                }
                // Compared as bytes, since tiles may hold NaN, which differs from itself.
                let read = User::decode(&definitions, &LIMITS, &bytes, Erasures::default());
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
