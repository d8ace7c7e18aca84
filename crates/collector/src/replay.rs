//! The loop of one thread of a bounded run: its ranges to their ends, each cut where any other run would cut it.

use crate::intake::{Event, Intake};
use crate::lane::Sink;
use crate::memory::Share;
use crate::pauses::Pauses;
use crate::progress::Progress;
use crate::settings::Config;
use crate::stretch::Range;
use anyhow::bail;
use std::time::{Duration, Instant};
use tidemill_core::kafka::{Consumer, Polled};
use tokio_util::sync::CancellationToken;

/// How long a poll waits for a record.
const POLL: Duration = Duration::from_millis(20);

/// How often a worker looks after what is not a record.
const TICK: Duration = Duration::from_millis(20);

/// One worker of a bounded run.
pub(crate) struct Replay {
    consumer: Consumer,
    intake: Intake,
    ranges: Vec<Range>,
    /// The end of each partition's range, by partition number; 0 where it is reached.
    ends: Vec<i64>,
    pauses: Pauses,
    records: u64,
}

impl Replay {
    /// Opens these ranges, which are no other worker's, with this share of the memory.
    pub(crate) fn open(
        number: usize,
        config: &Config,
        sink: &Sink,
        ranges: Vec<Range>,
        share: Share,
    ) -> anyhow::Result<Self> {
        let consumer = Consumer::outside(
            &config.shared.kafka.with_prefetch(share.fetched),
            &config.shared.group,
            &config.shared.topic,
        )?;
        let mut intake = Intake::new(number, sink.clone(), config.rows, share.buffered);
        let starts: Vec<(i32, i64)> = ranges
            .iter()
            .map(|range| (range.partition, range.first))
            .collect();
        consumer.start(&starts)?;
        let mut ends = Vec::new();
        for range in &ranges {
            intake.open(range.partition, range.first, range.gap);
            let place = range.partition as usize;
            ends.resize(ends.len().max(place + 1), 0);
            ends[place] = range.end;
        }
        Ok(Self {
            consumer,
            intake,
            ranges,
            ends,
            pauses: Pauses::none(),
            records: 0,
        })
    }

    /// Collects the ranges to their ends and waits for the last file. Told to stop, it leaves the files as they are:
    /// a tail cut there would make the data set another than that of a run that is not interrupted.
    pub(crate) fn run(
        mut self,
        progress: &Progress,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<()> {
        let mut tick = Instant::now();
        while !shutdown.is_cancelled() && !self.is_done() {
            match self.consumer.poll(POLL)? {
                Polled::Record(record) => {
                    let (partition, offset) = (record.partition(), record.offset());
                    let end = self.ends[partition as usize];
                    if offset < end {
                        self.intake.take(&record)?;
                    }
                    if offset + 1 >= end {
                        self.reached(partition)?;
                    }
                    self.records += 1;
                    if !self.records.is_multiple_of(256) {
                        continue;
                    }
                    self.pauses.records_arrive();
                }
                Polled::End(partition) => self.reached(partition)?,
                Polled::OutOfRange => bail!(
                    "retention has deleted records of {} before they were read: run again, with a later --from",
                    self.consumer.topic()
                ),
                _ => {}
            }
            if tick.elapsed() >= TICK {
                tick = Instant::now();
                self.tick(progress)?;
            }
        }
        if !self.is_done() {
            tracing::warn!("stopped before the end; the same call goes on from here");
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        let open = self.intake.open_partitions();
        self.ends.iter().all(|end| *end == 0) && self.intake.is_settled(&open)
    }

    fn tick(&mut self, progress: &Progress) -> anyhow::Result<()> {
        metrics::counter!("tidemill_records_total").increment(std::mem::take(&mut self.records));
        for event in self.intake.events()? {
            if let Event::Superseded { partition, next } = event {
                tracing::info!(partition, next, "a peer was first, going on after its file");
                if self.ends[partition as usize] > next {
                    self.consumer.seek(partition, next)?;
                    self.consumer.resume(&[partition])?;
                    self.pauses.forget(&[partition]);
                    self.intake.open(partition, next, None);
                } else {
                    self.ends[partition as usize] = 0;
                }
            }
        }
        let read = self
            .ranges
            .iter()
            .map(|range| match self.ends[range.partition as usize] {
                0 => range.len(),
                _ => self
                    .intake
                    .position(range.partition)
                    .map_or(0, |now| (now - range.first).max(0) as u64),
            });
        progress.report(self.ranges[0].partition, read.sum());
        let mut open = self.intake.open_partitions();
        open.retain(|partition| self.ends[*partition as usize] > 0);
        self.pauses.apply(&self.consumer, &mut self.intake, &open)
    }

    /// The end of a partition's range: what is buffered is its last file.
    fn reached(&mut self, partition: i32) -> anyhow::Result<()> {
        let end = &mut self.ends[partition as usize];
        if std::mem::take(end) > 0 {
            self.intake.cut(partition);
            self.consumer.pause(&[partition])?;
        }
        Ok(())
    }
}
