//! Whom the server cuts, and when.

use crate::client::Client;
use crate::client::get;
use crate::client::request;
use crate::http::counted;
use crate::http::shared;
use crate::http::started;
use crate::support::Gate;
use crate::support::Number;
use crate::support::PATIENCE;
use crate::support::running;
use crate::support::until;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::http::HttpServer;
use std::io::Read;
use std::io::Write;
use std::sync::OnceLock;
use std::time::Duration;
use std::time::Instant;

const SHORT: Duration = Duration::from_millis(60);

/// A runtime whose page has several megabytes.
fn large(namespace: &str) -> MetricsRuntime {
    let runtime = running(namespace);
    static PADDING: OnceLock<String> = OnceLock::new();
    let padding = PADDING.get_or_init(|| "x".repeat(300)).as_str();
    let mut recorder = runtime.recorder::<Number>("one");
    for name in ["events.a", "events.b", "events.c", "events.d"] {
        recorder = recorder.counter(name, move |c| {
            c.label("padding", move |_| padding.into()).label("number", |e| e.0.into()).cardinality(9_000)
        });
    }
    let recorder = recorder.create().unwrap();
    for number in 0..8_000 {
        crate::support::insist(&recorder, Number(number));
    }
    recorder.flush_blocking(PATIENCE).unwrap();
    runtime
}

#[test]
fn a_half_sent_head_is_cut_however_it_trickles() {
    let runtime = running("half-sent");
    let (server, address) = started(HttpServer::builder(runtime.reader()).head_time(SHORT));
    let begun = Instant::now();
    let mut silent = Client::connect(address);
    let mut half = Client::connect(address);
    half.send(b"GET /metrics HTTP/1.1\r\nHost: he");
    let mut trickling = Client::connect(address);
    while trickling.stream.write_all(b"A").is_ok() {
        assert!(begun.elapsed() < PATIENCE, "a byte now and then does not help");
        std::thread::park_timeout(Duration::from_millis(1));
    }
    assert!(silent.is_closed_within(PATIENCE) && half.is_closed_within(PATIENCE));
    assert!(begun.elapsed() >= SHORT);
    until("all are counted", || server.stats().cut_half_sent == 3);
    assert_eq!(server.stats().open, 0);
    assert_eq!(get(address, "/metrics", &[]).status, 200);
}

#[test]
fn a_connection_is_kept_between_requests_for_its_own_time() {
    let runtime = running("kept");
    let builder = HttpServer::builder(runtime.reader()).head_time(SHORT).kept_time(SHORT * 5);
    let (server, address) = started(builder);
    let mut client = Client::connect(address);
    client.ask(&request("GET", "/metrics", &[]));
    assert!(!client.is_closed_within(SHORT * 2), "the time of a head does not run yet");
    client.stream.set_read_timeout(Some(PATIENCE)).unwrap();
    client.ask(&request("GET", "/metrics", &[]));
    assert!(client.is_closed_within(PATIENCE));
    assert_eq!(
        (server.stats().cut_idle, server.stats().cut_half_sent, server.stats().connections),
        (1, 0, 1)
    );

    let mut client = Client::connect(address);
    client.ask(&request("GET", "/metrics", &[]));
    client.send(b"GET /metr");
    assert!(client.is_closed_within(PATIENCE));
    assert_eq!(
        (server.stats().cut_idle, server.stats().cut_half_sent),
        (1, 1),
        "a second head has its time, too"
    );

    // A part of the second head that came with the first: which of the two times it has is not said.
    let mut client = Client::connect(address);
    client.ask(&(request("GET", "/metrics", &[]) + "GET /metr"));
    assert!(client.is_closed_within(PATIENCE));
}

#[test]
fn a_thousand_half_open_clients_leave_scrapes_working_and_the_oldest_are_cut_first() {
    let runtime = running("thousand");
    let builder = HttpServer::builder(runtime.reader()).head_time(PATIENCE * 4).max_headless(256);
    let (server, address) = started(builder);
    let mut kept = Client::connect(address);
    kept.ask(&request("GET", "/metrics", &[]));
    let mut clients = Vec::new();
    for number in 0..1_000 {
        let mut client = Client::connect(address);
        // Cut already, perhaps.
        let _ = client.stream.write_all(b"GET /metrics HTTP/1.1\r\nHost:");
        clients.push(client);
        if number % 100 == 0 {
            assert_eq!(get(address, "/metrics", &[]).status, 200, "{number}");
        }
    }
    until("all have come", || server.stats().connections >= 1_011);
    assert_eq!(get(address, "/metrics", &[]).status, 200);
    assert!(server.stats().open <= 256 + 1, "{:?}", server.stats());
    assert!(clients[0].is_closed_within(PATIENCE) && clients[700].is_closed_within(PATIENCE));
    assert!(!clients[999].is_closed_within(Duration::from_millis(1)), "the newest is there");
    assert!(server.stats().cut_for_room >= 1_000 - 256);
}

#[test]
fn requests_past_the_limit_are_refused_while_nobody_is_slow() {
    let runtime = running("busy");
    let gate = Gate::default();
    let _opens = shared::held_source(&runtime, &gate);
    let builder = HttpServer::builder(runtime.reader()).source_patience(PATIENCE).max_answered(2);
    let (server, address) = started(builder);
    let mut waiting: Vec<_> = (0..2).map(|_| Client::connect(address)).collect();
    for client in &mut waiting {
        client.send(request("GET", "/metrics", &[]).as_bytes());
    }
    until("both are waiting", || server.stats().scrapes == 2);
    let refused = get(address, "/livez", &[]);
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    assert_eq!(refused.header("connection"), Some("close"));
    gate.open();
    for client in &mut waiting {
        assert_eq!(client.answer(false).unwrap().status, 200);
    }
    assert_eq!(get(address, "/livez", &[]).status, 200);
    assert_eq!(server.stats().unavailable, 1);
}

#[test]
fn whoever_waits_for_a_rendering_is_not_slow_however_long_it_takes() {
    let runtime = running("waiting");
    let gate = Gate::default();
    let _opens = shared::held_source(&runtime, &gate);
    let builder = HttpServer::builder(runtime.reader()).source_patience(PATIENCE).max_answered(1);
    let (server, address) = started(builder);
    let mut waiting = Client::connect(address);
    waiting.send(request("GET", "/metrics", &[]).as_bytes());
    until("it waits", || server.stats().scrapes == 1);
    let since = Instant::now();
    until("it has waited for longer than a reader may", || {
        assert_eq!(get(address, "/livez", &[]).status, 503);
        since.elapsed() > mvx_metrics::limits::SLOW_AFTER
    });
    assert_eq!(get(address, "/livez", &[]).status, 503);
    gate.open();
    assert_eq!(waiting.answer(false).unwrap().status, 200);
    assert_eq!(server.stats().cut_for_room, 0);
}

#[test]
fn a_reader_that_is_too_slow_is_cut() {
    let runtime = large("slow");
    let (server, address) =
        started(HttpServer::builder(runtime.reader()).answer_time(Duration::from_millis(500)));
    let mut slow = Client::connect(address);
    slow.send(request("GET", "/metrics", &[]).as_bytes());
    until("it was cut", || server.stats().cut_slow == 1);
    until("its rendering is gone", || server.stats().held_renderings == 0);
    assert!(slow.answer(false).is_err(), "the answer has not come whole");

    // The same by many small answers that are never read.
    let runtime = running("slow-many");
    counted(&runtime, "one");
    let (server, address) =
        started(HttpServer::builder(runtime.reader()).answer_time(Duration::from_millis(500)));
    let mut slow = Client::connect(address);
    slow.stream.set_write_timeout(Some(Duration::from_millis(10))).unwrap();
    let many = request("GET", "/metrics", &[]).repeat(100);
    until("it was cut", || {
        let _ = slow.stream.write(many.as_bytes());
        server.stats().cut_slow == 1
    });
}

#[test]
fn a_slow_reader_makes_room_for_the_next_request() {
    let runtime = large("room");
    let builder = HttpServer::builder(runtime.reader()).max_answered(1).answer_time(PATIENCE * 4);
    let (server, address) = started(builder);
    let mut slow = Client::connect(address);
    slow.send(request("GET", "/metrics", &[]).as_bytes());
    until("its answer is being written", || server.stats().renderings == 1);
    until("it has made room", || get(address, "/livez", &[]).status == 200);
    assert_eq!(server.stats().cut_for_room, 1);
    assert!(slow.answer(false).is_err());
}

#[test]
fn whoever_reads_steadily_is_not_cut_for_others_however_long_it_takes() {
    let runtime = large("steady");
    let builder = HttpServer::builder(runtime.reader()).max_answered(1).answer_time(PATIENCE * 4);
    let (server, address) = started(builder);
    let mut steady = Client::connect(address);
    steady.send(request("GET", "/metrics", &["Connection: close"]).as_bytes());
    until("its answer is being written", || server.stats().renderings == 1);
    let (begun, mut read, mut refused, mut part) = (Instant::now(), Vec::new(), 0, vec![0; 64 << 10]);
    loop {
        // As fast as a network of eight mebibytes in a second, and others ask meanwhile.
        if read.len() as f64 > begun.elapsed().as_secs_f64() * (8 << 20) as f64 {
            refused += u32::from(get(address, "/livez", &[]).status == 503);
            continue;
        }
        match steady.stream.read(&mut part).unwrap() {
            0 => break,
            some => read.extend_from_slice(&part[..some]),
        }
    }
    let head = read.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
    let stated = std::str::from_utf8(&read[..head])
        .unwrap()
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    assert_eq!(stated.unwrap().parse::<usize>().unwrap(), read.len() - head, "the whole page has come");
    assert!(
        begun.elapsed() > mvx_metrics::limits::SLOW_AFTER,
        "{} bytes in {:?}",
        read.len(),
        begun.elapsed()
    );
    assert!(refused > 0);
    assert_eq!(server.stats().cut_for_room, 0);
}

#[test]
fn memory_does_not_depend_on_how_many_read_slowly() {
    let runtime = large("memory");
    let (server, address) = started(HttpServer::builder(runtime.reader()).answer_time(PATIENCE * 4));
    let mut slow = Vec::new();
    for number in 1..=12 {
        let mut client = Client::connect(address);
        client.send(request("GET", "/metrics", &[]).as_bytes());
        slow.push(client);
        // Each one by itself, so that none shares another's.
        until("it is being answered", || {
            let stats = server.stats();
            stats.renderings + stats.unavailable == number
        });
        let stats = server.stats();
        let most = mvx_metrics::limits::MAX_RENDERINGS as u64;
        assert!(stats.held_renderings <= most && stats.held_bytes < most * 20_000_000, "{stats:?}");
    }
    assert_eq!(get(address, "/metrics", &[]).status, 200);
    let stats = server.stats();
    assert!(stats.cut_for_room + stats.unavailable > 0, "whoever is slow makes room: {stats:?}");
    drop(slow);
    until("their renderings are gone", || server.stats().held_bytes == 0);
}

#[test]
fn a_half_sent_head_is_cut_after_five_seconds_unless_told_otherwise() {
    let runtime = running("five");
    let (server, address) = started(HttpServer::builder(runtime.reader()));
    let begun = Instant::now();
    let mut half = Client::connect(address);
    half.send(b"GET /metrics HTTP/1.1\r\nHost: he");
    assert!(half.is_closed_within(PATIENCE));
    let (took, five) = (begun.elapsed(), Duration::from_secs(5));
    assert!(took >= five && took < five + Duration::from_secs(3), "{took:?}");
    until("it is counted", || server.stats().cut_half_sent == 1);
}
