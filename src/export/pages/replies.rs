//! Answers: statuses, headers, and the small pages.

use crate::runtime::reader::RuntimeReader;
use bytes::Bytes;
use http::HeaderValue;
use http::Response;
use http::StatusCode;
use http::header;

const TEXT: &str = "text/plain; charset=utf-8";

/// An answer of this kind. Everything here changes from moment to moment, is what its type says, and brings nothing along that runs.
fn reply(status: StatusCode, kind: &'static str, body: Bytes) -> Response<Bytes> {
    let length = body.len();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    // Stated, so that an answer to HEAD has it as well.
    headers.insert(header::CONTENT_LENGTH, length.into());
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'"));
    response
}

/// A short text.
pub(crate) fn text(status: StatusCode, text: &str) -> Response<Bytes> {
    reply(status, TEXT, Bytes::copy_from_slice(text.as_bytes()))
}

/// Whoever asks shall ask again in a second.
pub(crate) fn busy(why: &str) -> Response<Bytes> {
    let mut response = text(StatusCode::SERVICE_UNAVAILABLE, why);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

pub(super) fn only_reads() -> Response<Bytes> {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    response
}

pub(super) fn rendering(body: Bytes, kind: &'static str, coding: Option<&'static str>) -> Response<Bytes> {
    let mut response = reply(StatusCode::OK, kind, body);
    let headers = response.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("accept, accept-encoding"));
    if let Some(coding) = coding {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding));
    }
    response
}

/// Whether the worker lives and gets on, as probes ask: 200, or 503 with what is wrong.
pub(super) fn liveness(reader: &RuntimeReader) -> Response<Bytes> {
    let liveness = reader.liveness();
    if !liveness.is_alive() {
        let state = reader.state();
        return text(StatusCode::SERVICE_UNAVAILABLE, &format!("not alive: the runtime is {state}\n"));
    }
    match liveness.stuck() {
        Some(call) => text(StatusCode::SERVICE_UNAVAILABLE, &format!("stuck: {call}\n")),
        None => text(StatusCode::OK, "alive\n"),
    }
}

/// What there is, for people.
pub(super) fn index(namespace: &str) -> Response<Bytes> {
    let mut pages = vec![
        ("/metrics", "what is measured, in Prometheus's text format or OpenMetrics"),
        ("/livez", "whether the runtime lives"),
    ];
    if cfg!(feature = "json") {
        pages.insert(1, ("/snapshot", "the same as JSON"));
    }
    let namespace = escaped(namespace);
    let items: String = pages
        .iter()
        .map(|(path, what)| format!("<li><a href=\"{path}\">{path}</a>: {what}</li>\n"))
        .collect();
    let page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>{namespace}</title></head>\n\
         <body>\n<h1>{namespace}</h1>\n<ul>\n{items}</ul>\n</body>\n</html>\n"
    );
    reply(StatusCode::OK, "text/html; charset=utf-8", Bytes::from(page))
}

/// A text between tags.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
