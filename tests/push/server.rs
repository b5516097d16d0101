//! A receiver that answers as it is told, and keeps what it was sent. By hand on std's sockets, so that it can also answer wrongly.

#![allow(dead_code, reason = "each test of an exporter uses a part of it")]

use crate::support::PATIENCE;
use std::collections::VecDeque;
use std::io::Read;
use std::io::Write;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

/// One request as it came.
#[derive(Clone, Debug)]
pub struct Received {
    pub head: String,
    pub body: Vec<u8>,
    /// Which connection it came by, from 0.
    pub connection: usize,
    /// Whether it was answered as taken.
    pub taken: bool,
}

impl Received {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// What comes back for a request.
#[derive(Clone, Debug)]
pub enum Reply {
    /// These bytes, and the connection stays.
    Keep(Vec<u8>),
    /// These bytes, and the connection ends.
    Close(Vec<u8>),
    /// Nothing, for as long as the client waits.
    Hang,
    /// A head without length, and bytes without end.
    Endless,
}

/// A whole answer.
pub fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes =
        format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n", body.len()).into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

pub fn ok() -> Reply {
    Reply::Keep(answer("200 OK", "Content-Type: application/x-protobuf\r\n", b""))
}

/// `Clone` gives the same server.
#[derive(Clone)]
pub struct Server {
    pub address: SocketAddr,
    shared: Arc<(Mutex<State>, Condvar)>,
}

#[derive(Default)]
struct State {
    received: Vec<Received>,
    replies: VecDeque<Reply>,
    connections: usize,
    endless: usize,
}

impl Server {
    /// Listens on a port of the system's choice until the process ends. Without a script it answers 200.
    pub fn start() -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    pub fn on(listener: TcpListener) -> Self {
        let server = Self { address: listener.local_addr().unwrap(), shared: Arc::default() };
        let accepting = server.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let serving = accepting.clone();
                thread::spawn(move || serving.serve(stream));
            }
        });
        server
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn reply(&self, replies: impl IntoIterator<Item = Reply>) {
        self.shared.0.lock().unwrap().replies.extend(replies);
    }

    /// What came so far; it is forgotten.
    pub fn take(&self) -> Vec<Received> {
        std::mem::take(&mut self.shared.0.lock().unwrap().received)
    }

    /// How many bytes of endless answers were taken.
    pub fn endless(&self) -> usize {
        self.shared.0.lock().unwrap().endless
    }

    /// Waits until so many requests have come, and takes them.
    #[track_caller]
    pub fn wait_for(&self, count: usize) -> Vec<Received> {
        let state = self.shared.0.lock().unwrap();
        let came = |state: &mut State| state.received.len() < count;
        let (mut state, timeout) = self.shared.1.wait_timeout_while(state, PATIENCE, came).unwrap();
        assert!(!timeout.timed_out(), "{} of {count} requests came", state.received.len());
        std::mem::take(&mut state.received)
    }

    fn serve(&self, mut stream: TcpStream) -> Option<()> {
        let connection = {
            let mut state = self.shared.0.lock().unwrap();
            state.connections += 1;
            state.connections - 1
        };
        loop {
            let (head, body) = read_request(&mut stream)?;
            let reply = {
                let mut state = self.shared.0.lock().unwrap();
                let reply = state.replies.pop_front().unwrap_or_else(ok);
                let taken = matches!(&reply, Reply::Keep(bytes) if bytes.starts_with(b"HTTP/1.1 2"));
                state.received.push(Received { head, body, connection, taken });
                self.shared.1.notify_all();
                reply
            };
            match reply {
                Reply::Keep(bytes) => stream.write_all(&bytes).ok()?,
                Reply::Close(bytes) => return stream.write_all(&bytes).ok(),
                Reply::Hang => drop(stream.read(&mut [0]).ok()?),
                Reply::Endless => {
                    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").ok()?;
                    loop {
                        stream.write_all(&[b'x'; 65_536]).ok()?;
                        self.shared.0.lock().unwrap().endless += 65_536;
                    }
                }
            }
        }
    }
}

fn read_request(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    stream.set_read_timeout(Some(PATIENCE + Duration::from_secs(1))).ok()?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).ok()?;
    let length = head.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).ok()?;
    Some((head, body))
}
