//! Memory: how `--memory-mb` is divided, and which partitions go on being read when a worker's part of it runs short.

use crate::pipeline::batch::FILE_BYTES;

/// Bytes that a consumer fetches at a time, as they come from the broker: enough to keep it busy.
const FETCH: usize = 2 << 20;

/// Memory of the client for that: compressed batches grow, and it adds about 400 bytes to each record.
const CLIENT: usize = 16 << 20;

/// Memory of a worker for the beginnings of other files than the one that it fills.
const BEGINNINGS: usize = 8 << 20;

/// The parts of `--memory-mb`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Budget {
    /// Bytes that a worker's consumer fetches at a time.
    pub(crate) fetch: usize,
    /// Bytes of records that a worker may hold between the broker and the data set.
    pub(crate) buffered: usize,
    /// Files that are encoded at a time. The first takes as much again as its records, each of the others twice that, as
    /// measured with records of 1 MB.
    pub(crate) encoders: usize,
}

impl Budget {
    /// The least memory that so many workers get by with, in bytes: each has to hold a whole file, and one of those has
    /// to be encoded. `claim` is the largest object that a claim may name; 0 where none may.
    pub(crate) fn least(workers: usize, claim: usize) -> usize {
        let file = FILE_BYTES + claim;
        workers * (CLIENT + BEGINNINGS + file) + file
    }

    /// Bytes that so many encoders take beside the records of their files.
    fn encoding(encoders: usize, file: usize) -> usize {
        (2 * encoders - 1) * file
    }

    /// Divides `memory`, which is not less than the least, among workers; at most `cores` files are encoded at a time.
    pub(crate) fn of(memory: usize, workers: usize, claim: usize, cores: usize) -> Self {
        let file = FILE_BYTES + claim;
        let spare = memory.saturating_sub(Self::least(workers, claim));
        // Half of what is spare makes encoding faster, the other lets more records wait.
        let encoders = (1 + spare / 2 / (2 * file)).min(cores.max(1));
        let buffered = (memory - Self::encoding(encoders, file)) / workers - CLIENT;
        Self {
            fetch: FETCH,
            buffered,
            encoders,
        }
    }
}

/// The buffer of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Buffer {
    /// Its number.
    pub(crate) partition: i32,
    /// Bytes of memory.
    pub(crate) bytes: usize,
    /// Bytes that are likely to come until its file is full.
    pub(crate) left: usize,
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

/// The partitions that are read.
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

    /// The bound, in bytes.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// The partitions to read, given the buffer of each and the bytes on their way into the data set.
    ///
    /// `idle`: nothing has been read for a while. The choice is kept until much is free again, because pausing a
    /// partition throws away what was fetched of it.
    pub(crate) fn flow(&mut self, buffers: &[Buffer], under_way: usize, idle: bool) -> Flow {
        let fullest = buffers.iter().max_by_key(|buffer| buffer.bytes);
        let focus = buffers.iter().find(|own| Some(own.partition) == self.focus);
        // Room that has to stay free: the file that is filled when memory is tight must get to its end.
        let need = focus.or(fullest).map_or(0, |buffer| buffer.left);
        let used = under_way + buffers.iter().map(|buffer| buffer.bytes).sum::<usize>();
        let room = self.limit.saturating_sub(need);
        if used <= room / 2 || (!self.tight && used <= room) {
            *self = Self::new(self.limit);
            return Flow::All;
        }
        self.tight = true;
        if used > room && under_way > 0 {
            return Flow::None;
        }
        if let (Some(focus), true) = (self.focus, idle) {
            self.dry.push(focus);
        }
        let is_filling = focus.is_some_and(|buffer| buffer.bytes > 0);
        self.focus = self.focus.filter(|_| !idle && is_filling).or_else(|| {
            let wet = buffers
                .iter()
                .filter(|buffer| !self.dry.contains(&buffer.partition));
            let next = wet.max_by_key(|buffer| buffer.bytes);
            next.map(|buffer| buffer.partition)
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
    fn budgets_make_up_the_memory_and_every_worker_can_hold_a_file() {
        for (claim, workers) in [(0, 1), (0, 2), (0, 4), (64 << 20, 3)] {
            let least = Budget::least(workers, claim);
            let file = FILE_BYTES + claim;
            for memory in [least, least + 1, 2 * least, 1 << 36] {
                let budget = Budget::of(memory, workers, claim, 4);
                let encoding = Budget::encoding(budget.encoders, file);
                let all = workers * (budget.buffered + CLIENT) + encoding;
                assert!(all <= memory && all > memory - workers, "{budget:?}");
                assert!(budget.buffered >= file + BEGINNINGS, "{budget:?}");
                assert!((1..=4).contains(&budget.encoders), "{budget:?}");
            }
            assert_eq!(Budget::of(least, workers, claim, 4).encoders, 1);
            assert_eq!(Budget::of(1 << 36, workers, claim, 4).encoders, 4);
        }
        assert_eq!(Budget::least(2, 0) >> 20, 240);
    }

    fn buffers(all: &[(i32, usize, usize)]) -> Vec<Buffer> {
        let buffers = all.iter().map(|(partition, bytes, left)| Buffer {
            partition: *partition,
            bytes: *bytes,
            left: *left,
        });
        buffers.collect()
    }

    #[test]
    fn all_are_read_while_the_fullest_can_be_filled_and_again_when_half_of_that_is_free() {
        let mut throttle = Throttle::new(100);
        let mut flow = |all: &[_], under_way| throttle.flow(&buffers(all), under_way, false);
        assert_eq!(flow(&[(0, 30, 20), (1, 50, 20)], 0), Flow::All);
        assert_eq!(flow(&[(0, 30, 20), (1, 51, 20)], 0), Flow::Only(1));
        assert_eq!(flow(&[(0, 60, 9), (1, 55, 16)], 0), Flow::Only(1), "kept");
        assert_eq!(flow(&[(0, 60, 9), (1, 0, 0)], 71), Flow::None);
        assert_eq!(flow(&[(0, 60, 9), (1, 0, 0)], 10), Flow::Only(0));
        assert_eq!(flow(&[(0, 46, 9), (1, 0, 0)], 0), Flow::Only(0));
        assert_eq!(flow(&[(0, 45, 9), (1, 0, 0)], 0), Flow::All);
        assert_eq!(flow(&[(0, 50, 9), (1, 40, 9)], 0), Flow::All);
    }

    #[test]
    fn a_partition_without_records_does_not_hold_up_the_others() {
        let mut throttle = Throttle::new(100);
        let all = buffers(&[(0, 70, 10), (1, 40, 10), (2, 0, 0)]);
        assert_eq!(throttle.flow(&all, 0, false), Flow::Only(0));
        assert_eq!(throttle.flow(&all, 0, true), Flow::Only(1));
        assert_eq!(throttle.flow(&all, 0, true), Flow::Only(2));
        assert_eq!(throttle.flow(&all, 0, true), Flow::All);
    }

    #[test]
    fn what_is_buffered_stays_bounded_and_every_partition_gets_on() {
        // A hundred partitions of 1,000 records of one byte, files of 90: far more than the bound of 500 in all.
        let mut throttle = Throttle::new(500);
        let mut left = vec![1000; 100];
        let mut all: Vec<Buffer> = buffers(&[]);
        all.extend((0..100).map(|partition| Buffer {
            partition,
            bytes: 0,
            left: 0,
        }));
        let mut most = 0;
        let mut idle = false;
        for _ in 0..10_000_000 {
            let flow = throttle.flow(&all, 0, idle);
            let mut read = false;
            for buffer in &mut all {
                let wanted = flow == Flow::All || flow == Flow::Only(buffer.partition);
                let left = &mut left[buffer.partition as usize];
                if wanted && *left > 0 {
                    *left -= 1;
                    buffer.bytes = match buffer.bytes + 1 {
                        90 => 0,
                        _ if *left == 0 => 0,
                        more => more,
                    };
                    buffer.left = 90 - buffer.bytes;
                    read = true;
                }
            }
            idle = !read;
            most = most.max(all.iter().map(|buffer| buffer.bytes).sum());
            if left.iter().all(|left| *left == 0) {
                break;
            }
        }
        assert!(left.iter().all(|left| *left == 0), "{left:?}");
        assert!(most <= 500 + 100, "{most}");
    }
}
