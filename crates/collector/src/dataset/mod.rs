//! The data set on disk: what its files are called, what they say of themselves, and how they are written, read,
//! resumed from and checked.

pub(crate) mod begin;
pub(crate) mod catalog;
pub(crate) mod footer;
pub mod inspect;
pub(crate) mod names;
pub(crate) mod reader;
pub mod rejects;
pub(crate) mod resume;
pub(crate) mod seal;
pub(crate) mod start;
pub(crate) mod starts;
pub(crate) mod store;
pub(crate) mod topic;
pub mod verify;

pub use footer::Footer;
pub use store::Location;
