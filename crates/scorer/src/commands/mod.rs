//! Commands beside the loop, each one file.

pub mod check;
pub mod doctor;
pub mod replay;
pub mod reset;
