//! Feature definitions, and the windows they are evaluated over: the same code online and point in time.
//!
//! Everything here is pure: a [`Window`] is a function of the records inserted into it, and an [`Evaluation`] of a
//! window and a time. In reading order:
//!
//! - [`Feature`]: one entry of `features.toml`, and `parse`, which reads the file.
//! - [`Definitions`]: the features together with the plan made from them: the fields that an event must bring, the
//!   layout of its record, and the sums to keep.
//! - [`Window`]: the state of one user: sorted records, one-minute tiles for those beyond the exact part, and the
//!   newest values of features without a window. `codec` turns it into bytes and back.
//! - [`Kept`]: an event of a window, as people look at it.
//! - [`Evaluation`]: every feature's value at a time, and the time until which it stays right.
//! - [`number`]: values as decimal text.

mod codec;
mod conditions;
mod definition;
mod definitions;
mod entry;
mod evaluate;
mod kept;
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
pub use kept::Kept;
pub(crate) use plan::field;
pub use window::{Limits, Window};
