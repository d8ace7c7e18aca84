//! The names of all keys under a prefix.

use sha2::{Digest, Sha256};

/// The names of the keys of one topic under one prefix.
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

    /// The beginning of the name of a user's hash; the id follows.
    pub fn features(&self) -> String {
        format!("{}features:", self.prefix)
    }

    /// The beginning of the name of a user's window; the id follows.
    pub fn window(&self) -> String {
        format!("{}window:", self.prefix)
    }

    /// The partition's position.
    pub fn position(&self, partition: i32) -> String {
        format!("{}position:{}:{partition}", self.prefix, self.topic)
    }

    /// The partition's users by their next expiry.
    pub fn expiry(&self, partition: i32) -> String {
        format!("{}expiry:{}:{partition}", self.prefix, self.topic)
    }

    /// The partition's rejected records, by offset.
    pub fn rejected(&self, partition: i32) -> String {
        format!("{}rejected:{}:{partition}", self.prefix, self.topic)
    }

    /// The user's erasures. The name does not show the id, since it outlives the user.
    pub fn erased(&self, user: &str) -> String {
        let digest = Sha256::digest(user.as_bytes());
        let digits: String = digest[..16]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        format!("{}erased:{digits}", self.prefix)
    }

    /// The owner of the prefix.
    pub fn owner(&self) -> String {
        format!("{}owner", self.prefix)
    }
}
