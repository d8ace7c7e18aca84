//! Real executables as child processes with names of their own, for the end-to-end tests and the demo.

mod binaries;
mod link;
mod names;
mod program;
mod scene;
mod wait;

pub use binaries::Binaries;
pub use link::Link;
pub use names::Names;
pub use program::Program;
pub use scene::Scene;
pub use wait::until;
