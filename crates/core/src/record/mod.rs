//! Record contracts: how values are decoded, and why a record is rejected.

mod fields;
mod reject;
pub mod resent;
pub mod timestamp;
pub mod user_event;

pub use fields::{Fields, Value};
pub use reject::{Reason, Reject};
