//! The subcommands, beside collecting.

pub mod doctor;
pub mod infer;
pub mod rejects;
