//! Reads users' feature hashes from Redis, never for longer than it may.
//!
//! One pipelined read for a batch. A connection that did not answer in time is dropped, since its
//! late answers would be taken for those of the next read; until a new one has answered a PING,
//! reads return at once with nothing. So a Redis that is slow, hung or absent costs freshness only.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, Pipeline, RedisError, RedisResult,
    TlsCertificates,
};
use tidemill_core::redis_access::RedisAccess;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::join::Stored;

/// How long connecting, with a PING answered, may take.
const CONNECT: Duration = Duration::from_secs(1);

/// Between two attempts to connect.
const RETRY: Duration = Duration::from_millis(250);

/// How long a survey may take.
const SURVEY: Duration = Duration::from_secs(3);

/// A worker's access to the feature store.
pub struct Features {
    client: Client,
    access: RedisAccess,
    prefix: String,
    runtime: Handle,
    connection: Connection,
}

enum Connection {
    Open(MultiplexedConnection),
    /// Connecting in the background, for as long as it takes.
    Opening(JoinHandle<MultiplexedConnection>),
}

impl Features {
    /// Starts to connect; keys start with `prefix`. Waits a second for a connection, so that
    /// the first batch has features where Redis is well, and goes on without one where it is not.
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
            connection,
        })
    }

    /// The values of `fields` for each of `users`, in their order; `None` when they could not be had
    /// within `limit`, or for a user whose key Redis refused to read.
    pub fn read(
        &mut self,
        users: &[String],
        fields: &[String],
        limit: Duration,
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
            timeout(
                limit,
                pipeline.query_async::<Vec<RedisResult<_>>>(connection),
            )
            .await
        });
        match answer {
            Ok(Ok(values)) => return Some(values.into_iter().map(RedisResult::ok).collect()),
            Ok(Err(error)) => tracing::warn!(%error, "feature store failed, using defaults"),
            Err(_) => tracing::warn!(?limit, "feature store too slow, using defaults"),
        }
        self.connection = Connection::Opening(
            self.runtime
                .spawn(connect(self.client.clone(), self.access.clone())),
        );
        None
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
                    let again = self
                        .runtime
                        .spawn(connect(self.client.clone(), self.access.clone()));
                    self.connection = Connection::Opening(again);
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

/// A client that is not connected yet.
///
/// # Errors
///
/// A URL or certificates that cannot be used.
pub fn client(access: &RedisAccess) -> RedisResult<Client> {
    if !access.is_tls() {
        return Client::open(access.url.as_str());
    }
    let identity = access.identity.clone();
    let certificates = TlsCertificates {
        client_tls: identity.map(|(client_cert, client_key)| ClientTlsConfig {
            client_cert,
            client_key,
        }),
        root_cert: access.authorities.clone(),
    };
    Client::build_with_tls(access.url.as_str(), certificates)
}

/// Connects, however often it takes; what stands in the way is told once. The PING tells a Redis that is there from
/// one that merely accepts connections.
async fn connect(client: Client, access: RedisAccess) -> MultiplexedConnection {
    let mut told = String::new();
    loop {
        let error = match timeout(CONNECT, greet(&client)).await {
            Ok(Ok(connection)) => return connection,
            Ok(Err(error)) => said(&error),
            Err(_) => "timed out".to_owned(),
        };
        if error != told {
            let hint = access.verdict(&error).remedy;
            tracing::warn!(redis = %access, "cannot connect to the feature store: {error}; {hint}");
            told = error;
        }
        sleep(RETRY).await;
    }
}

/// An error as Redis writes it, which is what people look for.
fn said(error: &RedisError) -> String {
    match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        _ => error.to_string(),
    }
}

async fn greet(client: &Client) -> Result<MultiplexedConnection, RedisError> {
    // The reads have their own limit.
    let config = AsyncConnectionConfig::new().set_response_timeout(None);
    let mut connection = client
        .get_multiplexed_async_connection_with_config(&config)
        .await?;
    redis::cmd("PING")
        .query_async::<()>(&mut connection)
        .await?;
    Ok(connection)
}

/// What a feature store tells of itself.
pub struct Survey {
    /// Host and port.
    pub address: String,
    /// What `INFO` answers.
    pub info: String,
    /// Which featurizer keeps features under the prefix.
    pub owner: Option<String>,
}

/// Asks the Redis at `url` what it is, and who keeps features under `prefix`.
///
/// # Errors
///
/// It does not answer, or refuses; the text is that of the error alone.
pub async fn survey(access: &RedisAccess, prefix: &str) -> Result<Survey, String> {
    let client = client(access).map_err(|error| error.to_string())?;
    let address = access.to_string();
    let ask = async {
        let mut connection = greet(&client).await?;
        let info = redis::cmd("INFO").query_async(&mut connection).await?;
        let key = format!("{prefix}owner");
        let owner = redis::cmd("GET")
            .arg(key)
            .query_async(&mut connection)
            .await?;
        Ok::<_, RedisError>((info, owner))
    };
    let answer = timeout(SURVEY, ask).await;
    let (info, owner) = answer
        .map_err(|_| format!("timed out after {SURVEY:?}"))?
        .map_err(|error| said(&error))?;
    Ok(Survey {
        address,
        info,
        owner,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::TcpListener;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Instant;

    /// Listens as a Redis that answers every command with OK until it is frozen; returns its URL.
    fn server(frozen: Arc<AtomicBool>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("redis://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, frozen) = (stream.unwrap(), frozen.clone());
                std::thread::spawn(move || {
                    let lines = BufReader::new(stream.try_clone().unwrap()).lines();
                    for line in lines.map_while(Result::ok) {
                        // Each command is an array.
                        if line.starts_with('*') && !frozen.load(Ordering::Relaxed) {
                            stream.write_all(b"+OK\r\n").unwrap();
                        }
                    }
                });
            }
        });
        url
    }

    #[test]
    fn a_frozen_store_is_waited_for_once_and_for_no_longer_than_the_limit() {
        let frozen = Arc::new(AtomicBool::new(false));
        let access = RedisAccess {
            url: server(frozen.clone()).parse().unwrap(),
            authorities: None,
            identity: None,
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .unwrap();
        let mut features = Features::open(&access, "", runtime.handle().clone()).unwrap();
        assert!(matches!(features.connection, Connection::Open(_)));
        frozen.store(true, Ordering::Relaxed);
        let users: Vec<String> = (0..5_000).map(|user| user.to_string()).collect();
        let limit = Duration::from_millis(200);
        let mut wait = || {
            let begun = Instant::now();
            assert!(features.read(&users, &["a".into()], limit).is_none());
            begun.elapsed()
        };
        let first = wait();
        assert!(first >= limit && first < 2 * limit, "{first:?}");
        let others = (0..5).map(|_| wait()).sum::<Duration>();
        assert!(others < limit, "{others:?}");
    }
}
