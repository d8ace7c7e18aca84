//! A dedicated connection that never reconnects on its own.

use super::door::{Door, texts};
use super::resp::Pack;
use redis::{Client, ClientTlsConfig, Connection, TlsCertificates, Value};
use std::time::Duration;
use tidemill_core::redis_access::RedisAccess;

/// Time limit for an answer of Redis: far more than any transaction takes, less than the time limit of a stop.
const ANSWER: Duration = Duration::from_secs(3);
/// Time limit for connecting.
const CONNECT: Duration = Duration::from_secs(2);

/// The connection is lost; the outcome of the last write is unknown.
#[derive(Debug)]
pub struct Lost(pub String);

impl From<redis::RedisError> for Lost {
    fn from(error: redis::RedisError) -> Self {
        // In the words of Redis, which people search for.
        match (error.code(), error.detail()) {
            (Some(code), Some(detail)) => Self(format!("{code} {detail}")),
            _ => Self(error.to_string()),
        }
    }
}

impl Lost {
    /// Adds the command that Redis answered with this error.
    pub(super) fn to(self, command: &str) -> Self {
        Self(format!("{} (answer to {command})", self.0))
    }
}

impl From<Lost> for anyhow::Error {
    fn from(Lost(error): Lost) -> Self {
        anyhow::anyhow!("Redis: {error}")
    }
}

/// A Redis, and the connection to it until an error drops it.
pub struct Redis {
    client: Client,
    connection: Option<Connection>,
    /// Time limit for an answer.
    answer: Duration,
}

impl Redis {
    /// The Redis at an address, not connected yet. Fails if the URL or the certificates cannot be used.
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

    /// Limits each wait for an answer to `answer`, and connecting too where that is less than the default.
    pub fn answering_within(mut self, answer: Duration) -> Self {
        self.answer = answer;
        self
    }

    /// Sends one command, given as words, and returns the texts of the answer.
    pub fn command<Word: AsRef<[u8]>>(&mut self, words: &[Word]) -> Result<Vec<Vec<u8>>, Lost> {
        let mut pack = Pack::default();
        pack.all(words);
        let answers = self.ask(&pack)?;
        Ok(answers.into_iter().flat_map(texts).flatten().collect())
    }

    fn lost(&mut self, error: redis::RedisError) -> Lost {
        self.connection = None;
        error.into()
    }

    fn open(&mut self) -> Result<&mut Connection, Lost> {
        let none = || Lost("not connected".into());
        self.connection.as_mut().ok_or_else(none)
    }
}

impl Door for Redis {
    fn connect(&mut self) -> Result<(), Lost> {
        self.connection = None;
        let connect = CONNECT.min(self.answer);
        let connection = self.client.get_connection_with_timeout(connect)?;
        connection.set_read_timeout(Some(self.answer))?;
        connection.set_write_timeout(Some(self.answer))?;
        self.connection = Some(connection);
        Ok(())
    }

    fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    fn disconnect(&mut self) {
        self.connection = None;
    }

    fn send(&mut self, commands: &[u8]) -> Result<(), Lost> {
        let sent = self.open()?.send_packed_command(commands);
        sent.map_err(|error| self.lost(error))
    }

    fn receive(&mut self) -> Result<Value, Lost> {
        loop {
            match self.open()?.recv_response() {
                Ok(Value::Push { .. }) => {}
                Ok(value) => return Ok(value),
                Err(error) => return Err(self.lost(error)),
            }
        }
    }
}
