//! B21: an OTLP export of 10,000 series, from collecting to the answer.

use crate::Failure;
use crate::clocks;
use crate::rounds::Round;
use crate::rounds::interleave;
use crate::rows::Reading;
use crate::rows::Row;
use mvx_metrics::MetricEvent;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::Recorder;
use mvx_metrics::export::Schedule;
use mvx_metrics::export::otlp::OtlpExporter;
use opentelemetry::KeyValue;
use opentelemetry::metrics::Counter;
use opentelemetry::metrics::Histogram;
use opentelemetry::metrics::MeterProvider;
use opentelemetry_http::Bytes;
use opentelemetry_http::HttpClient;
use opentelemetry_http::HttpError;
use opentelemetry_http::Request;
use opentelemetry_http::Response;
use opentelemetry_otlp::MetricExporter;
use opentelemetry_otlp::Protocol;
use opentelemetry_otlp::WithExportConfig;
use opentelemetry_otlp::WithHttpConfig;
use opentelemetry_sdk::metrics::PeriodicReader;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use std::future::Future;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::net::TcpListener;
use std::net::TcpStream;
use std::pin::Pin;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Counters, and as many histograms.
const METRICS: usize = 5;

/// Of each.
const SERIES: u64 = 1_000;

/// Fourteen buckets.
const BOUNDS: [f64; 13] = [0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 25.0, 50.0, 75.0];

const PATIENCE: Duration = Duration::from_secs(60);

/// Of nobody's schedule: exports happen when they are asked for.
const NEVER: Duration = Duration::from_secs(86_400);

struct Stated(u64);

impl MetricEvent for Stated {
    fn event_type(&self) -> &'static str {
        "stated"
    }
}

pub(super) fn measure(rounds: usize) -> Result<Row, Failure> {
    let sink = Sink::start()?;
    let (runtime, recorder) = ours(&sink)?;
    let rival = Rival::start(&sink)?;
    let (mut of_ours, mut of_rival) = (0, 0);
    let figures = interleave(
        rounds,
        || {
            (0..SERIES).for_each(|n| recorder.register_event(Stated(n)));
            runtime.flush_blocking(PATIENCE)?;
            timed(&sink, &mut of_ours, || Ok(runtime.force_flush(PATIENCE)?))
        },
        || {
            (0..SERIES).for_each(|n| rival.state(n));
            timed(&sink, &mut of_rival, || Ok(rival.provider.force_flush()?))
        },
    )?;
    rival.provider.shutdown()?;
    let report = runtime.shutdown(PATIENCE)?;
    if !report.is_complete() {
        return Err("an export was not delivered".into());
    }
    Ok(Row {
        id: "B21",
        what: "10,000 series (half of them 14 buckets) collected and exported by OTLP over HTTP; OTel SDK",
        unit: "ms process CPU/export",
        figures,
        reading: Reading::Ratio,
        bar: 0.5,
        threads: 1,
        unchecked: None,
        remarks: vec![format!("bytes of an export: {of_ours} ours, {of_rival} the rival's")],
    })
}

fn ours(sink: &Sink) -> Result<(MetricsRuntime, Recorder<Stated>), Failure> {
    let runtime = MetricsRuntime::builder("export").build()?;
    runtime.start()?;
    let mut builder = runtime.recorder::<Stated>("subject");
    for metric in 0..METRICS {
        builder = builder
            .counter(&format!("count.{metric}"), |c| c.label("n", |e| e.0.into()))
            .histogram(&format!("took.{metric}"), |h| {
                h.bounds(&BOUNDS).label("n", |e| e.0.into()).value(|e| Some(e.0 as f64 / 10.0))
            });
    }
    let recorder = builder.create()?;
    let exporter = OtlpExporter::builder().endpoint(&sink.url()).no_proxy().build()?;
    runtime.add_exporter("otlp", Schedule::every(NEVER).timeout(PATIENCE), exporter)?;
    Ok((runtime, recorder))
}

/// The same by the SDK, with a reader and an exporter of its own family.
struct Rival {
    provider: SdkMeterProvider,
    counters: Vec<Counter<u64>>,
    histograms: Vec<Histogram<f64>>,
}

impl Rival {
    fn start(sink: &Sink) -> Result<Self, Failure> {
        let exporter = MetricExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(sink.url())
            .with_http_client(Client { connection: Mutex::new(TcpStream::connect(sink.address.as_str())?) })
            .build()?;
        let reader = PeriodicReader::builder(exporter).with_interval(NEVER).build();
        let provider = SdkMeterProvider::builder().with_reader(reader).build();
        let meter = provider.meter("rival");
        let counters = (0..METRICS).map(|at| meter.u64_counter(format!("count.{at}")).build()).collect();
        let histogram =
            |at| meter.f64_histogram(format!("took.{at}")).with_boundaries(BOUNDS.to_vec()).build();
        let histograms = (0..METRICS).map(histogram).collect();
        Ok(Self { provider, counters, histograms })
    }

    fn state(&self, n: u64) {
        // What our series have, too.
        let labels = [KeyValue::new("n", n.to_string()), KeyValue::new("recorder", "subject")];
        self.counters.iter().for_each(|counter| counter.add(1, &labels));
        self.histograms.iter().for_each(|histogram| histogram.record(n as f64 / 10.0, &labels));
    }
}

/// The least that a client of the rival's can be: one connection of std, and no waiting for anything else.
#[derive(Debug)]
struct Client {
    connection: Mutex<TcpStream>,
}

type Answer<'a> = Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'a>>;

impl HttpClient for Client {
    fn send_bytes<'life0, 'async_trait>(&'life0 self, request: Request<Bytes>) -> Answer<'async_trait>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(async move {
            let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
            let body = request.body();
            let head =
                format!("POST {} HTTP/1.1\r\nContent-Length: {}\r\n\r\n", request.uri().path(), body.len());
            connection.write_all(head.as_bytes())?;
            connection.write_all(body)?;
            read_head(&mut BufReader::new(&*connection))?;
            Ok(Response::new(Bytes::new()))
        })
    }
}

/// Milliseconds of this process's CPU, and how many bytes came of it.
fn timed(
    sink: &Sink,
    bytes: &mut u64,
    export: impl FnOnce() -> Result<(), Failure>,
) -> Result<Round, Failure> {
    let before = sink.taken()?;
    let started = clocks::process_cpu();
    export()?;
    let spent = clocks::process_cpu() - started;
    *bytes = sink.taken()? - before;
    // Ten thousand series are more than that.
    if *bytes < 500_000 {
        return Err(format!("{bytes} bytes are no such export").into());
    }
    Ok(Round::Figure(spent as f64 / 1e6))
}

/// A receiver in a process of its own, whose CPU is nobody's.
struct Sink {
    child: Child,
    address: String,
}

impl Sink {
    fn start() -> Result<Self, Failure> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("--sink")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut address = String::new();
        BufReader::new(child.stdout.take().ok_or("the sink says nothing")?).read_line(&mut address)?;
        Ok(Self { child, address: address.trim().to_owned() })
    }

    fn url(&self) -> String {
        format!("http://{}/v1/metrics", self.address)
    }

    /// How many bytes of requests it has taken.
    fn taken(&self) -> Result<u64, Failure> {
        let mut stream = TcpStream::connect(self.address.as_str())?;
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n")?;
        let mut reader = BufReader::new(stream);
        let length = read_head(&mut reader)?;
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        Ok(String::from_utf8(body)?.parse()?)
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The sink's own life: says its address, takes whatever comes, and ends with whoever started it.
pub fn sink() -> Result<(), Failure> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    writeln!(std::io::stdout(), "{}", listener.local_addr()?)?;
    let taken = Arc::new(AtomicU64::new(0));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let taken = Arc::clone(&taken);
            std::thread::spawn(move || take(stream, &taken));
        }
    });
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    Ok(())
}

fn take(stream: TcpStream, taken: &AtomicU64) -> Result<(), Failure> {
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    loop {
        let length = read_head(&mut reader)?;
        std::io::copy(&mut (&mut reader).take(length as u64), &mut std::io::sink())?;
        let before = taken.fetch_add(length as u64, Ordering::Relaxed);
        let body = if length == 0 { before.to_string() } else { String::new() };
        write!(writer, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())?;
    }
}

/// Reads up to the blank line; the length of what comes after.
fn read_head(reader: &mut impl BufRead) -> Result<usize, std::io::Error> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim();
        if line.is_empty() {
            return Ok(length);
        }
        if let Some((name, value)) = line.split_once(':') {
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().unwrap_or(0);
            }
        }
    }
}
