//! States that are on or off.

use crate::metric::Interests;
use crate::metric::Metric;
use crate::metric::at_rest::AtRest;
use crate::metric::builder::InstrumentBuilder;
use crate::metric::builder::Intake;
use crate::metric::measure::Amount;
use crate::metric::series::Series;
use crate::model::error::Error;
use crate::model::error::ErrorKind;
use crate::model::snapshot::Descriptor;
use crate::model::snapshot::Family;
use crate::model::snapshot::FamilyWriter;
use crate::model::snapshot::Kind;
use crate::model::snapshot::States;
use crate::model::verdict::Context;
use crate::model::verdict::Refusal;
use crate::model::verdict::Verdict;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// In which of some named states something is, as OpenMetrics's state set.
///
/// The states are named when the metric is made. Events tell the one state that holds from now on ([`state`](StateSetBuilder::state)), or turn a
/// state on or off beside the others ([`toggle`](StateSetBuilder::toggle)). A state that was not named is refused, and changes nothing. Before the
/// first event there is no series. Recorders that are folded show how many of them have each state on; one that is removed counts no more.
///
/// # Examples
///
/// ```
/// use mvx_metrics::{Context, Metric, Refusal, StateSet, Timestamp, Verdict};
///
/// struct Changed { to: String }
///
/// let mut breaker = StateSet::<Changed>::builder("breaker", &["closed", "open", "half_open"])
///     .state(|e| Some(&*e.to))
///     .build()?;
/// let context = Context::new(Timestamp::default(), 1);
/// assert_eq!(breaker.handle_event(&Changed { to: "open".into() }, &context), Verdict::Accepted);
/// assert_eq!(breaker.handle_event(&Changed { to: "ajar".into() }, &context), Verdict::Refused(Refusal::OutOfRange));
/// # Ok::<(), mvx_metrics::Error>(())
/// ```
pub struct StateSet<E> {
    intake: Intake<E>,
    series: Series<E, Vec<States>>,
}

/// Collects what a [`StateSet`] is.
pub type StateSetBuilder<E> = InstrumentBuilder<E, StateSet<E>>;

impl<E: 'static> StateSet<E> {
    /// Starts a state set of this name, with these states: 1 to [`MAX_STATES`](crate::limits::MAX_STATES), no two alike.
    pub fn builder(name: &str, states: &[&str]) -> StateSetBuilder<E> {
        let mut builder = InstrumentBuilder::new(name, Kind::StateSet);
        builder.descriptor = builder.descriptor.states(states);
        builder
    }
}

impl<E: 'static> StateSetBuilder<E> {
    /// The state that holds from this event on, and no other; an event that answers `None` is ignored.
    pub fn state(self, read: impl for<'a> Fn(&'a E) -> Option<&'a str> + Send + 'static) -> Self {
        let states = self.descriptor.known_states();
        // No place is unsigned, and a place with a switch is signed: so the two are told apart.
        self.value(move |event| Some(place(&states, read(event)?)))
    }

    /// A state that this event turns on or off, beside the others; an event that answers `None` is ignored.
    pub fn toggle(self, read: impl for<'a> Fn(&'a E) -> Option<(&'a str, bool)> + Send + 'static) -> Self {
        let states = self.descriptor.known_states();
        self.value(move |event| {
            let (state, on) = read(event)?;
            let place = i64::try_from(place(&states, state)).unwrap_or(i64::MAX / 2);
            Some(place * 2 + i64::from(on))
        })
    }

    /// Checks everything and makes the state set.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidState`] if no closure tells states; else the first mistake, as
    /// [`DescriptorBuilder::build`](crate::DescriptorBuilder::build) tells it.
    pub fn build(self) -> Result<StateSet<E>, Error> {
        if !self.has_value() {
            let message =
                "a state set is never told its state: call `.state(|event| ..)` or `.toggle(|event| ..)`";
            return Err(Error::new(ErrorKind::InvalidState, message));
        }
        let (intake, series) = self.into_parts()?.into_series();
        Ok(StateSet { intake, series })
    }
}

/// Where a state stands among those of the set; where none can stand if it is not among them.
fn place(states: &[Box<str>], state: &str) -> u64 {
    states.iter().position(|known| **known == *state).map_or(u64::MAX, |at| at as u64)
}

impl<E: 'static> Metric<E> for StateSet<E> {
    fn descriptor(&self) -> &Arc<Descriptor> {
        &self.intake.descriptor
    }

    fn interests(&self) -> Interests {
        self.intake.interests()
    }

    fn handle_event(&mut self, event: &E, context: &Context) -> Verdict {
        let Some(told) = self.intake.take(event, Amount::Unsigned(0)) else { return Verdict::Ignored };
        let (place, switch) = match told {
            Amount::Unsigned(place) => (place, None),
            Amount::Signed(place) => (place.unsigned_abs() / 2, Some(place & 1 == 1)),
            Amount::Float(_) | Amount::Nanos(_) => return Verdict::Refused(Refusal::OutOfRange),
        };
        if place >= self.intake.descriptor.states().len() as u64 {
            return Verdict::Refused(Refusal::OutOfRange);
        }
        let bit = 1 << place;
        let row = self.series.row(event, context);
        if let Some(States(on)) = self.series.column_mut().get_mut(row) {
            *on = match switch {
                None => bit,
                Some(true) => *on | bit,
                Some(false) => *on & !bit,
            };
        }
        Verdict::Accepted
    }

    fn reshape(&mut self, descriptor: &Arc<Descriptor>) -> bool {
        self.series.reshape(descriptor, &mut self.intake.descriptor)
    }

    fn fetch(&self, step: usize) {
        self.series.fetch(step);
    }

    fn heap_bytes(&self) -> usize {
        self.intake.heap_bytes() + self.series.heap_bytes()
    }

    fn expiry(&self) -> Option<Duration> {
        self.series.expiry()
    }

    fn expire(&mut self, context: &Context) -> Option<Family> {
        self.series.expire(context)
    }

    fn at_rest(&mut self) -> Option<&mut dyn AtRest> {
        Some(&mut self.series)
    }

    fn snapshot(&self, writer: &mut FamilyWriter<'_>) {
        self.series.snapshot(writer);
    }
}

impl<E> fmt::Debug for StateSet<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateSet").field("intake", &self.intake).field("series", &self.series).finish()
    }
}
