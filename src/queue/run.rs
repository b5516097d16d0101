//! A stretch of events that stand ready.

use std::marker::PhantomData;

/// Events in the order of their acceptance, read in place: a first address and the distance to the next.
///
/// The distance lets one type serve the ring (event and stamp by turns) and the locked queue (events side by side).
#[derive(Debug)]
pub(crate) struct Run<'a, E> {
    first: *const E,
    stride: usize,
    len: usize,
    events: PhantomData<&'a E>,
}

impl<'a, E> Run<'a, E> {
    pub(crate) const fn empty() -> Self {
        Self { first: std::ptr::null(), stride: 0, len: 0, events: PhantomData }
    }

    /// # Safety
    ///
    /// `first` and the `len - 1` addresses after it, `stride` bytes apart, hold events that nobody changes for `'a`, all in
    /// one allocation.
    pub(crate) const unsafe fn strided(first: *const E, stride: usize, len: usize) -> Self {
        Self { first, stride, len, events: PhantomData }
    }

    pub(crate) fn of(events: &'a [E]) -> Self {
        Self { first: events.as_ptr(), stride: size_of::<E>(), len: events.len(), events: PhantomData }
    }

    /// Where the events stand: two runs that start at one address at one time start with the same event.
    #[inline(always)]
    pub(crate) fn address(&self) -> usize {
        self.first.addr()
    }

    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    #[inline(always)]
    pub(crate) fn get(&self, index: usize) -> Option<&'a E> {
        if index >= self.len {
            return None;
        }
        // SAFETY: `index < len`, so by the promise of `strided` (or because `of` was given a slice) an event stands there.
        Some(unsafe { &*self.first.byte_add(index * self.stride) })
    }

    /// The event at `index` as a run of its own; empty past the end.
    pub(crate) fn only(&self, index: usize) -> Self {
        self.part(index, 1)
    }

    /// Up to `limit` events from `start` on as a run of their own; empty past the end.
    #[inline]
    pub(crate) fn part(&self, start: usize, limit: usize) -> Self {
        if start >= self.len {
            return Self::empty();
        }
        // SAFETY: `start < len`, so by the promise of `strided` (or because `of` was given a slice) the address is in bounds.
        // Not through a reference to the event: the address must stay good for those that follow.
        let first = unsafe { self.first.byte_add(start * self.stride) };
        Self { first, len: limit.min(self.len - start), ..*self }
    }

    #[inline(always)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &'a E> + use<'a, E> {
        let run = *self;
        (0..run.len).filter_map(move |index| run.get(index))
    }
}

impl<E> Clone for Run<'_, E> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}

impl<E> Copy for Run<'_, E> {}
