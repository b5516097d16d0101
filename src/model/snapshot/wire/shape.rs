//! A descriptor, as it is written.

use crate::model::error::Error;
use crate::model::snapshot::descriptor::Descriptor;
use crate::model::snapshot::descriptor::Detail;
use crate::model::snapshot::descriptor::GaugeFold;
use crate::model::snapshot::descriptor::Kind;
use crate::model::unit::Unit;
use serde::Deserialize;
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;

#[derive(Serialize, Deserialize)]
pub(super) struct Shape {
    name: String,
    #[serde(with = "KindName")]
    kind: Kind,
    /// Its UCUM code; empty for none.
    unit: String,
    help: String,
    labels: Vec<String>,
    bounds: Vec<f64>,
    cardinality: u32,
    #[serde(with = "FoldName")]
    gauge_fold: GaugeFold,
    /// Of an exponential histogram that was given one.
    max_buckets: Option<u32>,
    zero_threshold: Option<f64>,
    /// Of a summary.
    digits: Option<u8>,
    quantiles: Option<Vec<f64>>,
    /// Of a rate or a windowed summary.
    window_nanos: Option<u64>,
    slots: Option<u32>,
    /// Of a state set.
    states: Option<Vec<String>>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Kind", rename_all = "snake_case")]
enum KindName {
    Counter,
    FloatCounter,
    Gauge,
    UpDown,
    Histogram,
    Exponential,
    Average,
    Summary,
    WindowedSummary,
    Rate,
    Heartbeat,
    Info,
    StateSet,
    Fields,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "GaugeFold", rename_all = "snake_case")]
enum FoldName {
    Sum,
    Min,
    Max,
    Count,
    Last,
}

impl Shape {
    pub(super) fn of(descriptor: &Descriptor) -> Self {
        let exponential = match descriptor.detail() {
            Some(Detail::Exponential(shape)) => Some(*shape),
            _ => None,
        };
        let summary = matches!(descriptor.kind(), Kind::Summary | Kind::WindowedSummary);
        let windowed = matches!(descriptor.kind(), Kind::Rate | Kind::WindowedSummary);
        let window = windowed.then(|| descriptor.window());
        let states = descriptor.states().iter().map(|state| state.to_string()).collect::<Vec<_>>();
        Self {
            name: descriptor.name().to_string(),
            kind: descriptor.kind(),
            unit: descriptor.unit().ucum().to_owned(),
            help: descriptor.help().to_owned(),
            labels: descriptor.label_keys().iter().map(ToString::to_string).collect(),
            bounds: descriptor.bounds().to_vec(),
            cardinality: descriptor.cardinality(),
            gauge_fold: descriptor.gauge_fold(),
            max_buckets: exponential.map(|shape| shape.max_buckets),
            zero_threshold: exponential.map(|shape| shape.zero_threshold),
            digits: summary.then(|| descriptor.digits()),
            quantiles: summary.then(|| descriptor.quantiles().to_vec()),
            window_nanos: window.map(|window| window.length.as_nanos() as u64),
            slots: window.map(|window| window.slots),
            states: (!states.is_empty()).then_some(states),
        }
    }

    /// The descriptor, checked as any other.
    pub(super) fn build(&self) -> Result<Arc<Descriptor>, Error> {
        let unit = if self.unit.is_empty() { Unit::None } else { Unit::custom(&self.unit)? };
        let mut builder = Descriptor::builder(&self.name, self.kind)
            .unit(unit)
            .help(&self.help)
            .bounds(&self.bounds)
            .cardinality(self.cardinality)
            .gauge_fold(self.gauge_fold);
        for key in &self.labels {
            builder = builder.label(key);
        }
        if let Some(most) = self.max_buckets {
            builder = builder.max_buckets(most);
        }
        if let Some(threshold) = self.zero_threshold {
            builder = builder.zero_threshold(threshold);
        }
        if let Some(digits) = self.digits {
            builder = builder.digits(digits);
        }
        if let Some(quantiles) = &self.quantiles {
            builder = builder.quantiles(quantiles);
        }
        if let Some(nanos) = self.window_nanos {
            builder = builder.window(Duration::from_nanos(nanos));
        }
        if let Some(slots) = self.slots {
            builder = builder.slots(slots);
        }
        if let Some(states) = &self.states {
            builder = builder.states(&states.iter().map(String::as_str).collect::<Vec<_>>());
        }
        builder.build()
    }
}
