//! Faults of the past that tests can bring back, to show that the schedule test finds them.

/// A fault of the past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Relapse {
    /// A partition is rebuilt without those it shares users with.
    RebuiltAlone,
    /// A blocked partition accepts the end of its log.
    WarmWhileBlocked,
    /// Erasures cover nothing in other partitions.
    ErasureForgotten,
    /// A rebuild leaves the unreadable window in Redis, so the next read of it causes another rebuild.
    RebuiltForever,
    /// Windows are built once, whatever erasures took meanwhile.
    BuiltOnce,
    /// The stored positions are not compared with those written last.
    MissedFence,
    /// A record is applied to a window that holds it already.
    AppliedTwice,
    /// A position moves before the windows below it are stored.
    PositionFirst,
    /// Users are evicted without storing what is new of them.
    EvictedUnsaved,
    /// Hashes are written while records are applied again that they show already.
    ShownAgain,
    /// Users whose hashes may lack the last batch are not visited once it is applied again.
    OwedForgotten,
    /// A new user is not stored at once, so that another worker takes it for new, too.
    NewUnsaved,
    /// Verdicts on records after the position are taken over: a copy that is read again does not count.
    VerdictsKept,
}

/// True if a test has brought a fault back.
#[cfg(not(test))]
#[inline(always)]
pub(crate) const fn relapsed(_: Relapse) -> bool {
    false
}

#[cfg(test)]
pub(crate) use in_tests::{relapse, relapsed};

#[cfg(test)]
mod in_tests {
    use super::Relapse;
    use std::cell::Cell;

    thread_local! {
        static PRESENT: Cell<Option<Relapse>> = const { Cell::new(None) };
    }

    /// Brings a fault back on this thread, or none.
    pub(crate) fn relapse(fault: Option<Relapse>) {
        PRESENT.set(fault);
    }

    /// True if a test has brought a fault back.
    pub(crate) fn relapsed(fault: Relapse) -> bool {
        PRESENT.get() == Some(fault)
    }
}
