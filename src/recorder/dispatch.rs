//! Running events through one metric, with its panics caught at its boundary.

use crate::metric::Batch;
use crate::metric::Interests;
use crate::metric::Metric;
use crate::metric::PIECE;
use crate::metric::Payload;
use crate::metric::Scratch;
use crate::model::accounts::Tally;
use crate::model::error::Error;
use crate::model::error::ErrorKind;
use crate::model::event::MetricEvent;
use crate::model::snapshot::Descriptor;
use crate::model::snapshot::Family;
use crate::model::snapshot::FamilyWriter;
use crate::model::verdict::Context;
use crate::queue::call_user;
use crate::queue::run::Run;
use crate::recorder::report::LastWords;
use crate::recorder::shapes::Shapes;
use crate::sync::fetch_all;
use std::any::Any;
use std::sync::Arc;

/// A metric in its recorder: routed, counted, and out of the way once it has panicked.
///
/// Events go to a metric a batch at a time, not one by one: one virtual call and one landing pad for up to 64 events, and the
/// metric's own loop is compiled for it. Metrics cannot tell, because they do not know each other, and readers cannot, because
/// only whole batches are published.
pub(crate) struct Slot<E> {
    /// `None` only while the slot is dropped.
    metric: Option<Box<dyn Metric<E>>>,
    descriptor: Arc<Descriptor>,
    /// What most metrics do without.
    seldom: Option<Box<Seldom>>,
    pub(crate) tally: Tally,
    pub(crate) quarantined: bool,
    /// The number of the cut in which the last change is first seen.
    pub(crate) changed_at: u64,
    /// Whether it panicked when it was last to show its state. In quarantine it is not asked again.
    hidden: bool,
    /// Whether series of it expire.
    pub(crate) expires: bool,
    /// Whether the metric has given up its series, which are in the published cut.
    resting: bool,
}

#[derive(Default)]
struct Seldom {
    /// One flag per variant; `None` shows every event.
    route: Option<Box<[bool]>>,
    /// Of the panic that put it into quarantine, until it is told.
    last_words: LastWords,
}

impl<E: MetricEvent> Slot<E> {
    /// # Errors
    ///
    /// [`ErrorKind::UnknownEventType`] if the metric asks for an event type that `E` does not have.
    pub(crate) fn new<M: Metric<E>>(metric: M) -> Result<Self, Error> {
        let mut slot = Self {
            descriptor: Arc::clone(metric.descriptor()),
            metric: None,
            seldom: None,
            tally: Tally::default(),
            quarantined: false,
            changed_at: 0,
            hidden: false,
            expires: metric.expiry().is_some(),
            resting: false,
        };
        let interests = metric.interests();
        // Owned by the slot before anything can fail: the slot knows how to drop it.
        slot.metric = Some(Box::new(metric));
        let route = route_of::<E>(&slot.descriptor, &interests)?;
        slot.seldom = route.map(|route| Box::new(Seldom { route: Some(route), ..Seldom::default() }));
        Ok(slot)
    }

    /// Shows the metric under a descriptor that is equal to its own, which it gives up for this one if it can.
    pub(crate) fn share(&mut self, known: Arc<Descriptor>) {
        debug_assert!(*known == *self.descriptor, "another metric");
        self.ask_to_be(&known);
        self.descriptor = known;
    }

    pub(crate) fn descriptor(&self) -> &Arc<Descriptor> {
        &self.descriptor
    }

    /// What the slot's metric takes on the heap beside the descriptor that it is shown under, as it says itself. A metric that panics over it says 0.
    pub(crate) fn heap_bytes(&self) -> usize {
        let Some(metric) = &self.metric else { return 0 };
        let own = call_user(|| {
            let shared = Arc::ptr_eq(metric.descriptor(), &self.descriptor);
            metric.heap_bytes() + if shared { 0 } else { metric.descriptor().heap_bytes() }
        });
        let own = own.unwrap_or_else(|payload| {
            crate::queue::drop_quietly(payload);
            0
        });
        self.own_bytes() + own
    }

    /// What the metric's box and its route take: all that is known without asking the metric, which is the user's code.
    pub(crate) fn own_bytes(&self) -> usize {
        let metric = self.metric.as_ref().map_or(0, |metric| size_of_val(&**metric));
        let route = self.route().map_or(0, size_of_val);
        metric + route + self.seldom.as_ref().map_or(0, |seldom| size_of_val(&**seldom))
    }

    #[inline]
    fn route(&self) -> Option<&[bool]> {
        self.seldom.as_ref()?.route.as_deref()
    }

    fn hear(&mut self, payload: &(dyn Any + Send)) {
        self.seldom.get_or_insert_default().last_words.hear(payload);
    }

    /// What it said when it was put into quarantine, for the first who asks.
    pub(crate) fn take_last_words(&mut self) -> Option<Box<str>> {
        self.seldom.as_mut()?.last_words.take()
    }

    /// Asks for the memory of the metric, one step of its pointers at a time; see [`Metric::fetch`].
    pub(crate) fn fetch(&self, step: usize) {
        match (&self.metric, step) {
            (Some(metric), 0) => fetch_all(&**metric),
            (Some(metric), step) => metric.fetch(step - 1),
            (None, _) => {}
        }
    }

    /// Asks the metric to be as its runtime wants it.
    pub(crate) fn reshape(&mut self, by: &Shapes) {
        let Some(wanted) = by.of(&self.descriptor) else { return };
        if let Some(descriptor) = self.ask_to_be(&wanted) {
            self.descriptor = descriptor;
        }
    }

    /// What the metric then is, if it is another; one that panics over it is quarantined.
    fn ask_to_be(&mut self, wanted: &Arc<Descriptor>) -> Option<Arc<Descriptor>> {
        let metric = self.metric.as_mut()?;
        let asked = call_user(|| metric.reshape(wanted).then(|| Arc::clone(metric.descriptor())));
        asked.unwrap_or_else(|payload| {
            self.quarantined = true;
            self.hear(&*payload);
            crate::queue::drop_quietly(payload);
            None
        })
    }

    /// Shows a batch to the metric; true if it changed. The `scratch` is of these very events.
    pub(crate) fn handle(&mut self, events: &Run<'_, E>, scratch: &mut Scratch, context: &Context) -> bool {
        let before = self.tally;
        if self.route().is_none() {
            self.show(*events, Batch::all(*events).with(scratch), None, context);
        } else {
            self.handle_routed(events, scratch, context);
        }
        if self.tally.accepted != before.accepted {
            self.changed_at = context.cut();
        }
        self.tally != before
    }

    /// Asks every event for its variant first; `variant_index` is the user's code, too, and may panic.
    fn handle_routed(&mut self, events: &Run<'_, E>, scratch: &mut Scratch, context: &Context) {
        for start in (0..events.len()).step_by(PIECE) {
            let part = events.part(start, PIECE);
            let (mut shown, mut next) = (0, 0);
            let route = self.route().unwrap_or_default();
            let routed = call_user(|| {
                for event in part.iter() {
                    shown |= u64::from(route.get(event.variant_index()).copied().unwrap_or(true)) << next;
                    next += 1;
                }
            });
            let known = part.part(0, next);
            self.show(known, Batch::picked(known, shown).with(scratch), None, context);
            if let Err(payload) = routed {
                self.show(part.part(next, PIECE), Batch::all(Run::empty()), Some(payload), context);
            }
        }
    }

    /// Shows some events of a run to the metric, and counts all of the run. With a `panic` the first of them has caused it.
    fn show(&mut self, run: Run<'_, E>, mut batch: Batch<'_, E>, panic: Option<Payload>, context: &Context) {
        let all = run.len() as u64;
        if self.quarantined {
            self.tally.quarantined += all;
            return;
        }
        let result = match panic {
            Some(payload) => Err(payload),
            None if batch.is_empty() => Ok(()),
            None => match &mut self.metric {
                Some(metric) => call_user(|| metric.handle_batch(&mut batch, context)),
                None => Ok(()),
            },
        };
        let mut seen = all;
        if let Err(payload) = result {
            // The event in hand is the one it panicked on, the last one if it had answered them all; the rest of the batch it
            // does not see.
            seen = (batch.position() as u64).min(all.saturating_sub(1));
            self.tally.panicked += 1;
            self.tally.quarantined += (all - seen).saturating_sub(1);
            self.quarantined = true;
            self.changed_at = context.cut();
            self.hear(&*payload);
            crate::queue::drop_quietly(payload);
        }
        // A metric that put another batch into this one's place must not break the law either.
        let accepted = batch.accepted().min(seen);
        let refused = batch.refused().min(seen - accepted);
        self.tally.accepted += accepted;
        self.tally.refused += refused;
        // Those that the route spared it are among them.
        self.tally.ignored += seen - accepted - refused;
    }

    /// What readers see of the metric before its first event. No code of a user's is asked.
    pub(crate) fn at_first(&self) -> Family {
        let shown = self.metric.as_ref().and_then(|metric| metric.at_first());
        shown.unwrap_or_else(|| Family::new(Arc::clone(self.descriptor())))
    }

    /// Whether there is nothing to see of it before its first event but what it is.
    pub(crate) fn shows_nothing_at_first(&self) -> bool {
        !self.quarantined && self.metric.as_ref().is_none_or(|metric| metric.at_first().is_none())
    }

    /// The metric's state as a family of its own; empty if the metric panics over it.
    pub(crate) fn written_out(&self) -> Family {
        let mut family = Family::new(Arc::clone(self.descriptor()));
        let Some(metric) = &self.metric else { return family };
        let written = call_user(|| metric.snapshot(&mut FamilyWriter::new(&mut family, 0)));
        if let Err(payload) = written {
            crate::queue::drop_quietly(payload);
            family = Family::new(Arc::clone(self.descriptor()));
        }
        family
    }

    /// What the metric would give up at rest.
    pub(crate) fn spared_bytes(&mut self) -> usize {
        let spared =
            |metric: &mut Box<dyn Metric<E>>| call_user(|| metric.at_rest().map(|series| series.spared()));
        match self.metric.as_mut().map(spared) {
            Some(Ok(spared)) => spared.unwrap_or_default(),
            Some(Err(payload)) => {
                crate::queue::drop_quietly(payload);
                0
            }
            None => 0,
        }
    }

    /// Lets the metric give up the series that this family, which is in the published cut, has as well; true if it did.
    ///
    /// One in quarantine may have been left half-way by its panic, and keeps what it has.
    pub(crate) fn rest(&mut self, shown: &Family) -> bool {
        let Some(metric) = self.metric.as_mut().filter(|_| !self.quarantined) else { return false };
        let rests = call_user(|| metric.at_rest().is_some_and(|series| series.rest(shown)));
        self.resting = rests.unwrap_or_else(|payload| {
            crate::queue::drop_quietly(payload);
            false
        });
        self.resting
    }

    /// Gives the metric back what it has given up; the cut of that family was this one.
    pub(crate) fn wake(&mut self, shown: &Family, cut: u64) {
        let Some(metric) = self.metric.as_mut().filter(|_| std::mem::take(&mut self.resting)) else { return };
        let woken = call_user(|| metric.at_rest().into_iter().for_each(|series| series.wake(shown, cut)));
        if let Err(payload) = woken {
            self.quarantined = true;
            self.hear(&*payload);
            crate::queue::drop_quietly(payload);
        }
    }

    /// Takes out the metric's idle series.
    pub(crate) fn expire(&mut self, context: &Context) -> Option<Family> {
        if !self.expires || self.quarantined {
            return None;
        }
        let metric = self.metric.as_mut()?;
        match call_user(|| metric.expire(context)) {
            Ok(expired) => expired.filter(|family| !family.is_empty()),
            Err(payload) => {
                self.quarantined = true;
                self.changed_at = context.cut();
                self.hear(&*payload);
                crate::queue::drop_quietly(payload);
                None
            }
        }
    }

    /// Lifts a quarantine; what the metric then is will be shown in `cut`.
    pub(crate) fn reinstate(&mut self, cut: u64) {
        if std::mem::take(&mut self.quarantined) {
            self.hidden = false;
            self.changed_at = cut;
        }
    }

    /// Brings a family that is current up to cut `since` up to date. One that cannot be shown is empty from then on: what it wrote
    /// before it panicked is no state it ever had.
    pub(crate) fn refresh(&mut self, family: &mut Family, since: u64, cut: u64) {
        if self.quarantined && self.hidden {
            *family = Family::new(Arc::clone(&self.descriptor));
            return;
        }
        let Some(metric) = &self.metric else { return };
        let result = call_user(|| metric.snapshot(&mut FamilyWriter::new(family, since)));
        self.hidden = result.is_err();
        if let Err(payload) = result {
            self.quarantined = true;
            // Not what it had written by then; the cut before this one is brought to the same by the next refresh.
            *family = Family::new(Arc::clone(&self.descriptor));
            self.changed_at = cut;
            self.hear(&*payload);
            crate::queue::drop_quietly(payload);
        }
    }
}

/// A metric's destructor is user code, too: its panic must end neither the worker nor whoever lets the last handle go.
impl<E> Drop for Slot<E> {
    fn drop(&mut self) {
        crate::queue::drop_quietly(self.metric.take());
    }
}

fn route_of<E: MetricEvent>(of: &Descriptor, interests: &Interests) -> Result<Option<Box<[bool]>>, Error> {
    let Interests::Only(wanted) = interests else { return Ok(None) };
    let known = E::EVENT_TYPES;
    if known.is_empty() && !wanted.is_empty() {
        let message = format!(
            "metric {} asks for event types, but the event lists none in EVENT_TYPES; list them, or look at the event in the metric",
            of.name()
        );
        return Err(Error::new(ErrorKind::UnknownEventType, message));
    }
    if let Some(unknown) = wanted.iter().find(|wanted| !known.contains(*wanted)) {
        let message = format!(
            "metric {} asks for event type {unknown:?}; the event has {}",
            of.name(),
            known.join(", ")
        );
        return Err(Error::new(ErrorKind::UnknownEventType, message));
    }
    Ok(Some(known.iter().map(|event_type| wanted.contains(event_type)).collect()))
}

#[cfg(test)]
#[cfg(not(mvx_loom))]
mod tests {
    use super::*;
    use crate::metric::Counter;
    use crate::metric::Gauge;
    use crate::metric::Histogram;
    use crate::metric::LabelFields;
    use crate::metric::UpDown;
    use crate::model::clock::Timestamp;
    use crate::model::label::Label;
    use crate::model::verdict::Verdict;
    use proptest::prelude::*;
    use std::time::Duration;

    /// An event that says at which closure it brings the house down.
    #[derive(Clone, Debug)]
    struct Step {
        number: u64,
        variant: usize,
        fails: Option<Closure>,
    }

    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Closure {
        Variant,
        Keep,
        Value,
        First,
        Second,
    }

    impl MetricEvent for Step {
        const EVENT_TYPES: &'static [&'static str] = &["even", "odd"];

        fn event_type(&self) -> &'static str {
            Self::EVENT_TYPES[self.variant]
        }

        fn variant_index(&self) -> usize {
            self.unless(Closure::Variant);
            self.variant
        }
    }

    impl Step {
        fn unless(&self, closure: Closure) {
            if self.fails == Some(closure) {
                std::panic::resume_unwind(Box::new("seeded"));
            }
        }

        fn kept(&self) -> bool {
            self.unless(Closure::Keep);
            self.number % 7 != 0
        }

        fn value(&self) -> Option<i64> {
            self.unless(Closure::Value);
            (self.number % 5 != 0).then_some(self.number as i64 % 11 - 2)
        }

        /// Also what a gauge refuses.
        fn fraction(&self) -> Option<f64> {
            self.unless(Closure::Value);
            Some(if self.number % 9 == 4 { f64::NAN } else { self.number as f64 / 3.0 })
        }

        /// Also what a level refuses, and what takes it to its end.
        fn large(&self) -> Option<u64> {
            self.unless(Closure::Value);
            Some(if self.number % 9 == 4 { u64::MAX } else { i64::MAX as u64 / 5 })
        }

        fn first(&self) -> Label<'_> {
            self.unless(Closure::First);
            Label::from(self.number % 3)
        }

        fn second(&self) -> Label<'_> {
            self.unless(Closure::Second);
            Label::fixed(["a", "b"][self.number as usize % 2])
        }

        /// What several metrics ask, and what holds nothing.
        fn both(&self) -> Both {
            self.unless(Closure::First);
            Both { first: self.number % 3, second: self.number % 2 }
        }
    }

    /// A set of labels that are found by their index.
    struct Both {
        first: u64,
        second: u64,
    }

    impl LabelFields for Both {
        const KEYS: &'static [&'static str] = &["first", "second"];
        const CARDINALITY: Option<usize> = Some(6);
        type At<'e> = Self;

        fn label(&self, position: usize) -> Label<'_> {
            [self.first, self.second].get(position).map_or(Label::Absent, |value| Label::from(*value))
        }

        fn index(&self) -> usize {
            (2 * self.first + self.second) as usize
        }
    }
    fn step() -> impl Strategy<Value = Step> {
        let closures = vec![Closure::Variant, Closure::Keep, Closure::Value, Closure::First, Closure::Second];
        let fails = proptest::option::weighted(0.02, proptest::sample::select(closures));
        (0_u64..100, 0_usize..2, fails).prop_map(|(number, variant, fails)| Step { number, variant, fails })
    }

    fn slots() -> Vec<Slot<Step>> {
        let counter = || Counter::<Step>::builder("c").label("a", Step::first).keep(Step::kept);
        let gauge = || Gauge::<Step>::builder("g").value(Step::value);
        let level = || UpDown::<Step>::builder("u").keep(Step::kept).value(Step::value);
        let integers = || {
            Histogram::<Step>::builder("i")
                .bounds(&[4.0, 50.0])
                .value(|step| step.large().map(|value| value >> (step.number % 64)))
        };
        let durations = || {
            let value =
                |step: &Step| step.large().map(|nanos| Duration::from_nanos(nanos >> (step.number % 64)));
            Histogram::<Step>::builder("d").bounds(&[1e-6, 0.1, 1e3]).value(value)
        };
        let histogram = || Histogram::<Step>::builder("h").bounds(&[1.0, 5.0]).value(Step::value);
        let slots = [
            Slot::new(counter().build().unwrap()),
            Slot::new(counter().value(Step::value).label("b", Step::second).build().unwrap()),
            Slot::new(counter().value(Step::value).on(&["odd"]).build().unwrap()),
            Slot::new(gauge().build().unwrap()),
            Slot::new(
                gauge().keep(Step::kept).label("a", Step::first).label("b", Step::second).build().unwrap(),
            ),
            Slot::new(Gauge::<Step>::builder("f").value(Step::fraction).build().unwrap()),
            Slot::new(level().build().unwrap()),
            Slot::new(
                UpDown::<Step>::builder("l").value(Step::large).label("a", Step::first).build().unwrap(),
            ),
            Slot::new(counter().value(Step::large).build().unwrap()),
            Slot::new(level().label("b", Step::second).on(&["odd"]).build().unwrap()),
            Slot::new(integers().label("a", Step::first).build().unwrap()),
            Slot::new(
                integers().bounds(&[1.0, 1.5, 2.0, 2.5, 3.0, 1e18]).label("b", Step::second).build().unwrap(),
            ),
            Slot::new(durations().label("a", Step::first).build().unwrap()),
            Slot::new(histogram().build().unwrap()),
            Slot::new(histogram().keep(Step::kept).on(&["even"]).build().unwrap()),
            Slot::new(
                histogram()
                    .label("b", Step::second)
                    .label("a", Step::first)
                    .on(&["even", "odd"])
                    .build()
                    .unwrap(),
            ),
            Slot::new(
                ["a", "b", "c", "d"]
                    .iter()
                    .fold(histogram(), |h, key| h.label(key, Step::first))
                    .build()
                    .unwrap(),
            ),
        ];
        slots.into_iter().chain(slots_of_typed_labels()).map(Result::unwrap).collect()
    }

    /// Metrics that ask the same closure, one after the other, and some between them that ask another or not all events.
    fn slots_of_typed_labels() -> [Result<Slot<Step>, Error>; 12] {
        let counter = || Counter::<Step>::builder("c").labels::<Both>(Step::both);
        let gauge = || Gauge::<Step>::builder("g").labels::<Both>(Step::both);
        let histogram = || Histogram::<Step>::builder("h").bounds(&[4.0, 50.0]).labels::<Both>(Step::both);
        let shifted = |by: u64| {
            let select = move |step: &Step| Both { first: (step.number + by) % 3, second: 1 };
            Counter::<Step>::builder("shifted").labels::<Both>(select).build().unwrap()
        };
        [
            Slot::new(counter().build().unwrap()),
            Slot::new(counter().value(Step::large).build().unwrap()),
            Slot::new(counter().cardinality(4).build().unwrap()),
            Slot::new(gauge().value(Step::fraction).build().unwrap()),
            Slot::new(counter().keep(Step::kept).build().unwrap()),
            Slot::new(
                histogram()
                    .value(|step| step.large().map(|value| value >> (step.number % 64)))
                    .build()
                    .unwrap(),
            ),
            Slot::new(counter().on(&["odd"]).build().unwrap()),
            Slot::new(
                histogram().value(|step| Some(Duration::from_nanos(step.number % 11))).build().unwrap(),
            ),
            Slot::new(histogram().value(|step| Some(step.number)).build().unwrap()),
            // Of one type, and not of one answer.
            Slot::new(shifted(0)),
            Slot::new(shifted(1)),
            Slot::new(gauge().value(|step| Some(step.number)).build().unwrap()),
        ]
    }

    proptest! {
        /// Closures are run over a batch one after the other, so one may panic on a later event than another will.
        #[cfg(panic = "unwind")]
        #[test]
        fn a_panic_within_a_batch_leaves_what_one_by_one_would(
            events in proptest::collection::vec(step(), 0..300),
            chunks in proptest::collection::vec(1_usize..130, 1..10),
        ) {
            let mut slots: Vec<_> = slots().into_iter().zip(slots()).collect();
            let mut rest = events.as_slice();
            for &chunk in chunks.iter().cycle() {
                let (now, later) = rest.split_at(chunk.min(rest.len()));
                let (run, context) = (Run::of(now), Context::new(Timestamp::default(), 1));
                // One for all metrics, as a recorder has it.
                let mut scratch = Scratch::default();
                for (batched, single) in &mut slots {
                    batched.handle(&run, &mut scratch, &context);
                    (0..now.len()).for_each(|index| { single.handle(&run.only(index), &mut Scratch::default(), &context); });
                    prop_assert_eq!(batched.tally, single.tally);
                }
                rest = later;
                if rest.is_empty() {
                    break;
                }
            }
            for (batched, single) in slots {
                prop_assert_eq!(batched.tally.total(), events.len() as u64);
                prop_assert_eq!(batched.tally.panicked, u64::from(batched.quarantined));
                prop_assert_eq!((batched.quarantined, batched.changed_at), (single.quarantined, single.changed_at));
                prop_assert_eq!(batched.written_out(), single.written_out());
            }
        }
    }

    type Lie = fn(&mut Batch<'_, Step>);

    /// A metric that keeps no promise about its answers.
    struct Liar {
        descriptor: Arc<Descriptor>,
        lie: Lie,
    }

    impl Metric<Step> for Liar {
        fn descriptor(&self) -> &Arc<Descriptor> {
            &self.descriptor
        }

        fn handle_event(&mut self, _event: &Step, _context: &Context) -> Verdict {
            Verdict::Accepted
        }

        fn handle_batch(&mut self, batch: &mut Batch<'_, Step>, _context: &Context) {
            (self.lie)(batch);
        }

        fn snapshot(&self, _writer: &mut FamilyWriter<'_>) {}
    }

    #[cfg(panic = "unwind")]
    #[test]
    fn tallies_add_up_whatever_a_metric_answers() {
        let lies: [(Lie, [u64; 4]); 6] = [
            (|batch| batch.answer_many(3, Verdict::Accepted), [3, 7, 0, 0]),
            (|batch| batch.answer_many(usize::MAX, Verdict::Accepted), [10, 0, 0, 0]),
            (
                |batch| {
                    batch.answer_many(10, Verdict::Accepted);
                    std::panic::resume_unwind(Box::new("after all"));
                },
                [9, 0, 1, 0],
            ),
            (
                |batch| {
                    batch.answer_many(2, Verdict::Ignored);
                    std::panic::resume_unwind(Box::new("in hand"));
                },
                [0, 2, 1, 7],
            ),
            (|batch| *batch = Batch::new(&[]), [0, 10, 0, 0]),
            (
                |batch| {
                    const STEP: Step = Step { number: 0, variant: 0, fails: None };
                    static MANY: [Step; 99] = [STEP; 99];
                    *batch = Batch::new(&MANY);
                    batch.answer_many(99, Verdict::Accepted);
                },
                [10, 0, 0, 0],
            ),
        ];
        for route in [false, true] {
            for (lie, expected) in lies {
                let descriptor =
                    Descriptor::builder("liar", crate::model::snapshot::Kind::Counter).build().unwrap();
                let mut slot = Slot::new(Liar { descriptor, lie }).unwrap();
                slot.seldom =
                    route.then(|| Box::new(Seldom { route: Some([true, true].into()), ..Seldom::default() }));
                let events: Vec<Step> =
                    (0..10).map(|number| Step { number, variant: 1, fails: None }).collect();
                slot.handle(
                    &Run::of(&events),
                    &mut Scratch::default(),
                    &Context::new(Timestamp::default(), 1),
                );
                let tally = slot.tally;
                assert_eq!([tally.accepted, tally.ignored, tally.panicked, tally.quarantined], expected);
                assert_eq!(tally.total(), 10);
            }
        }
    }

    #[test]
    fn a_route_spares_a_metric_what_it_does_not_want() {
        let mut slot = Slot::new(Counter::<Step>::builder("odd").on(&["odd"]).build().unwrap()).unwrap();
        let events: Vec<Step> =
            (0..200).map(|n| Step { number: n, variant: (n % 3 == 0).into(), fails: None }).collect();
        slot.handle(&Run::of(&events), &mut Scratch::default(), &Context::new(Timestamp::default(), 1));
        assert_eq!((slot.tally.accepted, slot.tally.ignored), (67, 133));
        let count = slot.written_out().find(&[]).and_then(|series| series.value().counter());
        assert_eq!(count, Some(67));
    }
}
