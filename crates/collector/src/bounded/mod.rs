//! The parts that only a bounded run has: its preparation, the offsets to read, and the progress.

pub(crate) mod behind;
pub(crate) mod ends;
pub(crate) mod held_back;
pub(crate) mod prepare;
pub(crate) mod progress;
pub(crate) mod sample;
pub(crate) mod shares;
pub(crate) mod stretch;
