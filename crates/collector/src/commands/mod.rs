//! What the executable does beside collecting.

pub mod doctor;
pub mod infer;
