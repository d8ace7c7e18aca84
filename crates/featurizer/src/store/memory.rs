//! A map in memory behind the same interface as Redis, for tests: it executes the commands packed for Redis, on a clock
//! that tests set, and loses what tests make it lose.

use super::connection::Lost;
use super::door::Door;
use super::resp::read;
use redis::Value;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

/// Number of executed transactions that can be forgotten.
const FORGETTABLE: usize = 6;

type Bytes = Vec<u8>;
type Keys = BTreeMap<Bytes, Key>;

/// The value of a key.
#[derive(Clone, Debug, PartialEq)]
enum Data {
    Text(Bytes),
    Hash(BTreeMap<Bytes, Bytes>),
    Sorted(BTreeMap<Bytes, i64>),
}

#[derive(Clone, Debug)]
struct Key {
    data: Data,
    /// Expiry (epoch ms).
    end: Option<i64>,
}

/// A store that several connections share.
#[derive(Clone, Default)]
pub(crate) struct Memory(Rc<Shared>);

#[derive(Default)]
struct Shared {
    keys: RefCell<Keys>,
    /// Number of changes of each key.
    changes: RefCell<BTreeMap<Bytes, u64>>,
    /// The keys before each of the last transactions.
    past: RefCell<VecDeque<Keys>>,
    now: Cell<i64>,
    /// Number of failovers: older connections are dead.
    failovers: Cell<u32>,
}

/// A fault of a connection's next commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// They never arrive.
    RequestLost,
    /// They are executed, and the answers never arrive.
    ReplyLost,
}

impl Memory {
    /// A connection that is not connected yet.
    pub(crate) fn connection(&self) -> Connection {
        Connection {
            memory: self.clone(),
            session: None,
            fault: None,
        }
    }

    /// Sets the clock (epoch ms).
    pub(crate) fn set_now(&self, now: i64) {
        self.0.now.set(now);
    }

    /// Forgets the last transactions, as a promoted replica does.
    pub(crate) fn forget(&self, transactions: usize) {
        let mut past = self.0.past.borrow_mut();
        for _ in 0..transactions {
            if let Some(keys) = past.pop_back() {
                self.0.keys.replace(keys);
            }
        }
        self.0.failovers.set(self.0.failovers.get() + 1);
    }

    /// The fields of a hash.
    pub(crate) fn hash(&self, key: &str) -> BTreeMap<String, String> {
        let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
        match self.live(key.as_bytes()) {
            Some(Data::Hash(fields)) => {
                let fields = fields.iter();
                fields
                    .map(|(name, value)| (text(name), text(value)))
                    .collect()
            }
            _ => BTreeMap::new(),
        }
    }

    /// The score of a member of a sorted set.
    pub(crate) fn score(&self, key: &str, member: &str) -> Option<i64> {
        match self.live(key.as_bytes()) {
            Some(Data::Sorted(members)) => members.get(member.as_bytes()).copied(),
            _ => None,
        }
    }

    pub(crate) fn text(&self, key: &str) -> Option<String> {
        match self.live(key.as_bytes()) {
            Some(Data::Text(text)) => Some(String::from_utf8_lossy(&text).into_owned()),
            _ => None,
        }
    }

    /// Sets a text, as another program would.
    pub(crate) fn put(&self, key: &str, text: &[u8]) {
        self.touch(key.as_bytes());
        let key = key.as_bytes().to_vec();
        let data = Data::Text(text.to_vec());
        self.0
            .keys
            .borrow_mut()
            .insert(key, Key { data, end: None });
    }

    /// Removes a key.
    pub(crate) fn remove(&self, key: &str) {
        self.touch(key.as_bytes());
        self.0.keys.borrow_mut().remove(key.as_bytes());
    }

    /// The names of all keys with a prefix.
    pub(crate) fn names(&self, prefix: &str) -> Vec<String> {
        let keys = self.0.keys.borrow();
        let names = keys
            .keys()
            .filter(|name| name.starts_with(prefix.as_bytes()));
        names
            .map(|name| String::from_utf8_lossy(name).into_owned())
            .collect()
    }

    fn live(&self, key: &[u8]) -> Option<Data> {
        let keys = self.0.keys.borrow();
        let found = keys.get(key)?;
        let lives = found.end.is_none_or(|end| end > self.0.now.get());
        lives.then(|| found.data.clone())
    }

    fn change(&self, key: &[u8], data: Option<Data>, end: Option<i64>) {
        self.touch(key);
        let mut keys = self.0.keys.borrow_mut();
        match data {
            Some(data) => drop(keys.insert(key.to_vec(), Key { data, end })),
            None => drop(keys.remove(key)),
        }
    }

    fn touch(&self, key: &[u8]) {
        *self.0.changes.borrow_mut().entry(key.to_vec()).or_default() += 1;
    }

    fn version(&self, key: &[u8]) -> (u64, u32) {
        let changes = self.0.changes.borrow();
        (
            changes.get(key).copied().unwrap_or(0),
            self.0.failovers.get(),
        )
    }

    fn end(&self, key: &[u8]) -> Option<i64> {
        self.0.keys.borrow().get(key).and_then(|key| key.end)
    }

    /// Executes one command.
    fn execute(&self, words: &[&[u8]]) -> Value {
        let text = |index: usize| std::str::from_utf8(words[index]).unwrap();
        let number = |index: usize| text(index).parse::<i64>().unwrap();
        let wrong = || error("WRONGTYPE Operation against a key holding the wrong kind of value");
        let key = words.get(1).copied().unwrap_or_default();
        let rest = words.get(2..).unwrap_or_default();
        match text(0) {
            "TIME" => {
                let now = self.0.now.get();
                let parts = [now / 1000, now % 1000 * 1000];
                Value::Array(parts.map(|part| bulk(part.to_string())).to_vec())
            }
            "GET" => self.live(key).map_or(Value::Nil, |data| match data {
                Data::Text(text) => bulk(text),
                _ => wrong(),
            }),
            "MGET" => {
                let one = |key: &&[u8]| match self.live(key) {
                    Some(Data::Text(text)) => bulk(text),
                    _ => Value::Nil,
                };
                Value::Array(words[1..].iter().map(one).collect())
            }
            "SET" => {
                let end = (words.len() > 3).then(|| {
                    assert_eq!(text(3), "PXAT");
                    number(4)
                });
                self.change(key, Some(Data::Text(words[2].to_vec())), end);
                Value::Okay
            }
            "APPEND" => match self.live(key) {
                Some(Data::Text(mut text)) => {
                    text.extend_from_slice(words[2]);
                    self.change(key, Some(Data::Text(text)), self.end(key));
                    Value::Int(0)
                }
                None => {
                    self.change(key, Some(Data::Text(words[2].to_vec())), None);
                    Value::Int(0)
                }
                Some(_) => wrong(),
            },
            "DEL" | "UNLINK" => {
                for key in &words[1..] {
                    if self.live(key).is_some() {
                        self.change(key, None, None);
                    }
                }
                Value::Int(0)
            }
            "TYPE" => Value::SimpleString(
                match self.live(key) {
                    None => "none",
                    Some(Data::Text(_)) => "string",
                    Some(Data::Hash(_)) => "hash",
                    Some(Data::Sorted(_)) => "zset",
                }
                .into(),
            ),
            "PEXPIREAT" => {
                if let Some(data) = self.live(key) {
                    self.change(key, Some(data), Some(number(2)));
                }
                Value::Int(1)
            }
            "HSET" | "HDEL" => {
                let end = self.end(key);
                let mut fields = match self.live(key) {
                    Some(Data::Hash(fields)) => fields,
                    None => BTreeMap::new(),
                    Some(_) => return wrong(),
                };
                if text(0) == "HSET" {
                    let pairs = rest.chunks_exact(2);
                    fields.extend(pairs.map(|pair| (pair[0].to_vec(), pair[1].to_vec())));
                } else {
                    rest.iter().for_each(|field| drop(fields.remove(*field)));
                }
                let data = (!fields.is_empty()).then_some(Data::Hash(fields));
                self.change(key, data, end);
                Value::Int(1)
            }
            "ZADD" | "ZREM" => {
                let mut members = match self.live(key) {
                    Some(Data::Sorted(members)) => members,
                    None => BTreeMap::new(),
                    Some(_) => return wrong(),
                };
                if text(0) == "ZADD" {
                    for index in (2..words.len()).step_by(2) {
                        members.insert(words[index + 1].to_vec(), number(index));
                    }
                } else {
                    for member in rest {
                        members.remove(*member);
                    }
                }
                let data = (!members.is_empty()).then_some(Data::Sorted(members));
                self.change(key, data, None);
                Value::Int(1)
            }
            "ZCOUNT" => Value::Int(self.up_to(key, number(3)).len() as i64),
            "ZRANGEBYSCORE" => {
                let members = self.up_to(key, number(3)).into_iter();
                let limit = number(6) as usize;
                Value::Array(
                    members
                        .take(limit)
                        .map(|(_, member)| bulk(member))
                        .collect(),
                )
            }
            "ZRANGE" => {
                let members = self.up_to(key, i64::MAX).into_iter();
                let members = members.take(number(3) as usize + 1);
                Value::Array(members.map(|(_, member)| bulk(member)).collect())
            }
            "ZSCAN" | "HSCAN" => {
                let mut items: Vec<(i64, Bytes, Bytes)> = match self.live(key) {
                    Some(Data::Sorted(members)) => members
                        .into_iter()
                        .map(|(member, score)| (0, member, score.to_string().into_bytes()))
                        .collect(),
                    Some(Data::Hash(fields)) => fields
                        .into_iter()
                        .map(|(name, value)| (0, name, value))
                        .collect(),
                    _ => Vec::new(),
                };
                // In hash order, as in Redis: a scan returns every item that stays, whatever else comes and goes.
                for item in &mut items {
                    let hash = super::fingerprint(None, Some(&item.1), None);
                    item.0 = (hash >> 2) as i64 + 1;
                }
                items.sort();
                let mut left = items.into_iter().filter(|item| item.0 >= number(2));
                let page: Vec<_> = left.by_ref().take(3).collect();
                let page = page
                    .into_iter()
                    .flat_map(|item| [bulk(item.1), bulk(item.2)]);
                let page = Value::Array(page.collect());
                let next = left.next().map_or(0, |item| item.0);
                Value::Array(vec![bulk(next.to_string()), page])
            }
            other => error(&format!("ERR unknown command '{other}'")),
        }
    }

    fn up_to(&self, key: &[u8], most: i64) -> Vec<(i64, Bytes)> {
        let Some(Data::Sorted(members)) = self.live(key) else {
            return Vec::new();
        };
        let due = members.into_iter().filter(|(_, score)| *score <= most);
        let mut due: Vec<(i64, Bytes)> = due.map(|(member, score)| (score, member)).collect();
        due.sort();
        due
    }
}

fn bulk(text: impl Into<Bytes>) -> Value {
    Value::BulkString(text.into())
}

fn error(text: &str) -> Value {
    redis::parse_redis_value(format!("-{text}\r\n").as_bytes()).unwrap()
}

/// One connection to a store in memory. Commands are executed when their answers are read, so that other connections
/// can get in between.
pub(crate) struct Connection {
    memory: Memory,
    session: Option<Session>,
    /// A fault, and the number of sends before it.
    fault: Option<(Fault, usize)>,
}

#[derive(Default)]
struct Session {
    sent: VecDeque<Bytes>,
    answers: VecDeque<Value>,
    watched: Vec<(Bytes, (u64, u32))>,
    queued: Option<Vec<Bytes>>,
    failovers: u32,
    dead: bool,
}

impl Connection {
    /// Makes commands fail, after `sends` that do not.
    pub(crate) fn fail(&mut self, fault: Fault, sends: usize) {
        self.fault = Some((fault, sends));
    }

    /// Executes the commands sent.
    pub(crate) fn deliver(&mut self) {
        let Some(session) = self.session.as_mut() else {
            return;
        };
        session.dead |= session.failovers != self.memory.0.failovers.get();
        for commands in std::mem::take(&mut session.sent) {
            if session.dead {
                return;
            }
            let mut rest = &commands[..];
            while let Some((words, behind)) = read(rest) {
                let command = rest[..rest.len() - behind.len()].to_vec();
                let answer = session.execute(&self.memory, &words, command);
                session.answers.push_back(answer);
                rest = behind;
            }
            assert!(rest.is_empty(), "whole commands only");
        }
    }
}

impl Session {
    fn execute(&mut self, memory: &Memory, words: &[&[u8]], command: Bytes) -> Value {
        match words[0] {
            b"EXEC" => {
                let queued = self.queued.take().unwrap_or_default();
                let watched = std::mem::take(&mut self.watched);
                let changed = |(key, version): &(Bytes, _)| memory.version(key) != *version;
                if watched.iter().any(changed) {
                    return Value::Nil;
                }
                let mut past = memory.0.past.borrow_mut();
                past.push_back(memory.0.keys.borrow().clone());
                if past.len() > FORGETTABLE {
                    past.pop_front();
                }
                drop(past);
                let run = |command: &Bytes| memory.execute(&read(command).unwrap().0);
                Value::Array(queued.iter().map(run).collect())
            }
            _ if self.queued.is_some() => {
                self.queued.as_mut().unwrap().push(command);
                Value::SimpleString("QUEUED".into())
            }
            b"MULTI" => {
                self.queued = Some(Vec::new());
                Value::Okay
            }
            b"WATCH" => {
                let watch = |key: &&[u8]| (key.to_vec(), memory.version(key));
                self.watched.extend(words[1..].iter().map(watch));
                Value::Okay
            }
            b"UNWATCH" => {
                self.watched.clear();
                Value::Okay
            }
            _ => memory.execute(words),
        }
    }
}

impl Door for Connection {
    fn connect(&mut self) -> Result<(), Lost> {
        self.session = Some(Session {
            failovers: self.memory.0.failovers.get(),
            ..Session::default()
        });
        Ok(())
    }

    fn is_connected(&self) -> bool {
        self.session.is_some()
    }

    fn disconnect(&mut self) {
        self.session = None;
    }

    fn send(&mut self, commands: &[u8]) -> Result<(), Lost> {
        let fault = match self.fault.take() {
            Some((fault, left)) if left > 0 => {
                self.fault = Some((fault, left - 1));
                None
            }
            fault => fault.map(|(fault, _)| fault),
        };
        let Some(session) = self.session.as_mut() else {
            return Err(Lost("not connected".into()));
        };
        if fault != Some(Fault::RequestLost) {
            session.sent.push_back(commands.to_vec());
        }
        if fault.is_some() {
            self.deliver();
            if let Some(session) = self.session.as_mut() {
                session.dead = true;
            }
        }
        Ok(())
    }

    fn receive(&mut self) -> Result<Value, Lost> {
        self.deliver();
        let answer = match self.session.as_mut() {
            Some(session) if !session.dead => session.answers.pop_front(),
            _ => None,
        };
        answer.ok_or_else(|| {
            self.session = None;
            Lost("the connection is gone".into())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::resp::Pack;
    use super::*;

    fn ask(connection: &mut Connection, commands: &[&[&str]]) -> Vec<Value> {
        let mut pack = Pack::default();
        commands.iter().for_each(|words| pack.all(words));
        connection.ask(&pack).unwrap()
    }

    fn connected(memory: &Memory) -> Connection {
        let mut connection = memory.connection();
        connection.connect().unwrap();
        connection
    }

    #[test]
    fn a_watched_key_that_changes_refuses_the_transaction() {
        let memory = Memory::default();
        let (mut one, mut other) = (connected(&memory), connected(&memory));
        for interfere in [false, true] {
            ask(&mut one, &[&["WATCH", "k"]]);
            if interfere {
                ask(&mut other, &[&["SET", "k", "theirs"], &["DEL", "k"]]);
            }
            let answers = ask(&mut one, &[&["MULTI"], &["SET", "k", "ours"], &["EXEC"]]);
            assert_eq!(answers[2] == Value::Nil, interfere);
        }
    }

    #[test]
    fn a_lost_reply_is_executed_and_a_lost_request_is_not() {
        let memory = Memory::default();
        for (fault, executed) in [(Fault::RequestLost, false), (Fault::ReplyLost, true)] {
            memory.remove("k");
            let mut connection = connected(&memory);
            connection.fail(fault, 0);
            let mut pack = Pack::default();
            pack.all(&["SET", "k", "v"]);
            assert!(connection.ask(&pack).is_err());
            assert_eq!(!memory.names("k").is_empty(), executed, "{fault:?}");
        }
    }

    #[test]
    fn forgotten_transactions_are_undone_and_connections_dead() {
        let memory = Memory::default();
        let mut connection = connected(&memory);
        for value in ["a", "b", "c"] {
            ask(
                &mut connection,
                &[&["MULTI"], &["SET", "k", value], &["EXEC"]],
            );
        }
        memory.forget(2);
        assert_eq!(memory.live(b"k"), Some(Data::Text(b"a".to_vec())));
        assert!(connection.send(b"*1\r\n$4\r\nTIME\r\n").is_ok() && connection.receive().is_err());
    }

    #[test]
    fn keys_end_by_the_stores_own_clock() {
        let memory = Memory::default();
        let mut connection = connected(&memory);
        ask(
            &mut connection,
            &[&["SET", "k", "v", "PXAT", "10"], &["HSET", "h", "f", "1"]],
        );
        ask(&mut connection, &[&["PEXPIREAT", "h", "20"]]);
        for (now, left) in [(9, (true, true)), (10, (false, true)), (20, (false, false))] {
            memory.set_now(now);
            let found = (memory.live(b"k").is_some(), memory.live(b"h").is_some());
            assert_eq!(found, left, "{now}");
        }
    }
}
