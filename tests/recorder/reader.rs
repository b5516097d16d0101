//! A reader of a runtime: it reads whatever there is, and owns nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail as tests do")]

use crate::support::Gate;
use crate::support::Number;
use crate::support::PATIENCE;
use crate::support::running;
use crate::support::stopper;
use crate::support::until;
use mvx_metrics::Descriptor;
use mvx_metrics::Fold;
use mvx_metrics::Kind;
use mvx_metrics::LabelSet;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::RuntimeReader;
use mvx_metrics::RuntimeState;
use mvx_metrics::Source;
use mvx_metrics::SourceWriter;
use std::sync::Arc;
use std::time::Duration;

/// The number of events that a reader sees.
fn seen(reader: &RuntimeReader) -> Option<u64> {
    let snapshot = reader.collect()?;
    let families = snapshot.families(Fold::Recorder);
    let series = families.first()?.parts().first()?.family().series().next()?;
    series.value().counter()
}

#[test]
fn it_reads_in_every_state_and_nothing_when_the_runtime_is_gone() {
    let runtime = MetricsRuntime::builder("read").build().unwrap();
    let reader = runtime.reader();
    let recorder = runtime.recorder::<Number>("one").counter("events", |c| c).create().unwrap();
    recorder.register_event(Number(1));
    assert_eq!((reader.state(), seen(&reader)), (RuntimeState::Created, None));
    assert_eq!(reader.collect().unwrap().recorders().len(), 1);
    runtime.start().unwrap();
    recorder.flush_blocking(PATIENCE).unwrap();
    assert_eq!((reader.state(), seen(&reader)), (RuntimeState::Running, Some(1)));
    assert!(reader.liveness().is_alive());
    recorder.register_event(Number(2));
    runtime.shutdown(PATIENCE).unwrap();
    assert_eq!((reader.state(), seen(&reader)), (RuntimeState::Closed, Some(2)), "the final state");
    assert!(!reader.liveness().is_alive());

    let kept = reader.collect().unwrap();
    drop(runtime);
    until("it is gone", || reader.collect().is_none());
    assert_eq!((reader.state(), reader.namespace()), (RuntimeState::Closed, "read"));
    assert!(!reader.liveness().is_alive() && reader.refresh_sources() == 0);
    assert_eq!(kept.recorders().len(), 1, "what was read stays");
    assert_eq!(recorder.snapshot().counter("events", &[]), Some(2), "and so does what recorders show");
}

#[test]
fn it_keeps_no_runtime_alive_and_its_drop_shuts_none_down() {
    let runtime = running("owned");
    let readers: Vec<_> = (0..100).map(|_| runtime.reader()).collect();
    let recorder = runtime.recorder::<Number>("one").counter("events", |c| c).create().unwrap();
    let reader = readers[0].clone();
    drop(readers);
    recorder.register_event(Number(1));
    recorder.flush_blocking(PATIENCE).unwrap();
    assert_eq!((runtime.state(), seen(&reader)), (RuntimeState::Running, Some(1)));
    drop(runtime);
    until("the shutdown that the last handle began is over", || reader.state() == RuntimeState::Closed);
    assert!(recorder.try_register_event(Number(2)).is_err());
}

#[test]
fn it_reads_while_user_code_holds_the_worker() {
    let runtime = running("held");
    let gate = Gate::default();
    let recorder = runtime.recorder::<Number>("one").metric(stopper("events", 1, &gate)).create().unwrap();
    recorder.register_event(Number(1));
    gate.until_reached();
    let reader = runtime.reader();
    assert!(reader.collect().is_some());
    assert!(reader.liveness().call().is_some_and(|call| call.recorder.as_str() == "one"));
    gate.open();
}

struct Held(Arc<Descriptor>, Gate);

impl Source for Held {
    fn descriptors(&self) -> Vec<Arc<Descriptor>> {
        vec![Arc::clone(&self.0)]
    }

    fn collect(&mut self, writer: &mut SourceWriter<'_>) {
        self.1.pass();
        writer.family(&self.0).unwrap().gauge(&LabelSet::empty(), 4.0);
    }
}

#[test]
fn a_source_that_outlives_the_last_handle_ends_quietly_where_it_was_asked() {
    /// What the program gave the runtime, with a destructor that is not to be trusted.
    struct Bad(std::sync::mpsc::Sender<String>);
    impl Drop for Bad {
        fn drop(&mut self) {
            self.0.send(std::thread::current().name().unwrap_or_default().to_owned()).unwrap();
            if cfg!(panic = "unwind") {
                std::panic::resume_unwind(Box::new("on purpose"));
            }
        }
    }
    let (told, dropped) = std::sync::mpsc::channel();
    let bad = Bad(told);
    let runtime = MetricsRuntime::builder("outlived")
        .on_error(move |_| {
            let _kept = &bad;
        })
        .build()
        .unwrap();
    runtime.start().unwrap();
    let gate = Gate::default();
    let gauge = Descriptor::builder("held", Kind::Gauge).build().unwrap();
    runtime.add_source("held", Duration::ZERO, Held(gauge, gate.clone())).unwrap();
    let reader = runtime.reader();
    let asking = std::thread::Builder::new().name("asks".into()).spawn(move || reader.refresh_sources());
    gate.until_reached();
    let ended = runtime.begin_shutdown(PATIENCE);
    drop(runtime);
    assert!(ended.wait(PATIENCE).unwrap().is_complete(), "a source holds up no shutdown");
    gate.open();
    assert_eq!(asking.unwrap().join().expect("no panic comes through"), 1);
    assert!(dropped.recv_timeout(PATIENCE).is_ok());
}
