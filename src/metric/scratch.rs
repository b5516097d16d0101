//! What instruments find out about a piece of a batch on its way, and what one of them leaves for the next.

use crate::metric::batch::PIECE;
use crate::metric::selector::Indices;
use crate::metric::selector::Rows;
use crate::metric::selector::Values;
use std::any::TypeId;
use std::fmt;

/// Room for the metrics of one recorder over the events of one chunk, made by the first that needs it.
///
/// Metrics of one recorder are mostly told apart by the same labels of the same events. What the first of them found is kept here and the
/// next ones look whether it is theirs, too; so a scratch must not be shown other events than those it was made for.
#[derive(Default)]
pub(crate) struct Scratch(Option<Room>);

/// The room itself. Nothing in it needs to be cleared after a panic: whoever uses a part clears it first.
pub(super) struct Room {
    pub(super) values: Values,
    pub(super) labels: Places,
    pub(super) buckets: [u16; PIECE],
}

/// The label sets of the events of a piece, and their series.
pub(super) struct Places {
    pub(super) indices: Indices,
    pub(super) rows: Rows,
}

/// Which closure has told the labels of which events. Equal ones stand for equal answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Source {
    /// The type of a closure that holds nothing: all that it can tell is in the event.
    pub(super) closure: TypeId,
    /// Where the events stand, and which of them.
    pub(super) events: (usize, u64),
}

impl Scratch {
    #[inline]
    pub(super) fn room(&mut self) -> &mut Room {
        self.0.get_or_insert_with(|| Room {
            values: Values::new(),
            labels: Places { indices: Indices::new(), rows: Rows::new() },
            buckets: [0; PIECE],
        })
    }
}

impl fmt::Debug for Scratch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scratch").finish_non_exhaustive()
    }
}
