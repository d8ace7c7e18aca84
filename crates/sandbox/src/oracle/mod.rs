//! The expected outputs, recomputed from the log by code independent of the binaries.

mod features;
mod latency;
mod parquet;

pub use features::{Comparison, Expected, compare, histories};
pub use latency::{Latency, Waited, Watch};
pub use parquet::{DataSet, read_data_set};
