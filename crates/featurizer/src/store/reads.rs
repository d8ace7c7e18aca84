//! What is read between two steps: windows of users, who is due, and who is left from before a rebuild.

use super::connection::{Lost, texts};
use super::fenced::Fenced;
use super::keys::Keys;
use super::pack::Pack;

impl Fenced {
    /// The stored windows of users, in their order, watched until the next step: whoever else writes one of these
    /// users before it has it refused.
    pub fn load(&mut self, ids: &[&str]) -> Result<Vec<Option<Vec<u8>>>, Lost> {
        // First, since it would end this watch.
        self.watch_held()?;
        self.pack.clear();
        let prefix = self.keys.window();
        for command in ["WATCH", "MGET"] {
            self.pack.command(1 + ids.len());
            self.pack.word(command);
            ids.iter()
                .for_each(|id| self.pack.joined(prefix.as_bytes(), id.as_bytes()));
        }
        let mut answers = self.redis.ask(&self.pack)?;
        Ok(answers.pop().map(texts).unwrap_or_default())
    }

    /// Of each partition, up to `limit` users whose next expiry is not after `now`, the longest due first.
    pub fn due(
        &mut self,
        partitions: &[i32],
        now: i64,
        limit: usize,
    ) -> Result<Vec<Vec<String>>, Lost> {
        let (now, limit) = (now.to_string(), limit.to_string());
        self.each(partitions, |pack, keys, partition| {
            let key = keys.expiry(partition);
            pack.all(&["ZRANGEBYSCORE", &key, "-inf", &now, "LIMIT", "0", &limit]);
        })
    }

    /// Up to `limit` users that a partition had before its windows were built anew.
    pub fn stale(&mut self, partition: i32, limit: usize) -> Result<Vec<String>, Lost> {
        let last = limit.saturating_sub(1).to_string();
        let users = self.each(&[partition], |pack, keys, partition| {
            pack.all(&["ZRANGE", &keys.stale(partition), "0", &last]);
        })?;
        Ok(users.into_iter().flatten().collect())
    }

    /// How many users of these partitions are due.
    pub fn backlog(&mut self, partitions: &[i32], now: i64) -> Result<u64, Lost> {
        let now = now.to_string();
        let counts = self.each(partitions, |pack, keys, partition| {
            pack.all(&["ZCOUNT", &keys.expiry(partition), "-inf", &now]);
        })?;
        Ok(counts
            .into_iter()
            .flatten()
            .filter_map(|count| count.parse::<u64>().ok())
            .sum())
    }

    /// Whether anything is set aside of a partition.
    pub fn has_stale(&mut self, partition: i32) -> Result<bool, Lost> {
        Ok(!self.stale(partition, 1)?.is_empty())
    }

    /// Whether a partition has users with an expiry.
    pub fn has_expiries(&mut self, partition: i32) -> Result<bool, Lost> {
        let key = self.keys.expiry(partition);
        Ok(!self.redis.command(&["ZRANGE", &key, "0", "0"])?.is_empty())
    }

    fn each(
        &mut self,
        partitions: &[i32],
        command: impl Fn(&mut Pack, &Keys, i32),
    ) -> Result<Vec<Vec<String>>, Lost> {
        self.pack.clear();
        partitions
            .iter()
            .for_each(|partition| command(&mut self.pack, &self.keys, *partition));
        let answers = self.redis.ask(&self.pack)?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let users = |answer| texts(answer).into_iter().flatten().map(text).collect();
        Ok(answers.into_iter().map(users).collect())
    }
}
