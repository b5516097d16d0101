//! B1: what one producer pays for `register_event`.

use crate::Failure;
use crate::bursts;
use crate::clocks;
use crate::clocks::Places;
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
        unchecked: None,
        remarks: Vec::new(),
    })
}

/// Bursts of so many producers into a live recorder and into a bare queue of the same capacity.
pub(super) fn against_bare_queue(rounds: usize, producers: u64) -> Result<crate::rounds::Paired, Failure> {
    // One producer has the first core, and both consumers the others: their cache lines come from another core, as in real life.
    // Two producers need the cores for themselves; where the consumers run while they wait is then open.
    let away = producers < clocks::cores() as u64;
    let start = || -> Result<(Subject, BareQueue), Failure> {
        let subject = Subject::start()?;
        let rival = BareQueue::start(subject.recorder.capacity() as usize);
        Ok((subject, rival))
    };
    let (subject, rival) = if away { Places::new().off_the_first(start)?? } else { start()? };
    let paired = interleave(
        rounds,
        || Ok(bursts::round(&subject.recorder, producers)),
        || Ok(bursts::round(&rival, producers)),
    )?;
    rival.finish();
    subject.finish()?;
    Ok(paired)
}
