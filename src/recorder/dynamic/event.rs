//! What is stated through a dynamic set, on its way to the metrics.

use crate::metric::Measure;
use crate::metric::Measured;
use crate::model::event::MetricEvent;
use crate::model::label::Label;
use crate::model::label::clip;
use crate::model::snapshot::Number;
use std::fmt;

/// What the metrics of a [`DynamicSet`](crate::DynamicSet) are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DynamicKind {
    /// A sum of whole numbers that only rises.
    Counter,
    /// The last value.
    Gauge,
    /// A distribution: exponential buckets, unless it was declared with bounds.
    Histogram,
    /// A distribution of durations, in seconds.
    Timer,
}

impl fmt::Display for DynamicKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Timer => "timer",
        })
    }
}

/// The event of a [`DynamicSet`](crate::DynamicSet)'s recorder: a metric, a value and tags, or a call that was refused.
///
/// It is made by the set alone; observers of the set's recorder meet it.
#[derive(Clone)]
pub struct DynamicEvent(What);

#[derive(Clone)]
enum What {
    Stated { id: u32, kind: DynamicKind, value: Value, tags: Tags },
    Refused(Reason),
}

/// A value as it was given.
#[derive(Clone, Copy)]
pub(super) enum Value {
    Count(u64),
    Measured(Measured),
}

/// Why a call was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    Name,
    Kind,
    Tags,
    Limit,
    Conflict,
}

/// The values of a metric's tags, in the order of its label keys, in one piece.
#[derive(Clone, Default)]
pub(super) struct Tags {
    text: Box<str>,
    ends: Box<[u32]>,
}

/// What an instrument is given.
pub(super) struct Taken(Measured);

impl DynamicEvent {
    pub(super) fn stated(id: u32, kind: DynamicKind, value: Value, tags: Tags) -> Self {
        Self(What::Stated { id, kind, value, tags })
    }

    pub(super) fn refused(reason: Reason) -> Self {
        Self(What::Refused(reason))
    }

    /// What kind of metric it is for; `None` for a call that was refused.
    pub fn kind(&self) -> Option<DynamicKind> {
        match &self.0 {
            What::Stated { kind, .. } => Some(*kind),
            What::Refused(_) => None,
        }
    }

    /// The count that is for the metric of this number.
    pub(super) fn count(&self, of: u32) -> Option<u64> {
        match &self.0 {
            What::Stated { id, value: Value::Count(count), .. } if *id == of => Some(*count),
            _ => None,
        }
    }

    /// The value that is for the metric of this number.
    pub(super) fn measured(&self, of: u32) -> Option<Taken> {
        match &self.0 {
            What::Stated { id, value: Value::Measured(value), .. } if *id == of => Some(Taken(*value)),
            _ => None,
        }
    }

    /// The value of a tag, by its place among the metric's label keys.
    pub(super) fn tag(&self, at: usize) -> Label<'_> {
        match &self.0 {
            What::Stated { tags, .. } => tags.get(at).map_or(Label::Absent, Label::from),
            What::Refused(_) => Label::Absent,
        }
    }

    pub(super) fn reason(&self) -> Label<'_> {
        Label::fixed(match &self.0 {
            What::Refused(Reason::Name) => "name",
            What::Refused(Reason::Kind) => "kind",
            What::Refused(Reason::Tags) => "tags",
            What::Refused(Reason::Limit) => "limit",
            What::Refused(Reason::Conflict) => "conflict",
            What::Stated { .. } => "",
        })
    }
}

/// The event type of refused calls.
pub(super) const REFUSED: &str = "dynamic.refused";

impl MetricEvent for DynamicEvent {
    const EVENT_TYPES: &'static [&'static str] =
        &["dynamic.counter", "dynamic.gauge", "dynamic.histogram", "dynamic.timer", REFUSED];

    fn event_type(&self) -> &'static str {
        Self::EVENT_TYPES.get(self.variant_index()).copied().unwrap_or(REFUSED)
    }

    fn variant_index(&self) -> usize {
        match self.kind() {
            Some(DynamicKind::Counter) => 0,
            Some(DynamicKind::Gauge) => 1,
            Some(DynamicKind::Histogram) => 2,
            Some(DynamicKind::Timer) => 3,
            None => 4,
        }
    }
}

impl fmt::Debug for DynamicEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DynamicEvent").field(&self.event_type()).finish()
    }
}

impl Measure for Taken {
    const FRACTIONAL: bool = true;

    fn number(self) -> Number {
        match self.0 {
            Measured::Number(number) => number,
            Measured::Duration(duration) => duration.number(),
        }
    }

    fn measured(self) -> Measured {
        self.0
    }
}

impl Tags {
    /// The values of `tags` for a metric with these many keys; `place` says where each goes. `Err` is the key that has no place, or has it
    /// twice. A value is cut as every label value is.
    pub(super) fn new<'t>(
        tags: &[(&'t str, &'t str)],
        keys: usize,
        place: impl Fn(&str) -> Option<usize>,
    ) -> Result<Self, &'t str> {
        if tags.is_empty() {
            return Ok(Self::default());
        }
        let mut values = vec![None; keys];
        for (key, value) in tags {
            let free = place(key).and_then(|at| values.get_mut(at)).filter(|free| free.is_none());
            *free.ok_or(*key)? = Some(clip(value));
        }
        let mut text = String::with_capacity(values.iter().flatten().map(|value| value.len()).sum());
        let end_after = |value: Option<&str>| {
            text.push_str(value.unwrap_or_default());
            text.len() as u32
        };
        let ends = values.into_iter().map(end_after).collect();
        Ok(Self { text: text.into(), ends })
    }

    fn get(&self, at: usize) -> Option<&str> {
        let start = at.checked_sub(1).map_or(Some(0), |before| self.ends.get(before).copied())?;
        self.text.get(start as usize..*self.ends.get(at)? as usize)
    }
}
