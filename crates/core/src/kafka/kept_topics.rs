//! The topics that a process writes to: created again if somebody deletes them meanwhile.

use super::Cluster;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Pause between two looks.
const EVERY: Duration = Duration::from_secs(10);

impl Cluster {
    /// Creates `topics` again, with `partitions` partitions, whenever they are missing, until `shutdown`. Without it, a
    /// process whose output topic was deleted would stand still until it is restarted.
    pub fn keep(
        self: Arc<Self>,
        topics: Vec<String>,
        partitions: usize,
        shutdown: CancellationToken,
    ) {
        tokio::spawn(async move {
            while !shutdown.is_cancelled() {
                for topic in &topics {
                    if let Err(error) = self.ensure(topic, partitions).await {
                        // The parts that write to it report an outage.
                        tracing::debug!(topic, "{error:#}");
                    }
                }
                self.listen();
                tokio::select! {
                    () = tokio::time::sleep(EVERY) => {}
                    () = shutdown.cancelled() => {}
                }
            }
        });
    }
}
