//! How soon an event is seen while a page of a million series is scraped, against the same while nobody scrapes:
//! `scrapes [ROUNDS] [SERIES] [--gzip]`.
//!
//! From `register_event` to the snapshot that shows it, one event a millisecond. A round is a second without scrapes and a second of scrapes
//! by HTTP, one after the other, so that whatever else the machine does meets both. The scraper is a thread of this process: on two cores
//! the events, the worker, the rendering, the server and the scraper share them. Who waits for an event looks, sleeps a moment and looks
//! again, as a reader does: one that never slept would take a core of the two, and be made to wait for its turn by the others.

use mvx_metrics::MetricEvent;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::Recorder;
use mvx_metrics::http::HttpServer;
use mvx_metrics::limits;
use rivals::Failure;
use rivals::clocks;
use rivals::machine;
use rivals::stats;
use std::io::Read;
use std::io::Write;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;
use std::time::Instant;

/// Each with a thousandth of the series.
const RECORDERS: u64 = 1_000;

/// Events of a round without scrapes, and at least with them.
const EVENTS: usize = 1_000;

/// Between two looks; the kernel adds what it rounds timers to.
const LOOK: Duration = Duration::from_micros(10);

/// Between two events.
const PACE: Duration = Duration::from_millis(1);

/// What issue and reliability bar ask for.
const BAR: f64 = 2.0;

#[derive(Clone, Copy)]
struct Seen(u64);

impl MetricEvent for Seen {
    fn event_type(&self) -> &'static str {
        "seen"
    }
}

fn main() -> Result<(), Failure> {
    let (gzip, numbers): (Vec<_>, Vec<_>) = std::env::args().skip(1).partition(|word| word == "--gzip");
    let number = |at: usize, default: u64| numbers.get(at).map_or(Ok(default), |word| word.parse());
    let (rounds, series) = (number(0, 15)?, number(1, 1_000_000)?);
    let accept = if gzip.is_empty() { "identity" } else { "gzip" };
    let runtime = of_series(series)?;
    let recorder = runtime.recorder::<Seen>("timed").counter("timed", |c| c).create()?;
    let server = HttpServer::builder(runtime.reader()).port(0).start()?;
    let address = server.local_addr().ok_or("the server has no port")?;
    check(std::str::from_utf8(&scrape(address, "identity", true)?.body)?, series)?;
    let (mut count, mut idle, mut scraped) = (0, Percentiles::default(), Percentiles::default());
    let (mut bytes, mut during, mut scrapes, mut took) = (0, 0, 0_u32, Duration::ZERO);
    for _ in 0..rounds {
        let mut nanos = Vec::with_capacity(EVENTS);
        while nanos.len() < EVENTS {
            nanos.push(seen(&recorder, &mut count)?);
        }
        idle.push(&mut nanos);
        nanos.clear();
        while nanos.len() < EVENTS {
            let begun = Instant::now();
            thread::scope(|scope| {
                let scrape = scope.spawn(|| scrape(address, accept, false));
                while !scrape.is_finished() {
                    nanos.push(seen(&recorder, &mut count)?);
                }
                bytes = scrape.join().map_err(|_| "the scraper panicked")??.bytes;
                Ok::<_, Failure>(())
            })?;
            (took, scrapes) = (took + begun.elapsed(), scrapes + 1);
        }
        during += nanos.len();
        scraped.push(&mut nanos);
    }
    let renderings = server.stats().renderings;
    if renderings != u64::from(scrapes) + 1 {
        return Err(format!("{renderings} renderings of {scrapes} scrapes: some were shared or kept").into());
    }
    server.shutdown(Duration::from_secs(10))?;
    if runtime.shutdown(Duration::from_secs(60))?.accounts().processed != series + count {
        return Err("events are missing, so the figures mean nothing".into());
    }
    let out = &mut std::io::stdout();
    let about = machine::describe();
    writeln!(out, "{} core(s), {}, load average {}", clocks::cores(), about["cpu"], about["load_average"])?;
    writeln!(
        out,
        "{series} series of {RECORDERS} recorders, {accept}, {bytes} bytes a page, {scrapes} scrapes of {:.2} s, {during} events during them",
        took.as_secs_f64() / f64::from(scrapes)
    )?;
    writeln!(
        out,
        "{:<32} {:>9} {:>9} {:>7} {:>11}  bar",
        "us from the event to a snapshot", "idle", "scraped", "ratio", "upper 95 %"
    )?;
    for (name, idle, scraped) in idle.beside(&scraped) {
        let ratios = stats::ratios(scraped, idle);
        let bound = stats::upper_bound_of_median(&ratios);
        let verdict = if bound <= BAR { "holds" } else { "does not hold" };
        let [idle, scraped, ratio] = [idle, scraped, &ratios[..]].map(stats::median);
        writeln!(
            out,
            "{name:<32} {idle:>9.1} {scraped:>9.1} {ratio:>7.2} {bound:>11.2}  <= {BAR:.1} {verdict}"
        )?;
    }
    Ok(())
}

/// A runtime of so many series, each with one event.
fn of_series(series: u64) -> Result<MetricsRuntime, Failure> {
    let runtime = MetricsRuntime::builder("scrapes").exported_cardinality(limits::MAX_CARDINALITY).build()?;
    runtime.start()?;
    for part in 0..RECORDERS {
        let recorder = runtime
            .recorder::<Seen>(&part.to_string())
            .counter("events", |c| c.label("number", |e: &Seen| e.0.into()).cardinality(1 << 20))
            .create()?;
        for number in (part..series).step_by(RECORDERS as usize) {
            while recorder.try_register_event(Seen(number)).is_err() {
                thread::yield_now();
            }
        }
    }
    runtime.flush_blocking(Duration::from_secs(60))?;
    Ok(runtime)
}

/// Microseconds until an event is seen; then the pause before the next.
fn seen(recorder: &Recorder<Seen>, count: &mut u64) -> Result<f64, Failure> {
    *count += 1;
    let begun = Instant::now();
    recorder.register_event(Seen(*count));
    while recorder.snapshot().counter("timed", &[]) != Some(*count) {
        if begun.elapsed() > Duration::from_secs(10) {
            return Err("an event is not seen".into());
        }
        thread::park_timeout(LOOK);
    }
    let took = begun.elapsed();
    let end = begun + PACE;
    while let Some(rest) = end.checked_duration_since(Instant::now()).filter(|rest| !rest.is_zero()) {
        thread::park_timeout(rest);
    }
    Ok(took.as_secs_f64() * 1e6)
}

/// What was read of the page.
struct Scraped {
    bytes: u64,
    /// Empty unless it was to be kept.
    body: Vec<u8>,
}

/// One scrape over a connection of its own, read to its end.
fn scrape(address: SocketAddr, accept: &str, keep: bool) -> Result<Scraped, Failure> {
    let mut stream = TcpStream::connect(address)?;
    write!(
        stream,
        "GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: {accept}\r\nConnection: close\r\n\r\n"
    )?;
    let (mut buffer, mut scraped) = (vec![0; 1 << 16], Scraped { bytes: 0, body: Vec::new() });
    loop {
        let read = stream.read(&mut buffer)?;
        if scraped.bytes == 0 && !buffer.starts_with(b"HTTP/1.1 200 ") {
            return Err(String::from_utf8_lossy(&buffer[..read.min(200)]).into());
        }
        scraped.bytes += read as u64;
        if keep {
            scraped.body.extend_from_slice(&buffer[..read]);
        }
        if read == 0 {
            return Ok(scraped);
        }
    }
}

/// All series are on the page.
fn check(page: &str, series: u64) -> Result<(), Failure> {
    let shown = page.lines().filter(|line| line.starts_with("events_total{")).count() as u64;
    if shown == series { Ok(()) } else { Err(format!("{shown} of {series} series on the page").into()) }
}

/// Of each round.
#[derive(Default)]
struct Percentiles {
    p50: Vec<f64>,
    p99: Vec<f64>,
}

impl Percentiles {
    /// Of the figures of a round, which become sorted.
    fn push(&mut self, figures: &mut [f64]) {
        figures.sort_by(f64::total_cmp);
        let at = |q: f64| figures.get(((figures.len() as f64 * q).ceil() as usize).saturating_sub(1));
        self.p50.push(at(0.5).copied().unwrap_or(f64::NAN));
        self.p99.push(at(0.99).copied().unwrap_or(f64::NAN));
    }

    fn beside<'a>(&'a self, other: &'a Self) -> [(&'static str, &'a [f64], &'a [f64]); 2] {
        [("p50 of the round", &self.p50, &other.p50), ("p99 of the round", &self.p99, &other.p99)]
    }
}
