//! The events that a metric is shown together, and its answers to them.

use crate::metric::Metric;
use crate::metric::scratch::Room;
use crate::metric::scratch::Scratch;
use crate::model::verdict::Context;
use crate::model::verdict::Verdict;
use crate::queue::call_user;
use crate::queue::run::Run;
use std::any::Any;
use std::fmt;
use std::panic::AssertUnwindSafe;

/// Events that one metric is shown together, in their order, and its answers so far.
///
/// A metric answers from the front: [`first`](Self::first) is the event in hand until it is answered. What is left without
/// an answer when [`Metric::handle_batch`] returns counts as ignored; answers beyond the last
/// event are not counted. So the tallies of a metric add up whatever it does.
///
/// # Examples
///
/// A metric that adds up a batch before it touches its state:
///
/// ```
/// use mvx_metrics::{Batch, Context, Descriptor, FamilyWriter, Kind, LabelSet, Metric, Timestamp, Verdict};
/// use std::sync::Arc;
///
/// struct Total { descriptor: Arc<Descriptor>, sum: u64 }
///
/// impl Metric<u32> for Total {
///     fn descriptor(&self) -> &Arc<Descriptor> {
///         &self.descriptor
///     }
///
///     fn handle_event(&mut self, event: &u32, _context: &Context) -> Verdict {
///         self.sum += u64::from(*event);
///         Verdict::Accepted
///     }
///
///     fn handle_batch(&mut self, batch: &mut Batch<'_, u32>, _context: &Context) {
///         self.sum += batch.iter().map(|event| u64::from(*event)).sum::<u64>();
///         batch.answer_many(batch.len(), Verdict::Accepted);
///     }
///
///     fn snapshot(&self, writer: &mut FamilyWriter<'_>) {
///         writer.counter(&LabelSet::empty(), self.sum);
///     }
/// }
///
/// let mut total = Total { descriptor: Descriptor::builder("total", Kind::Counter).build()?, sum: 0 };
/// let mut batch = Batch::new(&[1, 2, 3]);
/// total.handle_batch(&mut batch, &Context::new(Timestamp::default(), 1));
/// assert_eq!((total.sum, batch.accepted(), batch.len()), (6, 3, 0));
/// # Ok::<(), mvx_metrics::Error>(())
/// ```
pub struct Batch<'a, E> {
    events: Events<'a, E>,
    left: usize,
    accepted: u64,
    ignored: u64,
    refused: u64,
    /// Unwind safe: a panic leaves nothing in it that is taken for granted.
    scratch: Option<AssertUnwindSafe<&'a mut Scratch>>,
}

/// Events of a batch that are looked at together at most: as many as a set of bits can name.
pub(crate) const PIECE: usize = 64;

/// Below this many events, what a batch saves is less than what it costs to set up.
const FEW_EVENTS: usize = 4;

/// What a panic carries.
pub(crate) type Payload = Box<dyn Any + Send>;

/// Some events of a run.
pub(super) struct Events<'a, E> {
    run: Run<'a, E>,
    /// Which events of the run, a bit each; `None` for all.
    shown: Option<u64>,
}

/// Up to [`PIECE`] events on their way through an instrument, phase by phase; every set is a bit per event of the run.
pub(super) struct Piece<'a, E> {
    run: Run<'a, E>,
    shown: u64,
    ignored: u64,
    refused: u64,
    panic: Option<Payload>,
}

#[derive(Clone, Copy)]
enum Answer {
    Accepted,
    Ignored,
    Refused,
}

/// Handles a batch by handling each of its events.
pub(super) fn one_by_one<E>(
    metric: &mut (impl Metric<E> + ?Sized),
    batch: &mut Batch<'_, E>,
    context: &Context,
) {
    while let Some(event) = batch.first() {
        let verdict = metric.handle_event(event, context);
        batch.answer(verdict);
    }
}

/// A metric that takes a batch in pieces, phase by phase.
pub(super) trait InPieces<E>: Metric<E> {
    /// Handles what is left of a piece, and refuses or ignores the rest of it.
    fn handle_piece(&mut self, piece: &mut Piece<'_, E>, room: &mut Room, context: &Context);

    /// Handles a batch in pieces, and few events one by one.
    #[inline]
    fn handle_in_pieces(&mut self, batch: &mut Batch<'_, E>, context: &Context) {
        if batch.len() < FEW_EVENTS {
            return one_by_one(self, batch, context);
        }
        let (lent, mut own) = (batch.scratch.take(), Scratch::default());
        let room = lent.map_or(&mut own, |AssertUnwindSafe(lent)| lent).room();
        while let Some(mut piece) = batch.piece() {
            self.handle_piece(&mut piece, room, context);
            piece.settle(batch);
        }
    }
}

impl<'a, E> Batch<'a, E> {
    /// A batch of all these events: for calling a metric by hand.
    pub fn new(events: &'a [E]) -> Self {
        Self::all(Run::of(events))
    }

    pub(crate) fn all(run: Run<'a, E>) -> Self {
        Self::over(Events { run, shown: None }, run.len())
    }

    /// The events of a run of at most [`PIECE`] whose bits are set.
    pub(crate) fn picked(run: Run<'a, E>, shown: u64) -> Self {
        let shown = shown & below(run.len());
        Self::over(Events { run, shown: Some(shown) }, shown.count_ones() as usize)
    }

    fn over(events: Events<'a, E>, left: usize) -> Self {
        Self { events, left, accepted: 0, ignored: 0, refused: 0, scratch: None }
    }

    /// The same batch, for a metric that finds what those before it have found about these events.
    pub(crate) fn with(self, scratch: &'a mut Scratch) -> Self {
        Self { scratch: Some(AssertUnwindSafe(scratch)), ..self }
    }

    /// How many events are not answered yet.
    pub fn len(&self) -> usize {
        self.left
    }

    /// Whether every event is answered.
    pub fn is_empty(&self) -> bool {
        self.left == 0
    }

    /// The first event without an answer.
    #[inline(always)]
    pub fn first(&self) -> Option<&'a E> {
        match self.events.shown {
            None => self.events.run.get(self.events.run.len() - self.left),
            Some(shown) => self.events.run.get(shown.trailing_zeros() as usize),
        }
    }

    /// The events without an answer, in their order.
    pub fn iter(&self) -> impl Iterator<Item = &'a E> + use<'a, E> {
        let (run, start) = (self.events.run, self.events.run.len() - self.left);
        let (from, mut shown) = match self.events.shown {
            None => (start, None),
            Some(shown) => (0, Some(shown)),
        };
        (from..run.len()).filter_map(move |index| match &mut shown {
            None => run.get(index),
            Some(shown) => (*shown >> index & 1 == 1).then(|| run.get(index)).flatten(),
        })
    }

    /// Answers the first event that has no answer yet.
    #[inline(always)]
    pub fn answer(&mut self, verdict: Verdict) {
        self.answer_many(1, verdict);
    }

    /// Answers as many events from the first that has no answer yet.
    #[inline(always)]
    pub fn answer_many(&mut self, count: usize, verdict: Verdict) {
        let answer = match verdict {
            Verdict::Accepted => Answer::Accepted,
            Verdict::Ignored => Answer::Ignored,
            Verdict::Refused(_) => Answer::Refused,
        };
        self.settle(count, answer);
    }

    /// How many events were accepted.
    pub fn accepted(&self) -> u64 {
        self.accepted
    }

    /// How many events were ignored.
    pub fn ignored(&self) -> u64 {
        self.ignored
    }

    /// How many events were refused.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// The index in the run of the first event without an answer.
    pub(crate) fn position(&self) -> usize {
        match self.events.shown {
            None => self.events.run.len() - self.left,
            Some(shown) => (shown.trailing_zeros() as usize).min(self.events.run.len()),
        }
    }

    /// The next events without an answer; nothing once all are answered.
    pub(super) fn piece(&self) -> Option<Piece<'a, E>> {
        if self.left == 0 {
            return None;
        }
        let (run, shown) = match self.events.shown {
            None => {
                let run = self.events.run.part(self.position(), PIECE);
                (run, below(run.len()))
            }
            Some(shown) => (self.events.run, shown),
        };
        Some(Piece { run, shown, ignored: 0, refused: 0, panic: None })
    }

    #[inline(always)]
    fn settle(&mut self, count: usize, answer: Answer) {
        let count = count.min(self.left);
        if count == 0 {
            return;
        }
        self.left -= count;
        match &mut self.events.shown {
            Some(shown) if self.left == 0 => *shown = 0,
            Some(shown) => (0..count).for_each(|_| *shown &= shown.wrapping_sub(1)),
            None => {}
        }
        match answer {
            Answer::Accepted => self.accepted += count as u64,
            Answer::Ignored => self.ignored += count as u64,
            Answer::Refused => self.refused += count as u64,
        }
    }
}

impl<'a, E> Piece<'a, E> {
    /// The events that still count, from the one at `start` of the run on.
    #[inline(always)]
    pub(super) fn events(&self, start: usize) -> Events<'a, E> {
        let left = self.left() & !below(start);
        if left == below(self.run.len()) {
            return Events { run: self.run, shown: None };
        }
        Events { run: self.run, shown: Some(left) }
    }

    #[inline(always)]
    pub(super) fn count(&self) -> usize {
        let left = self.left();
        // Nearly always, and then there is nothing to count.
        if left == below(self.run.len()) { self.run.len() } else { left.count_ones() as usize }
    }

    /// Which events still count: where they stand, and a bit each.
    #[inline(always)]
    pub(super) fn events_left(&self) -> (usize, u64) {
        (self.run.address(), self.left())
    }

    #[inline(always)]
    fn left(&self) -> u64 {
        self.shown & !self.ignored & !self.refused
    }

    /// Only these events matter.
    pub(super) fn ignore_all_but(&mut self, kept: u64) {
        self.ignored |= self.left() & !kept;
    }

    /// These events do not matter.
    pub(super) fn ignore(&mut self, which: u64) {
        self.ignored |= self.left() & which;
    }

    /// Refuses the event at `place` among those that still count.
    pub(super) fn refuse(&mut self, place: usize) {
        let mut left = self.left();
        for _ in 0..place {
            left &= left.wrapping_sub(1);
        }
        self.refused |= left & left.wrapping_neg();
    }

    /// Runs one phase. If it panics, the piece ends before the event that was in hand, as if there had been no phase before
    /// this one: what came before it is carried on with, and the panic goes on when the piece is settled.
    #[inline(always)]
    pub(super) fn attempt<S, T>(
        &mut self,
        state: &mut S,
        in_hand: impl Fn(&S) -> usize,
        phase: impl FnOnce(&mut S) -> T,
    ) -> Option<T> {
        match call_user(|| phase(state)) {
            Ok(result) => Some(result),
            Err(payload) => {
                self.shown &= below(in_hand(state));
                crate::queue::drop_quietly(self.panic.replace(payload));
                None
            }
        }
    }

    /// Answers the events of this piece, and lets a panic go on.
    pub(super) fn settle(self, batch: &mut Batch<'_, E>) {
        let (ignored, refused) = (self.ignored & self.shown, self.refused & self.shown);
        if ignored | refused != 0 {
            batch.settle(ignored.count_ones() as usize, Answer::Ignored);
            batch.settle(refused.count_ones() as usize, Answer::Refused);
        }
        batch.settle(self.count(), Answer::Accepted);
        if let Some(payload) = self.panic {
            std::panic::resume_unwind(payload);
        }
    }
}

impl<'a, E> Events<'a, E> {
    /// Shows each event with its place in the run.
    #[inline(always)]
    pub(super) fn each(self, mut show: impl FnMut(usize, &'a E)) {
        self.until(|index, event| {
            show(index, event);
            false
        });
    }

    /// Shows each event with its place in the run, until one answers `true`.
    #[inline(always)]
    pub(super) fn until(self, mut show: impl FnMut(usize, &'a E) -> bool) {
        match self.shown {
            None => {
                for index in 0..self.run.len() {
                    if let Some(event) = self.run.get(index) {
                        if show(index, event) {
                            return;
                        }
                    }
                }
            }
            Some(mut left) => {
                while left != 0 {
                    let index = left.trailing_zeros() as usize;
                    left &= left - 1;
                    if let Some(event) = self.run.get(index) {
                        if show(index, event) {
                            return;
                        }
                    }
                }
            }
        }
    }
}

impl<E> fmt::Debug for Batch<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("left", &self.left)
            .field("accepted", &self.accepted)
            .field("ignored", &self.ignored)
            .field("refused", &self.refused)
            .finish()
    }
}

/// The bits of everything before `end`.
#[inline(always)]
fn below(end: usize) -> u64 {
    if end >= PIECE { u64::MAX } else { (1 << end) - 1 }
}
