//! Answers that somebody waits for, in the order in which they were asked for; never more than a limit of them.

use crate::model::limits;
use crate::recorder::operation::Completer;
use std::collections::VecDeque;

/// A list shorter than this is not looked through for answers that nobody waits for.
const SWEEP_FROM: usize = 64;

/// Answers owed, each with what it depends on.
///
/// Whoever drops its operation leaves its answer here until the list has doubled: looking through it then costs each answer a
/// constant share, and the list is at most twice as long as what is awaited (or [`SWEEP_FROM`]).
pub(crate) struct Waiting<K = ()> {
    /// Made for the first answer: of many recorders, most never owe one of a kind.
    owed: Option<Box<List<K>>>,
}

struct List<K> {
    list: VecDeque<(K, Completer)>,
    /// How many of them, from the front, a turn has taken note of.
    seen: usize,
    sweep_at: usize,
    refuse_unswept: usize,
}

impl<K> Default for Waiting<K> {
    fn default() -> Self {
        Self { owed: None }
    }
}

impl<K> Default for List<K> {
    fn default() -> Self {
        Self { list: VecDeque::new(), seen: 0, sweep_at: SWEEP_FROM, refuse_unswept: 0 }
    }
}

impl<K> Waiting<K> {
    /// What the list takes on the heap; what is owed in it is whoever's who waits.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.owed
            .as_ref()
            .map_or(0, |owed| size_of_val(&**owed) + owed.list.capacity() * size_of::<(K, Completer)>())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.owed.as_ref().is_none_or(|owed| owed.list.is_empty())
    }

    /// Adds an answer to those owed; gives it back if too many wait. What nobody waits for goes to `spent`.
    pub(crate) fn push(
        &mut self,
        key: K,
        done: Completer,
        spent: &mut Vec<Completer>,
    ) -> Result<(), Completer> {
        self.owed.get_or_insert_default().push(key, done, spent)
    }

    /// The same without a limit, for callers of whom there are few by construction.
    pub(crate) fn push_always(&mut self, key: K, done: Completer, spent: &mut Vec<Completer>) {
        self.owed.get_or_insert_default().push_always(key, done, spent);
    }

    /// A turn takes note of all of them.
    pub(crate) fn see(&mut self) {
        if let Some(owed) = &mut self.owed {
            owed.seen = owed.list.len();
        }
    }

    pub(crate) fn has_seen(&self) -> bool {
        self.owed.as_ref().is_some_and(|owed| owed.seen > 0)
    }

    pub(crate) fn seen(&self) -> impl Iterator<Item = &K> {
        self.owed.iter().flat_map(|owed| owed.list.iter().take(owed.seen).map(|(key, _)| key))
    }

    /// The one that came last, if no turn has taken note of it.
    pub(crate) fn last_unseen(&self) -> Option<&(K, Completer)> {
        let owed = self.owed.as_ref()?;
        owed.list.back().filter(|_| owed.list.len() > owed.seen)
    }

    /// Takes out those that are due, of those that a turn has taken note of.
    pub(crate) fn take_seen(&mut self, is_due: impl Fn(&K) -> bool) -> Vec<Completer> {
        self.owed.as_mut().map(|owed| owed.take_seen(is_due)).unwrap_or_default()
    }

    /// Takes out the one that has waited longest.
    pub(crate) fn pop(&mut self) -> Option<Completer> {
        let owed = self.owed.as_mut()?;
        let (_, done) = owed.list.pop_front()?;
        owed.seen = owed.seen.saturating_sub(1);
        Some(done)
    }

    /// Takes out all of them, and gives the list's own memory back.
    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = Completer> + use<K> {
        self.owed.take().into_iter().flat_map(|owed| owed.list).map(|(_, done)| done)
    }
}

impl<K> List<K> {
    fn push(&mut self, key: K, done: Completer, spent: &mut Vec<Completer>) -> Result<(), Completer> {
        self.sweep_if_doubled(spent);
        if self.list.len() >= limits::MAX_WAITING {
            return Err(done);
        }
        self.list.push_back((key, done));
        Ok(())
    }

    fn push_always(&mut self, key: K, done: Completer, spent: &mut Vec<Completer>) {
        self.sweep_if_doubled(spent);
        self.list.push_back((key, done));
    }

    fn sweep_if_doubled(&mut self, spent: &mut Vec<Completer>) {
        if self.list.len() < self.sweep_at {
            return;
        }
        if self.refuse_unswept > 0 {
            self.refuse_unswept -= 1;
            return;
        }
        let seen = std::mem::take(&mut self.seen);
        for (index, (key, done)) in std::mem::take(&mut self.list).into_iter().enumerate() {
            if done.is_awaited() {
                self.seen += usize::from(index < seen);
                self.list.push_back((key, done));
            } else {
                spent.push(done);
            }
        }
        self.sweep_at = (self.list.len() * 2).clamp(SWEEP_FROM, limits::MAX_WAITING);
        // At the limit some pushes are refused without a look, because a look costs what the list is long; whoever gave up
        // meanwhile makes a place with the next.
        self.refuse_unswept = if self.list.len() >= limits::MAX_WAITING { SWEEP_FROM } else { 0 };
    }

    fn take_seen(&mut self, is_due: impl Fn(&K) -> bool) -> Vec<Completer> {
        let later = self.list.split_off(self.seen);
        let (due, kept) =
            std::mem::take(&mut self.list).into_iter().partition::<VecDeque<_>, _>(|(key, _)| is_due(key));
        self.seen = kept.len();
        self.list = kept;
        self.list.extend(later);
        due.into_iter().map(|(_, done)| done).collect()
    }
}
