//! The names of all keys under a prefix.

/// Names keys of one topic under one prefix.
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

    /// What stands before a user's id in the name of the hash that everybody reads.
    pub fn features(&self) -> String {
        format!("{}features:", self.prefix)
    }

    /// What stands before a user's id in the name of the stored window.
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

    /// Users that had an expiry before the partition's windows were built anew.
    pub fn stale(&self, partition: i32) -> String {
        format!("{}stale:{}:{partition}", self.prefix, self.topic)
    }

    /// Whose prefix it is.
    pub fn owner(&self) -> String {
        format!("{}owner", self.prefix)
    }
}
