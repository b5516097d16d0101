//! What is pushed to receivers by remote write, and what they are to give back.

use crate::parser::parse;
use crate::support::Number;
use crate::support::PATIENCE;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::Recorder;
use mvx_metrics::RuntimeSnapshot;
use mvx_metrics::Unit;
use mvx_metrics::export::ExportError;
use mvx_metrics::export::Exporter;
use mvx_metrics::export::Kept;
use mvx_metrics::export::MemoryExporter;
use mvx_metrics::export::Schedule;
use mvx_metrics::export::prometheus::Encoder;
use mvx_metrics::export::prometheus::Format;
use mvx_metrics::export::remote_write::RemoteWriteExporter;
use std::collections::BTreeMap;
use std::time::Duration;

/// A series by its labels, of which `__name__` is one.
pub type Key = BTreeMap<String, String>;

pub fn quick() -> Schedule {
    Schedule::on_demand().timeout(PATIENCE).retry_pause(Duration::from_millis(1))
}

/// What the text format says of the same snapshot, with the job.
pub fn expected(snapshot: &RuntimeSnapshot, job: &str) -> BTreeMap<Key, f64> {
    let mut text = String::new();
    let _ = Encoder::new(Format::Text).vitals(false).encode(snapshot, &mut text);
    let exposition = parse(&text).unwrap();
    let series = exposition.samples.iter().map(|sample| {
        let mut labels = sample.labels();
        labels.insert("__name__".into(), sample.name.clone());
        labels.entry("job".into()).or_insert_with(|| job.to_owned());
        (labels, sample.value)
    });
    series.collect()
}

/// Two exporters that see the same snapshots.
struct Both<A, B>(A, B);

impl<A: Exporter, B: Exporter> Exporter for Both<A, B> {
    async fn export(&mut self, snapshot: &RuntimeSnapshot, within: Duration) -> Result<(), ExportError> {
        self.1.export(snapshot, within).await?;
        self.0.export(snapshot, within).await
    }
    async fn shutdown(&mut self, within: Duration) -> Result<(), ExportError> {
        self.0.shutdown(within).await
    }
}

pub fn pushing(runtime: &MetricsRuntime, exporter: RemoteWriteExporter) -> Kept {
    let (memory, kept) = MemoryExporter::new(1);
    runtime.add_exporter("remote", quick(), Both(exporter, memory)).unwrap();
    kept
}

pub fn everything(runtime: &MetricsRuntime) {
    for id in ["left", "right \"\\\n".trim()] {
        let recorder = runtime
            .recorder::<Number>(id)
            .entity("disk")
            .counter("saves", |c| {
                c.help("Documents \"saved\".").label("Zone", |n| (n.0 % 3).into()).cardinality(2)
            })
            .counter("written", |c| c.unit(Unit::Bytes).value(|n| Some(n.0 << 40)))
            .counter("busy", |c| c.unit(Unit::Seconds).value(|n| Some(Duration::from_nanos(n.0))))
            .up_down("open", |u| u.value(|n| Some(-(n.0 as i64))))
            .gauge("level", |g| g.label("job", |_| "mine".into()).value(|n| Some(-0.1 * n.0 as f64)))
            .histogram("took", |h| {
                h.unit(Unit::Seconds)
                    .bounds(&[0.5, 1.0, 2.5])
                    .label("zone", |n| (n.0 % 2).into())
                    .value(|n| Some(n.0 as f64 / 3.0))
            })
            .exponential_histogram("sizes", |h| h.unit(Unit::Bytes).value(|n| Some(n.0 as f64 * 1.5)))
            .average("mean", |a| a.value(|n| Some(n.0 as f64)))
            .summary("wait", |s| {
                s.unit(Unit::Seconds).quantiles(&[0.5, 0.99]).value(|n| Some(n.0 as f64 / 7.0))
            })
            .windowed_summary("wait.lately", |s| {
                s.window(Duration::from_secs(3_600)).slots(4).value(|n| Some(n.0 as f64 - 9.0))
            })
            .info("build", |i| i.constant("version", "1.4").label("last", |n| n.0.into()))
            .state_set("state", &["low", "high"], |s| {
                s.label("zone", |n| (n.0 % 2).into()).state(|n| Some(if n.0 < 10 { "low" } else { "high" }))
            })
            .rate("rate", |r| r.window(Duration::from_secs(3_600)))
            .heartbeat("silence", |h| h)
            .create()
            .unwrap();
        (0..20).for_each(|n| recorder.register_event(Number(n)));
        recorder.flush_blocking(PATIENCE).unwrap();
    }
}

/// Exponential histograms of all signs, wide and narrow, and of nothing.
pub fn spread(runtime: &MetricsRuntime) -> Recorder<Number> {
    let recorder = runtime
        .recorder::<Number>("spread")
        .exponential_histogram("sizes", |h| {
            h.label("zone", |n| (n.0 % 3).into()).value(|n| Some((n.0 as f64 - 40.0) * 1.7))
        })
        .exponential_histogram("narrow", |h| h.value(|n| Some(1.0 + n.0 as f64 * 1e-9)))
        .exponential_histogram("far", |h| {
            h.max_buckets(20).value(|n| Some(if n.0 == 7 { 1e300 } else { 1e-300 }))
        })
        .exponential_histogram("zeros", |h| h.value(|_| Some(0.0)))
        .create()
        .unwrap();
    (0..90).for_each(|n| recorder.register_event(Number(n)));
    recorder.flush_blocking(PATIENCE).unwrap();
    recorder
}
