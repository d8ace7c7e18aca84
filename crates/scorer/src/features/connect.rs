//! Connects to the feature store, for as long as it takes, and asks it about itself.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, RedisError, RedisResult, TlsCertificates,
};
use tidemill_core::redis_access::RedisAccess;
use tokio::time::{sleep, timeout};

/// Time limit for connecting, with an answered PING.
pub(super) const CONNECT: Duration = Duration::from_secs(1);

/// Pause between two attempts to connect.
const RETRY: Duration = Duration::from_millis(250);

/// The error of a Redis that does not answer in time.
pub(super) const TIMED_OUT: &str = "timed out";

/// Time limit for a survey.
const SURVEY: Duration = Duration::from_secs(3);

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

/// Connects, however many attempts it takes; logs each obstacle once. Only a Redis that works answers the PING: a frozen
/// one accepts connections too.
pub(super) async fn connect(client: Client, access: RedisAccess) -> MultiplexedConnection {
    let mut told = String::new();
    loop {
        let error = match timeout(CONNECT, greet(&client)).await {
            Ok(Ok(connection)) => return connection,
            Ok(Err(error)) => said(&error),
            Err(_) => TIMED_OUT.to_owned(),
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
pub(super) fn said(error: &RedisError) -> String {
    match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        _ => error.to_string(),
    }
}

/// True if Redis refuses one key alone, which holds another type of value.
pub(super) fn is_of_key(error: &RedisError) -> bool {
    error.code() == Some("WRONGTYPE")
}

pub(super) async fn greet(client: &Client) -> Result<MultiplexedConnection, RedisError> {
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

/// The answers of a feature store about itself.
pub struct Survey {
    /// Host and port.
    pub address: String,
    /// The answer to `INFO`.
    pub info: String,
    /// The featurizer that keeps features under the prefix.
    pub owner: Option<String>,
}

/// Asks Redis for its `INFO` and for the owner of `prefix`.
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
