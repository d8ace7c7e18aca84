//! Whose key prefix it is: one group, one topic and one set of feature definitions.

use super::connection::{Lost, Redis};
use super::keys::Keys;

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub enum Ownership {
    /// It is ours, perhaps since now.
    Ours,
    /// It was somebody else's, and is ours now.
    Taken {
        /// Whose it was.
        from: String,
    },
    /// It is this owner's.
    Foreign(String),
}

/// Makes the prefix ours when it is nobody's, or when it may be taken over.
pub fn own(redis: &mut Redis, keys: &Keys, owner: &str, takeover: bool) -> Result<Ownership, Lost> {
    let key = keys.owner();
    redis.command(&["SET", &key, owner, "NX"])?;
    let found = redis.command(&["GET", &key])?;
    let found = String::from_utf8_lossy(&found.concat()).into_owned();
    if found == owner {
        return Ok(Ownership::Ours);
    }
    if !takeover {
        return Ok(Ownership::Foreign(found));
    }
    redis.command(&["SET", &key, owner])?;
    Ok(Ownership::Taken { from: found })
}
