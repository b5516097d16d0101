//! F4: any bytes that are sent to the server get whole answers or none, and a request the answer that is due.

use crate::fuzzed::input::Input;
use crate::parser::parse;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::http::HttpServer;
#[cfg(not(fuzzing))]
use std::io::ErrorKind;
#[cfg(not(fuzzing))]
use std::io::Read;
#[cfg(not(fuzzing))]
use std::io::Write;
#[cfg(not(fuzzing))]
use std::net::Shutdown;
#[cfg(not(fuzzing))]
use std::net::TcpStream;
use std::sync::LazyLock;
use std::time::Duration;

/// Far less than the server gives a head, so that waiting for one is no success.
const PATIENCE: Duration = Duration::from_secs(20);

const METHODS: [&str; 6] = ["GET", "HEAD", "GET", "POST", "DELETE", "get"];

const PATHS: [&str; 8] =
    ["/metrics", "/livez", "/snapshot", "/", "/metrics/", "/METRICS", "//metrics", "/nothing"];

pub fn check(data: &[u8]) {
    let mut input = Input::new(data);
    if input.byte() & 1 == 0 {
        let bytes = input.rest();
        answers(&exchange(bytes), bytes.starts_with(b"HEAD ").then_some("HEAD"));
    } else {
        asked(&mut input);
    }
}

/// A request that is one, and its answer.
fn asked(input: &mut Input<'_>) {
    let (method, path) = (input.pick(&METHODS), input.pick(&PATHS));
    let query = input.pick(&["", "?", "?name=x"]);
    let body = input.pick(&[None, None, None, Some(0), Some(3)]);
    let mut head = format!("{method} {path}{query} HTTP/1.{}\r\n", input.below(2));
    let ranges: Vec<(&str, u64)> =
        (0..input.below(4)).map(|_| (input.pick(&RANGES).0, input.whole() % 1_001)).collect();
    if !ranges.is_empty() {
        let range = |(media, q): &(&str, u64)| format!("{media};q={}.{:03}", q / 1_000, q % 1_000);
        head += &format!("Accept: {}\r\n", ranges.iter().map(range).collect::<Vec<_>>().join(", "));
    }
    for _ in 0..input.below(4) {
        let value: String = input.text().chars().filter(|c| !c.is_control()).collect();
        head += &format!("X-{}: {value}\r\n", input.below(9));
    }
    if let Some(length) = body {
        head += &format!("Content-Length: {length}\r\n");
    }
    head += "Connection: close\r\n\r\n";
    head += &"x".repeat(body.unwrap_or_default());
    let all = exchange(head.as_bytes());
    let answers = answers(&all, (method == "HEAD").then_some("HEAD"));
    let [answer] = &answers[..] else { panic!("{} answers to {head:?}", answers.len()) };
    let known = PATHS[..4].contains(&path);
    let expected = match (body, known, method) {
        (Some(1..), _, _) => 413,
        (_, false, _) => 404,
        (_, _, "GET" | "HEAD") => 200,
        _ => 405,
    };
    assert_eq!(answer.status, expected, "{head:?}");
    if expected == 200 && path == "/metrics" {
        let format = negotiated(&ranges);
        assert!(answer.kind.starts_with(format), "{head:?}: {} and not {format}", answer.kind);
        if method == "GET" && format != PROTOBUF {
            let text = std::str::from_utf8(answer.body).expect("a text");
            assert!(parse(text).is_ok_and(|parsed| !parsed.samples.is_empty()), "{text}");
        }
    }
}

const TEXT: &str = "text/plain; version=0.0.4";
const OPEN: &str = "application/openmetrics-text; version=1.0.0";
const PROTOBUF: &str =
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";

/// Media ranges and what they mean; nothing, for those that are not served.
const RANGES: [(&str, Option<&str>); 8] = [
    ("text/plain", Some(TEXT)),
    ("*/*", Some(TEXT)),
    ("application/openmetrics-text", Some(OPEN)),
    ("application/openmetrics-text; version=1.0.0", Some(OPEN)),
    ("application/openmetrics-text; version=9.9.9", None),
    (
        "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited",
        Some(PROTOBUF),
    ),
    ("application/vnd.google.protobuf; proto=another; encoding=delimited", None),
    ("image/png", None),
];

/// The one of the highest weight, the first of equals; the classic text if there is none.
fn negotiated(ranges: &[(&str, u64)]) -> &'static str {
    let mut best = (0, TEXT);
    for (media, weight) in ranges {
        let format = RANGES.iter().find(|(known, _)| known == media).and_then(|(_, format)| *format);
        if let Some(format) = format.filter(|_| *weight > best.0) {
            best = (*weight, format);
        }
    }
    best.1
}

struct Answer<'a> {
    status: u16,
    kind: &'a str,
    body: &'a [u8],
}

/// Every answer in what came back, each whole and well formed. After a HEAD only the first is looked at.
fn answers<'a>(all: &'a [u8], method: Option<&str>) -> Vec<Answer<'a>> {
    let (mut rest, mut found) = (all, Vec::new());
    while !rest.is_empty() {
        let end = rest.windows(4).position(|window| window == b"\r\n\r\n").expect("a whole head") + 4;
        let head = std::str::from_utf8(&rest[..end]).expect("a head of text");
        let mut lines = head.trim_end().split("\r\n");
        let line = lines.next().unwrap_or_default();
        let status = line.strip_prefix("HTTP/1.1 ").or_else(|| line.strip_prefix("HTTP/1.0 "));
        let status: u16 = status.and_then(|rest| rest.get(..3)?.parse().ok()).expect(line);
        assert!([200, 400, 404, 405, 413, 414, 431, 503, 505].contains(&status), "{line}");
        let headers: Vec<_> = lines.map(|line| line.split_once(": ").expect(line)).collect();
        let header = |name: &str| {
            let mut values = headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
            let value = values.next().map(|(_, value)| *value);
            assert!(values.next().is_none(), "{name} twice: {head}");
            value
        };
        let length: usize = header("content-length").expect(head).parse().expect(head);
        // What is refused before it is a request comes from below, without a body.
        assert!(header("x-content-type-options") == Some("nosniff") || length == 0, "{head}");
        let kind = header("content-type").unwrap_or_default();
        if method == Some("HEAD") {
            assert!(!all[end..].starts_with(b"# "), "a body after HEAD");
            found.push(Answer { status, kind, body: &[] });
            return found;
        }
        let after = &rest[end..];
        // Requests in one go may have a HEAD among them, whose answer has a length and no body.
        if after.len() < length || after.starts_with(b"HTTP/1.") {
            rest = after;
            found.push(Answer { status, kind, body: &[] });
            continue;
        }
        found.push(Answer { status, kind, body: &after[..length] });
        rest = &after[length..];
    }
    found
}

/// What is served, and by whom.
static SERVED: LazyLock<(MetricsRuntime, HttpServer)> = LazyLock::new(|| {
    let runtime = MetricsRuntime::builder("fuzzed").build().expect("a runtime");
    runtime.start().expect("it starts");
    let server = HttpServer::builder(runtime.reader()).port(0).head_time(PATIENCE * 2).start();
    (runtime, server.expect("a server"))
});

/// What comes back for these bytes, after which nothing more is sent; the server is to close then.
#[cfg(not(fuzzing))]
fn exchange(bytes: &[u8]) -> Vec<u8> {
    let server = &SERVED.1;
    let mut stream = TcpStream::connect(server.local_addr().expect("a port")).expect("it accepts");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time");
    // It may close while it is still being sent to.
    let _ = stream.write_all(bytes).and_then(|()| stream.shutdown(Shutdown::Write));
    let mut all = Vec::new();
    if let Err(error) = stream.read_to_end(&mut all) {
        let waited = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
        assert!(!waited, "it hangs after {:?}", String::from_utf8_lossy(bytes));
        // Bytes that it did not read reset the connection, and may take the answer along.
        all.clear();
    }
    assert!(server.is_serving());
    all
}

/// The same without sockets, and without another thread but for a page that is rendered: what a fuzzer has the time for.
#[cfg(fuzzing)]
fn exchange(bytes: &[u8]) -> Vec<u8> {
    use tokio::io::AsyncReadExt;
    use tokio::io::AsyncWriteExt;
    thread_local! {
        static TOKIO: tokio::runtime::Runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a loop");
    }
    let talk = async {
        // Room for whatever is sent, so that it may close before it has read everything.
        let (mut near, far) = tokio::io::duplex(1 << 20);
        let attended = tokio::spawn(SERVED.1.attend_to(far));
        let _ = near.write_all(bytes).await;
        let _ = near.shutdown().await;
        let mut all = Vec::new();
        near.read_to_end(&mut all).await.expect("it is memory");
        attended.await.expect("it does not panic");
        all
    };
    let all = TOKIO.with(|tokio| tokio.block_on(async { tokio::time::timeout(PATIENCE, talk).await }));
    all.unwrap_or_else(|_| panic!("it hangs after {:?}", String::from_utf8_lossy(bytes)))
}
