//! One HTTP connection that is kept, and requests over it.

use crate::export::exporter::ExportError;
use crate::export::push::target::Target;
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
use std::fmt;
use std::time::Duration;
use std::time::SystemTime;
use tokio::net::TcpStream;

/// A client of one server. It follows no redirect, and takes no address from an answer.
pub(crate) struct Client {
    target: Target,
    connection: Option<http1::SendRequest<Full<Bytes>>>,
}

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
    pub(crate) fn new(target: Target) -> Self {
        Self { target, connection: None }
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
        if message.body.len() > limits::MAX_PUSH_BYTES {
            let (size, most) = (message.body.len(), limits::MAX_PUSH_BYTES);
            return Err(ExportError::fatal(format!(
                "{size} bytes in one request are too many, {most} at most are sent"
            )));
        }
        let path = message.path.as_deref().unwrap_or(&self.target.path);
        let mut request = Request::builder()
            .method(&message.method)
            .uri(path)
            .body(Full::new(message.body.clone()))
            .map_err(|cause| ExportError::fatal("there is no such path").with_source(cause))?;
        request.headers_mut().clone_from(&self.target.headers);
        request.headers_mut().extend(message.headers.iter().cloned());
        Ok(request)
    }

    async fn connect(&self) -> Result<http1::SendRequest<Full<Bytes>>, ExportError> {
        let Target { host, port, .. } = &self.target;
        let failed = |cause: Box<dyn std::error::Error + Send + Sync>| {
            ExportError::retryable(format!("no connection to {host}:{port}: {cause}")).with_source(cause)
        };
        let stream =
            TcpStream::connect((host.as_str(), *port)).await.map_err(|cause| failed(cause.into()))?;
        // A request is one write, or large: nothing is gained by waiting for more.
        let _ = stream.set_nodelay(true);
        let (sender, connection) = http1::Builder::new()
            .max_headers(100)
            .max_buf_size(64 * 1024)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|cause| failed(cause.into()))?;
        // It ends with the sender, or with the loop that this exporter has for itself.
        tokio::spawn(connection);
        Ok(sender)
    }

    async fn exchange(
        &mut self,
        mut sender: http1::SendRequest<Full<Bytes>>,
        request: Request<Full<Bytes>>,
    ) -> Result<Answer, Lost> {
        let lost = |cause: hyper::Error| Lost {
            before: cause.is_canceled() || cause.is_closed() || cause.is_incomplete_message(),
            error: ExportError::retryable(format!(
                "the connection to {}:{} broke: {cause}",
                self.target.host, self.target.port
            ))
            .with_source(cause),
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

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("target", &self.target).finish_non_exhaustive()
    }
}

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
            let most = limits::MAX_ANSWER_BYTES;
            return Err(ExportError::fatal(format!(
                "the answer has more than {most} bytes, and was not read"
            )));
        }
        read.extend_from_slice(data);
    }
    Ok(read.into())
}

/// `Retry-After` in either form: seconds, or a date (RFC 9110, 10.2.3).
fn pause(value: &str, now: SystemTime) -> Option<Duration> {
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
