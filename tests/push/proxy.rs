//! A proxy that makes tunnels to one server, whatever host it is asked for, or answers as it is told.

use std::collections::VecDeque;
use std::io::Read;
use std::io::Write;
use std::net::Shutdown;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::Mutex;
use std::thread;

/// `Clone` gives the same proxy.
#[derive(Clone)]
pub struct Proxy {
    pub address: SocketAddr,
    shared: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    heads: Vec<String>,
    answers: VecDeque<String>,
}

impl Proxy {
    /// Until the process ends, on a port of the system's choice.
    pub fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Self { address: listener.local_addr().unwrap(), shared: Arc::default() };
        let accepting = proxy.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let serving = accepting.clone();
                thread::spawn(move || serving.serve(stream, server));
            }
        });
        proxy
    }

    /// Status lines of the next answers; without one it makes the tunnel.
    pub fn answer<'a>(&self, answers: impl IntoIterator<Item = &'a str>) {
        self.shared.lock().unwrap().answers.extend(answers.into_iter().map(str::to_owned));
    }

    /// The answers that were not used.
    pub fn forget(&self) {
        self.shared.lock().unwrap().answers.clear();
    }

    /// The heads that came so far; they are forgotten.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.lock().unwrap().heads)
    }

    fn serve(&self, mut client: TcpStream, server: SocketAddr) -> Option<()> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            client.read_exact(&mut byte).ok()?;
            head.push(byte[0]);
        }
        let status = {
            let mut state = self.shared.lock().unwrap();
            state.heads.push(String::from_utf8(head).ok()?);
            state.answers.pop_front().unwrap_or_else(|| "200 OK".to_owned())
        };
        if !status.starts_with("200") {
            let refusal =
                format!("HTTP/1.1 {status}\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n");
            return client.write_all(refusal.as_bytes()).ok();
        }
        let mut behind = TcpStream::connect(server).ok()?;
        client.write_all(format!("HTTP/1.1 {status}\r\n\r\n").as_bytes()).ok()?;
        let (mut from, mut to) = (client.try_clone().ok()?, behind.try_clone().ok()?);
        thread::spawn(move || {
            let _ = std::io::copy(&mut from, &mut to);
            to.shutdown(Shutdown::Write)
        });
        std::io::copy(&mut behind, &mut client).ok()?;
        client.shutdown(Shutdown::Write).ok()
    }
}
