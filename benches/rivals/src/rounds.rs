//! Interleaved rounds of two sides, with discarded rounds repeated.

use crate::Failure;

/// Rounds of a row; enough that the bound of the median is not simply the worst of them.
pub const ROUNDS: usize = 31;

/// How often a discarded round is repeated before the row gives up.
const PATIENCE: usize = 400;

/// What one round came to.
pub enum Round {
    Figure(f64),
    /// An event was refused, so the figure would be that of a full queue; or producers that should push at once did not.
    Discarded,
}

/// Figures of both sides, paired by index.
#[derive(Clone, Debug, Default)]
pub struct Paired {
    pub ours: Vec<f64>,
    pub rival: Vec<f64>,
    pub discarded: usize,
}

/// Runs both sides by turns, and which of them begins by turns, so that a slow spell of the machine hits both.
pub fn interleave(
    rounds: usize,
    mut ours: impl FnMut() -> Result<Round, Failure>,
    mut rival: impl FnMut() -> Result<Round, Failure>,
) -> Result<Paired, Failure> {
    let mut paired = Paired::default();
    let discarded = &mut paired.discarded;
    for round in 0..rounds {
        let (first, second): (&mut Side<'_>, &mut Side<'_>) =
            if round % 2 == 0 { (&mut ours, &mut rival) } else { (&mut rival, &mut ours) };
        let (first, second) = (until_complete(first, discarded)?, until_complete(second, discarded)?);
        let (of_ours, of_rival) = if round % 2 == 0 { (first, second) } else { (second, first) };
        paired.ours.push(of_ours);
        paired.rival.push(of_rival);
    }
    Ok(paired)
}

type Side<'a> = dyn FnMut() -> Result<Round, Failure> + 'a;

fn until_complete(side: &mut Side<'_>, discarded: &mut usize) -> Result<f64, Failure> {
    for _ in 0..PATIENCE {
        match side()? {
            Round::Figure(figure) => return Ok(figure),
            Round::Discarded => *discarded += 1,
        }
    }
    Err("no repetition of a round counted: an event was refused, or producers did not push at once; the machine is too busy for this row".into())
}
