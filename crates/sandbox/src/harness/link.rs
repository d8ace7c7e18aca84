//! A TCP link to a server that can be cut, and whose answers can be dropped, as networks do.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result};

/// Everything passes.
const OPEN: u8 = 0;
/// Requests pass, answers do not: a caller cannot know the outcome.
const DEAF: u8 = 1;
/// Connections are closed as soon as they are made.
const CUT: u8 = 2;

/// A port on the loopback interface that forwards to a server.
pub struct Link {
    port: u16,
    state: Arc<State>,
}

struct State {
    target: String,
    mode: AtomicU8,
    connections: Mutex<Vec<TcpStream>>,
}

impl Link {
    /// A link to `target`, host and port.
    pub fn to(target: &str) -> Result<Link> {
        let listener = TcpListener::bind("127.0.0.1:0").context("cannot open a port")?;
        let port = listener.local_addr()?.port();
        let state = Arc::new(State {
            target: target.to_owned(),
            mode: AtomicU8::new(OPEN),
            connections: Mutex::new(Vec::new()),
        });
        let shared = state.clone();
        // Ends with the process: a test has few links.
        thread::spawn(move || {
            for caller in listener.incoming().flatten() {
                // The caller sees a server that does not answer as a closed connection.
                let _refused = shared.connect(caller);
            }
        });
        Ok(Link { port, state })
    }

    /// The port to connect to instead of the server's.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Closes all connections, and each new one at once.
    pub fn cut(&self) {
        self.state.mode.store(CUT, Ordering::SeqCst);
        let mut connections = self.state.connections();
        for connection in connections.drain(..) {
            let _closed = connection.shutdown(Shutdown::Both);
        }
    }

    /// Forwards requests but drops answers, until [`Link::cut`] or [`Link::mend`].
    pub fn swallow_answers(&self) {
        self.state.mode.store(DEAF, Ordering::SeqCst);
    }

    /// Forwards everything again.
    pub fn mend(&self) {
        self.state.mode.store(OPEN, Ordering::SeqCst);
    }
}

impl State {
    fn connections(&self) -> std::sync::MutexGuard<'_, Vec<TcpStream>> {
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn connect(self: &Arc<State>, caller: TcpStream) -> std::io::Result<()> {
        let server = TcpStream::connect(&self.target)?;
        {
            let mut connections = self.connections();
            // Read under the lock: a cut either sees this connection or came before it.
            if self.mode.load(Ordering::SeqCst) == CUT {
                return Ok(());
            }
            connections.extend([caller.try_clone()?, server.try_clone()?]);
        }
        for stream in [&caller, &server] {
            stream.set_nodelay(true)?;
        }
        let (requests, answers) = ((caller.try_clone()?, server.try_clone()?), (server, caller));
        let state = self.clone();
        thread::spawn(move || pass(requests.0, requests.1, || true));
        thread::spawn(move || {
            pass(answers.0, answers.1, || {
                state.mode.load(Ordering::SeqCst) != DEAF
            });
        });
        Ok(())
    }
}

/// Forwards bytes until either side closes; drops those for which `may_pass` is false.
fn pass(mut from: TcpStream, mut to: TcpStream, may_pass: impl Fn() -> bool) {
    let mut buffer = [0; 16_384];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if may_pass() && to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    for stream in [from, to] {
        let _closed = stream.shutdown(Shutdown::Both);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that answers each byte with the same byte.
    fn echo() -> Result<String> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?.to_string();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let back = stream.try_clone().unwrap();
                thread::spawn(move || pass(stream, back, || true));
            }
        });
        Ok(address)
    }

    #[test]
    fn open_then_cut_then_mended() -> Result<()> {
        let link = Link::to(&echo()?)?;
        let ask = |stream: &mut TcpStream| -> std::io::Result<u8> {
            let mut answer = [0];
            stream.write_all(b"x")?;
            stream.read_exact(&mut answer)?;
            Ok(answer[0])
        };
        let mut stream = TcpStream::connect(("127.0.0.1", link.port()))?;
        assert_eq!(ask(&mut stream)?, b'x');
        link.cut();
        assert!(ask(&mut stream).is_err());
        let mut refused = TcpStream::connect(("127.0.0.1", link.port()))?;
        assert!(ask(&mut refused).is_err());
        link.mend();
        let mut again = TcpStream::connect(("127.0.0.1", link.port()))?;
        assert_eq!(ask(&mut again)?, b'x');
        Ok(())
    }
}
