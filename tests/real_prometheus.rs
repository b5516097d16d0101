//! The real thing: `promtool`, Prometheus itself and the reference parser of OpenMetrics read what is written, and read it equal.
//!
//! A program that is missing is told as not checked, with how to get it. Servers are children of the test, on loopback.
#![cfg(all(feature = "prometheus", target_os = "linux", not(miri)))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail as tests do"
)]

#[cfg(feature = "http")]
#[path = "document_storage/program.rs"]
#[allow(dead_code, reason = "the example's own test uses the rest")]
mod example;
#[path = "prometheus/parser.rs"]
#[allow(dead_code, reason = "the other test of the formats uses the rest")]
mod parser;
mod support;

use crate::parser::Exposition;
use crate::parser::parse;
use crate::support::PATIENCE;
use crate::support::running;
use crate::support::scaled;
use mvx_metrics::ExemplarLabels;
use mvx_metrics::MetricEvent;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::Unit;
use mvx_metrics::export::prometheus::Encoder;
use mvx_metrics::export::prometheus::Escaping;
use mvx_metrics::export::prometheus::Format;
use std::collections::BTreeMap;
use std::io::Read;
use std::io::Write;
use std::net::TcpListener;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Output;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

/// Prometheus looks for its targets every five seconds.
const SERVER_PATIENCE: Duration = Duration::from_secs(60);

struct Save {
    user: String,
    bytes: u64,
    seconds: f64,
}

impl MetricEvent for Save {
    fn event_type(&self) -> &'static str {
        "save"
    }
}

/// The exemplar of an event; of one event none.
fn mark(save: &Save, labels: &mut ExemplarLabels) {
    if !save.user.is_empty() {
        labels.trace(u128::from(save.bytes) << 64 | 7, save.bytes);
        // What has to be escaped is not among them: the reference parser takes no escaped quote in an exemplar, and Prometheus 2.42 keeps the backslashes.
        let plain = save.user.chars().filter(|c| !matches!(c, '"' | '\\' | '\n'));
        labels.label("note", &*plain.take(3).collect::<String>());
    }
}

/// Two recorders of every kind of metric, with awkward labels and large numbers.
fn busy() -> MetricsRuntime {
    let runtime = running("real");
    for (id, factor) in [("left", 1), ("right \"\\{,}", 1_000_000_007)] {
        let recorder = runtime
            .recorder::<Save>(id)
            .entity("document storage")
            .counter("document.saves", |c| {
                c.help("Documents\nsaved, by \"user\".")
                    .label("user", |e| e.user.as_str().into())
                    .exemplar(mark)
            })
            .counter("document.written", |c| c.help("Bytes.").unit(Unit::Bytes).value(|e| Some(e.bytes)))
            .gauge("document.last", |g| {
                g.help("The last one.").unit(Unit::Seconds).value(|e| Some(-e.seconds))
            })
            .up_down("document.open", |u| u.help("Open now.").value(|_| Some(-3)))
            .average("document.size", |a| a.help("Sizes.").unit(Unit::Bytes).value(|e| Some(e.bytes as f64)))
            .histogram("document.save.duration", |h| {
                let h = h.help("How long.").unit(Unit::Seconds).bounds(&[0.001, 1.0, 2.5e9]);
                h.value(|e| Some(e.seconds)).label("user", |e| e.user.as_str().into()).exemplar(mark)
            })
            .exponential_histogram("document.spread", |h| {
                h.help("How far.").value(|e| Some(e.seconds)).exemplar(mark)
            })
            .summary("document.wait", |s| {
                let s = s.help("Quantiles.").unit(Unit::Seconds).quantiles(&[0.0, 0.5, 0.999, 1.0]);
                s.value(|e| Some(e.seconds)).label("user", |e| e.user.as_str().into())
            })
            .info("build", |i| {
                i.help("What it is.")
                    .constant("version", "1.4 \"rc\"")
                    .label("user", |e| e.user.as_str().into())
            })
            .state_set("breaker.state", &["closed", "half open", "é\"\\"], |s| {
                let s = s.help("Whether it is open.").label("user", |e| e.user.as_str().into());
                s.toggle(|e| Some((if e.bytes % 2 == 0 { "closed" } else { "é\"\\" }, e.bytes % 3 > 0)))
            })
            .create()
            .unwrap();
        for (n, user) in
            ["ann", "", "b\"\\\nb", "é日本\u{202e}", "{,=}# EOF", "\ttab \r return"].into_iter().enumerate()
        {
            let event = Save {
                user: user.to_owned(),
                bytes: (1 << 33) + n as u64 * factor,
                seconds: 0.000_75 * factor as f64,
            };
            recorder.try_register_event(event).unwrap();
        }
        recorder.flush_blocking(PATIENCE).unwrap();
    }
    runtime
}

fn text(runtime: &MetricsRuntime, format: Format) -> String {
    escaped(runtime, format, Escaping::default())
}

fn escaped(runtime: &MetricsRuntime, format: Format, escaping: Escaping) -> String {
    let mut text = String::new();
    let encoder = Encoder::new(format).escaping(escaping).vitals(false);
    let encoded = encoder.encode(&runtime.collect(), &mut text);
    assert_eq!(encoded.skipped(), []);
    text
}

/// Says what was not checked, past the harness, which hides what a passing test prints.
fn not_checked(what: &str, how: &str) {
    let printed = writeln!(std::io::stderr(), "NOT CHECKED IN PART: {what}; to get it: {how}");
    assert!(printed.is_ok(), "skipped in silence: {what}");
}

fn program(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|dir| dir.join(name)).find(|path| path.is_file())
}

fn fed(command: &mut Command, input: &str) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it can be run");
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        // What it does not read is not needed: it has refused the text before.
        scope.spawn(move || drop(stdin.write_all(input.as_bytes())));
        child.wait_with_output().unwrap()
    })
}

/// Values by name and labels.
type Samples = BTreeMap<(String, BTreeMap<String, String>), f64>;

fn samples(exposition: &Exposition) -> Samples {
    let one = |sample: &parser::Sample| ((sample.name.clone(), by_number(sample.labels())), sample.value);
    exposition.samples.iter().map(one).collect()
}

/// The labels with bounds as numbers: Prometheus 3 writes those in its own way.
fn by_number(mut labels: BTreeMap<String, String>) -> BTreeMap<String, String> {
    for (_, bound) in labels.iter_mut().filter(|(key, _)| matches!(key.as_str(), "le" | "quantile")) {
        *bound = bound.parse::<f64>().unwrap().to_string();
    }
    labels
}

/// Labels, value and seconds of an exemplar.
type Marked = (BTreeMap<String, String>, f64, String);

/// Every exemplar by its sample's name and labels.
fn marked(exposition: &Exposition) -> BTreeMap<(String, BTreeMap<String, String>), Marked> {
    let marked = exposition.samples.iter().filter_map(|sample| {
        let exemplar = sample.exemplar.clone()?;
        let labels = exemplar.labels.into_iter().collect();
        Some(((sample.name.clone(), by_number(sample.labels())), (labels, exemplar.value, exemplar.at)))
    });
    marked.collect()
}

#[test]
fn promtool_accepts_the_classic_text() {
    let Some(promtool) = program("promtool") else {
        return not_checked("promtool reads the text format", "apt-get install prometheus");
    };
    let text = text(&busy(), Format::Text);
    let check = |text: &str| fed(Command::new(&promtool).args(["check", "metrics"]), text);
    let accepted = check(&text);
    assert!(accepted.status.success(), "{accepted:?}\n{text}");
    let mut with_vitals = String::new();
    let _ = Encoder::new(Format::Text).encode(&busy().collect(), &mut with_vitals);
    assert!(with_vitals.contains("mvx_events_accepted_total") && check(&with_vitals).status.success());
    // It does say no.
    assert!(
        !check(&text.replacen("# TYPE document_open gauge", "# TYPE document_open counted", 1))
            .status
            .success()
    );
    assert!(!check(&text.replacen("\\\"", "\"", 1)).status.success());
}

/// Prints every sample as a line of JSON.
const READER: &str = "\
import json, sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families
for family in text_string_to_metric_families(sys.stdin.buffer.read().decode()):
    for s in family.samples:
        e = s.exemplar and [s.exemplar.labels, float(s.exemplar.value), str(s.exemplar.timestamp)]
        print(json.dumps([s.name, s.labels, repr(float(s.value)), family.type, family.unit, family.documentation, e]))
";

/// Whatever runs Python with the reference parser; that it is missing is told.
fn reference_parser() -> Option<impl Fn(&str) -> Output> {
    let python = std::env::var("MVX_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let has = Command::new(&python).args(["-c", "import prometheus_client"]).stderr(Stdio::null()).status();
    if !has.is_ok_and(|status| status.success()) {
        not_checked(
            "the reference parser reads OpenMetrics",
            "pip install prometheus_client, and MVX_PYTHON if it is not python3's",
        );
        return None;
    }
    Some(move |text: &str| fed(Command::new(&python).args(["-c", READER]), text))
}

/// What the reference parser has read.
struct Parsed {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
    kind: String,
    unit: String,
    help: String,
    exemplar: Option<Marked>,
}

fn read(output: Output) -> Vec<Parsed> {
    let line = |line: &str| {
        let (name, labels, value, kind, unit, help, exemplar): (_, _, String, _, _, _, _) =
            serde_json::from_str(line).unwrap();
        Parsed { name, labels: by_number(labels), value: value.parse().unwrap(), kind, unit, help, exemplar }
    };
    String::from_utf8(output.stdout).unwrap().lines().map(line).collect()
}

#[test]
fn the_reference_parser_reads_open_metrics_equal() {
    let Some(parsed) = reference_parser() else { return };
    let text = text(&busy(), Format::OpenMetrics);
    let output = parsed(&text);
    assert!(output.status.success(), "{output:?}\n{text}");
    let (mut found, mut exemplars) = (Samples::new(), BTreeMap::new());
    let mut kinds = std::collections::BTreeSet::new();
    for Parsed { name, labels, value, kind, unit, help, exemplar } in read(output) {
        if name == "document_saves_total" {
            assert_eq!((kind.as_str(), help.as_str()), ("counter", "Documents\nsaved, by \"user\"."));
        }
        if name == "document_save_duration_seconds_bucket" {
            assert_eq!((kind.as_str(), unit.as_str()), ("histogram", "seconds"));
        }
        let special =
            [("build_info", "info"), ("breaker_state", "stateset"), ("document_wait_seconds", "summary")];
        if let Some((_, expected)) = special.iter().find(|(known, _)| *known == name) {
            assert_eq!(&kind, expected, "{name}");
            kinds.insert(kind);
        }
        if let Some(exemplar) = exemplar {
            exemplars.insert((name.clone(), labels.clone()), exemplar);
        }
        assert!(found.insert((name.clone(), labels), value).is_none(), "{name} twice");
    }
    let ours = parse(&text).unwrap();
    assert_eq!(found, samples(&ours));
    assert_eq!(exemplars, marked(&ours));
    assert!(exemplars.len() > 20, "{}", exemplars.len());
    assert_eq!(kinds.len(), 3, "{kinds:?}");
    assert!(!parsed(text.trim_end_matches("# EOF\n")).status.success(), "it says no to a cut text");
}

/// Files of examples that can make an exposition.
const SERVING: [&str; 1] = ["document_storage/serve.rs"];

#[test]
fn every_example_that_can_make_an_exposition_is_among_those_read_here() {
    let mut found = Vec::new();
    let mut rest = vec![PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/examples"))];
    let root = rest[0].clone();
    while let Some(path) = rest.pop() {
        if path.is_dir() {
            rest.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            let text = std::fs::read_to_string(&path).unwrap();
            if ["HttpServer", "prometheus::", "axum08", "Encoder"].iter().any(|word| text.contains(word)) {
                found.push(path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found.sort();
    assert_eq!(found, SERVING, "let the tests of this file read what it makes, then name it in SERVING");
}

/// The texts in the 0.0.4 format that README and guide show; the latter in a program, as a string.
fn shown() -> [String; 2] {
    let blocks = include_str!("../README.md").split("```text\n").skip(1);
    let mut texts = blocks.filter_map(|block| block.split("```").next());
    let guide = include_str!("../src/docs/prometheus.md").split("assert!(text.starts_with(\"\\\n").nth(1);
    let guide = guide.and_then(|rest| rest.split("\"), ").next()).unwrap();
    [
        texts.find(|text| text.contains("# TYPE ")).unwrap().to_owned(),
        guide.replace("##", "#").replace("\\\"", "\""),
    ]
}

#[test]
fn promtool_accepts_what_documents_show() {
    let Some(promtool) = program("promtool") else {
        return not_checked("promtool reads what documents show", "apt-get install prometheus");
    };
    for text in shown() {
        assert_ne!(parse(&text).unwrap().samples.len(), 0);
        let checked = fed(Command::new(&promtool).args(["check", "metrics"]), &text);
        // It reads them; that a short program leaves help out is advice.
        let advice = String::from_utf8(checked.stderr).unwrap();
        let read = checked.status.code().is_some_and(|code| code == 0 || code == 3);
        assert!(read && advice.lines().all(|line| line.ends_with(" no help text")), "{advice}\n{text}");
    }
}

/// Prints every sample, in either text format, and the names that the reference makes of some.
const BOTH: &str = "\
import json, sys
from prometheus_client import parser
from prometheus_client.openmetrics import exposition, parser as open_parser
text = sys.stdin.buffer.read().decode()
read = open_parser if text.endswith('# EOF\\n') else parser
for family in read.text_string_to_metric_families(text):
    for s in family.samples:
        print(json.dumps([s.name, s.labels, repr(float(s.value))]))
";

#[test]
fn the_reference_parsers_read_names_of_every_escaping_equal() {
    let python = std::env::var("MVX_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let has = Command::new(&python)
        .args(["-c", "from prometheus_client.openmetrics.exposition import ALLOWUTF8"])
        .stderr(Stdio::null())
        .status();
    if !has.is_ok_and(|status| status.success()) {
        return not_checked(
            "the reference parsers read names in quotes",
            "pip install prometheus_client of 0.22 or later, and MVX_PYTHON if it is not python3's",
        );
    }
    for format in [Format::Text, Format::OpenMetrics] {
        for escaping in [Escaping::Underscores, Escaping::AllowUtf8, Escaping::Dots, Escaping::Values] {
            let mut text = String::new();
            let encoder = Encoder::new(format).escaping(escaping).vitals(false);
            assert_eq!(encoder.encode(&busy().collect(), &mut text).skipped(), []);
            let output = fed(Command::new(&python).args(["-c", BOTH]), &text);
            assert!(output.status.success(), "{escaping:?} {output:?}\n{text}");
            let mut found = BTreeMap::new();
            for line in String::from_utf8(output.stdout).unwrap().lines() {
                let (name, labels, value): (String, BTreeMap<String, String>, String) =
                    serde_json::from_str(line).unwrap();
                let key = (name, by_number(labels));
                assert!(found.insert(key, value.parse::<f64>().unwrap()).is_none(), "{line}");
            }
            assert_eq!(found, samples(&parse(&text).unwrap()), "{escaping:?}");
        }
    }
    // What a name is by each, as the reference writes it.
    let names = ["plain", "one_two", "metric.name.with.dots", "a.b_c", "otel.metric.overflow"];
    let script = "import sys; from prometheus_client.openmetrics import exposition as e\n\
                  for n in sys.argv[1:]: print(*[e.escape_metric_name(n, s) for s in (e.UNDERSCORES, e.ALLOWUTF8, e.DOTS, e.VALUES)])";
    let output = fed(Command::new(&python).args(["-c", script]).args(names), "");
    let expected = "plain plain plain plain\none_two one_two one__two one_two\n\
                    metric_name_with_dots \"metric.name.with.dots\" metric_dot_name_dot_with_dot_dots U__metric_2e_name_2e_with_2e_dots\n\
                    a_b_c \"a.b_c\" a_dot_b__c U__a_2e_b__c\n\
                    otel_metric_overflow \"otel.metric.overflow\" otel_dot_metric_dot_overflow U__otel_2e_metric_2e_overflow\n";
    assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
}

/// A child that is ended with the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Serves `/metrics` in the format that is asked for, and `/text` in the classic one, until the listener's test is over.
fn serve(listener: &TcpListener, runtime: &MetricsRuntime, over: &std::sync::atomic::AtomicBool) {
    while !over.load(std::sync::atomic::Ordering::Acquire) {
        let Ok((mut stream, _)) = listener.accept() else { continue };
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head);
        let accept = head.lines().find_map(|line| line.strip_prefix("Accept: ")).unwrap_or_default();
        let format = if head.starts_with("GET /text") { Format::Text } else { Format::negotiate(accept) };
        let body = text(runtime, format);
        let (kind, length) = (format.content_type(), body.len());
        let _ = write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        );
    }
}

/// Ends what serves at an address, also when the test fails.
struct Ends<'a>(&'a std::sync::atomic::AtomicBool, std::net::SocketAddr);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, std::sync::atomic::Ordering::Release);
        // Wakes the thread that serves, so that it sees the end.
        let _ = TcpStream::connect(self.1);
    }
}

/// The body of an answer of Prometheus's API.
fn get(port: u16, path: &str) -> Option<serde_json::Value> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
}

/// What Prometheus holds of a job.
fn held(port: u16, job: &str) -> Samples {
    let query = format!("/api/v1/query?query=%7Bjob%3D%22{job}%22%2Crecorder%21%3D%22%22%7D");
    let answer = get(port, &query).unwrap_or_default();
    let series = answer["data"]["result"].as_array().cloned().unwrap_or_default();
    series
        .into_iter()
        .map(|series| {
            let mut labels: BTreeMap<String, String> =
                serde_json::from_value(series["metric"].clone()).unwrap();
            let name = labels.remove("__name__").unwrap();
            labels.retain(|key, _| key != "job" && key != "instance");
            ((name, by_number(labels)), series["value"][1].as_str().unwrap().parse().unwrap())
        })
        .collect()
}

/// Seconds in whole milliseconds, which is what Prometheus keeps of them.
fn millis(seconds: &str) -> i64 {
    let (whole, fraction) = seconds.split_once('.').unwrap();
    whole.parse::<i64>().unwrap() * 1_000 + fraction[..3].parse::<i64>().unwrap()
}

/// Labels, value and milliseconds of an exemplar.
type Held = (BTreeMap<String, String>, f64, i64);

/// The exemplars that Prometheus holds of a job, with their times in milliseconds.
fn exemplars(port: u16, job: &str) -> BTreeMap<(String, BTreeMap<String, String>), Held> {
    let query = format!("/api/v1/query_exemplars?query=%7Bjob%3D%22{job}%22%7D&start=0&end=9999999999");
    let answer = get(port, &query).unwrap_or_default();
    let series = answer["data"].as_array().cloned().unwrap_or_default();
    let one = |series: serde_json::Value| {
        let mut labels: BTreeMap<String, String> =
            serde_json::from_value(series["seriesLabels"].clone()).unwrap();
        let name = labels.remove("__name__").unwrap();
        labels.retain(|key, _| key != "job" && key != "instance");
        let [exemplar] = series["exemplars"].as_array().unwrap().as_slice() else {
            panic!("an exemplar that came once is there once: {series}")
        };
        let of = serde_json::from_value(exemplar["labels"].clone()).unwrap();
        let value = exemplar["value"].as_str().unwrap().parse().unwrap();
        let at = (exemplar["timestamp"].as_f64().unwrap() * 1e3).round() as i64;
        ((name, by_number(labels)), (of, value, at))
    };
    series.into_iter().map(one).collect()
}

/// Prometheus, scraping these jobs (name, path, target) every second until this is dropped; and the port of its API.
fn scraping(
    prometheus: PathBuf,
    dir: &std::path::Path,
    jobs: &[(&str, &str, std::net::SocketAddr)],
) -> (Server, u16) {
    scraping_with(prometheus, dir, jobs, "")
}

/// The same, with more to be said of each job.
fn scraping_with(
    prometheus: PathBuf,
    dir: &std::path::Path,
    jobs: &[(&str, &str, std::net::SocketAddr)],
    more: &str,
) -> (Server, u16) {
    let port = free_port();
    let mut config = "global: {scrape_interval: 1s}\nscrape_configs:\n".to_owned();
    for (name, path, target) in jobs {
        config += &format!(
            "  - {{job_name: {name}, metrics_path: {path}, static_configs: [{{targets: ['{target}']}}]{more}}}\n"
        );
    }
    std::fs::write(dir.join("prometheus.yml"), config).unwrap();
    let server = Command::new(prometheus)
        .current_dir(dir)
        .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data", "--log.level=error"])
        .arg("--enable-feature=exemplar-storage")
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    (Server(server.unwrap()), port)
}

/// A port that was free just now.
fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

/// Set for the child that serves: the port.
const SERVED: &str = "MVX_SERVED_PORT";

/// In the child: counts and serves until it is killed.
fn count_and_serve(port: u16) -> ! {
    let runtime = running("killed");
    let recorder = runtime.recorder::<Save>("one").counter("events", |c| c).create().unwrap();
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| serve(&listener, &runtime, &over));
        loop {
            recorder.register_event(Save { user: String::new(), bytes: 1, seconds: 1.0 });
            std::thread::park_timeout(Duration::from_millis(1));
        }
    })
}

/// The values of a query over the last minutes, in steps of a second, oldest first.
fn course(port: u16, query: &str) -> Vec<f64> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let path = format!("/api/v1/query_range?query={query}&start={}&end={now}&step=1", now - 120);
    let answer = get(port, &path).unwrap_or_default();
    let values = answer["data"]["result"][0]["values"].as_array().cloned().unwrap_or_default();
    values.iter().map(|pair| pair[1].as_str().unwrap().parse().unwrap()).collect()
}

#[test]
fn a_program_that_is_killed_and_started_again_never_counts_backwards_for_prometheus() {
    const NAME: &str = "a_program_that_is_killed_and_started_again_never_counts_backwards_for_prometheus";
    if let Ok(port) = std::env::var(SERVED) {
        count_and_serve(port.parse().unwrap());
    }
    let Some(prometheus) = program("prometheus") else {
        return not_checked(
            "Prometheus sees a program killed and started again",
            "apt-get install prometheus",
        );
    };
    let (dir, target) = (tempfile::tempdir().unwrap(), free_port());
    let (_server, port) =
        scraping(prometheus, dir.path(), &[("one", "/metrics", ([127, 0, 0, 1], target).into())]);
    let lives = scaled(4).min(50) as usize;
    let starts = || {
        let mut starts = course(port, "events_created");
        starts.dedup();
        starts
    };
    for life in 1..=lives {
        let child = support::again(NAME).env(SERVED, target.to_string()).stdout(Stdio::null()).spawn();
        // Killed when it goes out of scope: as soon as a scrape has seen it.
        let _child = Server(child.unwrap());
        let end = Instant::now() + SERVER_PATIENCE;
        while starts().len() < life.min(100) {
            assert!(Instant::now() < end, "life {life}: {:?}", starts());
            std::thread::park_timeout(Duration::from_millis(100));
        }
    }
    let starts = starts();
    assert!(starts.windows(2).all(|pair| pair[0] < pair[1]), "each life starts later: {starts:?}");
    let increases = course(port, "increase(events_total%5B5s%5D)");
    assert!(!increases.is_empty() && increases.iter().all(|increase| *increase >= 0.0), "{increases:?}");
    let resets = course(port, "resets(events_total%5B2m%5D)");
    assert!(resets.last().is_some_and(|resets| *resets < lives as f64), "{resets:?}");
}

#[test]
fn prometheus_itself_scrapes_every_value_in_both_formats() {
    let Some(prometheus) = program("prometheus") else {
        return not_checked("Prometheus scrapes both formats", "apt-get install prometheus");
    };
    let (runtime, over) = (busy(), std::sync::atomic::AtomicBool::new(false));
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let target = listener.local_addr().unwrap();
    let dir = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| serve(&listener, &runtime, &over));
        let _over = Ends(&over, target);
        let jobs = [("open", "/metrics", target), ("text", "/text", target)];
        let (_server, port) = scraping(prometheus, dir.path(), &jobs);
        let end = Instant::now() + SERVER_PATIENCE;
        for (name, format) in [("open", Format::OpenMetrics), ("text", Format::Text)] {
            let expected = samples(&parse(&text(&runtime, format)).unwrap());
            while held(port, name) != expected {
                assert!(Instant::now() < end, "{name}: {:#?}\nis not {expected:#?}", held(port, name));
                std::thread::park_timeout(Duration::from_millis(100));
            }
        }
        let in_millis = |(labels, value, at): Marked| (labels, value, millis(&at));
        let shown = marked(&parse(&text(&runtime, Format::OpenMetrics)).unwrap());
        let shown: BTreeMap<_, _> = shown.into_iter().map(|(of, it)| (of, in_millis(it))).collect();
        while exemplars(port, "open") != shown {
            assert!(Instant::now() < end, "{:#?}\nis not {shown:#?}", exemplars(port, "open"));
            std::thread::park_timeout(Duration::from_millis(100));
        }
        assert!(shown.len() > 20 && exemplars(port, "text").is_empty());
    });
}

#[cfg(feature = "http")]
#[test]
fn prometheus_scrapes_the_server_with_a_token_on_one_connection() {
    let Some(prometheus) = program("prometheus") else {
        return not_checked("Prometheus scrapes the server", "apt-get install prometheus");
    };
    let escaping = asked_by(&prometheus);
    let runtime = busy();
    let server = mvx_metrics::http::HttpServer::builder(runtime.reader()).port(0).bearer("s3cret").start();
    let server = server.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let jobs = [("server", "/metrics", server.local_addr().unwrap())];
    let more = ", authorization: {credentials: s3cret}";
    let (_prometheus, port) = scraping_with(prometheus, dir.path(), &jobs, more);
    let end = Instant::now() + SERVER_PATIENCE;
    let expected = samples(&parse(&escaped(&runtime, Format::OpenMetrics, escaping)).unwrap());
    while held(port, "server") != expected || server.stats().scrapes < 3 {
        assert!(Instant::now() < end, "{:#?}\nis not {expected:#?}\n{server:?}", held(port, "server"));
        std::thread::park_timeout(Duration::from_millis(100));
    }
    let stats = server.stats();
    assert_eq!((stats.connections, stats.unauthorized, stats.refused), (1, 0, 0), "{stats:?}");
}

/// The page of metrics at an address, in a format.
#[cfg(feature = "http")]
fn page(address: std::net::SocketAddr, accept: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET /metrics HTTP/1.0\r\nAccept: {accept}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let media = accept.split(';').next().unwrap();
    assert!(head.contains(" 200 ") && head.contains(media), "{head}");
    body.to_owned()
}

#[cfg(feature = "http")]
#[test]
fn promtool_and_the_reference_parser_read_what_the_example_serves() {
    let files = tempfile::tempdir().unwrap();
    for number in 0..50 {
        std::fs::write(files.path().join(number.to_string()), number.to_string()).unwrap();
    }
    let arguments = [files.path(), "--json".as_ref(), "--hold=3600".as_ref(), "--serve=127.0.0.1:0".as_ref()];
    let mut example = example::Program::start(&arguments);
    let line = example.error_line();
    let address = line.strip_prefix("serving http://").and_then(|rest| rest.strip_suffix("/metrics"));
    let address = address.expect(&line).parse().unwrap();
    let _work_is_done = example.line();
    let (text, open) = (page(address, "text/plain"), page(address, "application/openmetrics-text"));
    let parsed_text = samples(&parse(&text).unwrap());
    assert!(parsed_text.keys().any(|(name, _)| name == "document_saves_total"), "{text}");
    match program("promtool") {
        Some(promtool) => {
            let accepted = fed(Command::new(promtool).args(["check", "metrics"]), &text);
            assert!(accepted.status.success(), "{accepted:?}\n{text}");
        }
        None => not_checked("promtool reads what the example serves", "apt-get install prometheus"),
    }
    if let Some(parsed) = reference_parser() {
        let output = parsed(&open);
        assert!(output.status.success(), "{output:?}\n{open}");
        let found = read(output).into_iter().map(|read| ((read.name, read.labels), read.value));
        assert_eq!(found.collect::<Samples>(), samples(&parse(&open).unwrap()));
    }
    example.interrupt();
    assert_eq!(example.finish().code, Some(0));
}

#[cfg(feature = "http")]
#[test]
fn prometheus_scrapes_the_example_while_it_works_and_holds_exactly_its_values() {
    let Some(prometheus) = program("prometheus") else {
        return not_checked("Prometheus scrapes the example", "apt-get install prometheus");
    };
    let (dir, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for number in 0..2_000 {
        std::fs::write(files.path().join(number.to_string()), number.to_string()).unwrap();
    }
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], free_port()));
    let escaping = asked_by(&prometheus).as_str();
    let (_prometheus, port) = scraping(prometheus, dir.path(), &[("example", "/metrics", address)]);
    let serve = format!("--serve={address}");
    let arguments = [files.path(), "--json".as_ref(), "--hold=3600".as_ref(), serve.as_ref()];
    let mut example = example::Program::start(&arguments);
    assert_eq!(example.error_line(), format!("serving http://{address}/metrics"));
    let object: serde_json::Value = serde_json::from_str(&example.line()).unwrap();
    // It holds: from here on nothing changes.
    let accept = format!("application/openmetrics-text;escaping={escaping}");
    let mut expected = samples(&parse(&page(address, &accept)).unwrap());
    // What the runtime says of itself is told by group.
    expected.retain(|(_, labels), _| labels.contains_key("recorder"));
    let end = Instant::now() + SERVER_PATIENCE;
    while held(port, "example") != expected {
        assert!(Instant::now() < end, "{:#?}\nis not {expected:#?}", held(port, "example"));
        std::thread::park_timeout(Duration::from_millis(100));
    }
    let saves = expected.iter().filter(|((name, labels), _)| {
        name.replace('.', "_") == "document_saves_total" && labels.values().any(|value| value == "success")
    });
    assert_eq!(Some(saves.map(|(_, value)| *value).sum()), object["files_stored"].as_f64());
    example.interrupt();
    assert_eq!(example.finish().code, Some(0));
}

/// How this Prometheus asks for names: with dots from 3.0 on; before, it asks for nothing, and gets `_`.
#[cfg(feature = "http")]
fn asked_by(prometheus: &PathBuf) -> Escaping {
    let version = Command::new(prometheus).arg("--version").output().unwrap();
    let version = String::from_utf8([version.stdout, version.stderr].concat()).unwrap();
    let number = version.split_once("version ").and_then(|(_, rest)| rest.split_once('.'));
    let major: u32 = number.and_then(|(major, _)| major.parse().ok()).expect(&version);
    if major >= 3 { Escaping::AllowUtf8 } else { Escaping::Underscores }
}

#[cfg(feature = "http")]
#[test]
fn prometheus_has_the_names_that_it_asks_for() {
    let Some(prometheus) = program("prometheus") else {
        return not_checked("Prometheus has the names that it asks for", "apt-get install prometheus");
    };
    let escaping = asked_by(&prometheus);
    if escaping == Escaping::Underscores {
        not_checked(
            "Prometheus reads names with dots",
            "a directory with Prometheus 3 before the others in PATH",
        );
    }
    let runtime = running("names");
    let recorder = runtime
        .recorder::<Save>("one")
        .counter("document.saves", |c| c.label("user_name", |e| e.user.as_str().into()).cardinality(2))
        .counter("document.written", |c| c.unit(Unit::Bytes).value(|e| Some(e.bytes)))
        .gauge("last_one", |g| g.value(|e| Some(e.seconds)))
        .info("build.of_it", |i| i.constant("version", "1.4"))
        .state_set("breaker.state", &["closed", "open"], |s| s.state(|_| Some("open")))
        .average("document.size", |a| a.unit(Unit::Bytes).value(|e| Some(e.bytes as f64)))
        .create()
        .unwrap();
    for user in ["ann", "bob", "cid", "dan"] {
        recorder.register_event(Save { user: user.to_owned(), bytes: 7, seconds: 0.5 });
    }
    recorder.flush_blocking(PATIENCE).unwrap();
    let server =
        mvx_metrics::http::HttpServer::builder(runtime.reader()).port(0).vitals(false).start().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let jobs = [("names", "/metrics", server.local_addr().unwrap())];
    let (_prometheus, port) = scraping(prometheus, dir.path(), &jobs);
    let expected = samples(&parse(&escaped(&runtime, Format::OpenMetrics, escaping)).unwrap());
    let dotted = expected.keys().filter(|(name, _)| name.contains('.')).count();
    assert_eq!(dotted > 10, escaping == Escaping::AllowUtf8, "{expected:#?}");
    let end = Instant::now() + SERVER_PATIENCE;
    while held(port, "names") != expected {
        assert!(Instant::now() < end, "{:#?}\nis not {expected:#?}", held(port, "names"));
        std::thread::park_timeout(Duration::from_millis(100));
    }
}
