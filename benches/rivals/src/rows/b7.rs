//! B7: what one event costs the whole process, from one producer.

use crate::Failure;
use crate::rounds::Paired;
use crate::rounds::interleave;
use crate::rows::Reading;
use crate::rows::Row;
use crate::rows::task::Task;
use crate::stats;
use crate::steady;
use crate::steady::Load;
use crate::subject::Subject;

pub(super) fn measure(rounds: usize) -> Result<Row, Failure> {
    let (figures, remarks) = against_task(rounds, 1)?;
    Ok(Row {
        id: "B7",
        what: "labelled counter + histogram, 1 producer; tokio task, try_send + recv_many(256)",
        unit: "ns process CPU/event",
        figures,
        reading: Reading::Ratio,
        bar: 0.35,
        threads: 2,
        unchecked: None,
        remarks,
    })
}

/// Rounds of the paced load, which is reported beside the row and not judged.
const PACED_ROUNDS: usize = 9;

/// A steady load of so many producers on a live recorder and on a task with the same instruments.
pub(super) fn against_task(rounds: usize, producers: u64) -> Result<(Paired, Vec<String>), Failure> {
    let subject = Subject::start()?;
    let rival = Task::start(subject.recorder.capacity() as usize)?;
    let under = |load, rounds| {
        interleave(
            rounds,
            || Ok(steady::round(&subject.recorder, producers, load)),
            || Ok(steady::round(&rival, producers, load)),
        )
    };
    let full = under(Load::Full, rounds)?;
    let paced = under(Load::Paced, rounds.min(PACED_ROUNDS))?;
    rival.finish()?;
    subject.finish()?;
    Ok((full, vec![remark(&paced)]))
}

fn remark(paced: &Paired) -> String {
    let (ours, rival) = (stats::median(&paced.ours), stats::median(&paced.rival));
    let ratio = stats::median(&stats::ratios(&paced.ours, &paced.rival));
    format!(
        "each producer at most a million events/s: ours {ours:.2}, rival {rival:.2}, ratio {ratio:.2} (not judged)"
    )
}
