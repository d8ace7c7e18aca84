//! Partitions that a re-created topic no longer has.
//!
//! Their users move to the expiries of a partition that the topic has, where they are due at once. Their windows are
//! void without the position of their home, so the worker removes each hash, unless the user has come back in another
//! partition.

use crate::store::{Door, Expiries, Lease, Lost, Position};
use tidemill_core::kafka::TopicId;

/// Partitions read at once.
const PAGE: i32 = 16;

/// The state that the store holds for a partition that the topic does not have.
#[derive(Debug, PartialEq, Eq)]
enum Remains {
    /// Nothing of ours.
    Nothing,
    /// The state of a deleted topic of the same name.
    OfOtherTopic,
    /// Perhaps the state of this topic: the partition may have been added a moment ago, unknown to this worker.
    OfThisTopic,
}

/// The partitions after the topic's last one for which the store holds state of an earlier topic.
pub(super) fn find<D: Door>(
    count: i32,
    topic: Option<TopicId>,
    lease: &mut Lease<D>,
) -> Result<Vec<i32>, Lost> {
    let (mut gone, mut begin) = (Vec::new(), count);
    loop {
        let page: Vec<i32> = (begin..begin + PAGE).collect();
        let positions = lease.look_also(&page)?;
        let expiries = lease.expiries(&page)?;
        let mut empty = true;
        for ((id, text), expiries) in page.into_iter().zip(positions).zip(expiries) {
            let remains = remains(text.as_deref(), expiries, topic);
            empty &= remains == Remains::Nothing;
            if remains == Remains::OfOtherTopic {
                gone.push(id);
            }
        }
        if empty {
            return Ok(gone);
        }
        begin += PAGE;
    }
}

/// Judges the position and the expiries of a partition that the topic does not have.
fn remains(position: Option<&str>, expiries: Expiries, topic: Option<TopicId>) -> Remains {
    let Some(text) = position else {
        return match expiries {
            // A worker removed the position and was stopped before it moved the expiries.
            Expiries::Users => Remains::OfOtherTopic,
            Expiries::None | Expiries::Foreign => Remains::Nothing,
        };
    };
    let before = text.parse::<Position>().ok();
    let before = before.and_then(|position| position.building.topic);
    match (before, topic) {
        (Some(before), Some(topic)) if before != topic => Remains::OfOtherTopic,
        _ => Remains::OfThisTopic,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::position::tests::{TOPIC, stored};

    #[test]
    fn only_what_is_known_to_be_of_another_topic_has_no_place() {
        let this: Option<TopicId> = TOPIC.parse().ok();
        let other: Option<TopicId> = "AAAAAAAAAAAAAAAAAAAAAg".parse().ok();
        let position = stored(10, None).to_string();
        for (position, expiries, topic, expected) in [
            (None, Expiries::None, this, Remains::Nothing),
            (None, Expiries::Foreign, this, Remains::Nothing),
            (None, Expiries::Users, this, Remains::OfOtherTopic),
            (Some(&position), Expiries::None, this, Remains::OfThisTopic),
            (Some(&position), Expiries::Users, None, Remains::OfThisTopic),
            (
                Some(&position),
                Expiries::Users,
                other,
                Remains::OfOtherTopic,
            ),
            (
                Some(&"?".to_owned()),
                Expiries::Users,
                other,
                Remains::OfThisTopic,
            ),
        ] {
            let found = remains(position.map(String::as_str), expiries, topic);
            assert_eq!(found, expected, "{position:?} {expiries:?}");
        }
    }
}
