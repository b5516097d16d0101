//! DESIGN 3.7 in numbers: one bad metric of a hundred, in each of a thousand recorders, changes nothing else.
#![cfg(feature = "runtime")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail as tests do")]

mod support;

use crate::support::Number;
use crate::support::PATIENCE;
use crate::support::Probe;
use crate::support::scaled;
use mvx_metrics::Incident;
use mvx_metrics::Label;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::Recorder;
use mvx_metrics::RecorderBuilder;
use mvx_metrics::Snapshot;
use mvx_metrics::Tally;
use mvx_metrics::Verdict;
use std::panic::resume_unwind;
use std::sync::mpsc;

/// Metrics of each recorder.
const METRICS: u64 = 100;

/// Events of each recorder: chunks double up to this, so that panics fall into the beginning, middle and end of one.
const EVENTS: u64 = 40;

/// What is wrong with the bad metric of a recorder.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    Handler,
    Label,
    Value,
    Filter,
}

/// Which metric of a recorder is bad, how, and from which event on.
#[derive(Clone, Copy, Debug)]
struct Bad {
    metric: u64,
    fault: Fault,
    event: u64,
}

impl Bad {
    /// Spread over metrics, faults and events, so that any two neighbours differ in all three.
    fn of(recorder: u64) -> Self {
        let faults = [Fault::Handler, Fault::Label, Fault::Value, Fault::Filter];
        let fault = faults[(recorder / METRICS + recorder) as usize % faults.len()];
        let metric = recorder % METRICS;
        let event = recorder * 11 % EVENTS;
        // One that the filter lets through, so that every closure comes to see it.
        Self { metric, fault, event: if keeps(metric, event) { event } else { event - 1 } }
    }
}

/// The filter of a metric.
fn keeps(metric: u64, event: u64) -> bool {
    event % (metric + 2) != 1
}

/// Every metric of a name is of the same shape in all recorders: what varies is whether its closures panic.
fn add(builder: RecorderBuilder<Number>, metric: u64, bad: Bad) -> RecorderBuilder<Number> {
    let name = format!("m{metric:03}");
    let faulty = move |fault: Fault, event: &Number| {
        if bad.metric == metric && bad.fault == fault && event.0 == bad.event {
            resume_unwind(Box::new("a mistake of the user"));
        }
    };
    if bad.metric == metric && bad.fault == Fault::Handler {
        let handle = move |event: &Number| {
            faulty(Fault::Handler, event);
            Verdict::Accepted
        };
        return builder.metric(Probe::new(&format!("handler{metric:03}"), handle));
    }
    builder.counter(&name, move |c| {
        c.label("part", move |e: &Number| {
            faulty(Fault::Label, e);
            Label::fixed(if e.0 % 2 == 0 { "even" } else { "odd" })
        })
        .value(move |e: &Number| {
            faulty(Fault::Value, e);
            Some(e.0 + metric)
        })
        .keep(move |e: &Number| {
            faulty(Fault::Filter, e);
            keeps(metric, e.0)
        })
    })
}

/// What a sound metric makes of all events: the sums of both parts and its tally.
fn expected(metric: u64) -> ([Option<u64>; 2], Tally) {
    let mut sums = [None, None];
    let mut tally = Tally::default();
    for event in 0..EVENTS {
        if !keeps(metric, event) {
            tally.ignored += 1;
            continue;
        }
        tally.accepted += 1;
        *sums[(event % 2) as usize].get_or_insert(0) += event + metric;
    }
    (sums, tally)
}

/// Compares every metric of a recorder with what it would be without the bad one.
fn check(snapshot: &Snapshot, bad: Bad, sound: &[([Option<u64>; 2], Tally)]) {
    assert_eq!(snapshot.metrics().count() as u64, METRICS);
    for (metric, view) in (0..).zip(snapshot.metrics()) {
        if metric == bad.metric {
            let tally = view.tally();
            assert!(view.is_quarantined(), "{bad:?}");
            assert_eq!((tally.panicked, tally.quarantined), (1, EVENTS - 1 - bad.event), "{bad:?}");
            continue;
        }
        let (sums, tally) = &sound[metric as usize];
        let sum = |part| {
            let series = view.family().find(&[("part", part)]);
            series.and_then(|series| series.value().counter())
        };
        assert_eq!(([sum("even"), sum("odd")], view.tally()), (*sums, *tally), "{metric} beside {bad:?}");
        assert!(!view.is_quarantined(), "{metric} beside {bad:?}");
    }
    assert_eq!(snapshot.sequence(), EVENTS);
}

#[cfg(panic = "unwind")]
#[test]
fn one_bad_metric_of_a_hundred_in_each_of_a_thousand_recorders_changes_nothing_else() {
    // Rounds, not more recorders: of this size a thousand fill enough memory.
    (0..scaled(1)).for_each(a_thousand_recorders);
}

fn a_thousand_recorders(round: u64) {
    let (sender, incidents) = mpsc::channel();
    let handler = move |incident: &Incident| {
        let _ = sender.send(incident.code());
    };
    let runtime = MetricsRuntime::builder("scale").on_error(handler).build().unwrap();
    runtime.start().unwrap();
    let sound: Vec<_> = (0..METRICS).map(expected).collect();
    let create = |number: u64| -> (Bad, Recorder<Number>) {
        let bad = Bad::of(number + round * 11);
        let builder = runtime.recorder(&format!("r{number}"));
        (bad, (0..METRICS).fold(builder, |builder, metric| add(builder, metric, bad)).create().unwrap())
    };
    let recorders: Vec<_> = (0..1_000).map(create).collect();
    for (_, recorder) in &recorders {
        let mut events: Vec<_> = (0..EVENTS).map(Number).collect();
        assert_eq!(recorder.register_events(&mut events) as u64, EVENTS);
    }
    for (bad, recorder) in &recorders {
        recorder.flush_blocking(PATIENCE).unwrap();
        assert_eq!((recorder.accounts().processed, recorder.accounts().rejected.total()), (EVENTS, 0));
        check(&recorder.snapshot(), *bad, &sound);
    }
    assert!(runtime.shutdown(PATIENCE).unwrap().is_complete());
    let told: Vec<_> = incidents.try_iter().collect();
    assert_eq!(told, ["metric_panicked"; 1_000], "one incident for each bad metric");
}
