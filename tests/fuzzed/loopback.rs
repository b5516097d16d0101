//! A receiver of what is pushed by HTTP, on the loop and the thread of whoever pushes: nobody is waked, and a connection is kept.

use mvx_metrics::RuntimeSnapshot;
use mvx_metrics::export::Exporter;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;

pub struct Loopback {
    tokio: tokio::runtime::Runtime,
    address: SocketAddr,
    bodies: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Loopback {
    pub fn new() -> Self {
        let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a loop");
        let listener = tokio.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
        let address = listener.local_addr().expect("an address");
        let bodies = Arc::default();
        let kept = Arc::clone(&bodies);
        tokio.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&kept)));
            }
        });
        Self { tokio, address, bodies }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The bodies that an export sends.
    pub fn bodies(&self, exporter: &mut impl Exporter, snapshot: &RuntimeSnapshot) -> Vec<Vec<u8>> {
        let sent = self.tokio.block_on(exporter.export(snapshot, PATIENCE));
        sent.unwrap_or_else(|error| panic!("{error}"));
        std::mem::take(&mut self.bodies.lock().expect("no panic under it"))
    }
}

/// More than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// Takes every request of a connection.
async fn serve(mut stream: TcpStream, bodies: Arc<Mutex<Vec<Vec<u8>>>>) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(4_096);
    loop {
        let end = loop {
            if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        };
        let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.and_then(|length| length.parse().ok()).expect("a length");
        while buffer.len() < end + length {
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        }
        let rest = buffer.split_off(end + length);
        bodies.lock().expect("no panic under it").push(buffer.split_off(end));
        buffer = rest;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await?;
    }
}
