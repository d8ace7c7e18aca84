//! A thread that asks a server at intervals if it is up, for the health of the process.

use crate::health::Pulse;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Age of the last answer at which the process becomes unready: an outage shows within 5 s.
pub const LIMIT: Duration = Duration::from_secs(4);

/// Time limit for one answer: two requests fit into [`LIMIT`], so that one lost answer is no outage.
pub const ANSWER: Duration = Duration::from_millis(1_500);

/// Time between the starts of two requests.
const EVERY: Duration = Duration::from_secs(1);

/// Asks until `shutdown`, on a thread of its own, and logs when the server goes away and when it is back. `ask` must
/// give up after [`ANSWER`].
pub fn keep(
    pulse: Pulse,
    shutdown: CancellationToken,
    mut ask: impl FnMut() -> Result<(), String> + Send + 'static,
) -> anyhow::Result<()> {
    let thread = std::thread::Builder::new().name(pulse.name().into());
    thread.spawn(move || {
        let mut away = false;
        while !shutdown.is_cancelled() {
            let begun = Instant::now();
            match ask() {
                Ok(()) => pulse.beat(),
                Err(error) => pulse.missed(error),
            }
            let (part, reason) = (pulse.name(), pulse.reason());
            match &reason {
                Some(reason) if !away => tracing::warn!(part, reason, "not ready"),
                None if away => tracing::info!(part, "ready again"),
                _ => {}
            }
            away = reason.is_some();
            // Nobody waits for this thread to end.
            std::thread::sleep(EVERY.saturating_sub(begun.elapsed()));
        }
    })?;
    Ok(())
}
