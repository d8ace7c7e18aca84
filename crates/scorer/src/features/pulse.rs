//! The feature store's part in the health of the process: does Redis answer a read of features.
//!
//! A Redis that is away or refuses costs freshness, and no prediction; it has to be seen all the same. A single key that
//! cannot be read is no reason: its user has default features.

use std::sync::Arc;

use anyhow::Context as _;
use redis::aio::MultiplexedConnection;
use redis::{Client, RedisResult};
use tidemill_core::health::Health;
use tidemill_core::pulse::{ANSWER, LIMIT, keep};
use tidemill_core::redis_access::RedisAccess;
use tokio::runtime::Handle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::connect::{TIMED_OUT, client, greet, is_of_key, said};
use super::join::Join;
use crate::settings::Config;
use crate::swap::Models;

/// Keeps the part `redis` of `health` until `shutdown`: unready if Redis has not answered for a while. A model that reads
/// no features needs no Redis.
///
/// # Errors
///
/// A URL or certificates that cannot be used, or no thread.
pub fn watch(
    config: &Config,
    models: Arc<Models>,
    health: &Arc<Health>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let store = Store::new(&config.redis, &config.key_prefix, Handle::current());
    let mut store = store.context("--redis-url")?;
    let part = health.pulse("redis", "answer from Redis", LIMIT);
    keep(part, shutdown, move || {
        match Join::new(&models.current().1.manifest) {
            Some(_) => store.ask(),
            None => Ok(()),
        }
    })
}

/// A feature store that is asked now and then.
struct Store {
    client: Client,
    access: RedisAccess,
    /// The key that is read: that of a user without a name, which no user has.
    key: String,
    runtime: Handle,
    connection: Option<MultiplexedConnection>,
}

impl Store {
    fn new(access: &RedisAccess, prefix: &str, runtime: Handle) -> RedisResult<Self> {
        Ok(Store {
            client: client(access)?,
            access: access.clone(),
            key: format!("{prefix}features:"),
            runtime,
            connection: None,
        })
    }

    /// Reads once. The error names Redis and the remedy.
    fn ask(&mut self) -> Result<(), String> {
        let connection = self.connection.take();
        let read = async {
            let mut connection = match connection {
                Some(connection) => connection,
                None => greet(&self.client).await?,
            };
            let mut read = redis::cmd("HMGET");
            let read = read.arg(&self.key).arg("_as_of");
            match read.query_async::<()>(&mut connection).await {
                Err(error) if !is_of_key(&error) => Err(error),
                _ => Ok(connection),
            }
        };
        let answer = self.runtime.block_on(async { timeout(ANSWER, read).await });
        let error = match answer {
            Ok(Ok(connection)) => {
                self.connection = Some(connection);
                return Ok(());
            }
            Ok(Err(error)) => said(&error),
            Err(_) => TIMED_OUT.to_owned(),
        };
        let remedy = self.access.verdict(&error).remedy;
        Err(format!("Redis at {}: {error}; {remedy}", self.access))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::server::{Server, runtime};

    #[test]
    fn what_redis_answers_now_is_told() {
        let (server, runtime) = (Server::default(), runtime());
        let mut store = Store::new(&server.listen(), "p:", runtime.handle().clone()).unwrap();
        let (well, wrong_type) = ("*1\r\n$-1\r\n", "-WRONGTYPE Operation against a key\r\n");
        for (answer, told) in [
            (well, &[][..]),
            (wrong_type, &[]),
            (
                "-NOAUTH Authentication required.\r\n",
                &["NOAUTH", "--redis-password-file"],
            ),
            (well, &[]),
            (wrong_type, &[]),
            ("", &["timed out", "--redis-url"]),
            ("-LOADING Redis is loading\r\n", &["LOADING"]),
            (well, &[]),
            (
                "-NOPERM User u has no permissions\r\n",
                &["NOPERM", "ACL SETUSER"],
            ),
            (well, &[]),
        ] {
            server.answers(answer);
            let error = store.ask().err().unwrap_or_default();
            assert_eq!(error.is_empty(), told.is_empty(), "{answer}: {error}");
            assert!(told.iter().all(|part| error.contains(part)), "{error}");
        }
    }

    #[test]
    fn a_refused_connection_is_told() {
        let nobody = RedisAccess {
            url: "redis://127.0.0.1:1".parse().unwrap(),
            authorities: None,
            identity: None,
        };
        let runtime = runtime();
        let mut store = Store::new(&nobody, "", runtime.handle().clone()).unwrap();
        let error = store.ask().unwrap_err();
        assert!(
            error.contains("127.0.0.1:1") && error.contains("refused"),
            "{error}"
        );
    }
}
