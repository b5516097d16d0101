//! Names as a reader asks for them: the same samples under every escaping, each name once, and each page what its request said.
#![cfg(all(feature = "prometheus", feature = "http"))]

use crate::client::get;
use crate::parser::parse;
use crate::support::Number;
use crate::support::PATIENCE;
use crate::support::running;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::Unit;
use mvx_metrics::export::prometheus::Encoded;
use mvx_metrics::export::prometheus::Encoder;
use mvx_metrics::export::prometheus::Escaping;
use mvx_metrics::export::prometheus::Format;
use mvx_metrics::http::HttpServer;
use std::collections::BTreeMap;
use std::time::Duration;

const ESCAPINGS: [Escaping; 4] =
    [Escaping::Underscores, Escaping::AllowUtf8, Escaping::Dots, Escaping::Values];

/// A metric of each kind, with dots and `_` in names and labels, and without.
fn everything(runtime: &MetricsRuntime) {
    let recorder = runtime
        .recorder::<Number>("disk")
        .counter("document.saves", |c| {
            c.help("Saves \"of\"\nall.").label("user_id", |n| n.0.into()).cardinality(2)
        })
        .counter("written", |c| c.unit(Unit::Bytes))
        .counter("document.read.total", |c| c.unit(Unit::Bytes))
        .gauge("free_space.left", |g| g.unit(Unit::Bytes).value(|n| Some(n.0)))
        .histogram("save.took", |h| h.unit(Unit::Seconds).bounds(&[0.5]).value(|n| Some(n.0 as f64)))
        .exponential_histogram("save.size", |h| h.value(|n| Some(n.0 as f64)))
        .average("queue.depth", |a| a.value(|n| Some(n.0 as f64)))
        .summary("wait.time", |s| s.unit(Unit::Seconds).quantiles(&[0.5]).value(|n| Some(n.0 as f64)))
        .info("build.of_it", |i| i.constant("version_of", "1.4"))
        .state_set("breaker.state", &["open", "closed"], |s| s.state(|_| Some("open")))
        .create()
        .unwrap();
    (1..9).for_each(|n| recorder.register_event(Number(n)));
    recorder.flush_blocking(PATIENCE).unwrap();
}

fn encode(runtime: &MetricsRuntime, format: Format, escaping: Escaping) -> (String, Encoded) {
    let mut text = String::new();
    let encoder = Encoder::new(format).escaping(escaping).vitals(false);
    let encoded = encoder.encode(&runtime.collect(), &mut text);
    (text, encoded)
}

type Samples = BTreeMap<(String, BTreeMap<String, String>), String>;

/// Every sample by its name and labels; those are told as in the default.
fn samples(text: &str) -> Samples {
    let plain = |name: &str| {
        let name = match name.strip_prefix("U__") {
            Some(rest) => rest.replace("_2e_", "."),
            None => name.replace("_dot_", "."),
        };
        // One `_` or two: what is alike here is told apart by the exact texts below.
        name.replace('.', "_").replace("__", "_")
    };
    let exposition = parse(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let mut all = Samples::new();
    for sample in exposition.samples {
        let labels = sample.labels().into_iter().map(|(key, value)| (plain(&key), value)).collect();
        assert!(all.insert((plain(&sample.name), labels), sample.text).is_none(), "{text}");
    }
    all
}

#[test]
fn every_escaping_says_the_same_samples_by_other_names() {
    let runtime = running("same");
    everything(&runtime);
    for format in [Format::Text, Format::OpenMetrics] {
        let (text, encoded) = encode(&runtime, format, Escaping::Underscores);
        let expected = samples(&text);
        assert!(expected.len() > 25, "{}", expected.len());
        for escaping in ESCAPINGS {
            let (text, by_escaping) = encode(&runtime, format, escaping);
            assert_eq!(by_escaping, encoded, "{escaping:?}");
            assert_eq!(samples(&text), expected, "{escaping:?}");
            assert_eq!(text, encode(&runtime, format, escaping).0);
        }
    }
}

#[test]
fn names_and_keys_are_written_to_the_letter_in_each_format() {
    let runtime = running("letters");
    everything(&runtime);
    let lines: [(Escaping, &[&str], &[&str]); 3] = [
        (
            Escaping::AllowUtf8,
            &[
                "# HELP \"document.saves_total\" Saves \"of\"\\nall.",
                "# TYPE \"document.saves_total\" counter",
                "{\"document.saves_total\",recorder=\"disk\",user_id=\"1\"} 1",
                "{\"document.saves_total\",recorder=\"disk\",\"otel.metric.overflow\"=\"true\"} 6",
                "{\"document.read_bytes_total\",recorder=\"disk\"} 8",
                "written_bytes_total{recorder=\"disk\"} 8",
                "{\"save.took_seconds_bucket\",recorder=\"disk\",le=\"0.5\"} 0",
                "{\"wait.time_seconds\",recorder=\"disk\",quantile=\"0.5\"} ",
                "{\"build.of_it_info\",recorder=\"disk\",version_of=\"1.4\"} 1",
                "{\"breaker.state\",recorder=\"disk\",\"breaker.state\"=\"open\"} 1",
            ],
            &[
                "# HELP \"document.saves\" Saves \\\"of\\\"\\nall.",
                "# TYPE \"document.saves\" counter",
                "# UNIT \"save.took_seconds\" seconds",
                "{\"document.saves_total\",recorder=\"disk\",user_id=\"1\"} 1",
                "{\"document.saves_created\",recorder=\"disk\",user_id=\"1\"} ",
                "# TYPE \"build.of_it\" info",
                "{\"breaker.state\",recorder=\"disk\",\"breaker.state\"=\"closed\"} 0",
            ],
        ),
        (
            Escaping::Dots,
            &[
                "# TYPE document_dot_saves__total counter",
                "document_dot_saves__total{recorder=\"disk\",user__id=\"1\"} 1",
                "document_dot_saves__total{recorder=\"disk\",otel_dot_metric_dot_overflow=\"true\"} 6",
                "written__bytes__total{recorder=\"disk\"} 8",
                "free__space_dot_left__bytes{recorder=\"disk\"} 8.0",
                "save_dot_took__seconds_bucket{recorder=\"disk\",le=\"0.5\"} 0",
                "build_dot_of__it__info{recorder=\"disk\",version__of=\"1.4\"} 1",
                "breaker_dot_state{recorder=\"disk\",breaker_dot_state=\"open\"} 1",
            ],
            &[
                "# TYPE document_dot_saves_ counter",
                "document_dot_saves__total{recorder=\"disk\",user__id=\"1\"} 1",
                "# UNIT save_dot_took__seconds seconds",
                "# TYPE build_dot_of__it_ info",
                "build_dot_of__it__info{recorder=\"disk\",version__of=\"1.4\"} 1",
            ],
        ),
        (
            Escaping::Values,
            &[
                "# TYPE U__document_2e_saves__total counter",
                "U__document_2e_saves__total{recorder=\"disk\",user_id=\"1\"} 1",
                "U__document_2e_saves__total{recorder=\"disk\",U__otel_2e_metric_2e_overflow=\"true\"} 6",
                "written_bytes_total{recorder=\"disk\"} 8",
                "U__free__space_2e_left__bytes{recorder=\"disk\"} 8.0",
                "U__save_2e_took__seconds_bucket{recorder=\"disk\",le=\"0.5\"} 0",
            ],
            &[
                "# TYPE U__document_2e_saves_ counter",
                "# TYPE written_bytes counter",
                "# UNIT written_bytes bytes",
            ],
        ),
    ];
    for (escaping, classic, open) in lines {
        for (format, lines) in [(Format::Text, classic), (Format::OpenMetrics, open)] {
            let (text, _) = encode(&runtime, format, escaping);
            for line in lines {
                let there = |known: &str| known == *line || line.ends_with(' ') && known.starts_with(line);
                assert!(text.lines().any(there), "{escaping:?} {format:?}: {line}\nis not in\n{text}");
            }
        }
    }
}

#[test]
fn what_an_escaping_makes_one_name_of_has_one_type_and_the_other_is_named() {
    let runtime = running("one");
    let recorder = runtime
        .recorder::<Number>("one")
        .gauge("a.b", |g| g.value(|n| Some(n.0)))
        .gauge("U__a_2e_b", |g| g.value(|n| Some(n.0)))
        .gauge("a_dot_b", |g| g.value(|n| Some(n.0)))
        .create()
        .unwrap();
    recorder.register_event(Number(1));
    recorder.flush_blocking(PATIENCE).unwrap();
    for format in [Format::Text, Format::OpenMetrics] {
        for (escaping, families) in ESCAPINGS.into_iter().zip([3, 3, 3, 2]) {
            let (text, encoded) = encode(&runtime, format, escaping);
            assert_eq!(parse(&text).unwrap().samples.len(), families, "{text}");
            let skipped: Vec<_> = encoded.skipped().iter().map(|skipped| skipped.metric()).collect();
            assert_eq!(skipped.len(), 3 - families, "{skipped:?}");
            assert_eq!(text.matches("# TYPE ").count(), families);
        }
    }
}

#[test]
fn pages_have_the_names_that_their_requests_ask_for_and_say_so() {
    let runtime = running("pages");
    everything(&runtime);
    let server = HttpServer::builder(runtime.reader()).port(0).vitals(false).start().unwrap();
    let address = server.local_addr().unwrap();
    const TEXT: &str = "text/plain; version=1.0.0; charset=utf-8; escaping=";
    const OPEN: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=";
    let cases = [
        ("text/plain;version=1.0.0;escaping=allow-utf-8", format!("{TEXT}allow-utf-8"), Escaping::AllowUtf8),
        ("text/plain;escaping=dots", format!("{TEXT}dots"), Escaping::Dots),
        ("application/openmetrics-text;escaping=values", format!("{OPEN}values"), Escaping::Values),
        ("application/openmetrics-text;version=1.0.0", format!("{OPEN}underscores"), Escaping::Underscores),
        (
            "text/plain;escaping=tables",
            "text/plain; version=0.0.4; charset=utf-8".into(),
            Escaping::Underscores,
        ),
        ("text/plain;escaping=", "text/plain; version=0.0.4; charset=utf-8".into(), Escaping::Underscores),
    ];
    for (accept, kind, escaping) in cases {
        let answer = get(address, "/metrics", &[&format!("Accept: {accept}")]);
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(kind.as_str())), "{accept}");
        let format = if accept.contains("open") { Format::OpenMetrics } else { Format::Text };
        assert_eq!(answer.text(), encode(&runtime, format, escaping).0, "{accept}");
    }
    server.shutdown(Duration::from_secs(5)).unwrap();
}
