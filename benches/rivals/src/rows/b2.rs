//! B2: what each of two producers pays when both state events at once to one recorder.

use crate::Failure;
use crate::rows::Reading;
use crate::rows::Row;
use crate::rows::b1::against_bare_queue;

pub(super) fn measure(rounds: usize) -> Result<Row, Failure> {
    Ok(Row {
        id: "B2",
        what: "the same, 2 producers at once, the worker napping",
        unit: "ns producer CPU/event",
        figures: against_bare_queue(rounds, 2)?,
        reading: Reading::Ratio,
        bar: 1.0,
        threads: 2,
        unchecked: None,
        remarks: Vec::new(),
    })
}
