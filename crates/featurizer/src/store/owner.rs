//! The owner of a key prefix: one group, one topic and one set of feature definitions.

use super::connection::{Lost, Redis};
use super::keys::Keys;

/// Partitions looked at once.
const PAGE: usize = 16;

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
    let earlier = topic(&found).filter(|topic| *topic != keys.topic());
    match earlier.map(|topic| keys.of_topic(topic)) {
        Some(earlier) => take_over(redis, &earlier, keys, owner)?,
        None => drop(redis.command(&["SET", &key, owner])?),
    }
    Ok(Ownership::Taken { from: found })
}

/// The topic of an owner.
fn topic(owner: &str) -> Option<&str> {
    let (before, _features) = owner.rsplit_once(", features ")?;
    Some(before.rsplit_once(", topic ")?.1)
}

/// Claims a prefix that kept another topic. Windows are by user, so those of our topic are void too if it was kept
/// here before. Users of the earlier topic move to the expiries of partitions that our topic does not have: the worker
/// that attaches its first partition has their hashes removed.
fn take_over(redis: &mut Redis, earlier: &Keys, keys: &Keys, owner: &str) -> Result<(), Lost> {
    let (theirs, ours) = (extent(redis, earlier)?, extent(redis, keys)?);
    let mut moved = Vec::new();
    for partition in 0..theirs {
        let from = earlier.expiry(partition);
        if redis.command(&["EXISTS", &from])?.concat() == b"1" {
            let to = keys.expiry(ours + moved.len() as i32);
            moved.push((from, to));
        }
    }
    let positions = (0..theirs).map(|id| earlier.position(id));
    let positions = positions.chain((0..ours).map(|id| keys.position(id)));
    redis.command(&["MULTI"])?;
    redis.command(&["SET", &keys.owner(), owner])?;
    for position in positions {
        redis.command(&["DEL", &position])?;
    }
    for (from, to) in moved {
        redis.command(&["RENAME", &from, &to])?;
    }
    redis.command(&["EXEC"]).map(drop)
}

/// A number of partitions above all those of a topic that the store keeps something of.
fn extent(redis: &mut Redis, keys: &Keys) -> Result<i32, Lost> {
    for begin in (0..).step_by(PAGE) {
        let page = begin..begin + PAGE as i32;
        let names = page.flat_map(|id| [keys.position(id), keys.expiry(id)]);
        let exists: Vec<String> = ["EXISTS".to_owned()].into_iter().chain(names).collect();
        if redis.command(&exists)?.concat() == b"0" {
            return Ok(begin);
        }
    }
    Ok(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_topic_of_an_owner_stands_before_its_features() {
        let owner = "group a, topic b, features 1, topic user-events, features 2d3e";
        assert_eq!(topic(owner), Some("user-events"));
        assert_eq!(topic("somebody else"), None);
    }
}
