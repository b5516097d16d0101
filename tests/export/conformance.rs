//! Every exporter of ours passes the suite that users get for theirs, and each of its checks finds what it is for.
#![cfg(all(feature = "export", feature = "testing", feature = "json", feature = "console", not(miri)))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail as tests do"
)]

use mvx_metrics::ErrorKind;
use mvx_metrics::Fold;
use mvx_metrics::RuntimeSnapshot;
use mvx_metrics::View;
use mvx_metrics::export::ExportError;
use mvx_metrics::export::Exporter;
use mvx_metrics::export::MemoryExporter;
use mvx_metrics::export::NoopExporter;
use mvx_metrics::export::conformance::Conformance;
use mvx_metrics::export::console;
use mvx_metrics::export::json;
use std::future::pending;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

#[test]
fn our_own_exporters_conform() {
    Conformance::new(|| NoopExporter).run().unwrap();
    Conformance::new(|| MemoryExporter::new(3).0).run().unwrap();
    Conformance::new(|| json::Encoder::new().into_exporter(std::io::sink())).run().unwrap();
    Conformance::new(|| json::Encoder::new().fold(Fold::Group).into_exporter(Vec::new())).run().unwrap();
    for layout in [console::Layout::Table, console::Layout::Lines] {
        let encoder = console::Encoder::new().layout(layout).colours(true);
        Conformance::new(|| encoder.clone().into_exporter(Vec::new())).run().unwrap();
    }
    let view = View::builder().exclude("*").label("region", "eu").build().unwrap();
    Conformance::new(|| MemoryExporter::new(1).0.with_view(view.clone())).run().unwrap();
}

/// An exporter with one fault.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    NoRecorders,
    LongLabel,
    Ended,
    Tenth,
    Shrinks,
    Cut,
    NoTime,
    Flush,
    UnusedEnd,
    Drop,
    Blocks,
    Hangs,
    Panics,
    OwnThread,
}

struct Faulty {
    fault: Fault,
    exports: u32,
    under_way: bool,
    recorders: usize,
}

impl Faulty {
    fn new(fault: Fault) -> Self {
        Self { fault, exports: 0, under_way: false, recorders: 0 }
    }
}

fn refuse_if(fault: bool) -> Result<(), ExportError> {
    if fault { Err(ExportError::fatal("it does not like it")) } else { Ok(()) }
}

fn hold_the_thread(time: Duration) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        std::hint::spin_loop();
    }
}

impl Exporter for Faulty {
    async fn export(&mut self, snapshot: &RuntimeSnapshot, within: Duration) -> Result<(), ExportError> {
        self.exports += 1;
        let recorders = snapshot.recorders().len();
        let fewer = recorders < std::mem::replace(&mut self.recorders, recorders);
        let stopped = snapshot.recorders().any(|one| one.state().to_string() == "Stopped");
        match self.fault {
            Fault::NoRecorders => refuse_if(recorders == 0),
            Fault::LongLabel => {
                let families = snapshot.families(Fold::Recorder);
                let parts = families.iter().flat_map(|family| family.parts());
                let mut values =
                    parts.flat_map(|part| part.family().series()).flat_map(|series| series.labels().iter());
                refuse_if(values.any(|(_, value)| value.len() > 1_000))
            }
            Fault::Ended => refuse_if(stopped),
            Fault::Tenth => refuse_if(self.exports == 10),
            Fault::Shrinks => refuse_if(fewer),
            Fault::Cut => {
                refuse_if(std::mem::replace(&mut self.under_way, true))?;
                tokio::task::yield_now().await;
                self.under_way = false;
                Ok(())
            }
            Fault::NoTime if within.is_zero() => panic!("no time"),
            Fault::Blocks if recorders > 0 => {
                hold_the_thread(Duration::from_millis(1_600));
                Ok(())
            }
            Fault::Hangs if recorders > 0 => pending().await,
            Fault::Panics if recorders > 0 => panic!("at work"),
            Fault::OwnThread => {
                refuse_if(std::thread::current().name().is_some_and(|name| name.contains(".push.")))
            }
            _ => Ok(()),
        }
    }

    async fn flush(&mut self, _: Duration) -> Result<(), ExportError> {
        refuse_if(self.fault == Fault::Flush && self.exports > 0)
    }

    async fn shutdown(&mut self, _: Duration) -> Result<(), ExportError> {
        refuse_if(self.fault == Fault::UnusedEnd && self.exports == 0)
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        if self.fault == Fault::Drop {
            panic!("when dropped");
        }
    }
}

#[test]
fn each_check_finds_what_it_is_for() {
    let found = |fault| {
        let suite = Conformance::new(|| Faulty::new(fault)).within(Duration::from_millis(500));
        let error = suite.run().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ExportFailed);
        error.to_string()
    };
    for (fault, expected) in [
        (Fault::NoRecorders, "a runtime without recorders is delivered: it does not like it"),
        (Fault::LongLabel, "awkward labels and extremes are delivered: it does not like it"),
        (Fault::Ended, "a runtime that has ended is delivered: it does not like it"),
        (Fault::Tenth, "a hundred states are delivered one after another: it does not like it"),
        (Fault::Shrinks, "states that shrink and grow are delivered: it does not like it"),
        (Fault::Cut, "a call that is cut off does not spoil the next one: it does not like it"),
        (
            Fault::NoTime,
            "a call without any time comes back, and the next one delivers: it panicked: no time",
        ),
        (Fault::Flush, "flush and shutdown succeed after deliveries: it does not like it"),
        (Fault::UnusedEnd, "one that was never used flushes and ends: it does not like it"),
        (Fault::Drop, "a runtime without recorders is delivered: it panicked: when dropped"),
        (Fault::Blocks, "could not be cut: it blocks its thread"),
        (Fault::Hangs, "it was not over after 500ms"),
        (Fault::Panics, "it panicked: at work"),
        (Fault::OwnThread, "exporter checked could not deliver: it does not like it"),
    ] {
        let told = found(fault);
        assert!(told.contains(expected), "{told}");
    }
}

#[test]
fn an_exporter_that_cannot_be_made_is_a_finding_and_a_loop_is_not_held() {
    let made = AtomicBool::new(false);
    let suite = Conformance::new(|| -> NoopExporter {
        made.store(true, Ordering::Relaxed);
        panic!("no such host")
    });
    let error = suite.run().unwrap_err();
    assert!(
        made.load(Ordering::Relaxed) && error.to_string().ends_with("it panicked: no such host"),
        "{error}"
    );
    let tokio = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let error = tokio.block_on(async { Conformance::new(|| NoopExporter).run() }).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidState);
}
