//! Standard output of commands.

use std::io::{ErrorKind, Write as _, stdout};

/// Writes a report. A closed pipe means that the reader wants no more, and is not an error.
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
