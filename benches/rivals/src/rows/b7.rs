//! B7: what one event costs the whole process, from one producer.

use crate::Failure;
use crate::rounds::Paired;
use crate::rounds::interleave;
use crate::rows::Reading;
use crate::rows::Row;
use crate::rows::task::Task;
use crate::steady;
use crate::subject::Subject;

pub(super) fn measure(rounds: usize) -> Result<Row, Failure> {
    Ok(Row {
        id: "B7",
        what: "labelled counter + histogram, 1 producer; tokio task, try_send + recv_many(256)",
        unit: "ns process CPU/event",
        figures: against_task(rounds, 1)?,
        reading: Reading::Ratio,
        bar: 0.35,
        threads: 2,
        remarks: Vec::new(),
    })
}

/// A steady load of so many producers on a live recorder and on a task with the same instruments.
pub(super) fn against_task(rounds: usize, producers: u64) -> Result<Paired, Failure> {
    let subject = Subject::start()?;
    let rival = Task::start(subject.recorder.capacity() as usize)?;
    let paired = interleave(
        rounds,
        || Ok(steady::round(&subject.recorder, producers)),
        || Ok(steady::round(&rival, producers)),
    )?;
    rival.finish()?;
    subject.finish()?;
    Ok(paired)
}
