//! A runtime's pages in a service built on axum.
#![cfg(all(feature = "axum08", feature = "json"))]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail as tests do")]

use crate::client::Client;
use crate::client::get;
use crate::client::request;
use crate::support::Gate;
use crate::support::Number;
use crate::support::PATIENCE;
use crate::support::running;
use crate::support::until;
use axum::Router;
use axum::extract::State;
use mvx_metrics::Descriptor;
use mvx_metrics::Kind;
use mvx_metrics::LabelSet;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::Source;
use mvx_metrics::SourceWriter;
use mvx_metrics::Unit;
use mvx_metrics::bridge::axum08;
use mvx_metrics::prelude::MetricEvent;
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

#[derive(MetricEvent)]
enum StorageEvent {
    Saved {
        #[label]
        ok: bool,
        #[value(unit = "By")]
        bytes: u64,
    },
}

#[test]
fn the_text_in_the_readme_is_what_its_programs_show() {
    let readme = include_str!("../../README.md");
    let part = readme.split("## Served to Prometheus").nth(1).unwrap();
    let text = part.split("```text\n").nth(1).unwrap().split("```").next().unwrap();
    let snippet = part.split("```rust\n").nth(1).unwrap().split("```").next().unwrap();
    assert!(text.lines().count() >= 4 && snippet.lines().count() <= 11, "{snippet}{text}");
    assert!(snippet.contains(".merge(axum08::router(runtime.reader()))"), "{snippet}");

    let runtime = running("docs");
    let metrics = runtime
        .recorder::<StorageEvent>("document_storage")
        .derived_metrics()
        .counter("document.bytes", |c| {
            c.unit(Unit::Bytes).value(|StorageEvent::Saved { bytes, .. }| Some(*bytes))
        })
        .create()
        .unwrap();
    metrics.register_event(StorageEvent::Saved { ok: true, bytes: 5 });
    metrics.flush_blocking(PATIENCE).unwrap();
    let service = serve(Router::new().merge(axum08::router(runtime.reader())));
    let page = get(service.address, "/metrics", &[]);
    for line in text.lines() {
        assert!(page.text().lines().any(|shown| shown == line), "{line}\n{}", page.text());
    }
}
