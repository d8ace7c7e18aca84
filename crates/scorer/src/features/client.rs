//! Reads users' feature hashes from Redis, never for longer than it may.
//!
//! One pipelined read for a batch. A connection that did not answer in time is dropped, since its
//! late answers would be taken for those of the next read; until a new one has answered a PING,
//! reads return at once with nothing. So a Redis that is slow, hung or absent costs freshness only.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Client, Pipeline, RedisResult};
use tidemill_core::health::Part;
use tidemill_core::redis_access::RedisAccess;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::connect::{CONNECT, client, connect, refuses, said};
use super::join::Stored;

/// A worker's access to the feature store.
pub struct Features {
    client: Client,
    access: RedisAccess,
    prefix: String,
    runtime: Handle,
    part: Part,
    /// The error of the last read that Redis refused in part.
    refusal: Option<String>,
    connection: Connection,
}

enum Connection {
    Open(MultiplexedConnection),
    /// Connecting in the background, for as long as it takes.
    Opening(JoinHandle<MultiplexedConnection>),
}

impl Features {
    /// Starts to connect; keys start with `prefix`. `part` is unready while Redis refuses: an absent or slow Redis costs
    /// freshness, but a wrong password or another program's key stays wrong. Waits a second for a connection, so that
    /// the first batch has features if Redis is well, and goes on without one if not.
    ///
    /// # Errors
    ///
    /// A URL or certificates that cannot be used.
    pub fn open(
        access: &RedisAccess,
        prefix: &str,
        runtime: Handle,
        part: Part,
    ) -> anyhow::Result<Self> {
        part.ready();
        let client = client(access)?;
        let mut opening = runtime.spawn(connect(client.clone(), access.clone(), part.clone()));
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
            part,
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
        let Connection::Open(connection) = &mut self.connection else {
            return None;
        };
        let mut pipeline = Pipeline::with_capacity(users.len());
        pipeline.ignore_errors();
        for user in users {
            let key = format!("{}features:{user}", self.prefix);
            pipeline.cmd("HMGET").arg(key).arg(fields);
        }
        let answer = self.runtime.block_on(async {
            tokio::select! {
                biased;
                answer = pipeline.query_async::<Vec<RedisResult<_>>>(connection) => Some(answer),
                () = late => None,
            }
        });
        match answer {
            Some(Ok(values)) => {
                let refusal = values.iter().find_map(|value| value.as_ref().err());
                self.tell(refusal.map(said));
                return Some(values.into_iter().map(RedisResult::ok).collect());
            }
            Some(Err(error)) => tracing::warn!(%error, "feature store failed, using defaults"),
            None => {}
        }
        self.connect_again();
        None
    }

    /// Says on the readiness page, and once in the log, that Redis refuses to read some key.
    fn tell(&mut self, refusal: Option<String>) {
        match &refusal {
            Some(error) => {
                if refuses(&self.access, error, &self.part) && self.refusal != refusal {
                    tracing::warn!(redis = %self.access, "feature store refuses to read: {error}");
                }
            }
            None => self.part.succeeded(),
        }
        self.refusal = refusal;
    }

    fn connect_again(&mut self) {
        let (client, access, part) = (self.client.clone(), self.access.clone(), self.part.clone());
        self.connection = Connection::Opening(self.runtime.spawn(connect(client, access, part)));
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
        self.part.succeeded();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::TcpListener;
    use std::sync::{Arc, Mutex};
    use std::time::Instant;
    use tidemill_core::health::Health;

    /// Answers every command as it is told to, nothing where that is empty.
    #[derive(Clone, Default)]
    struct Server(Arc<Mutex<&'static str>>);

    impl Server {
        /// Starts it; returns the way there.
        fn listen(&self) -> RedisAccess {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let url = format!("redis://{}", listener.local_addr().unwrap());
            let server = self.clone();
            std::thread::spawn(move || {
                for stream in listener.incoming() {
                    let (mut stream, server) = (stream.unwrap(), server.clone());
                    std::thread::spawn(move || {
                        let lines = BufReader::new(stream.try_clone().unwrap()).lines();
                        // Each command is an array.
                        let commands = lines.map_while(Result::ok);
                        for _ in commands.filter(|line| line.starts_with('*')) {
                            let answer = *server.0.lock().unwrap();
                            stream.write_all(answer.as_bytes()).unwrap();
                        }
                    });
                }
            });
            RedisAccess {
                url: url.parse().unwrap(),
                authorities: None,
                identity: None,
            }
        }

        fn answers(&self, answer: &'static str) {
            *self.0.lock().unwrap() = answer;
        }
    }

    fn runtime() -> tokio::runtime::Runtime {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        runtime.enable_all().build().unwrap()
    }

    fn open(access: &RedisAccess, runtime: &Handle, health: &Arc<Health>) -> Features {
        health.part("start").ready();
        Features::open(access, "", runtime.clone(), health.part("features")).unwrap()
    }

    #[test]
    fn a_frozen_store_is_waited_for_once_and_for_no_longer_than_the_limit() {
        let (server, runtime, health) = (Server::default(), runtime(), Health::starting());
        server.answers("+OK\r\n");
        let mut features = open(&server.listen(), runtime.handle(), &health);
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
        assert_eq!(health.reasons(), "", "it costs freshness, and no readiness");
    }

    #[test]
    fn a_frozen_store_has_all_the_time_of_the_limit() {
        let (server, runtime, health) = (Server::default(), runtime(), Health::starting());
        server.answers("+OK\r\n");
        let mut features = open(&server.listen(), runtime.handle(), &health);
        server.answers("");
        let (begun, limit) = (Instant::now(), Duration::from_millis(200));
        assert!(features.read(&["u".into()], &["a".into()], limit).is_none());
        assert!(begun.elapsed() >= limit);
    }

    #[test]
    fn a_refusal_is_unready_until_redis_answers() {
        let (server, runtime, health) = (Server::default(), runtime(), Health::starting());
        server.answers("-NOAUTH Authentication required.\r\n");
        let mut features = open(&server.listen(), runtime.handle(), &health);
        let reasons = health.reasons();
        assert!(
            reasons.contains("NOAUTH") && reasons.contains("--redis-password-file"),
            "{reasons}"
        );
        server.answers("$1\r\n7\r\n");
        let deadline = Instant::now() + Duration::from_secs(10);
        while !health.reasons().is_empty() {
            assert!(Instant::now() < deadline, "{}", health.reasons());
            std::thread::sleep(Duration::from_millis(10));
        }
        let mut read = |answer: &'static str| {
            server.answers(answer);
            features.read(&["u".into()], &["a".into()], Duration::from_secs(10))
        };
        assert_eq!(
            read("-WRONGTYPE Operation against a key\r\n"),
            Some(vec![None])
        );
        assert!(
            health.reasons().contains("WRONGTYPE"),
            "{}",
            health.reasons()
        );
        assert_eq!(read("-LOADING Redis is loading\r\n"), Some(vec![None]));
        assert!(
            health.reasons().contains("WRONGTYPE"),
            "nothing was read yet"
        );
        assert!(read("*1\r\n$1\r\n7\r\n").is_some());
        assert_eq!(health.reasons(), "");
        assert!(read("-WRONGTYPE Operation against a key\r\n").is_some());
        drop(features);
        assert_eq!(health.reasons(), "", "the next model reads no features");
    }
}
