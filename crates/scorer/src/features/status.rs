//! The status of an input of the model, as the receipt states it.

/// The status of an input. Times are the transaction's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The value itself.
    Ok,
    /// A feature past the end of its validity; the value is used.
    Stale,
    /// A feature computed for a later time than the transaction's; the value is used.
    Ahead,
    /// The user has no feature hash; the manifest's default, else 0.
    Empty,
    /// Absent, too stale or not read in time; the manifest's default, else 0.
    Default,
}

impl Status {
    /// Every status.
    pub const ALL: [Status; 5] = [
        Status::Ok,
        Status::Stale,
        Status::Ahead,
        Status::Empty,
        Status::Default,
    ];

    /// Its stable name in receipts and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::Stale => "stale",
            Status::Ahead => "ahead",
            Status::Empty => "empty",
            Status::Default => "default",
        }
    }
}
