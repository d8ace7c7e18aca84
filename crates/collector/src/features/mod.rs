//! Point-in-time features: what the featurizer would have served at the time of each record.

mod columns;
mod history;
mod known;
mod load;

pub(crate) use columns::{Columns, Unknown};
pub(crate) use history::History;
pub use history::Question;
pub(crate) use load::load;
