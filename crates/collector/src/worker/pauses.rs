//! Pausing partitions so that what is buffered stays within the memory bound.

use crate::worker::intake::Intake;
use crate::worker::memory::Flow;
use std::time::{Duration, Instant};
use tidemill_core::kafka::Consumer;

/// After this time without a record the consumer counts as idle.
const IDLE: Duration = Duration::from_secs(1);

/// The paused partitions of a consumer.
pub(crate) struct Pauses {
    paused: Vec<i32>,
    last_record: Instant,
}

impl Pauses {
    /// None is.
    pub(crate) fn none() -> Self {
        Self {
            paused: Vec::new(),
            last_record: Instant::now(),
        }
    }

    /// Records arrive.
    pub(crate) fn records_arrive(&mut self) {
        self.last_record = Instant::now();
    }

    /// These partitions are no longer the consumer's, or no longer paused.
    pub(crate) fn forget(&mut self, partitions: &[i32]) {
        self.paused.retain(|own| !partitions.contains(own));
    }

    /// Pauses and resumes among the `open` partitions as memory allows.
    pub(crate) fn apply(
        &mut self,
        consumer: &Consumer,
        intake: &mut Intake,
        open: &[i32],
    ) -> anyhow::Result<()> {
        let idle = self.last_record.elapsed() > IDLE;
        let now: Vec<i32> = match intake.flow(idle) {
            Flow::All => Vec::new(),
            Flow::Only(one) => open.iter().copied().filter(|own| *own != one).collect(),
            Flow::None => open.to_vec(),
        };
        if now == self.paused {
            return Ok(());
        }
        // The partitions that are read from now on get their time to bring a record.
        self.last_record = Instant::now();
        let missing = |these: &[i32], those: &[i32]| -> Vec<i32> {
            let differ = |own: &&i32| !those.contains(own) && open.contains(own);
            these.iter().filter(differ).copied().collect()
        };
        let (pause, resume) = (missing(&now, &self.paused), missing(&self.paused, &now));
        if !pause.is_empty() {
            consumer.pause(&pause)?;
        }
        if !resume.is_empty() {
            consumer.resume(&resume)?;
        }
        self.paused = now;
        Ok(())
    }
}
