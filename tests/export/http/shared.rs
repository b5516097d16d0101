//! Renderings that overlapping scrapes share, and sources that a scrape asks.

use crate::client::Client;
use crate::client::get;
use crate::client::request;
use crate::http::started;
use crate::http::value;
use crate::support::Gate;
use crate::support::Number;
use crate::support::PATIENCE;
use crate::support::running;
use crate::support::stopper;
use crate::support::until;
use mvx_metrics::Descriptor;
use mvx_metrics::Kind;
use mvx_metrics::LabelSet;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::Recorder;
use mvx_metrics::Source;
use mvx_metrics::SourceWriter;
use mvx_metrics::http::HttpServer;
use std::sync::Arc;
use std::time::Duration;

/// A source that passes a gate before it gives the number of times it was asked.
struct Held {
    gauge: Arc<Descriptor>,
    gate: Option<Gate>,
    times: f64,
}

impl Source for Held {
    fn descriptors(&self) -> Vec<Arc<Descriptor>> {
        vec![Arc::clone(&self.gauge)]
    }

    fn collect(&mut self, writer: &mut SourceWriter<'_>) {
        if let Some(gate) = &self.gate {
            gate.pass();
        }
        self.times += 1.0;
        writer.family(&self.gauge).unwrap().gauge(&LabelSet::empty(), self.times);
    }
}

fn add_source(runtime: &MetricsRuntime, name: &str, gate: Option<Gate>) {
    let gauge = Descriptor::builder(name, Kind::Gauge).build().unwrap();
    runtime.add_source(name, Duration::ZERO, Held { gauge, gate, times: 0.0 }).unwrap();
}

/// Opens the gate when it goes out of scope, so that a failed assertion leaves no thread behind.
pub struct Opens(Gate);

impl Drop for Opens {
    fn drop(&mut self) {
        self.0.open();
    }
}

/// A source of `held` that stands at the gate while a scrape waits for it.
pub fn held_source(runtime: &MetricsRuntime, gate: &Gate) -> Opens {
    add_source(runtime, "held", Some(gate.clone()));
    Opens(gate.clone())
}

/// A recorder whose metric stands at the gate with event 1.
pub fn held_recorder(runtime: &MetricsRuntime, gate: &Gate) -> Recorder<Number> {
    runtime.recorder::<Number>("held").metric(stopper("held.events", 1, gate)).create().unwrap()
}

#[test]
fn overlapping_scrapes_share_one_rendering() {
    const CLIENTS: usize = 50;
    let runtime = running("flight");
    let gate = Gate::default();
    let _opens = held_source(&runtime, &gate);
    let builder = HttpServer::builder(runtime.reader()).source_patience(PATIENCE);
    let (server, address) = started(builder);
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| Client::connect(address)).collect();
    for client in &mut clients {
        client.send(request("GET", "/metrics", &[]).as_bytes());
    }
    until("all are waiting", || server.stats().scrapes == CLIENTS as u64);
    assert_eq!((server.stats().renderings, server.stats().held_renderings), (0, 1));
    gate.open();
    let mut answers: Vec<_> = clients.iter_mut().map(|client| client.answer(false).unwrap().body).collect();
    assert_eq!(server.stats().renderings, 1);
    answers.dedup();
    assert_eq!(answers.len(), 1, "they are the same");
    until("the rendering is gone with its last reader", || server.stats().held_renderings == 0);
    assert_eq!(server.stats().held_bytes, 0);

    // Another form is another rendering, and the next scrape as well.
    get(address, "/metrics", &["Accept-Encoding: gzip"]);
    get(address, "/metrics", &[crate::http::OPEN_METRICS]);
    get(address, "/metrics", &[]);
    assert_eq!(server.stats().renderings, 4);
    assert!(server.stats().longest_rendering <= server.stats().rendering_time);
}

#[test]
fn a_client_that_leaves_takes_nothing_from_the_others() {
    let runtime = running("leaving");
    let gate = Gate::default();
    let _opens = held_source(&runtime, &gate);
    let (server, address) = started(HttpServer::builder(runtime.reader()).source_patience(PATIENCE));
    let mut clients: Vec<_> = (0..3).map(|_| Client::connect(address)).collect();
    for client in &mut clients {
        client.send(request("GET", "/metrics", &[]).as_bytes());
    }
    until("all are waiting", || server.stats().scrapes == 3);
    // The one that began it.
    drop(clients.remove(0));
    gate.open();
    for client in &mut clients {
        assert_eq!(client.answer(false).unwrap().status, 200);
    }
}

#[test]
fn a_source_that_hangs_holds_up_one_scrape_for_a_moment_and_no_other_source() {
    let runtime = running("hanging");
    let gate = Gate::default();
    let _opens = held_source(&runtime, &gate);
    add_source(&runtime, "quick", None);
    let builder = HttpServer::builder(runtime.reader()).source_patience(Duration::from_millis(20));
    let (server, address) = started(builder);
    assert_eq!(value(get(address, "/metrics", &[]).text(), "held"), None);
    assert_eq!(server.stats().late_sources, 1);
    let quick = || {
        let answer = get(address, "/metrics", &[]);
        answer.text().lines().find_map(|line| line.strip_prefix("quick ")).map(str::to_owned)
    };
    until("the quick one is asked all the same", || quick().is_some());
    assert!(runtime.sources()[0].running_since.is_some());
    gate.open();
    until("it has given its number", || get(address, "/metrics", &[]).text().contains("\nheld "));
}

#[test]
fn more_hanging_sources_than_threads_hold_up_scrapes_for_no_longer_than_they_may() {
    let runtime = running("hanging-all");
    let gate = Gate::default();
    let _opens = held_source(&runtime, &gate);
    for number in 1..7 {
        add_source(&runtime, &format!("held.{number}"), Some(gate.clone()));
    }
    let builder = HttpServer::builder(runtime.reader()).source_patience(Duration::from_millis(20));
    let (server, address) = started(builder);
    for scrapes in 1..=10 {
        assert_eq!(get(address, "/metrics", &[]).status, 200);
        assert_eq!(server.stats().late_sources, scrapes);
    }
    let hanging = runtime.sources().iter().filter(|source| source.running_since.is_some()).count();
    assert_eq!(hanging, mvx_metrics::limits::SOURCE_THREADS, "each keeps its thread, and gets no more");
    gate.open();
    until("they are asked again", || {
        let before = server.stats().late_sources;
        get(address, "/metrics", &[]);
        server.stats().late_sources == before
    });
}

#[test]
fn a_source_that_panics_is_left_out() {
    struct Panics(Arc<Descriptor>);
    impl Source for Panics {
        fn descriptors(&self) -> Vec<Arc<Descriptor>> {
            vec![Arc::clone(&self.0)]
        }
        fn collect(&mut self, _: &mut SourceWriter<'_>) {
            std::panic::resume_unwind(Box::new("on purpose"));
        }
    }
    let runtime = running("panicking");
    let gauge = Descriptor::builder("bad", Kind::Gauge).build().unwrap();
    runtime.add_source("bad", Duration::ZERO, Panics(gauge)).unwrap();
    add_source(&runtime, "good", None);
    let (server, address) = started(HttpServer::builder(runtime.reader()));
    let answer = get(address, "/metrics", &[]);
    assert!(answer.text().contains("\ngood 1.0\n") && !answer.text().contains("\nbad "), "{}", answer.text());
    assert_eq!(server.stats().late_sources, 0);
}
