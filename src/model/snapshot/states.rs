//! Infos and state sets: what has no number of its own.

use crate::model::clock::Timestamp;
use crate::model::name::LabelKey;
use crate::model::snapshot::columns::Values;
use crate::model::snapshot::descriptor::Descriptor;
use crate::model::snapshot::descriptor::Kind;
use crate::model::snapshot::family::Family;
use std::fmt;
use std::sync::Arc;

/// That a series is there, which is all that one of an info says.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Present;

/// Which of the states of a state set are on, a bit each, in the order of the metric's definition.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct States(pub(crate) u64);

/// The states of one series, each on or off.
///
/// # Examples
///
/// ```
/// use mvx_metrics::{Context, Family, FamilyWriter, Metric, StateSet, Timestamp};
///
/// let mut breaker = StateSet::<&str>::builder("breaker", &["closed", "open"]).state(|e| Some(*e)).build()?;
/// let _ = breaker.handle_event(&"open", &Context::new(Timestamp::default(), 1));
/// let mut family = Family::new(breaker.descriptor().clone());
/// breaker.snapshot(&mut FamilyWriter::whole(&mut family));
/// let states = family.find(&[]).and_then(|series| series.value().states()).unwrap();
/// assert_eq!(states.iter().collect::<Vec<_>>(), [("closed", false), ("open", true)]);
/// assert_eq!((states.is_on("open"), states.is_on("ajar")), (Some(true), None));
/// # Ok::<(), mvx_metrics::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq)]
pub struct StatesRef<'a> {
    names: &'a [Box<str>],
    on: u64,
}

impl<'a> StatesRef<'a> {
    pub(super) fn new(names: &'a [Box<str>], States(on): States) -> Self {
        Self { names, on }
    }

    /// Each state, and whether it is on, in the order of the metric's definition.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&'a str, bool)> + use<'a> {
        let on = self.on;
        self.names.iter().enumerate().map(move |(at, name)| (&**name, on >> at & 1 == 1))
    }

    /// Whether this state is on; `None` if there is no state of this name.
    pub fn is_on(&self, state: &str) -> Option<bool> {
        self.iter().find(|(name, _)| *name == state).map(|(_, on)| on)
    }
}

impl fmt::Debug for StatesRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl Descriptor {
    /// What an info or a state set is once it is counted: how many show these labels, or have this state on. Nothing for every other kind.
    pub(crate) fn counted(&self) -> Option<Arc<Self>> {
        match self.kind() {
            Kind::Info => {
                let name = crate::model::name::MetricName::new(&format!("{}.info", self.name())).ok()?;
                Some(self.of_kind(Kind::UpDown).renamed(name))
            }
            Kind::StateSet => Some(Arc::new(self.of_kind(Kind::UpDown).with_label(self.state_key()?))),
            _ => None,
        }
    }

    /// The label by which the states of a state set are told apart: the name of the metric, as OpenMetrics has it.
    pub(crate) fn state_key(&self) -> Option<LabelKey> {
        LabelKey::new(&self.name().as_str().replace('.', "_")).ok()
    }
}

impl Family {
    /// Infos and state sets as numbers, under the descriptor made for that: 1 for what is there or on, 0 for a state that is off.
    pub(crate) fn counted_as(&self, descriptor: Arc<Descriptor>) -> Self {
        let mut counted = Self::new(descriptor);
        for series in 0..self.len() {
            let started = self.keys.started(series);
            match &self.values {
                Values::Info(_) => counted.count_one(self, series, None, true, started),
                // The overflow series stands for many things at once: which state they have in common cannot be said.
                Values::StateSet(_) if self.keys.overflow() == Some(series) => {}
                Values::StateSet(states) => {
                    let on = states.get(series).copied().unwrap_or_default();
                    for (state, on) in StatesRef::new(self.descriptor.states(), on).iter() {
                        counted.count_one(self, series, Some(state), on, started);
                    }
                }
                _ => {}
            }
        }
        (counted.overflowed, counted.saturated, counted.faults) =
            (self.overflowed, self.saturated, self.faults);
        counted
    }

    fn count_one(&mut self, of: &Self, series: usize, state: Option<&str>, on: bool, started: Timestamp) {
        let Values::UpDown(column) = &mut self.values else { return };
        let key = if state.is_some() { of.descriptor.state_key() } else { None };
        let labels = of.keys.labels(series);
        let keys = self.descriptor.label_keys().iter();
        let values: Vec<&str> = keys
            .map(|known| {
                let of_state = state.filter(|_| key.as_ref() == Some(known));
                of_state.or_else(|| labels.get(known.as_str())).unwrap_or_default()
            })
            .collect();
        column.push(i64::from(on));
        self.keys.push(values.into_iter(), started);
    }
}

super::columns::rows!(Present => Info, |_, _| 0; States => StateSet, |_, _| 0);
