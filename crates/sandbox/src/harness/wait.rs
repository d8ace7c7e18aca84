//! Waiting for a state instead of for a time.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Calls `probe` until it returns something, at most `limit`; the error says what was waited for.
///
/// An error of the probe ends the waiting at once: it means that the state cannot come any more.
pub fn until<T>(
    what: &str,
    limit: Duration,
    mut probe: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = probe()? {
            return Ok(found);
        }
        if Instant::now() > deadline {
            bail!("waited {limit:?} in vain for {what}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
