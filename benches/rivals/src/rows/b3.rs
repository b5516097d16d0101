//! B3: what a caller pays to feed five instruments with two labels.

use crate::Failure;
use crate::bursts;
use crate::bursts::Target;
use crate::clocks;
use crate::clocks::Places;
use crate::five::Five;
use crate::rounds::Paired;
use crate::rounds::Round;
use crate::rounds::interleave;
use crate::rows::Reading;
use crate::rows::Row;
use crate::rows::inline::ClientFamilies;
use crate::rows::inline::Inline;
use crate::rows::inline::Macros;
use crate::rows::inline::Sdk;
use crate::stats;

pub(super) fn measure(rounds: usize) -> Result<Row, Failure> {
    let five = away(Five::start)?;
    let (client, macros, sdk) =
        (Inline::new(ClientFamilies::new()), Inline::new(Macros::new(false)), Inline::new(Sdk::new(false)));
    let rivals: [Rival<'_>; 3] = [
        ("prometheus-client families", &|| bursts::round(&client, 1)),
        ("metrics macros", &|| bursts::round(&macros, 1)),
        ("OTel attributes", &|| bursts::round(&sdk, 1)),
    ];
    let (figures, remarks) = against_the_best(rounds, || bursts::round(&five.recorder, 1), &rivals)?;
    five.finish()?;
    Ok(Row {
        id: "B3",
        what: "one event, five instruments with two labels; the best of families, macros, attributes inline",
        unit: "ns caller CPU/event",
        figures,
        reading: Reading::Ratio,
        bar: 0.10,
        threads: 1,
        unchecked: None,
        remarks,
    })
}

/// A name, and a round.
pub(super) type Rival<'a> = (&'static str, &'a dyn Fn() -> Round);

/// Ours against whichever rival has the lowest median; the others are remarks.
pub(super) fn against_the_best(
    rounds: usize,
    ours: impl Fn() -> Round,
    rivals: &[Rival<'_>],
) -> Result<(Paired, Vec<String>), Failure> {
    let mut all = Vec::new();
    for (name, round) in rivals {
        // Each rival has rounds of ours beside its own: a slow spell of the machine hits both.
        let paired = interleave(rounds, || Ok(ours()), || Ok(round()))?;
        all.push((*name, paired));
    }
    all.sort_by(|(_, one), (_, other)| stats::median(&one.rival).total_cmp(&stats::median(&other.rival)));
    let remarks = all
        .iter()
        .map(|(name, paired)| {
            let (ours, rival) = (stats::median(&paired.ours), stats::median(&paired.rival));
            format!("{name} {rival:.1} ns, ours beside it {ours:.1} ns")
        })
        .collect();
    let (_, best) = all.into_iter().next().ok_or("there is no rival")?;
    Ok((best, remarks))
}

/// Started with the worker on another core than the producer, as in B1, where there is one.
pub(super) fn away<T>(start: impl Fn() -> Result<T, Failure>) -> Result<T, Failure> {
    if clocks::cores() > 1 { Places::new().off_the_first(start)? } else { start() }
}

/// Bursts of one producer.
pub(super) fn burst<T: Target>(target: &T) -> Round {
    bursts::round(target, 1)
}
