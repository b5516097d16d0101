//! What a runtime wants otherwise of the metrics that its recorders bring.

use crate::model::error::Error;
use crate::model::error::ErrorKind;
use crate::model::name::MetricName;
use crate::model::pattern::NamePattern;
use crate::model::snapshot::Descriptor;
use crate::model::snapshot::Kind;
use crate::sync::Mutex;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// What a metric is to have instead of what its definition says; see
/// [`RuntimeBuilder::metric_view`](crate::RuntimeBuilder::metric_view).
#[derive(Clone, Debug, Default, PartialEq)]
#[must_use = "a shape changes nothing until a runtime's builder is given it"]
pub struct MetricShape {
    bounds: Option<Box<[f64]>>,
    cardinality: Option<u32>,
}

impl MetricShape {
    /// A shape that changes nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// The upper bounds of the buckets, inclusive, of the histograms among the metrics; others have none, and do not change.
    pub fn bounds(mut self, bounds: &[f64]) -> Self {
        self.bounds = Some(bounds.into());
        self
    }

    /// How many series each recorder may have of the metric, before further ones share the overflow series.
    pub fn cardinality(mut self, limit: u32) -> Self {
        self.cardinality = Some(limit);
        self
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        if *self == Self::default() {
            let message = "a view of metrics that changes nothing; give it bounds or a cardinality";
            return Err(Error::new(ErrorKind::InvalidLimit, message));
        }
        // As of a metric that would have both.
        let bounds = self.bounds.as_deref().unwrap_or(&[0.0]);
        let limit = self.cardinality.unwrap_or(1);
        Descriptor::builder("view", Kind::Histogram).bounds(bounds).cardinality(limit).build().map(drop)
    }
}

/// The shapes that a runtime wants.
#[derive(Default)]
pub(crate) struct Shapes {
    rules: Vec<(NamePattern, MetricShape)>,
    /// What came of it by name, so that recorders which bring the same metric share one descriptor. Bounded by the names in the program.
    made: Mutex<HashMap<MetricName, Arc<Descriptor>>>,
}

impl Shapes {
    pub(crate) fn new(rules: Vec<(NamePattern, MetricShape)>) -> Self {
        Self { rules, made: Mutex::new(HashMap::new()) }
    }

    /// The metric as it is to be, if it is to be otherwise. The first rule that is for it counts.
    pub(crate) fn of(&self, descriptor: &Descriptor) -> Option<Arc<Descriptor>> {
        let name = descriptor.name();
        let (_, shape) = self.rules.iter().find(|(pattern, _)| pattern.matches(name))?;
        let bounds = shape.bounds.as_deref().filter(|_| descriptor.kind() == Kind::Histogram);
        let wanted = descriptor.reshaped(bounds, shape.cardinality);
        if wanted == *descriptor {
            return None;
        }
        let mut made = self.made.lock();
        if let Some(known) = made.get(name).filter(|known| ***known == wanted) {
            return Some(Arc::clone(known));
        }
        let wanted = Arc::new(wanted);
        made.insert(name.clone(), Arc::clone(&wanted));
        Some(wanted)
    }
}

impl fmt::Debug for Shapes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shapes").field("rules", &self.rules).finish_non_exhaustive()
    }
}
