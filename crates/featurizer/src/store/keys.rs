//! The names of all keys under a prefix.

use sha2::{Digest, Sha256};

/// The key names of one topic under one prefix.
#[derive(Clone, Debug)]
pub struct Keys {
    prefix: String,
    topic: String,
}

impl Keys {
    /// Keys under `prefix` (may be empty) for `topic`.
    pub fn new(prefix: &str, topic: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
            topic: topic.to_owned(),
        }
    }

    /// The names of another topic under the same prefix.
    pub fn of_topic(&self, topic: &str) -> Self {
        Self::new(&self.prefix, topic)
    }

    /// The topic.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The name of a user's hash (hash), without the id at its end.
    pub fn features(&self) -> String {
        format!("{}features:", self.prefix)
    }

    /// The name of a user's window (string), without the id at its end.
    pub fn window(&self) -> String {
        format!("{}window:", self.prefix)
    }

    /// The name of a partition's position (string).
    pub fn position(&self, partition: i32) -> String {
        format!("{}position:{}:{partition}", self.prefix, self.topic)
    }

    /// The name of a partition's expiries (sorted set): users by their next expiry.
    pub fn expiry(&self, partition: i32) -> String {
        format!("{}expiry:{}:{partition}", self.prefix, self.topic)
    }

    /// The name of a partition's rejected records (hash), by offset.
    pub fn rejected(&self, partition: i32) -> String {
        format!("{}rejected:{}:{partition}", self.prefix, self.topic)
    }

    /// The name of a user's erasures (string). It hides the id, since it outlives the user.
    pub fn erased(&self, user: &str) -> String {
        let digest = Sha256::digest(user.as_bytes());
        let digits: String = digest[..16]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        format!("{}erased:{digits}", self.prefix)
    }

    /// The name of the prefix's owner (string).
    pub fn owner(&self) -> String {
        format!("{}owner", self.prefix)
    }
}
