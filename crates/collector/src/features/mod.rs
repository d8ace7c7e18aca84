//! Point-in-time features: what the featurizer would have served at the time of each record.

mod history;
mod known;
mod load;

pub use history::Question;
pub(crate) use history::{Columns, History};
pub(crate) use load::load;
