//! The partitions of one worker: their records since the last file, and their lanes into the data set.

mod partition;

use crate::dataset::footer::Footer;
use crate::dataset::start::{Start, another_log};
use crate::pipeline::{Lane, Outcome, Sink, What};
use crate::worker::memory::{Buffer, Flow, Throttle};
use partition::Partition;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};
use tidemill_core::kafka::{Record, StoredPosition, fingerprint};

/// Longest time that polling may rest for files on their way; heartbeats go on meanwhile, and no file becomes too old.
const ROOM: Duration = Duration::from_millis(500);

/// The partitions of one worker.
pub(crate) struct Intake {
    sink: Sink,
    rows: usize,
    /// By partition number.
    partitions: Vec<Option<Partition>>,
    outcomes: (Sender<Outcome>, Receiver<Outcome>),
    /// Events since the worker last asked.
    events: Vec<Event>,
    /// Bound of what is held, in bytes.
    memory: usize,
    throttle: Throttle,
    /// Bytes taken since the memory was looked at.
    grown: usize,
    lanes: u64,
    buffered: metrics::Gauge,
}

/// The fate of a batch that the worker has to act on.
#[derive(Debug, PartialEq)]
pub(crate) enum Event {
    /// The position of a partition moved.
    Published(Box<Footer>),
    /// A peer was first; the partition was closed and is to be opened at the peer's position.
    Superseded {
        /// The partition.
        partition: i32,
        /// The position at which to go on.
        next: i64,
    },
}

impl Intake {
    /// Nothing yet, for worker `number`; files of `rows` records, at most `memory` bytes.
    pub(crate) fn new(number: usize, sink: Sink, rows: usize, memory: usize) -> Self {
        Self {
            sink,
            rows,
            partitions: Vec::new(),
            outcomes: channel(),
            events: Vec::new(),
            memory,
            throttle: Throttle::new(memory),
            grown: 0,
            lanes: 0,
            buffered: metrics::gauge!("tidemill_buffered_bytes", "worker" => number.to_string()),
        }
    }

    /// Begins a partition.
    pub(crate) fn open(&mut self, partition: i32, start: Start) {
        let start = self.recordable(start);
        self.lanes += 1;
        let lane = Lane::open(&self.sink, partition, self.lanes, self.outcomes.0.clone());
        let place = partition as usize;
        if self.partitions.len() <= place {
            self.partitions.resize_with(place + 1, || None);
        }
        self.partitions[place] = Some(Partition::new(lane, start));
    }

    /// Ends a partition and drops what is buffered of it; what is on its way may still arrive unless `abort`.
    pub(crate) fn close(&mut self, partition: i32, abort: bool) {
        let held = self
            .partitions
            .get_mut(partition as usize)
            .and_then(Option::take);
        if let Some(held) = held
            && abort
        {
            held.lane.abort();
        }
    }

    /// The partitions that are open.
    pub(crate) fn open_partitions(&self) -> Vec<i32> {
        self.iter().map(|(partition, _)| partition).collect()
    }

    fn iter(&self) -> impl Iterator<Item = (i32, &Partition)> {
        let held = (0..).zip(&self.partitions);
        held.filter_map(|(partition, held)| Some((partition, held.as_ref()?)))
    }

    fn get(&mut self, partition: i32) -> Option<&mut Partition> {
        self.partitions.get_mut(partition as usize)?.as_mut()
    }

    /// Takes a record, unless it was taken before; the file that it ends is sent on its way. True where it was taken.
    ///
    /// Errors: as [`Intake::events`], or the record shows that the log is another one.
    pub(crate) fn take(&mut self, record: &Record<'_>) -> anyhow::Result<bool> {
        let (rows, headers) = (self.rows, self.sink.headers);
        let headers = headers.then(|| record.headers()).into_iter().flatten();
        let Some(held) = self.get(record.partition()) else {
            return Ok(false);
        };
        let (key, value) = (record.key(), record.value());
        let before = held.batch.footprint();
        let taken = held
            .batch
            .push(record.offset(), record.timestamp(), key, value, headers);
        if !taken {
            let found = || fingerprint(record.timestamp(), key, value);
            let (partition, offset) = (record.partition(), record.offset());
            let compared = held.compare(offset, found);
            let topic = &self.sink.topic.name;
            compared.map_err(|fit| another_log(topic, partition, offset + 1, fit))?;
            return Ok(false);
        }
        held.since.get_or_insert_with(Instant::now);
        let grown = held.batch.footprint() - before;
        let full = held.batch.is_full(rows);
        if full {
            held.send();
        }
        self.grown += grown;
        if full {
            self.make_room()?;
        }
        Ok(true)
    }

    /// Reading is faster than encoding: waits, not for long, while files on their way take a quarter of the memory.
    /// Pausing instead would throw away what was fetched; that is left to [`Intake::flow`], for when the store hangs.
    fn make_room(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + ROOM;
        while self.under_way() > self.memory / 4 {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(outcome) = self.outcomes.1.recv_timeout(left) else {
                break;
            };
            self.settle(outcome)?;
        }
        Ok(())
    }

    /// Memory of what is on its way into the data set, in bytes.
    fn under_way(&self) -> usize {
        self.iter().flat_map(|(_, held)| &held.under_way).sum()
    }

    /// Ends the file of a partition here, if there is anything in it.
    pub(crate) fn cut(&mut self, partition: i32) {
        if let Some(held) = self.get(partition) {
            held.send();
        }
    }

    /// Ends the files whose first record came more than `age` ago.
    pub(crate) fn cut_aged(&mut self, age: Duration) {
        let aged = |held: &Partition| held.since.is_some_and(|since| since.elapsed() >= age);
        let aged: Vec<i32> = self
            .iter()
            .filter(|(_, held)| aged(held))
            .map(|(own, _)| own)
            .collect();
        aged.into_iter().for_each(|partition| self.cut(partition));
    }

    /// Goes on after the consumer has stopped; what lies before the log's oldest record is recorded as a gap.
    pub(crate) fn go_on(&mut self, partition: i32, start: Start) {
        let start = self.recordable(start);
        if let Some(held) = self.get(partition) {
            held.go_on(start);
        }
    }

    /// While there is no schema there are no files; once there is one, the partition is opened again.
    fn recordable(&self, mut start: Start) -> Start {
        if self.sink.freezer.get().is_none() {
            start.gap = None;
        }
        start
    }

    /// The position after the last record taken of a partition, with what tells its log from others.
    pub(crate) fn stored_position(&self, partition: i32) -> Option<StoredPosition<u64>> {
        let held = self.partitions.get(partition as usize)?.as_ref()?;
        Some(StoredPosition {
            topic: self.sink.topic.id,
            next: held.batch.next,
            last: held.last(),
        })
    }

    /// The position after the last record taken of a partition.
    pub(crate) fn position(&self, partition: i32) -> Option<i64> {
        let held = self.partitions.get(partition as usize)?.as_ref()?;
        Some(held.batch.next)
    }

    /// The fates of batches since the last call.
    ///
    /// Errors: a file cannot be made, or the data set holds one that cannot be read.
    pub(crate) fn events(&mut self) -> anyhow::Result<Vec<Event>> {
        while let Ok(outcome) = self.outcomes.1.try_recv() {
            self.settle(outcome)?;
        }
        Ok(std::mem::take(&mut self.events))
    }

    fn settle(&mut self, outcome: Outcome) -> anyhow::Result<()> {
        let Outcome {
            lane,
            partition,
            what,
        } = outcome;
        let held = self.get(partition);
        let Some(held) = held.filter(|held| held.lane.number() == lane) else {
            // Of a lane whose partition went to another worker meanwhile.
            return Ok(());
        };
        match what {
            What::Published(footer) => {
                held.under_way.pop_front();
                self.events.push(Event::Published(footer));
            }
            What::Superseded { next } => {
                self.close(partition, true);
                self.events.push(Event::Superseded { partition, next });
            }
            What::Failed(error) => return Err(error),
        }
        Ok(())
    }

    /// Nothing of these partitions is on its way, and no event waits to be asked for.
    pub(crate) fn is_settled(&self, partitions: &[i32]) -> bool {
        let mut own = self
            .iter()
            .filter(|(partition, _)| partitions.contains(partition));
        self.events.is_empty() && own.all(|(_, held)| held.under_way.is_empty())
    }

    /// The partitions to read; `idle`: nothing has been read for a while.
    pub(crate) fn flow(&mut self, idle: bool) -> Flow {
        self.grown = 0;
        let rows = self.rows;
        let buffers = self.iter().map(|(partition, held)| Buffer {
            partition,
            bytes: held.batch.footprint(),
            left: held.batch.left(rows),
        });
        let buffers: Vec<Buffer> = buffers.collect();
        let under_way = self.under_way();
        let buffered: usize = buffers.iter().map(|buffer| buffer.bytes).sum();
        self.buffered.set((under_way + buffered) as f64);
        self.throttle.flow(&buffers, under_way, idle)
    }

    /// So much was taken since the last look at the memory that there has to be another.
    pub(crate) fn has_grown(&self) -> bool {
        self.grown > self.memory / 32
    }
}
