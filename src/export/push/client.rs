//! One HTTP connection that is kept, and requests over it.

use crate::export::exporter::ExportError;
use crate::export::push::route::Route;
use crate::export::push::target::Target;
use crate::export::push::way::Spoken;
use crate::export::push::way::Way;
use crate::model::error::Error;
use crate::model::limits;
use bytes::Bytes;
use http::HeaderValue;
use http::Method;
use http::Request;
use http::StatusCode;
use http::header;
use http_body_util::BodyExt;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::io;
use std::time::Duration;
use std::time::SystemTime;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;

/// A client of one server. It follows no redirect, and takes no address from an answer.
#[derive(Debug)]
pub(crate) struct Client {
    way: Way,
    connection: Option<Sender>,
}

type Sender = http1::SendRequest<Full<Bytes>>;

/// What a server answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// The pause that the server asks for.
    pub(crate) retry_after: Option<Duration>,
    #[cfg(feature = "otlp")]
    pub(crate) content_type: Option<String>,
    pub(crate) body: Bytes,
}

impl Answer {
    /// The failure that this is, from whom; the other side's pause comes with one that is worth another attempt.
    pub(crate) fn failure(&self, of: &str, retryable: bool) -> ExportError {
        let why = format!("{of} answered {}: {}", self.status, said(&self.body));
        match (retryable, self.retry_after) {
            (false, _) => ExportError::fatal(why),
            (true, None) => ExportError::retryable(why),
            (true, Some(pause)) => ExportError::retryable(why).after(pause),
        }
    }

    /// By the rule of Prometheus's receivers: 5xx and 429 are worth another attempt, nothing else is
    /// (<https://prometheus.io/docs/specs/prw/remote_write_spec/#retries-backoff>).
    #[cfg(any(feature = "remote-write", feature = "pushgateway"))]
    pub(crate) fn judge(&self, of: &str) -> Result<(), ExportError> {
        if self.status.is_success() {
            return Ok(());
        }
        let retryable = self.status.is_server_error() || self.status == StatusCode::TOO_MANY_REQUESTS;
        Err(self.failure(of, retryable))
    }
}

/// What is sent.
pub(crate) struct Message {
    pub(crate) method: Method,
    /// Besides the target's own.
    pub(crate) path: Option<String>,
    pub(crate) headers: Vec<(header::HeaderName, HeaderValue)>,
    pub(crate) body: Bytes,
}

impl Client {
    /// Reads certificates and variables of the environment, as far as the route leaves it to them.
    pub(crate) fn new(target: Target, route: &Route) -> Result<Self, Error> {
        Ok(Self { way: Way::new(target, route, Spoken::Http1)?, connection: None })
    }

    /// Sends a message, and reads the whole answer. Dropping the future gives the connection up, and with it whatever was under way.
    pub(crate) async fn send(&mut self, message: Message) -> Result<Answer, ExportError> {
        let request = self.request(&message)?;
        // A server may close a connection that is kept just when it is used again: that is not worth a failure.
        if let Some(kept) = self.connection.take().filter(http1::SendRequest::is_ready) {
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

    fn request(&self, message: &Message) -> Result<Request<Full<Bytes>>, ExportError> {
        let target = &self.way.target;
        measured(&message.body)?;
        let path = message.path.as_deref().unwrap_or(&target.path);
        // A proxy that reads the request has to know whose it is.
        let asked = self.way.asked();
        let uri = match asked {
            Some(_) => format!("http://{}{path}", target.authority()),
            None => path.to_owned(),
        };
        let mut request = Request::builder()
            .method(&message.method)
            .uri(uri)
            .body(Full::new(message.body.clone()))
            .map_err(|cause| ExportError::fatal("there is no such path").with_source(cause))?;
        request.headers_mut().clone_from(&target.headers);
        request.headers_mut().extend(message.headers.iter().cloned());
        if let Some(value) = asked.and_then(|proxy| proxy.authorization.clone()) {
            request.headers_mut().insert(header::PROXY_AUTHORIZATION, value);
        }
        Ok(request)
    }

    async fn connect(&self) -> Result<Sender, ExportError> {
        let stream = self.way.connect().await?;
        speak(stream).await.map_err(|cause| {
            ExportError::retryable(format!("no connection to {}: {cause}", self.way)).with_source(cause)
        })
    }

    async fn exchange(&mut self, mut sender: Sender, request: Request<Full<Bytes>>) -> Result<Answer, Lost> {
        let lost = |cause: hyper::Error| Lost {
            before: cause.is_canceled()
                || cause.is_closed()
                || cause.is_incomplete_message()
                || is_reset(&cause),
            error: self.way.broken(&cause).with_source(cause),
        };
        let response = sender.send_request(request).await.map_err(lost)?;
        let (head, body) = response.into_parts();
        let body = whole(body).await.map_err(|error| Lost { before: false, error })?;
        let text = |name| head.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let retry_after = text(header::RETRY_AFTER).and_then(|value| pause(value, SystemTime::now()));
        self.connection = Some(sender);
        Ok(Answer {
            status: head.status,
            retry_after,
            #[cfg(feature = "otlp")]
            content_type: text(header::CONTENT_TYPE).map(str::to_owned),
            body,
        })
    }
}

/// Whether the other side's machine has broken the connection off, as it does where a server closes one with a request unread.
fn is_reset(cause: &hyper::Error) -> bool {
    let cause = std::error::Error::source(cause).and_then(|source| source.downcast_ref::<io::Error>());
    let kinds = [io::ErrorKind::ConnectionReset, io::ErrorKind::ConnectionAborted, io::ErrorKind::BrokenPipe];
    cause.is_some_and(|cause| kinds.contains(&cause.kind()))
}

/// HTTP/1.1 over a stream, to whoever is at its end.
pub(super) async fn speak<S>(stream: S) -> hyper::Result<Sender>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let handshake =
        http1::Builder::new().max_headers(100).max_buf_size(HEAD_BYTES).handshake(TokioIo::new(stream));
    let (sender, connection) = handshake.await?;
    // It ends with the sender, or with the loop that this exporter has for itself.
    tokio::spawn(connection.with_upgrades());
    Ok(sender)
}

/// Whether a body may be sent.
pub(super) fn measured(body: &[u8]) -> Result<(), ExportError> {
    let (size, most) = (body.len(), limits::MAX_PUSH_BYTES);
    if size <= most {
        return Ok(());
    }
    Err(ExportError::fatal(format!("{size} bytes in one request are too many, {most} at most are sent")))
}

/// Bytes of an answer's head; more is none.
const HEAD_BYTES: usize = 64 * 1024;

/// A request without an answer.
struct Lost {
    /// Whether nothing of an answer had come, as when the server had closed the connection before.
    before: bool,
    error: ExportError,
}

/// The whole body, if it is not too much.
async fn whole(mut body: Incoming) -> Result<Bytes, ExportError> {
    let mut read = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|cause| {
            ExportError::retryable(format!("the answer ended in its middle: {cause}")).with_source(cause)
        })?;
        let Some(data) = frame.data_ref() else { continue };
        if read.len() + data.len() > limits::MAX_ANSWER_BYTES {
            return Err(too_long());
        }
        read.extend_from_slice(data);
    }
    Ok(read.into())
}

/// An answer beyond what is read.
pub(crate) fn too_long() -> ExportError {
    let most = limits::MAX_ANSWER_BYTES;
    ExportError::fatal(format!("the answer has more than {most} bytes, and was not read"))
}

/// `Retry-After` in either form: seconds, or a date (RFC 9110, 10.2.3).
pub(super) fn pause(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if value.bytes().all(|byte| byte.is_ascii_digit()) && !value.is_empty() {
        // More seconds than a number holds are very many.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let at = httpdate::parse_http_date(value).ok()?;
    Some(at.duration_since(now).unwrap_or_default())
}

/// What a server says of a failure, in a line: texts of others are shown as what they are.
pub(crate) fn said(body: &[u8]) -> String {
    const MOST: usize = 200;
    let text = String::from_utf8_lossy(&body[..body.len().min(MOST)]);
    text.trim().escape_debug().to_string()
}

#[cfg(test)]
#[cfg(not(mvx_loom))]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_pause_are_read_and_nonsense_is_none() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        let read = |value| pause(value, now);
        assert_eq!(read(" 120 "), Some(Duration::from_secs(120)));
        assert_eq!(read("Sun, 06 Nov 1994 08:50:37 GMT"), Some(Duration::from_secs(60)));
        assert_eq!(read("Sun, 06 Nov 1994 08:00:00 GMT"), Some(Duration::ZERO), "a time that is past");
        assert_eq!(read("99999999999999999999999"), Some(Duration::from_secs(u64::MAX)));
        for nonsense in ["", "-1", "1.5", "soon"] {
            assert_eq!(read(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn what_a_server_says_is_one_line_of_bounded_length() {
        assert_eq!(said(b" no\nroute \x1b[31m"), "no\\nroute \\u{1b}[31m");
        assert_eq!(said(&[b'x'; 10_000]).len(), 200);
        assert_eq!(said(&[0xff, b'a']), "\u{fffd}a");
    }
}
