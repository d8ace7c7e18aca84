//! Positions: how far a partition has been applied, by whom, and where to go on from what is stored.

use std::fmt;
use std::str::FromStr;

/// Names one write of one worker: no two writes ever have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// The worker; drawn at random when it starts.
    pub instance: u64,
    /// Its writes, counted.
    pub count: u64,
}

/// What is stored of a partition, next to the windows of its users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The next offset to be applied.
    pub offset: i64,
    /// The write that stored it.
    pub token: Token,
    /// Which building of the partition's windows this is: windows of another one are void.
    pub epoch: u32,
    /// Fingerprint of the feature definitions.
    pub definitions: String,
    /// Fingerprint of the record before `offset`, where one has been applied.
    pub last: Option<u64>,
    /// Below this offset the windows are being built up from the log, and no hash is written.
    pub warm_until: Option<i64>,
    /// Events before this time (epoch ms) were deleted from the log before they could be applied.
    pub complete_from: Option<i64>,
    /// Whether users came here from other partitions, or went there: then no partition can be built anew alone.
    pub mixed: bool,
    /// Some of the users are further already.
    pub ahead: Option<Ahead>,
}

/// How far some of a partition's users have been applied beyond its position: a long batch is written in several
/// steps, and each takes a share of the users. Where it is cut short, the rest follows record by record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ahead {
    /// The next offset to be applied for the users that are ahead.
    pub until: i64,
    /// They are those whose [`share`] is below this.
    pub done: u32,
}

/// A user's place in the order of a long batch, below 2^16. Stable for ever.
pub fn share(user: &str) -> u32 {
    (fingerprint(None, Some(user.as_bytes()), None) >> 48) as u32
}

impl Position {
    /// The next offset to be applied for this user.
    pub fn reached(&self, user: &str) -> i64 {
        match self.ahead {
            Some(Ahead { until, done }) if share(user) < done => until,
            _ => self.offset,
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Token { instance, count } = self.token;
        write!(
            f,
            "{} {instance:016x}-{count} {:08x} ",
            self.offset, self.epoch
        )?;
        write!(f, "{} ", self.definitions)?;
        match self.last {
            Some(last) => write!(f, "{last:016x}")?,
            None => f.write_str("-")?,
        }
        for number in [self.warm_until, self.complete_from] {
            match number {
                Some(number) => write!(f, " {number}")?,
                None => f.write_str(" -")?,
            }
        }
        f.write_str(if self.mixed { " mixed " } else { " - " })?;
        match self.ahead {
            Some(Ahead { until, done }) => write!(f, "{until}:{done}"),
            None => f.write_str("-"),
        }
    }
}

impl FromStr for Position {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut words = text.split(' ');
        let mut word = || words.next().ok_or(());
        let offset = word()?.parse().map_err(drop)?;
        let (instance, count) = word()?.split_once('-').ok_or(())?;
        let token = Token {
            instance: u64::from_str_radix(instance, 16).map_err(drop)?,
            count: count.parse().map_err(drop)?,
        };
        let epoch = u32::from_str_radix(word()?, 16).map_err(drop)?;
        let definitions = word()?.to_owned();
        let last = match word()? {
            "-" => None,
            digits => Some(u64::from_str_radix(digits, 16).map_err(drop)?),
        };
        let mut number = || match word()? {
            "-" => Ok(None),
            digits => digits.parse().map(Some).map_err(drop),
        };
        let (warm_until, complete_from) = (number()?, number()?);
        let mixed = match word()? {
            "-" => false,
            "mixed" => true,
            _ => return Err(()),
        };
        let ahead = match word()? {
            "-" => None,
            pair => {
                let (until, done) = pair.split_once(':').ok_or(())?;
                let (until, done) = (until.parse().map_err(drop)?, done.parse().map_err(drop)?);
                Some(Ahead { until, done })
            }
        };
        Ok(Self {
            offset,
            token,
            epoch,
            definitions,
            last,
            warm_until,
            complete_from,
            mixed,
            ahead,
        })
    }
}

/// Where a partition goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// Read from `at`; if the first record there is the one before the position, it must have this fingerprint.
    Continue {
        /// The first offset to read.
        at: i64,
        /// The fingerprint to expect of the record before the position.
        check: Option<u64>,
    },
    /// Records between the position and the log's start are gone.
    Gap {
        /// How many offsets.
        lost: i64,
        /// The log's start.
        at: i64,
    },
    /// Nothing stored can be used: build the windows from the log, for this reason.
    Rebuild(&'static str),
}

/// Decides from the stored position, the fingerprint of the definitions, and the log's (start, end).
pub fn resume(stored: Option<&Position>, definitions: &str, log: (i64, i64)) -> Resume {
    let (start, end) = log;
    let Some(stored) = stored else {
        return Resume::Rebuild("no position is stored");
    };
    if stored.definitions != definitions {
        return Resume::Rebuild("the stored windows have other feature definitions");
    }
    if stored.ahead.map_or(stored.offset, |ahead| ahead.until) > end {
        return Resume::Rebuild("the position is beyond the end of the log, which was re-created");
    }
    if stored.offset < start {
        return Resume::Gap {
            lost: start - stored.offset,
            at: start,
        };
    }
    match stored.last {
        Some(last) if stored.offset > start => Resume::Continue {
            at: stored.offset - 1,
            check: Some(last),
        },
        _ => Resume::Continue {
            at: stored.offset,
            check: None,
        },
    }
}

/// A fingerprint of a record, to tell whether a log still holds the record it held. Stable for ever.
pub fn fingerprint(timestamp: Option<i64>, key: Option<&[u8]>, value: Option<&[u8]>) -> u64 {
    const MULTIPLIER: u64 = 0x517c_c1b7_2722_0a95;
    let mut hash = 0u64;
    let mut mix = |word: u64| hash = (hash.rotate_left(5) ^ word).wrapping_mul(MULTIPLIER);
    mix(timestamp.unwrap_or(-1) as u64);
    for bytes in [key, value] {
        let bytes = bytes.unwrap_or_default();
        mix(bytes.len() as u64);
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| mix(u64::from_le_bytes(*word)));
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        mix(u64::from_le_bytes(last));
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(offset: i64, last: Option<u64>) -> Position {
        let token = Token {
            instance: 7,
            count: 3,
        };
        let definitions = "00ff".to_owned();
        Position {
            offset,
            token,
            epoch: 9,
            definitions,
            last,
            warm_until: None,
            complete_from: Some(-5),
            mixed: last.is_some(),
            ahead: last.map(|_| Ahead {
                until: offset + 5,
                done: 65_535,
            }),
        }
    }

    #[test]
    fn positions_read_back_and_nothing_else_does() {
        for position in [stored(12, None), stored(0, Some(u64::MAX))] {
            assert_eq!(position.to_string().parse(), Ok(position));
        }
        for text in [
            "",
            "12",
            "12 a-b",
            "x 7-3 9 f - - - - -",
            "1 7-3 9 f - - - -",
        ] {
            assert_eq!(text.parse::<Position>(), Err(()), "{text}");
        }
    }

    #[test]
    fn every_case_of_a_start_is_decided() {
        let at = |at, check| Resume::Continue { at, check };
        let with = |mut position: Position, log| {
            position.ahead = None;
            resume(Some(&position), "00ff", log)
        };
        assert_eq!(with(stored(10, Some(1)), (0, 10)), at(9, Some(1)));
        assert_eq!(with(stored(10, Some(1)), (9, 20)), at(9, Some(1)));
        assert_eq!(with(stored(10, Some(1)), (10, 20)), at(10, None));
        assert_eq!(with(stored(10, None), (0, 20)), at(10, None));
        assert_eq!(
            with(stored(10, Some(1)), (12, 20)),
            Resume::Gap { lost: 2, at: 12 }
        );
        assert!(matches!(
            with(stored(10, Some(1)), (0, 9)),
            Resume::Rebuild(_)
        ));
        assert_eq!(
            resume(Some(&stored(10, Some(1))), "00ff", (0, 15)),
            at(9, Some(1))
        );
        assert!(matches!(
            resume(Some(&stored(10, Some(1))), "00ff", (0, 14)),
            Resume::Rebuild(_)
        ));
        assert!(matches!(
            resume(Some(&stored(10, None)), "other", (0, 20)),
            Resume::Rebuild(_)
        ));
        assert!(matches!(resume(None, "00ff", (0, 20)), Resume::Rebuild(_)));
    }

    #[test]
    fn users_are_ahead_by_their_share() {
        let mut position = stored(10, None);
        assert_eq!(position.reached("u"), 10);
        let (until, own) = (70, share("u"));
        for (done, reached) in [(0, 10), (own, 10), (own + 1, 70), (1 << 16, 70)] {
            position.ahead = Some(Ahead { until, done });
            assert_eq!(position.reached("u"), reached);
        }
        // The shares of names that differ in their last digits spread over the whole range.
        let low = (0..1000).filter(|number| share(&format!("u_{number:05}")) < 1 << 15);
        assert!((400..600).contains(&low.count()));
    }

    #[test]
    fn fingerprints_differ_with_every_part() {
        let own = fingerprint(Some(1), Some(b"key"), Some(b"a value of some length"));
        assert_eq!(
            own,
            fingerprint(Some(1), Some(b"key"), Some(b"a value of some length"))
        );
        for other in [
            fingerprint(Some(2), Some(b"key"), Some(b"a value of some length")),
            fingerprint(Some(1), Some(b"kez"), Some(b"a value of some length")),
            fingerprint(Some(1), Some(b"key"), Some(b"a value of some lengti")),
            fingerprint(Some(1), Some(b"ke"), Some(b"ya value of some length")),
            fingerprint(None, None, None),
        ] {
            assert_ne!(own, other);
        }
    }
}
