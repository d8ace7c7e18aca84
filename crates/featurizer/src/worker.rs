//! The loop of one worker thread: poll a batch, apply it, write windows, features and positions in one step, go on.

use crate::apply::{Applier, Occasion, Rules};
use crate::batch::{Batch, Change, Pending, Reached};
use crate::cache::{Cache, Known};
use crate::claim::Claims;
use crate::gauges::Gauges;
use crate::partition::{Partition, Turn};
use crate::position::{Position, Token, fingerprint};
use crate::settings::Config;
use crate::store::{Fenced, Keys, Lost, Outcome, Redis, Step};
use anyhow::Context;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidemill_core::admin::Health;
use tidemill_core::claim::{Held, Resolver};
use tidemill_core::clock::now_ms;
use tidemill_core::kafka::{Consumer, DeadLetters, Polled, Producer, Record};
use tidemill_core::record::user_event::{self, UserRecord};
use tokio_util::sync::CancellationToken;

/// How long a poll waits when nothing is under way; decay and signals are looked after in between.
const IDLE: Duration = Duration::from_millis(50);
/// How long dead letters may take to be acknowledged before their batch is done over.
const LETTERS: Duration = Duration::from_secs(5);
/// How often the group and the admin pages are told how far we are.
const REPORT: Duration = Duration::from_secs(1);
/// Why a worker goes back when a step was refused.
pub(crate) const OTHERS: &str = "the stored positions are not those written last";

/// One worker: a consumer, a connection to the store, and the users in memory.
pub struct Worker {
    consumer: Consumer,
    state: State,
}

/// All of a worker but its consumer, whose records borrow from it.
pub(crate) struct State {
    pub(crate) config: Arc<Config>,
    pub(crate) rules: Rules,
    pub(crate) store: Fenced,
    pub(crate) step: Step,
    pub(crate) cache: Cache,
    pub(crate) batch: Batch,
    pub(crate) applier: Applier,
    /// The partitions held, and those that wait for it.
    pub(crate) partitions: BTreeMap<i32, Partition>,
    pub(crate) claims: Claims,
    /// Partitions whose next record stands for an object that cannot be had now.
    pub(crate) held: Held,
    resolver: Resolver,
    pub(crate) token: Token,
    /// Tokens of partitions of other workers whose users the batch takes.
    pub(crate) disturbed: BTreeMap<i32, Position>,
    pub(crate) gauges: Gauges,
    pub(crate) decay: crate::decay::Decay,
    letters: DeadLetters,
    producer: Producer,
    reported: Instant,
}

impl Worker {
    /// Joins the group; `number` tells the workers of a process apart.
    pub fn open(
        number: usize,
        config: &Arc<Config>,
        letters: &DeadLetters,
        resolver: &Resolver,
        health: &Arc<Health>,
    ) -> anyhow::Result<Self> {
        let shared = &config.shared;
        let keys = Keys::new(&config.key_prefix, &shared.topic);
        let definitions = config.definitions.clone();
        let redis = Redis::new(&config.redis).context("--redis-url")?;
        let instance = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), number);
        let state = State {
            step: Step::new(&definitions, &keys),
            store: Fenced::new(redis, keys, config.owner()),
            cache: Cache::new(config.cache_bytes / shared.workers),
            rules: Rules {
                definitions,
                limits: config.limits,
            },
            batch: Batch::default(),
            applier: Applier::default(),
            partitions: BTreeMap::new(),
            claims: Claims::default(),
            held: Held::default(),
            resolver: resolver.clone(),
            token: Token { instance, count: 0 },
            disturbed: BTreeMap::new(),
            gauges: Gauges::new(number, &shared.topic, health.clone()),
            decay: crate::decay::Decay::default(),
            letters: letters.clone(),
            producer: Producer::open(&shared.kafka)?,
            reported: Instant::now(),
            config: config.clone(),
        };
        let consumer = Consumer::open(&shared.kafka, &shared.group, &shared.topic)?;
        Ok(Self { consumer, state })
    }

    /// Works until `shutdown` is cancelled; then applies what was read and leaves the group.
    pub fn run(self, shutdown: &CancellationToken) -> anyhow::Result<()> {
        let Self {
            consumer,
            mut state,
        } = self;
        let mut idle = false;
        while !shutdown.is_cancelled() {
            let wait = if idle && state.quiet() {
                IDLE
            } else {
                Duration::ZERO
            };
            idle = false;
            match consumer.poll(wait)? {
                Polled::Record(record) => state.gather(&consumer, &record)?,
                Polled::Assigned(partitions) => state.claims.assigned(&partitions),
                Polled::Revoked { partitions, lost } => {
                    state.revoked(&partitions, lost)?;
                    state.held.forget(&consumer, &partitions)?;
                    consumer.release(&partitions)?;
                }
                Polled::OutOfRange => state.interrupt("a position is outside of its log"),
                Polled::Idle => idle = true,
            }
            if state.held.any() {
                let partitions = &state.partitions;
                let next = |id| partitions.get(&id).map(|partition| partition.next);
                state.held.retry(&consumer, next)?;
            }
            if state.claims.open() {
                state.claim(&consumer)?;
            }
            if idle || state.batch.full() {
                state.flush(Occasion::Records)?;
                if idle {
                    state.settle()?;
                }
                state.decay(idle)?;
                state.report(&consumer);
            }
        }
        state.flush(Occasion::Records)?;
        state.settle()?;
        consumer.commit_hint(&state.positions());
        Ok(())
    }
}

impl State {
    /// Nothing is gathered and nothing under way.
    fn quiet(&self) -> bool {
        self.batch.is_empty() && !self.store.under_way() && !self.decay.pressing()
    }

    /// Takes a record into the batch.
    fn gather(&mut self, consumer: &Consumer, record: &Record<'_>) -> anyhow::Result<()> {
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
            Ok(UserRecord::Event { user, .. }) => (user, Change::Event(begin)),
            Ok(UserRecord::Erasure { user }) => (user, Change::Erasure),
            Err(reject) => {
                self.batch.rejected += 1;
                let sent = self.letters.send(&self.producer, record, &reject);
                return sent.context("sending a dead letter");
            }
        };
        let slot = self.touch(&user, id);
        self.batch.pending.push(Pending {
            slot,
            partition: id,
            change,
        });
        Ok(())
    }

    /// The user's slot, which stays until the batch is applied.
    pub(crate) fn touch(&mut self, user: &str, partition: i32) -> u32 {
        let index = self.cache.find(user);
        let slot = self.cache.slot(index);
        if !slot.touched {
            slot.touched = true;
            if let Known::User(user) = &slot.known {
                self.batch.bytes += user.window.heap_bytes();
            }
            self.batch.touched.push((index, partition));
        }
        index
    }

    /// Applies the batch and sends its step; the outcome is looked at before the next.
    pub(crate) fn flush(&mut self, occasion: Occasion) -> anyhow::Result<()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        if self.batch.rejected > 0
            && let Err(error) = self.producer.flush(LETTERS)
        {
            self.interrupt(&format!("dead letters: {error:#}"));
            return Ok(());
        }
        match self.write(occasion) {
            Ok(true) => {}
            Ok(false) => self.interrupt(OTHERS),
            Err(Lost(error)) => self.interrupt(&error),
        }
        Ok(())
    }

    fn write(&mut self, occasion: Occasion) -> Result<bool, Lost> {
        let now = now_ms();
        if !self.load(now)? {
            return Ok(false);
        }
        self.step.clear();
        self.token.count += 1;
        for (id, reached) in &self.batch.reached {
            if let Some(partition) = self.partitions.get_mut(id) {
                partition.position = partition.moved(reached.next, reached.last, self.token);
            }
        }
        for (_, id) in &self.batch.touched {
            // Users alone, as in decay, change the token too.
            if let Some(partition) = self.partitions.get_mut(id) {
                partition.position.token = self.token;
            }
        }
        let occasion = (occasion, now);
        let (batch, partitions) = (&self.batch, &self.partitions);
        self.applier.apply(
            &self.rules,
            batch,
            occasion,
            partitions,
            &mut self.cache,
            &mut self.step,
        );
        for (id, partition) in &self.partitions {
            if partition.position.token == self.token {
                self.step.position(*id, partition.position.clone());
            }
        }
        for (id, position) in std::mem::take(&mut self.disturbed) {
            self.step.disturb(
                id,
                Position {
                    token: self.token,
                    ..position
                },
            );
        }
        if !self.finish()? || !self.store.send(&mut self.step)? {
            return Ok(false);
        }
        self.gauges
            .sent(&self.batch, &mut self.applier.adopted, now);
        self.batch.clear();
        self.cache.shrink();
        Ok(true)
    }

    /// Waits for the step under way; false when it was refused.
    pub(crate) fn finish(&mut self) -> Result<bool, Lost> {
        if !self.store.under_way() {
            return Ok(true);
        }
        match self.store.outcome()? {
            Outcome::Applied { errors, error } => {
                self.gauges.applied(errors, error.as_deref());
                Ok(true)
            }
            Outcome::Refused => Ok(false),
        }
    }

    /// Waits for the step under way, and recovers where it was not applied.
    pub(crate) fn settle(&mut self) -> anyhow::Result<()> {
        match self.finish() {
            Ok(true) => {}
            Ok(false) => self.interrupt(OTHERS),
            Err(Lost(error)) => self.interrupt(&error),
        }
        Ok(())
    }

    /// How far the partitions held have been applied, as far as was sent.
    pub(crate) fn positions(&self) -> Vec<(i32, i64)> {
        self.partitions
            .iter()
            .map(|(id, partition)| (*id, partition.position.offset))
            .collect()
    }

    /// Tells the group and the admin pages how far we are, now and then.
    fn report(&mut self, consumer: &Consumer) {
        if self.reported.elapsed() < REPORT {
            return;
        }
        self.reported = Instant::now();
        self.gauges.cache(self.cache.size());
        for (id, partition) in &mut self.partitions {
            partition.notice_end(|| consumer.log_range(*id).ok().map(|(_, end)| end));
        }
        if self.claims.joined {
            self.gauges
                .progress(&self.partitions, self.claims.waiting());
        }
        if !self.partitions.is_empty() {
            consumer.commit_hint(&self.positions());
        }
    }
}
