//! A runtime in a registry of prometheus-client: read back, it says what our own encoder says.
#![cfg(all(feature = "prometheus-client026", not(miri)))]

use crate::parser::Sample;
use crate::parser::parse;
use crate::support::Number;
use crate::support::PATIENCE;
use crate::support::running;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::Unit;
use mvx_metrics::bridge::prometheus_client026::RuntimeCollector;
use mvx_metrics::export::prometheus::Encoder;
use mvx_metrics::export::prometheus::Format;
use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use std::collections::BTreeSet;
use std::sync::Arc;

fn scraped(registry: &Registry) -> String {
    let mut page = String::new();
    text::encode(&mut page, registry).unwrap();
    page
}

/// Every sample but creation times, as name, labels and value; a bound by its value, whose text is not the shortest there.
fn samples(page: &str) -> BTreeSet<(String, String, u64)> {
    let parsed = parse(page).unwrap_or_else(|why| panic!("{why}\n{page}"));
    let kept = parsed.samples.iter().filter(|sample| !sample.name.ends_with("_created"));
    let text = |(key, value): (&String, &String)| match value.parse::<f64>() {
        Ok(bound) if key == "le" => format!("{key}={bound}"),
        _ => format!("{key}={value:?}"),
    };
    let labels = |sample: &Sample| sample.labels().iter().map(text).collect::<Vec<_>>().join(",");
    kept.map(|sample| (sample.name.clone(), labels(sample), sample.value.to_bits())).collect()
}

fn in_a_registry(runtime: &MetricsRuntime) -> (Arc<RuntimeCollector>, Registry) {
    let collector = Arc::new(RuntimeCollector::new(runtime.reader()).vitals(false));
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Arc::clone(&collector)));
    (collector, registry)
}

#[test]
fn a_registry_shows_what_our_own_encoder_shows() {
    let runtime = running("bridged");
    let hostile = "a\"b\\c";
    let recorder = runtime
        .recorder::<Number>(hostile)
        .counter("events", |c| c.help("two\nlines, \\ and \"quotes\""))
        .counter("size", |c| c.unit(Unit::Bytes).value(|Number(n)| Some(u64::from(*n > 2) * 500)))
        .gauge("last", |g| g.value(|Number(n)| Some(*n as f64 / 3.0)))
        .histogram("took", |h| h.unit(Unit::Seconds).bounds(&[1.0, 2.5]).value(|Number(n)| Some(*n as f64)))
        .exponential_histogram("spread", |h| h.value(|Number(n)| Some(*n as f64)))
        .create()
        .unwrap();
    for n in 0..9 {
        recorder.register_event(Number(n));
    }
    recorder.flush_blocking(PATIENCE).unwrap();

    let (collector, mut registry) = in_a_registry(&runtime);
    let own = Counter::<u64>::default();
    own.inc();
    registry.register("own", "The program's own.", own);
    let page = scraped(&registry);
    let mut theirs = samples(&page);
    assert!(theirs.remove(&("own_total".to_owned(), String::new(), 1.0_f64.to_bits())), "{page}");
    let mut ours = String::new();
    let _ = Encoder::new(Format::OpenMetrics).vitals(false).encode(&runtime.collect(), &mut ours);
    assert_eq!(theirs, samples(&ours), "{page}\n{ours}");
    assert_eq!(parse(&page).unwrap().help("events"), parse(&ours).unwrap().help("events"));
    assert!(page.contains("# UNIT took_seconds seconds\n"), "{page}");
    assert_eq!(page.matches("# EOF").count(), 1);
    assert_eq!(collector.left_out(), 0);
}

#[test]
fn what_that_crate_lacks_is_left_out_and_counted() {
    let runtime = running("lacking");
    let recorder = runtime
        .recorder::<Number>("one")
        .average("mean", |a| a.value(|Number(n)| Some(*n as f64)))
        .histogram("below", |h| h.bounds(&[1.0]).value(|Number(n)| Some(-(*n as f64))))
        .counter("events", |c| c)
        .create()
        .unwrap();
    recorder.register_event(Number(3));
    recorder.flush_blocking(PATIENCE).unwrap();
    let (collector, registry) = in_a_registry(&runtime);
    let page = scraped(&registry);
    assert_eq!(samples(&page).len(), 1, "{page}");
    assert_eq!(collector.left_out(), 2);
}

#[test]
fn a_runtime_that_is_gone_shows_nothing() {
    let runtime = running("gone");
    let (_, registry) = in_a_registry(&runtime);
    let reader = runtime.reader();
    runtime.shutdown(PATIENCE).unwrap();
    drop(runtime);
    crate::support::until("it is gone", || reader.collect().is_none());
    assert_eq!(scraped(&registry), "# EOF\n");
}
