//! A dedicated connection that never reconnects on its own.

use super::pack::Pack;
use redis::{Client, ClientTlsConfig, Connection, TlsCertificates, Value};
use std::time::Duration;
use tidemill_core::redis_access::RedisAccess;

/// How long Redis may take to answer before it is given up: far beyond any step, below the limit of a stop.
const ANSWER: Duration = Duration::from_secs(5);
/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(2);

/// The connection is gone, and with it the knowledge of what became of the last write.
#[derive(Debug)]
pub struct Lost(pub String);

impl From<redis::RedisError> for Lost {
    fn from(error: redis::RedisError) -> Self {
        // As Redis writes it, which is what people look for.
        match (error.code(), error.detail()) {
            (Some(code), Some(detail)) => Self(format!("{code} {detail}")),
            _ => Self(error.to_string()),
        }
    }
}

impl From<Lost> for anyhow::Error {
    fn from(Lost(error): Lost) -> Self {
        anyhow::anyhow!("Redis: {error}")
    }
}

/// A Redis and, between two errors, the connection to it.
pub struct Redis {
    client: Client,
    connection: Option<Connection>,
    /// Longest wait for an answer.
    answer: Duration,
}

impl Redis {
    /// The Redis of an address, not connected yet. Fails where URL or certificates cannot be used.
    pub fn new(access: &RedisAccess) -> anyhow::Result<Self> {
        let identity = access.identity.clone();
        let client = if access.is_tls() {
            let certificates = TlsCertificates {
                client_tls: identity.map(|(client_cert, client_key)| ClientTlsConfig {
                    client_cert,
                    client_key,
                }),
                root_cert: access.authorities.clone(),
            };
            Client::build_with_tls(access.url.as_str(), certificates)?
        } else {
            Client::open(access.url.as_str())?
        };
        Ok(Self {
            client,
            connection: None,
            answer: ANSWER,
        })
    }

    /// The same with another longest wait for connecting and for an answer.
    pub fn answering_within(mut self, answer: Duration) -> Self {
        self.answer = answer;
        self
    }

    /// Connects anew.
    pub fn connect(&mut self) -> Result<(), Lost> {
        self.connection = None;
        let connection = self
            .client
            .get_connection_with_timeout(CONNECT.min(self.answer))?;
        connection.set_read_timeout(Some(self.answer))?;
        connection.set_write_timeout(Some(self.answer))?;
        self.connection = Some(connection);
        Ok(())
    }

    /// Whether there is a connection; it may turn out to be dead at its next use.
    pub fn connected(&self) -> bool {
        self.connection.is_some()
    }

    /// Gives the connection up.
    pub fn disconnect(&mut self) {
        self.connection = None;
    }

    /// Sends packed commands without waiting for the answers.
    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<(), Lost> {
        let connection = self
            .connection
            .as_mut()
            .ok_or_else(|| Lost("not connected".into()))?;
        let sent = connection.send_packed_command(bytes);
        sent.map_err(|error| self.lost(error))
    }

    /// The next answer. An error that Redis itself answers is an answer.
    pub(super) fn receive(&mut self) -> Result<Value, Lost> {
        let connection = self
            .connection
            .as_mut()
            .ok_or_else(|| Lost("not connected".into()))?;
        loop {
            match connection.recv_response() {
                Ok(Value::Push { .. }) => {}
                Ok(value) => return Ok(value),
                Err(error) => return Err(self.lost(error)),
            }
        }
    }

    /// Sends packed commands and returns their answers; an error among them ends the connection.
    pub(super) fn ask(&mut self, pack: &Pack) -> Result<Vec<Value>, Lost> {
        if pack.commands == 0 {
            return Ok(Vec::new());
        }
        self.send(&pack.bytes)?;
        let mut answers = Vec::with_capacity(pack.commands);
        for _ in 0..pack.commands {
            answers.push(self.receive()?);
        }
        for answer in &answers {
            if let Value::ServerError(error) = answer {
                let error = error.clone();
                return Err(self.lost(error.into()));
            }
        }
        Ok(answers)
    }

    /// One command given as words.
    pub fn command<Word: AsRef<[u8]>>(&mut self, words: &[Word]) -> Result<Vec<Vec<u8>>, Lost> {
        let mut pack = Pack::default();
        pack.all(words);
        let answers = self.ask(&pack)?;
        Ok(answers.into_iter().flat_map(texts).flatten().collect())
    }

    pub(super) fn lost(&mut self, error: redis::RedisError) -> Lost {
        self.connection = None;
        error.into()
    }
}

/// The texts in an answer, with `None` for nil; of an array, those of its elements.
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
