//! Simulated customers, merchants and fraudsters, with the truth about every payment.
//!
//! [`Traffic`] generates the events, in event time and without I/O; [`Plan`] sets the pace of writing them.

mod agenda;
mod campaign;
mod command;
mod event;
mod plan;
mod population;
mod sink;
mod traffic;

pub use campaign::Kind;
pub use command::{Flags, command};
pub use event::{Event, LabeledEvent, Time, Transaction, UserEvent};
pub use plan::{Plan, Topics, Written, now_ms, run};
pub use sink::Sink;
pub use traffic::{Happening, Settings, Traffic};
