//! One builder for every instrument: which events, which labels, which value.

use crate::metric::Interests;
use crate::metric::batch::Piece;
use crate::metric::exemplify::Exemplify;
use crate::metric::label_fields::LabelFields;
use crate::metric::measure::Amount;
use crate::metric::measure::Measure;
use crate::metric::selector::Fields;
use crate::metric::selector::Keep;
use crate::metric::selector::Kept;
use crate::metric::selector::Read;
use crate::metric::selector::Select;
use crate::metric::selector::SelectFields;
use crate::metric::selector::Values;
use crate::metric::series::Selectors;
use crate::metric::series::Series;
use crate::model::error::Error;
use crate::model::error::ErrorKind;
use crate::model::heap;
use crate::model::label::Label;
use crate::model::snapshot::Column;
use crate::model::snapshot::Descriptor;
use crate::model::snapshot::DescriptorBuilder;
use crate::model::snapshot::Kind;
use crate::model::unit::Unit;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

/// Collects what an instrument `I` over events `E` is; no setter fails, `build()` tells the first mistake.
///
/// Closures infer their event where `E` is already known, as in the recorder's builder.
///
/// # Examples
///
/// ```
/// use mvx_metrics::{Context, Counter, Family, FamilyWriter, Label, Metric, Timestamp};
///
/// struct Saved { ok: bool, bytes: u64 }
///
/// let mut saved = Counter::<Saved>::builder("document.saved.bytes")
///     .help("Bytes of saved documents.")
///     .label("outcome", |e| Label::fixed(if e.ok { "success" } else { "failure" }))
///     .value(|e| Some(e.bytes))
///     .build()?;
/// let context = Context::new(Timestamp::from_unix_nanos(1), 1);
/// let _ = saved.handle_event(&Saved { ok: true, bytes: 512 }, &context);
///
/// let mut family = Family::new(saved.descriptor().clone());
/// saved.snapshot(&mut FamilyWriter::whole(&mut family));
/// let series = family.find(&[("outcome", "success")]).unwrap();
/// assert_eq!(series.value().counter(), Some(512));
/// # Ok::<(), mvx_metrics::Error>(())
/// ```
#[must_use]
pub struct InstrumentBuilder<E, I> {
    pub(super) descriptor: DescriptorBuilder,
    labels: Vec<(String, Box<dyn Select<E>>)>,
    /// Labels of an info that no event tells.
    pub(super) constants: Vec<(Box<str>, Box<str>)>,
    /// All labels of a typed set, with its keys.
    fields: Option<TypedSet<E>>,
    /// Whether an event has these labels, if some have not.
    present: Option<Box<dyn Keep<E>>>,
    /// The first unit that is none.
    mistake: Option<Error>,
    /// Whether a second set was given.
    two_sets: bool,
    value: Option<Box<dyn Read<E>>>,
    fractional: bool,
    keep: Option<Box<dyn Keep<E>>>,
    interests: Interests,
    expiry: Option<Duration>,
    pub(super) exemplify: Option<Box<dyn Exemplify<E>>>,
    instrument: PhantomData<fn() -> I>,
}

type TypedSet<E> = (Box<dyn SelectFields<E>>, &'static [&'static str]);

/// What every instrument knows beside its series.
pub(super) struct Intake<E> {
    pub(super) descriptor: Arc<Descriptor>,
    pub(super) interests: Interests,
    keep: Option<Box<dyn Keep<E>>>,
    value: Option<Box<dyn Read<E>>>,
}

/// An intake, and how events name their series.
pub(super) struct Parts<E> {
    pub(super) intake: Intake<E>,
    pub(super) selectors: Selectors<E>,
    expiry: Option<Duration>,
    exemplify: Option<Box<dyn Exemplify<E>>>,
}

impl<E: 'static, I> InstrumentBuilder<E, I> {
    pub(super) fn new(name: &str, kind: Kind) -> Self {
        Self {
            descriptor: Descriptor::builder(name, kind),
            labels: Vec::new(),
            constants: Vec::new(),
            fields: None,
            present: None,
            mistake: None,
            two_sets: false,
            value: None,
            fractional: false,
            keep: None,
            interests: Interests::All,
            expiry: None,
            exemplify: None,
            instrument: PhantomData,
        }
    }

    /// One label more: its key, and how an event names its value.
    pub fn label<F>(mut self, key: &str, select: F) -> Self
    where
        F: for<'a> Fn(&'a E) -> Label<'a> + Send + 'static,
    {
        self.descriptor = self.descriptor.label(key);
        self.labels.push((key.to_owned(), Box::new(select)));
        self
    }

    /// All labels, as the fields of one type: `#[derive(Labels)]` on a struct, and a closure that makes it from an event.
    ///
    /// Name the type, as in `.labels::<SaveLabels>(|e| SaveLabels { .. })`: without it the compiler cannot infer the closure. With
    /// `.labels::<Option<SaveLabels>>(..)`, events for which the closure answers `None` are ignored; it is called twice then.
    ///
    /// Metrics of one recorder that are given the same function share its answers, if the sets are found by an index: one that captures nothing is
    /// called once for an event and not for each metric, so it costs less to have one function for all of them.
    ///
    /// `build()` refuses a second set, and closures for single labels beside a set.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(feature = "derive")] {
    /// use mvx_metrics::{Context, Counter, Family, FamilyWriter, LabelValue, Labels, Metric, Timestamp};
    ///
    /// #[derive(Clone, Copy, LabelValue)]
    /// enum Outcome { Success, Failure }
    ///
    /// #[derive(Labels)]
    /// struct SaveLabels<'e> { outcome: Outcome, backend: &'e str }
    ///
    /// struct Saved { outcome: Outcome, backend: String }
    ///
    /// let mut saves = Counter::<Saved>::builder("document.saves")
    ///     .labels::<SaveLabels>(|e| SaveLabels { outcome: e.outcome, backend: &e.backend })
    ///     .build()?;
    /// let saved = Saved { outcome: Outcome::Success, backend: "s3".into() };
    /// let _ = saves.handle_event(&saved, &Context::new(Timestamp::default(), 1));
    ///
    /// let mut family = Family::new(saves.descriptor().clone());
    /// saves.snapshot(&mut FamilyWriter::whole(&mut family));
    /// let series = family.find(&[("backend", "s3"), ("outcome", "success")]);
    /// assert_eq!(series.and_then(|series| series.value().counter()), Some(1));
    /// # let _ = Outcome::Failure;
    /// # }
    /// # Ok::<(), mvx_metrics::Error>(())
    /// ```
    pub fn labels<L: LabelFields + 'static>(
        mut self,
        select: impl for<'a> Fn(&'a E) -> L::At<'a> + Send + Sync + 'static,
    ) -> Self {
        for key in L::KEYS {
            self.descriptor = self.descriptor.label(key);
        }
        self.two_sets |= self.fields.is_some();
        let select = Arc::new(select);
        if L::OPTIONAL {
            let select = Arc::clone(&select);
            self.present = Some(Box::new(move |event: &E| select(event).is_present()));
        }
        self.fields = Some((Box::new(Fields::<L, _> { select, fields: PhantomData }), L::KEYS));
        self
    }

    /// How an event tells its value; an event that answers `None` is ignored.
    pub fn value<V, F>(mut self, read: F) -> Self
    where
        V: Measure,
        F: Fn(&E) -> Option<V> + Send + 'static,
    {
        self.fractional = V::FRACTIONAL;
        self.value = Some(Box::new(move |event: &E| read(event).map(V::measured)));
        self
    }

    /// Ignores every event for which `keep` answers `false`.
    pub fn keep<F>(mut self, keep: F) -> Self
    where
        F: Fn(&E) -> bool + Send + 'static,
    {
        self.keep = Some(Box::new(keep));
        self
    }

    /// Sees events of these types only; the others cost this instrument nothing.
    pub fn on(mut self, event_types: &[&'static str]) -> Self {
        self.interests = Interests::Only(event_types.to_vec());
        self
    }

    /// What the numbers measure. It describes and does not convert; durations are seconds.
    pub fn unit(mut self, unit: Unit) -> Self {
        self.descriptor = self.descriptor.unit(unit);
        self
    }

    /// The same by its UCUM code, such as `s`, `By` or `{request}`; `build()` tells if it is none.
    pub fn ucum(mut self, code: &str) -> Self {
        match Unit::custom(code) {
            Ok(unit) => self.unit(unit),
            Err(error) => {
                self.mistake.get_or_insert(error);
                self
            }
        }
    }

    /// One sentence for people.
    pub fn help(mut self, help: &str) -> Self {
        self.descriptor = self.descriptor.help(help);
        self
    }

    /// How many series there can be; further label sets share one overflow series, and totals stay right.
    pub fn cardinality(mut self, limit: u32) -> Self {
        self.descriptor = self.descriptor.cardinality(limit);
        self
    }

    /// Ends a labelled series that was not observed for this long, so that others have its room. Without it, series stay.
    ///
    /// What an ended series counted stays in the totals of the recorder's [group](crate::RecorderBuilder::group), as it does when a recorder is removed, so these
    /// never go back; a level, such as a gauge, ends with it. If its labels come again they are a series anew, with a start of its own, from 0: no reader
    /// takes that for a wrap. The overflow series does not end.
    ///
    /// It is looked for when the recorder publishes, at most [`EXPIRY_LOOKS`](crate::limits::EXPIRY_LOOKS) times in this time, by the times of events; a
    /// recorder without events keeps what it has. While a series is looked after, each costs eight bytes more.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(feature = "testing")] {
    /// use mvx_metrics::{MetricEvent, testing::SteppedRuntime};
    /// use std::time::Duration;
    ///
    /// struct Seen(u32);
    /// impl MetricEvent for Seen { fn event_type(&self) -> &'static str { "seen" } }
    ///
    /// let mut runtime = SteppedRuntime::new("docs")?;
    /// let recorder = runtime
    ///     .recorder::<Seen>("door")
    ///     .counter("visits", |c| c.label("user", |e| e.0.into()).expire_after(Duration::from_secs(60)))
    ///     .create()?;
    /// recorder.register_event(Seen(1));
    /// runtime.settle();
    /// runtime.clock().advance(Duration::from_secs(90));
    /// recorder.register_event(Seen(2));
    /// runtime.settle();
    /// let snapshot = recorder.snapshot();
    /// assert_eq!(snapshot.counter("visits", &[("user", "1")]), None);
    /// assert_eq!(snapshot.counter("visits", &[("user", "2")]), Some(1));
    /// # }
    /// # Ok::<(), mvx_metrics::Error>(())
    /// ```
    pub fn expire_after(mut self, idle: Duration) -> Self {
        self.expiry = Some(idle);
        self
    }

    pub(super) fn is_fractional(&self) -> bool {
        self.fractional
    }

    pub(super) fn has_value(&self) -> bool {
        self.value.is_some()
    }

    /// The keys of the labels that events tell, in their order.
    pub(super) fn told_keys(&self) -> Box<[Box<str>]> {
        let of_set = self.fields.iter().flat_map(|(_, keys)| keys.iter().copied());
        let each = self.labels.iter().map(|(key, _)| key.as_str());
        let mut keys: Vec<Box<str>> = of_set.chain(each).map(Box::from).collect();
        keys.sort();
        keys.into()
    }

    /// Fails unless [`value`](Self::value) was called.
    pub(super) fn need_value(&self, what: &str) -> Result<(), Error> {
        if self.value.is_some() {
            return Ok(());
        }
        let message =
            format!("{what} has no value to take: call `.value(|event| ..)`, or count events with a counter");
        Err(Error::new(ErrorKind::InvalidState, message))
    }

    pub(super) fn into_parts(mut self) -> Result<Parts<E>, Error> {
        if let Some(mistake) = self.mistake {
            return Err(mistake);
        }
        if self.two_sets || (self.fields.is_some() && !self.labels.is_empty()) {
            let message =
                "labels are given twice: put all of them into the one struct given to `.labels::<..>(..)`";
            return Err(Error::new(ErrorKind::InvalidState, message));
        }
        if self.expiry == Some(Duration::ZERO) {
            let message = "series that expire after no time at all would never be shown; give a longer one, or leave it out";
            return Err(Error::new(ErrorKind::InvalidLimit, message));
        }
        let descriptor = self.descriptor.build()?;
        let keep: Option<Box<dyn Keep<E>>> = match (self.keep, self.present) {
            (Some(keep), Some(present)) => Some(Box::new(move |e: &E| keep.one(e) && present.one(e))),
            (keep, present) => keep.or(present),
        };
        let selectors = match self.fields {
            Some((select, keys)) if !keys.is_empty() => {
                let mut order: Vec<usize> = (0..keys.len()).collect();
                order.sort_by_key(|position| keys.get(*position));
                Selectors::Fields(select, order.into())
            }
            _ => {
                self.labels.sort_by(|(left, _), (right, _)| left.cmp(right));
                Selectors::Each(self.labels.into_iter().map(|(_, select)| select).collect())
            }
        };
        let intake = Intake { descriptor, interests: self.interests, keep, value: self.value };
        Ok(Parts { intake, selectors, expiry: self.expiry, exemplify: self.exemplify })
    }
}

impl<E> Parts<E> {
    pub(super) fn into_series<C: Column>(self) -> (Intake<E>, Series<E, C>) {
        let descriptor = Arc::clone(&self.intake.descriptor);
        let series = Series::new(descriptor, self.selectors, self.expiry, self.exemplify);
        (self.intake, series)
    }
}

impl<E> Intake<E> {
    /// What it takes on the heap, without its descriptor.
    pub(super) fn heap_bytes(&self) -> usize {
        let wanted = match &self.interests {
            Interests::Only(wanted) => heap::vec(wanted),
            Interests::All => 0,
        };
        let keep = self.keep.as_ref().map_or(0, |keep| size_of_val(&**keep));
        wanted + keep + self.value.as_ref().map_or(0, |value| size_of_val(&**value))
    }

    /// What an event brings, or nothing if it is to be ignored; `otherwise` where no value selector was given.
    #[inline]
    pub(super) fn take(&self, event: &E, otherwise: Amount) -> Option<Amount> {
        if let Some(keep) = &self.keep {
            if !keep.one(event) {
                return None;
            }
        }
        match &self.value {
            Some(read) => read.one(event),
            None => Some(otherwise),
        }
    }

    /// Whether events bring values of their own.
    pub(super) fn has_values(&self) -> bool {
        self.value.is_some()
    }

    /// Leaves out of a piece what the filter does not keep.
    #[inline]
    pub(super) fn keep(&self, piece: &mut Piece<'_, E>) {
        if let Some(keep) = &self.keep {
            let (mut kept, events) = (Kept::default(), piece.events(0));
            piece.attempt(&mut kept, |kept| kept.at, |kept| keep.kept(events, kept));
            piece.ignore_all_but(kept.kept);
        }
    }

    /// Collects the values of what is left of a piece, and leaves out what has none.
    #[inline]
    pub(super) fn read(&self, piece: &mut Piece<'_, E>, values: &mut Values) {
        values.clear();
        if let Some(read) = &self.value {
            let events = piece.events(0);
            piece.attempt(values, |values| values.at, |values| read.values(events, values));
            piece.ignore(values.missing);
        }
    }
}

impl<E> fmt::Debug for Intake<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Intake").field(&self.descriptor.name()).finish()
    }
}

impl<E, I> fmt::Debug for InstrumentBuilder<E, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InstrumentBuilder").field("descriptor", &self.descriptor).finish_non_exhaustive()
    }
}
