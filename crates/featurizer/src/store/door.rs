//! The interface to the store: takes RESP commands, returns answers. `Redis` implements it, and in tests a map in
//! memory.

use super::connection::Lost;
use super::resp::{Pack, read};
use redis::{RedisError, Value};

/// A connection to a store that speaks RESP. It never reconnects on its own.
pub trait Door {
    /// Opens a new connection.
    fn connect(&mut self) -> Result<(), Lost>;

    /// True if there is a connection; it may turn out to be dead at its next use.
    fn is_connected(&self) -> bool;

    /// Drops the connection.
    fn disconnect(&mut self);

    /// Sends commands without waiting for their answers.
    fn send(&mut self, commands: &[u8]) -> Result<(), Lost>;

    /// Waits for the next answer. An error reply of the store is an answer too.
    fn receive(&mut self) -> Result<Value, Lost>;

    /// Sends commands and waits for their answers; an error reply among them ends the connection.
    fn ask(&mut self, pack: &Pack) -> Result<Vec<Value>, Lost> {
        if pack.commands() == 0 {
            return Ok(Vec::new());
        }
        self.send(pack.bytes())?;
        let answers = (0..pack.commands()).map(|_| self.receive());
        let answers = answers.collect::<Result<Vec<Value>, Lost>>()?;
        let errors = answers.iter().zip(0..);
        let mut errors = errors.filter_map(|(answer, index)| match answer {
            Value::ServerError(error) => Some((index, RedisError::from(error.clone()))),
            _ => None,
        });
        let Some((index, error)) = errors.next() else {
            return Ok(answers);
        };
        self.disconnect();
        Err(Lost::from(error).to(&command(pack, index)))
    }
}

/// The name and the first argument (as a rule the key) of a packed command.
pub(super) fn command(pack: &Pack, index: usize) -> String {
    let (mut rest, mut words) = (pack.bytes(), Vec::new());
    for _ in 0..=index {
        match read(rest) {
            Some(next) => (words, rest) = next,
            None => break,
        }
    }
    let words = words.iter().take(2);
    let words: Vec<_> = words.map(|word| String::from_utf8_lossy(word)).collect();
    words.join(" ")
}

/// The texts in an answer, with `None` for nil; for an array, those of its elements.
pub(super) fn texts(answer: Value) -> Vec<Option<Vec<u8>>> {
    match answer {
        Value::Array(values) => values.into_iter().flat_map(texts).collect(),
        Value::BulkString(text) => vec![Some(text)],
        Value::SimpleString(text) => vec![Some(text.into_bytes())],
        Value::Int(number) => vec![Some(number.to_string().into_bytes())],
        Value::Okay => vec![Some(b"OK".to_vec())],
        _ => vec![None],
    }
}
