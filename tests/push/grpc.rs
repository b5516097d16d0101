//! A receiver of gRPC that answers as it is told, and keeps what it was sent. On h2 itself, so that it can also answer wrongly.

use crate::support::PATIENCE;
use bytes::Bytes;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use h2::Reason;
use h2::SendStream;
use h2::server::SendResponse;
use http::HeaderMap;
use http::HeaderName;
use http::HeaderValue;
use http::Request;
use http::Response;
use http::request::Parts;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::Read;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::thread;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// One call as it came.
#[derive(Debug)]
pub struct Call {
    pub head: Parts,
    pub frame: Vec<u8>,
    /// Which connection it came by, from 0.
    pub connection: usize,
}

impl Call {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The message of the frame.
    pub fn message(&self) -> Vec<u8> {
        let (prefix, rest) = self.frame.split_at(5);
        assert_eq!(u32::from_be_bytes(prefix[1..].try_into().unwrap()) as usize, rest.len());
        if prefix[0] == 0 {
            assert_eq!(self.header("grpc-encoding"), None);
            return rest.to_vec();
        }
        assert_eq!(prefix[0], 1);
        let mut plain = Vec::new();
        match self.header("grpc-encoding") {
            Some("gzip") => GzDecoder::new(rest).read_to_end(&mut plain).unwrap(),
            Some("zstd") => {
                ruzstd::decoding::StreamingDecoder::new(rest).unwrap().read_to_end(&mut plain).unwrap()
            }
            other => panic!("{other:?}"),
        };
        plain
    }
}

/// Headers, or trailers.
pub type Pairs = Vec<(&'static str, String)>;

/// What comes back for a call.
#[derive(Clone, Debug)]
pub enum Reply {
    /// A head, and nothing else.
    Head(u16, Pairs),
    /// A head, bytes of the body, and trailers.
    Whole { status: u16, headers: Pairs, body: Vec<u8>, trailers: Pairs },
    /// A head, bytes of the body, and its end without trailers.
    Unended(Vec<u8>),
    /// A head, and then the stream is reset.
    Reset(Reason),
    /// The connection is closed by a last frame, before this call was begun with.
    GoAway,
    /// The connection is closed without a word.
    Close,
    /// Nothing, for as long as the client waits.
    Hang,
    /// A body without end.
    Endless,
}

/// The end of a call, in trailers.
pub fn ended(status: &str, message: &[u8]) -> Reply {
    Reply::Whole {
        status: 200,
        headers: grpc(),
        body: frame(message),
        trailers: vec![("grpc-status", status.into())],
    }
}

/// The head of every answer.
pub fn grpc() -> Pairs {
    vec![("content-type", "application/grpc".into())]
}

pub fn frame(message: &[u8]) -> Vec<u8> {
    [&[0][..], &(message.len() as u32).to_be_bytes(), message].concat()
}

pub fn gzip_frame(message: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(message).unwrap();
    let mut bytes = frame(&encoder.finish().unwrap());
    bytes[0] = 1;
    bytes
}

/// With a window of so many bits.
#[cfg(feature = "zstd")]
pub fn zstd_frame(message: &[u8], window: u32) -> Vec<u8> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(window).unwrap();
    encoder.include_contentsize(false).unwrap();
    encoder.write_all(message).unwrap();
    let mut bytes = frame(&encoder.finish().unwrap());
    bytes[0] = 1;
    bytes
}

/// `Clone` gives the same receiver.
#[derive(Clone)]
pub struct Receiver {
    pub address: SocketAddr,
    shared: Arc<(Mutex<State>, Condvar)>,
}

#[derive(Default)]
struct State {
    calls: Vec<Call>,
    replies: VecDeque<Reply>,
    connections: usize,
    open: usize,
    endless: usize,
}

/// How a connection is ended.
enum End {
    GoAway,
    Close,
}

impl Receiver {
    /// Listens on a port of the system's choice until the process ends. Without a script every call is taken.
    pub fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let receiver = Self { address: listener.local_addr().unwrap(), shared: Arc::default() };
        let accepting = receiver.clone();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).unwrap();
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(accepting.clone().serve(stream));
                }
            });
        });
        receiver
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn reply(&self, replies: impl IntoIterator<Item = Reply>) {
        self.shared.0.lock().unwrap().replies.extend(replies);
    }

    /// What came so far; it is forgotten.
    pub fn take(&self) -> Vec<Call> {
        std::mem::take(&mut self.shared.0.lock().unwrap().calls)
    }

    /// Waits until so many calls have come, and takes them.
    #[track_caller]
    pub fn wait_for(&self, count: usize) -> Vec<Call> {
        let state = self.shared.0.lock().unwrap();
        let came = |state: &mut State| state.calls.len() < count;
        let (mut state, timeout) = self.shared.1.wait_timeout_while(state, PATIENCE, came).unwrap();
        assert!(!timeout.timed_out(), "{} of {count} calls came", state.calls.len());
        std::mem::take(&mut state.calls)
    }

    /// How many bytes of endless answers were taken.
    pub fn endless(&self) -> usize {
        self.shared.0.lock().unwrap().endless
    }

    /// How many connections there are.
    pub fn open(&self) -> usize {
        self.shared.0.lock().unwrap().open
    }

    async fn serve(self, stream: TcpStream) {
        let number = {
            let mut state = self.shared.0.lock().unwrap();
            state.open += 1;
            state.connections += 1;
            state.connections - 1
        };
        let _ = self.clone().speak(number, stream).await;
        self.shared.0.lock().unwrap().open -= 1;
    }

    async fn speak(self, number: usize, stream: TcpStream) -> Option<()> {
        let mut connection = h2::server::handshake(stream).await.ok()?;
        let (sender, mut ends) = mpsc::unbounded_channel();
        loop {
            tokio::select! {
                accepted = connection.accept() => {
                    let (request, respond) = accepted?.ok()?;
                    tokio::spawn(self.clone().answer(number, request, respond, sender.clone()));
                }
                Some(end) = ends.recv() => match end {
                    End::Close => return None,
                    // It says which call was the last one that was begun with, and takes no other.
                    End::GoAway => connection.graceful_shutdown(),
                },
            }
        }
    }

    async fn answer(
        self,
        connection: usize,
        request: Request<h2::RecvStream>,
        mut respond: SendResponse<Bytes>,
        ends: mpsc::UnboundedSender<End>,
    ) -> Option<()> {
        let (head, mut body) = request.into_parts();
        let mut frame = Vec::new();
        while let Some(data) = body.data().await {
            let data = data.ok()?;
            body.flow_control().release_capacity(data.len()).ok()?;
            frame.extend_from_slice(&data);
        }
        let reply = {
            let mut state = self.shared.0.lock().unwrap();
            state.calls.push(Call { head, frame, connection });
            self.shared.1.notify_all();
            state.replies.pop_front().unwrap_or_else(|| ended("0", b""))
        };
        match reply {
            Reply::Head(status, headers) => {
                drop(respond.send_response(head_of(status, &headers), true).ok()?)
            }
            Reply::Whole { status, headers, body, trailers } => {
                let mut stream = respond.send_response(head_of(status, &headers), false).ok()?;
                stream.send_data(body.into(), false).ok()?;
                stream.send_trailers(map(&trailers)).ok()?;
            }
            Reply::Unended(body) => {
                let mut stream = respond.send_response(head_of(200, &grpc()), false).ok()?;
                stream.send_data(body.into(), true).ok()?;
            }
            Reply::Reset(reason) => {
                let mut stream = respond.send_response(head_of(200, &grpc()), false).ok()?;
                stream.send_reset(reason);
            }
            Reply::GoAway => {
                respond.send_reset(Reason::REFUSED_STREAM);
                ends.send(End::GoAway).ok()?;
            }
            Reply::Close => ends.send(End::Close).ok()?,
            Reply::Hang => drop(poll_fn(|context| respond.poll_reset(context)).await),
            Reply::Endless => {
                let stream = respond.send_response(head_of(200, &grpc()), false).ok()?;
                self.pour(stream).await?;
            }
        }
        Some(())
    }

    async fn pour(&self, mut stream: SendStream<Bytes>) -> Option<()> {
        loop {
            stream.reserve_capacity(16_384);
            let free = poll_fn(|context| stream.poll_capacity(context)).await?.ok()?;
            stream.send_data(vec![b'x'; free].into(), false).ok()?;
            self.shared.0.lock().unwrap().endless += free;
        }
    }
}

fn head_of(status: u16, headers: &Pairs) -> Response<()> {
    let mut response = Response::builder().status(status).body(()).unwrap();
    *response.headers_mut() = map(headers);
    response
}

fn map(pairs: &Pairs) -> HeaderMap {
    let pair = |(name, value): &(&'static str, String)| {
        (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
    };
    pairs.iter().map(pair).collect()
}
