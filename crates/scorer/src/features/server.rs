//! A Redis that answers as a test tells it to.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use tidemill_core::redis_access::RedisAccess;

/// Answers every command as it is told to, nothing where that is empty.
#[derive(Clone, Default)]
pub(super) struct Server(Arc<Mutex<&'static str>>);

impl Server {
    /// Starts it; returns the way there.
    pub(super) fn listen(&self) -> RedisAccess {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("redis://{}", listener.local_addr().unwrap());
        let server = self.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, server) = (stream.unwrap(), server.clone());
                std::thread::spawn(move || {
                    let lines = BufReader::new(stream.try_clone().unwrap()).lines();
                    // Each command is an array.
                    let commands = lines.map_while(Result::ok);
                    for _ in commands.filter(|line| line.starts_with('*')) {
                        let answer = *server.0.lock().unwrap();
                        stream.write_all(answer.as_bytes()).unwrap();
                    }
                });
            }
        });
        RedisAccess {
            url: url.parse().unwrap(),
            authorities: None,
            identity: None,
        }
    }

    pub(super) fn answers(&self, answer: &'static str) {
        *self.0.lock().unwrap() = answer;
    }
}

pub(super) fn runtime() -> tokio::runtime::Runtime {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.enable_all().build().unwrap()
}
