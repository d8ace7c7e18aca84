//! Feature definitions, and the windows they are evaluated over: the same online and point in time.
//!
//! Everything here is pure: a [`Window`] is a function of the records inserted into it, and an [`Evaluation`] of a
//! window and a time. In reading order:
//!
//! - [`Feature`]: what one entry of `features.toml` says, and `parse`, which reads the file.
//! - [`Definitions`]: the features together with the plan made from them: which fields an event must bring, how
//!   its record is laid out, what has to be summed up.
//! - [`Window`]: the state of one user: sorted records, one-minute tiles of what exceeds the exact part, and the
//!   newest values of features without a window. `codec` turns it into bytes and back.
//! - [`Evaluation`]: every feature's value at a time, and how long it stays right.
//! - [`number`]: values as decimal text.

mod codec;
mod conditions;
mod definition;
mod definitions;
mod entry;
mod evaluate;
pub mod number;
mod parse;
mod plan;
mod problems;
mod stats;
mod tile;
mod window;

#[cfg(test)]
mod brute_force;

pub use definition::{Aggregate, Feature, Filter, Scalar};
pub use definitions::Definitions;
pub use evaluate::{Evaluation, FeatureValue};
pub(crate) use plan::field;
pub use window::{Limits, Window};
