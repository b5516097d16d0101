//! What a metric of a dynamic set is.

use crate::metric::Counter;
use crate::metric::ExponentialHistogram;
use crate::metric::Gauge;
use crate::metric::Histogram;
use crate::metric::InstrumentBuilder;
use crate::metric::Metric;
use crate::model::error::Error;
use crate::model::error::ErrorKind;
use crate::model::label::Label;
use crate::model::name::LabelKey;
use crate::model::snapshot::Descriptor;
use crate::model::unit::Unit;
use crate::recorder::dynamic::event::DynamicEvent;
use crate::recorder::dynamic::event::DynamicKind;
use crate::recorder::handle::Recorder;
use crate::recorder::operation::Operation;
use std::sync::Arc;

/// Says what a metric of a [`DynamicSet`](crate::DynamicSet) is, before it is used: its tags, unit, help, bounds and limit.
///
/// # Examples
///
/// ```
/// use mvx_metrics::{DynamicMetric, prelude::*};
/// use std::time::Duration;
///
/// # fn main() -> Result<(), mvx_metrics::Error> {
/// let runtime = MetricsRuntime::builder("docs").build()?;
/// runtime.start()?;
/// let set = runtime.dynamic_set("plugins").create()?;
/// set.declare(
///     DynamicMetric::histogram("plugin.bytes").unit(Unit::Bytes).bounds(&[1e3, 1e6]).tag("plugin").tag("zone"),
/// )?;
/// set.histogram("plugin.bytes", 512, &[("plugin", "a")]); // the tag that is not given is absent
/// let snapshot = set.recorder().flush_and_snapshot(Duration::from_secs(5))?;
/// let bytes = snapshot.histogram("plugin.bytes", &[("plugin", "a")]).unwrap();
/// assert_eq!(bytes.buckets().collect::<Vec<_>>(), [1, 0, 0]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a definition does nothing until it is declared"]
pub struct DynamicMetric {
    pub(super) name: String,
    pub(super) kind: DynamicKind,
    unit: Unit,
    help: String,
    tags: Vec<String>,
    bounds: Vec<f64>,
    cardinality: Option<u32>,
}

/// An instrument for one name.
pub(super) enum Instrument {
    Counter(Counter<DynamicEvent>),
    Gauge(Gauge<DynamicEvent>),
    Histogram(Histogram<DynamicEvent>),
    Exponential(ExponentialHistogram<DynamicEvent>),
}

impl DynamicMetric {
    /// A counter of whole numbers.
    pub fn counter(name: &str) -> Self {
        Self::new(name, DynamicKind::Counter)
    }

    /// A gauge: the last value.
    pub fn gauge(name: &str) -> Self {
        Self::new(name, DynamicKind::Gauge)
    }

    /// A distribution, of exponential buckets unless [`bounds`](Self::bounds) are given.
    pub fn histogram(name: &str) -> Self {
        Self::new(name, DynamicKind::Histogram)
    }

    /// A distribution of durations in seconds, of exponential buckets unless [`bounds`](Self::bounds) are given.
    pub fn timer(name: &str) -> Self {
        Self { unit: Unit::Seconds, ..Self::new(name, DynamicKind::Timer) }
    }

    pub(super) fn new(name: &str, kind: DynamicKind) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            unit: if kind == DynamicKind::Timer { Unit::Seconds } else { Unit::None },
            help: String::new(),
            tags: Vec::new(),
            bounds: Vec::new(),
            cardinality: None,
        }
    }

    /// What the numbers measure; a timer's are seconds.
    pub fn unit(mut self, unit: Unit) -> Self {
        self.unit = unit;
        self
    }

    /// One sentence for people.
    pub fn help(mut self, help: &str) -> Self {
        help.clone_into(&mut self.help);
        self
    }

    /// A tag that a call may give, by its key; a call that does not give it has a series of its own.
    pub fn tag(mut self, key: &str) -> Self {
        self.tags.push(key.to_owned());
        self
    }

    /// The upper bounds of a histogram's or timer's buckets, inclusive.
    pub fn bounds(mut self, bounds: &[f64]) -> Self {
        self.bounds = bounds.to_vec();
        self
    }

    /// How many series there can be; further ones share one overflow series.
    pub fn cardinality(mut self, limit: u32) -> Self {
        self.cardinality = Some(limit);
        self
    }

    /// The instrument that takes what is for `id`.
    pub(super) fn build(&self, id: u32) -> Result<Instrument, Error> {
        if self.kind == DynamicKind::Timer && self.unit != Unit::Seconds {
            let message =
                format!("a timer has seconds, and {} was given another unit; leave it out", self.name);
            return Err(Error::new(ErrorKind::MetricConflict, message));
        }
        let name = self.name.as_str();
        let value = move |event: &DynamicEvent| event.measured(id);
        Ok(match self.kind {
            DynamicKind::Counter | DynamicKind::Gauge if !self.bounds.is_empty() => {
                let message = format!("the {} {name} has no buckets; leave the bounds out", self.kind);
                return Err(Error::new(ErrorKind::InvalidLimit, message));
            }
            DynamicKind::Counter => {
                let counter = self.common(Counter::builder(name))?;
                Instrument::Counter(counter.value(move |event| event.count(id)).build()?)
            }
            DynamicKind::Gauge => Instrument::Gauge(self.common(Gauge::builder(name))?.value(value).build()?),
            _ if self.bounds.is_empty() => {
                let histogram = self.common(ExponentialHistogram::builder(name))?;
                Instrument::Exponential(histogram.value(value).build()?)
            }
            _ => {
                let histogram = self.common(Histogram::builder(name))?;
                Instrument::Histogram(histogram.bounds(&self.bounds).value(value).build()?)
            }
        })
    }

    fn common<I>(
        &self,
        builder: InstrumentBuilder<DynamicEvent, I>,
    ) -> Result<InstrumentBuilder<DynamicEvent, I>, Error> {
        let mut builder = builder.unit(self.unit.clone()).help(&self.help);
        if let Some(limit) = self.cardinality {
            builder = builder.cardinality(limit);
        }
        // The instrument's keys are sorted, and so are the tags of an event.
        let mut keys = self.tags.iter().map(|key| LabelKey::new(key)).collect::<Result<Vec<_>, _>>()?;
        keys.sort();
        for (at, key) in keys.iter().enumerate() {
            builder = builder.label(key.as_str(), tag(at));
        }
        Ok(builder)
    }
}

fn tag(at: usize) -> impl for<'a> Fn(&'a DynamicEvent) -> Label<'a> + Send + 'static {
    move |event| event.tag(at)
}

impl Instrument {
    pub(super) fn descriptor(&self) -> &Arc<Descriptor> {
        match self {
            Self::Counter(counter) => counter.descriptor(),
            Self::Gauge(gauge) => gauge.descriptor(),
            Self::Histogram(histogram) => histogram.descriptor(),
            Self::Exponential(histogram) => histogram.descriptor(),
        }
    }

    pub(super) fn register(self, recorder: &Recorder<DynamicEvent>) -> Operation {
        match self {
            Self::Counter(counter) => recorder.register_metric(counter),
            Self::Gauge(gauge) => recorder.register_metric(gauge),
            Self::Histogram(histogram) => recorder.register_metric(histogram),
            Self::Exponential(histogram) => recorder.register_metric(histogram),
        }
    }
}
