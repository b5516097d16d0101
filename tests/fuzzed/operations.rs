//! F8: whatever is done to a runtime, in whatever order, its recorders show what a sequential model of it says, and no event is unaccounted for.

use crate::fuzzed::input::Input;
use crate::fuzzed::model;
use mvx_metrics::Accounts;
use mvx_metrics::Counter;
use mvx_metrics::Dropped;
use mvx_metrics::ErrorKind;
use mvx_metrics::Fold;
use mvx_metrics::Gauge;
use mvx_metrics::Histogram;
use mvx_metrics::MetricEvent;
use mvx_metrics::MetricSet;
use mvx_metrics::Operation;
use mvx_metrics::OverflowPolicy;
use mvx_metrics::OwnedRecorder;
use mvx_metrics::Recorder;
use mvx_metrics::RecorderState;
use mvx_metrics::RegisterError;
use mvx_metrics::Rejected;
use mvx_metrics::RemovedSeries;
use mvx_metrics::Snapshot;
use mvx_metrics::ValueRef;
use mvx_metrics::testing::SteppedRuntime;
use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Its number, and what tells how many there are.
#[derive(Debug)]
struct Step(u8, #[allow(dead_code, reason = "it is counted where it comes from")] Arc<()>);

impl MetricEvent for Step {
    fn event_type(&self) -> &'static str {
        "step"
    }
}

impl Step {
    /// Not of every number: some are no value.
    fn value(number: u8) -> f64 {
        if number % 7 == 0 { f64::NAN } else { f64::from(number) }
    }
}

const NAMES: [&str; 3] = ["counted", "spread", "last"];

const BOUNDS: [f64; 2] = [10.0, 100.0];

/// Series of the labelled metric, whose labels are four.
const SERIES: usize = 2;

fn metrics(which: usize) -> MetricSet<Step> {
    let set = MetricSet::new();
    match which {
        0 => set.metric(
            Counter::builder(NAMES[0])
                .label("rest", |Step(number, _): &Step| (u64::from(*number) % 4).into())
                .cardinality(SERIES as u32)
                .build()
                .expect("a counter"),
        ),
        1 => set.metric(
            Histogram::builder(NAMES[1])
                .bounds(&BOUNDS)
                .value(|Step(number, _): &Step| Some(Step::value(*number)))
                .build()
                .expect("a histogram"),
        ),
        _ => set.metric(
            Gauge::builder(NAMES[2])
                .value(|Step(number, _): &Step| Some(Step::value(*number)))
                .build()
                .expect("a gauge"),
        ),
    }
}

/// One life of a metric: the numbers of the events that it has seen.
#[derive(Clone, Default)]
struct Life(Vec<u8>);

/// A metric of one name: at work, or only shown.
#[derive(Clone, Default)]
struct Slot {
    live: Option<Life>,
    kept: Option<Life>,
}

/// A recorder, and what it must show.
struct Twin {
    recorder: OwnedRecorder<Step>,
    capacity: usize,
    evicts: bool,
    open: bool,
    accounts: Accounts,
    pending: VecDeque<u8>,
    slots: [Slot; NAMES.len()],
    flushes: Vec<Operation>,
    /// Cuts that readers keep, and how many events each counts.
    kept: Vec<(Snapshot, Option<u64>)>,
    version: u64,
}

struct World {
    runtime: SteppedRuntime,
    token: Arc<()>,
    twins: [Option<Twin>; 3],
    /// A handle of each recorder that is gone.
    gone: Vec<Recorder<Step>>,
    made: usize,
    /// How many events metrics of these names have accepted, in all their lives.
    totals: [u64; NAMES.len()],
}

pub fn check(data: &[u8]) {
    let mut input = Input::new(data);
    let mut world = World {
        runtime: SteppedRuntime::new(model::NAMESPACE).expect("a runtime"),
        token: Arc::new(()),
        twins: [const { None }; 3],
        gone: Vec::new(),
        made: 0,
        totals: [0; NAMES.len()],
    };
    for _ in 0..64 {
        if input.is_empty() {
            break;
        }
        let at = input.below(world.twins.len());
        match input.below(16) {
            _ if world.twins[at].is_none() => world.create(at, &mut input),
            0..=3 => world.offer(at, input.byte()),
            4 => world.offer_many(at, &mut input),
            5..=7 => world.settle(),
            8 => world.flush(at),
            9 => world.add(at, input.below(NAMES.len())),
            10 => world.replace(at, input.below(NAMES.len())),
            11 => {
                let series = input.pick(&[RemovedSeries::Kept, RemovedSeries::Dropped]);
                world.remove(at, input.below(NAMES.len()), series);
            }
            12 => world.stop(at),
            13 => world.start(at),
            14 => world.take_away(at),
            _ => world.look(at, &mut input),
        }
        world.balance();
    }
    world.end();
}

impl World {
    fn twin(&mut self, at: usize) -> &mut Twin {
        self.twins[at].as_mut().expect("one is there")
    }

    fn create(&mut self, at: usize, input: &mut Input<'_>) {
        let (capacity, evicts, with) = (1 + input.below(9), input.byte() & 1 == 1, input.byte());
        let policy = if evicts { OverflowPolicy::DropOldest } else { OverflowPolicy::DropNewest };
        let id = format!("r{}", self.made);
        self.made += 1;
        let mut builder = self.runtime.recorder::<Step>(&id).capacity(capacity as u32).overflow(policy);
        let mut slots: [Slot; NAMES.len()] = Default::default();
        for (which, slot) in slots.iter_mut().enumerate() {
            if with >> which & 1 == 1 {
                builder = builder.metrics(metrics(which));
                slot.live = Some(Life::default());
            }
        }
        self.twins[at] = Some(Twin {
            recorder: builder.create_owned().expect("a recorder"),
            capacity,
            evicts,
            open: true,
            accounts: Accounts::default(),
            pending: VecDeque::new(),
            slots,
            flushes: Vec::new(),
            kept: Vec::new(),
            version: 0,
        });
    }

    fn offer(&mut self, at: usize, number: u8) {
        let event = Step(number, Arc::clone(&self.token));
        let twin = self.twin(at);
        let due = twin.due(number);
        match twin.recorder.try_register_event(event) {
            Ok(()) => assert!(due),
            Err(RegisterError::Full(Step(back, _))) => assert!(!due && twin.open && back == number),
            Err(RegisterError::Closed(Step(back, _))) => assert!(!twin.open && back == number),
            Err(other) => panic!("{other:?}"),
        }
    }

    fn offer_many(&mut self, at: usize, input: &mut Input<'_>) {
        let numbers: Vec<u8> = (0..input.below(12)).map(|_| input.byte()).collect();
        let mut events: Vec<Step> = numbers.iter().map(|n| Step(*n, Arc::clone(&self.token))).collect();
        let twin = self.twin(at);
        let due = numbers.iter().filter(|number| twin.due(**number)).count();
        assert_eq!(twin.recorder.register_events(&mut events), due);
        let back: Vec<u8> = events.iter().map(|Step(number, _)| *number).collect();
        assert_eq!(back, numbers[due..]);
    }

    fn settle(&mut self) {
        self.runtime.clock().advance(Duration::from_millis(1));
        self.runtime.settle();
        for twin in self.twins.iter_mut().flatten() {
            twin.process(&mut self.totals);
            for flush in twin.flushes.drain(..) {
                assert_eq!(flush.result().expect("an answer").map_err(|error| error.kind()), Ok(()));
            }
            twin.compare();
        }
        assert_eq!(Arc::strong_count(&self.token), 1, "an event is still held");
    }

    fn flush(&mut self, at: usize) {
        let twin = self.twin(at);
        twin.flushes.push(twin.recorder.flush());
    }

    /// Obeys a change, which is made between two events: all before it are seen to here.
    fn change(&mut self, at: usize, ask: impl FnOnce(&Recorder<Step>) -> Operation) -> Result<(), ErrorKind> {
        self.settle();
        let operation = ask(&self.twin(at).recorder);
        self.runtime.settle();
        operation.result().expect("an answer").map_err(|error| error.kind())
    }

    fn add(&mut self, at: usize, which: usize) {
        assert_eq!(self.change(at, |recorder| recorder.register_metrics(metrics(which))), Ok(()));
        let slot = &mut self.twin(at).slots[which];
        if slot.live.is_none() {
            *slot = Slot { live: Some(Life::default()), kept: None };
        }
        self.twin(at).compare();
    }

    fn replace(&mut self, at: usize, which: usize) {
        let replaced = self.change(at, |recorder| match which {
            0 => recorder.replace_metric(
                Counter::builder(NAMES[0])
                    .label("rest", |Step(number, _): &Step| (u64::from(*number) % 4).into())
                    .cardinality(SERIES as u32)
                    .build()
                    .expect("a counter"),
            ),
            1 => recorder.replace_metric(
                Histogram::builder(NAMES[1])
                    .bounds(&BOUNDS)
                    .value(|Step(number, _): &Step| Some(Step::value(*number)))
                    .build()
                    .expect("a histogram"),
            ),
            _ => recorder.replace_metric(
                Gauge::builder(NAMES[2])
                    .value(|Step(number, _): &Step| Some(Step::value(*number)))
                    .build()
                    .expect("a gauge"),
            ),
        });
        let slot = &mut self.twin(at).slots[which];
        match &mut slot.live {
            Some(life) => {
                assert_eq!(replaced, Ok(()));
                *life = Life::default();
            }
            None => assert_eq!(replaced, Err(ErrorKind::NotFound)),
        }
        self.twin(at).compare();
    }

    fn remove(&mut self, at: usize, which: usize, series: RemovedSeries) {
        let removed = self.change(at, |recorder| recorder.remove_metric(NAMES[which], series));
        let slot = &mut self.twin(at).slots[which];
        let due = match (slot.live.take(), slot.kept.take(), series) {
            (None, None, _) => Err(ErrorKind::NotFound),
            (None, kept, RemovedSeries::Kept) => {
                slot.kept = kept;
                Err(ErrorKind::NotFound)
            }
            (live, _, RemovedSeries::Kept) => {
                slot.kept = live;
                Ok(())
            }
            _ => Ok(()),
        };
        assert_eq!(removed, due);
        self.twin(at).compare();
    }

    fn stop(&mut self, at: usize) {
        let stopped = self.change(at, Recorder::stop);
        assert_eq!(stopped, Ok(()));
        let twin = self.twin(at);
        // One that was never used has nothing to stop, and stays open.
        twin.open = twin.recorder.state() == RecorderState::Created;
        assert!(twin.open || twin.recorder.state() == RecorderState::Stopped, "{:?}", twin.recorder);
        assert!(!twin.open || twin.accounts == Accounts::default(), "{:?}", twin.recorder);
    }

    fn start(&mut self, at: usize) {
        assert_eq!(self.change(at, Recorder::start), Ok(()));
        let twin = self.twin(at);
        assert_eq!(twin.recorder.state(), RecorderState::Running);
        twin.open = true;
    }

    /// Closes a recorder and removes it; what it had accepted is processed first.
    fn take_away(&mut self, at: usize) {
        let mut twin = self.twins[at].take().expect("one is there");
        let handle = Recorder::clone(&twin.recorder);
        let closed = twin.recorder.begin_close();
        assert!(matches!(
            handle.try_register_event(Step(0, Arc::clone(&self.token))),
            Err(RegisterError::Closed(_))
        ));
        self.settle();
        let pending = twin.pending.len() as u64;
        let numbers: Vec<u8> = twin.pending.drain(..).collect();
        see(&numbers, &mut twin.slots, &mut self.totals);
        twin.accounts.processed += pending;
        twin.accounts.rejected.closed += 1;
        assert_eq!(handle.accounts(), twin.accounts);
        let told = closed.result().expect("an answer").expect("it is removed");
        assert_eq!((told.processed, told.pending()), (twin.accounts.processed, 0));
        shows(&handle.snapshot(), &twin.slots, &twin.accounts);
        twin.kept.iter().for_each(unchanged);
        self.gone.push(handle);
    }

    /// Reads, which changes nothing.
    fn look(&mut self, at: usize, input: &mut Input<'_>) {
        let all = input.byte() & 3 == 0;
        let twin = self.twin(at);
        let snapshot = twin.recorder.snapshot();
        assert!(snapshot.version() >= twin.version, "a version goes back");
        twin.version = snapshot.version();
        let counted = snapshot.total(NAMES[0]);
        twin.kept.push((snapshot, counted));
        if all {
            self.settle();
            self.exported();
        }
    }

    /// By group nothing is ever lost of what was counted, whatever has become of recorder and metric.
    fn exported(&self) {
        let collected = self.runtime.runtime().collect();
        let mut found = [0; NAMES.len()];
        for family in collected.families(Fold::Group) {
            let series = family.parts().iter().flat_map(|part| part.family().series());
            let name = family.descriptor().name().as_str();
            let Some(which) = NAMES.iter().position(|known| *known == name) else { continue };
            for series in series {
                found[which] += match series.value() {
                    ValueRef::Counter(count) => count,
                    ValueRef::Histogram(histogram) => histogram.count(),
                    _ => 0,
                };
            }
        }
        assert_eq!(found[..2], self.totals[..2], "{:?}", NAMES);
    }

    /// The law, at every moment, to the last event.
    fn balance(&self) {
        for twin in self.twins.iter().flatten() {
            assert_eq!(twin.recorder.accounts(), twin.accounts);
            assert_eq!(twin.accounts.pending(), twin.pending.len() as u64);
        }
        for gone in &self.gone {
            assert!(gone.accounts().is_settled(), "{gone:?}");
        }
    }

    fn end(mut self) {
        self.settle();
        self.exported();
        let (mut ids, mut accounts) = (Vec::new(), Accounts::default());
        for twin in self.twins.iter().flatten() {
            ids.push((twin.recorder.id().to_string(), twin.accounts));
            accounts = accounts.plus(twin.accounts);
        }
        // In the order of creation, which their places are not.
        ids.sort_by_key(|(id, _)| id[1..].parse::<usize>().expect("a number"));
        // What is offered last is processed, too.
        let last = self.twins.iter_mut().flatten().find(|twin| twin.open);
        let late =
            last.map(|twin| (twin.recorder.id().to_string(), twin.due(1), Recorder::clone(&twin.recorder)));
        if let Some((id, due, recorder)) = late {
            recorder.register_event(Step(1, Arc::clone(&self.token)));
            assert!(due);
            let (_, own) = ids.iter_mut().find(|(known, _)| *known == id).expect("it is there");
            (own.accepted, own.processed) = (own.accepted + 1, own.processed + 1);
            (accounts.accepted, accounts.processed) = (accounts.accepted + 1, accounts.processed + 1);
        }
        let report = self.runtime.shutdown();
        assert!(report.is_complete(), "{report:?}");
        let told: Vec<_> = report.recorders().iter().map(|one| (one.id.to_string(), one.accounts)).collect();
        assert_eq!(told, ids);
        assert_eq!(report.accounts(), accounts);
        for twin in self.twins.iter().flatten() {
            twin.kept.iter().for_each(unchanged);
            let late = twin.recorder.try_register_event(Step(1, Arc::clone(&self.token)));
            assert!(matches!(late, Err(RegisterError::Closed(_))), "{late:?}");
        }
        assert_eq!(Arc::strong_count(&self.token), 1, "an event is still held");
    }
}

impl Twin {
    /// Whether this event is taken, which is entered.
    fn due(&mut self, number: u8) -> bool {
        if !self.open {
            self.accounts.rejected.closed += 1;
            return false;
        }
        if self.pending.len() == self.capacity {
            if !self.evicts {
                self.accounts.rejected.full += 1;
                return false;
            }
            self.pending.pop_front();
            self.accounts.dropped.evicted += 1;
        }
        self.accounts.accepted += 1;
        self.pending.push_back(number);
        true
    }

    fn process(&mut self, totals: &mut [u64; NAMES.len()]) {
        let numbers: Vec<u8> = self.pending.drain(..).collect();
        self.accounts.processed += numbers.len() as u64;
        see(&numbers, &mut self.slots, totals);
    }

    fn compare(&self) {
        let snapshot = self.recorder.snapshot();
        assert!(snapshot.version() >= self.version, "a version goes back");
        shows(&snapshot, &self.slots, &self.accounts);
    }
}

/// These events are dispatched.
fn see(numbers: &[u8], slots: &mut [Slot; NAMES.len()], totals: &mut [u64; NAMES.len()]) {
    for (which, slot) in slots.iter_mut().enumerate() {
        if let Some(Life(seen)) = &mut slot.live {
            seen.extend(numbers);
            let taken = numbers.iter().filter(|number| which == 0 || Step::value(**number).is_finite());
            totals[which] += taken.count() as u64;
        }
    }
}

/// Whether a cut that was kept is as it was.
fn unchanged((snapshot, counted): &(Snapshot, Option<u64>)) {
    assert_eq!(snapshot.total(NAMES[0]), *counted, "a cut has changed");
}

/// Whether a settled recorder shows what it must.
fn shows(snapshot: &Snapshot, slots: &[Slot; NAMES.len()], accounts: &Accounts) {
    assert_eq!(snapshot.sequence(), accounts.processed);
    let lost = (Rejected::default(), Dropped::default());
    assert!((accounts.rejected, accounts.dropped) == lost || accounts.lost() > 0);
    for (which, slot) in slots.iter().enumerate() {
        let metric = snapshot.metric(NAMES[which]);
        let Some(Life(seen)) = slot.live.as_ref().or(slot.kept.as_ref()) else {
            assert!(metric.is_none(), "{} is gone", NAMES[which]);
            continue;
        };
        let metric = metric.unwrap_or_else(|| panic!("{} is not shown", NAMES[which]));
        assert_eq!(metric.is_removed(), slot.live.is_none());
        let values: Vec<f64> =
            seen.iter().map(|number| Step::value(*number)).filter(|v| v.is_finite()).collect();
        let taken = if which == 0 { seen.len() } else { values.len() };
        let tally = metric.tally();
        assert_eq!((tally.accepted, tally.refused), (taken as u64, (seen.len() - taken) as u64));
        assert_eq!(tally.total(), seen.len() as u64);
        match which {
            0 => {
                let mut series: BTreeMap<Option<u8>, u64> = BTreeMap::new();
                for number in seen {
                    let label = Some(number % 4);
                    let found = series.contains_key(&label) || series.keys().flatten().count() < SERIES;
                    *series.entry(label.filter(|_| found)).or_default() += 1;
                }
                let shown = metric.family().series().map(|series| {
                    let label = series.labels().iter().next().and_then(|(_, value)| value.parse().ok());
                    (label.filter(|_| !series.is_overflow()), series.value().counter().expect("a count"))
                });
                // The overflow series may be there before it is needed.
                assert_eq!(shown.filter(|(_, count)| *count > 0).collect::<BTreeMap<_, _>>(), series);
            }
            1 => {
                let within = |low: f64, high: f64| {
                    values.iter().filter(|value| **value > low && **value <= high).count() as u64
                };
                let due = [within(-1.0, BOUNDS[0]), within(BOUNDS[0], BOUNDS[1]), within(BOUNDS[1], 1e9)];
                match snapshot.histogram(NAMES[1], &[]) {
                    Some(histogram) => {
                        assert_eq!(histogram.buckets().collect::<Vec<_>>(), due);
                        assert_eq!(histogram.sum(), values.iter().sum::<f64>());
                    }
                    None => assert_eq!(due, [0; 3]),
                }
            }
            _ => assert_eq!(snapshot.gauge(NAMES[2], &[]), values.last().copied()),
        }
    }
}
