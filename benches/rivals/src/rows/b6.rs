//! B6: B3 with an `Arc<str>` for a label.

use crate::Failure;
use crate::five::Five;
use crate::five::WithTenants;
use crate::five::tenants;
use crate::rows::Reading;
use crate::rows::Row;
use crate::rows::b3::Rival;
use crate::rows::b3::against_the_best;
use crate::rows::b3::away;
use crate::rows::b3::burst;
use crate::rows::inline::ClientTenants;
use crate::rows::inline::Inline;
use crate::rows::inline::Macros;
use crate::rows::inline::Sdk;

pub(super) fn measure(rounds: usize) -> Result<Row, Failure> {
    let ours = WithTenants { five: away(Five::start_owned)?, tenants: tenants() };
    let (client, macros, sdk) =
        (Inline::new(ClientTenants::new()), Inline::new(Macros::new(true)), Inline::new(Sdk::new(true)));
    let rivals: [Rival<'_>; 3] = [
        ("prometheus-client families", &|| burst(&client)),
        ("metrics macros", &|| burst(&macros)),
        ("OTel attributes", &|| burst(&sdk)),
    ];
    let (figures, remarks) = against_the_best(rounds, || burst(&ours), &rivals)?;
    ours.five.finish()?;
    Ok(Row {
        id: "B6",
        what: "B3 with an Arc<str> label, cloned by the caller",
        unit: "ns caller CPU/event",
        figures,
        reading: Reading::Ratio,
        bar: 0.20,
        threads: 1,
        unchecked: None,
        remarks,
    })
}
