//! Metrics made of a fuzzer's bytes: as the library has them, and as plain data that an oracle reads.

use crate::fuzzed::input::Input;
use mvx_metrics::Descriptor;
use mvx_metrics::ExactSum;
use mvx_metrics::Family;
use mvx_metrics::FamilyWriter;
use mvx_metrics::FieldName;
use mvx_metrics::Kind;
use mvx_metrics::LabelSet;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::RuntimeSnapshot;
use mvx_metrics::Unit;
use std::sync::LazyLock;

pub const BOUNDS: [f64; 3] = [0.0, 0.5, 1e300];

pub const STATES: [&str; 2] = ["closed", "half \"open\" \\ é"];

/// Its only label.
pub const KEY: &str = "user";

pub enum Value {
    Counter(u64),
    FloatCounter(ExactSum),
    Gauge(f64),
    UpDown(i64),
    Average(ExactSum, u64),
    /// Buckets, sum, and whether something was below zero.
    Histogram([u64; 4], ExactSum, bool),
    Info,
    States([bool; 2]),
    Field(u64),
}

pub struct Stated {
    pub name: String,
    pub kind: Kind,
    /// What its unit ends a name with.
    pub unit: Option<&'static str>,
    pub help: String,
    /// Labels, which differ, and values.
    pub series: Vec<(String, Value)>,
}

/// At most two, of different names: what one family may do to another, it does to the next one.
pub fn stated(input: &mut Input<'_>) -> Vec<Stated> {
    let mut all = Vec::new();
    while !input.is_empty() && all.len() < 2 {
        let kind = input.pick(&[
            Kind::Counter,
            Kind::FloatCounter,
            Kind::Gauge,
            Kind::UpDown,
            Kind::Average,
            Kind::Histogram,
            Kind::Info,
            Kind::StateSet,
            Kind::Fields,
        ]);
        let name = format!("m{}.part", all.len());
        let unit = input.pick(&[None, Some("seconds"), Some("bytes")]);
        // What has no quantity has no unit.
        let unit = unit.filter(|_| !matches!(kind, Kind::Info | Kind::StateSet | Kind::Fields));
        let help = input.text();
        let mut series: Vec<(String, Value)> = Vec::new();
        for _ in 0..=input.below(3) {
            let label = input.text();
            let value = value(kind, input);
            if series.iter().all(|(known, _)| *known != label) {
                series.push((label, value));
            }
        }
        all.push(Stated { name, kind, unit, help, series });
    }
    all
}

fn value(kind: Kind, input: &mut Input<'_>) -> Value {
    match kind {
        Kind::Counter => Value::Counter(input.whole()),
        Kind::FloatCounter => Value::FloatCounter(sum(input, f64::abs)),
        Kind::Gauge => Value::Gauge(input.real()),
        Kind::UpDown => Value::UpDown(input.whole() as i64),
        Kind::Average => Value::Average(sum(input, |real| real), input.whole()),
        Kind::Histogram => {
            let below = input.byte() & 1 == 1;
            let sum = sum(input, if below { |real| real } else { f64::abs });
            Value::Histogram(std::array::from_fn(|_| input.whole() >> 2), sum, below)
        }
        Kind::Info => Value::Info,
        Kind::StateSet => Value::States([input.byte() & 1 == 1, input.byte() & 1 == 1]),
        _ => Value::Field(input.whole()),
    }
}

/// Of a few numbers, each as `made` of one.
fn sum(input: &mut Input<'_>, made: fn(f64) -> f64) -> ExactSum {
    let mut sum = ExactSum::default();
    for _ in 0..input.below(4) {
        // One that would end it is left out.
        let _taken = sum.add(made(input.real()));
    }
    sum
}

impl Stated {
    pub fn descriptor(&self) -> std::sync::Arc<Descriptor> {
        let builder = Descriptor::builder(&self.name, self.kind).help(&self.help).label(KEY);
        let builder = match self.unit {
            Some("seconds") => builder.unit(Unit::Seconds),
            Some(_) => builder.unit(Unit::Bytes),
            None => builder,
        };
        let builder = match self.kind {
            Kind::Histogram => builder.bounds(&BOUNDS),
            Kind::StateSet => builder.states(&STATES),
            _ => builder,
        };
        builder.build().expect("a good descriptor")
    }

    fn family(&self) -> Family {
        let mut family = Family::new(self.descriptor());
        let mut writer = FamilyWriter::whole(&mut family);
        for (label, value) in &self.series {
            let labels = labels(label);
            match value {
                Value::Counter(count) => writer.counter(&labels, *count),
                Value::FloatCounter(sum) => writer.float_counter(&labels, sum),
                Value::Gauge(real) => writer.gauge(&labels, *real),
                Value::UpDown(level) => writer.up_down(&labels, *level),
                Value::Average(sum, count) => writer.average(&labels, sum, *count),
                Value::Histogram(buckets, sum, below) => {
                    let least = if *below { -1.0 } else { 0.0 };
                    writer.histogram(&labels, buckets, sum, Some((least, 1.0)));
                }
                Value::Info => writer.info(&labels),
                Value::States(on) => {
                    let on = STATES.iter().zip(on).filter_map(|(state, on)| on.then_some(*state));
                    writer.state_set(&labels, &on.collect::<Vec<_>>());
                }
                Value::Field(number) => {
                    writer.labelled_field(&labels, &FieldName::new("field").expect("a name"), *number);
                }
            }
        }
        drop(writer);
        assert_eq!(family.faults(), 0, "all of it could be stated");
        family
    }
}

pub fn labels(label: &str) -> LabelSet {
    LabelSet::new([(KEY, label)]).expect("labels")
}

/// A snapshot of these and nothing else but what the runtime says of itself.
pub fn snapshot(stated: &[Stated]) -> RuntimeSnapshot {
    with(stated.iter().map(Stated::family).collect()).expect("names that differ")
}

/// A snapshot of these families.
pub fn with(families: Vec<Family>) -> Result<RuntimeSnapshot, mvx_metrics::Error> {
    let mut snapshot = empty();
    snapshot.add(families)?;
    Ok(snapshot)
}

/// A snapshot of a runtime that has measured nothing.
pub fn empty() -> RuntimeSnapshot {
    static EMPTY: LazyLock<RuntimeSnapshot> =
        LazyLock::new(|| MetricsRuntime::builder(NAMESPACE).build().expect("a runtime").collect());
    EMPTY.clone()
}

pub const NAMESPACE: &str = "fuzzed";
