//! Metrics whose names are known only at run time.
//!
//! A set is a recorder whose event says which metric it is for. A name's first use makes the metric, from the caller's thread and without
//! waiting: it is declared in the catalogue, posted to the actor, and only then found by others. Its first event comes behind it, because
//! the actor of such a recorder looks for metrics that wait before each run of events.

pub(crate) mod event;
pub(crate) mod metric;
pub(crate) mod timed;

use crate::metric::Counter;
use crate::metric::Measure;
use crate::metric::Measured;
use crate::model::clock::Clock;
use crate::model::clock::Timestamp;
use crate::model::error::Error;
use crate::model::error::ErrorKind;
use crate::model::limits;
use crate::model::snapshot::Descriptor;
use crate::queue::published::Published;
use crate::queue::published::Shared;
use crate::recorder::builder::RecorderBuilder;
use crate::recorder::dynamic::event::DynamicEvent;
use crate::recorder::dynamic::event::DynamicKind;
use crate::recorder::dynamic::event::REFUSED;
use crate::recorder::dynamic::event::Reason;
use crate::recorder::dynamic::event::Tags;
use crate::recorder::dynamic::event::Value;
use crate::recorder::dynamic::metric::DynamicMetric;
use crate::recorder::dynamic::timed::Timed;
use crate::recorder::handle::Recorder;
use crate::recorder::handle::RegisterError;
use crate::sync::Mutex;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Records by name and tags, for code that knows names only at run time: plugins, scripts, configuration.
///
/// Everything else is that of a [recorder](Recorder): the hand-off that never waits, accounts, consistent snapshots, groups, exporters. Where
/// names are known when the program is written, events cost less and the compiler finds mistakes.
///
/// - A name's first use makes the metric: its kind is that of the call, its tags are those of the call. Later uses as another kind are refused.
/// - A tag that a later call leaves out is absent: that is a series of its own, and no value is ever filled in. A tag that the
///   metric does not have is refused. [`declare`](Self::declare) a metric if its first use may not name all of its tags.
/// - What is refused is counted in the metric `mvx.dynamic.refused` by `reason`, which is `name`, `kind`, `tags`, `limit` or `conflict` (with
///   a metric of another recorder); `try_counter` and its like say more.
/// - Names beyond the limit of the set are refused: [`DEFAULT_DYNAMIC_NAMES`](crate::limits::DEFAULT_DYNAMIC_NAMES) unless its builder says otherwise.
///
/// A call costs a look at a map, and two allocations if it has tags; the first of a name copies the map. The worker shows each
/// event to every metric of the set, so its time rises with the number of names. `Clone` gives another handle to the same set.
///
/// # Examples
///
/// ```
/// use mvx_metrics::prelude::*;
/// use std::time::Duration;
///
/// # fn main() -> Result<(), mvx_metrics::Error> {
/// let runtime = MetricsRuntime::builder("docs").build()?;
/// runtime.start()?;
/// let set = runtime.dynamic_set("plugins").create()?;
/// set.counter("plugin.calls", 1, &[("plugin", "a")]);
/// set.counter("plugin.calls", 2, &[]); // a series of its own
/// set.gauge("plugin.queue", 7, &[]);
/// set.histogram("plugin.bytes", 512, &[]);
/// set.gauge("plugin.calls", 1, &[]); // refused: it is a counter
/// let error = set.try_gauge("plugin.calls", 1, &[]).unwrap_err();
/// assert!(error.to_string().contains("is a counter"));
///
/// let snapshot = set.recorder().flush_and_snapshot(Duration::from_secs(5))?;
/// assert_eq!(snapshot.counter("plugin.calls", &[("plugin", "a")]), Some(1));
/// assert_eq!(snapshot.counter("plugin.calls", &[]), Some(2));
/// assert_eq!(snapshot.gauge("plugin.queue", &[]), Some(7.0));
/// assert_eq!(snapshot.counter("mvx.dynamic.refused", &[("reason", "kind")]), Some(2));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct DynamicSet(Arc<Inner>);

struct Inner {
    recorder: Recorder<DynamicEvent>,
    /// The names that events can be stated under; read without a lock.
    ready: Published<Names>,
    /// Every name that was asked for, those that are not ready yet included.
    asked: Mutex<Names>,
    limit: usize,
    clock: Arc<dyn Clock>,
}

type Names = HashMap<Box<str>, Arc<Entry>>;

/// What is known of a name.
pub(crate) struct Entry {
    id: u32,
    definition: DynamicMetric,
    descriptor: Arc<Descriptor>,
    /// Why nothing can be stated under it.
    refused: Option<Error>,
}

/// The name of the metric of refused calls.
const REFUSALS: &str = "mvx.dynamic.refused";

/// Collects what a [`DynamicSet`] is; [`create`](Self::create) enters its recorder in the runtime.
///
/// # Examples
///
/// ```
/// use mvx_metrics::{ErrorKind, prelude::*};
///
/// # fn main() -> Result<(), mvx_metrics::Error> {
/// let runtime = MetricsRuntime::builder("docs").build()?;
/// let set = runtime.dynamic_set("plugins").max_names(1).recorder(|r| r.capacity(64).group("plugins")).create()?;
/// set.counter("first", 1, &[]);
/// assert_eq!(set.try_counter("second", 1, &[]).unwrap_err().kind(), ErrorKind::LimitReached);
/// assert_eq!(set.recorder().capacity(), 64);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a builder does nothing until `create`"]
pub struct DynamicSetBuilder {
    recorder: RecorderBuilder<DynamicEvent>,
    names: usize,
}

impl DynamicSetBuilder {
    pub(crate) fn new(recorder: RecorderBuilder<DynamicEvent>) -> Self {
        Self { recorder, names: limits::DEFAULT_DYNAMIC_NAMES }
    }

    /// How many names there can be, from 1 to [`MAX_DYNAMIC_NAMES`](crate::limits::MAX_DYNAMIC_NAMES).
    pub fn max_names(mut self, names: usize) -> Self {
        self.names = names;
        self
    }

    /// Settings of the set's recorder: capacity, policy, group, constant labels, hooks.
    pub fn recorder(
        mut self,
        set: impl FnOnce(RecorderBuilder<DynamicEvent>) -> RecorderBuilder<DynamicEvent>,
    ) -> Self {
        self.recorder = set(self.recorder);
        self
    }

    /// The set, whose recorder lives until it is removed from its runtime.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidLimit`] for a number of names out of range; otherwise as [`RecorderBuilder::create`].
    pub fn create(self) -> Result<DynamicSet, Error> {
        if !(1..=limits::MAX_DYNAMIC_NAMES).contains(&self.names) {
            let message = format!(
                "{} names of a dynamic set are out of range; give a number from 1 to {}",
                self.names,
                limits::MAX_DYNAMIC_NAMES
            );
            return Err(Error::new(ErrorKind::InvalidLimit, message));
        }
        let refusals = Counter::builder(REFUSALS)
            .help("Calls that a dynamic set has refused, by what was wrong with them.")
            .label("reason", |event: &DynamicEvent| event.reason())
            .on(&[REFUSED])
            .build()?;
        let recorder = self.recorder.metric(refusals).create()?;
        let clock = recorder.clock();
        Ok(DynamicSet(Arc::new(Inner {
            recorder,
            ready: Published::new(Shared::new(Names::new())),
            asked: Mutex::new(Names::new()),
            limit: self.names,
            clock,
        })))
    }
}

impl DynamicSet {
    /// Adds to a counter.
    pub fn counter(&self, name: &str, by: u64, tags: &[(&str, &str)]) {
        // Counted where it was refused.
        let _ = self.try_counter(name, by, tags);
    }

    /// Sets a gauge; a value that is not finite is refused by the metric, and counted in its tally.
    pub fn gauge(&self, name: &str, value: impl Measure, tags: &[(&str, &str)]) {
        let _ = self.try_gauge(name, value, tags);
    }

    /// Adds an observation to a histogram; a value that is not finite is refused by the metric, and counted in its tally.
    pub fn histogram(&self, name: &str, value: impl Measure, tags: &[(&str, &str)]) {
        let _ = self.try_histogram(name, value, tags);
    }

    /// Measures the time until the guard is dropped, and records it in a timer. A guard whose metric was refused records nothing.
    pub fn timed(&self, name: &str, tags: &[(&str, &str)]) -> Timed {
        self.try_timed(name, tags).unwrap_or_else(|_| Timed::refused())
    }

    /// Adds to a counter, or says why not.
    ///
    /// # Errors
    ///
    /// All of them are counted. [`ErrorKind::InvalidName`] for a name or key that no metric or label can have, or one that begins with
    /// `mvx.`; [`ErrorKind::MetricConflict`] if the name is another kind of metric, here or in another recorder, or has not one of these tags;
    /// [`ErrorKind::LimitReached`] if it is one name too many, or the recorder is full (as in its accounts);
    /// [`ErrorKind::InvalidState`] if the recorder takes no events.
    pub fn try_counter(&self, name: &str, by: u64, tags: &[(&str, &str)]) -> Result<(), Error> {
        self.state(name, DynamicKind::Counter, Value::Count(by), tags)
    }

    /// Sets a gauge, or says why not.
    ///
    /// # Errors
    ///
    /// As [`try_counter`](Self::try_counter).
    pub fn try_gauge(&self, name: &str, value: impl Measure, tags: &[(&str, &str)]) -> Result<(), Error> {
        self.state(name, DynamicKind::Gauge, Value::Measured(value.measured()), tags)
    }

    /// Adds an observation to a histogram, or says why not.
    ///
    /// # Errors
    ///
    /// As [`try_counter`](Self::try_counter).
    pub fn try_histogram(&self, name: &str, value: impl Measure, tags: &[(&str, &str)]) -> Result<(), Error> {
        self.state(name, DynamicKind::Histogram, Value::Measured(value.measured()), tags)
    }

    /// Begins to measure a time, or says why not.
    ///
    /// # Errors
    ///
    /// As [`try_counter`](Self::try_counter).
    pub fn try_timed(&self, name: &str, tags: &[(&str, &str)]) -> Result<Timed, Error> {
        let (entry, tags) = self.find(name, DynamicKind::Timer, tags)?;
        Ok(Timed::begin(self, entry, tags))
    }

    /// Makes a metric before its first use, with tags, unit, help, bounds and limit of one's own. Declaring it again with the same shape
    /// changes nothing.
    ///
    /// # Errors
    ///
    /// As [`try_counter`](Self::try_counter), and [`ErrorKind::InvalidLimit`] for bounds or a cardinality that the kind cannot have.
    pub fn declare(&self, metric: DynamicMetric) -> Result<(), Error> {
        let instrument = metric.build(0).map_err(|error| self.refuse(reason_of(&error), error))?;
        let known = self.0.asked.lock().get(metric.name.as_str()).map(Arc::clone);
        if let Some(known) = known {
            let differences = known.descriptor.differences(instrument.descriptor());
            let kinds = (known.definition.kind != metric.kind)
                .then(|| format!("a {} against a {}", known.definition.kind, metric.kind));
            if let Some(differences) = differences.or(kinds) {
                let message = format!(
                    "metric {} of this set differs: {differences}; declare it before its first use, or give it another name",
                    metric.name
                );
                return Err(self.refuse(Reason::Kind, Error::new(ErrorKind::MetricConflict, message)));
            }
        }
        let ready = self.0.ready.load().get(metric.name.as_str()).map(Arc::clone);
        let entry = ready.map_or_else(|| self.prepare(metric), Ok)?;
        entry.refused.clone().map_or(Ok(()), |error| Err(self.refuse(Reason::Conflict, error)))
    }

    /// How many names there are, those that were refused by other recorders' metrics included.
    pub fn names(&self) -> usize {
        self.0.asked.lock().len()
    }

    /// The set's recorder: for snapshots, flushes, accounts and the rest.
    pub fn recorder(&self) -> &Recorder<DynamicEvent> {
        &self.0.recorder
    }

    fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    fn time(&self, entry: &Entry, elapsed: Duration, tags: Tags) {
        let value = Value::Measured(Measured::Duration(elapsed));
        self.0.recorder.register_event(DynamicEvent::stated(entry.id, DynamicKind::Timer, value, tags));
    }

    fn state(&self, name: &str, kind: DynamicKind, value: Value, tags: &[(&str, &str)]) -> Result<(), Error> {
        let (entry, tags) = self.find(name, kind, tags)?;
        let event = DynamicEvent::stated(entry.id, kind, value, tags);
        self.0.recorder.try_register_event(event).map_err(|refused| not_taken(&refused))
    }

    /// The metric of this name and its tags' values, if it takes them.
    fn find(
        &self,
        name: &str,
        kind: DynamicKind,
        tags: &[(&str, &str)],
    ) -> Result<(Arc<Entry>, Tags), Error> {
        let known = self.0.ready.load().get(name).map(Arc::clone);
        let entry = match known {
            Some(entry) => entry,
            None => self.prepare(of_first_use(name, kind, tags))?,
        };
        if entry.definition.kind != kind {
            let is = entry.definition.kind;
            let message = format!("metric {name} of this set is a {is} and no {kind}; give them two names");
            return Err(self.refuse(Reason::Kind, Error::new(ErrorKind::MetricConflict, message)));
        }
        if let Some(error) = &entry.refused {
            return Err(self.refuse(Reason::Conflict, error.clone()));
        }
        let keys = entry.descriptor.label_keys();
        let place = |key: &str| keys.iter().position(|known| known.as_str() == key);
        match Tags::new(tags, keys.len(), place) {
            Ok(tags) => Ok((entry, tags)),
            Err(key) => {
                let message = format!(
                    "metric {name} of this set has no tag `{key}`, or it is given twice: it has {keys:?}; declare the metric with every tag first"
                );
                Err(self.refuse(Reason::Tags, Error::new(ErrorKind::MetricConflict, message)))
            }
        }
    }

    /// Makes a metric ready, unless somebody has done so meanwhile.
    #[cold]
    fn prepare(&self, definition: DynamicMetric) -> Result<Arc<Entry>, Error> {
        let entry = self.ask(definition)?;
        let instrument =
            entry.definition.build(entry.id).map_err(|error| self.refuse(Reason::Name, error))?;
        // No lock is held: it may wake somebody, and tell handlers. Who comes to it at the same time registers the same metric, which
        // stays the first's; both do so before they state events.
        let refused = match instrument.register(&self.0.recorder).result() {
            Some(Err(error)) if error.kind() == ErrorKind::MetricConflict => Some(error),
            Some(Err(error)) => return Err(self.refuse(Reason::Limit, error)),
            Some(Ok(())) | None => None,
        };
        let entry = match refused {
            Some(_) => Arc::new(Entry {
                refused,
                definition: entry.definition.clone(),
                descriptor: Arc::clone(&entry.descriptor),
                ..*entry
            }),
            None => entry,
        };
        self.make_ready(&entry);
        Ok(entry)
    }

    fn make_ready(&self, entry: &Arc<Entry>) {
        let mut asked = self.0.asked.lock();
        asked.insert(entry.name().into(), Arc::clone(entry));
        let mut ready = Names::clone(&self.0.ready.load());
        ready.insert(entry.name().into(), Arc::clone(entry));
        let before = self.0.ready.replace(Shared::new(ready));
        drop(asked);
        drop(before);
    }

    /// The entry of a name; the first to ask for it decides what it is.
    fn ask(&self, definition: DynamicMetric) -> Result<Arc<Entry>, Error> {
        let name = definition.name.as_str();
        if name.starts_with("mvx.") {
            let message =
                format!("names that begin as {name} does are the runtime's own; begin it otherwise");
            return Err(self.refuse(Reason::Name, Error::new(ErrorKind::InvalidName, message)));
        }
        let instrument = definition.build(0).map_err(|error| self.refuse(reason_of(&error), error))?;
        let mut asked = self.0.asked.lock();
        if let Some(known) = asked.get(name) {
            return Ok(Arc::clone(known));
        }
        let id = asked.len() as u32 + 1;
        if asked.len() >= self.0.limit {
            drop(asked);
            let limit = self.0.limit;
            let message = format!(
                "metric {name} is one name too many: the set has {limit}; tell things apart by a tag"
            );
            return Err(self.refuse(Reason::Limit, Error::new(ErrorKind::LimitReached, message)));
        }
        let name = name.into();
        let descriptor = Arc::clone(instrument.descriptor());
        let entry = Arc::new(Entry { id, definition, descriptor, refused: None });
        asked.insert(name, Arc::clone(&entry));
        Ok(entry)
    }

    /// Counts a refusal.
    #[cold]
    fn refuse(&self, reason: Reason, error: Error) -> Error {
        self.0.recorder.register_event(DynamicEvent::refused(reason));
        error
    }
}

impl Entry {
    pub(super) fn name(&self) -> &str {
        self.descriptor.name().as_str()
    }
}

fn of_first_use(name: &str, kind: DynamicKind, tags: &[(&str, &str)]) -> DynamicMetric {
    tags.iter().fold(DynamicMetric::new(name, kind), |metric, (key, _)| metric.tag(key))
}

fn reason_of(error: &Error) -> Reason {
    if error.kind() == ErrorKind::InvalidName { Reason::Name } else { Reason::Limit }
}

fn not_taken(refused: &RegisterError<DynamicEvent>) -> Error {
    let kind = match refused {
        RegisterError::Full(_) => ErrorKind::LimitReached,
        RegisterError::Forked(_) => ErrorKind::Forked,
        _ => ErrorKind::InvalidState,
    };
    Error::new(kind, format!("{refused}; it is in the accounts"))
}

impl fmt::Debug for DynamicSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynamicSet")
            .field("recorder", &self.0.recorder)
            .field("names", &self.names())
            .finish()
    }
}
