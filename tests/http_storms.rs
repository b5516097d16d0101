//! A server under what nobody should do to it: floods of half-open clients, slow readers, a thousand scrapes at once, no descriptors left.
//!
//! The server is in a child process, so that its memory is its own.
#![cfg(all(feature = "http", target_os = "linux", not(miri)))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail as tests do"
)]

#[path = "http/client.rs"]
#[allow(dead_code, reason = "the tests of the server use the rest")]
mod client;
#[path = "support/forked.rs"]
mod forked;
mod support;

use crate::client::Client;
use crate::client::get;
use crate::client::request;
use crate::forked::Checks;
use crate::forked::Child;
use crate::support::Number;
use crate::support::PATIENCE;
use crate::support::insist;
use crate::support::running;
use crate::support::scaled;
use crate::support::until;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::http::HttpServer;
use mvx_metrics::limits;
use std::io::Read;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

/// Bytes that a flood may cost.
const FLOOD: u64 = 16 << 20;

/// One storm at a time: a child has copies of all sockets that are open when it is forked off, and the figures are those of the storm alone.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A server in a child process.
struct Served {
    /// Until its end is waited for.
    child: Option<Child>,
    line: UnixStream,
    address: SocketAddr,
}

impl Served {
    /// Of a runtime that the child makes; `last` is checked when the test is done with it.
    fn new(
        make: impl FnOnce() -> MetricsRuntime,
        last: impl FnOnce(&mut Checks, &HttpServer, &MetricsRuntime),
    ) -> Self {
        let (mut parents, mut childs) = UnixStream::pair().unwrap();
        // What a large page takes to be made ready in a debug build, too.
        parents.set_read_timeout(Some(PATIENCE * 5)).unwrap();
        let child = Child::new(move |check| {
            // Should the test fail, nobody says that it is over.
            childs.set_read_timeout(Some(PATIENCE * 10)).unwrap();
            let runtime = make();
            let server = HttpServer::builder(runtime.reader()).port(0).start().unwrap();
            let port = server.local_addr().unwrap().port();
            check.that(childs.write_all(&port.to_le_bytes()).is_ok());
            check.that(childs.read_exact(&mut [0]).is_ok());
            last(check, &server, &runtime);
        });
        let mut port = [0; 2];
        parents.read_exact(&mut port).unwrap();
        Self { child: Some(child), line: parents, address: ([127, 0, 0, 1], u16::from_le_bytes(port)).into() }
    }

    /// Bytes of the child in memory.
    fn resident(&self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.child.as_ref().unwrap().id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1_024
    }

    #[track_caller]
    fn end(mut self) {
        self.line.write_all(&[1]).unwrap();
        let status = self.child.take().unwrap().end();
        assert!(libc::WIFEXITED(status), "the child was killed: {status}");
        assert_eq!(libc::WEXITSTATUS(status), 0, "the number of the check that failed");
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Some(child) = self.child.take() {
            child.signal(libc::SIGKILL);
            let _killed = child.end();
        }
    }
}

/// A runtime of so many series, whose page has about 330 bytes for each.
fn of_series(series: u64) -> MetricsRuntime {
    let runtime =
        MetricsRuntime::builder("storm").exported_cardinality(limits::MAX_CARDINALITY).build().unwrap();
    runtime.start().unwrap();
    let padding: &'static str = "x".repeat(280).leak();
    for part in 0..10 {
        let recorder = runtime
            .recorder::<Number>(&format!("part {part}"))
            .counter("events", move |c| {
                c.label("padding", move |_| padding.into())
                    .label("number", |e| e.0.into())
                    .cardinality(1 << 20)
            })
            .create()
            .unwrap();
        (0..series / 10).for_each(|number| insist(&recorder, Number(number)));
        recorder.flush_blocking(PATIENCE * 5).unwrap();
    }
    runtime
}

/// The value that so many thousandths of the times do not exceed.
fn quantile(times: &mut [Duration], thousandths: usize) -> Duration {
    times.sort();
    times[(times.len() - 1) * thousandths / 1_000]
}

#[test]
fn without_descriptors_the_server_goes_on_with_those_it_has() {
    let _alone = alone();
    let few = || {
        let runtime = running("few");
        // Three sockets and what the loop has are there already; the lowest free number is the next.
        let next = std::fs::File::open("/dev/null").unwrap();
        let most = u64::try_from(std::os::fd::AsRawFd::as_raw_fd(&next)).unwrap() + 24;
        let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
        // SAFETY: sets a limit of the child, from a value that lives for the call.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
        runtime
    };
    let served = Served::new(few, |check, server, _| {
        let stats = server.stats();
        check.that(stats.accept_errors > 0);
        check.that(stats.cut_for_room > 100);
        check.that(server.is_serving());
    });
    let mut clients = Vec::new();
    for _ in 0..200 {
        let mut client = Client::connect(served.address);
        let _ = client.stream.write_all(b"GET /metr");
        clients.push(client);
    }
    let begun = Instant::now();
    assert_eq!(get(served.address, "/metrics", &[]).status, 200);
    assert!(begun.elapsed() < PATIENCE / 2, "{:?}", begun.elapsed());
    served.end();
}

#[test]
fn a_server_is_its_process_s_alone() {
    let _alone = alone();
    let runtime = running("forked");
    let server = HttpServer::builder(runtime.reader()).port(0).start().unwrap();
    let address = server.local_addr().unwrap();
    forked::in_child(|check| {
        check.forked(server.shutdown(PATIENCE));
        check.forked(HttpServer::builder(runtime.reader()).port(0).start());
        let own = running("own");
        let second = HttpServer::builder(own.reader()).port(0).start().unwrap();
        check.that(second.shutdown(PATIENCE).is_ok());
    });
    assert_eq!(get(address, "/metrics", &[]).status, 200);
}

#[test]
fn half_open_clients_and_slow_readers_leave_scrapes_quick_and_memory_flat() {
    let _alone = alone();
    let served = Served::new(
        || of_series(20_000),
        |check, server, _| {
            let stats = server.stats();
            check.that(stats.open <= (limits::MAX_HEADLESS + limits::MAX_ANSWERED) as u64);
            check.that(stats.held_renderings <= limits::MAX_RENDERINGS as u64);
        },
    );
    let page = get(served.address, "/metrics", &[]).body.len() as u64;
    let before = served.resident();
    let mut silent = Client::connect(served.address);
    let silent_since = Instant::now();
    let lasts = Duration::from_secs(scaled(3).min(60));
    let begun = Instant::now();
    let (mut half, mut slow, mut times, mut most) = (Vec::new(), Vec::new(), Vec::new(), before);
    let mut refused = 0;
    while begun.elapsed() < lasts {
        if half.len() < 1_000 {
            half.extend((0..100).map(|_| {
                let mut client = Client::connect(served.address);
                let _ = client.stream.write_all(b"GET /metrics HTTP/1.1\r\nHost:");
                client
            }));
        }
        if slow.len() < 32 {
            let mut client = Client::connect(served.address);
            client.send(request("GET", "/metrics", &[]).as_bytes());
            slow.push(client);
        }
        let asked = Instant::now();
        let status = get(served.address, "/metrics", &["Accept-Encoding: gzip"]).status;
        times.push(asked.elapsed());
        refused += usize::from(status == 503);
        assert!(matches!(status, 200 | 503), "{status}");
        most = most.max(served.resident());
        std::thread::park_timeout(Duration::from_millis(20));
    }
    let (scrapes, p99) = (times.len(), quantile(&mut times, 990));
    let grown = most.saturating_sub(before);
    eprintln!(
        "{scrapes} scrapes, {refused} refused, p99 {p99:?}, {page} bytes a page, {grown} bytes more at most"
    );
    // Renderings are bounded by themselves; each is made of a text and may be grown into twice its bytes.
    let renderings = (limits::MAX_RENDERINGS as u64 + limits::RENDER_THREADS as u64) * page * 2;
    assert!(grown <= FLOOD + renderings, "{grown} bytes more, {page} a page");
    let slow_machine = cfg!(debug_assertions);
    assert!(p99 < if slow_machine { PATIENCE / 2 } else { Duration::from_secs(1) }, "{p99:?}");
    assert!(refused * 5 <= scrapes, "{refused} of {scrapes} refused");
    assert!(silent.is_closed_within(PATIENCE));
    let closed = silent_since.elapsed();
    assert!(closed < lasts.max(Duration::from_secs(6)) + Duration::from_secs(1), "{closed:?}");
    served.end();
}

#[test]
fn many_scrapes_at_once_share_renderings_and_those_past_the_limit_are_told_to_come_again() {
    let _alone = alone();
    let clients = scaled(400).min(1_000);
    let series = scaled(5_000).min(100_000);
    let served = Served::new(
        move || of_series(series),
        move |check, server, _| {
            let stats = server.stats();
            check.that(stats.scrapes + stats.unavailable == clients + 1);
            check.that(stats.renderings * 4 <= clients);
        },
    );
    let page = get(served.address, "/metrics", &[]).body.len() as u64;
    let before = served.resident();
    let mut statuses = Vec::new();
    std::thread::scope(|scope| {
        let asked: Vec<_> =
            (0..clients).map(|_| scope.spawn(|| get(served.address, "/metrics", &[]).status)).collect();
        statuses.extend(asked.into_iter().map(|asked| asked.join().unwrap()));
    });
    let grown = served.resident().saturating_sub(before);
    statuses.sort_unstable();
    let refused = statuses.iter().filter(|status| **status == 503).count();
    eprintln!("{clients} scrapes at once of {page} bytes, {refused} refused, {grown} bytes more");
    statuses.dedup();
    assert!(statuses.iter().all(|status| matches!(status, 200 | 503)), "{statuses:?}");
    let answered = clients - refused as u64;
    assert!(answered >= limits::MAX_ANSWERED as u64, "{refused} of {clients} refused");
    assert!(grown <= FLOOD + (limits::MAX_RENDERINGS as u64 + 2) * page * 2, "{grown}");
    served.end();
}

#[test]
fn a_large_scrape_does_not_hold_up_events() {
    let _alone = alone();
    let series = scaled(50_000).min(1_000_000);
    let runtime = of_series(series);
    let recorder = runtime.recorder::<Number>("timed").counter("timed", |c| c).create().unwrap();
    let server = HttpServer::builder(runtime.reader()).port(0).start().unwrap();
    let address = server.local_addr().unwrap();
    let visible = |count: u64| {
        let begun = Instant::now();
        recorder.register_event(Number(1));
        until("it is visible", || recorder.snapshot().counter("timed", &[]) == Some(count));
        begun.elapsed()
    };
    let mut count = 0;
    let mut next = || {
        count += 1;
        visible(count)
    };
    let mut idle: Vec<_> = (0..500).map(|_| next()).collect();
    let mut scraped = Vec::new();
    let mut bytes = 0;
    std::thread::scope(|scope| {
        let scrape = scope.spawn(|| get(address, "/metrics", &[]).body.len());
        while !scrape.is_finished() {
            scraped.push(next());
        }
        bytes = scrape.join().unwrap();
    });
    let took = server.stats().longest_rendering;
    let (idle, scraped_p99) = (quantile(&mut idle, 990), quantile(&mut scraped, 990));
    eprintln!(
        "{series} series, {bytes} bytes rendered in {took:?}: p99 {idle:?} idle, {scraped_p99:?} during the scrape ({} events)",
        scraped.len()
    );
    assert!(scraped_p99 <= Duration::from_millis(50).max(idle * 2), "{idle:?}, then {scraped_p99:?}");
}
