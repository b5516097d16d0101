//! The value of one series, as it is written.

use crate::model::clock::Timestamp;
use crate::model::name::FieldName;
use crate::model::snapshot::columns::Column;
use crate::model::snapshot::columns::Mean;
use crate::model::snapshot::columns::Values;
use crate::model::snapshot::descriptor::Descriptor;
use crate::model::snapshot::digest::Digest;
use crate::model::snapshot::digest::Digests;
use crate::model::snapshot::digest::Gain;
use crate::model::snapshot::digest::Recent;
use crate::model::snapshot::exact_sum::ExactSum;
use crate::model::snapshot::exponential::Exponential;
use crate::model::snapshot::exponential::Run;
use crate::model::snapshot::exponential_scale::MAX_SCALE;
use crate::model::snapshot::exponential_scale::MIN_SCALE;
use crate::model::snapshot::histograms::Histograms;
use crate::model::snapshot::histograms::Moments;
use crate::model::snapshot::states::Present;
use crate::model::snapshot::states::States;
use crate::model::snapshot::timed::Beat;
use crate::model::snapshot::timed::Flow;
use crate::model::snapshot::value::Number;
use crate::model::snapshot::window::Held;
use crate::model::snapshot::window::Slot;
use crate::model::snapshot::window::Window;
use crate::model::snapshot::window::WindowShape;
use serde::Deserialize;
use serde::Serialize;
use std::sync::Arc;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Value {
    Counter(u64),
    FloatCounter(Sum),
    Gauge(f64),
    UpDown(i64),
    Histogram {
        buckets: Vec<u64>,
        moments: Range,
    },
    Exponential(Grown),
    Average(Gained),
    Summary(Summed),
    WindowedSummary {
        total: Gained,
        slots: Vec<(u64, Summed)>,
    },
    Rate(Vec<(u64, Gained)>),
    /// When the last event was.
    Heartbeat(u64),
    Info,
    /// A bit for each state.
    StateSet(u64),
    Fields(Vec<(String, Field)>),
}

/// An exact sum: numbers that add up to it, and nanoseconds beside them in two halves.
#[derive(Serialize, Deserialize)]
pub(super) struct Sum {
    parts: Vec<f64>,
    nanos: (i64, u64),
}

#[derive(Serialize, Deserialize)]
pub(super) struct Range {
    sum: Sum,
    /// The smallest and the largest observation.
    extremes: Option<(f64, f64)>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Gained {
    count: u64,
    sum: Sum,
}

/// An exponential histogram.
#[derive(Serialize, Deserialize)]
pub(super) struct Grown {
    scale: i32,
    zeros: u64,
    positive: Vec<(i32, u64)>,
    negative: Vec<(i32, u64)>,
    moments: Range,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Summed {
    observed: Option<Grown>,
    total: Option<Gained>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Field {
    U64(u64),
    I64(i64),
    F64(f64),
}

impl Value {
    pub(super) fn of(values: &Values, at: usize) -> Option<Self> {
        Some(match values {
            Values::Counter(column) => Self::Counter(*column.get(at)?),
            Values::FloatCounter(column) => Self::FloatCounter(Sum::of(column.get(at)?)),
            Values::Gauge(column) => Self::Gauge(*column.get(at)?),
            Values::UpDown(column) => Self::UpDown(*column.get(at)?),
            Values::Histogram(column) => Self::Histogram {
                // Its own bounds say nothing of the counts.
                buckets: column.get(at, &[])?.buckets().collect(),
                moments: Range::of(column.moments(at)?),
            },
            Values::Exponential(column) => Self::Exponential(Grown::of(column.rows.get(at)?)),
            Values::Average(column) => {
                let Mean { sum, count } = column.get(at)?;
                Self::Average(Gained { count: *count, sum: Sum::of(sum) })
            }
            Values::Summary(column) => Self::Summary(Summed::of(column.get(at)?)),
            Values::Windowed(column) => match &column.get(at)?.0 {
                None => Self::WindowedSummary { total: Gained::of(&Gain::default()), slots: Vec::new() },
                Some(recent) => Self::WindowedSummary {
                    total: Gained::of(&recent.total),
                    slots: slots_of(&recent.window, Summed::of),
                },
            },
            Values::Rate(column) => {
                let window = column.get(at)?.0.as_deref();
                Self::Rate(window.map_or_else(Vec::new, |window| slots_of(window, Gained::of)))
            }
            Values::Heartbeat(column) => Self::Heartbeat(column.get(at)?.0.unix_nanos()),
            Values::Info(column) => column.get(at).map(|Present| Self::Info)?,
            Values::StateSet(column) => Self::StateSet(column.get(at)?.0),
            Values::Fields(column) => {
                let field = |(name, number): &(FieldName, Number)| (name.to_string(), Field::of(*number));
                Self::Fields(column.get(at)?.iter().map(field).collect())
            }
        })
    }

    /// Appends the value to those of a metric of this shape.
    pub(super) fn put(self, values: &mut Values, shape: &Descriptor) -> Result<(), String> {
        match (self, values) {
            (Self::Counter(count), Values::Counter(column)) => column.push(count),
            (Self::FloatCounter(sum), Values::FloatCounter(column)) => {
                let sum = sum.build()?;
                require(sum.value() >= 0.0, "a counter below zero")?;
                column.push(sum);
            }
            (Self::Gauge(value), Values::Gauge(column)) => {
                require(value.is_finite(), "a gauge that is not finite")?;
                column.push(value);
            }
            (Self::UpDown(level), Values::UpDown(column)) => column.push(level),
            (Self::Histogram { buckets, moments }, Values::Histogram(column)) => {
                put_histogram(column, &buckets, moments, shape)?;
            }
            (Self::Exponential(grown), Values::Exponential(column)) => {
                column.rows.push(grown.build(shape.max_buckets())?);
            }
            (Self::Average(gained), Values::Average(column)) => {
                let Gain { count, sum } = gained.build()?;
                column.push(Mean { sum, count });
            }
            (Self::Summary(summed), Values::Summary(column)) => column.push(summed.build(shape)?),
            (Self::WindowedSummary { total, slots }, Values::Windowed(column)) => {
                let window = window(slots, shape.window(), |summed: Summed| summed.build(shape))?;
                let total = total.build()?;
                column.push(Digests(window.map(|window| Arc::new(Recent { total, window }))));
            }
            (Self::Rate(slots), Values::Rate(column)) => {
                let window = window(slots, shape.window(), Gained::build)?;
                column.push(Flow(window.map(Arc::new)));
            }
            (Self::Heartbeat(at), Values::Heartbeat(column)) => {
                column.push(Beat(Timestamp::from_unix_nanos(at)));
            }
            (Self::Info, Values::Info(column)) => column.push(Present),
            (Self::StateSet(on), Values::StateSet(column)) => {
                let known = shape.states().len() as u32;
                require(known >= 64 || on >> known == 0, "a state that the metric has not")?;
                column.push(States(on));
            }
            (Self::Fields(fields), Values::Fields(column)) => column.push(fields_of(fields)?),
            _ => return Err(format!("a value of another kind than {}", shape.kind())),
        }
        Ok(())
    }
}

fn require(is_so: bool, wrong: &str) -> Result<(), String> {
    if is_so { Ok(()) } else { Err(wrong.to_owned()) }
}

fn put_histogram(
    column: &mut Histograms,
    buckets: &[u64],
    moments: Range,
    shape: &Descriptor,
) -> Result<(), String> {
    require(buckets.len() == shape.bounds().len() + 1, "buckets that do not fit the bounds")?;
    let row = column.len();
    column.put(row, buckets, moments.build()?);
    Ok(())
}

fn fields_of(fields: Vec<(String, Field)>) -> Result<Vec<(FieldName, Number)>, String> {
    let mut row: Vec<(FieldName, Number)> = Vec::new();
    for (name, field) in fields {
        let name = FieldName::new(&name).map_err(|error| error.to_string())?;
        let number = field.number();
        require(number.as_f64().is_finite(), "a field that is not finite")?;
        require(row.iter().all(|(known, _)| *known != name), "a field that is there twice")?;
        row.push((name, number));
    }
    Ok(row)
}

impl Sum {
    fn of(sum: &ExactSum) -> Self {
        let nanos = sum.nanos();
        let parts = sum.parts().filter(|part| *part != 0.0).collect();
        Self { parts, nanos: ((nanos >> 64) as i64, nanos as u64) }
    }

    fn build(self) -> Result<ExactSum, String> {
        let mut sum = ExactSum::default();
        let (high, low) = self.nanos;
        let nanos = i128::from(high) << 64 | i128::from(low);
        let fits = (nanos == 0 || sum.add_nanos(nanos)) && self.parts.into_iter().all(|part| sum.add(part));
        require(fits, "a sum out of range")?;
        Ok(sum)
    }
}

impl Range {
    fn of(moments: &Moments) -> Self {
        Self { sum: Sum::of(&moments.sum), extremes: moments.extremes() }
    }

    fn build(self) -> Result<Moments, String> {
        let sum = self.sum.build()?;
        let Some((min, max)) = self.extremes else { return Ok(Moments { sum, ..Moments::default() }) };
        require(min.is_finite() && max.is_finite() && min <= max, "extremes that are none")?;
        Ok(Moments { sum, min, max })
    }
}

impl Gained {
    fn of(gain: &Gain) -> Self {
        Self { count: gain.count, sum: Sum::of(&gain.sum) }
    }

    fn build(self) -> Result<Gain, String> {
        Ok(Gain { count: self.count, sum: self.sum.build()? })
    }
}

impl Grown {
    fn of(row: &Exponential) -> Self {
        Self {
            scale: row.scale,
            zeros: row.zeros,
            positive: buckets_of(&row.positive),
            negative: buckets_of(&row.negative),
            moments: Range::of(&row.moments),
        }
    }

    fn build(self, most: u32) -> Result<Exponential, String> {
        require((MIN_SCALE..=MAX_SCALE).contains(&self.scale), "a scale out of range")?;
        let row = Exponential {
            scale: self.scale,
            zeros: self.zeros,
            positive: run(&self.positive, most)?,
            negative: run(&self.negative, most)?,
            moments: self.moments.build()?,
        };
        let counts = !row.positive.counts.is_empty() || !row.negative.counts.is_empty() || row.zeros > 0;
        require(counts != row.is_empty(), "buckets without extremes, or extremes without buckets")?;
        Ok(row)
    }
}

/// The buckets that hold something, by their index: there may be long gaps between them.
fn buckets_of(run: &Run) -> Vec<(i32, u64)> {
    let counts = (run.offset..).zip(&run.counts).filter(|(_, count)| **count > 0);
    counts.map(|(index, count)| (index, *count)).collect()
}

fn run(buckets: &[(i32, u64)], most: u32) -> Result<Run, String> {
    let (Some((first, _)), Some((last, _))) = (buckets.first(), buckets.last()) else {
        return Ok(Run::default());
    };
    require(buckets.windows(2).all(|pair| pair[0].0 < pair[1].0), "buckets whose indices do not rise")?;
    require(buckets.iter().all(|(_, count)| *count > 0), "a bucket with nothing in it")?;
    let span = i64::from(*last) - i64::from(*first) + 1;
    require(span <= i64::from(most) && *last < i32::MAX, "more buckets than the metric may have")?;
    let mut counts = vec![0; span as usize];
    for (index, count) in buckets {
        if let Some(bucket) = counts.get_mut((i64::from(*index) - i64::from(*first)) as usize) {
            *bucket = *count;
        }
    }
    Ok(Run { offset: *first, counts })
}

impl Summed {
    fn of(digest: &Digest) -> Self {
        Self {
            observed: digest.observed.as_deref().map(Grown::of),
            total: digest.total.as_ref().map(Gained::of),
        }
    }

    fn build(self, shape: &Descriptor) -> Result<Digest, String> {
        let most = shape.counting().max_buckets;
        Ok(Digest {
            observed: self.observed.map(|grown| grown.build(most)).transpose()?.map(Arc::new),
            total: self.total.map(Gained::build).transpose()?,
        })
    }
}

fn slots_of<T, W>(window: &Window<T>, write: impl Fn(&T) -> W) -> Vec<(u64, W)> {
    let held = window.slots.iter().filter(|slot| slot.number > 0);
    held.map(|slot| (slot.number, write(&slot.held))).collect()
}

/// A window of these stretches, if there are any.
fn window<T: Held, W>(
    slots: Vec<(u64, W)>,
    shape: WindowShape,
    read: impl Fn(W) -> Result<T, String>,
) -> Result<Option<Window<T>>, String> {
    if slots.is_empty() {
        return Ok(None);
    }
    let mut window: Window<T> = Window::new(shape);
    for (number, written) in slots {
        let places = window.slots.len() as u64;
        let place = window.slots.get_mut((number % places) as usize).filter(|slot| slot.number == 0);
        let place = place.filter(|_| number > 0).ok_or("a stretch of time that is there twice")?;
        *place = Slot { number, held: read(written)? };
    }
    Ok(Some(window))
}

impl Field {
    pub(super) fn of(number: Number) -> Self {
        match number {
            Number::U64(value) => Self::U64(value),
            Number::I64(value) => Self::I64(value),
            Number::F64(value) => Self::F64(value),
        }
    }

    pub(super) fn number(self) -> Number {
        match self {
            Self::U64(value) => Number::U64(value),
            Self::I64(value) => Number::I64(value),
            Self::F64(value) => Number::F64(value),
        }
    }
}
