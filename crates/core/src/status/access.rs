//! Who may see records and users: people on this machine, and those who have the token.
//!
//! On a loopback address the Host header must name one too: a foreign web page can have its own name resolved to
//! 127.0.0.1 and would otherwise read ours through its visitor's browser. With a token, everybody needs it: a proxy on
//! this machine makes strangers look like neighbours.

use axum::http::{HeaderMap, header};
use sha2::{Digest, Sha256};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// Wrong tokens that cost nothing: people mistype.
const FREE: u32 = 5;

/// The time that each further one costs.
const PENALTY: Duration = Duration::from_secs(1);

/// Fewest characters of a token.
const SHORTEST: usize = 16;

/// The session's cookie.
const COOKIE: &str = "tidemill_session";

/// Answer to a request without a token.
pub(super) const TOKEN_NEEDED: &str =
    "a token is needed: log in at /, or send the header Authorization: Bearer TOKEN\n";

/// Answer to a wrong one.
pub(super) const WRONG_TOKEN: &str = "the token is wrong: take the one in the file of --admin-token-file as it was when \
    the program was started\n";

const OPEN_LOCALLY: &str = "this page shows records and users, so it answers on this machine only, under the name \
    localhost or 127.0.0.1. To see it from elsewhere, forward the port (ssh -L), or start the program with \
    --admin-token-file FILE; a token is made by: openssl rand -hex 32\n";

const OPEN_WITH_TOKEN: &str = "this page shows records and users, and the address it is served at can be reached from \
    other machines: start the program with --admin-token-file FILE (a token is made by: openssl rand -hex 32), or with \
    --admin-addr 127.0.0.1:PORT\n";

/// The token that opens the pages: its digest, so that it stands nowhere in memory.
#[derive(Clone, PartialEq, Eq)]
pub struct Token([u8; 32]);

impl Token {
    /// Reads a token from the first line of a file.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("{error}; name a file that can be read"))?;
        let token = text.trim();
        if token.len() < SHORTEST {
            return Err(format!(
                "the token has fewer than {SHORTEST} characters; make one by: openssl rand -hex 32"
            ));
        }
        Ok(Self::of(token))
    }

    fn of(text: &str) -> Self {
        Self(Sha256::digest(text.as_bytes()).into())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(crate::effective::HIDDEN)
    }
}

/// The decision about a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is answered.
    Welcome,
    /// It comes without a token.
    TokenNeeded,
    /// It is refused, with this remedy.
    Refused(&'static str),
}

/// The rules of one admin address.
pub(super) struct Access {
    loopback: bool,
    token: Option<Token>,
    /// The value of the cookie that a login gets; unknown outside, and gone with the process.
    session: String,
    /// The number of wrong tokens since the last right one.
    wrong: Arc<Mutex<u32>>,
    /// The time that a wrong one costs, once there were enough.
    penalty: Duration,
}

impl Access {
    /// The rules of pages served on `ip`.
    pub(super) fn new(ip: IpAddr, token: Option<Token>) -> Self {
        // Keyed by the operating system's random numbers.
        let secret = RandomState::new();
        let words = (0..4_u8).map(|word| format!("{:016x}", secret.hash_one(word)));
        Self {
            loopback: ip.is_loopback(),
            token,
            session: words.collect(),
            wrong: Arc::default(),
            penalty: PENALTY,
        }
    }

    /// Judges a request by its headers.
    pub(super) async fn judge(&self, headers: &HeaderMap) -> Verdict {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let Some(token) = &self.token else {
            return match (self.loopback, text(header::HOST)) {
                (true, Some(host)) if is_local(host) => Verdict::Welcome,
                (true, _) => Verdict::Refused(OPEN_LOCALLY),
                (false, _) => Verdict::Refused(OPEN_WITH_TOKEN),
            };
        };
        let cookies = headers.get_all(header::COOKIE).iter();
        let mut cookies = cookies
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split("; "));
        if cookies.any(|cookie| self.is_session(cookie)) {
            return Verdict::Welcome;
        }
        let bearer = text(header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
        match bearer {
            None => Verdict::TokenNeeded,
            Some(bearer) if self.fits(token, bearer).await => Verdict::Welcome,
            Some(_) => Verdict::Refused(WRONG_TOKEN),
        }
    }

    /// The cookie for who gives the right token.
    pub(super) async fn login(&self, given: &str) -> Option<String> {
        let right = self.fits(self.token.as_ref()?, given).await;
        let session = &self.session;
        right.then(|| format!("{COOKIE}={session}; Path=/; HttpOnly; SameSite=Strict"))
    }

    fn is_session(&self, cookie: &str) -> bool {
        let value = cookie.strip_prefix(COOKIE);
        let value = value.and_then(|value| value.strip_prefix('='));
        // Digests: the time that comparing them takes says nothing of the texts.
        value.is_some_and(|value| Token::of(value) == Token::of(&self.session))
    }

    /// Compares a token. From the sixth wrong one on, each has the next wait for a second.
    async fn fits(&self, token: &Token, given: &str) -> bool {
        let mut wrong = self.wrong.clone().lock_owned().await;
        if Token::of(given.trim()) == *token {
            *wrong = 0;
            return true;
        }
        *wrong = wrong.saturating_add(1);
        if *wrong > FREE {
            // A task of its own: who hangs up does not shorten it.
            let penalty = self.penalty;
            let paid = tokio::spawn(async move {
                tokio::time::sleep(penalty).await;
                drop(wrong);
            });
            let _ended = paid.await;
        }
        false
    }
}

/// True if a Host header names this machine from within.
fn is_local(host: &str) -> bool {
    let bare = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let ip = bare.trim_start_matches('[').trim_end_matches(']');
    bare.eq_ignore_ascii_case("localhost") || ip.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::{HeaderName, HeaderValue};
    use std::time::Instant;

    const TOKEN: &str = "0123456789abcdef";

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        let pairs = pairs
            .iter()
            .map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap()));
        pairs.collect()
    }

    fn local(token: Option<&str>) -> Access {
        Access::new([127, 0, 0, 1].into(), token.map(Token::of))
    }

    #[tokio::test]
    async fn without_a_token_only_neighbours_are_welcome() {
        let open = Access::new([0, 0, 0, 0].into(), None);
        let table = [
            ("localhost:9102", true),
            ("LOCALHOST", true),
            ("127.0.0.1:9102", true),
            ("[::1]:9102", true),
            ("evil.example:9102", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example:1", false),
            ("10.0.0.7:9102", false),
            ("", false),
        ];
        for (host, welcome) in table {
            let request = headers(&[(header::HOST, host)]);
            let expected = match welcome {
                true => Verdict::Welcome,
                false => Verdict::Refused(OPEN_LOCALLY),
            };
            assert_eq!(local(None).judge(&request).await, expected, "{host}");
            let refused = Verdict::Refused(OPEN_WITH_TOKEN);
            assert_eq!(open.judge(&request).await, refused, "{host}");
        }
        let nameless = local(None).judge(&HeaderMap::new()).await;
        assert_eq!(nameless, Verdict::Refused(OPEN_LOCALLY));
        assert_eq!(local(None).login("").await, None);
    }

    #[tokio::test]
    async fn with_a_token_everybody_needs_it() {
        let access = local(Some(TOKEN));
        let bare = headers(&[(header::HOST, "localhost")]);
        assert_eq!(access.judge(&bare).await, Verdict::TokenNeeded);
        let bearer = |token: &str| headers(&[(header::AUTHORIZATION, &format!("Bearer {token}"))]);
        assert_eq!(access.judge(&bearer(TOKEN)).await, Verdict::Welcome);
        let wrong = access.judge(&bearer("0123456789abcdeF")).await;
        assert_eq!(wrong, Verdict::Refused(WRONG_TOKEN));
        let cookie = access.login(TOKEN).await.unwrap();
        assert!(cookie.ends_with("; HttpOnly; SameSite=Strict"), "{cookie}");
        let (pair, _) = cookie.split_once(';').unwrap();
        let cookies = |pair: &str| headers(&[(header::COOKIE, &format!("other=1; {pair}"))]);
        assert_eq!(access.judge(&cookies(pair)).await, Verdict::Welcome);
        let forged = format!("{COOKIE}={TOKEN}");
        assert_eq!(access.judge(&cookies(&forged)).await, Verdict::TokenNeeded);
        let other = local(Some(TOKEN));
        assert_eq!(other.judge(&cookies(pair)).await, Verdict::TokenNeeded);
    }

    #[tokio::test]
    async fn wrong_tokens_cost_time_from_the_sixth_on() {
        let mut access = local(Some(TOKEN));
        let penalty = Duration::from_millis(200);
        access.penalty = penalty;
        let access = Arc::new(access);
        let begun = Instant::now();
        for _ in 0..FREE {
            assert_eq!(access.login("wrong").await, None);
        }
        assert!(begun.elapsed() < penalty, "{:?}", begun.elapsed());
        // Guesses at the same time wait for one another, and hanging up does not help.
        for _ in 0..2 {
            let guess = tokio::time::timeout(Duration::from_millis(1), access.login("wrong"));
            assert!(guess.await.is_err());
        }
        let (one, other) = (access.clone(), access.clone());
        let guesses = tokio::join!(async move { one.login("wrong").await }, async move {
            other.login("wrong").await
        });
        assert_eq!(guesses, (None, None));
        assert!(begun.elapsed() >= 3 * penalty, "{:?}", begun.elapsed());
        assert!(access.login(TOKEN).await.is_some());
        let begun = Instant::now();
        assert_eq!(access.login("wrong").await, None);
        assert!(begun.elapsed() < penalty, "{:?}", begun.elapsed());
    }

    #[test]
    fn a_token_is_a_file_with_enough_characters() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, format!("{TOKEN}\n")).unwrap();
        assert_eq!(Token::read(&path), Ok(Token::of(TOKEN)));
        std::fs::write(&path, &TOKEN[1..]).unwrap();
        assert!(Token::read(&path).unwrap_err().contains("openssl"));
        let none = Token::read(&folder.path().join("none")).unwrap_err();
        assert!(none.contains("name a file"), "{none}");
        assert_eq!(format!("{:?}", Token::of(TOKEN)), "***");
    }
}
