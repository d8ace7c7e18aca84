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
    /// Incarnation of the partition's log: offsets of another one mean nothing. A constant for a reader of one log.
    pub incarnation: u32,
    /// Offset in the partition.
    pub offset: i64,
    /// The Kafka timestamp (epoch ms); `i64::MIN` for a record without one.
    pub time: i64,
}

/// The erasures of a user that may still cover records: one for each partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Erasures(Vec<Place>);

impl Erasures {
    /// True if one of them covers a record.
    pub fn cover(&self, record: Place) -> bool {
        self.0.iter().any(|own| {
            if (own.partition, own.incarnation) == (record.partition, record.incarnation) {
                record.offset < own.offset
            } else {
                record.time <= own.time
            }
        })
    }

    /// True if this erasure, or a later one of its partition, is known.
    pub fn contain(&self, place: Place) -> bool {
        self.0.iter().any(|own| {
            (own.partition, own.incarnation) == (place.partition, place.incarnation)
                && own.offset >= place.offset
        })
    }

    /// Adds an erasure, later in its partition than those known of it: together they cover what it does, and elsewhere
    /// what the newest of them by Kafka timestamp does.
    pub fn add(&mut self, mut place: Place) {
        self.0.retain(|own| {
            let other = own.partition != place.partition;
            if !other {
                place.time = place.time.max(own.time);
            }
            other
        });
        self.0.push(place);
    }

    /// The newest Kafka timestamp of an erasure (epoch ms).
    pub fn newest(&self) -> Option<i64> {
        self.0.iter().map(|own| own.time).max()
    }
}

impl fmt::Display for Erasures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, place) in self.0.iter().enumerate() {
            let space = if index > 0 { " " } else { "" };
            let Place {
                partition,
                incarnation,
                offset,
                time,
            } = place;
            write!(f, "{space}{partition}:{incarnation}:{offset}:{time}")?;
        }
        Ok(())
    }
}

impl FromStr for Erasures {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let place = |word: &str| {
            let mut numbers = word.split(':').map(|digits| digits.parse::<i64>().ok());
            let mut number = || numbers.next().flatten().ok_or(());
            let place = Place {
                partition: i32::try_from(number()?).map_err(drop)?,
                incarnation: u32::try_from(number()?).map_err(drop)?,
                offset: number()?,
                time: number()?,
            };
            match numbers.next() {
                None => Ok(place),
                Some(_) => Err(()),
            }
        };
        let words = text.split(' ').filter(|word| !word.is_empty());
        words.map(place).collect::<Result<_, ()>>().map(Self)
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
        erasures.add(place(1, 5, 100, 1_000));
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
        erasures.add(place(1, 5, 100, 1_000));
        erasures.add(place(0, 5, 3, 2_000));
        assert!(erasures.contain(place(1, 5, 100, 1_000)) && erasures.contain(place(1, 5, 99, 0)));
        assert!(!erasures.contain(place(1, 5, 101, 0)) && !erasures.contain(place(1, 6, 1, 0)));
        erasures.add(place(1, 5, 200, 1_500));
        assert!(erasures.contain(place(1, 5, 200, 1_500)));
        assert_eq!((erasures.0.len(), erasures.newest()), (2, Some(2_000)));
        // Producers set Kafka timestamps, which need not ascend.
        erasures.add(place(0, 5, 4, 1_000));
        assert!(erasures.cover(place(0, 5, 3, 3_000)) && erasures.cover(place(2, 5, 9, 2_000)));
    }

    #[test]
    fn erasures_read_back_and_nothing_else_does() {
        let mut erasures = Erasures::default();
        assert_eq!("".parse(), Ok(Erasures::default()));
        erasures.add(place(1, u32::MAX, 100, i64::MIN));
        erasures.add(place(0, 0, 3, 2_000));
        assert_eq!(erasures.to_string().parse(), Ok(erasures));
        for text in ["x", "1:2:3", "1:2:3:4:5", "1:-2:3:4", "9999999999:2:3:4"] {
            assert_eq!(text.parse::<Erasures>(), Err(()), "{text}");
        }
    }
}
