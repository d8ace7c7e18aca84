//! The erasures of a user: the records that they cover, in whatever order partitions are read.
//!
//! In its own partition an erasure covers the records before it. In other partitions, whose offsets have no order
//! with its own, it covers those that are not newer by Kafka timestamp.

use std::fmt;
use std::str::FromStr;

/// The place of a record in the logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Partition number.
    pub partition: i32,
    /// Incarnation of the partition's log: offsets of another one mean nothing.
    pub incarnation: u32,
    /// Offset in the partition.
    pub offset: i64,
    /// The Kafka timestamp (epoch ms); `i64::MIN` for a record without one.
    pub time: i64,
}

/// One erasure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Erasure {
    place: Place,
    /// Time (epoch ms) before which events that the erasure does not cover may be missing; `i64::MIN` for none.
    incomplete: i64,
}

/// The erasures of a user that may still cover records: the last one of each partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Erasures(Vec<Erasure>);

impl Erasures {
    /// True if one of them covers a record.
    pub fn cover(&self, record: Place) -> bool {
        self.0.iter().any(|erasure| {
            let own = erasure.place;
            if (own.partition, own.incarnation) == (record.partition, record.incarnation) {
                record.offset < own.offset
            } else {
                record.time <= own.time
            }
        })
    }

    /// True if this erasure, or a later one of its partition, is known.
    pub fn contain(&self, place: Place) -> bool {
        self.0.iter().any(|erasure| {
            let own = erasure.place;
            (own.partition, own.incarnation) == (place.partition, place.incarnation)
                && own.offset >= place.offset
        })
    }

    /// Adds an erasure, and drops an earlier one of its partition. `incomplete` is the time before which events may be
    /// missing, if events were dropped that it may not cover.
    pub fn add(&mut self, place: Place, incomplete: Option<i64>) {
        let mut incomplete = incomplete.unwrap_or(i64::MIN);
        self.0.retain(|erasure| {
            let replaced = erasure.place.partition == place.partition;
            if replaced {
                incomplete = incomplete.max(erasure.incomplete);
            }
            !replaced
        });
        self.0.push(Erasure { place, incomplete });
    }

    /// The time (epoch ms) before which events may be missing.
    pub fn incomplete(&self) -> Option<i64> {
        let times = self.0.iter().map(|erasure| erasure.incomplete);
        times.max().filter(|time| *time != i64::MIN)
    }

    /// The newest Kafka timestamp of an erasure (epoch ms).
    pub fn newest(&self) -> Option<i64> {
        self.0.iter().map(|erasure| erasure.place.time).max()
    }
}

impl fmt::Display for Erasures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Erasure { place, incomplete }) in self.0.iter().enumerate() {
            let space = if index > 0 { " " } else { "" };
            let Place {
                partition,
                incarnation,
                offset,
                time,
            } = place;
            write!(
                f,
                "{space}{partition}:{incarnation}:{offset}:{time}:{incomplete}"
            )?;
        }
        Ok(())
    }
}

impl FromStr for Erasures {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let erasure = |word: &str| {
            let mut numbers = word.split(':').map(|digits| digits.parse::<i64>().ok());
            let mut number = || numbers.next().flatten().ok_or(());
            let place = Place {
                partition: i32::try_from(number()?).map_err(drop)?,
                incarnation: u32::try_from(number()?).map_err(drop)?,
                offset: number()?,
                time: number()?,
            };
            let incomplete = number()?;
            Ok(Erasure { place, incomplete })
        };
        let words = text.split(' ').filter(|word| !word.is_empty());
        words.map(erasure).collect::<Result<_, ()>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(partition: i32, incarnation: u32, offset: i64, time: i64) -> Place {
        Place {
            partition,
            incarnation,
            offset,
            time,
        }
    }

    #[test]
    fn records_are_covered_by_offset_in_their_partition_and_by_time_elsewhere() {
        let mut erasures = Erasures::default();
        assert!(!erasures.cover(place(0, 1, 0, i64::MIN)));
        erasures.add(place(1, 5, 100, 1_000), None);
        for (record, covered) in [
            (place(1, 5, 99, 2_000), true),
            (place(1, 5, 100, 0), false),
            (place(1, 5, 101, 0), false),
            (place(1, 6, 101, 1_000), true),
            (place(1, 6, 3, 1_001), false),
            (place(0, 5, 500, 1_000), true),
            (place(0, 5, 500, 1_001), false),
            (place(0, 5, 500, i64::MIN), true),
        ] {
            assert_eq!(erasures.cover(record), covered, "{record:?}");
        }
    }

    #[test]
    fn the_last_erasure_of_each_partition_is_kept() {
        let mut erasures = Erasures::default();
        erasures.add(place(1, 5, 100, 1_000), Some(7));
        erasures.add(place(0, 5, 3, 2_000), None);
        assert!(erasures.contain(place(1, 5, 100, 1_000)) && erasures.contain(place(1, 5, 99, 0)));
        assert!(!erasures.contain(place(1, 5, 101, 0)) && !erasures.contain(place(1, 6, 1, 0)));
        erasures.add(place(1, 5, 200, 1_500), None);
        assert!(erasures.contain(place(1, 5, 200, 1_500)));
        assert_eq!((erasures.0.len(), erasures.newest()), (2, Some(2_000)));
        assert_eq!(erasures.incomplete(), Some(7));
    }

    #[test]
    fn erasures_read_back_and_nothing_else_does() {
        let mut erasures = Erasures::default();
        assert_eq!("".parse(), Ok(Erasures::default()));
        erasures.add(place(1, u32::MAX, 100, i64::MIN), Some(7));
        erasures.add(place(0, 0, 3, 2_000), None);
        assert_eq!(erasures.to_string().parse(), Ok(erasures));
        for text in ["x", "1:2:3:4", "1:-2:3:4:5", "9999999999:2:3:4:5"] {
            assert_eq!(text.parse::<Erasures>(), Err(()), "{text}");
        }
    }
}
