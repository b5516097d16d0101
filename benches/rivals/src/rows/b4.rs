//! B4: what the same costs the whole process, at a million events a second.

use crate::Failure;
use crate::five::Five;
use crate::rows::Reading;
use crate::rows::Row;
use crate::rows::b3::Rival;
use crate::rows::b3::against_the_best;
use crate::rows::inline::ClientFamilies;
use crate::rows::inline::Inline;
use crate::rows::inline::Macros;
use crate::rows::inline::Sdk;
use crate::rows::inline::Update;
use crate::steady;
use crate::steady::Load;

pub(super) fn measure(rounds: usize) -> Result<Row, Failure> {
    let five = Five::start()?;
    let (client, macros, sdk) =
        (Inline::new(ClientFamilies::new()), Inline::new(Macros::new(false)), Inline::new(Sdk::new(false)));
    let paced_macros = || {
        let round = steady::round(&macros, 1, Load::Paced);
        // Not counted, which is in its favour.
        macros.update.upkeep();
        round
    };
    let rivals: [Rival<'_>; 3] = [
        ("prometheus-client families", &|| steady::round(&client, 1, Load::Paced)),
        ("metrics macros", &paced_macros),
        ("OTel attributes", &|| steady::round(&sdk, 1, Load::Paced)),
    ];
    let (figures, remarks) =
        against_the_best(rounds, || steady::round(&five.recorder, 1, Load::Paced), &rivals)?;
    five.finish()?;
    Ok(Row {
        id: "B4",
        what: "the same, whole process, a burst of 1,024 every millisecond",
        unit: "ns process CPU/event",
        figures,
        reading: Reading::Ratio,
        bar: 0.33,
        threads: 2,
        unchecked: None,
        remarks,
    })
}
