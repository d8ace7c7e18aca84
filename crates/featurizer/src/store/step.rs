//! What one atomic step writes, packed while it is decided.

use super::expiries::Expiries;
use super::keys::Keys;
use super::pack::Pack;
use crate::position::Position;
use crate::user::{User, WHOLE_EVERY_MS};
use std::collections::BTreeMap;
use tidemill_core::features::{Definitions, Evaluation, FeatureValue};

/// Gathers the commands of a step; it is used again for each.
pub struct Step {
    features: Vec<u8>,
    window: Vec<u8>,
    keys: Keys,
    names: Vec<String>,
    /// How much longer than the hash the window lives at least, in milliseconds.
    outlives_ms: i64,
    pub(super) pack: Pack,
    pub(super) positions: Vec<(i32, Position)>,
    others: Vec<(i32, Position)>,
    pub(super) expiries: BTreeMap<i32, Expiries>,
    users: usize,
}

/// One user's part of a step.
pub struct UserWrite<'a> {
    /// The user's id.
    pub id: &'a str,
    /// The state, as it is to be stored.
    pub user: &'a mut User,
    /// The entries that have come into its window since it was stored last.
    pub news: &'a [u8],
    /// The features' values, unless the hash is to be left alone.
    pub evaluation: Option<&'a Evaluation>,
    /// What is said in `_complete_from` (epoch ms).
    pub complete_from: Option<i64>,
    /// Whether the hash may hold marks of earlier writes that must go.
    pub stale_marks: bool,
    /// Whether the hash may hold fields of an earlier life or of other definitions, which go.
    pub anew: bool,
    /// Whether the end of the hash's life is written; without, it stays as it is.
    pub renew: bool,
}

impl Step {
    /// A step for these definitions and keys.
    pub fn new(definitions: &Definitions, keys: &Keys) -> Self {
        const HOUR_MS: i64 = 3_600_000;
        let names = definitions
            .features()
            .iter()
            .map(|feature| feature.name.clone());
        let longest = definitions.longest_ms().max(definitions.ttl_ms());
        Self {
            features: keys.features().into_bytes(),
            window: keys.window().into_bytes(),
            keys: keys.clone(),
            names: names.collect(),
            outlives_ms: longest - definitions.ttl_ms() + HOUR_MS,
            pack: Pack::default(),
            positions: Vec::new(),
            others: Vec::new(),
            expiries: BTreeMap::new(),
            users: 0,
        }
    }

    /// How much longer than its hash a user's window lives at least, in milliseconds.
    pub fn outlives_ms(&self) -> i64 {
        self.outlives_ms
    }

    /// Users written so far.
    pub fn users(&self) -> usize {
        self.users
    }

    /// Bytes packed so far.
    pub fn bytes(&self) -> usize {
        self.pack.bytes.len()
    }

    /// Nothing is written yet.
    pub fn clear(&mut self) {
        self.pack.clear();
        self.positions.clear();
        self.others.clear();
        self.expiries.clear();
        self.users = 0;
    }

    /// Moves a partition's position.
    pub fn position(&mut self, partition: i32, position: Position) {
        self.positions.push((partition, position));
    }

    /// Changes the token of a partition that another worker holds, so that it notices.
    pub fn disturb(&mut self, partition: i32, position: Position) {
        self.others.push((partition, position));
    }

    /// Writes a user's state and features.
    pub fn user(&mut self, definitions: &Definitions, write: UserWrite<'_>) {
        self.users += 1;
        if let Some(evaluation) = write.evaluation {
            self.hash(&write, evaluation);
        }
        let UserWrite { id, user, news, .. } = write;
        if user.may_add(news.len()) {
            self.pack.command(3);
            self.pack.word("APPEND");
            self.pack.joined(&self.window, id.as_bytes());
            self.pack.written(|out| user.encode_added(news, out));
            return;
        }
        self.pack.command(5);
        self.pack.word("SET");
        self.pack.joined(&self.window, id.as_bytes());
        self.pack.written(|out| user.encode(definitions, out));
        self.pack.word("PXAT");
        let end = user.expires_at.saturating_add(self.outlives_ms);
        self.pack.number(end.saturating_add(WHOLE_EVERY_MS));
    }

    fn hash(&mut self, write: &UserWrite<'_>, evaluation: &Evaluation) {
        let pack = &mut self.pack;
        let id = write.id.as_bytes();
        let present = |value: &&FeatureValue| !matches!(value, FeatureValue::Absent);
        let fields = evaluation.values.iter().filter(present).count() + 2;
        let marks = usize::from(!evaluation.exact) + usize::from(write.complete_from.is_some());
        if write.anew {
            pack.command(2);
            pack.word("DEL");
            pack.joined(&self.features, id);
        }
        pack.command(2 + 2 * (fields + marks));
        pack.word("HSET");
        pack.joined(&self.features, id);
        for (name, value) in self.names.iter().zip(&evaluation.values) {
            if present(&value) {
                pack.word(name);
                pack.written(|out| value.write(out));
            }
        }
        pack.word("_as_of");
        pack.number(evaluation.as_of);
        pack.word("_valid_until");
        pack.number(evaluation.valid_until);
        if !evaluation.exact {
            pack.word("_exact");
            pack.word("0");
        }
        if let Some(time) = write.complete_from {
            pack.word("_complete_from");
            pack.number(time);
        }
        let absent = evaluation.values.len() + 2 - fields;
        if !write.anew && (absent > 0 || write.stale_marks) {
            let marks = usize::from(evaluation.exact) + usize::from(write.complete_from.is_none());
            let marks = if write.stale_marks { marks } else { 0 };
            pack.command(2 + absent + marks);
            pack.word("HDEL");
            pack.joined(&self.features, id);
            for (name, value) in self.names.iter().zip(&evaluation.values) {
                if !present(&value) {
                    pack.word(name);
                }
            }
            if write.stale_marks && evaluation.exact {
                pack.word("_exact");
            }
            if write.stale_marks && write.complete_from.is_none() {
                pack.word("_complete_from");
            }
        }
        if write.renew {
            pack.command(3);
            pack.word("PEXPIREAT");
            pack.joined(&self.features, id);
            pack.number(write.user.expires_at);
        }
    }

    /// Deletes a user's hash and window.
    pub fn erase(&mut self, id: &str) {
        self.users += 1;
        self.pack.command(3);
        self.pack.word("DEL");
        self.pack.joined(&self.features, id.as_bytes());
        self.pack.joined(&self.window, id.as_bytes());
    }

    /// Sets a partition's users aside, before its windows are built anew.
    pub fn set_aside(&mut self, partition: i32, into_empty: bool) {
        let (expiry, stale) = (self.keys.expiry(partition), self.keys.stale(partition));
        if into_empty {
            self.pack.all(&["RENAME", &expiry, &stale]);
        } else {
            self.pack
                .all(&["ZUNIONSTORE", &stale, "2", &stale, &expiry]);
            self.pack.all(&["DEL", &expiry]);
        }
    }

    /// Packs what was gathered for each partition; nothing may follow.
    pub(super) fn complete(&mut self) {
        for (partition, expiries) in &self.expiries {
            expiries.pack(&self.keys, *partition, &mut self.pack);
        }
        for (partition, position) in self.positions.iter().chain(&self.others) {
            let key = self.keys.position(*partition);
            self.pack.all(&["SET", &key, &position.to_string()]);
        }
    }
}
