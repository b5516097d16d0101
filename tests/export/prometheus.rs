//! The text formats of Prometheus: what is written reads back equal by a parser of its own, in every format.
#![cfg(feature = "prometheus")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail as tests do")]

use crate::parser::Sample;
use crate::parser::parse;
use crate::support::PATIENCE;
use crate::support::running;
use mvx_metrics::ErrorKind;
use mvx_metrics::Fold;
use mvx_metrics::MetricEvent;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::Recorder;
use mvx_metrics::Unit;
use mvx_metrics::export::prometheus::Encoded;
use mvx_metrics::export::prometheus::Encoder;
use mvx_metrics::export::prometheus::Format;
use proptest::prelude::*;

const FORMATS: [Format; 2] = [Format::Text, Format::OpenMetrics];

#[derive(Clone, Debug)]
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

fn save(user: &str, bytes: u64, seconds: f64) -> Save {
    Save { user: user.to_owned(), bytes, seconds }
}

fn storage(runtime: &MetricsRuntime, id: &str) -> Recorder<Save> {
    runtime
        .recorder::<Save>(id)
        .counter("document.saves", |c| {
            c.help("Saves, by \"user\"\\.").label("user", |e| e.user.as_str().into())
        })
        .counter("document.written", |c| c.unit(Unit::Bytes).value(|e| Some(e.bytes)))
        .gauge("document.last", |g| g.unit(Unit::Seconds).value(|e| Some(e.seconds)))
        .histogram("document.save.duration", |h| {
            h.unit(Unit::Seconds)
                .bounds(&[0.5, 1.0])
                .value(|e| Some(e.seconds))
                .label("user", |e| e.user.as_str().into())
        })
        .average("document.size", |a| a.value(|e| Some(e.bytes as f64)))
        .create()
        .unwrap()
}

/// Everything that the runtime measures, and what it says of itself.
pub(crate) fn whole_page(runtime: &MetricsRuntime) -> String {
    let mut text = String::new();
    let _ = Encoder::new(Format::OpenMetrics).encode(&runtime.collect(), &mut text);
    text
}

fn encode(runtime: &MetricsRuntime, format: Format) -> (String, Encoded) {
    let mut text = String::new();
    let encoded = Encoder::new(format).vitals(false).encode(&runtime.collect(), &mut text);
    (text, encoded)
}

fn record(recorder: &Recorder<Save>, saves: &[Save]) {
    saves.iter().for_each(|save| recorder.try_register_event(save.clone()).unwrap());
    recorder.flush_blocking(PATIENCE).unwrap();
}

#[test]
fn an_exposition_is_this_text_in_each_format() {
    let runtime = running("text");
    record(&storage(&runtime, "left"), &[save("a\"b", 9_007_199_254_740_993, 0.5), save("", 1, 2.0)]);
    let (text, encoded) = encode(&runtime, Format::Text);
    let expected = "\
# TYPE document_last_seconds gauge
document_last_seconds{recorder=\"left\"} 2.0
# TYPE document_save_duration_seconds histogram
document_save_duration_seconds_bucket{recorder=\"left\",user=\"a\\\"b\",le=\"0.5\"} 1
document_save_duration_seconds_bucket{recorder=\"left\",user=\"a\\\"b\",le=\"1.0\"} 1
document_save_duration_seconds_bucket{recorder=\"left\",user=\"a\\\"b\",le=\"+Inf\"} 1
document_save_duration_seconds_sum{recorder=\"left\",user=\"a\\\"b\"} 0.5
document_save_duration_seconds_count{recorder=\"left\",user=\"a\\\"b\"} 1
document_save_duration_seconds_bucket{recorder=\"left\",le=\"0.5\"} 0
document_save_duration_seconds_bucket{recorder=\"left\",le=\"1.0\"} 0
document_save_duration_seconds_bucket{recorder=\"left\",le=\"+Inf\"} 1
document_save_duration_seconds_sum{recorder=\"left\"} 2.0
document_save_duration_seconds_count{recorder=\"left\"} 1
# HELP document_saves_total Saves, by \"user\"\\\\.
# TYPE document_saves_total counter
document_saves_total{recorder=\"left\",user=\"a\\\"b\"} 1
document_saves_total{recorder=\"left\"} 1
# TYPE document_size summary
document_size_sum{recorder=\"left\"} 9007199254740992.0
document_size_count{recorder=\"left\"} 2
# TYPE document_written_bytes_total counter
document_written_bytes_total{recorder=\"left\"} 9007199254740994
";
    assert_eq!(text, expected);
    assert_eq!((encoded.families(), encoded.samples(), encoded.skipped().len()), (5, 16, 0));

    let (text, encoded) = encode(&runtime, Format::OpenMetrics);
    let started = |name: &str| {
        let snapshot = runtime.snapshots().remove(0);
        let nanos = snapshot.metric(name).unwrap().family().series().next().unwrap().started().unix_nanos();
        format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000)
    };
    let written = format!(
        "# TYPE document_written_bytes counter\n# UNIT document_written_bytes bytes\n\
         document_written_bytes_total{{recorder=\"left\"}} 9007199254740994\n\
         document_written_bytes_created{{recorder=\"left\"}} {}\n# EOF\n",
        started("document.written")
    );
    assert!(text.ends_with(&written), "{text}");
    assert!(
        text.contains("# HELP document_saves Saves, by \\\"user\\\"\\\\.\n# TYPE document_saves counter\n"),
        "{text}"
    );
    // A creation time for each series of the counters, the histogram and the average.
    assert_eq!((encoded.families(), encoded.samples()), (5, 16 + 6));
}

#[test]
fn a_metric_of_many_recorders_has_one_head_and_two_encodings_are_equal() {
    let runtime = running("many");
    for id in ["b", "a", "c"] {
        record(&storage(&runtime, id), &[save("u", 1, 1.0)]);
    }
    for format in FORMATS {
        let (text, _) = encode(&runtime, format);
        assert_eq!(text.matches("# TYPE document_last_seconds gauge\n").count(), 1);
        assert_eq!(text, encode(&runtime, format).0);
        let exposition = parse(&text).unwrap();
        let of = |id| exposition.samples.iter().filter(|sample| sample.label("recorder") == Some(id)).count();
        assert!(of("a") > 0 && of("a") == of("b") && of("b") == of("c"));
    }
}

#[test]
fn groups_are_told_apart_by_their_name_and_the_runtime_tells_of_itself() {
    let runtime = running("groups");
    for (id, group) in [("a", "disks"), ("b", "disks"), ("c", "tapes")] {
        let recorder = runtime.recorder::<Save>(id).group(group).counter("saves", |c| c).create().unwrap();
        record(&recorder, &[save("u", 1, 1.0)]);
    }
    for format in FORMATS {
        let mut text = String::new();
        let encoded = Encoder::new(format).fold(Fold::Group).encode(&runtime.collect(), &mut text);
        assert_eq!(encoded.skipped(), []);
        let exposition = parse(&text).unwrap();
        let of = |name: &str| {
            let samples = exposition.samples.iter().filter(|sample| sample.name == name);
            samples
                .map(|sample| (sample.label("group").unwrap().to_owned(), sample.value))
                .collect::<Vec<_>>()
        };
        let counts = [("disks".to_owned(), 2.0), ("tapes".to_owned(), 1.0)];
        assert_eq!(of("saves_total"), counts, "{text}");
        assert_eq!(of("mvx_events_accepted_total"), counts, "{text}");
        assert_eq!(of("mvx_recorders"), counts, "{text}");
    }
}

#[test]
fn the_overflow_series_has_its_own_label_and_nothing_is_lost_to_it() {
    let runtime = running("overflow");
    let recorder = runtime
        .recorder::<Save>("o")
        .counter("saves", |c| c.cardinality(2).label("user", |e| e.user.as_str().into()))
        .create()
        .unwrap();
    record(&recorder, &["a", "b", "c", "d"].map(|user| save(user, 1, 1.0)));
    for format in FORMATS {
        let exposition = parse(&encode(&runtime, format).0).unwrap();
        let totals = exposition.samples.iter().filter(|sample| sample.name == "saves_total");
        let overflow: Vec<_> =
            totals.filter(|sample| sample.label("otel_metric_overflow") == Some("true")).collect();
        assert_eq!(overflow.iter().map(|sample| sample.value).collect::<Vec<_>>(), [2.0], "{exposition:?}");
        assert_eq!(overflow[0].label("user"), None);
    }
}

#[test]
fn names_that_would_be_one_in_the_text_are_refused_where_they_are_declared() {
    let runtime = running("names");
    let _first = runtime
        .recorder::<Save>("first")
        .counter("saves", |c| c)
        .histogram("took", |h| h.unit(Unit::Seconds).value(|e| Some(e.seconds)))
        .create()
        .unwrap();
    for (name, unit) in [
        ("saves.total", Unit::None),
        ("took.seconds.count", Unit::None),
        ("took_seconds", Unit::None),
        ("saves.created", Unit::None),
    ] {
        let made = runtime
            .recorder::<Save>("second")
            .gauge(name, |g| g.unit(unit).value(|e| Some(e.seconds)))
            .create();
        let error = made.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::MetricConflict, "{name}");
        assert!(error.to_string().contains("first") && error.to_string().contains("rename"), "{error}");
    }
    // The other way round, and within one recorder.
    let within = runtime
        .recorder::<Save>("third")
        .gauge("hits.total", |g| g.value(|e| Some(e.seconds)))
        .counter("hits", |c| c)
        .create();
    assert_eq!(within.unwrap_err().kind(), ErrorKind::MetricConflict);
    let fine = runtime
        .recorder::<Save>("fourth")
        .gauge("saves.total.more", |g| g.value(|e| Some(e.seconds)))
        .create();
    assert!(fine.is_ok());
}

#[test]
fn a_buffer_used_again_is_appended_to_and_grows_no_more() {
    let runtime = running("again");
    record(&storage(&runtime, "one"), &[save("u", 1, 1.0)]);
    let (snapshot, encoder) = (runtime.collect(), Encoder::new(Format::Text).vitals(false));
    let mut text = String::from("before\n");
    let _ = encoder.encode(&snapshot, &mut text);
    let once = text.clone();
    assert!(once.starts_with("before\n# TYPE"));
    text.truncate("before\n".len());
    let capacity = text.capacity();
    let _ = encoder.encode(&snapshot, &mut text);
    assert_eq!((&text, text.capacity()), (&once, capacity));
}

#[test]
fn a_sum_that_may_fall_is_in_0_0_4_alone_and_open_metrics_says_whose_is_left_out() {
    let runtime = running("falling");
    let recorder = runtime
        .recorder::<Save>("one")
        .histogram("above", |h| h.bounds(&[1.0]).value(|e| Some(e.seconds)))
        .histogram("below", |h| h.bounds(&[1.0]).value(|e| Some(-e.seconds)))
        .histogram("bounds", |h| h.bounds(&[-1.0, 1.0]).value(|e| Some(e.seconds)))
        .exponential_histogram("curve", |h| h.value(|e| Some(-e.seconds)))
        .average("mean", |a| a.value(|e| Some(-e.seconds)))
        .summary("spread", |s| s.value(|e| Some(-e.seconds)))
        .create()
        .unwrap();
    record(&recorder, &[save("", 1, 0.5)]);
    let all = ["above", "below", "bounds", "curve", "mean", "spread"];
    let (text, encoded) = encode(&runtime, Format::Text);
    assert!(encoded.skipped().is_empty(), "{encoded:?}");
    assert!(all.iter().all(|name| text.contains(&format!("\n{name}_sum{{"))), "{text}");
    let (text, encoded) = encode(&runtime, Format::OpenMetrics);
    let told: Vec<_> =
        encoded.skipped().iter().map(|skipped| (skipped.metric(), skipped.samples())).collect();
    assert_eq!(told, all[1..].iter().map(|name| (*name, 1)).collect::<Vec<_>>());
    let has = |what: &str| all.iter().filter(|name| text.contains(&format!("\n{name}_{what}{{"))).count();
    // A histogram without its sum has no count either; those of a summary stand by themselves.
    assert_eq!((has("sum"), has("count")), (1, 3), "{text}");
}

/// The event of README's program.
#[cfg(feature = "derive")]
#[derive(MetricEvent)]
enum StorageEvent {
    Saved {
        #[label]
        ok: bool,
        #[value(unit = "By")]
        bytes: u64,
        #[value]
        elapsed: std::time::Duration,
    },
}

/// README's program, up to what it has measured.
#[cfg(feature = "derive")]
pub(crate) fn readme_program(runtime: &MetricsRuntime) {
    let recorder = runtime
        .recorder::<StorageEvent>("document_storage")
        .derived_metrics()
        .counter("document.bytes", |c| {
            c.unit(Unit::Bytes).value(|StorageEvent::Saved { bytes, .. }| Some(*bytes))
        })
        .create()
        .unwrap();
    recorder.register_event(StorageEvent::Saved {
        ok: true,
        bytes: 5,
        elapsed: std::time::Duration::from_millis(3),
    });
    recorder.flush_blocking(PATIENCE).unwrap();
}

#[cfg(feature = "derive")]
#[test]
fn the_readme_shows_what_its_program_gives() {
    let runtime = running("docs");
    readme_program(&runtime);
    let (text, _) = encode(&runtime, Format::Text);
    let readme = include_str!("../../README.md");
    let shown = readme.split_once("```text\n").and_then(|(_, rest)| rest.split_once("```")).unwrap().0;
    assert_eq!(shown.lines().count(), 4);
    for line in shown.lines() {
        assert!(text.lines().any(|there| there == line), "{line}\nis not in\n{text}");
    }
}

/// Texts with everything that a format might trip over.
fn awkward() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[a-z]{1,4}".boxed(),
        2 => prop::sample::select(vec!["\"", "\\", "\n", "{", "}", ",", "=", " ", "#", "\\n", "# EOF", "é", "\u{202e}", "\r", "\t", "+Inf"]).prop_map(str::to_owned).boxed(),
        1 => "\\PC{1,3}".boxed(),
    ];
    prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_stands_in_labels_help_and_ids_reads_back_equal(
        users in prop::collection::vec(awkward(), 1..6),
        help in awkward(),
        id in "[a-z]\\PC{0,8}[a-z]",
        bytes in any::<u64>(),
        seconds in prop_oneof![any::<f64>(), Just(-0.0), Just(5e-324), Just(f64::MAX)],
    ) {
        let runtime = running("awkward");
        let recorder = runtime
            .recorder::<Save>(&id)
            .counter("saves", |c| c.help(&help).label("user", |e| e.user.as_str().into()).value(|e| Some(e.bytes)))
            .gauge("last", |g| g.value(|e| Some(e.seconds)))
            .create()
            .unwrap();
        record(&recorder, &users.iter().map(|user| save(user, bytes, seconds)).collect::<Vec<_>>());
        let snapshot = recorder.snapshot();
        for format in FORMATS {
            let (text, encoded) = encode(&runtime, format);
            let exposition = parse(&text).map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?;
            prop_assert_eq!(exposition.samples.len() as u64, encoded.samples());
            let total = |sample: &&Sample| sample.name == "saves_total";
            let mut read: Vec<_> = exposition.samples.iter().filter(total).map(|sample| {
                (sample.label("user").unwrap_or_default().to_owned(), sample.text.clone())
            }).collect();
            let family = snapshot.metric("saves").unwrap().family();
            let mut shown: Vec<_> = family.series().map(|series| {
                (series.labels().get("user").unwrap_or_default().to_owned(), series.value().counter().unwrap().to_string())
            }).collect();
            read.sort();
            shown.sort();
            prop_assert_eq!(read, shown);
            prop_assert!(exposition.samples.iter().all(|sample| sample.label("recorder") == Some(snapshot.id().as_str())));
            if let Some(last) = snapshot.gauge("last", &[]) {
                let sample = exposition.samples.iter().find(|sample| sample.name == "last").unwrap();
                prop_assert_eq!(sample.value.to_bits(), last.to_bits());
            }
            let family = if format == Format::Text { "saves_total" } else { "saves" };
            prop_assert_eq!(exposition.help(family).unwrap_or_default(), help.as_str());
        }
    }
}

/// Numbers of every kind, those at which floats and integers end more often than others.
fn odd_number() -> impl Strategy<Value = f64> {
    let ends =
        [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, 5e-324, f64::MAX, f64::MIN, f64::MIN_POSITIVE];
    prop_oneof![any::<f64>(), -1e9..1e9, prop::sample::select(ends.to_vec())]
}

fn odd_count() -> impl Strategy<Value = u64> {
    prop_oneof![0..9_u64, any::<u64>(), u64::MAX - 3..=u64::MAX, (1_u64 << 53)..(1 << 53) + 9]
}

proptest! {
    // With the events of each, R30's hundred thousand numbers.
    #![proptest_config(ProptestConfig { cases: 800, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_number_is_written_as_it_is_or_refused_and_counted(
        events in prop::collection::vec((odd_number(), odd_count()), 1..250),
    ) {
        let runtime = running("numbers");
        let recorder = runtime
            .recorder::<Save>("one")
            .counter("written", |c| c.value(|e| Some(e.bytes)))
            .gauge("last", |g| g.value(|e| Some(e.seconds)))
            .histogram("took", |h| h.bounds(&[0.5, 1.0]).value(|e| Some(e.seconds)))
            .create()
            .unwrap();
        record(&recorder, &events.iter().map(|(seconds, bytes)| save("", *bytes, *seconds)).collect::<Vec<_>>());
        let (mut written, mut saturated) = (0_u64, 0);
        for (_, bytes) in &events {
            let sum = written.checked_add(*bytes);
            saturated += u64::from(sum.is_none());
            written = sum.unwrap_or(u64::MAX);
        }
        let finite: Vec<f64> = events.iter().map(|(seconds, _)| *seconds).filter(|seconds| seconds.is_finite()).collect();
        let snapshot = recorder.snapshot();
        prop_assert_eq!(snapshot.metric("written").unwrap().family().saturated(), saturated);
        for name in ["last", "took"] {
            let tally = snapshot.metric(name).unwrap().tally();
            prop_assert_eq!(tally.accepted + tally.refused, events.len() as u64);
            prop_assert!(tally.refused >= (events.len() - finite.len()) as u64, "{}: {:?}", name, tally);
        }
        prop_assert_eq!(snapshot.metric("last").unwrap().tally().accepted, finite.len() as u64);
        let took = snapshot.metric("took").unwrap().tally().accepted;
        for format in FORMATS {
            let (text, _) = encode(&runtime, format);
            let samples = parse(&text).map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?.samples;
            let of = |name: &str, bound: Option<&str>| {
                let it = samples.iter().find(|sample| sample.name == name && (bound.is_none() || sample.label("le") == bound));
                it.map(|sample| sample.text.clone())
            };
            prop_assert!(samples.iter().all(|sample| sample.value.is_finite()), "{}", text);
            prop_assert_eq!(of("written_total", None), Some(written.to_string()));
            let last = of("last", None).map(|text| text.parse::<f64>().unwrap().to_bits());
            prop_assert_eq!(last, finite.last().map(|last| last.to_bits()), "{}", text);
            let all = (took > 0).then(|| took.to_string());
            prop_assert_eq!(of("took_bucket", Some("+Inf")), all.clone(), "{}", text);
            if let Some(count) = of("took_count", None) {
                prop_assert_eq!(Some(count), all);
            }
        }
    }
}
