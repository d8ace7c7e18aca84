//! Times a session at each batch size.

use std::time::{Duration, Instant};

use anyhow::Result;
use scorer::model::Session;

use super::answers::Answer;
use super::{BATCHES, Times};

/// Stretches that a measurement is cut into; the fastest counts, being the one least disturbed.
const STRETCHES: u32 = 8;

/// A batch that would take longer, in microseconds, is not timed: a large forest in tract alone.
const LONGEST: f64 = 2e6;

/// Microseconds a row at each batch size, not a number where a batch would take too long. The rows
/// differ from batch to batch.
pub(super) fn times(session: &mut Session, answer: &Answer, budget: Duration) -> Result<Times> {
    // A score that cannot be had is not a number: whether there are any is seen once.
    session.run(&answer.numbers()[..answer.columns()], &mut Vec::new())?;
    let mut times = [f64::NAN; BATCHES.len()];
    let mut last = 0.0;
    for (time, batch) in times.iter_mut().zip(BATCHES) {
        if last * batch as f64 > LONGEST {
            break;
        }
        let width = answer.columns();
        let rows = answer.numbers();
        let rows = rows.repeat((batch * 16).div_ceil(answer.rows.len()));
        let mut batches = rows.chunks_exact(batch * width).cycle();
        let mut scores = Vec::with_capacity(batch);
        for _ in 0..STRETCHES {
            let (start, mut done) = (Instant::now(), 0);
            while done == 0 || start.elapsed() < budget / STRETCHES {
                let Some(rows) = batches.next() else { break };
                scores.clear();
                session.score(rows, &mut scores);
                done += batch;
            }
            *time = time.min(start.elapsed().as_secs_f64() * 1e6 / done as f64);
            if start.elapsed() > budget {
                break;
            }
        }
        last = *time;
    }
    Ok(times)
}
