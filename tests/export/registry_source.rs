//! A registry of prometheus-client as a source: our pages show what its own page shows, and what cannot be shown is told.
#![cfg(all(feature = "prometheus-client026", not(miri)))]

use crate::parser::parse;
use crate::support::Number;
use crate::support::PATIENCE;
use crate::support::running;
use mvx_metrics::ErrorKind;
use mvx_metrics::Fold;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::Timestamp;
use mvx_metrics::bridge::prometheus_client026::RegistryReport;
use mvx_metrics::bridge::prometheus_client026::RegistrySource;
use mvx_metrics::bridge::prometheus_client026::SharedRegistry;
use mvx_metrics::export::prometheus::Encoder;
use mvx_metrics::export::prometheus::Format;
use mvx_metrics::export::prometheus::ProtobufEncoder;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::encoding::EncodeMetric;
use prometheus_client::encoding::MetricEncoder;
use prometheus_client::encoding::NoLabelSet;
use prometheus_client::encoding::text;
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::exemplar::CounterWithExemplar;
use prometheus_client::metrics::exemplar::HistogramWithExemplars;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use prometheus_client::registry::Unit;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::RwLock;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use std::time::SystemTime;

type Labels = Vec<(String, String)>;

fn pairs(all: &[(&str, &str)]) -> Labels {
    all.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// A runtime that reads this registry, and what came of it.
fn reading(registry: impl SharedRegistry) -> (MetricsRuntime, RegistryReport) {
    let runtime = MetricsRuntime::builder("read").build().unwrap();
    let source = RegistrySource::new(registry).started(Timestamp::from_unix_nanos(7_000_000_000));
    let report = source.report();
    runtime.add_source("registry", Duration::ZERO, source).unwrap();
    runtime.refresh_sources();
    (runtime, report)
}

fn ours(runtime: &MetricsRuntime, format: Format) -> String {
    let mut page = String::new();
    let _ = Encoder::new(format).vitals(false).encode(&runtime.collect(), &mut page);
    page
}

fn theirs(registry: &Registry) -> String {
    let mut page = String::new();
    text::encode(&mut page, registry).unwrap();
    page
}

/// A sample: name, labels, and the value, whole numbers by their digits, others by their bits.
type Told = (String, Vec<(String, String)>, String);

/// Every sample but creation times; a bound by its value, and without labels that are blank.
fn told(page: &str) -> BTreeSet<Told> {
    let parsed = parse(page).unwrap_or_else(|why| panic!("{why}\n{page}"));
    let samples = parsed.samples.iter().filter(|sample| !sample.name.ends_with("_created")).map(|sample| {
        let label = |(key, value): (String, String)| match value.parse::<f64>() {
            Ok(bound) if key == "le" => (key, bound.to_string()),
            _ => (key, value),
        };
        let labels = sample.labels().into_iter().filter(|(_, value)| !value.is_empty()).map(label);
        let is_whole =
            sample.text != "-0" && sample.text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
        let value = if is_whole { sample.text.clone() } else { format!("x{:x}", sample.value.to_bits()) };
        (sample.name.clone(), labels.collect(), value)
    });
    let told: BTreeSet<Told> = samples.collect();
    assert_eq!(told.len(), parsed.samples.iter().filter(|sample| !sample.name.ends_with("_created")).count());
    told
}

/// Of a float that is whole, one page may write the digits and the other a fraction of zero.
fn by_value(told: BTreeSet<Told>, whole: &BTreeSet<String>) -> BTreeSet<Told> {
    let value = |name: &str, text: String| match text.parse::<i128>() {
        Ok(digits) if !whole.contains(name) => format!("x{:x}", (digits as f64).to_bits()),
        _ => text,
    };
    told.into_iter().map(|(name, labels, text)| (name.clone(), labels, value(&name, text))).collect()
}

#[derive(Clone, Debug)]
enum Made {
    Count(Vec<(String, u64)>),
    Sum(f64),
    Level(Vec<(String, i64)>),
    Value(Vec<(String, f64)>),
    Observed(Vec<f64>, Vec<f64>),
    Info(String),
}

fn made() -> impl Strategy<Value = Made> {
    let label = || "([a-c\\\\\"\n\r é}{=,#]|NaN){0,5}";
    let counts = prop_oneof![0..9_u64, (1_u64 << 53)..(1 << 53) + 9, u64::MAX - 3..u64::MAX, any::<u64>()];
    let reals = prop_oneof![any::<f64>(), Just(f64::NAN), Just(f64::INFINITY), Just(-0.0), -9.0..9.0];
    let observed = prop_oneof![0.0..20.0, Just(0.0), Just(10.0), 1e9..1e15];
    prop_oneof![
        prop::collection::vec((label(), counts), 0..4).prop_map(Made::Count),
        (0.0..1e18).prop_map(Made::Sum),
        prop::collection::vec((label(), any::<i64>()), 0..4).prop_map(Made::Level),
        prop::collection::vec((label(), reals), 0..4).prop_map(Made::Value),
        (prop::collection::btree_set(1..40_u32, 1..5), prop::collection::vec(observed, 0..6)).prop_map(
            |(bounds, seen)| {
                Made::Observed(bounds.into_iter().map(|bound| f64::from(bound) / 8.0).collect(), seen)
            }
        ),
        label().prop_map(Made::Info),
    ]
}

fn unit() -> impl Strategy<Value = Option<Unit>> {
    let word = prop_oneof![
        Just("furlongs"),
        Just("milliseconds"),
        Just("m"),
        Just("s"),
        Just("ratio"),
        Just("bytes_per_second")
    ];
    prop_oneof![
        3 => Just(None),
        1 => Just(Some(Unit::Seconds)),
        1 => Just(Some(Unit::Ratios)),
        1 => word.prop_map(|word| Some(Unit::Other(word.to_owned()))),
    ]
}

/// Registers what was made, its labels with a number before them, so that no two are one.
fn register(into: &mut Registry, name: &str, help: &str, unit: Option<Unit>, made: &Made) {
    fn family<V: Copy, M: Clone + Default>(of: &[(String, V)], set: impl Fn(&M, V)) -> Family<Labels, M> {
        let family = Family::<Labels, M>::default();
        for (at, (label, value)) in of.iter().enumerate() {
            let labels =
                pairs(&[("k", &format!("{at}{label}")), ("blank", label.get(1..).unwrap_or_default())]);
            set(&family.get_or_create(&labels), *value);
        }
        family
    }
    macro_rules! enter {
        ($metric:expr) => {
            match unit {
                Some(unit) => into.register_with_unit(name, help, unit, $metric),
                None => into.register(name, help, $metric),
            }
        };
    }
    match made {
        Made::Count(of) => enter!(family::<_, Counter>(of, |counter, count| _ = counter.inc_by(count))),
        Made::Sum(sum) => {
            let counter = Counter::<f64, AtomicU64>::default();
            counter.inc_by(*sum);
            enter!(counter)
        }
        Made::Level(of) => enter!(family::<_, Gauge>(of, |gauge, level| _ = gauge.set(level))),
        Made::Value(of) => {
            enter!(family::<_, Gauge<f64, AtomicU64>>(of, |gauge, value| _ = gauge.set(value)))
        }
        Made::Observed(bounds, seen) => {
            let histogram = Histogram::new(bounds.iter().copied());
            seen.iter().for_each(|seen| histogram.observe(*seen));
            enter!(histogram)
        }
        Made::Info(text) => enter!(Info::new(pairs(&[("k", text), ("l", "fixed")]))),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn our_page_says_what_the_registrys_own_says(
        all in prop::collection::vec(("[a-z][a-z_0-9]{0,4}(_total|_info|_seconds|_bucket|_m)?", unit(), made()), 0..6),
        constant in "[a-c\\\\\"\n]{0,4}",
    ) {
        let mut registry = Registry::with_prefix_and_labels("p", [("const".into(), constant.into())].into_iter());
        let mut whole = BTreeSet::new();
        let mut left_out = 0;
        for (at, (name, unit, made)) in all.iter().enumerate() {
            // So that no name is another's with a suffix.
            let name = format!("{at}{name}");
            // That crate refuses it for counters, in builds with debug assertions.
            let name = match made {
                Made::Count(_) | Made::Sum(_) => name.trim_end_matches("_total"),
                _ => name.as_str(),
            };
            register(&mut registry, name, "", unit.clone(), made);
            let unit = unit.as_ref().map_or_else(String::new, |unit| format!("_{}", unit.as_str()));
            let full = format!("p_{name}{unit}");
            match made {
                Made::Value(of) => left_out += of.iter().filter(|(_, value)| !value.is_finite()).count(),
                Made::Sum(_) => {}
                _ => whole.extend(["", "_total", "_count", "_bucket", "_info"].map(|suffix| format!("{full}{suffix}"))),
            }
        }
        let registry = Arc::new(registry);
        let own = theirs(&registry);
        let (runtime, report) = reading(Arc::clone(&registry));
        let page = ours(&runtime, Format::OpenMetrics);
        let finite = |line: &&str| !["NaN", "inf", "-inf"].iter().any(|odd| line.ends_with(&format!(" {odd}")));
        let kept: String = own.lines().filter(finite).flat_map(|line| [line, "\n"]).collect();
        prop_assert_eq!(own.matches('\n').count() - kept.matches('\n').count(), left_out);
        prop_assert_eq!(by_value(told(&page), &whole), by_value(told(&kept), &whole), "{}\n{}", page, own);
        let counts = report.counts();
        prop_assert_eq!((counts.looks, counts.conflicts, counts.unreadable), (1, 0, 0), "{:?}", counts);
        prop_assert_eq!((counts.left_out, runtime.sources()[0].faults), (left_out as u64, left_out as u64));
        for line in own.lines().filter(|line| line.starts_with("# TYPE ")) {
            let has = page.contains(line) || !page.contains(line.rsplit_once(' ').unwrap().0);
            prop_assert!(has, "{}\n{}", line, page);
        }
    }

    #[test]
    fn whatever_a_registry_writes_costs_no_more_than_itself(
        names in prop::collection::vec(any::<String>(), 1..4), help in any::<String>(),
        key in any::<String>(), value in any::<String>(),
    ) {
        let mut registry = Registry::default();
        for name in &names {
            let family = Family::<Labels, Counter>::default();
            family.get_or_create(&vec![(key.clone(), value.clone())]).inc();
            registry.register(name.as_str(), help.as_str(), family);
        }
        let well = Counter::<u64>::default();
        well.inc();
        registry.register("well_behaved", "Yes", well);
        let (runtime, report) = reading(Arc::new(registry));
        for format in [Format::Text, Format::OpenMetrics] {
            let page = ours(&runtime, format);
            prop_assert!(parse(&page).is_ok(), "{}", page);
            prop_assert!(page.contains("\nwell_behaved_total 1\n"), "{}", page);
        }
        prop_assert_eq!(report.counts().looks, 1);
    }
}

#[test]
fn every_format_shows_it_beside_the_runtimes_own() {
    let runtime = running("beside");
    let recorder = runtime.recorder::<Number>("one").counter("events", |c| c).create().unwrap();
    recorder.register_event(Number(1));
    recorder.flush_blocking(PATIENCE).unwrap();
    let mut registry = Registry::default();
    let depth = Gauge::<i64>::default();
    depth.set(-3);
    registry.register("depth", "two\nlines # TYPE depth gauge\n# TYPE other gauge\nother 1", depth);
    let registry = Arc::new(RwLock::new(registry));
    runtime.add_source("registry", Duration::ZERO, RegistrySource::new(Arc::clone(&registry))).unwrap();
    runtime.refresh_sources();
    for format in [Format::Text, Format::OpenMetrics] {
        let page = ours(&runtime, format);
        let parsed = parse(&page).unwrap();
        assert_eq!(parsed.help("depth"), Some("two\nlines # TYPE depth gauge\n# TYPE other gauge\nother 1."));
        assert!(page.contains("\ndepth -3\n") && page.contains("events_total{recorder=\"one\"} 1"), "{page}");
        assert!(!page.contains("\nother"), "{page}");
    }
    let mut bytes = Vec::new();
    let _ = ProtobufEncoder::new().vitals(false).encode(&runtime.collect(), &mut bytes);
    assert!(bytes.windows(5).any(|name| name == b"depth"));

    // What is registered later is shown later, and a label more is no conflict.
    let family = Family::<Labels, Counter>::default();
    family.get_or_create(&pairs(&[("a", "1")])).inc();
    registry.write().unwrap().register("late", "", family.clone());
    runtime.refresh_sources();
    assert!(ours(&runtime, Format::Text).contains("late_total{a=\"1\"} 1"));
    family.get_or_create(&pairs(&[("a", "1"), ("b", "2")])).inc_by(2);
    runtime.refresh_sources();
    let page = ours(&runtime, Format::Text);
    assert!(
        page.contains("late_total{a=\"1\"} 1\n") && page.contains("late_total{a=\"1\",b=\"2\"} 2\n"),
        "{page}"
    );
    assert_eq!(runtime.sources()[0].faults, 0);
    assert!(runtime.remove_source("registry"));
    assert!(!ours(&runtime, Format::Text).contains("late"));
}

#[test]
fn who_was_first_keeps_a_name_and_the_other_is_told() {
    let runtime = running("first");
    let recorder =
        runtime.recorder::<Number>("one").counter("events", |c| c).gauge("depth", |g| g.value(|_| Some(1.0)));
    let recorder = recorder.create().unwrap();
    recorder.register_event(Number(1));
    recorder.flush_blocking(PATIENCE).unwrap();
    let mut registry = Registry::default();
    // The same name and type, the name of a sample, the same name and another type; and twice within the registry.
    registry.register("depth", "", ConstGauge::<f64>::new(2.5));
    registry.register("events_total", "", ConstGauge::<i64>::new(2));
    registry.register("events", "", ConstGauge::<i64>::new(3));
    registry.register("twice", "", ConstCounter::<u64>::new(4));
    registry.register("twice", "", ConstCounter::<u64>::new(5));
    registry.register("twice", "", ConstGauge::<i64>::new(6));
    let source = RegistrySource::new(Arc::new(registry));
    let report = source.report();
    runtime.add_source("registry", Duration::ZERO, source).unwrap();
    runtime.refresh_sources();
    let page = ours(&runtime, Format::OpenMetrics);
    let expected = [
        ("depth", "recorder", "one", "1.0"),
        ("depth", "", "", "2.5"),
        ("events_total", "recorder", "one", "1"),
        ("twice_total", "", "", "4"),
    ];
    let parsed = parse(&page).unwrap();
    let found: Vec<_> = parsed.samples.iter().filter(|sample| !sample.name.ends_with("_created")).collect();
    assert_eq!(found.len(), expected.len(), "{page}");
    for (name, key, value, text) in expected {
        let is_it = |labels: std::collections::BTreeMap<String, String>| {
            labels.get(key).map_or("", String::as_str) == value
                && labels.len() == usize::from(!key.is_empty())
        };
        assert!(
            found.iter().any(|s| s.name == name && s.text == text && is_it(s.labels())),
            "{name}: {page}"
        );
    }
    let counts = report.counts();
    assert_eq!((counts.conflicts, counts.left_out, counts.looks), (3, 4, 1));
    let status = &runtime.sources()[0];
    assert_eq!((status.faults, status.last_fault.clone().unwrap().kind()), (4, ErrorKind::MetricConflict));
}

#[test]
fn names_and_labels_that_are_none_here_are_left_out_and_told() {
    let mut registry = Registry::default();
    let family = Family::<Labels, Counter>::default();
    for labels in [
        pairs(&[("fine", "1")]),
        pairs(&[("recorder", "taken")]),
        pairs(&[("a b", "2")]),
        pairs(&[("twice", "3"), ("twice", "4")]),
        pairs(&[("fine", &"x".repeat(2_000))]),
    ] {
        family.get_or_create(&labels).inc();
    }
    registry.register("labelled", "", family);
    registry.register("a:b", "", ConstGauge::<i64>::new(1));
    registry.register("_hidden", "", ConstGauge::<i64>::new(1));
    registry.register("broken\nname", "", ConstGauge::<i64>::new(1));
    registry.register("wide", "", ConstGauge::<u64>::new(u64::MAX));
    registry.register("odd", "", ConstGauge::<f64>::new(f64::NAN));
    let (runtime, report) = reading(Arc::new(registry));
    let page = ours(&runtime, Format::Text);
    assert_eq!(told(&page).len(), 1, "{page}");
    assert!(page.contains("labelled_total{fine=\"1\"} 1\n"), "{page}");
    let counts = report.counts();
    assert_eq!((counts.conflicts, counts.left_out), (2, 4 + 2 + 2), "{counts:?}");
    assert!(counts.unreadable > 0, "{counts:?}");
    assert!(runtime.sources()[0].faults > counts.left_out);
}

#[test]
fn series_past_the_limit_are_left_out_and_counted() {
    let mut registry = Registry::default();
    let family = Family::<Labels, Counter>::default();
    for user in 0..5 {
        family.get_or_create(&pairs(&[("user", &user.to_string())])).inc();
    }
    registry.register("visits", "", family);
    let runtime = MetricsRuntime::builder("limited").build().unwrap();
    runtime.add_source("r", Duration::ZERO, RegistrySource::new(Arc::new(registry)).cardinality(2)).unwrap();
    runtime.refresh_sources();
    assert_eq!(told(&ours(&runtime, Format::Text)).len(), 2);
    let status = &runtime.sources()[0];
    assert_eq!((status.faults, status.last_fault.clone().unwrap().kind()), (3, ErrorKind::InvalidLimit));
}

#[test]
fn histograms_keep_their_buckets_and_those_without_bounds_their_counts() {
    let mut registry = Registry::default();
    let well = Histogram::new([0.1, 0.5]);
    [0.1, 0.3, 7.0].iter().for_each(|seen| well.observe(*seen));
    registry.register("took", "", well);
    let bare = Histogram::new([]);
    [1.0, 2.0].iter().for_each(|seen| bare.observe(*seen));
    registry.register("bare", "", bare);
    let poisoned = Histogram::new([1.0]);
    poisoned.observe(f64::NAN);
    registry.register("not_a_number", "", poisoned);
    let (runtime, report) = reading(Arc::new(registry));
    let page = ours(&runtime, Format::OpenMetrics);
    for line in [
        "took_bucket{le=\"0.1\"} 1\n",
        "took_bucket{le=\"0.5\"} 2\n",
        "took_bucket{le=\"+Inf\"} 3\n",
        "took_count 3\n",
        "took_created 7.000000000\n",
        "bare_sum 3.0\n",
        "bare_count 2\n",
    ] {
        assert!(page.contains(line), "{line}{page}");
    }
    assert!(!page.contains("not_a_number"), "{page}");
    assert_eq!(report.counts().left_out, 1);
}

#[test]
fn exemplars_come_along_and_keep_the_time_at_which_they_were_first_seen() {
    let mut registry = Registry::default();
    let hits = CounterWithExemplar::<Labels>::default();
    hits.inc_by(
        3,
        Some(pairs(&[("trace_id", "4b\"f")])),
        Some(SystemTime::UNIX_EPOCH + Duration::from_millis(1_500)),
    );
    registry.register("hits", "", hits);
    let took = HistogramWithExemplars::<Labels>::new([1.0, 2.0].into_iter());
    took.observe(0.5, Some(pairs(&[("trace_id", "one")])), None);
    took.observe(9.0, Some(pairs(&[("trace_id", "two")])), None);
    registry.register("took", "", took);
    let (runtime, report) = reading(Arc::new(registry));
    let page = ours(&runtime, Format::OpenMetrics);
    let exemplars = |page: &str| -> Vec<_> {
        let parsed = parse(page).unwrap();
        parsed
            .samples
            .iter()
            .filter_map(|s| Some((s.name.clone(), s.label("le").map(str::to_owned), s.exemplar.clone()?)))
            .collect()
    };
    let found = exemplars(&page);
    assert_eq!(found.len(), 3, "{page}");
    let counted = found.iter().find(|(name, ..)| name == "hits_total").unwrap();
    assert_eq!(counted.2.labels, pairs(&[("trace_id", "4b\"f")]));
    assert_eq!((counted.2.value, counted.2.at.parse()), (3.0, Ok(1.5)));
    let bounds: Vec<_> = found.iter().filter_map(|(_, bound, _)| bound.clone()).collect();
    assert_eq!(bounds, ["1.0", "+Inf"], "{page}");
    runtime.refresh_sources();
    assert_eq!(exemplars(&ours(&runtime, Format::OpenMetrics)), found);
    assert_eq!((report.counts().looks, report.counts().left_out), (2, 0));
}

/// A metric that does as it is told.
#[derive(Debug)]
enum Bad {
    Panics,
    Fails,
    Unknown,
    /// A counter that writes itself as a gauge.
    Lies,
    /// A histogram of more observations than are in its buckets.
    Torn,
    /// One with a bound that is none.
    Unbound,
}

impl EncodeMetric for Bad {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        match self {
            Self::Panics => panic!("on purpose"),
            Self::Fails => Err(std::fmt::Error),
            Self::Unknown => encoder.encode_gauge(&2.5_f64),
            Self::Lies => encoder.encode_gauge(&1_i64),
            Self::Torn => {
                encoder.encode_histogram::<NoLabelSet>(1.0, 5, &[(1.0, 2), (f64::INFINITY, 1)], None)
            }
            Self::Unbound => {
                encoder.encode_histogram::<NoLabelSet>(1.0, 1, &[(f64::NAN, 1), (f64::INFINITY, 0)], None)
            }
        }
    }

    fn metric_type(&self) -> MetricType {
        match self {
            Self::Lies => MetricType::Counter,
            Self::Torn | Self::Unbound => MetricType::Histogram,
            Self::Panics | Self::Fails | Self::Unknown => MetricType::Unknown,
        }
    }
}

#[derive(Debug)]
struct Endless;

impl Collector for Endless {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let part = "x".repeat(1 << 20);
        loop {
            encoder.encode_descriptor("endless", &part, None, MetricType::Gauge)?;
        }
    }
}

#[derive(Debug)]
struct Total;

impl Collector for Total {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let metric = ConstCounter::<u64>::new(3);
        metric.encode(encoder.encode_descriptor("sent_total", "", None, MetricType::Counter)?)
    }
}

#[test]
fn what_has_no_type_there_is_a_gauge_here() {
    let mut registry = Registry::default();
    registry.register("odd", "", Bad::Unknown);
    registry.register_collector(Box::new(Total));
    let (runtime, report) = reading(Arc::new(registry));
    let page = ours(&runtime, Format::OpenMetrics);
    assert!(page.contains("# TYPE odd gauge\nodd 2.5\n"), "{page}");
    // A name of a counter that ends as its samples do keeps that, as on the registry's own page.
    assert!(page.contains("# TYPE sent_total counter\nsent_total_total 3\n"), "{page}");
    assert_eq!(report.counts().conflicts, 0);
}

#[test]
#[cfg(panic = "unwind")]
fn a_metric_that_panics_quarantines_the_source_and_poisons_no_lock() {
    let registry = Arc::new(Mutex::new(Registry::default()));
    registry.lock().unwrap().register("bad", "", Bad::Panics);
    let (runtime, report) = reading(Arc::clone(&registry));
    assert!(runtime.sources()[0].is_quarantined);
    assert!(!registry.is_poisoned());
    assert_eq!((report.counts().panicked, report.counts().looks), (1, 0));
    runtime.refresh_sources();
    assert_eq!((report.counts().panicked, report.counts().looks), (1, 0));
}

#[test]
fn a_registry_that_cannot_be_read_shows_nothing_until_it_can() {
    for (bad, kind) in [(true, ErrorKind::HookFailed), (false, ErrorKind::LimitReached)] {
        let registry = Arc::new(RwLock::new(Registry::default()));
        registry.write().unwrap().register("well", "", ConstGauge::<i64>::new(1));
        let (runtime, report) = reading(Arc::clone(&registry));
        assert_eq!(runtime.collect().families(Fold::Group).len(), 1);
        if bad {
            registry.write().unwrap().register("bad", "", Bad::Fails);
        } else {
            registry.write().unwrap().register_collector(Box::new(Endless));
        }
        runtime.refresh_sources();
        assert!(runtime.collect().families(Fold::Group).is_empty());
        let counts = report.counts();
        assert_eq!((counts.failed, counts.too_large), (u64::from(bad), u64::from(!bad)));
        let status = &runtime.sources()[0];
        assert_eq!((status.faults, status.last_fault.clone().unwrap().kind()), (1, kind));
        *registry.write().unwrap() = Registry::default();
        registry.write().unwrap().register("well", "", ConstGauge::<i64>::new(1));
        runtime.refresh_sources();
        assert_eq!((report.counts().looks, runtime.collect().families(Fold::Group).len()), (2, 1));
    }
}

/// What becomes of a look at a registry behind somebody's own lock.
#[derive(Clone, Copy, Debug)]
enum Way {
    There,
    /// It says so.
    Away,
    /// It says that it was read, and was not.
    Silent,
    /// It was read, and says that it was not.
    Denied,
}

struct Behind(Arc<(Mutex<Way>, Registry)>);

impl SharedRegistry for Behind {
    fn read(&self, read: &mut dyn FnMut(&Registry)) -> bool {
        let (way, registry) = &*self.0;
        let way = *way.lock().unwrap();
        if matches!(way, Way::There | Way::Denied) {
            read(registry);
        }
        matches!(way, Way::There | Way::Silent)
    }
}

#[test]
fn a_registry_that_is_away_shows_nothing_and_is_told_and_shown_again_when_it_is_back() {
    let mut registry = Registry::default();
    registry.register("well", "", ConstGauge::<i64>::new(1));
    let shared = Arc::new((Mutex::new(Way::There), registry));
    let (runtime, report) = reading(Behind(Arc::clone(&shared)));
    for (times, way) in (1..).zip([Way::Away, Way::Silent, Way::Denied]) {
        *shared.0.lock().unwrap() = way;
        runtime.refresh_sources();
        assert!(runtime.collect().families(Fold::Group).is_empty(), "{way:?}");
        let counts = report.counts();
        assert_eq!((counts.unavailable, counts.looks), (times, times), "{way:?}");
        let status = &runtime.sources()[0];
        let why = status.last_fault.clone().unwrap().kind();
        assert_eq!((status.faults, why, status.is_quarantined), (times, ErrorKind::InvalidState, false));
        *shared.0.lock().unwrap() = Way::There;
        runtime.refresh_sources();
        assert_eq!(runtime.collect().families(Fold::Group).len(), 1, "{way:?}");
    }
}

#[test]
#[cfg(panic = "unwind")]
fn a_poisoned_lock_of_either_kind_is_not_read() {
    let registry = || {
        let mut registry = Registry::default();
        registry.register("well", "", ConstGauge::<i64>::new(1));
        registry
    };
    let (mutex, lock) = (Arc::new(Mutex::new(registry())), Arc::new(RwLock::new(registry())));
    let (also_mutex, also_lock) = (Arc::clone(&mutex), Arc::clone(&lock));
    let poisons = std::thread::spawn(move || {
        let _held = (also_mutex.lock().unwrap(), also_lock.write().unwrap());
        panic!("on purpose");
    });
    assert!(poisons.join().is_err() && mutex.is_poisoned() && lock.is_poisoned());
    for (runtime, report) in [reading(mutex), reading(lock)] {
        assert!(runtime.collect().families(Fold::Group).is_empty());
        assert_eq!((report.counts().unavailable, report.counts().looks), (1, 0));
        let status = &runtime.sources()[0];
        assert_eq!((status.faults, status.last_fault.clone().unwrap().kind()), (1, ErrorKind::InvalidState));
    }
}

#[test]
fn every_line_that_says_nothing_is_counted_and_a_histogram_of_other_bounds_left_out() {
    let mut registry = Registry::default();
    for number in ["1", "2"] {
        let family = Family::<Labels, Counter>::default();
        family.get_or_create(&pairs(&[("fine", number)])).inc();
        family.get_or_create(&pairs(&[("two\nlines", number)])).inc();
        registry.register("hits", "", family);
    }
    for (side, bound) in [("left", 1.0), ("right", 2.0)] {
        let took = Histogram::new([bound]);
        took.observe(0.5);
        registry.sub_registry_with_label(("side".into(), side.into())).register("took", "", took);
    }
    let (runtime, report) = reading(Arc::new(registry));
    let page = ours(&runtime, Format::Text);
    assert!(
        page.contains("hits_total{fine=\"1\"} 1\n") && page.contains("hits_total{fine=\"2\"} 1\n"),
        "{page}"
    );
    assert!(page.contains("took_bucket{side=\"left\",le=\"1.0\"} 1\n") && !page.contains("right"), "{page}");
    let counts = report.counts();
    assert_eq!((counts.unreadable, counts.left_out, counts.conflicts), (4, 1, 0), "{page}");
    let status = &runtime.sources()[0];
    assert_eq!((status.faults, status.last_fault.clone().unwrap().kind()), (5, ErrorKind::InvalidRecord));
}

#[test]
fn what_a_registry_says_wrongly_or_not_exactly_is_left_out_and_counted() {
    let mut registry = Registry::default();
    registry.register("lies", "", Bad::Lies);
    registry.register("torn", "", Bad::Torn);
    registry.register("unbound", "", Bad::Unbound);
    registry.register("falls", "", ConstCounter::<f64>::new(-1.5));
    // It would be called otherwise here.
    registry.register("with.dot", "", ConstGauge::<i64>::new(1));
    // Beside a fraction an integer is a float, and this one is none.
    let whole = ConstCounter::<u64>::new(9_007_199_254_740_993);
    registry.sub_registry_with_label(("side".into(), "whole".into())).register("mixed", "", whole);
    let part = ConstCounter::<f64>::new(2.5);
    registry.sub_registry_with_label(("side".into(), "part".into())).register("mixed", "", part);
    let runtime = running("wrong");
    let future = Timestamp::from_unix_nanos(u64::MAX / 2);
    let source = RegistrySource::new(Arc::new(registry)).started(future);
    let report = source.report();
    runtime.add_source("registry", Duration::ZERO, source).unwrap();
    runtime.refresh_sources();
    let page = ours(&runtime, Format::Text);
    let samples: Vec<_> = page.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(samples, ["mixed_total{side=\"part\"} 2.5", "unbound_sum 1.0", "unbound_count 1"], "{page}");
    let counts = report.counts();
    assert_eq!((counts.left_out, counts.conflicts, counts.unreadable), (6, 1, 0), "{page}");
    let snapshot = runtime.collect();
    let families = snapshot.families(Fold::Group);
    let started = families[0].parts()[0].family().series().next().unwrap().started();
    assert!(started <= snapshot.taken_at(), "nothing begins later than it is seen");
}
