//! Connects to the feature store, for as long as it takes, and asks it about itself.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, RedisError, RedisResult, TlsCertificates,
};
use tidemill_core::health::Part;
use tidemill_core::redis_access::RedisAccess;
use tidemill_core::redis_verdict::Meaning;
use tokio::time::{sleep, timeout};

/// Time limit for connecting, with an answered PING.
pub(super) const CONNECT: Duration = Duration::from_secs(1);

/// Pause between two attempts to connect.
const RETRY: Duration = Duration::from_millis(250);

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
pub(super) async fn connect(
    client: Client,
    access: RedisAccess,
    part: Part,
) -> MultiplexedConnection {
    let mut told = String::new();
    loop {
        let error = match timeout(CONNECT, greet(&client)).await {
            Ok(Ok(connection)) => {
                part.succeeded();
                return connection;
            }
            Ok(Err(error)) => said(&error),
            Err(_) => "timed out".to_owned(),
        };
        refuses(&access, &error, &part);
        if error != told {
            let hint = access.verdict(&error).remedy;
            tracing::warn!(redis = %access, "cannot connect to the feature store: {error}; {hint}");
            told = error;
        }
        sleep(RETRY).await;
    }
}

/// Makes the part unready where the error is one that stays until somebody does something; tells if it is.
pub(super) fn refuses(access: &RedisAccess, error: &str, part: &Part) -> bool {
    let verdict = access.verdict(error);
    let stays = verdict.meaning != Meaning::Passing;
    if stays {
        part.failed(format!("Redis at {access}: {error}; {}", verdict.remedy));
    }
    stays
}

/// An error as Redis writes it, which is what people look for.
pub(super) fn said(error: &RedisError) -> String {
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

/// The answers of a feature store about itself.
pub struct Survey {
    /// Host and port.
    pub address: String,
    /// What `INFO` answers.
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
