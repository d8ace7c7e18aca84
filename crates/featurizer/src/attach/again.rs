//! The second building of windows, once those of all partitions are built.

use super::{Log, brokers};
use crate::assignment::{Assignment, all_are_built};
use crate::engine::Engine;
use crate::setback::Setback;
use crate::store::Door;
use std::time::Instant;

/// Goes back, to build windows once more, if that is due for a partition of the worker and the other partitions are
/// built too: only then all erasures are known. Looks at most once a second.
pub(crate) fn build_again<D: Door>(
    now: Instant,
    (assignment, engine): (&mut Assignment, &mut Engine<D>),
    log: &impl Log,
) -> Result<(), Setback> {
    let again = assignment.due_again(now);
    if again.is_empty() {
        return Ok(());
    }
    engine.settle(assignment)?;
    let all: Vec<i32> = (0..log.partitions().map_err(brokers)?).collect();
    let seen = engine.lease().look(&all)?;
    match all_are_built(&seen.positions) {
        true => Err(Setback::EarlyEvents(again)),
        false => Ok(()),
    }
}
