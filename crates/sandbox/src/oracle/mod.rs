//! What the outputs must be, computed again from the log by other code than that which wrote them.

mod features;
mod latency;
mod parquet;

pub use features::{Comparison, Expected, compare, histories};
pub use latency::{Latency, Watch};
pub use parquet::{DataSet, read_data_set};
