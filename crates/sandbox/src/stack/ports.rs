//! Free TCP ports on the loopback interface.

use std::net::TcpListener;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Result, bail};

/// Ports are below the range that systems use for outgoing connections, so that a server that is killed and restarted
/// finds its port free. Redis in cluster mode also listens on a port 10,000 higher, which has to be below that range
/// too.
const FIRST: u32 = 15_000;
const COUNT: u32 = 7_000;

static TRIED: AtomicU32 = AtomicU32::new(0);

/// A port on which nobody listens now; the start of the search depends on the process id, so that neighbours rarely
/// collide.
pub(crate) fn free() -> Result<u16> {
    let home = process::id().wrapping_mul(2_654_435_761) % COUNT;
    for _ in 0..COUNT {
        let step = TRIED.fetch_add(1, Ordering::Relaxed);
        let port = (FIRST + (home + step) % COUNT) as u16;
        if is_free(port) {
            return Ok(port);
        }
    }
    bail!("no free port between {FIRST} and {}", FIRST + COUNT)
}

/// `wanted` if nobody listens on it, else any free port.
pub(crate) fn free_or(wanted: u16) -> Result<u16> {
    if is_free(wanted) { Ok(wanted) } else { free() }
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok() && TcpListener::bind(("0.0.0.0", port)).is_ok()
}
