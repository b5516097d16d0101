//! B5: what a caller pays for one event, against five handles that were found before.

use crate::Failure;
use crate::five::Five;
use crate::rows::Reading;
use crate::rows::Row;
use crate::rows::b3::Rival;
use crate::rows::b3::against_the_best;
use crate::rows::b3::away;
use crate::rows::b3::burst;
use crate::rows::inline::ClientHandles;
use crate::rows::inline::Inline;
use crate::rows::inline::MacroHandles;
use crate::rows::inline::PrometheusHandles;

pub(super) fn measure(rounds: usize) -> Result<Row, Failure> {
    let five = away(Five::start)?;
    let (client, crate_handles, macros) = (
        Inline::new(ClientHandles::new()),
        Inline::new(PrometheusHandles::new()?),
        Inline::new(MacroHandles::new()),
    );
    let rivals: [Rival<'_>; 3] = [
        ("prometheus-client handles", &|| burst(&client)),
        ("prometheus handles", &|| burst(&crate_handles)),
        ("metrics handles", &|| burst(&macros)),
    ];
    let (figures, remarks) = against_the_best(rounds, || burst(&five.recorder), &rivals)?;
    five.finish()?;
    Ok(Row {
        id: "B5",
        what: "one event, five labelled instruments; five kept handles of the fastest peer",
        unit: "ns caller CPU/event",
        figures,
        reading: Reading::Ratio,
        bar: 1.0,
        threads: 1,
        unchecked: None,
        remarks,
    })
}
