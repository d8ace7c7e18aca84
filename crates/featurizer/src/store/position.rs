//! The stored position of a partition: how far its windows and hashes are, the write that stored it, and the origin of
//! the windows.

use std::fmt;
use std::str::FromStr;
use tidemill_core::kafka::TopicId;

/// The name of one write of one worker; no two writes share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// The worker, drawn at random when it starts.
    pub instance: u64,
    /// Sequence number of the write.
    pub count: u64,
}

/// The origin of a partition's windows. A rebuild begins a new building.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Building {
    /// Drawn at random; stored windows of another epoch are void.
    pub epoch: u32,
    /// Changes when the log is found to be another one than before; offsets of another incarnation mean nothing.
    pub incarnation: u32,
    /// Offset of the first record that the windows were built from.
    pub begin: i64,
    /// Fingerprint of the feature definitions.
    pub definitions: String,
    /// Kafka's id of the topic; `None` if the brokers do not report it.
    pub topic: Option<TopicId>,
}

/// The position of a partition, stored next to the windows of its users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The low-water mark: every stored window holds the records before this offset, and some hold later ones. Reading
    /// resumes here.
    pub offset: i64,
    /// The write that stored it.
    pub token: Token,
    /// The origin of the windows.
    pub building: Building,
    /// Fingerprint of the record before `offset`, if one has been applied.
    pub last: Option<u64>,
    /// Below this offset the windows are being built up from the log, and no hash is written.
    pub warm_until: Option<i64>,
    /// Retention deleted records before this Kafka time (epoch ms) before they could be applied.
    pub complete_from: Option<i64>,
    /// The state of some user holds events of this partition and of others: none of them can be rebuilt alone.
    pub mixed: bool,
    /// After a rebuild or a gap, the sweep has not yet visited all users in the partition's expiries.
    pub unswept: bool,
    /// The windows have to be built once more, or they have been.
    pub again: Again,
    /// Records from `offset` on have been applied; `None` if none of them has.
    pub shown: Option<Shown>,
}

/// A second building of windows. The first one meets erasures after newer events of other partitions, and cannot tell
/// these from older ones; the second knows the erasures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Again {
    /// The first building has met no such erasure.
    #[default]
    No,
    /// It follows once the windows of all partitions are built.
    Due,
    /// This is the second building. Erasures that arrive during it do not cause a third.
    Done,
}

/// The records that have been applied, although some stored windows lack them. Hashes show them, except during a warm-up.
/// Whoever resumes at the position writes no hash before it has applied them again, so that no hash goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The records before this offset are applied for all users.
    pub from: i64,
    /// No record at this offset or after it is applied for any user. It is more than `from` while a batch is written.
    pub until: i64,
    /// Fingerprint of the record before `until`, if one has been applied.
    pub last: Option<u64>,
}

impl Position {
    /// The next offset to be applied. Hashes show the records before it, unless the user is due at once.
    pub fn applied(&self) -> i64 {
        self.shown.map_or(self.offset, |shown| shown.from)
    }

    /// The offset from which on no record has been applied.
    pub fn until(&self) -> i64 {
        self.shown.map_or(self.offset, |shown| shown.until)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Token { instance, count } = self.token;
        let Building {
            epoch,
            incarnation,
            begin,
            definitions,
            topic,
        } = &self.building;
        write!(f, "stored={} token={instance:x}-{count}", self.offset)?;
        write!(f, " epoch={epoch:x} log={incarnation:x} begin={begin}")?;
        write!(f, " features={definitions}")?;
        if let Some(topic) = topic {
            write!(f, " topic={topic}")?;
        }
        if let Some(last) = self.last {
            write!(f, " last={last:x}")?;
        }
        if let Some(until) = self.warm_until {
            write!(f, " warm_until={until}")?;
        }
        if let Some(from) = self.complete_from {
            write!(f, " complete_from={from}")?;
        }
        if let Some(Shown { from, until, last }) = self.shown {
            write!(f, " shown={from}:{until}")?;
            if let Some(last) = last {
                write!(f, ":{last:x}")?;
            }
        }
        let flags = [
            (self.mixed, " mixed=1"),
            (self.unswept, " unswept=1"),
            (self.again == Again::Due, " again=due"),
            (self.again == Again::Done, " again=done"),
        ];
        let mut set = flags.iter().filter(|(set, _)| *set);
        set.try_for_each(|(_, word)| f.write_str(word))
    }
}

/// The fields of a position's text; a text with any other is of another version, and does not parse.
const FIELDS: [&str; 14] = [
    "stored",
    "token",
    "epoch",
    "log",
    "begin",
    "features",
    "topic",
    "last",
    "warm_until",
    "complete_from",
    "shown",
    "mixed",
    "unswept",
    "again",
];

impl FromStr for Position {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut values = [None; FIELDS.len()];
        for word in text.split(' ') {
            let (name, value) = word.split_once('=').ok_or(())?;
            let field = FIELDS.iter().position(|field| *field == name).ok_or(())?;
            values[field] = Some(value);
        }
        let [
            offset,
            token,
            epoch,
            incarnation,
            begin,
            definitions,
            topic,
            last,
            warm_until,
            complete_from,
            shown,
            mixed,
            unswept,
            again,
        ] = values;
        let (instance, count) = token.ok_or(())?.split_once('-').ok_or(())?;
        let token = Token {
            instance: u64::from_str_radix(instance, 16).map_err(drop)?,
            count: decimal(count)?,
        };
        let building = Building {
            epoch: hexadecimal(epoch)?,
            incarnation: hexadecimal(incarnation)?,
            begin: decimal(begin.ok_or(())?)?,
            definitions: definitions.ok_or(())?.to_owned(),
            topic: topic.map(str::parse).transpose().map_err(drop)?,
        };
        let last = last.map(hash);
        let shown = shown.map(|words| {
            let (from, rest) = words.split_once(':').ok_or(())?;
            let (until, last) = match rest.split_once(':') {
                Some((until, last)) => (until, Some(hash(last)?)),
                None => (rest, None),
            };
            Ok::<_, ()>(Shown {
                from: decimal(from)?,
                until: decimal(until)?,
                last,
            })
        });
        Ok(Self {
            offset: decimal(offset.ok_or(())?)?,
            token,
            building,
            last: last.transpose()?,
            warm_until: warm_until.map(decimal).transpose()?,
            complete_from: complete_from.map(decimal).transpose()?,
            mixed: mixed.is_some(),
            unswept: unswept.is_some(),
            again: match again {
                None => Again::No,
                Some("due") => Again::Due,
                Some("done") => Again::Done,
                Some(_) => return Err(()),
            },
            shown: shown.transpose()?,
        })
    }
}

fn decimal<Number: FromStr>(digits: &str) -> Result<Number, ()> {
    digits.parse().map_err(drop)
}

fn hash(digits: &str) -> Result<u64, ()> {
    u64::from_str_radix(digits, 16).map_err(drop)
}

fn hexadecimal(digits: Option<&str>) -> Result<u32, ()> {
    u32::from_str_radix(digits.ok_or(())?, 16).map_err(drop)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The topic of the positions in tests.
    pub(crate) const TOPIC: &str = "AAAAAAAAAAAAAAAAAAAAAQ";

    /// A position at `offset` with the definitions "00ff", for tests.
    pub(crate) fn stored(offset: i64, last: Option<u64>) -> Position {
        Position {
            offset,
            token: Token {
                instance: 7,
                count: 3,
            },
            building: Building {
                epoch: 9,
                incarnation: 4,
                begin: 0,
                definitions: "00ff".to_owned(),
                topic: TOPIC.parse().ok(),
            },
            last,
            warm_until: None,
            complete_from: None,
            mixed: false,
            unswept: false,
            again: Again::No,
            shown: None,
        }
    }

    #[test]
    fn positions_read_back_and_nothing_else_does() {
        let full = Position {
            warm_until: Some(70),
            complete_from: Some(-5),
            mixed: true,
            unswept: true,
            again: Again::Due,
            shown: Some(Shown {
                from: 20,
                until: 30,
                last: Some(u64::MAX),
            }),
            ..stored(12, Some(u64::MAX))
        };
        let mut bare = stored(0, None);
        bare.building.topic = None;
        bare.shown = Some(Shown {
            from: 1,
            until: 1,
            last: None,
        });
        for position in [stored(12, None), full.clone(), bare] {
            assert_eq!(position.to_string().parse(), Ok(position));
        }
        let text = full.to_string();
        for text in [
            String::new(),
            "12".into(),
            text.replace("stored=12", "stored=x"),
            text.replace("stored=12", "offset=12"),
            text.replace("token=7-3 ", ""),
            text.replace("again=due", "again=1"),
            text.replace("shown=20:", "shown=20"),
            text.replace("shown=20:30:", "shown=20:30:x"),
            text.replace("shown=20:30:ffffffffffffffff", "ahead=30:65535:ff"),
            format!("{text} newer=1"),
            "12 0000000000000007-3 00000009 00ff - - - - -".into(),
        ] {
            assert_eq!(text.parse::<Position>(), Err(()), "{text}");
        }
    }

    #[test]
    fn hashes_show_what_is_applied() {
        let mut position = stored(10, None);
        assert_eq!((position.applied(), position.until()), (10, 10));
        position.shown = Some(Shown {
            from: 20,
            until: 30,
            last: None,
        });
        assert_eq!((position.applied(), position.until()), (20, 30));
    }
}
