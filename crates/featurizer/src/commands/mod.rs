//! Commands other than the loop.

pub mod doctor;
pub mod explain;
pub mod rebuild;
