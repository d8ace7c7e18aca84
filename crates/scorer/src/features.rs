//! Reads users' feature hashes from Redis, never for longer than it may.
//!
//! One pipelined read for a batch. A connection that did not answer in time is dropped, since its
//! late answers would be taken for those of the next read; until a new one has answered a PING,
//! reads return at once with nothing. So a Redis that is slow, hung or absent costs freshness only.

use std::time::Duration;

use anyhow::Context;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Pipeline, RedisError, RedisResult};
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
    /// Starts to connect to `url`; keys start with `prefix`. Waits a second for a connection, so that
    /// the first batch has features where Redis is well, and goes on without one where it is not.
    ///
    /// # Errors
    ///
    /// A URL that is none.
    pub fn open(url: &str, prefix: &str, runtime: Handle) -> anyhow::Result<Self> {
        let client = Client::open(url)?;
        let mut opening = runtime.spawn(connect(client.clone()));
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
        self.connection = Connection::Opening(self.runtime.spawn(connect(self.client.clone())));
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
                    let again = self.runtime.spawn(connect(self.client.clone()));
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

/// Takes a URL that Redis can be reached by.
///
/// # Errors
///
/// What such a URL looks like.
pub fn check_url(url: &str) -> Result<(), String> {
    Client::open(url)
        .map(drop)
        .map_err(|error| format!("{error}; use redis://host:port, or rediss:// for TLS"))
}

/// Connects, however often it takes. The PING tells a Redis that is there from one that merely
/// accepts connections.
async fn connect(client: Client) -> MultiplexedConnection {
    loop {
        match timeout(CONNECT, greet(&client)).await {
            Ok(Ok(connection)) => return connection,
            Ok(Err(error)) => tracing::debug!(%error, "cannot connect to the feature store"),
            Err(_) => tracing::debug!("feature store does not answer"),
        }
        sleep(RETRY).await;
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
/// It does not answer.
pub async fn survey(url: &str, prefix: &str) -> anyhow::Result<Survey> {
    let client = Client::open(url)?;
    let address = client.get_connection_info().addr().to_string();
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
        .with_context(|| format!("no Redis at {address} answered within {SURVEY:?}"))?
        .with_context(|| format!("no Redis at {address} answered"))?;
    Ok(Survey {
        address,
        info,
        owner,
    })
}
