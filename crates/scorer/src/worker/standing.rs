//! The readiness of a worker, read off the states of its partitions and batches. Pure: the health page adds the time.

use tidemill_core::health::Standing;

use super::batches::Batches;
use crate::input::partitions::Partitions;

/// The standing of a worker with these partitions and batches; `joined` once the group has assigned it any, or none.
pub(super) fn standing(joined: bool, partitions: &Partitions, batches: &Batches) -> Standing {
    let (searching, absent) = (partitions.searching(), partitions.absent());
    let waiting = if !joined {
        Some("joining the group".to_owned())
    } else if !searching.is_empty() {
        Some(format!("looking up where to read partitions {searching:?}"))
    } else if !absent.is_empty() {
        Some(format!("the topic does not have the partitions {absent:?}"))
    } else {
        None
    };
    Standing {
        waiting,
        failure: batches
            .failing()
            .then(|| "the last batch could not be written".to_owned()),
        busy: batches.publishing(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    use crate::input::partitions::Why;
    use crate::output::delivery::Outcome;

    #[test]
    fn every_state_that_keeps_a_worker_from_its_work_is_told() {
        let (mut partitions, mut batches) = (Partitions::default(), Batches::new());
        let told = |joined, partitions: &Partitions, batches: &Batches| {
            let Standing {
                waiting, failure, ..
            } = standing(joined, partitions, batches);
            [waiting.unwrap_or_default(), failure.unwrap_or_default()]
        };
        let none = ["", ""];
        assert_eq!(
            told(false, &partitions, &batches),
            ["joining the group", ""]
        );
        assert_eq!(told(true, &partitions, &batches), none, "no partition");
        partitions.assign(3);
        let searching = "looking up where to read partitions [3]";
        assert_eq!(told(true, &partitions, &batches), [searching, ""]);
        partitions.lacks(3);
        let absent = "the topic does not have the partitions [3]";
        assert_eq!(told(true, &partitions, &batches), [absent, ""]);
        partitions.assign(3);
        partitions.found(3, 0.into());
        assert_eq!(told(true, &partitions, &batches), none);
        let now = Instant::now();
        batches.scored();
        batches.handed_over(now);
        let busy = standing(true, &partitions, &batches).busy;
        assert_eq!(busy, Some(now), "an outage shows by the time that it takes");
        batches.ended(Outcome::Undone);
        partitions.stop(Why::Undone);
        partitions.search_stopped();
        let failed = "the last batch could not be written";
        assert_eq!(told(true, &partitions, &batches), [searching, failed]);
        assert_eq!(standing(true, &partitions, &batches).busy, None);
    }
}
