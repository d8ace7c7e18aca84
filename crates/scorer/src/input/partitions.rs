//! A worker's partitions, each in one state: searched, read, blocked or stopped. Pure.

use std::mem;

use tidemill_core::kafka::StoredPosition;

/// The partitions of one worker.
#[derive(Debug, Default)]
pub struct Partitions {
    /// By number; `None` where a partition is not assigned.
    states: Vec<Option<State>>,
    /// Partitions that records were taken from since the last batch was handed over.
    touched: Vec<i32>,
}

/// The state of an assigned partition.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum State {
    /// Its position is being looked up, because it is new here, or for the reason that stopped it.
    Searching(Option<Why>),
    /// Its records are taken.
    Reading(Reading),
    /// Its next record names an object that cannot be had now. It is asked for again later.
    Blocked(Reading),
    /// It is not read on from where it stands. It is searched again once the batch before it is done with.
    Stopped(Why),
    /// The topic does not have it any more. The group is about to revoke it.
    Absent,
}

/// The place of a partition that is read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    position: StoredPosition<u64>,
    /// The record before the position has not been seen yet: it must have the fingerprint that is stored.
    unchecked: bool,
}

/// The reason why a partition is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// A batch was not published: the group's position lies before ours.
    Undone,
    /// The topic was deleted and created again: the position is one of another log.
    TopicMadeAnew,
    /// Some position of the worker is outside its log; the client does not say which.
    OutOfRange,
    /// Another record lies before the position than was read there; its fingerprint.
    OtherRecord(u64),
}

/// Something that happens to a partition.
#[derive(Clone, Copy, Debug)]
enum Event {
    Assigned,
    /// The look-up has ended.
    Found(StoredPosition<u64>),
    /// The look-up has ended: there is no such partition.
    Absent,
    /// The record before the position was seen, and is the right one, or is gone.
    Checked,
    /// A record was taken: its offset and fingerprint.
    Taken(i64, u64),
    /// The object of the next record cannot be had.
    Blocked,
    /// It is asked for again.
    Resumed,
    Stopped(Why),
    /// A look-up begins.
    Searched,
}

/// The decision about a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It is the next one.
    Take,
    /// It lies before the position, or its partition is not read.
    Skip,
    /// It shows that the log is not the one that was read: its partition is stopped.
    Stop,
}

impl State {
    /// The state after an event. Events that come too late change nothing.
    fn step(self, event: Event) -> State {
        match (self, event) {
            (_, Event::Assigned) => State::Searching(None),
            (State::Searching(_), Event::Found(position)) => State::Reading(Reading {
                position,
                unchecked: position.last.is_some(),
            }),
            (State::Searching(_), Event::Absent) => State::Absent,
            (State::Reading(mut own), Event::Checked) => {
                own.unchecked = false;
                State::Reading(own)
            }
            (State::Reading(mut own), Event::Taken(offset, fingerprint)) => {
                own.position.next = offset + 1;
                own.position.last = Some(fingerprint);
                State::Reading(own)
            }
            (State::Reading(own), Event::Blocked) => State::Blocked(own),
            (State::Blocked(own), Event::Resumed) => State::Reading(own),
            (State::Reading(_) | State::Blocked(_), Event::Stopped(why)) => State::Stopped(why),
            (State::Stopped(why), Event::Searched) => State::Searching(Some(why)),
            (state, _) => state,
        }
    }
}

impl Partitions {
    /// Takes note of an assigned partition: its position is to be looked up.
    pub fn assign(&mut self, partition: i32) {
        let index = partition as usize;
        if self.states.len() <= index {
            self.states.resize(index + 1, None);
        }
        let state = State::Searching(None).step(Event::Assigned);
        self.states[index] = Some(state);
    }

    /// Forgets a partition that is no longer assigned; true if it had been found, and so is read by the client.
    pub fn remove(&mut self, partition: i32) -> bool {
        self.touched.retain(|other| *other != partition);
        let state = self.states.get_mut(partition as usize);
        let state = state.and_then(Option::take);
        !matches!(state, None | Some(State::Searching(_) | State::Absent))
    }

    /// The position of a partition was found.
    pub fn found(&mut self, partition: i32, position: StoredPosition<u64>) {
        self.step(partition, Event::Found(position));
    }

    /// The topic does not have a partition that was looked up.
    pub fn lacks(&mut self, partition: i32) {
        self.step(partition, Event::Absent);
    }

    /// Decides about a record; its fingerprint is asked for only where it matters.
    pub fn turn(&mut self, partition: i32, offset: i64, fingerprint: impl FnOnce() -> u64) -> Turn {
        let Some(State::Reading(own)) = self.state(partition) else {
            return Turn::Skip;
        };
        let StoredPosition { next, last, .. } = own.position;
        if own.unchecked && offset + 1 >= next {
            if offset < next {
                let fingerprint = fingerprint();
                if last.is_some_and(|last| last != fingerprint) {
                    self.step(partition, Event::Stopped(Why::OtherRecord(fingerprint)));
                    return Turn::Stop;
                }
            }
            self.step(partition, Event::Checked);
        }
        match offset < next {
            true => Turn::Skip,
            false => Turn::Take,
        }
    }

    /// Moves past a record that was taken.
    pub fn take(&mut self, partition: i32, offset: i64, fingerprint: u64) {
        self.step(partition, Event::Taken(offset, fingerprint));
        if self.touched.last() != Some(&partition) && !self.touched.contains(&partition) {
            self.touched.push(partition);
        }
    }

    /// The next record of a partition names an object that cannot be had.
    pub fn block(&mut self, partition: i32) {
        self.step(partition, Event::Blocked);
    }

    /// It is asked for again.
    pub fn resume(&mut self, partition: i32) {
        self.step(partition, Event::Resumed);
    }

    /// Stops all partitions that are read or blocked. Records that were taken from them and are not committed have to be dropped.
    pub fn stop(&mut self, why: Why) {
        for state in self.states.iter_mut().flatten() {
            *state = state.step(Event::Stopped(why));
        }
        self.touched.clear();
    }

    /// Begins to look up the partitions that are stopped, and returns them.
    pub fn search_stopped(&mut self) -> Vec<i32> {
        let stopped = self.which(|state| matches!(state, State::Stopped(_)));
        for partition in &stopped {
            self.step(*partition, Event::Searched);
        }
        stopped
    }

    /// The fingerprint of the record that lies before the position of a partition that is looked up, where it is not the one
    /// that had been read there.
    pub fn other_record(&self, partition: i32) -> Option<u64> {
        match self.state(partition) {
            Some(State::Searching(Some(Why::OtherRecord(fingerprint)))) => Some(fingerprint),
            _ => None,
        }
    }

    /// The partitions that are looked up.
    pub fn searching(&self) -> Vec<i32> {
        self.which(|state| matches!(state, State::Searching(_)))
    }

    /// The partitions that the topic does not have.
    pub fn absent(&self) -> Vec<i32> {
        self.which(|state| *state == State::Absent)
    }

    /// The next offset of a partition that is read or blocked.
    pub fn next(&self, partition: i32) -> Option<i64> {
        match self.state(partition) {
            Some(State::Reading(own) | State::Blocked(own)) => Some(own.position.next),
            _ => None,
        }
    }

    /// The partitions that records were taken from since the last call, with their positions.
    pub fn hand_over(&mut self) -> Vec<(i32, StoredPosition<u64>)> {
        let touched = mem::take(&mut self.touched).into_iter();
        let position = |partition: i32| match self.state(partition) {
            Some(State::Reading(own) | State::Blocked(own)) => Some((partition, own.position)),
            _ => None,
        };
        touched.filter_map(position).collect()
    }

    fn which(&self, of: impl Fn(&State) -> bool) -> Vec<i32> {
        let numbered = (0..).zip(&self.states);
        let those = numbered.filter(|(_, state)| state.as_ref().is_some_and(&of));
        those.map(|(partition, _)| partition).collect()
    }

    fn state(&self, partition: i32) -> Option<State> {
        self.states.get(partition as usize).copied().flatten()
    }

    fn step(&mut self, partition: i32, event: Event) {
        if let Some(Some(state)) = self.states.get_mut(partition as usize) {
            *state = state.step(event);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Turn::{Skip, Stop, Take};

    fn at(next: i64, last: Option<u64>) -> StoredPosition<u64> {
        StoredPosition {
            last,
            ..next.into()
        }
    }

    fn reading(next: i64, last: Option<u64>, unchecked: bool) -> Reading {
        Reading {
            position: at(next, last),
            unchecked,
        }
    }

    #[test]
    fn every_event_in_every_state() {
        use State::{Absent, Blocked, Reading, Searching, Stopped};
        let why = Why::OtherRecord(4);
        let own = reading(10, Some(9), true);
        let states = [
            Searching(None),
            Searching(Some(Why::Undone)),
            Reading(own),
            Blocked(own),
            Stopped(Why::OutOfRange),
            Absent,
        ];
        let [first, again, read, blocked, stopped, absent] = states;
        let fresh = [Searching(None); 6];
        // The expected states, in the order of `states`.
        let table = [
            (Event::Assigned, fresh),
            (Event::Found(at(3, Some(2))), {
                let found = Reading(reading(3, Some(2), true));
                [found, found, read, blocked, stopped, absent]
            }),
            (Event::Found(at(3, None)), {
                let found = Reading(reading(3, None, false));
                [found, found, read, blocked, stopped, absent]
            }),
            (
                Event::Absent,
                [absent, absent, read, blocked, stopped, absent],
            ),
            (Event::Checked, {
                let checked = Reading(reading(10, Some(9), false));
                [first, again, checked, blocked, stopped, absent]
            }),
            (Event::Taken(12, 77), {
                let taken = Reading(reading(13, Some(77), true));
                [first, again, taken, blocked, stopped, absent]
            }),
            (
                Event::Blocked,
                [first, again, Blocked(own), blocked, stopped, absent],
            ),
            (
                Event::Resumed,
                [first, again, read, Reading(own), stopped, absent],
            ),
            (
                Event::Stopped(why),
                [first, again, Stopped(why), Stopped(why), stopped, absent],
            ),
            (Event::Searched, {
                let searched = Searching(Some(Why::OutOfRange));
                [first, again, read, blocked, searched, absent]
            }),
        ];
        for (event, expected) in table {
            assert_eq!(states.map(|state| state.step(event)), expected, "{event:?}");
        }
    }

    /// Partitions with these, read from there.
    fn read(from: &[(i32, StoredPosition<u64>)]) -> Partitions {
        let mut partitions = Partitions::default();
        for (partition, position) in from {
            partitions.assign(*partition);
            partitions.found(*partition, *position);
        }
        partitions
    }

    /// Takes a record whose fingerprint is its offset.
    fn take(partitions: &mut Partitions, partition: i32, offset: i64) -> Turn {
        let turn = partitions.turn(partition, offset, || offset as u64);
        if turn == Take {
            partitions.take(partition, offset, offset as u64);
        }
        turn
    }

    fn handed_over(partitions: &mut Partitions) -> Vec<(i32, i64, Option<u64>)> {
        let positions = partitions.hand_over().into_iter();
        positions
            .map(|(id, own)| (id, own.next, own.last))
            .collect()
    }

    #[test]
    fn positions_follow_the_records() {
        let mut partitions = read(&[(2, 10.into())]);
        partitions.assign(0);
        assert_eq!(take(&mut partitions, 2, 10), Take);
        assert_eq!(take(&mut partitions, 2, 14), Take, "offsets may leave gaps");
        assert_eq!(take(&mut partitions, 2, 14), Skip, "a record is taken once");
        assert_eq!(take(&mut partitions, 0, 1), Skip, "not found yet");
        assert_eq!(take(&mut partitions, 7, 1), Skip, "not assigned");
        assert_eq!(handed_over(&mut partitions), [(2, 15, Some(14))]);
        assert_eq!(handed_over(&mut partitions), []);
        assert_eq!(take(&mut partitions, 2, 15), Take);
        assert!(partitions.remove(2) && !partitions.remove(2));
        assert_eq!(handed_over(&mut partitions), []);
        assert_eq!(partitions.next(2), None);
        assert_eq!(partitions.searching(), [0]);
        assert!(!partitions.remove(0) && !partitions.remove(9));
    }

    #[test]
    fn a_blocked_partition_stands_still_and_goes_on_with_the_same_record() {
        let mut partitions = read(&[(0, 5.into()), (1, 5.into())]);
        assert_eq!(take(&mut partitions, 0, 5), Take);
        partitions.block(0);
        assert_eq!(take(&mut partitions, 0, 6), Skip);
        assert_eq!(take(&mut partitions, 1, 5), Take);
        assert_eq!(partitions.next(0), Some(6));
        assert_eq!(
            handed_over(&mut partitions),
            [(0, 6, Some(5)), (1, 6, Some(5))],
            "what lies before it is committed"
        );
        partitions.resume(0);
        assert_eq!(take(&mut partitions, 0, 6), Take);
    }

    #[test]
    fn what_is_stopped_is_searched_again_and_nothing_of_it_committed() {
        let mut partitions = read(&[(0, 5.into()), (1, 5.into())]);
        partitions.assign(2);
        assert_eq!(take(&mut partitions, 0, 5), Take);
        partitions.block(1);
        partitions.stop(Why::Undone);
        assert_eq!(handed_over(&mut partitions), []);
        assert_eq!(take(&mut partitions, 0, 6), Skip);
        partitions.resume(1);
        assert_eq!(take(&mut partitions, 1, 5), Skip, "no longer blocked");
        assert_eq!(partitions.search_stopped(), [0, 1]);
        assert!(partitions.search_stopped().is_empty());
        assert_eq!(partitions.searching(), [0, 1, 2]);
        partitions.found(0, 5.into());
        assert_eq!(take(&mut partitions, 0, 5), Take, "read again");
    }

    #[test]
    fn a_partition_that_the_topic_lacks_waits_for_its_revocation() {
        let mut partitions = read(&[(0, 5.into())]);
        partitions.assign(1);
        partitions.lacks(1);
        partitions.stop(Why::TopicMadeAnew);
        assert_eq!(partitions.search_stopped(), [0]);
        assert_eq!(
            (partitions.searching(), partitions.absent()),
            (vec![0], vec![1])
        );
        assert!(!partitions.remove(1), "the client never read it");
        assert!(partitions.absent().is_empty());
    }

    #[test]
    fn the_record_before_a_position_tells_the_log() {
        let mut partitions = read(&[(0, at(10, Some(9)))]);
        for offset in 8..=9 {
            assert_eq!(take(&mut partitions, 0, offset), Skip);
        }
        assert_eq!(take(&mut partitions, 0, 10), Take);
        let mut partitions = read(&[(0, at(10, Some(1)))]);
        assert_eq!(take(&mut partitions, 0, 8), Skip);
        assert_eq!(take(&mut partitions, 0, 9), Stop);
        assert_eq!(partitions.other_record(0), None, "not searched yet");
        assert_eq!(partitions.search_stopped(), [0]);
        assert_eq!(partitions.other_record(0), Some(9));
        // Compaction has removed it, or nothing is known of it.
        let mut partitions = read(&[(0, at(10, Some(1))), (1, at(10, None))]);
        assert_eq!(take(&mut partitions, 0, 11), Take);
        assert_eq!(take(&mut partitions, 1, 9), Skip);
        // One that was taken since is no evidence.
        let mut partitions = read(&[(0, at(10, Some(9)))]);
        assert_eq!(take(&mut partitions, 0, 10), Take);
        assert_eq!(partitions.turn(0, 10, || 77), Skip);
    }
}
