//! Requests to a collector by either protocol, and what its answers mean.

use crate::export::compression;
use crate::export::exporter::ExportError;
use crate::export::otlp::exporter::Compression;
#[cfg(feature = "otlp-grpc")]
use crate::export::otlp::grpc;
use crate::export::push::Answer;
use crate::export::push::Client;
#[cfg(feature = "otlp-grpc")]
use crate::export::push::Http2;
use crate::export::push::Message;
use crate::export::push::said;
use crate::export::wire::Field;
use crate::export::wire::fields;
use bytes::Bytes;
use http::HeaderValue;
use http::Method;
use http::StatusCode;
use http::header;
use std::time::Duration;

/// A connection to a collector.
#[derive(Debug)]
pub(super) enum Link {
    Http(Client),
    #[cfg(feature = "otlp-grpc")]
    Grpc(Http2),
}

impl Link {
    /// Sends one request, and says what of it was not taken. The receiver is told how long is waited for it, where it can be.
    pub(super) async fn send(
        &mut self,
        body: Vec<u8>,
        compression: Compression,
        within: Duration,
    ) -> Result<Rejected, ExportError> {
        let _ = within;
        match self {
            Self::Http(client) => judge(&client.send(message(body, compression)?).await?),
            #[cfg(feature = "otlp-grpc")]
            Self::Grpc(connection) => grpc::call(connection, &body, compression, within).await,
        }
    }

    pub(super) fn close(&mut self) {
        match self {
            Self::Http(client) => client.close(),
            #[cfg(feature = "otlp-grpc")]
            Self::Grpc(connection) => connection.close(),
        }
    }
}

fn message(body: Vec<u8>, compression: Compression) -> Result<Message, ExportError> {
    let mut headers = vec![(header::CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"))];
    let body = match compression.name() {
        None => body,
        Some(coding) => {
            headers.push((header::CONTENT_ENCODING, HeaderValue::from_static(coding)));
            compression.pack(Vec::new(), &body)?
        }
    };
    Ok(Message { method: Method::POST, path: None, headers, body: Bytes::from(body) })
}

impl Compression {
    /// Its name in headers; `None` where there is none.
    pub(super) const fn name(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Gzip => Some("gzip"),
            #[cfg(feature = "zstd")]
            Self::Zstd => Some("zstd"),
        }
    }

    /// A body, compressed, behind what is there already.
    pub(super) fn pack(self, mut before: Vec<u8>, body: &[u8]) -> Result<Vec<u8>, ExportError> {
        let packed = match self {
            Self::None => {
                before.extend_from_slice(body);
                Ok(before)
            }
            Self::Gzip => compression::gzip(before, body),
            #[cfg(feature = "zstd")]
            Self::Zstd => compression::zstd(before, body),
        };
        packed.map_err(|cause| ExportError::fatal("the request cannot be compressed").with_source(cause))
    }
}

/// Data points that were not taken.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Rejected {
    points: u64,
    why: String,
}

impl Rejected {
    pub(super) fn add(&mut self, other: Self) {
        self.points = self.points.saturating_add(other.points);
        if self.why.is_empty() {
            self.why = other.why;
        }
    }

    pub(super) fn into_result(self, sent: u64) -> Result<(), ExportError> {
        let Self { points, why } = self;
        match points {
            0 => Ok(()),
            _ => Err(ExportError::fatal(format!(
                "the receiver rejected {points} of {sent} data points: {why}"
            ))),
        }
    }
}

/// What an answer means (<https://opentelemetry.io/docs/specs/otlp/#otlphttp-response>).
fn judge(answer: &Answer) -> Result<Rejected, ExportError> {
    let status = answer.status;
    if status.is_success() {
        // An answer in another format, or a broken one, was a success all the same: nothing is sent twice for it.
        return Ok(if is_protobuf(answer) {
            rejected(&answer.body).unwrap_or_default()
        } else {
            Rejected::default()
        });
    }
    let retryable = [
        StatusCode::TOO_MANY_REQUESTS,
        StatusCode::BAD_GATEWAY,
        StatusCode::SERVICE_UNAVAILABLE,
        StatusCode::GATEWAY_TIMEOUT,
    ];
    Err(answer.failure("the receiver", retryable.contains(&status)))
}

fn is_protobuf(answer: &Answer) -> bool {
    answer.content_type.as_deref().is_none_or(|of| of.contains("protobuf"))
}

/// `ExportMetricsServiceResponse.partial_success`; nothing if it cannot be read.
pub(super) fn rejected(body: &[u8]) -> Option<Rejected> {
    let mut found = Rejected::default();
    for field in fields(body) {
        let (1, Field::Bytes(partial)) = field.ok()? else { continue };
        for field in fields(partial) {
            match field.ok()? {
                (1, Field::Varint(points)) => found.points = points,
                (2, Field::Bytes(message)) => found.why = said(message),
                _ => {}
            }
        }
    }
    Some(found)
}

#[cfg(test)]
#[cfg(not(mvx_loom))]
mod tests {
    use super::*;

    #[test]
    fn a_partial_success_is_counted_and_a_broken_one_is_a_success() {
        let answer = |content_type: Option<&str>, body: &'static [u8]| Answer {
            status: StatusCode::OK,
            retry_after: None,
            content_type: content_type.map(str::to_owned),
            body: Bytes::from_static(body),
        };
        let partial = b"\x0a\x06\x08\x02\x12\x02no";
        let told = judge(&answer(Some("application/x-protobuf"), partial)).unwrap();
        assert_eq!(told, Rejected { points: 2, why: "no".to_owned() });
        assert!(told.into_result(5).unwrap_err().to_string().ends_with("rejected 2 of 5 data points: no"));
        for body in [&b""[..], b"\x0a\x06\x08", b"{}", b"\xff\xff\xff\xff"] {
            assert_eq!(judge(&answer(Some("application/x-protobuf"), body)).unwrap(), Rejected::default());
        }
        assert_eq!(judge(&answer(Some("application/json"), partial)).unwrap(), Rejected::default());
    }

    #[test]
    fn each_status_is_retried_or_not_as_the_specification_says() {
        for status in (100..600).filter_map(|code| StatusCode::from_u16(code).ok()) {
            let answer = Answer {
                status,
                retry_after: Some(Duration::from_secs(3)),
                content_type: None,
                body: Bytes::new(),
            };
            let judged = judge(&answer);
            if status.is_success() {
                assert!(judged.is_ok());
                continue;
            }
            let error = judged.unwrap_err();
            let expected = matches!(status.as_u16(), 429 | 502..=504);
            assert_eq!(error.is_retryable(), expected, "{status}");
            assert_eq!(error.retry_after(), expected.then_some(Duration::from_secs(3)), "{status}");
        }
    }
}
