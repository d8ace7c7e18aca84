//! Times a session at each batch size.

use std::time::{Duration, Instant};

use anyhow::Result;
use scorer::model::Session;

use super::answers::Answer;
use super::{BATCHES, Times};

/// Stretches that a measurement is cut into; the fastest counts, being the one least disturbed.
const STRETCHES: u32 = 8;

/// Microseconds a row at each batch size. The rows differ from batch to batch.
pub(super) fn times(session: &mut Session, answer: &Answer, budget: Duration) -> Result<Times> {
    let mut times = [f64::INFINITY; BATCHES.len()];
    for (best, batch) in times.iter_mut().zip(BATCHES) {
        let width = answer.columns();
        let rows = answer.numbers();
        let rows = rows.repeat((batch * 16).div_ceil(answer.rows.len()));
        let mut batches = rows.chunks_exact(batch * width).cycle();
        let mut scores = Vec::with_capacity(batch);
        let begun = Instant::now();
        for stretch in 0..STRETCHES {
            // tract alone may take seconds for one batch of a large forest.
            if stretch > 0 && begun.elapsed() > budget {
                break;
            }
            let (start, mut done) = (Instant::now(), 0);
            while done == 0 || start.elapsed() < budget / STRETCHES {
                let Some(rows) = batches.next() else { break };
                scores.clear();
                session.run(rows, &mut scores)?;
                done += batch;
            }
            *best = best.min(start.elapsed().as_secs_f64() * 1e6 / done as f64);
        }
    }
    Ok(times)
}
