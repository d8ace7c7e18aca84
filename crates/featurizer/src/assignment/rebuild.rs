//! The first position of a partition whose windows are built from the log.

use super::resume::{Cause, Present};
use crate::store::{Again, Building, Position, Token, fingerprint};

/// Margin (ms) by which a rebuild begins before the longest window: records are written a little after their event
/// time.
pub(crate) const MARGIN_MS: i64 = 15 * 60 * 1000;

/// The log of a partition that is rebuilt, as far as known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stretch {
    /// The log's first offset.
    pub(crate) start: i64,
    /// The offset of the log's first record, after transaction markers that retention has left.
    pub(crate) first: i64,
    /// The offset after the log's last one.
    pub(crate) end: i64,
    /// First offset whose record is no older than the longest window and the margin; the end if there is none.
    pub(crate) from: i64,
}

impl Stretch {
    /// True if retention may have deleted records that the windows still need.
    pub(crate) fn is_cut(self) -> bool {
        self.start > 0 && self.from <= self.first.max(self.start)
    }
}

/// The position at which a rebuild begins. `epoch` is drawn at random; `now` is in epoch milliseconds. `unswept` is
/// set: the caller clears it if the partition's expiries hold no users of an earlier building.
pub(crate) fn first_position(
    stored: Option<&Position>,
    cause: Cause,
    stretch: Stretch,
    present: Present<'_>,
    (epoch, token, now): (u32, Token, i64),
) -> Position {
    let begin = stretch.from.max(stretch.start);
    let told = present.topic;
    let same = |stored: &&Position| {
        told.is_none() || stored.building.topic.is_none() || stored.building.topic == told
    };
    let kept = stored.filter(|_| !cause.is_other_log()).filter(same);
    let incarnation = match (kept, present.topic) {
        (Some(stored), _) => stored.building.incarnation,
        // Derived from the topic's id, so that erasures stay valid after a position is lost.
        (None, Some(topic)) if cause != Cause::Truncated && cause != Cause::OtherRecord => {
            fingerprint(None, Some(topic.to_string().as_bytes()), None) as u32
        }
        _ => epoch,
    };
    Position {
        offset: begin,
        token,
        building: Building {
            epoch,
            incarnation,
            begin,
            definitions: present.definitions.to_owned(),
            topic: told,
        },
        last: None,
        warm_until: (begin < stretch.end).then_some(stretch.end),
        // A guess until the first record tells.
        complete_from: stretch.is_cut().then_some(now + 1),
        mixed: false,
        unswept: true,
        again: match cause {
            Cause::EarlyEvents => Again::Done,
            _ => Again::No,
        },
        shown: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::position::tests::{TOPIC, stored};

    const ANOTHER: &str = "AAAAAAAAAAAAAAAAAAAAAg";

    const TOKEN: Token = Token {
        instance: 1,
        count: 1,
    };
    fn present() -> Present<'static> {
        Present {
            definitions: "00ff",
            topic: TOPIC.parse().ok(),
        }
    }

    fn first(cause: Cause, stretch: (i64, i64, i64)) -> Position {
        let (start, end, from) = stretch;
        let first = if start == 5 { 6 } else { start };
        let stretch = Stretch {
            start,
            first,
            end,
            from,
        };
        first_position(
            Some(&stored(10, Some(1))),
            cause,
            stretch,
            present(),
            (77, TOKEN, 5_000),
        )
    }

    #[test]
    fn a_rebuild_reads_from_the_window_to_the_end_and_says_if_something_is_missing() {
        for (stretch, begin, warm_until, complete_from) in [
            ((0, 20, 5), 5, Some(20), None),
            ((0, 20, 0), 0, Some(20), None),
            ((3, 20, 5), 5, Some(20), None),
            ((5, 20, 5), 5, Some(20), Some(5_001)),
            ((5, 20, 2), 5, Some(20), Some(5_001)),
            ((5, 20, 6), 6, Some(20), Some(5_001)),
            ((5, 20, 7), 7, Some(20), None),
            ((0, 20, 20), 20, None, None),
            ((0, 0, 0), 0, None, None),
            ((20, 20, 20), 20, None, Some(5_001)),
        ] {
            let position = first(Cause::Shares, stretch);
            let found = (position.offset, position.warm_until, position.complete_from);
            assert_eq!(found, (begin, warm_until, complete_from), "{stretch:?}");
            assert_eq!(position.building.begin, begin);
            assert!(position.unswept && !position.mixed && position.last.is_none());
        }
    }

    #[test]
    fn a_second_building_says_so() {
        for (cause, again) in [
            (Cause::EarlyEvents, Again::Done),
            (Cause::NoPosition, Again::No),
        ] {
            assert_eq!(first(cause, (0, 20, 5)).again, again);
        }
    }

    #[test]
    fn offsets_keep_their_meaning_unless_the_log_is_another() {
        let incarnation = |cause| first(cause, (0, 20, 5)).building.incarnation;
        assert_eq!(incarnation(Cause::Definitions), 4);
        assert_eq!(incarnation(Cause::Shares), 4);
        assert_eq!(incarnation(Cause::Truncated), 77);
        assert_eq!(incarnation(Cause::OtherRecord), 77);
        let by_topic = fingerprint(None, Some(TOPIC.as_bytes()), None) as u32;
        assert_eq!(incarnation(Cause::Topic), by_topic);
        let stretch = Stretch {
            start: 0,
            first: 0,
            end: 20,
            from: 5,
        };
        let anew = Present {
            topic: ANOTHER.parse().ok(),
            ..present()
        };
        let stored = stored(10, Some(1));
        let shares = first_position(Some(&stored), Cause::Shares, stretch, anew, (77, TOKEN, 0));
        let by_topic_too = fingerprint(None, Some(ANOTHER.as_bytes()), None) as u32;
        assert_eq!(
            shares.building.incarnation, by_topic_too,
            "taken along into another topic"
        );
        let lost = first_position(None, Cause::NoPosition, stretch, present(), (77, TOKEN, 0));
        assert_eq!(lost.building.incarnation, by_topic);
    }
}
