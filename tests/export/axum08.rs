//! A runtime's pages in a service built on axum.
#![cfg(all(feature = "axum08", feature = "json"))]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail as tests do")]

use crate::client::Client;
use crate::client::get;
use crate::client::request;
use crate::http::own;
#[cfg(feature = "derive")]
use crate::prometheus::readme_program;
use crate::prometheus::whole_page;
use crate::support::Gate;
use crate::support::Number;
use crate::support::PATIENCE;
use crate::support::running;
use crate::support::until;
use axum::Router;
use axum::extract::State;
use mvx_metrics::Descriptor;
use mvx_metrics::ErrorKind;
use mvx_metrics::Fold;
use mvx_metrics::Kind;
use mvx_metrics::LabelSet;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::Source;
use mvx_metrics::SourceWriter;
use mvx_metrics::bridge::axum08;
use mvx_metrics::limits;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// A service that runs until this is dropped.
struct Service {
    address: SocketAddr,
    _tokio: tokio::runtime::Runtime,
}

/// On a single thread, so that whatever holds it up holds up everything, and without timers of tokio's.
fn serve(app: Router) -> Service {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_io().build().unwrap();
    tokio.spawn(async move {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        axum::serve(listener, app).await
    });
    Service { address, _tokio: tokio }
}

fn counted(runtime: &MetricsRuntime) {
    let recorder = runtime.recorder::<Number>("one").counter("events", |c| c).create().unwrap();
    recorder.register_event(Number(1));
    recorder.flush_blocking(PATIENCE).unwrap();
}

#[test]
fn a_service_of_any_state_shows_the_pages_beside_its_own() {
    let runtime = running("service");
    counted(&runtime);
    let own = axum::routing::get(|State(word): State<&'static str>| async move { word });
    let app = Router::new().route("/", own).merge(axum08::router(runtime.reader())).with_state("own");
    let service = serve(app);
    assert_eq!(get(service.address, "/", &[]).text(), "own");
    let answer = get(service.address, "/metrics", &["Accept: application/openmetrics-text"]);
    assert_eq!(
        answer.header("content-type"),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores")
    );
    assert!(
        answer.text().contains("events_total{recorder=\"one\"} 1\n") && answer.text().ends_with("# EOF\n")
    );
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(
        get(service.address, "/metrics", &["Accept-Encoding: gzip"]).header("content-encoding"),
        Some("gzip")
    );
    assert_eq!(get(service.address, "/livez", &[]).text(), "alive\n");
    assert_eq!(get(service.address, "/snapshot", &[]).header("content-type"), Some("application/json"));
    assert_eq!(get(service.address, "/nothing", &[]).status, 404);
    let mut client = Client::connect(service.address);
    let answer = client.ask(&request("POST", "/metrics", &[]));
    assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")));
    let head = client.ask(&request("HEAD", "/metrics", &[]));
    assert_eq!(head.status, 200);
    assert!(head.header("content-length").unwrap().parse::<u64>().unwrap() > 100);
    assert_eq!(client.ask(&request("GET", "/livez", &[])).status, 200, "nothing came after that head");
}

#[test]
fn it_can_be_mounted_below_a_path_and_once_for_each_runtime() {
    let (one, other) = (running("one"), running("other"));
    counted(&one);
    let app = Router::new()
        .nest("/one", axum08::router(one.reader()))
        .nest("/other", axum08::router(other.reader()));
    let service = serve(app);
    assert!(get(service.address, "/one/metrics", &[]).text().contains("events_total"));
    assert!(!get(service.address, "/other/metrics", &[]).text().contains("events_total"));
    assert_eq!(get(service.address, "/metrics", &[]).status, 404);
}

#[test]
fn without_its_runtime_it_says_that_there_is_nothing_to_show() {
    let runtime = running("gone");
    let reader = runtime.reader();
    let service = serve(Router::new().merge(axum08::router(reader.clone())));
    runtime.shutdown(PATIENCE).unwrap();
    assert_eq!(get(service.address, "/metrics", &[]).status, 200, "the final state");
    assert_eq!(get(service.address, "/livez", &[]).status, 503);
    drop(runtime);
    until("it is gone", || reader.collect().is_none());
    let answer = get(service.address, "/metrics", &[]);
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    assert!(answer.text().contains("the runtime is gone"), "{}", answer.text());
    assert_eq!(get(service.address, "/livez", &[]).status, 503);
}

/// Counts how often it is asked, and stands at a gate.
struct Asked(Arc<Descriptor>, Gate, Arc<AtomicU64>);

impl Source for Asked {
    fn descriptors(&self) -> Vec<Arc<Descriptor>> {
        vec![Arc::clone(&self.0)]
    }

    fn collect(&mut self, writer: &mut SourceWriter<'_>) {
        self.2.fetch_add(1, Ordering::Relaxed);
        self.1.pass();
        writer.family(&self.0).unwrap().gauge(&LabelSet::empty(), 1.0);
    }
}

#[test]
fn a_scrape_that_waits_holds_up_no_other_request() {
    let runtime = running("waiting");
    let (gate, asked) = (Gate::default(), Arc::new(AtomicU64::new(0)));
    let gauge = Descriptor::builder("asked", Kind::Gauge).build().unwrap();
    let source = Asked(gauge, gate.clone(), Arc::clone(&asked));
    runtime.add_source("asked", Duration::ZERO, source).unwrap();
    let service = serve(Router::new().merge(axum08::router(runtime.reader())));
    let mut waiting: Vec<_> = (0..8).map(|_| Client::connect(service.address)).collect();
    for client in &mut waiting {
        client.send(request("GET", "/metrics", &[]).as_bytes());
    }
    gate.until_reached();
    assert_eq!(get(service.address, "/livez", &[]).status, 200);
    gate.open();
    for client in &mut waiting {
        assert_eq!(client.answer(false).unwrap().status, 200);
    }
    assert!(asked.load(Ordering::Relaxed) < 8, "they have shared");
}

#[test]
fn what_each_router_has_done_is_among_the_runtimes_own_metrics_until_it_is_dropped() {
    let runtime = running("routers");
    counted(&runtime);
    let app = Router::new()
        .merge(axum08::router(runtime.reader()))
        .nest("/admin", axum08::builder(runtime.reader()).listener(" admin ").build().unwrap());
    let service = serve(app);
    let mut client = Client::connect(service.address);
    for (method, path, status) in [
        ("GET", "/metrics", 200),
        ("HEAD", "/snapshot", 200),
        ("GET", "/livez", 200),
        ("POST", "/metrics", 405),
        ("GET", "/nothing", 404), // the service's own
        ("GET", "/admin/metrics", 200),
    ] {
        assert_eq!(client.ask(&request(method, path, &[])).status, status, "{method} {path}");
    }
    drop(client);
    until("every page is read", || {
        let text = whole_page(&runtime);
        ["router", "admin"].iter().all(|name| own(&text, "mvx_http_held_renderings", name, "") == Some(0.0))
    });
    let text = whole_page(&runtime);
    for (name, reason, at_router, at_admin) in [
        ("mvx_http_requests_total", "", 4.0, 1.0),
        ("mvx_http_refused_total", "refused", 1.0, 0.0),
        ("mvx_http_refused_total", "unavailable", 0.0, 0.0),
        ("mvx_http_scrapes_total", "", 2.0, 1.0),
        ("mvx_http_renderings_total", "", 2.0, 1.0),
        ("mvx_http_held_renderings", "", 0.0, 0.0),
        ("mvx_http_held_bytes", "", 0.0, 0.0),
        ("mvx_http_late_sources_total", "", 0.0, 0.0),
    ] {
        assert_eq!(own(&text, name, "router", reason), Some(at_router), "{name} {reason}: {text}");
        assert_eq!(own(&text, name, "admin", reason), Some(at_admin), "{name} {reason}: {text}");
    }
    for name in ["mvx_http_rendering_time_seconds_total", "mvx_http_longest_rendering_seconds"] {
        assert!(own(&text, name, "admin", "").is_some_and(|seconds| seconds > 0.0), "{name}: {text}");
    }
    assert!(own(&text, "mvx_http_requests_created", "admin", "").is_some_and(|at| at > 0.0), "{text}");
    // What the service alone knows is not told, as no number that stands still.
    for unknown in ["_connections", "_open", "_accept_errors", "_cut", "unauthorized", "malformed"] {
        assert!(!text.contains(&format!("mvx_http{unknown}")), "{unknown}: {text}");
        assert!(!text.contains(&format!("reason=\"{unknown}\"")), "{unknown}: {text}");
    }

    runtime.shutdown(PATIENCE).unwrap();
    assert_eq!(get(service.address, "/livez", &[]).status, 503);
    assert_eq!(own(&whole_page(&runtime), "mvx_http_refused_total", "router", "unavailable"), Some(1.0));
    drop(service);
    until("the routers are gone", || !whole_page(&runtime).contains("mvx_http"));
}

#[test]
fn routers_of_one_name_are_told_apart_and_leave_nothing_behind() {
    let runtime = running("names");
    let names = |runtime: &MetricsRuntime| {
        let text = whole_page(runtime);
        let requests = text.lines().filter(|line| line.starts_with("mvx_http_requests_total"));
        let listener = |line: &str| line.split('"').nth(1).unwrap().to_owned();
        requests.map(listener).collect::<Vec<_>>()
    };
    let router = || axum08::router::<()>(runtime.reader());
    let (first, second, third) = (router(), router(), router());
    assert_eq!(names(&runtime), ["router", "router-2", "router-3"]);
    // A clone is the same one.
    let clone = second.clone();
    drop(second);
    assert_eq!(names(&runtime), ["router", "router-2", "router-3"]);
    drop(clone);
    assert_eq!(names(&runtime), ["router", "router-3"]);
    let again = router();
    assert_eq!(names(&runtime), ["router", "router-3", "router-2"], "in the order in which they came");
    drop((first, third, again));
    assert_eq!(names(&runtime), Vec::<String>::new());

    // A thousand that come and go are none.
    for _ in 0..1_000 {
        drop(router());
    }
    let last = router();
    assert_eq!(names(&runtime), ["router"]);
    drop(last);

    let long = "x".repeat(limits::MAX_ID_BYTES + 1);
    for name in ["", " \t", "two\nlines", &long] {
        let error = axum08::builder(runtime.reader()).listener(name).build::<()>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidId, "{name:?}");
    }
    assert_eq!(names(&runtime), Vec::<String>::new());
}

#[test]
fn a_router_shows_what_its_builder_says() {
    let runtime = running("settings");
    counted(&runtime);
    let gate = Gate::default();
    let gauge = Descriptor::builder("asked", Kind::Gauge).build().unwrap();
    let source = Asked(gauge, gate.clone(), Arc::default());
    runtime.add_source("asked", Duration::ZERO, source).unwrap();
    let builder = axum08::builder(runtime.reader()).source_patience(Duration::ZERO);
    let plain = builder.clone().fold(Fold::Group).vitals(false).compression(false);
    let app = Router::new()
        .nest("/plain", plain.listener("plain").build().unwrap())
        .merge(builder.build().unwrap());
    let service = serve(app);
    let accepts = ["Accept-Encoding: gzip"];
    let answer = get(service.address, "/plain/metrics", &accepts);
    assert_eq!(answer.header("content-encoding"), None);
    assert!(answer.text().contains("\nevents_total 1\n"), "{}", answer.text());
    assert!(!answer.text().contains("mvx_"), "{}", answer.text());
    assert_eq!(get(service.address, "/metrics", &accepts).header("content-encoding"), Some("gzip"));
    let other = get(service.address, "/metrics", &[]);
    assert!(other.text().contains("events_total{recorder=\"one\"} 1") && other.text().contains("\nmvx_"));
    assert_eq!(own(&whole_page(&runtime), "mvx_http_late_sources_total", "plain", ""), Some(1.0));
    gate.open();
}

#[cfg(feature = "derive")]
#[test]
fn the_text_in_the_readme_is_what_its_programs_show() {
    let readme = include_str!("../../README.md");
    let part = readme.split("## Served to Prometheus").nth(1).unwrap();
    let text = part.split("```text\n").nth(1).unwrap().split("```").next().unwrap();
    let snippet = part.split("```rust\n").nth(1).unwrap().split("```").next().unwrap();
    assert!(text.lines().count() >= 4 && snippet.lines().count() <= 11, "{snippet}{text}");
    assert!(snippet.contains(".merge(axum08::router(runtime.reader()))"), "{snippet}");

    let runtime = running("docs");
    readme_program(&runtime);
    let service = serve(Router::new().merge(axum08::router(runtime.reader())));
    let page = get(service.address, "/metrics", &[]);
    for line in text.lines() {
        assert!(page.text().lines().any(|shown| shown == line), "{line}\n{}", page.text());
    }
}
