//! The loop of one worker thread: poll a batch, apply it, write windows, features and positions in one step, go on.

use crate::apply::{Applier, Occasion, Rules};
use crate::batch::Batch;
use crate::cache::Cache;
use crate::claim::Claims;
use crate::gauges::Gauges;
use crate::partition::Partition;
use crate::position::{Position, Token};
use crate::settings::Config;
use crate::store::{Fenced, Keys, Redis, Step};
use crate::warm_up::WarmUp;
use anyhow::Context;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidemill_core::claim::{Held, Resolver};
use tidemill_core::health::Health;
use tidemill_core::kafka::{Consumer, DeadLetters, Polled, Producer};
use tokio_util::sync::CancellationToken;

/// How long a poll waits when nothing is under way; decay and signals are looked after in between.
const IDLE: Duration = Duration::from_millis(50);
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
    pub(crate) resolver: Resolver,
    pub(crate) token: Token,
    /// Tokens of partitions of other workers whose users the batch takes.
    pub(crate) disturbed: BTreeMap<i32, Position>,
    pub(crate) gauges: Gauges,
    pub(crate) decay: crate::decay::Decay,
    pub(crate) letters: DeadLetters,
    pub(crate) producer: Producer,
    /// Whether the batch may take all that has arrived, and be written in several steps: what the last one has left.
    pub(crate) long: bool,
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
        warm_up: &Arc<WarmUp>,
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
            held: Held::new(health, &format!("worker {number}")),
            resolver: resolver.clone(),
            token: Token { instance, count: 0 },
            disturbed: BTreeMap::new(),
            gauges: Gauges::new(number, health, warm_up.clone()),
            decay: crate::decay::Decay::default(),
            letters: letters.clone(),
            producer: Producer::open(&shared.kafka)?,
            long: false,
            reported: Instant::now(),
            config: config.clone(),
        };
        let consumer = Consumer::open(
            &shared.kafka,
            &shared.group,
            &shared.topic,
            &config.writes_to(),
        )?;
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
                Polled::End(_) => {}
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
            if idle || state.batch.full(state.long) {
                state.flush(Occasion::Records)?;
                state.long = !idle && state.nobody_ahead();
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

    /// Whether all users of a partition are where its position is.
    fn nobody_ahead(&self) -> bool {
        let mut partitions = self.partitions.values();
        partitions.all(|partition| partition.position.ahead.is_none())
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
