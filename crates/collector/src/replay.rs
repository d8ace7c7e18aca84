//! The loop of one thread of a bounded run: its ranges to their ends, each cut where any other run would cut it.

use crate::ends::Ends;
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
    ends: Ends,
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
        for range in &ranges {
            intake.open(range.partition, range.first, range.gap);
        }
        Ok(Self {
            consumer,
            intake,
            ends: Ends::of(ranges),
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
                    if self.ends.holds(partition, offset) {
                        self.intake.take(&record)?;
                    }
                    self.read_to(partition, Some(offset + 1))?;
                    self.records += 1;
                    if !self.records.is_multiple_of(256) {
                        continue;
                    }
                    self.pauses.records_arrive();
                }
                Polled::End(partition) => self.read_to(partition, None)?,
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
        self.ends.all_reached() && self.intake.is_settled(&open)
    }

    fn tick(&mut self, progress: &Progress) -> anyhow::Result<()> {
        metrics::counter!("tidemill_records_total").increment(std::mem::take(&mut self.records));
        for event in self.intake.events()? {
            if let Event::Superseded { partition, next } = event {
                tracing::info!(partition, next, "a peer was first, going on after its file");
                if self.ends.go_back(partition, next) {
                    self.consumer.seek(partition, next)?;
                    self.consumer.resume(&[partition])?;
                    self.pauses.forget(&[partition]);
                    self.intake.open(partition, next, None);
                }
            }
        }
        let ranges = self.ends.ranges();
        let read = ranges
            .iter()
            .map(|range| match self.ends.is_reading(range.partition) {
                false => range.len(),
                true => self
                    .intake
                    .position(range.partition)
                    .map_or(0, |now| (now - range.first).max(0) as u64),
            });
        progress.report(ranges[0].partition, read.sum());
        let mut open = self.intake.open_partitions();
        open.retain(|partition| self.ends.is_reading(*partition));
        self.pauses.apply(&self.consumer, &mut self.intake, &open)
    }

    /// A partition was read up to `position`, or to the end of its log. At the end of its range what is buffered is its
    /// last file.
    fn read_to(&mut self, partition: i32, position: Option<i64>) -> anyhow::Result<()> {
        if self.ends.read_to(partition, position) {
            self.intake.cut(partition);
            self.consumer.pause(&[partition])?;
        }
        Ok(())
    }
}
