//! The partitions that a user's state holds records of: in each, those before an offset.

use super::Home;

/// The next offset to apply, in the home and in every earlier home of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Homes {
    home: Home,
    next: i64,
    /// Earlier homes; records of theirs may be read again.
    others: Box<[(Home, i64)]>,
}

impl Homes {
    /// Nothing is applied yet.
    pub(super) fn new(home: Home) -> Self {
        Self::restore(home, i64::MIN, Vec::new())
    }

    pub(super) fn restore(home: Home, next: i64, others: Vec<(Home, i64)>) -> Self {
        let others = others.into();
        Self { home, next, others }
    }

    pub(super) fn home(&self) -> Home {
        self.home
    }

    /// The next offset to apply from the home.
    pub(super) fn next(&self) -> i64 {
        self.next
    }

    pub(super) fn others(&self) -> &[(Home, i64)] {
        &self.others
    }

    /// Changes the home, and keeps how far the state is in the earlier one.
    pub(super) fn adopt(&mut self, home: Home) {
        let next = self.of(home);
        let mut others = std::mem::take(&mut self.others).into_vec();
        others.retain(|(other, _)| other.partition != home.partition);
        if self.home.partition != home.partition {
            others.push((self.home, self.next));
        }
        *self = Self::restore(home, next, others);
    }

    /// Notes that the records of the home before `next` are applied.
    pub(super) fn reach(&mut self, next: i64) {
        self.next = self.next.max(next);
    }

    /// The next offset to apply from a partition; `i64::MIN` if none of its records is known to be applied.
    pub(super) fn of(&self, partition: Home) -> i64 {
        if partition == self.home {
            return self.next;
        }
        let others = self.others.iter();
        let next = others.filter_map(|(home, next)| (*home == partition).then_some(*next));
        next.max().unwrap_or(i64::MIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_home_keeps_how_far_it_is_until_it_is_built_anew() {
        let home = |partition, epoch| Home { partition, epoch };
        let mut homes = Homes::new(home(3, 1));
        assert_eq!(homes.of(home(3, 1)), i64::MIN);
        homes.reach(10);
        homes.reach(7);
        homes.adopt(home(4, 1));
        homes.reach(20);
        assert_eq!((homes.of(home(3, 1)), homes.of(home(4, 1))), (10, 20));
        homes.adopt(home(3, 1));
        assert_eq!((homes.next(), homes.of(home(4, 1))), (10, 20));
        homes.adopt(home(4, 2));
        assert_eq!((homes.next(), homes.others().len()), (i64::MIN, 1));
        assert_eq!(homes.of(home(3, 2)), i64::MIN, "of another building");
    }
}
