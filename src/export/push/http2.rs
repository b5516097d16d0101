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
use http::HeaderMap;
use http::HeaderName;
use http::HeaderValue;
use http::Request;
use http::Response;
use http::StatusCode;
use http::header;
use http_body_util::BodyExt;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::TokioExecutor;
use hyper_util::rt::TokioIo;
use std::error::Error as StdError;
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
    sender: http2::SendRequest<Full<Bytes>>,
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
        let request = self.request(path, headers, body)?;
        // A server may close a connection that is kept just when it is used again: that is not worth a failure.
        if let Some(kept) = self.connection.take().filter(|kept| !kept.sender.is_closed()) {
            match self.exchange(kept, request.clone()).await {
                Err(Lost { before: true, .. }) => {}
                ended => return ended.map_err(|lost| lost.error),
            }
        }
        let fresh = self.connect().await?;
        self.exchange(fresh, request).await.map_err(|lost| lost.error)
    }

    /// Closes the connection.
    pub(crate) fn close(&mut self) {
        self.connection = None;
    }

    fn request(
        &self,
        path: &str,
        headers: &[(HeaderName, HeaderValue)],
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>, ExportError> {
        measured(&body)?;
        let target = &self.way.target;
        let scheme = if target.tls { "https" } else { "http" };
        let mut request = Request::post(format!("{scheme}://{}{path}", target.authority()))
            .body(Full::new(body))
            .map_err(|cause| ExportError::fatal("there is no such path").with_source(cause))?;
        request.headers_mut().clone_from(&target.headers);
        // It is in `:authority`.
        request.headers_mut().remove(header::HOST);
        request.headers_mut().extend(headers.iter().cloned());
        Ok(request)
    }

    async fn connect(&self) -> Result<Connection, ExportError> {
        let stream = self.way.connect().await?;
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .max_header_list_size(HEAD_BYTES)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|cause| self.lost(cause).error)?;
        let task = tokio::spawn(connection).abort_handle();
        Ok(Connection { sender, task })
    }

    async fn exchange(
        &mut self,
        mut connection: Connection,
        request: Request<Full<Bytes>>,
    ) -> Result<Reply, Lost> {
        connection.sender.ready().await.map_err(|cause| self.lost(cause))?;
        let response = connection.sender.send_request(request).await.map_err(|cause| self.lost(cause))?;
        let reply = self.whole(response).await?;
        self.connection = Some(connection);
        Ok(reply)
    }

    /// The answer with all of its body, if it is not too much.
    async fn whole(&self, response: Response<Incoming>) -> Result<Reply, Lost> {
        let (head, mut body) = response.into_parts();
        let (mut read, mut trailers) = (Vec::new(), HeaderMap::new());
        while let Some(frame) = body.frame().await {
            match frame.map_err(|cause| self.lost(cause))?.into_data() {
                Ok(data) if read.len() + data.len() > limits::MAX_ANSWER_BYTES => {
                    return Err(too_long().into());
                }
                Ok(data) => read.extend_from_slice(&data),
                Err(frame) => trailers = frame.into_trailers().unwrap_or_default(),
            }
        }
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
    fn lost(&self, cause: hyper::Error) -> Lost {
        let way = &self.way;
        let (before, retryable, told) = match of_h2(&cause) {
            // They are not HTTP/2's frames that come.
            Some(error) if error.is_library() => (
                false,
                false,
                format!(
                    "what listens at {way} speaks no HTTP/2: {error}; push to its port for gRPC, or by HTTP"
                ),
            ),
            // What was not begun with.
            Some(error) if error.is_go_away() => {
                (true, true, format!("the receiver closed the connection to {way}: {error}"))
            }
            Some(error) if error.is_reset() => {
                let reason = error.reason();
                let before = reason == Some(Reason::REFUSED_STREAM);
                let retryable = before || reason == Some(Reason::CANCEL);
                (before, retryable, format!("the receiver at {way} broke the request off: {error}"))
            }
            _ => (cause.is_canceled(), true, format!("the connection to {way} broke: {cause}")),
        };
        let error = if retryable { ExportError::retryable(told) } else { ExportError::fatal(told) };
        Lost { before, error: error.with_source(cause) }
    }
}

/// Bytes of the head of an answer, and of its end; more is none.
const HEAD_BYTES: u32 = 64 * 1024;

fn of_h2(cause: &hyper::Error) -> Option<&h2::Error> {
    let mut next = cause.source();
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}
