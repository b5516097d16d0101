//! Families on their way through serde: plain fields out, and everything checked on the way in.
//!
//! What comes in is whatever somebody else has written: names, shapes and values that this crate would never have made are refused,
//! so that nothing behind this point meets one. Numbers are numbers, and come back to the last bit where the format keeps them; sums
//! are told by their exact parts.

mod shape;
mod value;

use crate::model::clock::Timestamp;
use crate::model::label::LabelSet;
use crate::model::label::MAX_LABEL_VALUE_BYTES;
use crate::model::snapshot::descriptor::Descriptor;
use crate::model::snapshot::exemplars::Exemplar;
use crate::model::snapshot::family::Family;
use crate::model::snapshot::wire::shape::Shape;
use crate::model::snapshot::wire::value::Field;
use crate::model::snapshot::wire::value::Value;
use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;
use serde::Serializer;
use serde::de::Error;
use std::collections::HashSet;
use std::sync::Arc;

#[derive(Serialize, Deserialize)]
struct Written {
    metric: Shape,
    series: Vec<Series>,
    overflowed: u64,
    /// Some label sets that overflowed, each with a value for each key.
    overflow_examples: Vec<Vec<String>>,
    saturated: u64,
    faults: u64,
    #[serde(default)]
    exemplars_left_out: u64,
}

#[derive(Serialize, Deserialize)]
struct Series {
    /// A value for each label key, in their order; of the overflow series none.
    labels: Vec<String>,
    overflow: bool,
    started: u64,
    value: Value,
    /// What older versions did not have.
    #[serde(default)]
    exemplars: Vec<Told>,
}

/// An exemplar.
#[derive(Serialize, Deserialize)]
struct Told {
    labels: Vec<(String, String)>,
    value: Field,
    at: u64,
}

impl Told {
    fn of(exemplar: &Exemplar) -> Self {
        let labels = exemplar.labels().iter().map(|(key, value)| (key.to_owned(), value.to_owned()));
        Self { labels: labels.collect(), value: Field::of(exemplar.value()), at: exemplar.at().unix_nanos() }
    }

    fn build(self) -> Result<Exemplar, String> {
        let pairs = self.labels.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let labels = LabelSet::new(pairs).map_err(|error| error.to_string())?;
        Exemplar::new(labels, self.value.number(), Timestamp::from_unix_nanos(self.at))
            .map_err(|error| error.to_string())
    }
}

/// A family with its descriptor and series, exactly.
impl Serialize for Family {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let overflow = self.keys.overflow();
        let series = (0..self.len()).filter_map(|at| {
            let texts = self.keys.texts(at).map(str::to_owned);
            Some(Series {
                labels: if overflow == Some(at) { Vec::new() } else { texts.collect() },
                overflow: overflow == Some(at),
                started: self.keys.started(at).unix_nanos(),
                value: Value::of(&self.values, at)?,
                exemplars: self.exemplars.of(at).iter().map(|(_, exemplar)| Told::of(exemplar)).collect(),
            })
        });
        let written = Written {
            metric: Shape::of(&self.descriptor),
            series: series.collect(),
            overflowed: self.overflowed,
            overflow_examples: self
                .keys
                .overflow_examples()
                .iter()
                .map(|example| self.values_of(example))
                .collect(),
            saturated: self.saturated,
            faults: self.faults,
            exemplars_left_out: self.exemplars_left_out(),
        };
        written.serialize(serializer)
    }
}

/// Whatever no metric could have shown is an error: wrong names, buckets that do not fit the bounds, a label set that is there twice.
impl<'de> Deserialize<'de> for Family {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = Written::deserialize(deserializer)?;
        let descriptor = written.metric.build().map_err(D::Error::custom)?;
        let name = descriptor.name().clone();
        let counts = (written.overflowed, written.saturated, written.faults);
        let family = family(descriptor, written.series, &written.overflow_examples, counts);
        let mut family = family.map_err(|wrong| D::Error::custom(format!("metric {name}: {wrong}")))?;
        family.exemplars.leave_out(written.exemplars_left_out);
        Ok(family)
    }
}

fn family(
    descriptor: Arc<Descriptor>,
    series: Vec<Series>,
    examples: &[Vec<String>],
    counts: (u64, u64, u64),
) -> Result<Family, String> {
    let mut family = Family::new(descriptor);
    (family.overflowed, family.saturated, family.faults) = counts;
    let mut known = HashSet::new();
    for one in series {
        let started = Timestamp::from_unix_nanos(one.started);
        one.value.put(&mut family.values, &family.descriptor)?;
        let row = family.len();
        for told in one.exemplars {
            let exemplar = told.build()?;
            let slot = family.descriptor.slot_of(exemplar.value().as_f64());
            let slot = slot.ok_or("an exemplar of a metric that has none")?;
            family.exemplars.put_newer(row, slot, exemplar, &family.descriptor);
        }
        if one.overflow {
            if family.keys.overflow().is_some() || !one.labels.is_empty() {
                return Err("there is one overflow series, and it has no labels".to_owned());
            }
            family.keys.push_overflow(started);
            continue;
        }
        if one.labels.len() != family.keys.width() {
            return Err(format!("{} label values for {} keys", one.labels.len(), family.keys.width()));
        }
        if one.labels.iter().any(|value| value.len() > MAX_LABEL_VALUE_BYTES) {
            return Err(format!("a label value of more than {MAX_LABEL_VALUE_BYTES} bytes"));
        }
        family.keys.push(one.labels.iter().map(String::as_str), started);
        if !known.insert(one.labels) {
            return Err("two series of one label set".to_owned());
        }
    }
    if examples.iter().any(|example| example.len() != family.keys.width()) {
        return Err("an example of what overflowed that has other labels".to_owned());
    }
    for example in examples {
        family.keys.note_overflow(example.iter().map(String::as_str));
    }
    Ok(family)
}

impl Family {
    /// The values of a label set, by the metric's keys.
    fn values_of(&self, labels: &LabelSet) -> Vec<String> {
        let keys = self.descriptor.label_keys().iter();
        keys.map(|key| labels.get(key.as_str()).unwrap_or_default().to_owned()).collect()
    }
}
