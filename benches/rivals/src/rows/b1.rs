//! B1: what one producer pays for `register_event`.

use crate::Failure;
use crate::bursts;
use crate::rounds::interleave;
use crate::rows::Reading;
use crate::rows::Row;
use crate::rows::bare_queue::BareQueue;
use crate::subject::Subject;

pub(super) fn measure(rounds: usize) -> Result<Row, Failure> {
    Ok(Row {
        id: "B1",
        what: "register_event, 1 producer, bursts of 1,024; ArrayQueue::push",
        unit: "ns producer CPU/event",
        figures: against_bare_queue(rounds, 1)?,
        reading: Reading::Ratio,
        bar: 1.0,
        threads: 1,
        remarks: Vec::new(),
    })
}

/// Bursts of so many producers into a live recorder and into a bare queue of the same capacity.
pub(super) fn against_bare_queue(rounds: usize, producers: u64) -> Result<crate::rounds::Paired, Failure> {
    let subject = Subject::start()?;
    let rival = BareQueue::start(subject.recorder.capacity() as usize);
    let paired = interleave(
        rounds,
        || Ok(bursts::round(&subject.recorder, producers)),
        || Ok(bursts::round(&rival, producers)),
    )?;
    rival.finish();
    subject.finish()?;
    Ok(paired)
}
