//! B17: allocations of a million `register_event` within the high-water mark.

use crate::Failure;
use crate::allocations;
use crate::bursts::BURST;
use crate::bursts::settled;
use crate::bursts::wait_until;
use crate::event::Saved;
use crate::rounds::Paired;
use crate::rows::Reading;
use crate::rows::Row;
use crate::subject::Subject;

const EVENTS: u64 = 1_000_000;

/// Events that are pending at once before counting begins; afterwards there are never more than `BURST`.
const HIGH_WATER: u64 = 4 * BURST;

/// One count is enough to disprove a zero, and more would not prove it better.
const COUNTS: usize = 3;

pub(super) fn measure(_rounds: usize) -> Result<Row, Failure> {
    let subject = Subject::start()?;
    let mut figures = Paired::default();
    let mut process = Vec::new();
    for _ in 0..COUNTS {
        // Twice, so that the worker's own buffers have met such a burst as well.
        state(&subject, HIGH_WATER, HIGH_WATER);
        state(&subject, HIGH_WATER, HIGH_WATER);
        let counted = allocations::count(|| state(&subject, EVENTS, BURST));
        figures.ours.push(counted.caller as f64);
        process.push(counted.process);
    }
    subject.finish()?;
    Ok(Row {
        id: "B17",
        what: "heap allocations of the caller in 10^6 register_event",
        unit: "allocations",
        figures,
        reading: Reading::OursAlone,
        bar: 0.0,
        threads: 1,
        unchecked: None,
        remarks: vec![format!("in the whole process, worker and publication included: {process:?}")],
    })
}

/// States events, at most `at_once` of them pending.
fn state(subject: &Subject, events: u64, at_once: u64) {
    let recorder = &subject.recorder;
    let before = settled(recorder);
    let mut stated = 0;
    while stated < events {
        let next = at_once.min(events - stated);
        for number in stated..stated + next {
            recorder.register_event(Saved::numbered(number));
        }
        stated += next;
        wait_until(|| settled(recorder) == before + stated);
    }
}
