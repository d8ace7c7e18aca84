//! Reads the stored state of one user at one instant, without a lease.

use super::connection::{Lost, Redis};
use super::door::{Door, texts};
use super::keys::Keys;
use super::position::Position;
use super::resp::Pack;
use redis::Value;

/// The stored state of one user.
#[derive(Debug)]
pub struct Peek {
    /// The stored window's bytes.
    pub window: Option<Vec<u8>>,
    /// The hash's fields and values.
    pub hash: Vec<(String, String)>,
    /// The positions of partitions 0 and on.
    pub positions: Vec<Option<Position>>,
}

/// Reads window, hash and positions of all `partitions` in one transaction, so that they belong together.
pub fn peek(redis: &mut Redis, keys: &Keys, user: &str, partitions: i32) -> Result<Peek, Lost> {
    let mut pack = Pack::default();
    pack.all(&["MULTI"]);
    pack.all(&["GET", &format!("{}{user}", keys.window())]);
    pack.all(&["HGETALL", &format!("{}{user}", keys.features())]);
    let names = (0..partitions).map(|partition| keys.position(partition));
    let words: Vec<String> = std::iter::once("MGET".to_owned()).chain(names).collect();
    pack.all(&words);
    pack.all(&["EXEC"]);
    let answers = match redis.ask(&pack)?.pop() {
        Some(Value::Array(answers)) => answers,
        other => return Err(Lost(format!("unexpected answer {other:?}"))),
    };
    let mut answers = answers.into_iter().map(texts);
    let mut next = || answers.next().unwrap_or_default();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let window = next().into_iter().flatten().next();
    let hash: Vec<String> = next().into_iter().flatten().map(text).collect();
    let pair = |pair: &[String]| (pair[0].clone(), pair[1].clone());
    let position = |found: Option<Vec<u8>>| text(found?).parse().ok();
    let positions = next().into_iter().map(position).collect();
    let hash = hash.chunks_exact(2).map(pair).collect();
    Ok(Peek {
        window,
        hash,
        positions,
    })
}
