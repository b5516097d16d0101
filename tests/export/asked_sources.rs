//! Sources are asked before an exporter collects, on a few threads; one that hangs delays nobody beyond a share, and is counted.
#![cfg(all(feature = "export", not(miri)))]
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use crate::support::Gate;
use crate::support::PATIENCE;
use crate::support::running;
use crate::support::until;
use mvx_metrics::Descriptor;
use mvx_metrics::Fold;
use mvx_metrics::Kind;
use mvx_metrics::LabelSet;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::RuntimeSnapshot;
use mvx_metrics::Source;
use mvx_metrics::SourceWriter;
use mvx_metrics::export::MemoryExporter;
use mvx_metrics::export::Schedule;
use mvx_metrics::limits;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use std::time::Instant;

/// A source that counts how often it was asked, and passes a gate before it answers.
struct Asked {
    gauge: Arc<Descriptor>,
    gate: Gate,
    times: f64,
}

impl Source for Asked {
    fn descriptors(&self) -> Vec<Arc<Descriptor>> {
        vec![Arc::clone(&self.gauge)]
    }

    fn collect(&mut self, writer: &mut SourceWriter<'_>) {
        self.gate.pass();
        self.times += 1.0;
        writer.family(&self.gauge).unwrap().gauge(&LabelSet::empty(), self.times);
    }
}

/// Adds a source that is asked at every collection.
fn add(runtime: &MetricsRuntime, name: &str, gate: &Gate) {
    let gauge = Descriptor::builder(name, Kind::Gauge).build().unwrap();
    runtime.add_source(name, Duration::ZERO, Asked { gauge, gate: gate.clone(), times: 0.0 }).unwrap();
}

fn open() -> Gate {
    let gate = Gate::default();
    gate.open();
    gate
}

/// Opens when it goes out of scope, so that a test that fails ends.
struct Opens(Gate);

impl Drop for Opens {
    fn drop(&mut self) {
        self.0.open();
    }
}

fn value(snapshot: &RuntimeSnapshot, name: &str) -> Option<f64> {
    let families = snapshot.families(Fold::Group);
    let family = families.iter().find(|family| *family.descriptor().name() == *name)?;
    family.parts()[0].family().find(&[])?.value().gauge()
}

fn abandoned(runtime: &MetricsRuntime) -> Vec<u64> {
    runtime.sources().iter().map(|source| source.abandoned).collect()
}

/// How many threads of this process are called that; the system keeps fifteen letters of a name.
#[cfg(target_os = "linux")]
fn threads(name: &str) -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).ok());
    names.filter(|known| known.trim_end() == name).count()
}

#[test]
fn each_delivery_shows_what_the_sources_say_then() {
    let runtime = running("fresh");
    add(&runtime, "one", &open());
    add(&runtime, "two", &open());
    let (exporter, kept) = MemoryExporter::new(5);
    runtime.add_exporter("memory", Schedule::on_demand(), exporter).unwrap();
    (0..3).for_each(|_| runtime.force_flush(PATIENCE).unwrap());
    runtime.shutdown(PATIENCE).unwrap();
    let shown: Vec<_> =
        kept.all().iter().map(|snapshot| (value(snapshot, "one"), value(snapshot, "two"))).collect();
    assert_eq!(shown, [1.0, 2.0, 3.0, 4.0].map(|times| (Some(times), Some(times))));
    assert_eq!(abandoned(&runtime), [0, 0]);
}

#[test]
fn a_source_that_hangs_costs_one_delivery_its_share_and_the_others_are_fresh() {
    let runtime = running("hang");
    let gate = Opens(Gate::default());
    add(&runtime, "good", &open());
    add(&runtime, "stuck", &gate.0);
    let (exporter, kept) = MemoryExporter::new(9);
    runtime.add_exporter("memory", Schedule::on_demand().timeout(Duration::from_secs(2)), exporter).unwrap();
    let began = Instant::now();
    runtime.force_flush(PATIENCE).unwrap();
    // Far below what the whole attempt may take: a tenth of it, and what a busy machine adds.
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert!(began.elapsed() >= Duration::from_millis(200), "{:?}", began.elapsed());
    let began = Instant::now();
    for times in 2..=9 {
        runtime.force_flush(PATIENCE).unwrap();
        assert_eq!(value(&kept.latest().unwrap(), "good"), Some(f64::from(times)));
        assert_eq!(value(&kept.latest().unwrap(), "stuck"), None);
    }
    assert!(
        began.elapsed() < 8 * Duration::from_millis(200),
        "nobody waits for it again: {:?}",
        began.elapsed()
    );
    assert_eq!(abandoned(&runtime), [0, 1]);
    assert!(runtime.sources()[1].running_since.is_some());
    let snapshot = kept.latest().unwrap();
    let vitals = snapshot.vitals();
    let shown = vitals.iter().find(|family| *family.descriptor().name() == *"mvx.sources.abandoned").unwrap();
    let stuck = shown.parts()[0].family().find(&[("source", "stuck")]).unwrap();
    assert_eq!(stuck.value().counter(), Some(1));

    gate.0.open();
    until("it is asked again", || {
        runtime.force_flush(PATIENCE).unwrap();
        value(&kept.latest().unwrap(), "stuck") >= Some(2.0)
    });
    assert_eq!(abandoned(&runtime), [0, 1]);
}

#[test]
fn however_many_hang_the_threads_are_few_and_every_exporter_delivers() {
    let runtime = running("many");
    let gate = Opens(Gate::default());
    for number in 0..limits::SOURCE_THREADS - 1 {
        add(&runtime, &format!("stuck.{number}"), &gate.0);
    }
    add(&runtime, "good", &open());
    let all: Vec<_> = (0..3)
        .map(|number| {
            let (exporter, kept) = MemoryExporter::new(1);
            let schedule = Schedule::on_demand().timeout(Duration::from_millis(500));
            runtime.add_exporter(&format!("memory{number}"), schedule, exporter).unwrap();
            kept
        })
        .collect();
    for _ in 0..3 {
        runtime.force_flush(PATIENCE).unwrap();
    }
    // One thread is left, and is enough.
    assert!(all.iter().all(|kept| value(&kept.latest().unwrap(), "good") >= Some(3.0)));
    assert_eq!(abandoned(&runtime), [1, 1, 1, 0]);

    add(&runtime, "last", &gate.0);
    add(&runtime, "without", &open());
    for _ in 0..5 {
        runtime.force_flush(PATIENCE).unwrap();
        #[cfg(target_os = "linux")]
        assert_eq!(threads("many.sources"), limits::SOURCE_THREADS);
    }
    let hanging = runtime.sources().iter().filter(|source| source.running_since.is_some()).count();
    assert_eq!(hanging, limits::SOURCE_THREADS);
    assert_eq!(abandoned(&runtime)[4], 1);
    gate.0.open();
    until("the others are asked again", || {
        runtime.force_flush(PATIENCE).unwrap();
        value(&all[0].latest().unwrap(), "without").is_some()
    });
}

#[test]
fn an_end_that_is_asked_for_waits_for_no_source() {
    let runtime = running("ends");
    let gate = Opens(Gate::default());
    add(&runtime, "stuck", &gate.0);
    let (exporter, kept) = MemoryExporter::new(9);
    // It would wait for a whole second.
    runtime.add_exporter("memory", Schedule::on_demand().timeout(PATIENCE), exporter).unwrap();
    thread::scope(|scope| {
        let flush = scope.spawn(|| runtime.force_flush(PATIENCE));
        gate.0.until_reached();
        let report = runtime.shutdown(Duration::from_millis(600)).unwrap();
        assert!(report.exporters()[0].error.is_none(), "{report:?}");
        assert!(kept.latest().is_some());
        drop(flush.join());
    });
}

#[test]
fn a_source_that_is_removed_while_it_hangs_leaves_nothing_behind() {
    let runtime = running("gone");
    let gate = Opens(Gate::default());
    add(&runtime, "stuck", &gate.0);
    let (exporter, kept) = MemoryExporter::new(1);
    runtime
        .add_exporter("memory", Schedule::on_demand().timeout(Duration::from_millis(100)), exporter)
        .unwrap();
    runtime.force_flush(PATIENCE).unwrap();
    assert!(runtime.remove_source("stuck") && runtime.sources().is_empty());
    // Its successor has the name, and calls of its own.
    add(&runtime, "stuck", &open());
    runtime.force_flush(PATIENCE).unwrap();
    assert_eq!(value(&kept.latest().unwrap(), "stuck"), Some(1.0));
    gate.0.open();
    runtime.force_flush(PATIENCE).unwrap();
    assert_eq!(value(&kept.latest().unwrap(), "stuck"), Some(2.0));
}
