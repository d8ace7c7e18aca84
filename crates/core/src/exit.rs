//! Failures that end a process, with the exit codes that scripts and supervisors rely on.

use std::fmt;

/// The exit code that an error carries; an error without one ends the process with [`Code::Internal`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// 1: standard output cannot be written; reports with a finding end with it too.
    Unwritable = 1,
    /// 64: what the user wrote cannot be used.
    Usage = 64,
    /// 69: brokers or Redis did not answer within the connect timeout, or refuse.
    Unreachable = 69,
    /// 70: a fault of our own.
    Internal = 70,
}

/// An error that names the exit code of the process.
#[derive(Debug)]
pub struct Failure {
    code: Code,
    message: String,
}

impl Failure {
    /// The configuration cannot be used; `message` names the fault and the remedy.
    pub fn usage(message: impl Into<String>) -> anyhow::Error {
        Self::with(Code::Usage, message)
    }

    /// A server did not answer in time, or refuses; `message` names it and the remedy.
    pub fn unreachable(message: impl Into<String>) -> anyhow::Error {
        Self::with(Code::Unreachable, message)
    }

    /// Standard output cannot be written.
    pub fn unwritable(error: &std::io::Error) -> anyhow::Error {
        Self::with(
            Code::Unwritable,
            format!("standard output cannot be written: {error}"),
        )
    }

    fn with(code: Code, message: impl Into<String>) -> anyhow::Error {
        let message = message.into();
        Self { code, message }.into()
    }

    /// The exit code of an error.
    pub fn code(error: &anyhow::Error) -> Code {
        error
            .chain()
            .find_map(|cause| cause.downcast_ref::<Failure>())
            .map_or(Code::Internal, |failure| failure.code)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn the_code_survives_context() {
        let error = Err::<(), _>(Failure::usage("bad"))
            .context("outer")
            .unwrap_err();
        assert_eq!(Failure::code(&error), Code::Usage);
        assert_eq!(format!("{error:#}"), "outer: bad");
        assert_eq!(Failure::code(&anyhow::anyhow!("other")), Code::Internal);
    }
}
