//! A plain model of a topic: records, transaction markers, retention, truncation and re-creation.

use crate::attach::Log;
use std::cell::RefCell;
use std::rc::Rc;
use tidemill_core::kafka::{LogRange, TopicId};

#[derive(Clone, Debug)]
pub(super) struct Record {
    /// The Kafka timestamp (epoch ms).
    pub(super) time: i64,
    /// The user; also the record's key.
    pub(super) user: String,
    pub(super) kind: Kind,
    /// Offset of the original in the same partition, if it is a copy.
    pub(super) original: Option<i64>,
    /// True if its value is a claim.
    pub(super) claim: bool,
}

/// The content of a record.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    /// An event: its time (epoch ms) and amount.
    Event(i64, u32),
    /// The erasure of the user.
    Erasure,
    /// A value that cannot be used.
    Bad,
}

impl Record {
    pub(super) fn value(&self) -> Option<String> {
        let user = &self.user;
        match self.kind {
            Kind::Event(time, amount) => Some(format!(
                r#"{{"user_id":"{user}","amount":{amount},"timestamp":{time}}}"#
            )),
            Kind::Bad => Some(format!(r#"{{"user_id":"{user}","amount":"much"}}"#)),
            Kind::Erasure => None,
        }
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Partition {
    /// Records before this offset are deleted.
    pub(super) start: i64,
    /// Everything ever written and not cut off; `None` is a transaction marker.
    pub(super) records: Vec<Option<Record>>,
    /// Number of times the log was cut off, and its end after the last cut.
    pub(super) cuts: (u32, i64),
}

impl Partition {
    /// The offset after the last.
    pub(super) fn end(&self) -> i64 {
        self.records.len() as i64
    }

    /// The first record at or after an offset.
    pub(super) fn next(&self, offset: i64) -> Option<(i64, &Record)> {
        let from = offset.max(self.start) as usize;
        let rest = self.records.iter().enumerate().skip(from);
        let mut records = rest.filter_map(|(at, record)| Some((at as i64, record.as_ref()?)));
        records.next()
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Topic {
    pub(super) partitions: Vec<Partition>,
    /// Number of times it was re-created.
    pub(super) made: u32,
}

/// A topic that members and schedule share.
#[derive(Clone, Default)]
pub(super) struct Shared(pub(super) Rc<RefCell<Topic>>);

impl Log for Shared {
    fn partitions(&self) -> anyhow::Result<i32> {
        Ok(self.0.borrow().partitions.len() as i32)
    }

    fn topic_id(&self) -> anyhow::Result<Option<TopicId>> {
        let made = char::from(b'A' + self.0.borrow().made as u8);
        Ok(Some(format!("{}{made}w", "A".repeat(20)).parse()?))
    }

    fn range(&self, partition: i32) -> anyhow::Result<LogRange> {
        let topic = self.0.borrow();
        let own = topic.partitions.get(partition as usize);
        let (oldest, end) = own.map_or((0, 0), |own| (own.start, own.end()));
        Ok(LogRange { oldest, end })
    }

    fn offset_at(&self, partition: i32, time: i64) -> anyhow::Result<i64> {
        let topic = self.0.borrow();
        let own = &topic.partitions[partition as usize];
        let mut at = own.start;
        while let Some((offset, record)) = own.next(at) {
            if record.time >= time {
                return Ok(offset);
            }
            at = offset + 1;
        }
        Ok(own.end())
    }
}
