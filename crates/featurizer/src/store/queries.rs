//! Reads between two transactions: windows, due users, all users with an expiry, rejected records.

use super::connection::Lost;
use super::door::{Door, texts};
use super::keys::Keys;
use super::lease::Lease;
use super::resp::Pack;
use redis::Value;

/// The stored bytes of a user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredUser {
    /// The encoded window and its additions.
    pub window: Option<Vec<u8>>,
    /// The erasures, as text.
    pub erased: Option<Vec<u8>>,
}

/// The kind of value under the key of a partition's expiries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expiries {
    /// A sorted set of users.
    #[default]
    Users,
    /// No key.
    None,
    /// Another type, written by another program.
    Foreign,
}

/// One page of a scan.
#[derive(Debug)]
pub struct Page<Item> {
    /// The cursor of the next page; 0 after the last.
    pub next: u64,
    /// The items. A scan may return one twice.
    pub items: Vec<Item>,
}

impl<D: Door> Lease<D> {
    /// The stored users, in the order of their ids. WATCHes their windows: if another client writes one of them before
    /// our next EXEC, Redis refuses that EXEC.
    pub fn load(&mut self, ids: &[&str]) -> Result<Vec<StoredUser>, Lost> {
        // First, since it may UNWATCH everything.
        self.watch_held()?;
        let mut answers = self.ask(|pack, keys| {
            let prefix = keys.window();
            let windows = |pack: &mut Pack, name| {
                let mut command = pack.command(name);
                ids.iter()
                    .for_each(|id| command.joined(prefix.as_bytes(), id.as_bytes()));
            };
            windows(pack, "WATCH");
            windows(pack, "MGET");
            let mut command = pack.command("MGET");
            ids.iter().for_each(|id| command.word(keys.erased(id)));
        })?;
        let erased = answers.pop().map(texts).unwrap_or_default();
        let windows = answers.pop().map(texts).unwrap_or_default();
        let users = windows.into_iter().zip(erased);
        let users = users.map(|(window, erased)| StoredUser { window, erased });
        Ok(users.collect())
    }

    /// For each partition, users whose next expiry is not after `now`, the longest due first, up to its limit.
    pub fn due(&mut self, limits: &[(i32, usize)], now: i64) -> Result<Vec<Vec<String>>, Lost> {
        let now = now.to_string();
        let answers = self.ask(|pack, keys| {
            for (partition, limit) in limits {
                let (key, limit) = (keys.expiry(*partition), limit.to_string());
                pack.all(&["ZRANGEBYSCORE", &key, "-inf", &now, "LIMIT", "0", &limit]);
            }
        })?;
        Ok(answers.into_iter().map(strings).collect())
    }

    /// The number of users of these partitions that are due.
    pub fn backlog(&mut self, partitions: &[i32], now: i64) -> Result<u64, Lost> {
        let now = now.to_string();
        let answers = self.ask(|pack, keys| {
            for partition in partitions {
                pack.all(&["ZCOUNT", &keys.expiry(*partition), "-inf", &now]);
            }
        })?;
        let counts = answers.into_iter().flat_map(strings);
        Ok(counts.filter_map(|count| count.parse::<u64>().ok()).sum())
    }

    /// For each partition, the kind of value under the key of its expiries.
    pub fn expiries(&mut self, partitions: &[i32]) -> Result<Vec<Expiries>, Lost> {
        let answers = self.ask(|pack, keys| {
            for partition in partitions {
                pack.all(&["TYPE", &keys.expiry(*partition)]);
            }
        })?;
        let kinds = answers.into_iter().flat_map(strings);
        let kinds = kinds.map(|kind| match kind.as_str() {
            "zset" => Expiries::Users,
            "none" => Expiries::None,
            _ => Expiries::Foreign,
        });
        Ok(kinds.collect())
    }

    /// Moves all users of one partition's expiries to those of another, where they are due at once. A user may be in
    /// both for a moment, which is harmless: an expiry only says that the user has to be visited.
    pub fn move_expiries(&mut self, from: i32, to: i32, limit: usize) -> Result<(), Lost> {
        let last = (limit.max(1) - 1).to_string();
        loop {
            let mut answers =
                self.ask(|pack, keys| pack.all(&["ZRANGE", &keys.expiry(from), "0", &last]))?;
            let users = answers.pop().map(texts).unwrap_or_default();
            let users: Vec<Vec<u8>> = users.into_iter().flatten().collect();
            if users.is_empty() {
                return Ok(());
            }
            self.ask(|pack, keys| {
                let mut add = pack.command("ZADD");
                add.word(keys.expiry(to));
                for user in &users {
                    add.word("0");
                    add.word(user);
                }
                drop(add);
                let mut remove = pack.command("ZREM");
                remove.word(keys.expiry(from));
                users.iter().for_each(|user| remove.word(user));
            })?;
        }
    }

    /// One page of all users with an expiry in a partition.
    pub fn scheduled(
        &mut self,
        partition: i32,
        cursor: u64,
        limit: usize,
    ) -> Result<Page<String>, Lost> {
        let page = self.scan("ZSCAN", |keys| keys.expiry(partition), cursor, limit)?;
        Ok(Page {
            next: page.next,
            items: page.items.into_iter().map(|(user, _)| user).collect(),
        })
    }

    /// One page of a partition's rejected records: fields and values.
    pub fn rejected(
        &mut self,
        partition: i32,
        cursor: u64,
        limit: usize,
    ) -> Result<Page<(String, String)>, Lost> {
        self.scan("HSCAN", |keys| keys.rejected(partition), cursor, limit)
    }

    fn scan(
        &mut self,
        name: &str,
        key: impl Fn(&Keys) -> String,
        cursor: u64,
        limit: usize,
    ) -> Result<Page<(String, String)>, Lost> {
        let (cursor, limit) = (cursor.to_string(), limit.to_string());
        let mut answers =
            self.ask(|pack, keys| pack.all(&[name, &key(keys), &cursor, "COUNT", &limit]))?;
        let mut words = answers.pop().map(strings).unwrap_or_default().into_iter();
        let next = words.next().and_then(|cursor| cursor.parse().ok());
        let next = next.ok_or_else(|| Lost(format!("unexpected answer to {name}")))?;
        let items: Vec<String> = words.collect();
        let pairs = items.chunks_exact(2);
        let items = pairs.map(|pair| (pair[0].clone(), pair[1].clone()));
        Ok(Page {
            next,
            items: items.collect(),
        })
    }
}

fn strings(answer: Value) -> Vec<String> {
    let texts = texts(answer).into_iter().flatten();
    texts
        .map(|text| String::from_utf8_lossy(&text).into_owned())
        .collect()
}
