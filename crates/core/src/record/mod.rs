//! Record contracts: decoding of values, and the reasons for rejecting records.

pub mod erasure;
mod fields;
mod reject;
pub mod resent;
mod shape;
pub mod timestamp;
pub mod user_event;

pub use fields::{Fields, Value};
pub use reject::{Reason, Reject};
pub use shape::{missing, no_object, text};
