//! The lease on partitions: Redis executes its transactions only while no other worker has written.
//!
//! The lease WATCHes the owner and the positions of its partitions and compares them with what it wrote there last.
//! Every write changes the position's token, so any other write is noticed: that of a new owner of the partition, of a
//! zombie, or the loss of Redis's last second.

use super::connection::Lost;
use super::door::{Door, command, texts};
use super::keys::Keys;
use super::resp::{self, Pack};
use super::transaction::StoreTransaction;
use crate::relapse::{Relapse, relapsed};
use redis::{RedisError, Value};
use std::collections::BTreeMap;

/// The outcome of a transaction.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All of it is written, except commands on hashes that Redis refused one by one, as it does if another program
    /// keeps another type under the same key: their number, and the first error.
    Applied(usize, Option<String>),
    /// Nothing is written: another client changed a WATCHed key, or Redis lost writes.
    Refused,
    /// Redis refused a command on a window, position or expiry: the stored state of these partitions is not as decided.
    Torn(Vec<i32>, String),
}

/// The values of the WATCHed keys: if a client changes one before the next transaction, Redis refuses that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// The owner of the prefix.
    pub owner: Option<String>,
    /// The positions, in the order of the partitions asked for.
    pub positions: Vec<Option<String>>,
}

/// The fate of the positions that a lease wrote last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// They are stored, and the owner is still the lease's.
    Kept,
    /// Another worker has written since, or Redis has lost them.
    Lost,
}

/// The connection of a worker, and the positions that it may write.
pub struct Lease<D> {
    door: D,
    keys: Keys,
    owner: String,
    /// The positions of attached partitions, as last written.
    held: BTreeMap<i32, String>,
    /// The values under WATCH; `None` if they must be read again.
    watched: Option<Watched>,
    under_way: Option<UnderWay>,
    pack: Pack,
}

/// A transaction that was sent and not answered yet.
struct UnderWay {
    commands: usize,
    positions: Vec<(i32, String)>,
}

impl<D: Door> Lease<D> {
    /// A lease that holds nothing yet. `owner` is the text in the prefix's owner key while it is ours.
    pub fn new(door: D, keys: Keys, owner: String) -> Self {
        let (held, pack) = (BTreeMap::new(), Pack::default());
        Self {
            door,
            keys,
            owner,
            held,
            watched: None,
            under_way: None,
            pack,
        }
    }

    /// The text in the owner key while the prefix is ours.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// The connection, for tests to break.
    #[cfg(test)]
    pub(crate) fn door(&mut self) -> &mut D {
        &mut self.door
    }

    /// The key names.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Connects, and returns the lead of the store's clock over `now` (ms), or 0 if the user may not call TIME. `None`
    /// if there is a connection already.
    pub fn connect(&mut self, now: i64) -> Result<Option<i64>, Lost> {
        if self.door.is_connected() {
            return Ok(None);
        }
        self.drop_all();
        self.door.connect()?;
        self.pack.clear();
        self.pack.all(&["TIME"]);
        let answer = match self.door.ask(&self.pack) {
            Err(Lost(error)) if error.starts_with("NOPERM") => {
                self.door.connect()?;
                return Ok(Some(0));
            }
            answers => answers?.pop().map(texts),
        };
        let number = |text: &Option<Vec<u8>>| {
            let text = String::from_utf8_lossy(text.as_deref()?).into_owned();
            text.parse::<i64>().ok()
        };
        let numbers: Vec<i64> = answer.iter().flatten().filter_map(number).collect();
        match numbers[..] {
            [seconds, micros] => Ok(Some(seconds * 1000 + micros / 1000 - now)),
            _ => Err(Lost("unexpected answer to TIME".into())),
        }
    }

    /// Drops the connection and everything held: an unread reply or a stale WATCH may be left on it.
    pub fn disconnect(&mut self) {
        self.drop_all();
        self.door.disconnect();
    }

    fn drop_all(&mut self) {
        self.held.clear();
        self.watched = None;
        self.under_way = None;
    }

    /// Gives up these partitions.
    pub fn release(&mut self, partitions: &[i32]) {
        self.held
            .retain(|partition, _| !partitions.contains(partition));
        self.watched = None;
    }

    /// WATCHes and reads the owner and the positions of these partitions, and nothing else.
    pub fn look(&mut self, partitions: &[i32]) -> Result<Watched, Lost> {
        self.watched = None;
        self.pack.clear();
        self.pack.all(&["UNWATCH"]);
        self.watch_and_read(partitions.iter().copied());
        let mut answers = self.door.ask(&self.pack)?;
        Ok(watched(answers.pop()))
    }

    /// WATCHes and reads the positions of further partitions, on top of those held.
    pub fn look_also(&mut self, partitions: &[i32]) -> Result<Vec<Option<String>>, Lost> {
        self.pack.clear();
        self.watch_and_read(partitions.iter().copied());
        let mut answers = self.door.ask(&self.pack)?;
        Ok(watched(answers.pop()).positions)
    }

    fn watch_and_read(&mut self, partitions: impl Iterator<Item = i32>) {
        let mut names = vec![self.keys.owner()];
        names.extend(partitions.map(|partition| self.keys.position(partition)));
        for name in ["WATCH", "MGET"] {
            let mut command = self.pack.command(name);
            names.iter().for_each(|name| command.word(name));
        }
    }

    /// Executes a transaction right after [`Lease::look`], whatever that returned. Its positions are held from then on.
    pub fn attach(&mut self, transaction: &mut StoreTransaction) -> Result<Outcome, Lost> {
        self.transmit(transaction)?;
        self.outcome()
    }

    /// Sends a transaction if the stored positions are those written last and it moves none that is not held;
    /// [`Lease::outcome`] waits for the answer.
    pub fn send(&mut self, transaction: &mut StoreTransaction) -> Result<Hold, Lost> {
        debug_assert!(self.under_way.is_none(), "one transaction at a time");
        let moved = transaction.positions().iter();
        let mut moved = moved.map(|(partition, _)| partition);
        if !moved.all(|partition| self.held.contains_key(partition)) {
            return Ok(Hold::Lost);
        }
        let hold = self.hold()?;
        if hold == Hold::Kept {
            self.transmit(transaction)?;
        }
        Ok(hold)
    }

    /// Reads the stored positions again, and compares them with those written last.
    pub fn verify(&mut self) -> Result<Hold, Lost> {
        self.watched = None;
        self.hold()
    }

    /// Compares the WATCHed positions with those written last; sets the WATCH if there is none.
    fn hold(&mut self) -> Result<Hold, Lost> {
        self.watch_held()?;
        let held = self.held.values().map(|text| Some(text.as_str()));
        let ours = self.watched.as_ref().is_some_and(|watched| {
            watched.owner.as_deref() == Some(&self.owner)
                && held.eq(watched.positions.iter().map(Option::as_deref))
        });
        Ok(match ours || relapsed(Relapse::MissedFence) {
            true => Hold::Kept,
            false => Hold::Lost,
        })
    }

    /// WATCHes owner and held positions unless that is done already.
    pub(super) fn watch_held(&mut self) -> Result<(), Lost> {
        if self.watched.is_none() {
            let partitions: Vec<i32> = self.held.keys().copied().collect();
            self.watched = Some(self.look(&partitions)?);
        }
        Ok(())
    }

    /// Sends packed commands outside of a transaction, and waits for their answers.
    pub(super) fn ask(&mut self, pack: impl FnOnce(&mut Pack, &Keys)) -> Result<Vec<Value>, Lost> {
        self.pack.clear();
        pack(&mut self.pack, &self.keys);
        self.door.ask(&self.pack)
    }

    fn transmit(&mut self, transaction: &mut StoreTransaction) -> Result<(), Lost> {
        self.pack.clear();
        let commands = transaction.pack(&mut self.pack);
        let positions = transaction.positions().iter();
        let positions: Vec<(i32, String)> = positions
            .map(|(partition, position)| (*partition, position.to_string()))
            .collect();
        self.watched = None;
        // The next transaction's WATCH follows this EXEC in the same round trip.
        let mut held: Vec<i32> = self.held.keys().copied().collect();
        held.extend(positions.iter().map(|(partition, _)| *partition));
        held.sort_unstable();
        held.dedup();
        self.watch_and_read(held.into_iter());
        self.under_way = Some(UnderWay {
            commands,
            positions,
        });
        self.door.send(self.pack.bytes())
    }

    /// True if a transaction was sent and its outcome was not read yet.
    pub fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    /// Waits for the outcome of the transaction under way.
    pub fn outcome(&mut self) -> Result<Outcome, Lost> {
        let Some(UnderWay {
            commands,
            positions,
        }) = self.under_way.take()
        else {
            return Ok(Outcome::Applied(0, None));
        };
        let mut unqueued = None;
        for index in 0..=commands {
            // OK and QUEUED; if a command cannot be queued, the EXEC fails without the reason.
            if let Value::ServerError(error) = self.door.receive()? {
                let name = || Lost::from(RedisError::from(error)).to(&command(&self.pack, index));
                unqueued.get_or_insert_with(name);
            }
        }
        let executed = self.door.receive()?;
        self.door.receive()?;
        let seen = self.door.receive()?;
        match executed {
            Value::Nil => Ok(Outcome::Refused),
            Value::Array(answers) => {
                let partitions = positions.iter().map(|(partition, _)| *partition);
                let partitions: Vec<i32> = partitions.collect();
                self.held.extend(positions);
                self.watched = Some(watched(Some(seen)));
                match self.errors(&answers) {
                    Ok((refused, first)) => Ok(Outcome::Applied(refused, first)),
                    Err(error) => {
                        self.void(&partitions)?;
                        Ok(Outcome::Torn(partitions, error))
                    }
                }
            }
            Value::ServerError(error) => {
                self.door.disconnect();
                Err(unqueued.unwrap_or_else(|| RedisError::from(error).into()))
            }
            other => Err(Lost(format!("unexpected answer {other:?}"))),
        }
    }

    /// Deletes positions, so that the next worker to attach the partitions rebuilds them, even after a crash.
    fn void(&mut self, partitions: &[i32]) -> Result<(), Lost> {
        let answers = self.ask(|pack, keys| {
            pack.all(&["MULTI"]);
            for partition in partitions {
                pack.all(&["DEL", &keys.position(*partition)]);
            }
            pack.all(&["EXEC"]);
        });
        answers.map(drop)
    }

    /// Judges the errors of single commands by the keys that they name: returns the number of errors on hashes and the
    /// first of them; fails with any other error, which tears the transaction.
    fn errors(&self, answers: &[Value]) -> Result<(usize, Option<String>), String> {
        let error = |answer: &Value| match answer {
            Value::ServerError(error) => Some(Lost::from(RedisError::from(error.clone())).0),
            _ => None,
        };
        let (mut refused, mut first) = (0, None);
        if !answers.iter().any(|answer| error(answer).is_some()) {
            return Ok((refused, first));
        }
        let hashes = self.keys.features();
        // Skip MULTI.
        let mut rest = resp::read(self.pack.bytes()).map_or(&[][..], |(_, rest)| rest);
        for answer in answers {
            let Some((words, behind)) = resp::read(rest) else {
                break;
            };
            rest = behind;
            let Some(error) = error(answer) else {
                continue;
            };
            let word = |index: usize| words.get(index).copied().unwrap_or_default();
            let [name, key] = [word(0), word(1)].map(String::from_utf8_lossy);
            let error = format!("{name} {key}: {error}");
            if !word(1).starts_with(hashes.as_bytes()) {
                return Err(error);
            }
            refused += 1;
            first.get_or_insert(error);
        }
        Ok((refused, first))
    }
}

fn watched(answer: Option<Value>) -> Watched {
    let text =
        |bytes: Option<Vec<u8>>| bytes.map(|text| String::from_utf8_lossy(&text).into_owned());
    let mut values = answer.map(texts).unwrap_or_default().into_iter().map(text);
    Watched {
        owner: values.next().flatten(),
        positions: values.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::memory::{Connection, Fault, Memory};
    use super::super::position::Position;
    use super::super::position::tests::stored;
    use super::*;
    use tidemill_core::features::Definitions;

    fn keys() -> Keys {
        Keys::new("", "t")
    }

    fn lease(memory: &Memory) -> Lease<Connection> {
        let mut lease = Lease::new(memory.connection(), keys(), "us".into());
        lease.connect(0).unwrap();
        lease
    }

    /// A transaction that moves partition 0, and writes whatever `more` adds.
    fn moving(offset: i64, more: impl FnOnce(&mut StoreTransaction)) -> StoreTransaction {
        let mut transaction = StoreTransaction::new(&Definitions::standard(), &keys());
        transaction.owner("us");
        transaction.position(0, stored(offset, None));
        more(&mut transaction);
        transaction
    }

    fn offset(memory: &Memory) -> Option<i64> {
        let text = memory.text("position:t:0")?;
        text.parse::<Position>()
            .ok()
            .map(|position| position.offset)
    }

    fn attached(memory: &Memory) -> Lease<Connection> {
        let mut lease = lease(memory);
        lease.look(&[0]).unwrap();
        let outcome = lease.attach(&mut moving(1, |_| {})).unwrap();
        assert_eq!(outcome, Outcome::Applied(0, None));
        lease
    }

    #[test]
    fn a_worker_writes_until_another_attaches() {
        let memory = Memory::default();
        let mut one = attached(&memory);
        assert_eq!(one.send(&mut moving(2, |_| {})).unwrap(), Hold::Kept);
        assert_eq!(one.outcome().unwrap(), Outcome::Applied(0, None));
        let mut other = lease(&memory);
        other.look(&[0]).unwrap();
        other.attach(&mut moving(7, |_| {})).unwrap();
        assert_eq!(one.verify().unwrap(), Hold::Lost);
        assert_eq!(one.send(&mut moving(3, |_| {})).unwrap(), Hold::Lost);
        assert_eq!(other.verify().unwrap(), Hold::Kept);
        assert_eq!(offset(&memory), Some(7));
    }

    #[test]
    fn a_transaction_that_is_overtaken_on_its_way_is_refused() {
        let memory = Memory::default();
        let mut one = attached(&memory);
        assert_eq!(one.send(&mut moving(2, |_| {})).unwrap(), Hold::Kept);
        let mut other = lease(&memory);
        other.look(&[0]).unwrap();
        other.attach(&mut moving(7, |_| {})).unwrap();
        assert_eq!(one.outcome().unwrap(), Outcome::Refused);
        assert_eq!(offset(&memory), Some(7));
    }

    #[test]
    fn a_window_that_changes_after_it_was_read_refuses_the_transaction() {
        let memory = Memory::default();
        let mut one = attached(&memory);
        let found = one.load(&["u"]).unwrap();
        assert_eq!(found, [super::super::StoredUser::default()]);
        memory.put("window:u", b"theirs");
        one.send(&mut moving(2, |_| {})).unwrap();
        assert_eq!(one.outcome().unwrap(), Outcome::Refused);
    }

    #[test]
    fn writes_that_the_store_forgets_are_noticed() {
        let memory = Memory::default();
        let mut one = attached(&memory);
        one.send(&mut moving(2, |_| {})).unwrap();
        one.outcome().unwrap();
        memory.forget(1);
        assert_eq!(one.send(&mut moving(3, |_| {})).unwrap(), Hold::Kept);
        assert!(one.outcome().is_err(), "the connection is dead");
        one.connect(0).unwrap();
        assert_eq!(
            one.send(&mut moving(3, |_| {})).unwrap(),
            Hold::Lost,
            "nothing is held any more"
        );
    }

    #[test]
    fn a_lost_reply_ends_the_connection_and_what_was_held() {
        let memory = Memory::default();
        let mut one = attached(&memory);
        one.door().fail(Fault::ReplyLost, 0);
        one.send(&mut moving(2, |_| {})).unwrap();
        assert!(one.outcome().is_err());
        assert_eq!(offset(&memory), Some(2), "it was executed");
    }

    #[test]
    fn an_error_of_a_hash_is_told_and_any_other_voids_the_positions() {
        let memory = Memory::default();
        let mut one = attached(&memory);
        memory.put("features:u", b"of another program");
        let hash = |transaction: &mut StoreTransaction| transaction.set_field("features:u");
        one.send(&mut moving(2, hash)).unwrap();
        let Outcome::Applied(1, Some(error)) = one.outcome().unwrap() else {
            panic!("a hash that is refused tears nothing");
        };
        assert!(error.contains("WRONGTYPE"), "{error}");
        memory.put("expiry:t:0", b"of another program");
        let schedule = |transaction: &mut StoreTransaction| transaction.schedule(0, "u", 1);
        one.send(&mut moving(3, schedule)).unwrap();
        let Outcome::Torn(partitions, error) = one.outcome().unwrap() else {
            panic!("an expiry that is refused tears the transaction");
        };
        assert_eq!(partitions, [0]);
        assert!(error.starts_with("ZADD expiry:t:0: "), "{error}");
        assert_eq!(
            offset(&memory),
            None,
            "whoever attaches it next rebuilds it"
        );
    }

    #[test]
    fn the_stores_clock_is_compared_when_a_connection_is_made() {
        let memory = Memory::default();
        memory.set_now(5_000);
        let mut one = Lease::new(memory.connection(), keys(), "us".into());
        assert_eq!(one.connect(3_000).unwrap(), Some(2_000));
        assert_eq!(one.connect(3_000).unwrap(), None);
    }
}
