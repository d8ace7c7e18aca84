//! What a command says on standard output.

use std::io::{ErrorKind, Write as _, stdout};

/// Writes a report. A reader that has closed its end wants no more, and is no error.
///
/// Errors: standard output cannot be written, such as to a full disk.
pub fn tell(text: &str) -> std::io::Result<()> {
    match stdout()
        .write_all(text.as_bytes())
        .and_then(|()| stdout().flush())
    {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}
