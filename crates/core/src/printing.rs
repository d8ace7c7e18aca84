//! What a command prints: reports on standard output, remarks on standard error. A closed pipe never ends it by a panic.

use crate::exit::Failure;
use std::io::{self, ErrorKind, Write as _, stderr, stdout};

/// Writes a text to standard output. A reader that has closed its end wants no more, and is no error.
///
/// # Errors
///
/// Standard output cannot be written, such as to a full disk: the process ends with 1.
pub fn tell(text: &str) -> anyhow::Result<()> {
    let mut out = stdout().lock();
    written(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

/// The outcome of a write to standard output, in which a closed pipe is no error.
pub(crate) fn written(outcome: io::Result<()>) -> anyhow::Result<()> {
    match outcome {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::unwritable(&error)),
        _ => Ok(()),
    }
}

/// Writes a text to standard error. Nobody can be told where that fails.
pub fn remark(text: &str) {
    drop(stderr().write_all(text.as_bytes()));
}

/// Writes a line with [`tell`](crate::printing::tell()): `println!` without its panic.
#[macro_export]
macro_rules! tell_line {
    ($($part:tt)*) => {
        $crate::printing::tell(&format!("{}\n", format_args!($($part)*)))
    };
}

/// Writes a line with [`remark`](crate::printing::remark()): `remark_line!` without its panic.
#[macro_export]
macro_rules! remark_line {
    ($($part:tt)*) => {
        $crate::printing::remark(&format!("{}\n", format_args!($($part)*)))
    };
}
