//! One connection, from its first byte to its last.

use crate::export::pages::replies;
use crate::http::server::Shared;
use crate::http::table::Admission;
use crate::model::limits;
use bytes::Bytes;
use http::HeaderValue;
use http::Request;
use http::Response;
use http::StatusCode;
use http::header;
use http::request::Parts;
use hyper::body::Body;
use hyper::body::Frame;
use hyper::body::Incoming;
use hyper::body::SizeHint;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::future::Future;
use std::future::poll_fn;
use std::io;
use std::io::IoSlice;
use std::pin::Pin;
use std::pin::pin;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::io::ReadBuf;
use tokio::net::TcpStream;
use tokio::time::Instant;

/// A connection's place in the table, given back when its task ends, however it does.
struct Seat {
    shared: Arc<Shared>,
    id: u64,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.shared.table.lock().leave(self.id);
    }
}

/// Attends to a connection until it is closed, has had its time, or is cut.
pub(super) async fn attend(shared: Arc<Shared>, id: u64, stream: TcpStream) {
    let seat = Arc::new(Seat { shared, id });
    #[cfg(feature = "rustls")]
    if let Some(tls) = &seat.shared.tls {
        let until = Instant::now() + seat.shared.allowed.head_time;
        match tokio::time::timeout_at(until, tls.accept(stream)).await {
            Ok(Ok(stream)) => converse(seat, stream).await,
            Ok(Err(_)) => seat.shared.table.lock().stats.malformed += 1,
            Err(_) => seat.shared.table.lock().cut(id),
        }
        return;
    }
    converse(seat, stream).await;
}

/// The same for a stream without a socket, on the loop of whoever fuzzes.
#[cfg(fuzzing)]
pub(super) async fn attend_without_socket(shared: Arc<Shared>, stream: impl AsyncRead + AsyncWrite + Unpin) {
    let (id, _) = shared.table.lock().enter(Instant::now());
    converse(Arc::new(Seat { shared, id }), stream).await;
}

/// Answers the requests that come over a stream.
async fn converse(seat: Arc<Seat>, stream: impl AsyncRead + AsyncWrite + Unpin) {
    let (shared, id) = (Arc::clone(&seat.shared), seat.id);
    let answering = Arc::clone(&seat);
    let service = service_fn(move |request: Request<Incoming>| {
        let seat = Arc::clone(&answering);
        // Here, and not when the answer is first worked at: the head is complete now.
        let admission = seat.shared.table.lock().begin(seat.id, Instant::now());
        async move {
            let (head, _body) = request.into_parts();
            let response = answer(&seat, admission, &head).await;
            Ok::<_, Infallible>(response.map(|bytes| Answer { bytes: Some(bytes), seat }))
        }
    });
    // Time is kept below, for every phase of the connection; hyper would take a kept connection for a slow head.
    let connection = http1::Builder::new()
        .header_read_timeout(None)
        .max_header_size(shared.allowed.head_bytes)
        .half_close(true)
        .serve_connection(TokioIo::new(Watched { stream, seat: Arc::clone(&seat) }), service);
    let mut connection = pin!(connection);
    let mut timer = pin!(tokio::time::sleep_until(Instant::now() + shared.allowed.head_time));
    let ended = poll_fn(|context| {
        if let Poll::Ready(ended) = connection.as_mut().poll(context) {
            return Poll::Ready(ended);
        }
        // Whatever changes the deadline happens in the poll above.
        let Some(deadline) = shared.table.lock().deadline(id) else { return Poll::Ready(Ok(())) };
        if timer.deadline() != deadline {
            timer.as_mut().reset(deadline);
        }
        if timer.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        shared.table.lock().cut(id);
        Poll::Ready(Ok(()))
    });
    if ended.await.is_err_and(|error| error.is_parse()) {
        shared.table.lock().stats.malformed += 1;
    }
}

/// The answer to one request.
async fn answer(seat: &Seat, admission: Admission, head: &Parts) -> Response<Bytes> {
    let mut response = match admission {
        Admission::Busy => closing(replies::busy("too many requests at once; ask again\n")),
        Admission::Answer => allowed(seat, head).await,
        Admission::Instead(slow) => {
            slow.abort();
            allowed(seat, head).await
        }
    };
    let mut table = seat.shared.table.lock();
    table.stats.refused += u64::from(response.status().is_client_error());
    table.stats.unauthorized += u64::from(response.status() == StatusCode::UNAUTHORIZED);
    table.stats.unavailable += u64::from(response.status().is_server_error());
    if table.is_ending() {
        drop(table);
        response = closing(response);
    }
    response
}

async fn allowed(seat: &Seat, head: &Parts) -> Response<Bytes> {
    let shared = &seat.shared;
    if has_body(head) {
        // It is not read, so nothing after it can be.
        return closing(replies::text(StatusCode::PAYLOAD_TOO_LARGE, "send no body\n"));
    }
    if !shared.access.allows(&head.headers) {
        let mut response = replies::text(StatusCode::UNAUTHORIZED, "the right token or password is needed\n");
        for challenge in shared.access.challenges() {
            response.headers_mut().append(header::WWW_AUTHENTICATE, challenge);
        }
        return response;
    }
    let path = head.uri.path();
    make_room(seat, path).await;
    let answer = shared.pages.answer(&head.method, path, &head.headers);
    let answer = tokio::time::timeout(limits::RENDER_PATIENCE, answer).await;
    answer.unwrap_or_else(|_| replies::busy("the page takes too long; ask again\n"))
}

/// Waits for a moment while there are too many renderings for one more, and cuts who reads slowly.
async fn make_room(seat: &Seat, path: &str) {
    if !matches!(path, "/metrics" | "/snapshot") {
        return;
    }
    let until = Instant::now() + limits::ROOM_PATIENCE;
    while seat.shared.pages.is_full() && Instant::now() < until {
        let slow = seat.shared.table.lock().slowest(seat.id, Instant::now());
        match slow {
            Some(slow) => {
                slow.abort();
                // Meanwhile the loop ends its task, and its rendering goes, unless others read it, too.
                tokio::task::yield_now().await;
            }
            None => tokio::time::sleep(limits::ROOM_LOOK).await,
        }
    }
}

fn has_body(head: &Parts) -> bool {
    let length = head.headers.get(header::CONTENT_LENGTH);
    length.is_some_and(|length| length.as_bytes() != b"0")
        || head.headers.contains_key(header::TRANSFER_ENCODING)
}

/// An answer after which the connection is closed.
fn closing(mut response: Response<Bytes>) -> Response<Bytes> {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// A body in one piece that says when hyper has taken it over, or thrown it away as it does for HEAD.
struct Answer {
    bytes: Option<Bytes>,
    seat: Arc<Seat>,
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.bytes.take().filter(|bytes| !bytes.is_empty()).map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.as_ref().is_none_or(Bytes::is_empty)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, Bytes::len) as u64)
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.seat.shared.table.lock().handed_over(self.seat.id, Instant::now());
    }
}

/// A stream that tells the table what comes and goes.
struct Watched<S> {
    stream: S,
    seat: Arc<Seat>,
}

impl<S> Watched<S> {
    fn note(&self, written: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(bytes @ 1..)) = written {
            self.seat.shared.table.lock().progressed(self.seat.id, *bytes, Instant::now());
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.seat.shared.table.lock().received(self.seat.id, Instant::now());
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.note(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.note(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper flushes when it has nothing left to write.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        if flushed.is_ready() {
            self.seat.shared.table.lock().written(self.seat.id, Instant::now());
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
