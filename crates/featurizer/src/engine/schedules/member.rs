//! A worker in a schedule: the decisions of production, with a model of the consumer in place of Kafka's.

use super::log::Shared;
use super::{Random, START, now, trace};
use crate::assignment::{Assignment, Turn};
use crate::attach::{attach, build_again};
use crate::batch::Batch;
use crate::engine::{Engine, Extent, Occasion, Rules};
use crate::expiry::Expiry;
use crate::intake::{Incoming, Taken, ended, take, turn};
use crate::setback::Setback;
use crate::store::memory::{Connection, Memory};
use crate::store::{Keys, Lease};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use tidemill_core::features::{Definitions, Limits};
use tidemill_core::record::resent::Original;

/// Most time that a change waits for its checkpoint.
const CHECKPOINT_MS: i64 = 10_000;

const DEFINITIONS: &str = r#"
ttl_s = 3600
[[feature]]
name = "events"
aggregate = "count"
window = "10m"
[[feature]]
name = "spend"
aggregate = "sum"
field = "amount"
window = "10m"
"#;

/// The result of a poll.
#[derive(PartialEq, Eq)]
enum Polled {
    Something,
    Nothing,
}

pub(super) struct Member {
    instance: u64,
    pub(super) assignment: Assignment,
    pub(super) engine: Engine<Connection>,
    expiry: Expiry,
    batch: Batch,
    log: Shared,
    /// The next offset to fetch from each partition that is read.
    fetch: BTreeMap<i32, i64>,
    /// For each log, the cuts that were noticed.
    cuts: BTreeMap<i32, u32>,
    /// For each log, the end that was reported last.
    ends: BTreeMap<i32, i64>,
    /// Partitions that wait for the store of claims.
    pub(super) blocked: BTreeSet<i32>,
    /// Originals with a dead letter.
    letters: Vec<(i32, i64)>,
    /// The ends of the logs when warm-ups began, each with the topic's and the log's incarnation.
    targets: BTreeMap<i32, (i64, (u32, u32))>,
}

impl Member {
    /// A worker that keeps at most `cache` bytes of users in memory.
    pub(super) fn new(instance: u64, cache: usize, log: &Shared, memory: &Memory) -> Self {
        let definitions = Definitions::parse(DEFINITIONS).unwrap();
        let limits = Limits {
            exact_events: 1024,
            forget: true,
        };
        let rules = Rules {
            definitions,
            limits,
        };
        let lease = Lease::new(memory.connection(), Keys::new("", "t"), "us".into());
        Self {
            instance,
            assignment: Assignment::new(instance),
            engine: Engine::new(rules, (cache, CHECKPOINT_MS), lease, now),
            expiry: Expiry::default(),
            batch: Batch::default(),
            log: log.clone(),
            fetch: BTreeMap::new(),
            cuts: BTreeMap::new(),
            ends: BTreeMap::new(),
            blocked: BTreeSet::new(),
            letters: Vec::new(),
            targets: BTreeMap::new(),
        }
    }

    /// The dead letters written since the last call.
    pub(super) fn take_letters(&mut self) -> Vec<(i32, i64)> {
        std::mem::take(&mut self.letters)
    }

    /// A partition whose warm-up has ended although records before its target are still to be applied.
    pub(super) fn warm_too_early(&mut self) -> Option<i32> {
        let topic = self.log.0.borrow();
        let mut early = None;
        self.targets.retain(|id, (target, log)| {
            let Some(own) = self.assignment.get(*id) else {
                return false;
            };
            let next = own.applied().next;
            let Some(partition) = topic.partitions.get(*id as usize) else {
                return false;
            };
            let same = *log == (topic.made, partition.cuts.0);
            let left = partition.next(next).filter(|_| same);
            if !own.is_warming() && left.is_some_and(|(offset, _)| offset < *target) {
                early = Some(*id);
            }
            own.is_warming()
        });
        early
    }

    /// True if nothing is left to do.
    pub(super) fn is_at_rest(&self) -> bool {
        let settled = self.assignment.owned().all(|(_, own)| own.is_settled());
        let read = self.fetch.keys().all(|id| self.is_at_end(*id));
        let busy = self.engine.is_under_way() || self.expiry.is_pressing();
        let again = self.assignment.owned().any(|(_, own)| own.is_due_again());
        settled
            && read
            && !busy
            && !again
            && self.batch.is_empty()
            && self.assignment.waiting().is_empty()
    }

    /// Describes what is left to do.
    pub(super) fn describe(&self) -> String {
        let owned = self.assignment.owned();
        let owned: Vec<String> = owned
            .map(|(id, own)| format!("{id} {} {:?}", own.position(), own.sweep()))
            .collect();
        let waiting = self.assignment.waiting();
        let pressing = self.expiry.is_pressing();
        format!(
            "{owned:?}, {waiting:?} waiting, fetching {:?}, pressing {pressing}",
            self.fetch
        )
    }

    fn is_at_end(&self, partition: i32) -> bool {
        let topic = self.log.0.borrow();
        let own = topic.partitions.get(partition as usize);
        own.is_none_or(|own| own.next(self.fetch[&partition]).is_none())
    }

    /// One turn of the loop, with a few records.
    pub(super) fn turn(&mut self, random: &mut Random) {
        if let Err(setback) = self.try_turn(random) {
            self.go_back(setback);
        }
    }

    fn try_turn(&mut self, random: &mut Random) -> Result<(), Setback> {
        let log = self.log.clone();
        let due = self.assignment.due(instant());
        if !due.is_empty() {
            self.store()?;
            for own in attach(&due, &mut self.assignment, &mut self.engine, &log)? {
                let position = self.assignment.get(own.partition).map(|own| own.position());
                trace(|| format!("attached {own:?} {}", position.unwrap()));
                self.fetch.insert(own.partition, own.read_from);
                self.ends.remove(&own.partition);
                self.blocked.remove(&own.partition);
                let topic = log.0.borrow();
                let partition = &topic.partitions[own.partition as usize];
                let (cuts, end) = (partition.cuts.0, partition.end());
                let position = self.assignment.get(own.partition).map(|own| own.position());
                self.targets.remove(&own.partition);
                if let Some(target) = position.and_then(|position| position.warm_until) {
                    // A cut log may be shorter than it was when the warm-up began.
                    let target = (target.min(end), (topic.made, cuts));
                    self.targets.insert(own.partition, target);
                }
                self.cuts.insert(own.partition, cuts);
            }
            if !self.assignment.waiting().is_empty() {
                self.assignment.put_off(instant());
            }
        }
        let mut idle = true;
        for _ in 0..1 + random.below(10) {
            idle &= self.poll(random)? == Polled::Nothing;
        }
        if idle || random.chance(3) {
            self.flush()?;
            if idle || random.chance(4) {
                self.engine.settle(&mut self.assignment)?;
            }
            if random.chance(2) {
                self.engine.checkpoint(&mut self.assignment, Extent::Due)?;
            }
            if random.chance(2) {
                self.batch.begin(self.assignment.span());
            }
            if self.batch.is_empty() {
                let member = (&mut self.assignment, &mut self.engine);
                build_again(instant(), member, &self.log)?;
                let member = (&mut self.batch, &mut self.assignment, &mut self.engine);
                self.expiry.run(instant(), idle, member)?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Setback> {
        self.engine
            .commit(&mut self.batch, &mut self.assignment, Occasion::Records)
    }

    fn store(&mut self) -> Result<(), Setback> {
        self.flush()?;
        self.engine.checkpoint(&mut self.assignment, Extent::All)?;
        self.engine.settle(&mut self.assignment)
    }

    /// Delivers a record or the end of a log.
    fn poll(&mut self, random: &mut Random) -> Result<Polled, Setback> {
        let partitions: Vec<i32> = self.fetch.keys().copied().collect();
        if partitions.is_empty() {
            return Ok(Polled::Nothing);
        }
        let id = partitions[random.below(partitions.len())];
        if self.blocked.contains(&id) {
            // The client may have queued an end before the partition was paused.
            ended(id, true, (&mut self.assignment, &mut self.batch));
            return Ok(Polled::Something);
        }
        let fetch = self.fetch[&id];
        let topic = self.log.clone();
        let topic = topic.0.borrow();
        let Some(own) = topic.partitions.get(id as usize) else {
            return Ok(Polled::Nothing);
        };
        // Clients notice a cut by the leader epoch, even after the log has grown again.
        let (cuts, cut_at) = own.cuts;
        let cut = self.cuts.get(&id) != Some(&cuts) && fetch > cut_at;
        if fetch < own.start || fetch > own.end() || cut {
            self.assignment.out_of_range()?;
            return Ok(Polled::Nothing);
        }
        let Some((offset, record)) = own.next(fetch) else {
            if self.ends.insert(id, own.end()) != Some(own.end()) {
                ended(id, false, (&mut self.assignment, &mut self.batch));
                return Ok(Polled::Something);
            }
            return Ok(Polled::Nothing);
        };
        self.fetch.insert(id, offset + 1);
        let value = record.value();
        let incoming = Incoming {
            partition: id,
            offset,
            timestamp: Some(record.time),
            key: Some(record.user.as_bytes()),
            value: value.as_deref().map(str::as_bytes),
            original: record.original.map(|offset| Original {
                partition: id,
                offset,
            }),
        };
        if turn(&incoming, &mut self.assignment)? == Turn::Past {
            return Ok(Polled::Something);
        }
        if record.claim && random.chance(2) {
            self.blocked.insert(id);
            return Ok(Polled::Something);
        }
        let name = self.instance;
        trace(|| format!("{name:x} takes {id}/{offset} of {}", record.user));
        let member = (&mut self.assignment, &mut self.engine, &mut self.batch);
        let content = Ok(incoming.value);
        if let Taken::Rejected { letter: true, .. } = take(&incoming, content, member) {
            self.letters.push((id, record.original.unwrap_or(offset)));
        }
        Ok(Polled::Something)
    }

    /// Ends the outage of the store of claims.
    pub(super) fn unblock(&mut self) {
        for id in std::mem::take(&mut self.blocked) {
            if let Some(own) = self.assignment.get(id) {
                self.fetch.insert(id, own.next());
                self.ends.remove(&id);
            }
        }
    }

    /// The group revokes partitions.
    pub(super) fn revoked(&mut self, partitions: &[i32], lost: bool) {
        let written = match lost {
            true => Err(Setback::PartitionsLost),
            false => self.store(),
        };
        for id in partitions {
            self.fetch.remove(id);
            self.ends.remove(id);
            self.blocked.remove(id);
        }
        self.engine.release(partitions);
        self.assignment.revoked(partitions);
        if let Err(setback) = written {
            self.go_back(setback);
        }
    }

    /// Answers a setback as the worker's loop does.
    pub(super) fn go_back(&mut self, setback: Setback) {
        assert!(!matches!(setback, Setback::Fatal(_)), "{setback:?}");
        trace(|| format!("{:x} goes back: {setback:?}", self.instance));
        self.assignment
            .go_back(&setback, self.batch.progress(), instant());
        self.batch.clear();
        self.engine.go_back();
        self.expiry.go_back();
    }
}

/// The monotonic clock of a schedule.
fn instant() -> Instant {
    thread_local! {
        static BASE: Instant = Instant::now();
    }
    let passed = u64::try_from(now() - START).unwrap();
    BASE.with(|base| *base + Duration::from_millis(passed))
}
