//! B12: what a reader pays for a snapshot.

use crate::Failure;
use crate::clocks;
use crate::event;
use crate::event::Saved;
use crate::rounds::Round;
use crate::rounds::interleave;
use crate::rows::Reading;
use crate::rows::Row;
use crate::subject::Subject;
use arc_swap::ArcSwap;
use mvx_metrics::Context;
use mvx_metrics::Family;
use mvx_metrics::FamilyWriter;
use mvx_metrics::Metric;
use mvx_metrics::Timestamp;
use mvx_metrics::Verdict;
use std::hint::black_box;
use std::time::Duration;

/// Reads in one round.
const READS: u64 = 200_000;

/// Events behind both payloads.
const EVENTS: u64 = 4_096;

pub(super) fn measure(rounds: usize) -> Result<Row, Failure> {
    let subject = Subject::start()?;
    for number in 0..EVENTS {
        subject.recorder.register_event(Saved::numbered(number));
    }
    subject.recorder.flush_blocking(Duration::from_secs(10))?;
    let rival = ArcSwap::from_pointee(equal_payload()?);
    let figures = interleave(
        rounds,
        || Ok(reads(|| drop(black_box(subject.recorder.snapshot())))),
        || Ok(reads(|| drop(black_box(rival.load_full())))),
    )?;
    subject.finish()?;
    Ok(Row {
        id: "B12",
        what: "snapshot() and its drop; ArcSwap::load_full of equal families",
        unit: "ns reader CPU/read",
        figures,
        reading: Reading::Ratio,
        bar: 2.0,
        threads: 1,
        unchecked: None,
        remarks: Vec::new(),
    })
}

/// The families that the recorder has after the same events.
fn equal_payload() -> Result<Vec<Family>, Failure> {
    let (mut counter, mut histogram) = event::instruments()?;
    let context = Context::new(Timestamp::default(), 1);
    let mut families = Vec::new();
    for number in 0..EVENTS {
        let event = Saved::numbered(number);
        let verdicts = [counter.handle_event(&event, &context), histogram.handle_event(&event, &context)];
        if verdicts != [Verdict::Accepted; 2] {
            return Err(format!("event {number} was not accepted: {verdicts:?}").into());
        }
    }
    families.push(family_of(&counter));
    families.push(family_of(&histogram));
    Ok(families)
}

fn family_of(metric: &impl Metric<Saved>) -> Family {
    let mut family = Family::new(metric.descriptor().clone());
    metric.snapshot(&mut FamilyWriter::whole(&mut family));
    family
}

#[inline(never)]
fn reads(read: impl Fn()) -> Round {
    let before = clocks::thread_cpu();
    for _ in 0..READS {
        read();
    }
    Round::Figure((clocks::thread_cpu() - before) as f64 / READS as f64)
}
