//! The server of `/metrics`: what it answers, whom it cuts, and how it ends.
#![cfg(all(feature = "http", feature = "json"))]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail as tests do")]

mod limits;
mod requests;
mod shared;
#[cfg(all(feature = "rustls", unix))]
mod tls;

use crate::client::Client;
use crate::client::get;
use crate::client::request;
use crate::parser::parse;
use crate::prometheus::whole_page;
use crate::support::Gate;
use crate::support::Number;
use crate::support::PATIENCE;
use crate::support::running;
use crate::support::until;
use mvx_metrics::ErrorKind;
use mvx_metrics::Fold;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::Recorder;
use mvx_metrics::http::HttpServer;
use mvx_metrics::http::HttpServerBuilder;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;
use std::time::Instant;

/// A server on a port of its own.
fn serving(runtime: &MetricsRuntime) -> (HttpServer, SocketAddr) {
    started(HttpServer::builder(runtime.reader()))
}

fn started(builder: HttpServerBuilder) -> (HttpServer, SocketAddr) {
    let server = builder.port(0).start().unwrap();
    let address = server.local_addr().unwrap();
    (server, address)
}

/// A recorder that counts.
fn counting(runtime: &MetricsRuntime, id: &str) -> Recorder<Number> {
    runtime.recorder::<Number>(id).counter("events", |c| c.help("Events seen.")).create().unwrap()
}

/// A recorder that has counted one event.
fn counted(runtime: &MetricsRuntime, id: &str) -> Recorder<Number> {
    let recorder = counting(runtime, id);
    recorder.register_event(Number(1));
    recorder.flush_blocking(PATIENCE).unwrap();
    recorder
}

/// What stands after a name in a text.
fn value(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.rsplit(' ').next()?.parse().ok()
}

const OPEN_METRICS: &str = "Accept: application/openmetrics-text;version=1.0.0;q=0.9,text/plain;q=0.5";

#[test]
fn metrics_are_served_in_the_format_that_is_asked_for() {
    let runtime = running("formats");
    counted(&runtime, "one");
    let (server, address) = serving(&runtime);
    for (header, kind, end) in [
        ("X-None: 0", "text/plain; version=0.0.4; charset=utf-8", false),
        (
            "Accept: text/plain;q=0.9,application/openmetrics-text;q=0.8",
            "text/plain; version=0.0.4; charset=utf-8",
            false,
        ),
        (
            OPEN_METRICS,
            "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores",
            true,
        ),
        // Two lines are one header.
        (
            "Accept: text/plain;q=0.1\r\nAccept: application/openmetrics-text",
            "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores",
            true,
        ),
    ] {
        let answer = get(address, "/metrics", &[header]);
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(kind)), "{header}");
        assert_eq!(answer.text().ends_with("# EOF\n"), end, "{header}");
        assert_eq!(value(answer.text(), "events_total{recorder=\"one\"}"), Some(1));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("content-security-policy"), Some("default-src 'none'"));
    }
    assert_eq!((server.stats().scrapes, server.stats().renderings, server.stats().requests), (4, 4, 4));
}

#[test]
fn what_was_flushed_before_a_scrape_is_in_it() {
    let runtime = running("fresh");
    let recorder = counting(&runtime, "one");
    let (_server, address) = serving(&runtime);
    let over = &std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Others scrape all the time, so there is nearly always a rendering to be shared.
        for _ in 0..3 {
            scope.spawn(move || {
                while !over.load(std::sync::atomic::Ordering::Acquire) {
                    get(address, "/metrics", &[]);
                }
            });
        }
        let _over = crate::support::Over(over);
        let mut client = Client::connect(address);
        for count in 1..=200 {
            recorder.register_event(Number(1));
            recorder.flush_blocking(PATIENCE).unwrap();
            let answer = client.ask(&request("GET", "/metrics", &[]));
            assert_eq!(value(answer.text(), "events_total{"), Some(count));
        }
    });
}

#[test]
fn the_snapshot_is_one_json_document() {
    let runtime = running("document");
    counted(&runtime, "one");
    let (_server, address) = started(HttpServer::builder(runtime.reader()).vitals(false));
    let answer = get(address, "/snapshot", &[]);
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    let document: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(document["namespace"], "document");
    assert_eq!(document["families"][0]["name"], "events");
}

#[test]
fn liveness_says_whether_the_worker_lives_and_gets_on() {
    let runtime = MetricsRuntime::builder("probed").build().unwrap();
    let (_server, address) = serving(&runtime);
    let answer = get(address, "/livez", &[]);
    assert_eq!((answer.status, answer.text()), (503, "not alive: the runtime is Created\n"));
    runtime.start().unwrap();
    let answer = get(address, "/livez", &[]);
    assert_eq!((answer.status, answer.text()), (200, "alive\n"));
}

#[test]
fn the_index_names_the_pages_and_shows_no_markup_of_others() {
    let runtime = MetricsRuntime::builder("<script>alert(1)</script>&").build().unwrap();
    let (_server, address) = serving(&runtime);
    let answer = get(address, "/", &[]);
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/html; charset=utf-8")));
    for path in ["/metrics", "/snapshot", "/livez"] {
        assert!(answer.text().contains(&format!("<a href=\"{path}\">")), "{}", answer.text());
        assert_eq!(get(address, path, &[]).status, if path == "/livez" { 503 } else { 200 });
    }
    assert!(
        !answer.text().contains("<script>") && answer.text().contains("&lt;script&gt;"),
        "{}",
        answer.text()
    );
}

#[test]
fn other_methods_and_paths_are_refused() {
    let runtime = running("refused");
    let (server, address) = serving(&runtime);
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "BREW"] {
        let answer = Client::connect(address).ask(&request(method, "/metrics", &[]));
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")), "{method}");
    }
    for path in
        ["/metrics/", "/Metrics", "/metric", "/..", "/%6Detrics", "//metrics", "/livez/x", "/debug", "/admin"]
    {
        assert_eq!(get(address, path, &[]).status, 404, "{path}");
    }
    for path in ["/metrics?", "/metrics?name[]=x", "/livez?verbose"] {
        assert_eq!(get(address, path, &[]).status, 200, "{path}");
    }
    assert_eq!((server.stats().refused, server.stats().requests), (16, 19));
}

#[test]
fn head_has_the_headers_of_get_and_no_body() {
    let runtime = running("head");
    let (_server, address) = started(HttpServer::builder(runtime.reader()).vitals(false));
    counted(&runtime, "one");
    let mut client = Client::connect(address);
    for path in ["/", "/metrics", "/snapshot", "/livez", "/nothing"] {
        let get = client.ask(&request("GET", path, &[]));
        let head = client.ask(&request("HEAD", path, &[]));
        let without_date = |text: &str| -> Vec<String> {
            text.lines().filter(|line| !line.starts_with("date: ")).map(str::to_owned).collect()
        };
        assert_eq!(without_date(&head.head), without_date(&get.head), "{path}");
        assert!(get.header("content-length").is_some() && !get.body.is_empty());
    }
    client.send(request("HEAD", "/metrics", &["Connection: close"]).as_bytes());
    assert_eq!(client.answer(true).unwrap().status, 200);
    assert!(client.is_closed_within(PATIENCE), "nothing comes after the head");
}

#[test]
fn pages_are_compressed_for_whoever_accepts_it() {
    use std::io::Read;
    let runtime = running("gzip");
    counted(&runtime, "one");
    let (_server, address) = started(HttpServer::builder(runtime.reader()).vitals(false));
    for path in ["/metrics", "/snapshot"] {
        let plain = get(address, path, &[]);
        assert_eq!(plain.header("content-encoding"), None);
        for accepted in ["gzip", "deflate;q=0.5, gzip;q=1.0", "*;q=0.1"] {
            let packed = get(address, path, &[&format!("Accept-Encoding: {accepted}")]);
            assert_eq!(packed.header("content-encoding"), Some("gzip"), "{accepted}");
            assert_eq!(packed.header("vary"), Some("accept, accept-encoding"));
            let mut text = String::new();
            flate2::read::GzDecoder::new(&packed.body[..]).read_to_string(&mut text).unwrap();
            if path == "/metrics" {
                assert_eq!(text, plain.text());
            }
        }
        for refused in ["gzip;q=0", "identity;q=1, gzip;q=0.9", "br"] {
            let plain = get(address, path, &[&format!("Accept-Encoding: {refused}")]);
            assert_eq!(plain.header("content-encoding"), None, "{refused}");
        }
    }
    let (_server, address) = started(HttpServer::builder(runtime.reader()).compression(false));
    assert_eq!(get(address, "/metrics", &["Accept-Encoding: gzip"]).header("content-encoding"), None);
}

#[cfg(feature = "zstd")]
#[test]
fn pages_are_compressed_by_zstd_for_whoever_names_it() {
    use std::io::Read;
    let runtime = running("zstd");
    counted(&runtime, "one");
    let (_server, address) = started(HttpServer::builder(runtime.reader()).vitals(false));
    let asked = |path: &str, accepted: &str| get(address, path, &[&format!("Accept-Encoding: {accepted}")]);
    for path in ["/metrics", "/snapshot"] {
        let plain = get(address, path, &[]);
        for accepted in ["zstd", "gzip, deflate, br, zstd", "gzip;q=0.9, zstd"] {
            let packed = asked(path, accepted);
            assert_eq!(packed.header("content-encoding"), Some("zstd"), "{accepted}");
            assert_eq!(packed.header("vary"), Some("accept, accept-encoding"));
            assert_eq!(packed.header("content-type"), plain.header("content-type"));
            let mut text = String::new();
            let mut decoder = ruzstd::decoding::StreamingDecoder::new(&packed.body[..]).unwrap();
            decoder.read_to_string(&mut text).unwrap();
            if path == "/metrics" {
                assert_eq!(text, plain.text());
            }
        }
        // Whoever does not name it, or names it wrongly, does not get it.
        for (accepted, expected) in [
            ("gzip, zstd;q=0.5", Some("gzip")),
            ("*", Some("gzip")),
            ("zstd;q=0, gzip", Some("gzip")),
            ("zstd;q=much", None),
            ("zstd;q=0", None),
            ("zstandard", None),
        ] {
            assert_eq!(asked(path, accepted).header("content-encoding"), expected, "{accepted}");
        }
    }
    let (_server, address) = started(HttpServer::builder(runtime.reader()).compression(false));
    assert_eq!(get(address, "/metrics", &["Accept-Encoding: zstd"]).header("content-encoding"), None);
}

#[test]
fn a_secret_is_needed_where_one_is_set_and_is_shown_nowhere() {
    let runtime = running("secret");
    let builder = HttpServer::builder(runtime.reader()).bearer("canary-token").basic("bird", "canary-word");
    let shown = format!("{builder:?}");
    let (server, address) = started(builder);
    for path in ["/", "/metrics", "/snapshot", "/livez", "/nothing"] {
        for wrong in [
            "X: y",
            "Authorization: Bearer canary-tokeN",
            "Authorization: Basic Y2FuYXJ5",
            "Authorization: canary-token",
        ] {
            let answer = get(address, path, &[wrong]);
            assert_eq!(answer.status, 401, "{path} {wrong}");
            let challenges: Vec<_> = answer.headers("www-authenticate").collect();
            assert_eq!(
                challenges,
                ["Bearer realm=\"metrics\"", "Basic realm=\"metrics\", charset=\"UTF-8\""]
            );
            assert!(!answer.text().contains("canary") && !answer.head.contains("canary"));
        }
    }
    for right in ["Authorization: Bearer canary-token", "authorization: basic YmlyZDpjYW5hcnktd29yZA=="] {
        assert_eq!(get(address, "/metrics", &[right]).status, 200, "{right}");
    }
    assert_eq!(server.stats().unauthorized, 20);
    let shown = shown + &format!("{server:?}");
    assert!(!shown.contains("canary") && !shown.contains("YmlyZDpj"), "{shown}");

    for refused in [
        HttpServer::builder(runtime.reader()).bearer(""),
        HttpServer::builder(runtime.reader()).bearer("canary two"),
        HttpServer::builder(runtime.reader()).bearer("canary\r\nX: y"),
        HttpServer::builder(runtime.reader()).basic("a:b", "canary"),
        HttpServer::builder(runtime.reader()).basic("a", ""),
    ] {
        let error = refused.port(0).start().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidCredential);
        assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
    }
}

#[test]
fn settings_that_nothing_could_be_served_with_are_refused() {
    let runtime = running("settings");
    let builder = || HttpServer::builder(runtime.reader()).port(0);
    for (refused, message) in [
        (builder().head_time(Duration::ZERO), "milliseconds"),
        (builder().answer_time(Duration::ZERO), "milliseconds"),
        (builder().kept_time(Duration::ZERO), "milliseconds"),
        (builder().max_answered(0), "1 at least"),
        (builder().max_headless(0), "1 at least"),
        (builder().max_head_bytes(1023), "1024 at least"),
    ] {
        let error = refused.start().unwrap_err();
        assert!(error.kind() == ErrorKind::InvalidLimit && error.to_string().contains(message), "{error}");
    }
    let (_server, address) = started(builder().max_answered(1).max_headless(1).max_head_bytes(1024));
    assert_eq!(get(address, "/metrics", &[]).status, 200);
}

#[test]
fn by_default_it_listens_on_this_machine_alone() {
    let runtime = running("default");
    // The default port may be taken here; then the error says which it is.
    match HttpServer::builder(runtime.reader()).start() {
        Ok(server) => assert_eq!(server.local_addr(), Some(([127, 0, 0, 1], 9464).into())),
        Err(error) => assert!(error.to_string().contains("127.0.0.1:9464"), "{error}"),
    }
}

#[test]
fn a_port_that_is_taken_is_an_error_or_a_degradation_that_shows() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let telling = Arc::clone(&told);
    let runtime = MetricsRuntime::builder("taken")
        .on_error(move |incident| telling.lock().unwrap().push(incident.to_string()))
        .build()
        .unwrap();
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = taken.local_addr().unwrap();
    let builder = HttpServer::builder(runtime.reader()).bind(address);
    let error = builder.clone().start().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddressInUse);
    assert!(error.to_string().contains(&address.to_string()), "{error}");
    assert!(std::error::Error::source(&error).is_some());
    assert!(told.lock().unwrap().is_empty());

    let server = builder.clone().may_degrade(true).start().unwrap();
    assert!(!server.is_serving() && server.local_addr().is_none());
    assert_eq!(server.degraded().map(mvx_metrics::Error::kind), Some(ErrorKind::AddressInUse));
    assert!(told.lock().unwrap()[0].contains("metrics are not served"), "{told:?}");
    server.shutdown(PATIENCE).unwrap();

    drop(taken);
    let server = builder.may_degrade(true).start().unwrap();
    assert!(server.is_serving() && server.degraded().is_none());
    assert_eq!(get(address, "/metrics", &[]).status, 200);

    // Not of this machine.
    let nowhere: SocketAddr = ([192, 0, 2, 1], 0).into();
    let error = HttpServer::builder(runtime.reader()).bind(nowhere).start().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
}

#[test]
fn a_shutdown_frees_the_port_and_closes_whoever_waits() {
    let runtime = running("freed");
    let (server, address) = serving(&runtime);
    let mut kept = Client::connect(address);
    kept.ask(&request("GET", "/metrics", &[]));
    let mut silent = Client::connect(address);
    let mut half = Client::connect(address);
    half.send(b"GET /metrics HT");
    until("three are open", || server.stats().open == 3);
    let begun = Instant::now();
    server.shutdown(PATIENCE).unwrap();
    assert!(begun.elapsed() < PATIENCE / 2, "nobody is being answered, so nothing is waited for");
    assert!(!server.is_serving());
    assert!(TcpListener::bind(address).is_ok(), "the port is free");
    for client in [&mut kept, &mut silent, &mut half] {
        assert!(client.is_closed_within(PATIENCE));
    }
    server.shutdown(Duration::ZERO).unwrap();
    assert_eq!(server.local_addr(), Some(address), "it still says where it was");
}

#[test]
fn an_answer_under_way_is_finished_in_a_shutdown_and_cut_at_its_deadline() {
    for (patience, finished) in [(PATIENCE, true), (Duration::from_millis(50), false)] {
        let runtime = running("finished");
        let gate = Gate::default();
        let _source = shared::held_source(&runtime, &gate);
        let (server, address) = started(
            HttpServer::builder(runtime.reader()).source_patience(PATIENCE).answer_time(PATIENCE * 4),
        );
        let mut client = Client::connect(address);
        client.send(request("GET", "/metrics", &[]).as_bytes());
        gate.until_reached();
        std::thread::scope(|scope| {
            let ending = scope.spawn(|| server.shutdown(patience));
            until("the port is free", || TcpListener::bind(address).is_ok());
            if finished {
                gate.open();
                let answer = client.answer(false).unwrap();
                assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
            }
            assert!(client.is_closed_within(PATIENCE));
            ending.join().unwrap().unwrap();
            gate.open();
        });
        // What nobody waits for any longer is not rendered.
        until("its place is free", || server.stats().held_renderings == 0);
        assert_eq!(server.stats().renderings, u64::from(finished));
    }
}

#[test]
fn dropping_the_handle_waits_for_nobody_and_ends_the_server() {
    let runtime = running("dropped");
    let gate = Gate::default();
    let _source = shared::held_source(&runtime, &gate);
    let (server, address) = started(HttpServer::builder(runtime.reader()).source_patience(PATIENCE));
    let mut client = Client::connect(address);
    client.send(request("GET", "/metrics", &[]).as_bytes());
    gate.until_reached();
    let begun = Instant::now();
    drop(server);
    assert!(begun.elapsed() < Duration::from_secs(1), "although a request is being answered");
    until("the port is free", || TcpListener::bind(address).is_ok());
    gate.open();
    assert_eq!(client.answer(false).unwrap().status, 200, "it was finished");
}

#[test]
fn the_server_is_gone_with_its_runtime_and_serves_until_then() {
    for drops in [false, true] {
        let runtime = running("gone");
        let gate = Gate::default();
        let recorder = shared::held_recorder(&runtime, &gate);
        let (server, address) = serving(&runtime);
        recorder.register_event(Number(1));
        gate.until_reached();
        let ending = (!drops).then(|| runtime.begin_shutdown(PATIENCE));
        drop(runtime);
        // The worker is held, so the shutdown goes on.
        assert_eq!(get(address, "/metrics", &[]).status, 200);
        assert!(server.is_serving());
        gate.open();
        until("it has ended", || !server.is_serving());
        assert!(TcpListener::bind(address).is_ok(), "the port is free");
        if let Some(ending) = ending {
            assert!(ending.wait(PATIENCE).unwrap().is_complete());
        }
        server.shutdown(PATIENCE).unwrap();
    }
}

#[test]
fn a_detached_server_serves_until_its_runtime_ends() {
    let runtime = running("detached");
    let (server, address) = serving(&runtime);
    server.detach();
    assert_eq!(get(address, "/metrics", &[]).status, 200);
    runtime.shutdown(PATIENCE).unwrap();
    until("it has ended", || TcpListener::bind(address).is_ok());
}

#[test]
fn a_server_of_a_runtime_that_was_shut_down_or_is_gone_ends_at_once() {
    let runtime = running("late");
    let reader = runtime.reader();
    runtime.shutdown(PATIENCE).unwrap();
    let (server, _) = started(HttpServer::builder(reader.clone()));
    until("it has ended", || !server.is_serving());
    drop(runtime);
    until("the runtime is gone", || reader.collect().is_none());
    let (server, _) = started(HttpServer::builder(reader));
    until("it has ended", || !server.is_serving());
}

#[test]
fn a_shutdown_from_the_worker_says_that_it_would_wait_for_itself() {
    let runtime = running("worker");
    let (server, address) = serving(&runtime);
    let server = Arc::new(server);
    let (told, heard) = std::sync::mpsc::channel();
    let asked = Arc::clone(&server);
    let recorder = runtime
        .recorder::<Number>("one")
        .counter("events", move |c| {
            c.value(move |_| {
                let _ = told.send(asked.shutdown(PATIENCE).map_err(|error| error.kind()));
                Some(1_u64)
            })
        })
        .create()
        .unwrap();
    recorder.register_event(Number(1));
    assert_eq!(heard.recv_timeout(PATIENCE), Ok(Err(ErrorKind::WouldDeadlock)));
    assert!(TcpStream::connect(address).is_ok(), "nothing has happened");
}

/// The value of a sample of the runtime's own, by its listener and its reason.
pub(crate) fn own(page: &str, name: &str, listener: impl ToString, reason: &str) -> Option<f64> {
    let parsed = parse(page).unwrap();
    let listener = listener.to_string();
    let is_it = |sample: &&crate::parser::Sample| {
        sample.name == name
            && sample.label("listener") == Some(listener.as_str())
            && sample.label("reason").unwrap_or_default() == reason
    };
    parsed.samples.iter().find(is_it).map(|sample| sample.value)
}

#[test]
fn what_each_server_has_done_is_among_the_runtimes_own_metrics_until_it_ends() {
    let runtime = running("servers");
    counted(&runtime, "one");
    let (first, address) = serving(&runtime);
    let (second, other) = started(HttpServer::builder(runtime.reader()).bearer("secret"));
    get(address, "/metrics", &[]);
    get(address, "/nowhere", &[]);
    get(other, "/metrics", &[]); // without the token
    let page = || whole_page(&runtime);
    until("everybody has left", || own(&page(), "mvx_http_open", address, "") == Some(0.0));
    let text = page();
    for (name, reason, at_first, at_second) in [
        ("mvx_http_connections_total", "", 2.0, 1.0),
        ("mvx_http_accept_errors_total", "", 0.0, 0.0),
        ("mvx_http_requests_total", "", 2.0, 1.0),
        ("mvx_http_refused_total", "unauthorized", 0.0, 1.0),
        ("mvx_http_refused_total", "refused", 1.0, 0.0),
        ("mvx_http_refused_total", "unavailable", 0.0, 0.0),
        ("mvx_http_refused_total", "malformed", 0.0, 0.0),
        ("mvx_http_cut_total", "half_sent", 0.0, 0.0),
        ("mvx_http_cut_total", "slow", 0.0, 0.0),
        ("mvx_http_cut_total", "for_room", 0.0, 0.0),
        ("mvx_http_cut_total", "idle", 0.0, 0.0),
        ("mvx_http_scrapes_total", "", 1.0, 0.0),
        ("mvx_http_renderings_total", "", 1.0, 0.0),
        ("mvx_http_rendering_time_seconds_total", "", first.stats().rendering_time.as_secs_f64(), 0.0),
        ("mvx_http_longest_rendering_seconds", "", first.stats().longest_rendering.as_secs_f64(), 0.0),
        ("mvx_http_held_renderings", "", 0.0, 0.0),
        ("mvx_http_held_bytes", "", 0.0, 0.0),
        ("mvx_http_late_sources_total", "", 0.0, 0.0),
    ] {
        assert_eq!(own(&text, name, address, reason), Some(at_first), "{name} {reason}: {text}");
        assert_eq!(own(&text, name, other, reason), Some(at_second), "{name} {reason}: {text}");
    }
    assert!(own(&text, "mvx_http_connections_created", address, "").is_some_and(|at| at > 0.0), "{text}");

    second.shutdown(PATIENCE).unwrap();
    let text = page();
    assert_eq!(own(&text, "mvx_http_requests_total", other, ""), None, "{text}");
    assert_eq!(own(&text, "mvx_http_requests_total", address, ""), Some(2.0), "{text}");
    // Its name is free as soon as its port is, although the handle of the one before is still there.
    let again = HttpServer::builder(runtime.reader()).bind(other).start().unwrap();
    get(other, "/metrics", &[]);
    assert_eq!(own(&page(), "mvx_http_requests_total", other, ""), Some(1.0));
    drop((first, again));
    until("both have ended", || !page().contains("mvx_http"));
}

#[test]
fn the_series_of_a_removed_recorder_are_not_in_the_next_scrape_and_its_counts_stay_in_its_group() {
    let runtime = running("removed");
    counted(&runtime, "stays");
    counted(&runtime, "goes");
    let (_single, address) = serving(&runtime);
    let (_folded, folded) = started(HttpServer::builder(runtime.reader()).fold(Fold::Group));
    let page = |address| get(address, "/metrics", &[]).text().to_owned();
    assert_eq!(page(address).matches("\nevents_total{recorder=").count(), 2);
    assert_eq!(value(&page(folded), "events_total "), Some(2));
    runtime.stop_and_remove("goes", PATIENCE).unwrap();
    let single = page(address);
    assert_eq!(value(&single, "events_total{recorder=\"stays\"}"), Some(1), "{single}");
    assert!(!single.contains("goes"), "{single}");
    assert_eq!(value(&page(folded), "events_total "), Some(2));
}

#[test]
fn no_request_leads_the_server_anywhere() {
    let runtime = running("nowhere");
    counted(&runtime, "one");
    let (_server, address) = serving(&runtime);
    let elsewhere = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let there = elsewhere.local_addr().unwrap();
    let headers = [
        format!("Host: {there}"),
        format!("Forwarded: host={there};proto=http"),
        format!("X-Forwarded-Host: {there}"),
        format!("Referer: http://{there}/"),
        format!("Location: http://{there}/"),
    ];
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    for (line, status) in [
        (format!("GET http://{there}/metrics HTTP/1.1"), 200),
        (format!("GET /metrics?target=http://{there}/&url={there} HTTP/1.1"), 200),
        (format!("GET /probe?target={there} HTTP/1.1"), 404),
        (format!("GET //{there}/metrics HTTP/1.1"), 404),
        (format!("CONNECT {there} HTTP/1.1"), 404),
        (format!("GET /metrics HTTP/1.1\r\nX-Prometheus-Target: {there}"), 200),
    ] {
        let answer = Client::connect(address).ask(&format!("{line}\r\n{headers}\r\n"));
        assert_eq!((answer.status, answer.header("location")), (status, None), "{line}");
        assert_eq!(answer.text().contains("events_total{recorder=\"one\"} 1\n"), status == 200, "{line}");
    }
    // Whoever had been asked would have been asked before it was answered.
    assert_eq!(elsewhere.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}
