//! Real receivers that die: killed, stopped, their disk wiped, their port closed. What was counted is there in the end, no value ever falls, memory stays flat, and
//! nobody else waits (R24, R26).
#![cfg(all(feature = "remote-write", feature = "pushgateway", target_os = "linux", not(miri)))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail as tests do"
)]

#[path = "support/heap.rs"]
mod heap;
#[path = "prometheus/parser.rs"]
#[allow(dead_code, reason = "the tests of the formats use the rest")]
mod parser;
#[cfg(feature = "otlp-grpc")]
#[path = "push/server.rs"]
mod server;
mod support;
#[path = "push/victoria.rs"]
mod victoria;
#[path = "push/written.rs"]
#[allow(dead_code, reason = "the test of what is written uses the rest")]
mod written;

use crate::support::Number;
use crate::support::PATIENCE;
use crate::support::running;
use crate::support::scaled;
use crate::support::until;
use mvx_metrics::ExporterStatus;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::RuntimeSnapshot;
use mvx_metrics::export::ExportError;
use mvx_metrics::export::Exporter;
use mvx_metrics::export::Schedule;
use mvx_metrics::export::pushgateway::PushgatewayExporter;
use mvx_metrics::export::remote_write::RemoteWriteExporter;
use std::collections::BTreeMap;
use std::io::Read;
use std::io::Write;
use std::marker::PhantomData;
use std::net::TcpListener;
use std::net::TcpStream;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;
use std::time::Instant;

/// One at a time: they share the machine's time, and the count of bytes.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where nobody listens.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

const INTERVAL: Duration = Duration::from_millis(100);
const TIMEOUT: Duration = Duration::from_millis(300);
const PAUSE: Duration = Duration::from_millis(20);
const RETRIES: u32 = 1;
/// What comes on top, on a machine that does other things as well.
const SLACK: Duration = Duration::from_secs(3);

/// A receiver that can be ended and begun again at its port, with its disk.
trait Receiver {
    const PROGRAM: &'static str;
    /// Whether what it has taken is seen later.
    const LATER: bool = false;
    /// Whether it is here; otherwise that is told.
    fn is_there() -> bool {
        let there =
            Command::new(Self::PROGRAM).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if there.is_err() {
            let how = format!("apt-get install {}", Self::PROGRAM);
            not_checked(Self::PROGRAM, &how);
        }
        there.is_ok()
    }
    fn is_ready(port: u16) -> bool {
        get(port, "/-/ready").is_some_and(|answer| answer.contains(" 200 "))
    }
    fn command(dir: &Path, port: u16) -> Command;
    /// Values of the series of the counter, by its label `n`.
    fn held(port: u16) -> Option<BTreeMap<String, f64>>;
    /// What was visible before of a series, in order, as far as that is kept.
    fn history(port: u16) -> Vec<Vec<f64>>;
}

fn not_checked(program: &str, how: &str) {
    let told = writeln!(
        std::io::stderr(),
        "NOT CHECKED IN PART: {program} that dies: it is missing; to get it: {how}"
    );
    assert!(told.is_ok());
}

struct Prometheus;

impl Receiver for Prometheus {
    const PROGRAM: &'static str = "prometheus";

    fn command(dir: &Path, port: u16) -> Command {
        std::fs::write(dir.join("prometheus.yml"), "global: {}\n").unwrap();
        let mut command = Command::new(Self::PROGRAM);
        command.args(["--config.file=prometheus.yml", "--storage.tsdb.path=data", "--log.level=error"]);
        command.args(["--web.enable-remote-write-receiver"]);
        command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
        command
    }

    fn held(port: u16) -> Option<BTreeMap<String, f64>> {
        counts(&query(port, "count_total")?)
    }

    fn history(port: u16) -> Vec<Vec<f64>> {
        let answer = query(port, "count_total%5B1h%5D").unwrap();
        let values = |series: &serde_json::Value| {
            let values = series["values"].as_array().unwrap().iter();
            values.map(|pair| pair[1].as_str().unwrap().parse().unwrap()).collect()
        };
        answer["data"]["result"].as_array().unwrap().iter().map(values).collect()
    }
}

/// The counter's series in an answer, by their label `n`.
fn counts(answer: &serde_json::Value) -> Option<BTreeMap<String, f64>> {
    let one = |series: &serde_json::Value| {
        let n = series["metric"]["n"].as_str()?.to_owned();
        Some((n, series["value"][1].as_str()?.parse().ok()?))
    };
    answer["data"]["result"].as_array()?.iter().map(one).collect()
}

fn query(port: u16, expression: &str) -> Option<serde_json::Value> {
    let answer = get(port, &format!("/api/v1/query?query={expression}"))?;
    serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
}

struct Pushgateway;

impl Receiver for Pushgateway {
    const PROGRAM: &'static str = "prometheus-pushgateway";

    fn command(_: &Path, port: u16) -> Command {
        let mut command = Command::new(Self::PROGRAM);
        command.args(["--persistence.file=data", "--persistence.interval=50ms"]);
        command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
        command
    }

    fn held(port: u16) -> Option<BTreeMap<String, f64>> {
        let answer = get(port, "/metrics")?;
        let one = |line: &str| {
            let (_, rest) = line.strip_prefix("count_total{")?.split_once("n=\"")?;
            let (n, rest) = rest.split_once('"')?;
            Some((n.to_owned(), rest.rsplit_once(' ')?.1.parse().ok()?))
        };
        Some(answer.lines().filter_map(one).collect())
    }

    fn history(_: u16) -> Vec<Vec<f64>> {
        Vec::new()
    }
}

fn get(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

/// A child that is ended with the test.
struct Running(Child);

impl Running {
    fn start<R: Receiver>(dir: &Path, port: u16) -> Self {
        let mut command = R::command(dir, port);
        command.current_dir(dir).stdout(Stdio::null()).stderr(Stdio::null());
        let running = Self(command.spawn().unwrap());
        until("the receiver is ready", || R::is_ready(port));
        running
    }

    fn signal(&self, signal: libc::c_int) {
        // SAFETY: a signal to a child of this process that was not waited for.
        assert_eq!(unsafe { libc::kill(self.0.id() as libc::pid_t, signal) }, 0);
    }
}

impl Drop for Running {
    /// By SIGKILL: nothing is written before.
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Takes connections, and answers each with nonsense.
struct Stranger {
    over: Arc<AtomicBool>,
    answering: thread::JoinHandle<u32>,
}

impl Stranger {
    fn at(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let over = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&over);
        let answering = thread::spawn(move || {
            let mut answered = 0;
            while !is_over.load(Ordering::Acquire) {
                match listener.accept() {
                    Ok((mut stream, _)) => {
                        let _ = stream.write_all(b"\0\xff\xffSSH-2.0-none of your business\r\n\r\n");
                        answered += 1;
                    }
                    Err(_) => thread::park_timeout(Duration::from_millis(1)),
                }
            }
            answered
        });
        Self { over, answering }
    }

    /// Leaves, and says how many came.
    fn end(self) -> u32 {
        self.over.store(true, Ordering::Release);
        self.answering.join().unwrap()
    }
}

/// Lets time pass.
fn pass(time: Duration) {
    let end = Instant::now() + time;
    while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        thread::park_timeout(left);
    }
}

/// Some number below a hundred, each time another.
fn chance(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) % 100
}

/// Notes when it was called.
struct Other(Arc<Mutex<Vec<Instant>>>);

impl Exporter for Other {
    async fn export(&mut self, _: &RuntimeSnapshot, _: Duration) -> Result<(), ExportError> {
        self.0.lock().unwrap().push(Instant::now());
        Ok(())
    }
}

fn status(runtime: &MetricsRuntime) -> ExporterStatus {
    runtime.exporters().into_iter().find(|status| status.name == "receiver").unwrap()
}

/// How long a state may take to arrive at a receiver that is well again: the attempt that is under way, its pause and the next, and the next time.
fn recovery() -> Duration {
    INTERVAL + (TIMEOUT + PAUSE) * (RETRIES + 1) + SLACK
}

struct Scene<'a, R> {
    dir: &'a Path,
    port: u16,
    runtime: MetricsRuntime,
    /// What of each series was seen last.
    seen: BTreeMap<String, f64>,
    server: Option<Running>,
    of: PhantomData<R>,
}

impl<R: Receiver> Scene<'_, R> {
    /// Looks at what the receiver shows, in which nothing may have fallen.
    fn look(&mut self) {
        for (n, value) in R::held(self.port).unwrap_or_default() {
            let before = self.seen.insert(n.clone(), value).unwrap_or(0.0);
            assert!(value >= before, "{n} fell from {before} to {value}");
        }
    }

    fn kill(&mut self) {
        self.server = None;
    }

    fn start(&mut self) {
        self.server = Some(Running::start::<R>(self.dir, self.port));
        self.recovers();
    }

    /// Waits until something is delivered.
    fn recovers(&mut self) {
        let (began, before) = (Instant::now(), status(&self.runtime).delivered);
        until("something is delivered", || status(&self.runtime).delivered > before);
        assert!(began.elapsed() <= recovery(), "it took {:?}", began.elapsed());
        self.look();
    }

    fn fails(&self) {
        until("an export has failed", || status(&self.runtime).consecutive_failures > 0);
    }
}

fn dies<R: Receiver>(push: impl FnOnce(&MetricsRuntime, &str, Schedule)) {
    let _alone = alone();
    if !R::is_there() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let runtime = running("dying");
    let counting = runtime
        .recorder::<Number>("one")
        .counter("count", |c| c.label("n", |n| (n.0 % 10).into()))
        .create()
        .unwrap();
    (0..10).for_each(|n| counting.register_event(Number(n)));
    let schedule = Schedule::every(INTERVAL).timeout(TIMEOUT).retries(RETRIES).retry_pause(PAUSE);
    let server = Some(Running::start::<R>(dir.path(), port));
    push(&runtime, &format!("http://127.0.0.1:{port}"), schedule);
    let times = Arc::<Mutex<Vec<Instant>>>::default();
    runtime.add_exporter("other", Schedule::every(INTERVAL), Other(Arc::clone(&times))).unwrap();
    let mut scene =
        Scene::<R> { dir: dir.path(), port, runtime, seen: BTreeMap::new(), server, of: PhantomData };
    scene.recovers();

    // Counts on, whatever happens to the receiver.
    let stop = Arc::new(AtomicBool::new(false));
    let (stopped, events) = (Arc::clone(&stop), counting.clone());
    let counter = thread::spawn(move || {
        let mut counted = 10_u64;
        while !stopped.load(Ordering::Acquire) {
            events.register_event(Number(counted));
            counted += 1;
            thread::park_timeout(Duration::from_millis(1));
        }
        counted
    });

    let mut random = u64::from(std::process::id());
    let mut flat = None;
    // `kill -9`, at random, for a random time.
    for _ in 0..scaled(1).clamp(3, 20) {
        pass(Duration::from_millis(2 * chance(&mut random)));
        scene.kill();
        pass(Duration::from_millis(3 * chance(&mut random)));
        scene.start();
        // By then everything has been through a failure once.
        flat.get_or_insert_with(heap::live);
    }
    // Nobody listens for many times.
    scene.kill();
    scene.fails();
    pass(INTERVAL * 5);
    scene.start();
    // Somebody else has its port, and answers nonsense.
    scene.kill();
    let stranger = Stranger::at(port);
    scene.fails();
    let before = status(&scene.runtime);
    pass(INTERVAL * 5);
    assert!(stranger.end() > 3);
    let after = status(&scene.runtime);
    assert!(after.delivered == before.delivered && after.failed > before.failed, "{before:?}, {after:?}");
    scene.start();
    // It is there, and does nothing.
    scene.server.as_ref().unwrap().signal(libc::SIGSTOP);
    scene.fails();
    pass(Duration::from_millis(1_750) * scaled(1).min(20) as u32);
    scene.server.as_ref().unwrap().signal(libc::SIGCONT);
    scene.recovers();
    if R::LATER {
        let long = |history: Vec<Vec<f64>>| history.len() == 10 && history.iter().all(|one| one.len() > 3);
        until("something is seen of each series", || long(R::history(port)));
    }
    for series in R::history(port) {
        assert!(series.len() > 3 && series.is_sorted(), "{series:?}");
    }
    // It has forgotten everything.
    scene.kill();
    let data = dir.path().join("data");
    let _ = if data.is_dir() { std::fs::remove_dir_all(&data) } else { std::fs::remove_file(&data) };
    assert!(!data.exists());
    scene.start();

    stop.store(true, Ordering::Release);
    let counted = counter.join().unwrap();
    counting.flush_blocking(PATIENCE).unwrap();
    scene.runtime.force_flush(PATIENCE).unwrap();
    let sum = |held: &BTreeMap<String, f64>| held.values().sum::<f64>() == counted as f64;
    if R::LATER {
        until("everything is seen", || R::held(port).as_ref().is_some_and(sum));
    }
    let held = R::held(port).unwrap();
    assert_eq!(held.values().sum::<f64>(), counted as f64, "{held:?}");
    scene.look();
    for series in R::history(port) {
        assert!(series.is_sorted(), "{series:?}");
    }
    let grown = heap::live() - flat.unwrap();
    assert!(grown < 256 * 1_024, "{grown} bytes more than after the first kill");
    let times = times.lock().unwrap();
    let gaps = times.windows(2).map(|pair| pair[1] - pair[0]);
    let longest = gaps.max().unwrap();
    assert!(longest < INTERVAL * 2 + SLACK / 3, "another exporter waited for {longest:?}");
    let due = (times[times.len() - 1] - times[0]).as_secs_f64() / INTERVAL.as_secs_f64();
    assert!(times.len() as f64 >= due * 0.9, "{} of {due} times", times.len());
}

#[test]
fn prometheus_dies_in_every_way_and_has_every_value_in_the_end() {
    dies::<Prometheus>(|runtime, url, schedule| {
        let exporter = RemoteWriteExporter::builder(&format!("{url}/api/v1/write")).vitals(false).build();
        runtime.add_exporter("receiver", schedule, exporter.unwrap()).unwrap();
    });
}

#[test]
fn a_pushgateway_dies_in_every_way_and_has_every_value_in_the_end() {
    dies::<Pushgateway>(|runtime, url, schedule| {
        let exporter = PushgatewayExporter::builder(url, "dying").vitals(false).build();
        runtime.add_exporter("receiver", schedule, exporter.unwrap()).unwrap();
    });
}

/// An agent of others, `rotel`, that passes on what it takes to a sink in this process, by OTLP over HTTP.
#[cfg(feature = "otlp-grpc")]
mod agent {
    use super::*;
    use crate::server::Received;
    use crate::server::Server;
    use mvx_metrics::export::otlp::OtlpExporter;
    use mvx_metrics::export::otlp::Protocol;
    use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use opentelemetry_proto::tonic::metrics::v1::NumberDataPoint;
    use opentelemetry_proto::tonic::metrics::v1::metric::Data;
    use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Point;
    use prost::Message;
    use std::sync::OnceLock;

    /// What is behind the agent: the server, and what came of each series.
    #[derive(Default)]
    struct Sink {
        server: OnceLock<Server>,
        came: Mutex<BTreeMap<String, Vec<f64>>>,
    }

    static SINKS: [OnceLock<Sink>; 2] = [OnceLock::new(), OnceLock::new()];

    struct Rotel<const GRPC: bool>;

    impl<const GRPC: bool> Rotel<GRPC> {
        fn sink() -> &'static Sink {
            SINKS[usize::from(GRPC)].get_or_init(Sink::default)
        }

        /// Takes what has come.
        fn came() -> std::sync::MutexGuard<'static, BTreeMap<String, Vec<f64>>> {
            let sink = Self::sink();
            let mut came = sink.came.lock().unwrap();
            for request in sink.server.get_or_init(Server::start).take() {
                let request = ExportMetricsServiceRequest::decode(&plain(&request)[..]).unwrap();
                let scopes = request.resource_metrics.into_iter().flat_map(|one| one.scope_metrics);
                for metric in scopes.flat_map(|scope| scope.metrics).filter(|metric| metric.name == "count") {
                    let Some(Data::Sum(sum)) = metric.data else { panic!("{metric:?}") };
                    for point in sum.data_points {
                        came.entry(label(&point)).or_default().push(number(&point));
                    }
                }
            }
            came
        }
    }

    fn plain(request: &Received) -> Vec<u8> {
        let mut body = request.body.clone();
        if request.header("content-encoding") == Some("gzip") {
            body.clear();
            flate2::read::GzDecoder::new(&request.body[..]).read_to_end(&mut body).unwrap();
        }
        body
    }

    fn label(point: &NumberDataPoint) -> String {
        let pair = point.attributes.iter().find(|pair| pair.key == "n").unwrap();
        match pair.value.as_ref().and_then(|any| any.value.as_ref()) {
            Some(Value::StringValue(text)) => text.clone(),
            other => panic!("{other:?}"),
        }
    }

    fn number(point: &NumberDataPoint) -> f64 {
        match point.value {
            Some(Point::AsInt(count)) => count as f64,
            other => panic!("{other:?}"),
        }
    }

    fn python() -> Command {
        Command::new(std::env::var("MVX_PYTHON").unwrap_or_else(|_| "python3".to_owned()))
    }

    fn program() -> Option<String> {
        let code =
            "import os, rotel; print(os.path.join(os.path.dirname(rotel.__file__), 'rotel-agent'), end='')";
        let found = python().args(["-c", code]).stderr(Stdio::null()).output().ok()?;
        found.status.success().then(|| String::from_utf8(found.stdout).unwrap())
    }

    impl<const GRPC: bool> Receiver for Rotel<GRPC> {
        const PROGRAM: &'static str = "rotel";
        const LATER: bool = true;

        fn is_there() -> bool {
            if program().is_none() {
                not_checked(Self::PROGRAM, "pip install rotel, and MVX_PYTHON if it is not python3's");
            }
            program().is_some()
        }

        fn is_ready(port: u16) -> bool {
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        }

        fn command(_: &Path, port: u16) -> Command {
            let other = free_port();
            let (http, grpc) = if GRPC { (other, port) } else { (port, other) };
            let sink = Self::sink().server.get_or_init(Server::start);
            let mut command = Command::new(program().unwrap());
            command.args(["start", "--exporter", "otlp", "--otlp-exporter-protocol", "http"]);
            command.args(["--otlp-exporter-compression", "none", "--otlp-exporter-endpoint"]);
            command.arg(format!("http://{}", sink.address));
            command.args(["--otlp-http-endpoint".to_owned(), format!("127.0.0.1:{http}")]);
            command.args(["--otlp-grpc-endpoint".to_owned(), format!("127.0.0.1:{grpc}")]);
            command
        }

        fn held(_: u16) -> Option<BTreeMap<String, f64>> {
            let last = |(n, values): (&String, &Vec<f64>)| Some((n.clone(), *values.last()?));
            Self::came().iter().map(last).collect()
        }

        fn history(_: u16) -> Vec<Vec<f64>> {
            Self::came().values().cloned().collect()
        }
    }

    fn push<const GRPC: bool>(runtime: &MetricsRuntime, url: &str, schedule: Schedule) {
        let builder = OtlpExporter::builder().vitals(false);
        let builder = if GRPC {
            builder.protocol(Protocol::Grpc).endpoint(url)
        } else {
            builder.endpoint(&format!("{url}/v1/metrics"))
        };
        runtime.add_exporter("receiver", schedule, builder.build().unwrap()).unwrap();
    }

    #[test]
    fn an_agent_of_otlp_over_http_dies_in_every_way_and_passes_on_every_value_in_the_end() {
        dies::<Rotel<false>>(push::<false>);
    }

    #[test]
    fn an_agent_of_otlp_over_grpc_dies_in_every_way_and_passes_on_every_value_in_the_end() {
        dies::<Rotel<true>>(push::<true>);
    }
}
