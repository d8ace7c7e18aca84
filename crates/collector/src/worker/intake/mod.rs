//! The partitions of one worker: their records since the last file, and their lanes into the data set.

mod partition;

use crate::dataset::footer::Footer;
use crate::dataset::offset::Offset;
use crate::dataset::start::Start;
use crate::pipeline::{Lane, Outcome, Sink, What};
use crate::worker::memory::{Buffer, Flow, Throttle};
use partition::{Partition, Taken};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};
use tidemill_core::kafka::{Record, StoredPosition};

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
    /// Bounds what is held.
    throttle: Throttle,
    /// Bytes taken since the memory was looked at.
    grown: usize,
    /// Records taken since they were counted.
    taken: u64,
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
        next: Offset,
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
            throttle: Throttle::new(memory),
            grown: 0,
            taken: 0,
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
            held.abort();
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

    /// Takes a record, unless it was taken before; the file that it ends is sent on its way.
    ///
    /// Errors: as [`Intake::events`], or the record shows that the log is another one.
    pub(crate) fn take(&mut self, record: &Record<'_>) -> anyhow::Result<()> {
        let (rows, headers) = (self.rows, self.sink.data_set.freezer().keeps_headers());
        let (partition, offset) = (record.partition(), Offset::from(record.offset()));
        let Some(held) = self.get(partition) else {
            return Ok(());
        };
        let taken = held.take(record, headers, rows);
        let data_set = &self.sink.data_set;
        match taken.map_err(|fit| data_set.of_another_log(partition, offset.next(), fit))? {
            Taken::Before => {}
            Taken::Into(grown) => self.count(grown),
            Taken::Full(grown) => {
                self.count(grown);
                self.make_room()?;
            }
        }
        Ok(())
    }

    fn count(&mut self, grown: usize) {
        self.grown += grown;
        self.taken += 1;
    }

    /// The number of records that were taken since the last call.
    pub(crate) fn take_count(&mut self) -> u64 {
        std::mem::take(&mut self.taken)
    }

    /// Reading is faster than encoding: waits, not for long, while files on their way take a quarter of the memory.
    /// Pausing instead would throw away what was fetched; that is left to [`Intake::flow`], for when the store hangs.
    fn make_room(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + ROOM;
        while self.under_way() > self.throttle.limit() / 4 {
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
        self.iter().map(|(_, held)| held.under_way()).sum()
    }

    /// Ends the file of a partition here, if there is anything in it.
    pub(crate) fn cut(&mut self, partition: i32) {
        if let Some(held) = self.get(partition) {
            held.send();
        }
    }

    /// Ends the files whose first record came more than `age` ago.
    pub(crate) fn cut_aged(&mut self, age: Duration) {
        let aged = self.iter().filter(|(_, held)| held.is_aged(age));
        let aged: Vec<i32> = aged.map(|(own, _)| own).collect();
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
        if self.sink.data_set.frozen().is_none() {
            start.gap = None;
        }
        start
    }

    /// The position after the last record taken of a partition, with what tells its log from others.
    pub(crate) fn stored_position(&self, partition: i32) -> Option<StoredPosition<u64>> {
        let held = self.partitions.get(partition as usize)?.as_ref()?;
        Some(StoredPosition {
            topic: self.sink.data_set.topic().id,
            next: held.next().into(),
            last: held.last(),
        })
    }

    /// The position after the last record taken of a partition.
    pub(crate) fn position(&self, partition: i32) -> Option<Offset> {
        let held = self.partitions.get(partition as usize)?.as_ref()?;
        Some(held.next())
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
        let Some(held) = held.filter(|held| held.lane() == lane) else {
            // Of a lane whose partition went to another worker meanwhile.
            return Ok(());
        };
        match what {
            What::Published(footer) => {
                held.arrived();
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
        self.events.is_empty() && own.all(|(_, held)| held.is_settled())
    }

    /// No record waits for its file, and no file is on its way.
    pub(crate) fn is_at_rest(&self) -> bool {
        let mut all = self.iter();
        self.events.is_empty() && all.all(|(_, held)| held.is_empty() && held.is_settled())
    }

    /// The partitions to read; `idle`: nothing has been read for a while.
    pub(crate) fn flow(&mut self, idle: bool) -> Flow {
        self.grown = 0;
        let rows = self.rows;
        let buffers = self
            .iter()
            .map(|(partition, held)| held.buffer(partition, rows));
        let buffers: Vec<Buffer> = buffers.collect();
        let under_way = self.under_way();
        let buffered: usize = buffers.iter().map(|buffer| buffer.bytes).sum();
        self.buffered.set((under_way + buffered) as f64);
        self.throttle.flow(&buffers, under_way, idle)
    }

    /// So much was taken since the last look at the memory that there has to be another.
    pub(crate) fn has_grown(&self) -> bool {
        self.grown > self.throttle.limit() / 32
    }
}
