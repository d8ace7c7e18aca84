//! What a bounded run adds to a live one: which offsets it reads, a sample of them for the schema, and how far it is.

pub(crate) mod ends;
pub(crate) mod progress;
pub(crate) mod sample;
pub(crate) mod stretch;
