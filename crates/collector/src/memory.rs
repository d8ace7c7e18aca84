//! Memory: a worker's share, and which partitions go on being read when what is buffered nears its bound.

/// More than this need not be fetched ahead for a consumer to be busy, in bytes.
const FETCHED: usize = 32 << 20;

/// What one worker may hold, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    /// Of records that the client has fetched and the worker not yet taken.
    pub(crate) fetched: usize,
    /// Of records taken and not yet in the data set.
    pub(crate) buffered: usize,
}

impl Share {
    /// An equal share of `memory` for each worker.
    pub(crate) fn of(memory: usize, workers: usize) -> Self {
        let share = memory / workers;
        let fetched = (share / 4).min(FETCHED);
        Self {
            fetched,
            buffered: share - fetched,
        }
    }
}

/// Decides, from what is buffered and on its way, which partitions are read.
#[derive(Debug)]
pub(crate) struct Throttle {
    limit: usize,
    /// The bound was reached and half of it has not been free again since.
    tight: bool,
    /// The partition that is read while memory is tight.
    focus: Option<i32>,
    /// Partitions that had nothing more to read while they were the focus.
    dry: Vec<i32>,
}

/// Which partitions are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    /// All of them.
    All,
    /// This one, so that it gets to the end of its file and frees memory.
    Only(i32),
    /// None: files on their way must be published first.
    None,
}

impl Throttle {
    /// A bound of `limit` bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            tight: false,
            focus: None,
            dry: Vec::new(),
        }
    }

    /// Which partitions to read, given the bytes that each buffers and those on their way into the data set.
    ///
    /// `idle`: nothing has been read for a while. The choice is kept until memory is half free again, because
    /// pausing a partition throws away what was fetched of it.
    pub(crate) fn flow(&mut self, buffers: &[(i32, usize)], under_way: usize, idle: bool) -> Flow {
        let used = under_way + buffers.iter().map(|(_, bytes)| bytes).sum::<usize>();
        if used <= self.limit / 2 || (!self.tight && used <= self.limit) {
            *self = Self::new(self.limit);
            return Flow::All;
        }
        self.tight = true;
        if under_way > self.limit / 2 {
            return Flow::None;
        }
        if let (Some(focus), true) = (self.focus, idle) {
            self.dry.push(focus);
        }
        let filling = |partition: &i32| {
            buffers
                .iter()
                .any(|(own, bytes)| own == partition && *bytes > 0)
        };
        self.focus = self
            .focus
            .filter(|focus| !idle && filling(focus))
            .or_else(|| {
                let wet = buffers
                    .iter()
                    .filter(|(partition, _)| !self.dry.contains(partition));
                wet.max_by_key(|(_, bytes)| *bytes)
                    .map(|(partition, _)| *partition)
            });
        match self.focus {
            Some(focus) => Flow::Only(focus),
            // All have run dry: reading them all costs nothing until one of them brings something.
            None => {
                self.dry.clear();
                Flow::All
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_make_up_the_memory() {
        for (memory, workers) in [(512 << 20, 4), (64 << 20, 1), (1 << 40, 3)] {
            let share = Share::of(memory, workers);
            let all = workers * (share.fetched + share.buffered);
            assert!(all <= memory && all > memory - workers, "{share:?}");
            assert!(share.fetched <= share.buffered / 3, "{share:?}");
        }
    }

    #[test]
    fn all_are_read_until_the_bound_and_again_when_half_is_free() {
        let mut throttle = Throttle::new(100);
        assert_eq!(throttle.flow(&[(0, 50), (1, 50)], 0, false), Flow::All);
        assert_eq!(throttle.flow(&[(0, 50), (1, 51)], 0, false), Flow::Only(1));
        assert_eq!(
            throttle.flow(&[(0, 60), (1, 51)], 0, false),
            Flow::Only(1),
            "the choice is kept"
        );
        assert_eq!(throttle.flow(&[(0, 60), (1, 0)], 51, false), Flow::None);
        assert_eq!(
            throttle.flow(&[(0, 60), (1, 0)], 10, false),
            Flow::Only(0),
            "the fullest after it"
        );
        assert_eq!(throttle.flow(&[(0, 50), (1, 0)], 0, false), Flow::All);
        assert_eq!(throttle.flow(&[(0, 50), (1, 40)], 0, false), Flow::All);
    }

    #[test]
    fn a_partition_without_records_does_not_hold_up_the_others() {
        let mut throttle = Throttle::new(100);
        let buffers = [(0, 70), (1, 40), (2, 0)];
        assert_eq!(throttle.flow(&buffers, 0, false), Flow::Only(0));
        assert_eq!(throttle.flow(&buffers, 0, true), Flow::Only(1));
        assert_eq!(throttle.flow(&buffers, 0, true), Flow::Only(2));
        assert_eq!(throttle.flow(&buffers, 0, true), Flow::All);
    }

    #[test]
    fn what_is_buffered_stays_bounded_and_every_partition_gets_on() {
        // A hundred partitions of 1,000 records of one byte, files of 90: far more than the bound of 500 in all.
        let mut throttle = Throttle::new(500);
        let mut left = vec![1000; 100];
        let mut buffers: Vec<(i32, usize)> = (0..100).map(|partition| (partition, 0)).collect();
        let mut most = 0;
        let mut idle = false;
        for _ in 0..10_000_000 {
            let flow = throttle.flow(&buffers, 0, idle);
            let mut read = false;
            for (partition, bytes) in &mut buffers {
                let wanted = flow == Flow::All || flow == Flow::Only(*partition);
                let left = &mut left[*partition as usize];
                if wanted && *left > 0 {
                    *left -= 1;
                    *bytes = if *bytes + 1 == 90 || *left == 0 {
                        0
                    } else {
                        *bytes + 1
                    };
                    read = true;
                }
            }
            idle = !read;
            most = most.max(buffers.iter().map(|(_, bytes)| bytes).sum());
            if left.iter().all(|left| *left == 0) {
                break;
            }
        }
        assert!(left.iter().all(|left| *left == 0), "{left:?}");
        assert!(most <= 500 + 100 + 90, "{most}");
    }
}
