//! OTLP over gRPC: one unary call for each request (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>).

use crate::export::exporter::ExportError;
use crate::export::otlp::exporter::Compression;
use crate::export::otlp::link::Rejected;
use crate::export::otlp::link::rejected;
use crate::export::push::Http2;
use crate::export::push::Reply;
use crate::export::push::base64;
use crate::export::push::percent_decoded;
use crate::export::push::said;
use crate::export::push::too_long;
use crate::export::wire::Field;
use crate::export::wire::fields;
use crate::model::limits;
use bytes::Bytes;
use flate2::read::GzDecoder;
use http::HeaderMap;
use http::HeaderName;
use http::HeaderValue;
use http::StatusCode;
use http::header;
use std::borrow::Cow;
use std::io;
use std::io::Read;
use std::time::Duration;

const PATH: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";

const ENCODING: &str = "grpc-encoding";
const STATUS: &str = "grpc-status";

/// What an answer may be compressed by: some receivers do it as the request is, whatever is said here.
const ACCEPTED: &str = if cfg!(feature = "zstd") { "zstd,gzip" } else { "gzip" };

/// One call, for a request in protobuf.
pub(super) async fn call(
    connection: &mut Http2,
    body: &[u8],
    compression: Compression,
    within: Duration,
) -> Result<Rejected, ExportError> {
    let named = HeaderName::from_static;
    let said = HeaderValue::from_static;
    let mut headers = vec![
        (header::CONTENT_TYPE, said("application/grpc")),
        // Whoever passes it on has to pass on the end of the answer as well.
        (header::TE, said("trailers")),
        (named("grpc-accept-encoding"), said(ACCEPTED)),
        (named("grpc-timeout"), timeout(within)),
    ];
    if let Some(coding) = compression.name() {
        headers.push((named(ENCODING), said(coding)));
    }
    let reply = connection.post(PATH, &headers, framed(body, compression)?).await?;
    judge(&reply, compression)
}

/// A message behind whether it is compressed, and its length.
fn framed(message: &[u8], compression: Compression) -> Result<Bytes, ExportError> {
    let mut frame = compression.pack(vec![0; PREFIX], message)?;
    let length = u32::try_from(frame.len() - PREFIX)
        .map_err(|cause| ExportError::fatal("the request is too long").with_source(cause))?;
    frame[0] = u8::from(compression != Compression::None);
    frame[1..PREFIX].copy_from_slice(&length.to_be_bytes());
    Ok(frame.into())
}

const PREFIX: usize = 5;

/// `grpc-timeout`: eight digits at most, and a unit.
fn timeout(within: Duration) -> HeaderValue {
    const MOST: u128 = 99_999_999;
    let (millis, seconds) = (within.as_millis(), u128::from(within.as_secs()));
    let text = if millis <= MOST { format!("{millis}m") } else { format!("{}S", seconds.min(MOST)) };
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("99999999S"))
}

/// Whether a code is worth another attempt (<https://opentelemetry.io/docs/specs/otlp/#failures>).
#[derive(Clone, Copy, PartialEq)]
enum Again {
    Yes,
    No,
    /// If the receiver says when.
    IfTold,
}

/// By number: <https://github.com/grpc/grpc/blob/master/doc/statuscodes.md>.
const CODES: [(&str, Again); 17] = [
    ("OK", Again::No),
    ("CANCELLED", Again::Yes),
    ("UNKNOWN", Again::No),
    ("INVALID_ARGUMENT", Again::No),
    ("DEADLINE_EXCEEDED", Again::Yes),
    ("NOT_FOUND", Again::No),
    ("ALREADY_EXISTS", Again::No),
    ("PERMISSION_DENIED", Again::No),
    ("RESOURCE_EXHAUSTED", Again::IfTold),
    ("FAILED_PRECONDITION", Again::No),
    ("ABORTED", Again::Yes),
    ("OUT_OF_RANGE", Again::Yes),
    ("UNIMPLEMENTED", Again::No),
    ("INTERNAL", Again::No),
    ("UNAVAILABLE", Again::Yes),
    ("DATA_LOSS", Again::Yes),
    ("UNAUTHENTICATED", Again::No),
];

const OK: usize = 0;
const UNKNOWN: usize = 2;
const PERMISSION_DENIED: usize = 7;
const UNIMPLEMENTED: usize = 12;
const INTERNAL: usize = 13;
const UNAVAILABLE: usize = 14;
const UNAUTHENTICATED: usize = 16;

/// What an answer means.
fn judge(reply: &Reply, compression: Compression) -> Result<Rejected, ExportError> {
    // An answer without a message has its end in its head.
    let end = if reply.trailers.contains_key(STATUS) { &reply.trailers } else { &reply.headers };
    let Some(status) = text(end, STATUS) else { return Err(without_status(reply)) };
    // A number beyond those that are known is one that is not.
    let code = status.parse().ok().filter(|code| *code < CODES.len()).unwrap_or(UNKNOWN);
    if code == OK {
        let message = message(reply)?;
        // A message that cannot be read was a success all the same: nothing is sent twice for it.
        return Ok(message.and_then(|message| rejected(&message)).unwrap_or_default());
    }
    let told =
        end.get("grpc-message").and_then(|value| percent_decoded(&String::from_utf8_lossy(value.as_bytes())));
    let mut why = said(&told.unwrap_or_default());
    if let (UNIMPLEMENTED, Some(coding)) = (code, compression.name()) {
        why.push_str(&format!("; if it knows no {coding}, turn that off"));
    }
    let pause = end.get("grpc-status-details-bin").and_then(|value| asked_pause(value.as_bytes()));
    Err(failure(code, &why, pause))
}

fn failure(code: usize, why: &str, pause: Option<Duration>) -> ExportError {
    let (name, again) = CODES[code];
    let why = format!("the receiver answered {name}: {why}");
    let retryable = again == Again::Yes || (again == Again::IfTold && pause.is_some());
    match (retryable, pause) {
        (false, _) => ExportError::fatal(why),
        (true, None) => ExportError::retryable(why),
        (true, Some(pause)) => ExportError::retryable(why).after(pause),
    }
}

/// Of somebody who speaks HTTP/2 and no gRPC, mostly something on the way
/// (<https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md>).
fn without_status(reply: &Reply) -> ExportError {
    let code = match reply.status {
        StatusCode::BAD_REQUEST => INTERNAL,
        StatusCode::UNAUTHORIZED => UNAUTHENTICATED,
        StatusCode::FORBIDDEN => PERMISSION_DENIED,
        StatusCode::NOT_FOUND => UNIMPLEMENTED,
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => UNAVAILABLE,
        _ => UNKNOWN,
    };
    let why = format!("HTTP {} without a status of gRPC: {}", reply.status, said(&reply.body));
    failure(code, &why, reply.retry_after)
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// The message of an answer; nothing if it is broken.
fn message(reply: &Reply) -> Result<Option<Cow<'_, [u8]>>, ExportError> {
    let Some((prefix, rest)) = reply.body.split_first_chunk::<PREFIX>() else { return Ok(None) };
    let [compressed, length @ ..] = *prefix;
    let Some(message) = rest.get(..u32::from_be_bytes(length) as usize) else { return Ok(None) };
    match (compressed, text(&reply.headers, ENCODING)) {
        (0, _) => Ok(Some(Cow::Borrowed(message))),
        (1, Some("gzip")) => unpacked(GzDecoder::new(message)),
        #[cfg(feature = "zstd")]
        (1, Some("zstd")) => match by_zstd(message) {
            Ok(decoder) => unpacked(decoder),
            Err(_) => Ok(None),
        },
        _ => Ok(None),
    }
}

/// What is compressed by zstd, whatever it claims of its window.
#[cfg(feature = "zstd")]
fn by_zstd(message: &[u8]) -> io::Result<impl Read> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(message)?;
    // 8 MiB, which every reader has to have (RFC 9659), and no more.
    decoder.window_log_max(23)?;
    Ok(decoder)
}

/// A compressed message, if it is not too much.
fn unpacked<'a>(message: impl Read) -> Result<Option<Cow<'a, [u8]>>, ExportError> {
    let mut plain = Vec::new();
    let most = limits::MAX_ANSWER_BYTES as u64;
    let read: io::Result<usize> = message.take(most + 1).read_to_end(&mut plain);
    match read {
        Ok(length) if length > limits::MAX_ANSWER_BYTES => Err(too_long()),
        Ok(_) => Ok(Some(Cow::Owned(plain))),
        Err(_) => Ok(None),
    }
}

/// The pause of a `google.rpc.RetryInfo` among the details of a `google.rpc.Status`.
fn asked_pause(details: &[u8]) -> Option<Duration> {
    let status = base64::decoded(details)?;
    for field in fields(&status) {
        let (3, Field::Bytes(any)) = field.ok()? else { continue };
        let (mut kind, mut value) = (&b""[..], &b""[..]);
        for field in fields(any) {
            match field.ok()? {
                (1, Field::Bytes(url)) => kind = url,
                (2, Field::Bytes(message)) => value = message,
                _ => {}
            }
        }
        if kind.ends_with(b"/google.rpc.RetryInfo") {
            return retry_delay(value);
        }
    }
    None
}

/// `RetryInfo.retry_delay`, which is none where it is not given, and none below zero.
fn retry_delay(info: &[u8]) -> Option<Duration> {
    let (mut seconds, mut nanos) = (0, 0);
    for field in fields(info) {
        let (1, Field::Bytes(duration)) = field.ok()? else { continue };
        for field in fields(duration) {
            match field.ok()? {
                (1, Field::Varint(value)) => seconds = value,
                (2, Field::Varint(value)) => nanos = value,
                _ => {}
            }
        }
    }
    let seconds = u64::try_from(seconds as i64).unwrap_or(0);
    let nanos = u32::try_from(nanos as i64).unwrap_or(0).min(999_999_999);
    Some(Duration::new(seconds, nanos))
}

#[cfg(test)]
#[cfg(not(mvx_loom))]
mod tests {
    use super::*;
    use crate::export::wire::Wire;

    #[test]
    fn a_time_out_has_eight_digits_at_most() {
        let cases = [
            (Duration::ZERO, "0m"),
            (Duration::from_micros(1_500_999), "1500m"),
            (Duration::from_millis(99_999_999), "99999999m"),
            (Duration::from_millis(100_000_000), "100000S"),
            (Duration::MAX, "99999999S"),
        ];
        for (within, expected) in cases {
            assert_eq!(timeout(within), expected, "{within:?}");
        }
    }

    #[test]
    fn details_that_are_broken_or_of_others_ask_for_no_pause() {
        let info = |kind: &str, value: &[u8]| {
            let mut any = Vec::new();
            let mut details = Vec::new();
            let mut wire = Wire::new(&mut any);
            wire.string(1, kind);
            wire.bytes(2, value);
            let mut wire = Wire::new(&mut details);
            wire.uint64(1, 8);
            wire.bytes(3, b"");
            wire.bytes(3, &any);
            base64::padded(&details)
        };
        const RETRY: &str = "type.googleapis.com/google.rpc.RetryInfo";
        let cases: [(String, Option<Duration>); 8] = [
            (info(RETRY, b"\x0a\x02\x08\x03"), Some(Duration::from_secs(3))),
            (info(RETRY, b"\x0a\x08\x08\x01\x10\x80\xca\xb5\xee\x01"), Some(Duration::from_millis(1_500))),
            (info(RETRY, b""), Some(Duration::ZERO)),
            // Below zero.
            (info(RETRY, b"\x0a\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), Some(Duration::ZERO)),
            (info(RETRY, b"\x0a\x09\x08"), None),
            (info("type.googleapis.com/google.rpc.ErrorInfo", b"\x0a\x02\x08\x03"), None),
            ("AAAA".to_owned(), None),
            ("not base64!".to_owned(), None),
        ];
        for (details, expected) in cases {
            assert_eq!(asked_pause(details.as_bytes()), expected, "{details}");
            assert_eq!(asked_pause(details.trim_end_matches('=').as_bytes()), expected, "{details}");
        }
    }
}
