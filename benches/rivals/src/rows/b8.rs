//! B8: what one event costs the whole process, from four producers.

use crate::Failure;
use crate::rows::Reading;
use crate::rows::Row;
use crate::rows::b7::against_task;

pub(super) fn measure(rounds: usize) -> Result<Row, Failure> {
    let (figures, remarks) = against_task(rounds, 4)?;
    Ok(Row {
        id: "B8",
        what: "the same, 4 producers",
        unit: "ns process CPU/event",
        figures,
        reading: Reading::Ratio,
        bar: 0.25,
        threads: 5,
        unchecked: None,
        remarks,
    })
}
