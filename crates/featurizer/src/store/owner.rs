//! The owner of a key prefix: one group, one topic and one set of feature definitions.

use super::connection::{Lost, Redis};
use super::keys::Keys;

/// The state of a prefix.
#[derive(Debug, PartialEq, Eq)]
pub enum Ownership {
    /// It is ours, perhaps only now.
    Ours,
    /// It was another owner's, and is ours now.
    Taken {
        /// The earlier owner.
        from: String,
    },
    /// It belongs to this owner.
    Foreign(String),
}

/// Claims the prefix if it has no owner, or if it may be taken over.
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
