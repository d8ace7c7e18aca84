//! Waiting for a state instead of for a time.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Calls `probe` until it returns something, for at most `limit`; the error names `what` was waited for.
///
/// An error of the probe ends the wait at once: it means that the state can no longer come.
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
