//! A plain model of a topic: records, transaction markers, retention, truncation, and the topic made anew.

use crate::attach::Log;
use std::cell::RefCell;
use std::rc::Rc;
use tidemill_core::kafka::TopicId;

/// A record.
#[derive(Clone, Debug)]
pub(super) struct Record {
    /// The Kafka timestamp (epoch ms).
    pub(super) time: i64,
    /// The user, who is the key too.
    pub(super) user: String,
    pub(super) kind: Kind,
    /// The offset of the original in the same partition that it is a copy of.
    pub(super) original: Option<i64>,
    /// The store of claims has to be asked for it.
    pub(super) claim: bool,
}

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    /// An event of this time (epoch ms) and amount.
    Event(i64, u32),
    /// The user is erased.
    Erasure,
    /// It cannot be used.
    Bad,
}

impl Record {
    /// The value.
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

/// A partition.
#[derive(Clone, Debug, Default)]
pub(super) struct Partition {
    /// Records before this offset are deleted.
    pub(super) start: i64,
    /// Everything that was ever written and not cut off; `None` is a transaction's marker.
    pub(super) records: Vec<Option<Record>>,
    /// How often the log was cut off, and where it was last.
    pub(super) cuts: (u32, i64),
}

impl Partition {
    /// The offset after the last.
    pub(super) fn end(&self) -> i64 {
        self.records.len() as i64
    }

    /// The first record at an offset or after it.
    pub(super) fn next(&self, offset: i64) -> Option<(i64, &Record)> {
        let from = offset.max(self.start) as usize;
        let rest = self.records.iter().enumerate().skip(from);
        let mut records = rest.filter_map(|(at, record)| Some((at as i64, record.as_ref()?)));
        records.next()
    }
}

/// A topic.
#[derive(Clone, Debug, Default)]
pub(super) struct Topic {
    pub(super) partitions: Vec<Partition>,
    /// How often it was made anew.
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

    fn range(&self, partition: i32) -> anyhow::Result<(i64, i64)> {
        let topic = self.0.borrow();
        let own = topic.partitions.get(partition as usize);
        Ok(own.map_or((0, 0), |own| (own.start, own.end())))
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
