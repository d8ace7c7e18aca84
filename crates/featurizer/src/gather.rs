//! From a record to a change in the batch, or a dead letter.

use crate::batch::{Change, Reached};
use crate::cache::Known;
use crate::partition::Turn;
use crate::position::fingerprint;
use crate::worker::State;
use tidemill_core::kafka::{Consumer, Record};
use tidemill_core::record::user_event::{self, UserRecord};

impl State {
    /// Takes a record into the batch.
    pub(crate) fn gather(
        &mut self,
        consumer: &Consumer,
        record: &Record<'_>,
    ) -> anyhow::Result<()> {
        let (id, offset) = (record.partition(), record.offset());
        if self.held.any() && self.held.contains(id) {
            return Ok(());
        }
        let Some(partition) = self.partitions.get_mut(&id) else {
            return Ok(());
        };
        let (key, value, timestamp) = (record.key(), record.value(), record.timestamp());
        let own = || fingerprint(timestamp, key, value);
        match partition.turn(offset, own) {
            Turn::Past => return Ok(()),
            Turn::Foreign => {
                self.claims
                    .rebuild(id, "the log holds another record before the position");
                self.interrupt("a log was re-created");
                return Ok(());
            }
            Turn::Next => {}
        }
        let content = match self.resolver.resolve(value) {
            Ok(content) => content,
            Err(error) => return self.held.hold(consumer, id, &error),
        };
        partition.next = offset + 1;
        let ahead = partition.position.ahead.is_some();
        if partition.gap {
            partition.gap = false;
            partition.position.complete_from = timestamp.or(partition.position.complete_from);
        }
        self.batch.record(
            id,
            Reached {
                next: offset + 1,
                last: own(),
                timestamp,
            },
        );
        let begin = self.batch.entries.len();
        let definitions = &self.rules.definitions;
        let entries = &mut self.batch.entries;
        let decoded = content
            .of(value)
            .and_then(|value| user_event::decode(definitions, key, value, timestamp, entries));
        let (user, change) = match decoded {
            Ok(UserRecord::Event { user, .. }) => (user, Change::Event(begin as u32)),
            Ok(UserRecord::Erasure { user }) => (user, Change::Erasure),
            Err(reject) => {
                self.batch.rejected += 1;
                // Brokers that are away are waited for: what was gathered comes again.
                if let Err(error) = self.letters.send(&self.producer, record, &reject) {
                    self.interrupt(&format!("dead letters: {error:#}"));
                }
                return Ok(());
            }
        };
        if ahead && offset < partition.position.reached(&user) {
            self.batch.entries.truncate(begin);
            return Ok(());
        }
        let place = self.touch(&user, id);
        self.batch.change(place, id, change);
        Ok(())
    }

    /// The user's place in the batch.
    pub(crate) fn touch(&mut self, user: &str, partition: i32) -> u32 {
        let index = self.cache.find(user);
        let slot = self.cache.slot(index);
        if let Some(place) = slot.touched {
            return place;
        }
        let place = self.batch.touch(index, partition);
        slot.touched = Some(place);
        if let Known::User(user) = &slot.known {
            self.batch.bytes += user.window.heap_bytes();
        }
        place
    }
}
