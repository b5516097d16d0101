//! Work on very many recorders, in parts of its own for each of a few threads.

use crate::model::limits;
use std::num::NonZeroUsize;
use std::thread;
use std::thread::Builder;

/// How work on a list is parted: the time of a look at very many recorders goes into waiting for memory, which each core does for itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parts(NonZeroUsize);

impl Parts {
    /// For so many recorders: a part for each core as long as each is large enough to be worth a thread.
    pub(super) fn of(recorders: usize) -> Self {
        let worth = recorders / limits::RECORDERS_OF_A_THREAD;
        if worth < 2 {
            return Self(NonZeroUsize::MIN);
        }
        let cores = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let most = worth.min(limits::THREADS_OF_A_COLLECTION);
        Self(cores.min(NonZeroUsize::new(most).unwrap_or(NonZeroUsize::MIN)))
    }

    #[cfg(all(test, not(mvx_loom)))]
    pub(super) fn exactly(parts: usize) -> Self {
        Self(NonZeroUsize::new(parts).unwrap_or(NonZeroUsize::MIN))
    }

    /// What `work` makes of each part, which it is told the number of, in the order of the list. The first is done by the caller, the others by
    /// threads that are gone when this returns, or by the caller where there are none to be had.
    pub(super) fn map<'a, T: Sync, R: Send>(
        self,
        list: &'a [T],
        work: impl Fn(usize, &'a [T]) -> R + Sync,
    ) -> Vec<R> {
        let size = list.len().div_ceil(self.0.get()).max(1);
        let (first, others) = list.split_at(size.min(list.len()));
        let work = &work;
        thread::scope(|scope| {
            let begun: Vec<_> = others
                .chunks(size)
                .enumerate()
                .map(|(at, part)| {
                    let name = "mvx-collect".to_owned();
                    let thread = Builder::new().name(name).spawn_scoped(scope, move || work(at + 1, part));
                    (at + 1, part, thread)
                })
                .collect();
            let mut made = Vec::with_capacity(begun.len() + 1);
            made.push(work(0, first));
            for (at, part, thread) in begun {
                let done = thread.ok().and_then(|thread| thread.join().ok());
                made.push(done.unwrap_or_else(|| work(at, part)));
            }
            made
        })
    }
}

#[cfg(test)]
#[cfg(not(mvx_loom))]
mod tests {
    use super::*;

    #[test]
    fn parts_come_in_order_and_hold_everything_once() {
        for (items, parts) in [(0, 3), (1, 3), (2, 3), (7, 3), (9, 3), (10, 1)] {
            let list: Vec<usize> = (0..items).collect();
            let made = Parts::exactly(parts).map(&list, |at, part| (at, part.to_vec()));
            assert!(made.iter().enumerate().all(|(at, (told, _))| at == *told), "{made:?}");
            assert!(made.len() <= parts, "{made:?}");
            assert_eq!(made.into_iter().flat_map(|(_, part)| part).collect::<Vec<_>>(), list);
        }
    }

    #[test]
    fn the_first_part_is_the_callers_and_the_others_have_threads_of_their_own() {
        let threads = Parts::exactly(3).map(&[(); 3], |_, _| thread::current().id());
        assert_eq!(threads[0], thread::current().id());
        assert!(threads[1] != threads[0] && threads[2] != threads[0] && threads[1] != threads[2]);
    }

    #[test]
    fn what_panics_in_a_part_panics_in_the_caller() {
        let caller = thread::current().id();
        let ran = std::panic::catch_unwind(|| {
            Parts::exactly(2).map(&[0, 1], |at, _| assert!(at == 0 || thread::current().id() == caller));
        });
        assert!(ran.is_ok(), "the caller does what a thread has not");
        let ran = std::panic::catch_unwind(|| Parts::exactly(2).map(&[0, 1], |at, _| assert_eq!(at, 0)));
        assert!(ran.is_err());
    }

    #[test]
    fn few_recorders_are_one_part() {
        assert_eq!(Parts::of(2 * limits::RECORDERS_OF_A_THREAD - 1).0.get(), 1);
        let cores = thread::available_parallelism().unwrap().get();
        assert_eq!(Parts::of(usize::MAX).0.get(), cores.min(limits::THREADS_OF_A_COLLECTION));
    }
}
