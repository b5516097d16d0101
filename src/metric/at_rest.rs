//! What an instrument gives up while nothing happens: its series, which readers have as well.

use crate::metric::series::Known;
use crate::metric::series::Series;
use crate::model::limits::SERIES_AT_REST;
use crate::model::snapshot::Column;
use crate::model::snapshot::Family;

/// The series of an instrument of ours, which between two events are all in the family that was published last.
pub trait AtRest {
    /// What [`rest`](Self::rest) would give up, in bytes of the heap; 0 if it would not.
    fn spared(&self) -> usize;

    /// Gives the series up if `shown` has all that is known of them, and if they are few; true if it did.
    fn rest(&mut self, shown: &Family) -> bool;

    /// Takes series that were given up from the family that showed them, which was last written for this cut or one before it.
    fn wake(&mut self, shown: &Family, cut: u64);
}

impl<E, C: Column> AtRest for Series<E, C> {
    fn spared(&self) -> usize {
        self.known.as_ref().filter(|known| known.are_few()).map_or(0, |known| known.heap_bytes())
    }

    fn rest(&mut self, shown: &Family) -> bool {
        let rests = self.known.as_ref().is_some_and(|known| known.are_few() && known.live.is_shown_by(shown));
        if rests {
            self.known = None;
        }
        rests
    }

    fn wake(&mut self, shown: &Family, cut: u64) {
        self.known = Some(Box::new(Known::shown(shown, &self.descriptor, cut)));
    }
}

impl<C: Column> Known<C> {
    fn are_few(&self) -> bool {
        self.live.len() <= SERIES_AT_REST
    }
}
