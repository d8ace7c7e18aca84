//! How partitions are given up: because the group says so, or because what was not stored is no more to be trusted.

use crate::apply::Occasion;
use crate::worker::State;

impl State {
    /// Gives up everything that is not stored, and has all partitions claimed anew from what is.
    pub(crate) fn interrupt(&mut self, reason: &str) {
        tracing::warn!(
            reason,
            partitions = self.partitions.len(),
            "going back to the stored positions"
        );
        self.gauges.interrupted(reason);
        self.cache.clear();
        self.batch.clear();
        self.long = false;
        self.disturbed.clear();
        self.store.drop_all();
        // A connection with a step under way, or a watch of its own, is of no more use.
        self.store.redis.disconnect();
        let partitions = std::mem::take(&mut self.partitions);
        self.claims.again(partitions.into_keys());
    }

    /// Writes what was read of partitions that go, or drops it where they are gone.
    pub(crate) fn revoked(&mut self, partitions: &[i32], lost: bool) -> anyhow::Result<()> {
        tracing::info!(?partitions, lost, "partitions revoked");
        if lost {
            self.batch.clear();
            self.cache.clear();
            // What others hold too is read again from the stored position.
            let kept = self.partitions.keys().any(|own| !partitions.contains(own));
            if kept || self.store.under_way() {
                self.interrupt("partitions were lost");
            }
        } else {
            self.flush(Occasion::Records)?;
            self.settle()?;
        }
        self.claims.revoked(partitions);
        self.partitions.retain(|own, _| !partitions.contains(own));
        self.store.release(partitions);
        self.cache.forget(partitions);
        self.gauges
            .progress(&self.partitions, self.claims.waiting());
        Ok(())
    }
}
