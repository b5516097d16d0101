//! One HTTP/2 connection that is kept, and requests over it, one at a time.

use crate::export::exporter::ExportError;
use crate::export::push::client::measured;
use crate::export::push::client::pause;
use crate::export::push::client::too_long;
use crate::export::push::route::Route;
use crate::export::push::target::Target;
use crate::export::push::way::Spoken;
use crate::export::push::way::Way;
use crate::model::error::Error;
use crate::model::limits;
use bytes::Bytes;
use h2::Reason;
use h2::RecvStream;
use h2::SendStream;
use h2::client::SendRequest;
use http::HeaderMap;
use http::HeaderName;
use http::HeaderValue;
use http::Request;
use http::Response;
use http::StatusCode;
use http::header;
use std::future::Future;
use std::future::poll_fn;
use std::pin::pin;
use std::time::Duration;
use std::time::SystemTime;
use tokio::task::AbortHandle;

/// A client of one server, by HTTP/2 without asking (over TLS by ALPN). It follows no redirect, and takes no address from an answer.
#[derive(Debug)]
pub(crate) struct Http2 {
    way: Way,
    connection: Option<Connection>,
}

/// What a server answered.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    /// The pause that the server asks for in its head.
    pub(crate) retry_after: Option<Duration>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: HeaderMap,
}

/// It ends with its handle, even if the other side takes nothing any more.
#[derive(Debug)]
struct Connection {
    sender: SendRequest<Bytes>,
    task: AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A request without an answer.
struct Lost {
    /// Whether the server has not begun with it, as when it had closed the connection before.
    before: bool,
    error: ExportError,
}

impl From<ExportError> for Lost {
    fn from(error: ExportError) -> Self {
        Self { before: false, error }
    }
}

impl Http2 {
    /// Reads certificates and variables of the environment, as far as the route leaves it to them.
    pub(crate) fn new(target: Target, route: &Route) -> Result<Self, Error> {
        Ok(Self { way: Way::new(target, route, Spoken::Http2)?, connection: None })
    }

    /// Posts a body, and reads the whole answer. Dropping the future gives the connection up, and with it whatever was under way.
    pub(crate) async fn post(
        &mut self,
        path: &str,
        headers: &[(HeaderName, HeaderValue)],
        body: Bytes,
    ) -> Result<Reply, ExportError> {
        measured(&body)?;
        let request = self.request(path, headers)?;
        // A server may close a connection that is kept just when it is used again: that is not worth a failure.
        if let Some(kept) = self.connection.take() {
            match self.exchange(kept, request.clone(), body.clone()).await {
                Err(Lost { before: true, .. }) => {}
                ended => return ended.map_err(|lost| lost.error),
            }
        }
        let fresh = self.connect().await?;
        self.exchange(fresh, request, body).await.map_err(|lost| lost.error)
    }

    /// Closes the connection.
    pub(crate) fn close(&mut self) {
        self.connection = None;
    }

    fn request(&self, path: &str, headers: &[(HeaderName, HeaderValue)]) -> Result<Request<()>, ExportError> {
        let target = &self.way.target;
        let scheme = if target.tls { "https" } else { "http" };
        let mut request = Request::post(format!("{scheme}://{}{path}", target.authority()))
            .body(())
            .map_err(|cause| ExportError::fatal("there is no such path").with_source(cause))?;
        request.headers_mut().clone_from(&target.headers);
        // It is in `:authority`.
        request.headers_mut().remove(header::HOST);
        request.headers_mut().extend(headers.iter().cloned());
        Ok(request)
    }

    async fn connect(&self) -> Result<Connection, ExportError> {
        let stream = self.way.connect().await?;
        let mut builder = h2::client::Builder::new();
        builder.enable_push(false).max_header_list_size(HEAD_BYTES);
        let (sender, connection) = builder.handshake(stream).await.map_err(|cause| self.lost(cause).error)?;
        // How it ended is told to the streams.
        let task = tokio::spawn(async { drop(connection.await) }).abort_handle();
        Ok(Connection { sender, task })
    }

    async fn exchange(
        &mut self,
        mut connection: Connection,
        request: Request<()>,
        body: Bytes,
    ) -> Result<Reply, Lost> {
        let (response, mut stream) = {
            let never_begun = |cause| Lost { before: true, ..self.lost(cause) };
            poll_fn(|context| connection.sender.poll_ready(context)).await.map_err(never_begun)?;
            connection.sender.send_request(request, false).map_err(never_begun)?
        };
        let mut response = pin!(response);
        // A server may answer before it has read everything, and then reads no more.
        let mut sending = Some(Box::pin(send(&mut stream, body)));
        let response = poll_fn(|context| {
            if let Some(under_way) = &mut sending {
                if under_way.as_mut().poll(context).is_ready() {
                    sending = None;
                }
            }
            response.as_mut().poll(context)
        });
        let response = response.await.map_err(|cause| self.lost(cause))?;
        let reply = self.whole(response).await?;
        self.connection = Some(connection);
        Ok(reply)
    }

    /// The answer with all of its body, if it is not too much.
    async fn whole(&self, response: Response<RecvStream>) -> Result<Reply, Lost> {
        let (head, mut body) = response.into_parts();
        let mut read = Vec::new();
        while let Some(data) = body.data().await {
            let data = data.map_err(|cause| self.lost(cause))?;
            if read.len() + data.len() > limits::MAX_ANSWER_BYTES {
                return Err(too_long().into());
            }
            read.extend_from_slice(&data);
            body.flow_control().release_capacity(data.len()).map_err(|cause| self.lost(cause))?;
        }
        let trailers = body.trailers().await.map_err(|cause| self.lost(cause))?.unwrap_or_default();
        let retry_after = head.headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
        Ok(Reply {
            status: head.status,
            retry_after: retry_after.and_then(|value| pause(value, SystemTime::now())),
            headers: head.headers,
            body: read.into(),
            trailers,
        })
    }

    /// What it means that there is no answer, by gRPC's table of HTTP/2's reasons
    /// (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#errors>) and OTLP's of gRPC's codes.
    fn lost(&self, cause: h2::Error) -> Lost {
        let way = &self.way;
        if let Some(io) = cause.get_io() {
            return way.broken(io).with_source(cause).into();
        }
        let (before, retryable, told) = if cause.is_library() {
            // They are not HTTP/2's frames that come.
            let advice = "push to its port for gRPC, or by HTTP";
            (false, false, format!("what listens at {way} speaks no HTTP/2: {cause}; {advice}"))
        } else if cause.is_go_away() {
            (true, true, format!("the receiver closed the connection to {way}: {cause}"))
        } else if cause.is_reset() {
            let before = cause.reason() == Some(Reason::REFUSED_STREAM);
            let retryable = before || cause.reason() == Some(Reason::CANCEL);
            (before, retryable, format!("the receiver at {way} broke the request off: {cause}"))
        } else {
            (false, true, format!("the connection to {way} broke: {cause}"))
        };
        let error = if retryable { ExportError::retryable(told) } else { ExportError::fatal(told) };
        Lost { before, error: error.with_source(cause) }
    }
}

/// Bytes of the head of an answer, and of its end; more is none.
const HEAD_BYTES: u32 = 64 * 1024;

/// Sends a body as the other side makes room for it. Why that ended too soon is told where the answer is waited for.
async fn send(stream: &mut SendStream<Bytes>, mut body: Bytes) {
    while !body.is_empty() {
        stream.reserve_capacity(body.len());
        let Some(Ok(room)) = poll_fn(|context| stream.poll_capacity(context)).await else { return };
        let part = body.split_to(room.min(body.len()));
        if stream.send_data(part, body.is_empty()).is_err() {
            return;
        }
    }
}
