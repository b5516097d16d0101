//! What was observed lately: a ring of slots, each of a stretch of absolute time.

use crate::model::clock::Timestamp;
use std::time::Duration;

/// How a window is cut into slots.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct WindowShape {
    /// How long it is; a multiple of the slots.
    pub(crate) length: Duration,
    pub(crate) slots: u32,
}

/// What one slot holds.
pub(crate) trait Held: Clone + Default {
    /// Adds what another slot of the same stretch holds; false if it does not fit, and then nothing has changed.
    fn merge(&mut self, other: &Self, max_buckets: u32) -> bool;
}

/// The slots of one series. A slot belongs to a stretch of time counted from the Unix epoch, so the windows of several series, recorders
/// and processes are cut alike, and what is old leaves by the passing of time alone.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Window<T> {
    pub(super) slots: Box<[Slot<T>]>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Slot<T> {
    /// Which stretch it holds; 0 before the first.
    pub(super) number: u64,
    pub(super) held: T,
}

impl<T> Window<T> {
    /// What its slots take on the heap, and what `held` says of each.
    pub(super) fn heap_bytes(&self, held: impl Fn(&T) -> usize) -> usize {
        size_of_val(&*self.slots) + self.slots.iter().map(|slot| held(&slot.held)).sum::<usize>()
    }
}

impl WindowShape {
    fn slot_nanos(self) -> u64 {
        let nanos = u64::try_from(self.length.as_nanos()).unwrap_or(u64::MAX);
        (nanos / u64::from(self.slots.max(1))).max(1)
    }

    /// The stretch that a time lies in, counted from 1.
    fn number(self, at: Timestamp) -> u64 {
        (at.unix_nanos() / self.slot_nanos()).saturating_add(1)
    }

    /// How long one stretch is.
    pub(super) fn slot(self) -> Duration {
        Duration::from_nanos(self.slot_nanos())
    }

    /// When the oldest stretch begins that is within the window at `now`.
    pub(super) fn begin(self, now: Timestamp) -> Timestamp {
        let oldest = self.number(now).saturating_sub(u64::from(self.slots));
        Timestamp::from_unix_nanos(oldest.saturating_mul(self.slot_nanos()))
    }
}

impl<T: Held> Window<T> {
    pub(crate) fn new(shape: WindowShape) -> Self {
        Self { slots: vec![Slot::default(); shape.slots.max(1) as usize].into() }
    }

    /// The slot of a time, empty if it held an older stretch; nothing if it holds a later one already.
    pub(crate) fn slot(&mut self, shape: WindowShape, at: Timestamp) -> Option<&mut T> {
        let number = shape.number(at);
        let slot = self.slot_for(number)?;
        if slot.number > number {
            return None;
        }
        if slot.number < number {
            *slot = Slot { number, held: T::default() };
        }
        Some(&mut slot.held)
    }

    fn slot_for(&mut self, number: u64) -> Option<&mut Slot<T>> {
        let at = number % self.slots.len() as u64;
        self.slots.get_mut(at as usize)
    }

    /// Adds the slots of another window of the same shape; of two stretches that are a whole window apart, the later one stays.
    pub(super) fn merge(&mut self, other: &Self, max_buckets: u32) -> bool {
        let mut fits = true;
        for theirs in other.slots.iter().filter(|slot| slot.number > 0) {
            let Some(ours) = self.slot_for(theirs.number) else { continue };
            if ours.number == theirs.number {
                fits &= ours.held.merge(&theirs.held, max_buckets);
            } else if ours.number < theirs.number {
                *ours = theirs.clone();
            }
        }
        fits
    }

    /// What the slots hold that are within the window at `now`; of later times none.
    pub(super) fn within(&self, shape: WindowShape, now: Timestamp) -> impl Iterator<Item = &T> {
        let last = shape.number(now);
        let first = last.saturating_sub(u64::from(shape.slots) - 1).max(1);
        self.slots.iter().filter(move |slot| (first..=last).contains(&slot.number)).map(|slot| &slot.held)
    }
}

#[cfg(test)]
#[cfg(not(mvx_loom))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug, Default, PartialEq)]
    struct Seen(Vec<u64>);

    impl Held for Seen {
        fn merge(&mut self, other: &Self, _max_buckets: u32) -> bool {
            self.0.extend(&other.0);
            self.0.sort_unstable();
            true
        }
    }

    const SHAPE: WindowShape = WindowShape { length: Duration::from_nanos(40), slots: 4 };

    fn window(times: &[u64]) -> Window<Seen> {
        let mut window: Window<Seen> = Window::new(SHAPE);
        for time in times {
            if let Some(seen) = window.slot(SHAPE, Timestamp::from_unix_nanos(*time)) {
                seen.0.push(*time);
                seen.0.sort_unstable();
            }
        }
        window
    }

    fn shown(window: &Window<Seen>, now: u64) -> Vec<u64> {
        let within = window.within(SHAPE, Timestamp::from_unix_nanos(now));
        let mut all: Vec<_> = within.flat_map(|seen| seen.0.clone()).collect();
        all.sort_unstable();
        all
    }

    proptest! {
        #[test]
        fn a_window_shows_the_stretch_of_now_and_those_before_it(mut times in proptest::collection::vec(0..300_u64, 0..60), later in 0..120_u64) {
            times.sort_unstable();
            let now = times.last().copied().unwrap_or_default() + later;
            let oldest = (now / 10 + 1).saturating_sub(4) * 10;
            let expected: Vec<_> = times.iter().copied().filter(|time| *time >= oldest).collect();
            prop_assert_eq!(shown(&window(&times), now), expected);
            prop_assert_eq!(SHAPE.begin(Timestamp::from_unix_nanos(now)).unix_nanos(), oldest);
        }

        #[test]
        fn merged_windows_show_what_one_window_of_all_would(mut ours in proptest::collection::vec(0..300_u64, 0..40), mut theirs in proptest::collection::vec(0..300_u64, 0..40)) {
            ours.sort_unstable();
            theirs.sort_unstable();
            let mut all: Vec<_> = ours.iter().chain(&theirs).copied().collect();
            all.sort_unstable();
            let now = all.last().copied().unwrap_or_default();
            let mut merged = window(&ours);
            prop_assert!(merged.merge(&window(&theirs), 0));
            prop_assert_eq!(shown(&merged, now), shown(&window(&all), now));
            let mut other = window(&theirs);
            prop_assert!(other.merge(&window(&ours), 0));
            prop_assert_eq!(shown(&other, now), shown(&merged, now));
        }
    }

    #[test]
    fn what_is_older_than_the_window_finds_no_slot() {
        let mut window = window(&[100]);
        assert!(window.slot(SHAPE, Timestamp::from_unix_nanos(60)).is_none());
        assert!(window.slot(SHAPE, Timestamp::from_unix_nanos(75)).is_some());
        assert_eq!(shown(&window, 20), [0_u64; 0], "a time before all that is known");
    }
}
