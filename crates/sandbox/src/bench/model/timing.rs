//! Times a session at each batch size.

use std::time::{Duration, Instant};

use anyhow::Result;
use scorer::model::Session;

use super::answers::Answer;
use super::{BATCHES, Times};

/// Parts of a measurement; the fastest one counts, since it is the least disturbed.
const STRETCHES: u32 = 8;

/// A batch that would take longer (in microseconds), such as a large forest in tract alone, is not timed.
const LONGEST: f64 = 2e6;

/// Microseconds per row at each batch size; NaN if a batch would take too long. The rows differ from batch to batch.
pub(super) fn times(session: &mut Session, answer: &Answer, budget: Duration) -> Result<Times> {
    // `score` turns errors into NaN; `run` shows once if there are any.
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
