//! The parts that only a bounded run has: the offsets to read, a sample of them for the schema, and the progress.

pub(crate) mod ends;
pub(crate) mod progress;
pub(crate) mod sample;
pub(crate) mod stretch;
