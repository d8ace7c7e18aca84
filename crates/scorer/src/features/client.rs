//! Reads users' feature hashes from Redis, never for longer than it may.
//!
//! One pipelined read for a batch. A connection that did not answer in time is dropped, since its
//! late answers would be taken for those of the next read; until a new one has answered a PING,
//! reads return at once with nothing. So a Redis that is slow, hung or absent costs freshness only.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Client, Pipeline, RedisResult};
use tidemill_core::redis_access::RedisAccess;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::connect::{CONNECT, client, connect, is_of_key, said};
use super::join::Stored;
use super::unreadable::Unreadable;

/// A worker's access to the feature store.
pub struct Features {
    client: Client,
    access: RedisAccess,
    prefix: String,
    runtime: Handle,
    unreadable: Unreadable,
    /// The error of the last read that Redis refused, other than that of a key.
    refusal: Option<String>,
    connection: Connection,
}

enum Connection {
    Open(MultiplexedConnection),
    /// Connecting in the background, for as long as it takes.
    Opening(JoinHandle<MultiplexedConnection>),
}

impl Features {
    /// Starts to connect; keys start with `prefix`. Waits a second for a connection, so that the first batch has features
    /// if Redis is well, and goes on without one if not.
    ///
    /// # Errors
    ///
    /// A URL or certificates that cannot be used.
    pub fn open(access: &RedisAccess, prefix: &str, runtime: Handle) -> anyhow::Result<Self> {
        let client = client(access)?;
        let mut opening = runtime.spawn(connect(client.clone(), access.clone()));
        let connection = match runtime.block_on(async { timeout(CONNECT, &mut opening).await }) {
            Ok(Ok(connection)) => Connection::Open(connection),
            _ => {
                tracing::warn!(
                    "feature store does not answer, scoring starts with default features"
                );
                Connection::Opening(opening)
            }
        };
        Ok(Features {
            client,
            access: access.clone(),
            prefix: prefix.to_owned(),
            runtime,
            unreadable: Unreadable::default(),
            refusal: None,
            connection,
        })
    }

    /// The values of `fields` for each of `users`, in their order; `None` if Redis did not return them within `limit`, or
    /// for a user whose key it refused to read.
    pub fn read(
        &mut self,
        users: &[String],
        fields: &[String],
        limit: Duration,
    ) -> Option<Vec<Option<Vec<Stored>>>> {
        let late = async {
            sleep(limit).await;
            tracing::warn!(?limit, "feature store too slow, using defaults");
        };
        self.read_unless(late, users, fields)
    }

    /// The same until `late` ends. It is polled only while the read waits for Redis.
    fn read_unless(
        &mut self,
        late: impl Future<Output = ()>,
        users: &[String],
        fields: &[String],
    ) -> Option<Vec<Option<Vec<Stored>>>> {
        self.connected();
        let mut pipeline = Pipeline::with_capacity(users.len());
        pipeline.ignore_errors();
        for user in users {
            pipeline.cmd("HMGET").arg(self.key(user)).arg(fields);
        }
        let Connection::Open(connection) = &mut self.connection else {
            return None;
        };
        let answer = self.runtime.block_on(async {
            tokio::select! {
                biased;
                answer = pipeline.query_async::<Vec<RedisResult<_>>>(connection) => Some(answer),
                () = late => None,
            }
        });
        match answer {
            Some(Ok(values)) => {
                self.tell(users, &values);
                return Some(values.into_iter().map(RedisResult::ok).collect());
            }
            Some(Err(error)) => tracing::warn!(%error, "feature store failed, using defaults"),
            None => {}
        }
        self.connect_again();
        None
    }

    /// Tells which reads Redis refuses: those of single keys now and then, another refusal once.
    fn tell(&mut self, users: &[String], values: &[RedisResult<Vec<Stored>>]) {
        let mut refusal = None;
        for (user, value) in users.iter().zip(values) {
            match value {
                Err(error) if is_of_key(error) => {
                    let key = self.key(user);
                    self.unreadable.note(&key, &said(error));
                }
                Err(error) if refusal.is_none() => refusal = Some(said(error)),
                _ => {}
            }
        }
        if let Some(error) = &refusal
            && self.refusal != refusal
        {
            let remedy = self.access.verdict(error).remedy;
            tracing::warn!(redis = %self.access, "feature store refuses to read: {error}; {remedy}");
        }
        self.refusal = refusal;
    }

    fn key(&self, user: &str) -> String {
        format!("{}features:{user}", self.prefix)
    }

    fn connect_again(&mut self) {
        let (client, access) = (self.client.clone(), self.access.clone());
        self.connection = Connection::Opening(self.runtime.spawn(connect(client, access)));
    }

    /// Takes up the connection that was opened in the background, if there is one by now.
    fn connected(&mut self) {
        if let Connection::Opening(opening) = &mut self.connection
            && opening.is_finished()
        {
            match self.runtime.block_on(opening) {
                Ok(connection) => {
                    tracing::info!("feature store connected");
                    self.connection = Connection::Open(connection);
                }
                Err(error) => {
                    tracing::warn!(%error, "connecting to the feature store stopped, starting anew");
                    self.connect_again();
                }
            }
        }
    }
}

impl Drop for Features {
    fn drop(&mut self) {
        if let Connection::Opening(opening) = &self.connection {
            opening.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::server::{Server, runtime};
    use std::time::Instant;

    fn open(access: &RedisAccess, runtime: &Handle) -> Features {
        Features::open(access, "", runtime.clone()).unwrap()
    }

    #[test]
    fn a_frozen_store_is_waited_for_once_and_for_no_longer_than_the_limit() {
        let (server, runtime) = (Server::default(), runtime());
        server.answers("+OK\r\n");
        let mut features = open(&server.listen(), runtime.handle());
        assert!(matches!(features.connection, Connection::Open(_)));
        server.answers("");
        let users: Vec<String> = (0..5_000).map(|user| user.to_string()).collect();
        let fields = ["a".to_owned()];
        // The limits that reads have waited out.
        let mut waits = 0;
        for _ in 0..5 {
            let late = async { waits += 1 };
            assert!(features.read_unless(late, &users, &fields).is_none());
        }
        assert_eq!(
            waits, 1,
            "it ends with the limit, and the others wait for nothing"
        );
    }

    #[test]
    fn a_frozen_store_has_all_the_time_of_the_limit() {
        let (server, runtime) = (Server::default(), runtime());
        server.answers("+OK\r\n");
        let mut features = open(&server.listen(), runtime.handle());
        server.answers("");
        let (begun, limit) = (Instant::now(), Duration::from_millis(200));
        assert!(features.read(&["u".into()], &["a".into()], limit).is_none());
        assert!(begun.elapsed() >= limit);
    }

    #[test]
    fn a_user_whose_key_is_refused_has_nothing_and_the_connection_stays() {
        let (server, runtime) = (Server::default(), runtime());
        server.answers("+OK\r\n");
        let mut features = open(&server.listen(), runtime.handle());
        let mut read = |answer: &'static str| {
            server.answers(answer);
            features.read(&["u".into()], &["a".into()], Duration::from_secs(10))
        };
        for refusal in [
            "-WRONGTYPE Operation against a key\r\n",
            "-NOPERM User u has no permissions\r\n",
        ] {
            assert_eq!(read(refusal), Some(vec![None]), "{refusal}");
        }
        let found = Some(vec![Some(vec![Some(b"7".to_vec())])]);
        assert_eq!(read("*1\r\n$1\r\n7\r\n"), found);
    }
}
