//! What a metric is, as against how much it shows.

use crate::model::error::Error;
use crate::model::error::ErrorKind;
use crate::model::heap;
use crate::model::label::MAX_LABEL_VALUE_BYTES;
use crate::model::limits::DEFAULT_CARDINALITY;
use crate::model::limits::DEFAULT_RATE_SLOTS;
use crate::model::limits::DEFAULT_SUMMARY_SLOTS;
use crate::model::limits::DEFAULT_WINDOW;
use crate::model::limits::MAX_BOUNDS;
use crate::model::limits::MAX_CARDINALITY;
use crate::model::limits::MAX_EXPONENTIAL_BUCKETS;
use crate::model::limits::MAX_LABELS;
use crate::model::limits::MAX_QUANTILES;
use crate::model::limits::MAX_STATES;
use crate::model::limits::MAX_SUMMARY_DIGITS;
use crate::model::limits::MAX_WINDOW;
use crate::model::limits::MAX_WINDOW_SLOTS;
use crate::model::limits::MIN_EXPONENTIAL_BUCKETS;
use crate::model::limits::MIN_WINDOW_SLOT;
use crate::model::name::LabelKey;
use crate::model::name::MetricName;
use crate::model::snapshot::ExactSum;
use crate::model::snapshot::digest::Counting;
use crate::model::snapshot::digest::SummaryShape;
use crate::model::snapshot::exponential::ExponentialShape;
use crate::model::snapshot::window::WindowShape;
use crate::model::unit::Unit;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What kind of value the series of a metric have.
///
/// # Examples
///
/// ```
/// use mvx_metrics::{Descriptor, Kind};
///
/// let queue = Descriptor::builder("queue.length", Kind::UpDown).build()?;
/// assert_eq!((queue.kind(), queue.kind().to_string().as_str()), (Kind::UpDown, "up-down counter"));
/// # Ok::<(), mvx_metrics::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// A count that only rises.
    Counter,
    /// A sum of fractions that only rises.
    FloatCounter,
    /// The last value.
    Gauge,
    /// An integer that rises and falls.
    UpDown,
    /// Observations by explicit buckets.
    Histogram,
    /// Observations by buckets that grow exponentially. Of [`ExponentialHistogram`](crate::ExponentialHistogram) alone: a
    /// [`FamilyWriter`](crate::FamilyWriter) has nothing to write one by hand.
    Exponential,
    /// Observations and their sum.
    Average,
    /// Quantiles of observations. Of [`Summary`](crate::Summary) alone, as the two that follow are of their instruments alone.
    Summary,
    /// Quantiles of what was observed within a window; to be evaluated [at a time](crate::Family::at).
    WindowedSummary,
    /// What was gained in a second, within a window; to be evaluated [at a time](crate::Family::at).
    Rate,
    /// When the last event was; to be evaluated [at a time](crate::Family::at).
    Heartbeat,
    /// Texts that describe something: all that it says is in its labels.
    Info,
    /// States that are on or off.
    StateSet,
    /// Named fields of a custom metric.
    Fields,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Counter => "counter",
            Self::FloatCounter => "counter of fractions",
            Self::Gauge => "gauge",
            Self::UpDown => "up-down counter",
            Self::Histogram => "histogram",
            Self::Exponential => "exponential histogram",
            Self::Average => "average",
            Self::Summary => "summary",
            Self::WindowedSummary => "windowed summary",
            Self::Rate => "rate",
            Self::Heartbeat => "heartbeat",
            Self::Info => "info",
            Self::StateSet => "state set",
            Self::Fields => "custom fields",
        })
    }
}

/// How the gauges of several recorders are shown as one, where recorders are folded into [groups](crate::Fold::Group).
///
/// # Examples
///
/// ```
/// use mvx_metrics::{Descriptor, GaugeFold, Kind};
///
/// let oldest = Descriptor::builder("queue.age", Kind::Gauge).gauge_fold(GaugeFold::Max).build()?;
/// assert_eq!(oldest.gauge_fold(), GaugeFold::Max);
/// # Ok::<(), mvx_metrics::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GaugeFold {
    /// Their sum, as if added without rounding and rounded once.
    #[default]
    Sum,
    /// The smallest.
    Min,
    /// The largest.
    Max,
    /// How many recorders have a value.
    Count,
    /// The one whose recorder published its state last.
    Last,
}

/// Name, kind, unit, help, labels, bounds and limit of a metric; the same for its whole life.
///
/// # Examples
///
/// ```
/// use mvx_metrics::{Descriptor, Kind, Unit};
///
/// let ours = Descriptor::builder("disk.free", Kind::Gauge).unit(Unit::Bytes).label("mount").build()?;
/// let theirs = Descriptor::builder("disk.free", Kind::Gauge).label("mount").build()?;
/// assert!(!ours.same_shape(&theirs));
/// assert_eq!(ours.differences(&theirs).as_deref(), Some("unit By against no unit"));
/// # Ok::<(), mvx_metrics::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Descriptor {
    name: MetricName,
    kind: Kind,
    unit: Unit,
    help: Box<str>,
    labels: Arc<[LabelKey]>,
    /// Borrowed from the preset, where it is one: every recorder would have a copy of its own.
    bounds: Cow<'static, [f64]>,
    cardinality: u32,
    gauge_fold: GaugeFold,
    detail: Option<Box<Detail>>,
}

/// What only some kinds have, and mostly as it is unless said: few metrics pay for it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Detail {
    Exponential(ExponentialShape),
    Summary(SummaryShape, Option<WindowShape>),
    Rate(WindowShape),
    States(Box<[Box<str>]>),
}

impl Kind {
    /// Whether a series takes as much memory as the next, whatever was observed; but for sums of very many parts and very high counts.
    pub(crate) fn is_flat(self) -> bool {
        match self {
            Self::Counter | Self::FloatCounter | Self::Gauge | Self::UpDown | Self::Average => true,
            Self::Histogram | Self::Heartbeat | Self::StateSet => true,
            Self::Exponential | Self::Summary | Self::WindowedSummary | Self::Rate => false,
            Self::Info | Self::Fields => false,
        }
    }
}

impl Descriptor {
    /// What it takes on the heap, the counts of its `Arc` included.
    pub(crate) fn heap_bytes(&self) -> usize {
        let keys = self.labels.iter().map(|key| heap::arc(key.as_str()));
        let bounds = match &self.bounds {
            Cow::Borrowed(_) => 0,
            Cow::Owned(bounds) => heap::vec(bounds),
        };
        let detail = self.detail.as_ref().map_or(0, |detail| size_of_val(&**detail));
        let texts = heap::arc(self.name.as_str()) + self.help.len();
        heap::arc(self) + texts + heap::arc(&*self.labels) + keys.sum::<usize>() + bounds + detail
    }

    /// Starts the description of a metric; mistakes are told by [`build`](DescriptorBuilder::build).
    pub fn builder(name: &str, kind: Kind) -> DescriptorBuilder {
        DescriptorBuilder {
            name: name.to_owned(),
            kind,
            unit: Unit::None,
            help: String::new(),
            labels: Vec::new(),
            bounds: Cow::Borrowed(&[]),
            cardinality: DEFAULT_CARDINALITY,
            gauge_fold: GaugeFold::Sum,
            details: Details::default(),
        }
    }

    /// The same metric under another name.
    pub(crate) fn renamed(&self, name: MetricName) -> Arc<Self> {
        Arc::new(Self { name, ..self.clone() })
    }

    /// The same metric with other bounds or another limit, which are right.
    pub(crate) fn reshaped(&self, bounds: Option<&[f64]>, cardinality: Option<u32>) -> Self {
        let bounds = bounds.map_or_else(|| self.bounds.clone(), |bounds| Cow::Owned(bounds.to_vec()));
        Self { bounds, cardinality: cardinality.unwrap_or(self.cardinality), ..self.clone() }
    }

    /// The same metric with other label keys, which are sorted.
    pub(crate) fn relabelled(&self, labels: Arc<[LabelKey]>) -> Self {
        Self { labels, ..self.clone() }
    }

    pub(super) fn of_kind(&self, kind: Kind) -> Self {
        Self { kind, ..self.clone() }
    }

    pub(super) fn with_label(mut self, key: LabelKey) -> Self {
        let mut labels: Vec<_> = self.labels.iter().cloned().chain([key]).collect();
        labels.sort();
        self.labels = labels.into();
        self
    }

    /// The neutral name.
    pub fn name(&self) -> &MetricName {
        &self.name
    }

    /// What its values are.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What its numbers measure.
    pub fn unit(&self) -> &Unit {
        &self.unit
    }

    /// One sentence for people; may be empty.
    pub fn help(&self) -> &str {
        &self.help
    }

    /// The keys of its labels, sorted.
    pub fn label_keys(&self) -> &[LabelKey] {
        &self.labels
    }

    /// The bucket bounds of a histogram, rising; empty for every other kind.
    pub fn bounds(&self) -> &[f64] {
        &self.bounds
    }

    /// How many series there can be beside the overflow series.
    pub fn cardinality(&self) -> u32 {
        self.cardinality
    }

    /// How the gauges of several recorders are shown as one; without meaning for every other kind.
    pub fn gauge_fold(&self) -> GaugeFold {
        self.gauge_fold
    }

    /// How many buckets of each sign an exponential histogram has at most; the default for every other kind.
    pub fn max_buckets(&self) -> u32 {
        self.exponential().max_buckets
    }

    /// Up to which magnitude an exponential histogram counts numbers as zero; 0 for every other kind.
    pub fn zero_threshold(&self) -> f64 {
        self.exponential().zero_threshold
    }

    pub(super) fn exponential(&self) -> ExponentialShape {
        match self.detail.as_deref() {
            Some(Detail::Exponential(shape)) => *shape,
            _ => ExponentialShape::default(),
        }
    }

    /// How many significant digits the quantiles of a summary have; 0 for every other kind.
    pub fn digits(&self) -> u8 {
        self.summary().map_or(0, |shape| shape.digits)
    }

    /// The quantiles of a summary that exporters show, each from 0 to 1, rising; empty for every other kind.
    pub fn quantiles(&self) -> &[f64] {
        self.summary().map_or(&[], |shape| &shape.quantiles)
    }

    /// How far back a rate or a windowed summary looks; zero for every other kind.
    pub fn window_length(&self) -> Duration {
        self.window_of().map_or(Duration::ZERO, |shape| shape.length)
    }

    /// The states of a state set, in the order of its definition; empty for every other kind.
    pub fn states(&self) -> &[Box<str>] {
        if let Some(Detail::States(states)) = self.detail.as_deref() { states } else { &[] }
    }

    fn summary(&self) -> Option<&SummaryShape> {
        if let Some(Detail::Summary(shape, _)) = self.detail.as_deref() { Some(shape) } else { None }
    }

    #[cfg(feature = "serde")]
    pub(super) fn detail(&self) -> Option<&Detail> {
        self.detail.as_deref()
    }

    fn window_of(&self) -> Option<WindowShape> {
        match self.detail.as_deref() {
            Some(Detail::Summary(_, window)) => *window,
            Some(Detail::Rate(window)) => Some(*window),
            _ => None,
        }
    }

    pub(crate) fn counting(&self) -> Counting {
        self.summary().map_or_else(|| SummaryShape::default().counting(), SummaryShape::counting)
    }

    pub(crate) fn window(&self) -> WindowShape {
        self.window_of().unwrap_or(WindowShape { length: DEFAULT_WINDOW, slots: 1 })
    }

    /// Whether kind, unit, labels, bounds and the fold of gauges are equal, so that two metrics of one name can be told as one.
    ///
    /// Help and cardinality limit may differ.
    pub fn same_shape(&self, other: &Self) -> bool {
        self.differences(other).is_none()
    }

    /// In what the shapes differ, to be read by a person; nothing if they are the same.
    pub fn differences(&self, other: &Self) -> Option<String> {
        let mut found = Vec::new();
        if self.kind != other.kind {
            found.push(format!("kind {} against {}", self.kind, other.kind));
        }
        if self.unit != other.unit {
            found.push(format!("unit {} against {}", self.unit, other.unit));
        }
        if self.labels != other.labels {
            found.push(format!("labels {:?} against {:?}", self.labels, other.labels));
        }
        if self.bounds != other.bounds {
            found.push(format!("bounds {:?} against {:?}", self.bounds, other.bounds));
        }
        if self.gauge_fold != other.gauge_fold {
            found.push(format!("fold {:?} against {:?}", self.gauge_fold, other.gauge_fold));
        }
        let (ours, theirs) = (self.exponential(), other.exponential());
        if ours.max_buckets != theirs.max_buckets {
            found.push(format!("at most {} buckets against {}", ours.max_buckets, theirs.max_buckets));
        }
        if ours.zero_threshold != theirs.zero_threshold {
            found.push(format!("zero threshold {} against {}", ours.zero_threshold, theirs.zero_threshold));
        }
        if self.digits() != other.digits() {
            found.push(format!("{} digits against {}", self.digits(), other.digits()));
        }
        if self.quantiles() != other.quantiles() {
            found.push(format!("quantiles {:?} against {:?}", self.quantiles(), other.quantiles()));
        }
        let (ours, theirs) = (self.window(), other.window());
        if ours != theirs {
            found.push(format!(
                "a window of {:?} in {} slots against {:?} in {}",
                ours.length, ours.slots, theirs.length, theirs.slots
            ));
        }
        if self.states() != other.states() {
            found.push(format!("states {:?} against {:?}", self.states(), other.states()));
        }
        (!found.is_empty()).then(|| found.join(", "))
    }

    pub(super) fn label_keys_shared(&self) -> Arc<[LabelKey]> {
        self.labels.clone()
    }
}

/// One line for people: name, kind, unit, labels and help, as far as there are any.
impl fmt::Display for Descriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.kind)?;
        if self.unit != Unit::None {
            write!(f, " in {}", self.unit)?;
        }
        for (at, label) in self.labels.iter().enumerate() {
            write!(f, "{} {label}", if at == 0 { " by" } else { "," })?;
        }
        if self.help.is_empty() { Ok(()) } else { write!(f, "; {}", self.help) }
    }
}

/// Collects what a metric is; [`build`](Self::build) checks it.
///
/// # Examples
///
/// ```
/// use mvx_metrics::{Descriptor, ErrorKind, Kind};
///
/// let latency = Descriptor::builder("latency", Kind::Histogram).bounds(&[0.1, 1.0]).help("How long.").build()?;
/// assert_eq!((latency.bounds(), latency.help()), (&[0.1, 1.0][..], "How long."));
/// let falling = Descriptor::builder("latency", Kind::Histogram).bounds(&[1.0, 0.1]).build().unwrap_err();
/// assert_eq!(falling.kind(), ErrorKind::InvalidLimit);
/// # Ok::<(), mvx_metrics::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct DescriptorBuilder {
    name: String,
    kind: Kind,
    unit: Unit,
    help: String,
    labels: Vec<String>,
    bounds: Cow<'static, [f64]>,
    cardinality: u32,
    gauge_fold: GaugeFold,
    details: Details,
}

/// What was said that only some kinds have.
#[derive(Clone, Debug, Default)]
struct Details {
    exponential: Option<ExponentialShape>,
    digits: Option<u8>,
    quantiles: Option<Box<[f64]>>,
    window: Option<Duration>,
    slots: Option<u32>,
    states: Option<Box<[Box<str>]>>,
}

impl DescriptorBuilder {
    /// What the numbers measure; [`Unit::None`] unless said.
    pub fn unit(mut self, unit: Unit) -> Self {
        self.unit = unit;
        self
    }

    /// One sentence for people.
    pub fn help(mut self, help: &str) -> Self {
        help.clone_into(&mut self.help);
        self
    }

    /// One label more.
    pub fn label(mut self, key: &str) -> Self {
        self.labels.push(key.to_owned());
        self
    }

    /// The upper bounds of a histogram's buckets, inclusive; the bucket above all of them is added by itself.
    pub fn bounds(mut self, bounds: &[f64]) -> Self {
        self.bounds = Cow::Owned(bounds.to_vec());
        self
    }

    /// The same with bounds that need not be copied.
    pub(crate) fn preset(mut self, bounds: &'static [f64]) -> Self {
        self.bounds = Cow::Borrowed(bounds);
        self
    }

    /// How many series there can be; further label sets share one overflow series.
    pub fn cardinality(mut self, limit: u32) -> Self {
        self.cardinality = limit;
        self
    }

    /// How the gauges of several recorders are shown as one; their sum unless said.
    pub fn gauge_fold(mut self, rule: GaugeFold) -> Self {
        self.gauge_fold = rule;
        self
    }

    /// How many buckets of each sign an exponential histogram has at most, from
    /// [`MIN_EXPONENTIAL_BUCKETS`] to [`MAX_EXPONENTIAL_BUCKETS`].
    pub fn max_buckets(self, most: u32) -> Self {
        self.exponential(|shape| shape.max_buckets = most)
    }

    /// Up to which magnitude an exponential histogram counts numbers as zero; 0 unless said.
    pub fn zero_threshold(self, threshold: f64) -> Self {
        self.exponential(|shape| shape.zero_threshold = threshold)
    }

    fn exponential(mut self, change: impl FnOnce(&mut ExponentialShape)) -> Self {
        change(self.details.exponential.get_or_insert_default());
        self
    }

    /// How many significant digits the quantiles of a summary have, from 1 to
    /// [`MAX_SUMMARY_DIGITS`]; 2 unless said. Each more takes about eight times the memory.
    pub fn digits(mut self, digits: u8) -> Self {
        self.details.digits = Some(digits);
        self
    }

    /// The quantiles of a summary that exporters show, from 0 to 1, rising; 0.5, 0.9 and 0.99 unless said.
    pub fn quantiles(mut self, quantiles: &[f64]) -> Self {
        self.details.quantiles = Some(quantiles.into());
        self
    }

    /// How far back a rate or a windowed summary looks; a minute unless said.
    pub fn window(mut self, length: Duration) -> Self {
        self.details.window = Some(length);
        self
    }

    /// Into how many slots a window is cut: what is old leaves it slot by slot.
    pub fn slots(mut self, slots: u32) -> Self {
        self.details.slots = Some(slots);
        self
    }

    /// The states of a state set.
    pub fn states(mut self, states: &[&str]) -> Self {
        self.details.states = Some(states.iter().map(|state| Box::from(*state)).collect());
        self
    }

    pub(crate) fn kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    pub(crate) fn known_unit(&self) -> &Unit {
        &self.unit
    }

    pub(crate) fn known_states(&self) -> Box<[Box<str>]> {
        self.details.states.clone().unwrap_or_default()
    }

    pub(crate) fn has_bounds(&self) -> bool {
        !self.bounds.is_empty()
    }

    /// Checks everything.
    ///
    /// # Errors
    ///
    /// The first mistake: [`ErrorKind::InvalidName`] for the name or a label key, or a label given twice;
    /// [`ErrorKind::InvalidLimit`] for a cardinality or a number of labels or bounds outside its range, for bounds that
    /// do not rise, and for bounds of what is no histogram; the same for the buckets and the threshold of an exponential histogram.
    pub fn build(self) -> Result<Arc<Descriptor>, Error> {
        let name = MetricName::new(&self.name)?;
        let explain =
            |message: String| Error::new(ErrorKind::InvalidLimit, format!("metric `{name}`: {message}"));
        let mut labels = self.labels.iter().map(|key| LabelKey::new(key)).collect::<Result<Vec<_>, _>>()?;
        labels.sort();
        if let Some(twice) = labels.windows(2).find(|pair| pair[0] == pair[1]) {
            let message =
                format!("metric `{name}`: label `{}` is given twice: leave one of them out", twice[0]);
            return Err(Error::new(ErrorKind::InvalidName, message));
        }
        if labels.len() > MAX_LABELS {
            return Err(explain(format!("{} labels are too many: at most {MAX_LABELS}", labels.len())));
        }
        if self.cardinality == 0 || self.cardinality > MAX_CARDINALITY {
            let given = self.cardinality;
            return Err(explain(format!(
                "a cardinality of {given} is out of range: write 1 to {MAX_CARDINALITY}"
            )));
        }
        check_bounds(self.kind, &self.bounds).map_err(explain)?;
        let detail = self.details.checked(self.kind, &self.unit).map_err(explain)?;
        Ok(Arc::new(
            Descriptor {
                name,
                kind: self.kind,
                unit: self.unit,
                help: self.help.into(),
                labels: labels.into(),
                bounds: self.bounds,
                cardinality: self.cardinality,
                gauge_fold: self.gauge_fold,
                detail: detail.map(Box::new),
            }
            .that_can_be_counted()?,
        ))
    }
}

impl Descriptor {
    /// What it is counted as must have a name: an info one of its own, a state set a label that is none of the metric's.
    fn that_can_be_counted(self) -> Result<Self, Error> {
        if self.kind == Kind::Info && self.counted().is_none() {
            let message =
                format!("info `{}`: with `.info` after it, the name is too long: shorten it", self.name);
            return Err(Error::new(ErrorKind::InvalidName, message));
        }
        if self.kind != Kind::StateSet {
            return Ok(self);
        }
        match self.state_key() {
            Some(key) if !self.labels.contains(&key) => Ok(self),
            key => {
                let key = key.map_or_else(|| self.name.to_string(), |key| key.to_string());
                let message = format!(
                    "state set `{}`: the states are shown under the label `{key}`, which is taken or cannot be one: give the label or the metric another name",
                    self.name
                );
                Err(Error::new(ErrorKind::InvalidName, message))
            }
        }
    }
}

impl Details {
    /// What the kind needs, as it was said or by default; a mistake if something was said that the kind has not.
    fn checked(self, kind: Kind, unit: &Unit) -> Result<Option<Detail>, String> {
        let summary = matches!(kind, Kind::Summary | Kind::WindowedSummary);
        let windowed = matches!(kind, Kind::Rate | Kind::WindowedSummary);
        let refuse = |given: bool, fits: bool, what: &str| match given && !fits {
            true => Err(format!("a {kind} has no {what}: leave them out")),
            false => Ok(()),
        };
        refuse(
            self.exponential.is_some(),
            kind == Kind::Exponential,
            "buckets that grow, and no zero threshold",
        )?;
        refuse(self.digits.is_some() || self.quantiles.is_some(), summary, "digits and quantiles")?;
        refuse(self.window.is_some() || self.slots.is_some(), windowed, "window and slots")?;
        refuse(self.states.is_some(), kind == Kind::StateSet, "states")?;
        let numberless = matches!(kind, Kind::Info | Kind::StateSet);
        refuse(*unit != Unit::None, !numberless, "numbers that a unit could be of")?;
        Ok(match kind {
            Kind::Exponential => check_exponential(self.exponential)?.map(Detail::Exponential),
            Kind::Rate => Some(Detail::Rate(check_window(self.window, self.slots, DEFAULT_RATE_SLOTS)?)),
            Kind::Summary => Some(Detail::Summary(check_summary(self.digits, self.quantiles)?, None)),
            Kind::WindowedSummary => {
                let window = check_window(self.window, self.slots, DEFAULT_SUMMARY_SLOTS)?;
                Some(Detail::Summary(check_summary(self.digits, self.quantiles)?, Some(window)))
            }
            Kind::StateSet => Some(Detail::States(check_states(self.states.unwrap_or_default())?)),
            _ => None,
        })
    }
}

fn check_exponential(shape: Option<ExponentialShape>) -> Result<Option<ExponentialShape>, String> {
    let Some(ExponentialShape { max_buckets, zero_threshold }) = shape else { return Ok(None) };
    if !(MIN_EXPONENTIAL_BUCKETS..=MAX_EXPONENTIAL_BUCKETS).contains(&max_buckets) {
        return Err(format!(
            "{max_buckets} buckets are out of range: write {MIN_EXPONENTIAL_BUCKETS} to {MAX_EXPONENTIAL_BUCKETS}"
        ));
    }
    if !(0.0..=ExactSum::MAX).contains(&zero_threshold) {
        return Err(format!(
            "a zero threshold of {zero_threshold} is out of range: write 0 or a small number above it"
        ));
    }
    Ok(shape)
}

fn check_summary(digits: Option<u8>, quantiles: Option<Box<[f64]>>) -> Result<SummaryShape, String> {
    let usual = SummaryShape::default();
    let shape = SummaryShape {
        digits: digits.unwrap_or(usual.digits),
        quantiles: quantiles.unwrap_or(usual.quantiles),
    };
    if !(1..=MAX_SUMMARY_DIGITS).contains(&shape.digits) {
        return Err(format!("{} digits are out of range: write 1 to {MAX_SUMMARY_DIGITS}", shape.digits));
    }
    if shape.quantiles.len() > MAX_QUANTILES {
        return Err(format!("{} quantiles are too many: at most {MAX_QUANTILES}", shape.quantiles.len()));
    }
    if let Some(bad) = shape.quantiles.iter().find(|q| !(0.0..=1.0).contains(*q)) {
        return Err(format!("quantile {bad} is out of range: write a share from 0 to 1, as 0.99 for 99 %"));
    }
    match shape.quantiles.windows(2).find(|pair| pair[0] >= pair[1]) {
        Some(pair) => {
            Err(format!("quantile {} follows {}: quantiles must rise, each once", pair[1], pair[0]))
        }
        None => Ok(shape),
    }
}

fn check_window(length: Option<Duration>, slots: Option<u32>, usual: u32) -> Result<WindowShape, String> {
    let (length, slots) = (length.unwrap_or(DEFAULT_WINDOW), slots.unwrap_or(usual));
    if !(2..=MAX_WINDOW_SLOTS).contains(&slots) {
        return Err(format!("{slots} slots are out of range: write 2 to {MAX_WINDOW_SLOTS}"));
    }
    if length > MAX_WINDOW || length < MIN_WINDOW_SLOT * slots {
        return Err(format!(
            "a window of {length:?} in {slots} slots is out of range: {MIN_WINDOW_SLOT:?} for each slot at least, {MAX_WINDOW:?} in all at most"
        ));
    }
    Ok(WindowShape { length, slots })
}

fn check_states(states: Box<[Box<str>]>) -> Result<Box<[Box<str>]>, String> {
    if states.is_empty() || states.len() > MAX_STATES {
        return Err(format!("a state set has 1 to {MAX_STATES} states, and here are {}", states.len()));
    }
    for (at, state) in states.iter().enumerate() {
        if state.is_empty() || state.len() > MAX_LABEL_VALUE_BYTES || state.chars().any(char::is_control) {
            return Err(format!(
                "{state:?} is no state: give it a name of printable characters, up to {MAX_LABEL_VALUE_BYTES} bytes"
            ));
        }
        if states.iter().skip(at + 1).any(|other| other == state) {
            return Err(format!("state {state:?} is there twice: leave one of them out"));
        }
    }
    Ok(states)
}

fn check_bounds(kind: Kind, bounds: &[f64]) -> Result<(), String> {
    match (kind, bounds) {
        (Kind::Histogram, []) => {
            Err("a histogram needs bounds: give at least one, or a unit that has a preset".into())
        }
        (Kind::Histogram, _) if bounds.len() > MAX_BOUNDS => {
            Err(format!("{} bounds are too many: at most {MAX_BOUNDS}", bounds.len()))
        }
        (Kind::Histogram, _) => {
            if let Some(bad) = bounds.iter().find(|bound| !bound.is_finite()) {
                return Err(format!(
                    "bound {bad} is not finite: leave it out, the last bucket takes the rest anyway"
                ));
            }
            match bounds.windows(2).find(|pair| pair[0] >= pair[1]) {
                Some(pair) => {
                    Err(format!("bound {} follows {}: bounds must rise, each once", pair[1], pair[0]))
                }
                None => Ok(()),
            }
        }
        (_, []) => Ok(()),
        _ => Err(format!("a {kind} has no bounds: leave them out or make it a histogram")),
    }
}

#[cfg(test)]
#[cfg(not(mvx_loom))]
mod tests {
    use super::*;

    fn histogram(bounds: &[f64]) -> Result<Arc<Descriptor>, Error> {
        Descriptor::builder("h", Kind::Histogram).bounds(bounds).build()
    }

    #[test]
    fn bounds_must_be_finite_and_rise() {
        assert_eq!(histogram(&[-1.0, 0.0, 0.5]).unwrap().bounds(), [-1.0, 0.0, 0.5]);
        for bad in
            [&[][..], &[1.0, 1.0], &[2.0, 1.0], &[f64::NAN], &[1.0, f64::INFINITY], &[0.0; MAX_BOUNDS + 1]]
        {
            assert_eq!(histogram(bad).unwrap_err().kind(), ErrorKind::InvalidLimit, "{bad:?}");
        }
        assert!(Descriptor::builder("c", Kind::Counter).bounds(&[1.0]).build().is_err());
    }

    #[test]
    fn limits_and_labels_are_checked() {
        let counter = || Descriptor::builder("c", Kind::Counter);
        for limit in [0, MAX_CARDINALITY + 1] {
            assert_eq!(counter().cardinality(limit).build().unwrap_err().kind(), ErrorKind::InvalidLimit);
        }
        let error = counter().label("a").label("a").build().unwrap_err();
        assert!(error.to_string().contains("given twice"), "{error}");
        let crowd = (0..=MAX_LABELS).fold(counter(), |builder, n| builder.label(&format!("k{n}")));
        assert_eq!(crowd.build().unwrap_err().kind(), ErrorKind::InvalidLimit);
    }

    #[test]
    fn shape_is_all_but_help_and_limit() {
        let base = || Descriptor::builder("h", Kind::Histogram).label("b").label("a").bounds(&[1.0]);
        let one = base().build().unwrap();
        let reordered = Descriptor::builder("h", Kind::Histogram).label("a").label("b").bounds(&[1.0]);
        assert!(one.same_shape(&reordered.help("other").cardinality(5).build().unwrap()));
        let other = base().bounds(&[2.0]).label("c").unit(Unit::Seconds).build().unwrap();
        let told = one.differences(&other).unwrap();
        assert!(["unit", "labels", "bounds"].iter().all(|word| told.contains(word)), "{told}");
    }
}
