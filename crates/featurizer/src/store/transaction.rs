//! The commands of one MULTI/EXEC, packed while they are decided.

use super::keys::Keys;
use super::position::Position;
use super::resp::{Pack, Words};
use crate::users::{Erasures, User, WHOLE_EVERY_MS};
use std::collections::BTreeMap;
use tidemill_core::features::{Definitions, Evaluation, FeatureValue};

/// Time (ms) for which an erasure is remembered beyond the longest window: a partition that lags further behind may
/// bring back values without a window.
const ERASURE_MS: i64 = 7 * 24 * 3_600_000;
const HOUR_MS: i64 = 3_600_000;

/// The commands of a transaction; reused for the next.
pub struct StoreTransaction {
    features: Vec<u8>,
    window: Vec<u8>,
    keys: Keys,
    names: Vec<String>,
    lives: Lives,
    pack: Pack,
    positions: Vec<(i32, Position)>,
    others: Vec<(i32, Position)>,
    sets: BTreeMap<i32, Sets>,
    windows: usize,
}

/// Lifetimes of keys (ms).
#[derive(Clone, Copy, Debug)]
struct Lives {
    /// Minimum by which a window outlives its hash.
    outlives: i64,
    /// Lifetime of an erasure.
    erasure: i64,
    /// Lead of Redis's clock over ours.
    skew: i64,
}

/// Changes of a partition's own keys.
#[derive(Default)]
struct Sets {
    /// Scores and members to be set in the sorted set of expiries.
    scheduled: Words,
    /// Members to be removed from it.
    unscheduled: Words,
    /// Fields and values to be set in the hash of rejected records.
    rejected: Words,
    /// Fields to be removed from it.
    forgotten: Words,
}

/// A user's features.
pub struct HashWrite<'a> {
    /// The user's id.
    pub id: &'a str,
    /// The features' values.
    pub evaluation: &'a Evaluation,
    /// The time in `_complete_from` (epoch ms).
    pub complete_from: Option<i64>,
    /// True if the hash may hold marks of earlier writes that must be removed.
    pub stale_marks: bool,
    /// True if the hash may hold fields of an earlier life or of other definitions; it is deleted first.
    pub anew: bool,
    /// The hash's new expiry time (epoch ms); `None` leaves it as it is.
    pub expires_at: Option<i64>,
}

impl StoreTransaction {
    /// An empty transaction for these definitions and keys.
    pub fn new(definitions: &Definitions, keys: &Keys) -> Self {
        let features = definitions.features().iter();
        let longest = definitions.longest_ms().max(definitions.ttl_ms());
        Self {
            features: keys.features().into_bytes(),
            window: keys.window().into_bytes(),
            keys: keys.clone(),
            names: features.map(|feature| feature.name.clone()).collect(),
            lives: Lives {
                outlives: longest - definitions.ttl_ms() + HOUR_MS,
                erasure: longest + ERASURE_MS,
                skew: 0,
            },
            pack: Pack::default(),
            positions: Vec::new(),
            others: Vec::new(),
            sets: BTreeMap::new(),
            windows: 0,
        }
    }

    /// Sets the lead of Redis's clock over ours (ms): TTLs end by Redis's clock.
    pub fn set_skew(&mut self, skew: i64) {
        self.lives.skew = skew;
    }

    /// Minimum (ms) by which a user's window outlives its hash.
    pub fn outlives_ms(&self) -> i64 {
        self.lives.outlives
    }

    /// Bytes of the commands packed so far.
    pub fn bytes(&self) -> usize {
        self.pack.bytes().len()
    }

    /// Empties the transaction, and keeps its buffers.
    pub fn clear(&mut self) {
        self.pack.clear();
        self.positions.clear();
        self.others.clear();
        self.sets.clear();
        self.windows = 0;
    }

    /// The number of windows that it stores.
    pub fn windows(&self) -> usize {
        self.windows
    }

    /// Writes the position of a partition of ours.
    pub fn position(&mut self, partition: i32, position: Position) {
        self.positions.push((partition, position));
    }

    /// Writes the position of a partition that another worker may hold, which makes that worker go back.
    pub fn disturb(&mut self, partition: i32, position: Position) {
        self.others.push((partition, position));
    }

    /// The positions of our partitions that it writes.
    pub fn positions(&self) -> &[(i32, Position)] {
        &self.positions
    }

    /// Writes the owner of the prefix.
    pub fn owner(&mut self, owner: &str) {
        self.pack.all(&["SET", &self.keys.owner(), owner]);
    }

    /// Sets the time (epoch ms) at which a user has to be evaluated again.
    pub fn schedule(&mut self, partition: i32, id: &str, at: i64) {
        let scheduled = &mut self.sets.entry(partition).or_default().scheduled;
        scheduled.number(at);
        scheduled.word(id);
    }

    /// Removes a user from a partition's expiries.
    pub fn unschedule(&mut self, partition: i32, id: &str) {
        let sets = self.sets.entry(partition).or_default();
        sets.unscheduled.word(id);
    }

    /// Sets a field of a partition's rejected records.
    pub fn reject(&mut self, partition: i32, field: &str, value: &str) {
        let rejected = &mut self.sets.entry(partition).or_default().rejected;
        rejected.word(field);
        rejected.word(value);
    }

    /// Removes a field of a partition's rejected records.
    pub fn forget_reject(&mut self, partition: i32, field: &str) {
        let sets = self.sets.entry(partition).or_default();
        sets.forgotten.word(field);
    }

    /// Removes the position and the rejected records of a partition that no longer exists.
    pub fn end_partition(&mut self, partition: i32) {
        let (position, rejected) = (self.keys.position(partition), self.keys.rejected(partition));
        self.pack.all(&["UNLINK", &position, &rejected]);
    }

    /// Removes a partition's expiries, without blocking Redis whatever their number.
    pub fn unlink_expiries(&mut self, partition: i32) {
        self.pack.all(&["UNLINK", &self.keys.expiry(partition)]);
    }

    /// Writes a user's window, or what is new of it.
    pub fn window(&mut self, definitions: &Definitions, id: &str, user: &mut User) {
        self.windows += 1;
        if user.may_add() {
            let mut append = self.pack.command("APPEND");
            append.joined(&self.window, id.as_bytes());
            append.written(|out| user.encode_added(out));
            return;
        }
        let end = user.expires_at().saturating_add(self.lives.outlives);
        let end = end.saturating_add(WHOLE_EVERY_MS + self.lives.skew);
        let mut set = self.pack.command("SET");
        set.joined(&self.window, id.as_bytes());
        set.written(|out| user.encode(definitions, out));
        set.word("PXAT");
        set.number(end);
    }

    /// Writes a user's features.
    pub fn hash(&mut self, write: HashWrite<'_>) {
        let (evaluation, id) = (write.evaluation, write.id.as_bytes());
        let pack = &mut self.pack;
        let values = || self.names.iter().zip(&evaluation.values);
        let absent = |value: &FeatureValue| matches!(value, FeatureValue::Absent);
        if write.anew {
            pack.command("DEL").joined(&self.features, id);
        }
        let mut set = pack.command("HSET");
        set.joined(&self.features, id);
        for (name, value) in values().filter(|(_, value)| !absent(value)) {
            set.word(name);
            set.written(|out| value.write(out));
        }
        set.word("_as_of");
        set.number(evaluation.as_of);
        set.word("_valid_until");
        set.number(evaluation.valid_until);
        if !evaluation.exact {
            set.word("_exact");
            set.word("0");
        }
        if let Some(time) = write.complete_from {
            set.word("_complete_from");
            set.number(time);
        }
        drop(set);
        let (exact, complete) = (evaluation.exact, write.complete_from.is_none());
        let marks = write.stale_marks && (exact || complete);
        if !write.anew && (marks || evaluation.values.iter().any(absent)) {
            let mut remove = pack.command("HDEL");
            remove.joined(&self.features, id);
            for (name, _) in values().filter(|(_, value)| absent(value)) {
                remove.word(name);
            }
            if write.stale_marks && exact {
                remove.word("_exact");
            }
            if write.stale_marks && complete {
                remove.word("_complete_from");
            }
        }
        if let Some(end) = write.expires_at {
            let mut renew = pack.command("PEXPIREAT");
            renew.joined(&self.features, id);
            renew.number(end.saturating_add(self.lives.skew));
        }
    }

    /// Deletes a user's hash and window.
    pub fn delete(&mut self, id: &str) {
        let mut delete = self.pack.command("DEL");
        delete.joined(&self.features, id.as_bytes());
        delete.joined(&self.window, id.as_bytes());
    }

    /// Deletes a user's hash and window, and remembers the erasures.
    pub fn erase(&mut self, id: &str, erasures: &Erasures, now: i64) {
        // SET and DEL change the key for every client that WATCHes it, even if it did not exist.
        let mut touch = self.pack.command("SET");
        touch.joined(&self.window, id.as_bytes());
        touch.word("");
        drop(touch);
        self.delete(id);
        let end = erasures.newest().unwrap_or(now).max(now);
        let end = end.saturating_add(self.lives.erasure + self.lives.skew);
        let mut remember = self.pack.command("SET");
        remember.word(self.keys.erased(id));
        remember.word(erasures.to_string());
        remember.word("PXAT");
        remember.number(end);
    }

    /// Appends the whole transaction with MULTI and EXEC to `out`. Call it once between two [`Self::clear`]. Returns
    /// the number of commands within.
    pub(super) fn pack(&mut self, out: &mut Pack) -> usize {
        for (partition, sets) in &self.sets {
            let (expiry, rejected) = (self.keys.expiry(*partition), self.keys.rejected(*partition));
            for (name, key, words) in [
                ("ZREM", &expiry, &sets.unscheduled),
                ("ZADD", &expiry, &sets.scheduled),
                ("HDEL", &rejected, &sets.forgotten),
                ("HSET", &rejected, &sets.rejected),
            ] {
                if !words.is_empty() {
                    let mut command = self.pack.command(name);
                    command.word(key);
                    command.words(words);
                }
            }
        }
        for (partition, position) in self.positions.iter().chain(&self.others) {
            let key = self.keys.position(*partition);
            self.pack.all(&["SET", &key, &position.to_string()]);
        }
        out.all(&["MULTI"]);
        out.append(&self.pack);
        out.all(&["EXEC"]);
        self.pack.commands()
    }

    /// Sets a field of a hash.
    #[cfg(test)]
    pub(crate) fn set_field(&mut self, key: &str) {
        self.pack.all(&["HSET", key, "field", "1"]);
    }

    /// The commands as Redis receives them.
    #[cfg(test)]
    pub(crate) fn text(&mut self) -> String {
        let mut pack = Pack::default();
        self.pack(&mut pack);
        String::from_utf8_lossy(pack.bytes()).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::super::position::tests::stored;
    use super::super::resp::read;
    use super::*;
    use crate::users::{Home, Place};

    fn transaction() -> StoreTransaction {
        StoreTransaction::new(&Definitions::standard(), &Keys::new("p:", "t"))
    }

    /// The transaction's commands, each as one line.
    fn commands(transaction: &mut StoreTransaction) -> Vec<String> {
        let mut pack = Pack::default();
        let count = transaction.pack(&mut pack);
        let (mut rest, mut lines) = (pack.bytes(), Vec::new());
        while let Some((words, behind)) = read(rest) {
            let words = words.iter().map(|word| String::from_utf8_lossy(word));
            lines.push(words.collect::<Vec<_>>().join(" "));
            rest = behind;
        }
        assert!(rest.is_empty() && lines.len() == count + 2, "{lines:?}");
        assert_eq!(
            (lines[0].as_str(), lines[count + 1].as_str()),
            ("MULTI", "EXEC")
        );
        lines[1..=count].to_vec()
    }

    fn user() -> User {
        let home = Home {
            partition: 0,
            epoch: 1,
        };
        User::new(home, Erasures::default())
    }

    fn evaluation(values: &[FeatureValue], exact: bool) -> Evaluation {
        let mut evaluation = Evaluation::default();
        evaluation.values = values.to_vec();
        (evaluation.as_of, evaluation.valid_until) = (5, 9);
        evaluation.exact = exact;
        evaluation
    }

    const VALUES: [FeatureValue; 4] = [
        FeatureValue::Count(2),
        FeatureValue::Number(0.5),
        FeatureValue::Absent,
        FeatureValue::Time(1500),
    ];

    fn written(change: impl FnOnce(&mut HashWrite<'_>)) -> Vec<String> {
        written_with(&evaluation(&VALUES, true), change)
    }

    fn written_with(values: &Evaluation, change: impl FnOnce(&mut HashWrite<'_>)) -> Vec<String> {
        let mut transaction = transaction();
        transaction.set_skew(7);
        let mut write = HashWrite {
            id: "u",
            evaluation: values,
            complete_from: None,
            stale_marks: false,
            anew: false,
            expires_at: None,
        };
        change(&mut write);
        transaction.hash(write);
        commands(&mut transaction)
    }

    #[test]
    fn a_hash_gets_the_present_values_and_loses_the_absent_ones() {
        let lines = written(|_| {});
        assert_eq!(
            lines,
            [
                "HSET p:features:u purchase_count_24h 2 total_spend_24h 0.5 last_purchase_ts 1.5 _as_of 5 \
                 _valid_until 9",
                "HDEL p:features:u avg_purchase_amount",
            ]
        );
    }

    #[test]
    fn a_hash_that_begins_anew_is_deleted_first_and_lives_by_the_clock_of_redis() {
        let lines = written(|write| (write.anew, write.expires_at) = (true, Some(3)));
        assert_eq!(lines[0], "DEL p:features:u");
        assert!(lines[1].starts_with("HSET"));
        assert_eq!(lines[2..], ["PEXPIREAT p:features:u 10"]);
    }

    #[test]
    fn a_window_outlives_the_hash() {
        let (mut transaction, mut user) = (transaction(), user());
        transaction.set_skew(7);
        transaction.window(&Definitions::standard(), "u", &mut user);
        let lines = commands(&mut transaction);
        assert!(lines[0].starts_with("SET p:window:u "));
        assert!(lines[0].ends_with(&format!("PXAT {}", HOUR_MS + WHOLE_EVERY_MS + 7)));
    }

    #[test]
    fn marks_stand_in_the_hash_while_they_apply_and_go_afterwards() {
        let lines = written(|write| write.complete_from = Some(77));
        assert!(lines[0].ends_with("_valid_until 9 _complete_from 77"));
        let lines = written(|write| write.stale_marks = true);
        assert_eq!(
            lines[1],
            "HDEL p:features:u avg_purchase_amount _exact _complete_from"
        );
        let inexact = evaluation(&VALUES[..2], false);
        let lines = written_with(&inexact, |write| write.stale_marks = true);
        assert!(lines[0].ends_with("_exact 0"), "{lines:?}");
        assert_eq!(lines[1], "HDEL p:features:u _complete_from");
    }

    #[test]
    fn later_writes_append_until_the_whole_is_due_again() {
        let (definitions, mut user) = (Definitions::standard(), user());
        let mut kinds = Vec::new();
        for _ in 0..12 {
            let mut transaction = transaction();
            let entry = vec![1; definitions.entry_bytes()];
            user.insert(
                &definitions,
                &tidemill_core::features::Limits::NONE,
                &entry,
                0,
            );
            transaction.window(&definitions, "u", &mut user);
            let lines = commands(&mut transaction);
            assert_eq!(lines.len(), 1);
            kinds.push(lines[0].split(' ').next().unwrap().to_owned());
        }
        assert_eq!(kinds[0], "SET");
        assert!(
            kinds[1..].contains(&"APPEND".to_owned()) && kinds[1..].contains(&"SET".to_owned())
        );
    }

    #[test]
    fn sets_are_written_once_a_partition_and_positions_last() {
        let mut transaction = transaction();
        transaction.position(1, stored(3, None));
        transaction.disturb(2, stored(4, None));
        transaction.schedule(1, "a", 10);
        transaction.schedule(1, "b", 20);
        transaction.unschedule(0, "c");
        transaction.reject(1, "8", "9:r");
        transaction.forget_reject(1, "2");
        let lines = commands(&mut transaction);
        assert_eq!(
            lines[..4],
            [
                "ZREM p:expiry:t:0 c",
                "ZADD p:expiry:t:1 10 a 20 b",
                "HDEL p:rejected:t:1 2",
                "HSET p:rejected:t:1 8 9:r",
            ]
        );
        assert!(lines[4].starts_with("SET p:position:t:1 stored=3 "));
        assert!(lines[5].starts_with("SET p:position:t:2 stored=4 "));
        transaction.clear();
        assert_eq!(commands(&mut transaction), [""; 0]);
    }

    #[test]
    fn an_erasure_changes_the_window_for_whoever_watches_it_and_hides_the_id() {
        let mut transaction = transaction();
        let mut erasures = Erasures::default();
        let place = Place {
            partition: 1,
            incarnation: 2,
            offset: 3,
            time: 4,
        };
        erasures.add(place);
        transaction.erase("u", &erasures, 50);
        let lines = commands(&mut transaction);
        assert_eq!(
            lines[..2],
            ["SET p:window:u ", "DEL p:features:u p:window:u"]
        );
        let (name, rest) = lines[2].strip_prefix("SET p:erased:").unwrap().split_at(32);
        assert!(name.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let end = 50 + ERASURE_MS + 172_800_000;
        assert_eq!(rest, format!(" {erasures} PXAT {end}"));
    }
}
