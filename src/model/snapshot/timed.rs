//! Values that change by the passing of time, kept as absolute times and evaluated when they are asked for.

use crate::model::clock::Timestamp;
use crate::model::snapshot::columns::Values;
use crate::model::snapshot::descriptor::Descriptor;
use crate::model::snapshot::descriptor::GaugeFold;
use crate::model::snapshot::descriptor::Kind;
use crate::model::snapshot::digest::Digests;
use crate::model::snapshot::digest::Gain;
use crate::model::snapshot::family::Family;
use crate::model::snapshot::window::Held;
use crate::model::snapshot::window::Window;
use crate::model::snapshot::window::WindowShape;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// When the last event of one series was; the Unix epoch before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Beat(pub(crate) Timestamp);

/// What one series has gained lately.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Flow(pub(super) Option<Arc<Window<Gain>>>);

/// What a rate comes to at some time.
///
/// # Examples
///
/// See [`TimedRef::rate_at`].
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Rate {
    /// The sum of what was observed within the window, by the time that it covers, in seconds.
    pub per_second: f64,
    /// How many observations that is: how much is to be thought of it.
    pub count: u64,
    /// Their sum: exact, rounded here.
    pub sum: f64,
    /// The time covered: from the window's oldest slot, or the first observation if that was later, to the time asked for; at least one slot.
    pub covered: Duration,
}

/// The value of a series that changes by the passing of time: a heartbeat, a rate, a windowed summary.
#[derive(Clone, Copy, PartialEq)]
pub struct TimedRef<'a> {
    value: Timed<'a>,
    started: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Timed<'a> {
    Beat(Timestamp),
    Flow(&'a Flow, WindowShape),
    Recent(&'a Digests),
}

impl<'a> TimedRef<'a> {
    pub(super) fn new(value: Timed<'a>, started: Timestamp) -> Self {
        Self { value, started }
    }

    /// When the last event of a heartbeat was. `None` for another kind of metric.
    pub fn last_event(self) -> Option<Timestamp> {
        if let Timed::Beat(at) = self.value { Some(at) } else { None }
    }

    /// What a rate comes to at `now`: `None` if nothing was observed within the window, which is not a rate of 0, and for another kind of metric.
    ///
    /// # Examples
    ///
    /// ```
    /// use mvx_metrics::{Context, Family, FamilyWriter, Metric, RateMeter, Timestamp};
    /// use std::time::Duration;
    ///
    /// let mut requests = RateMeter::<()>::builder("requests.rate").window(Duration::from_secs(10)).slots(10).build()?;
    /// let at = |seconds| Timestamp::from_unix_nanos(0).saturating_add(Duration::from_secs(seconds));
    /// for second in [100, 101, 102, 103] {
    ///     let _ = requests.handle_event(&(), &Context::new(at(second), 1));
    /// }
    /// let mut family = Family::new(requests.descriptor().clone());
    /// requests.snapshot(&mut FamilyWriter::whole(&mut family));
    /// let requests = family.find(&[]).and_then(|series| series.value().timed()).unwrap();
    ///
    /// let rate = requests.rate_at(at(104)).unwrap();
    /// assert_eq!((rate.per_second, rate.count, rate.covered), (1.0, 4, Duration::from_secs(4)));
    /// assert_eq!(requests.rate_at(at(112)).map(|rate| rate.count), Some(1)); // only that of second 103 is left
    /// assert_eq!(requests.rate_at(at(113)), None);
    /// # Ok::<(), mvx_metrics::Error>(())
    /// ```
    pub fn rate_at(self, now: Timestamp) -> Option<Rate> {
        if let Timed::Flow(flow, shape) = self.value { flow.at(shape, self.started, now) } else { None }
    }
}

impl fmt::Debug for TimedRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.value {
            Timed::Beat(at) => f.debug_tuple("Heartbeat").field(&at).finish(),
            Timed::Flow(flow, _) => f.debug_tuple("Rate").field(flow).finish(),
            Timed::Recent(digests) => f.debug_tuple("WindowedSummary").field(digests).finish(),
        }
    }
}

impl Flow {
    /// What it takes beside itself; what is shared counts only with `all`.
    fn heap_bytes(&self, all: bool) -> usize {
        let Some(window) = self.0.as_ref().filter(|window| all || Arc::strong_count(window) == 1) else {
            return 0;
        };
        let held = |gain: &Gain| gain.sum.heap_bytes();
        crate::model::heap::arc(&**window) + window.heap_bytes(held)
    }

    /// Counts one observation; false if it cannot be added to the sum, or is older than the whole window.
    pub(crate) fn observe(
        &mut self,
        shape: WindowShape,
        at: Timestamp,
        add: impl FnOnce(&mut crate::model::snapshot::ExactSum) -> bool,
    ) -> bool {
        let window = self.0.get_or_insert_with(|| Arc::new(Window::new(shape)));
        Arc::make_mut(window).slot(shape, at).is_some_and(|gain| gain.observe(add))
    }

    pub(super) fn merge(&mut self, other: &Self) -> bool {
        match (&mut self.0, &other.0) {
            (_, None) => true,
            (Some(ours), Some(theirs)) => Arc::make_mut(ours).merge(theirs, 0),
            (ours, Some(theirs)) => {
                *ours = Some(Arc::clone(theirs));
                true
            }
        }
    }

    fn at(&self, shape: WindowShape, started: Timestamp, now: Timestamp) -> Option<Rate> {
        let mut all = Gain::default();
        for gain in self.0.as_ref()?.within(shape, now) {
            // Each slot is within the range of sums; what they come to may not be, and then is left at what fits.
            let _ = all.merge(gain, 0);
        }
        let covered = now.saturating_since(shape.begin(now).max(started)).max(shape.slot());
        let (count, sum) = (all.count, all.sum.value());
        (count > 0).then(|| Rate { per_second: sum / covered.as_secs_f64(), count, sum, covered })
    }
}

impl Family {
    /// The family as it is at a time: a heartbeat as a gauge of the seconds since its last event, a rate as a gauge of what it comes to in a
    /// second, a windowed summary as the summary of what is within the window. Series without data have no value then: those of rates are not there.
    ///
    /// Any other family is what it is, and not copied.
    ///
    /// # Examples
    ///
    /// ```
    /// use mvx_metrics::{Context, Family, FamilyWriter, Heartbeat, Kind, Metric, Timestamp};
    /// use std::time::Duration;
    ///
    /// let mut alive = Heartbeat::<()>::builder("worker.heartbeat").build()?;
    /// let at = |seconds| Timestamp::from_unix_nanos(0).saturating_add(Duration::from_secs(seconds));
    /// let _ = alive.handle_event(&(), &Context::new(at(100), 1));
    /// let mut family = Family::new(alive.descriptor().clone());
    /// alive.snapshot(&mut FamilyWriter::whole(&mut family));
    ///
    /// let later = family.at(at(130));
    /// assert_eq!(later.descriptor().kind(), Kind::Gauge);
    /// assert_eq!(later.find(&[]).and_then(|series| series.value().gauge()), Some(30.0));
    /// # Ok::<(), mvx_metrics::Error>(())
    /// ```
    pub fn at(&self, now: Timestamp) -> Cow<'_, Self> {
        match self.descriptor.settled() {
            Some(descriptor) => Cow::Owned(self.settled(now, descriptor)),
            None => Cow::Borrowed(self),
        }
    }

    /// The same under a descriptor that is made already.
    pub(crate) fn settled(&self, now: Timestamp, descriptor: Arc<Descriptor>) -> Self {
        let mut settled = Self::new(descriptor);
        for series in 0..self.len() {
            let started = self.keys.started(series);
            let is_there = match (&mut settled.values, &self.values) {
                (Values::Gauge(ours), Values::Heartbeat(theirs)) => {
                    theirs.get(series).map(|Beat(last)| ours.push(now.saturating_since(*last).as_secs_f64()))
                }
                (Values::Gauge(ours), Values::Rate(theirs)) => {
                    let shape = self.descriptor.window();
                    let rate = theirs.get(series).and_then(|flow| flow.at(shape, started, now));
                    rate.map(|rate| ours.push(rate.per_second))
                }
                (Values::Summary(ours), Values::Windowed(theirs)) => {
                    let (counting, shape) = (self.descriptor.counting(), self.descriptor.window());
                    theirs.get(series).map(|recent| ours.push(recent.at(counting, shape, now)))
                }
                _ => None,
            };
            if is_there.is_none() {
                continue;
            }
            if self.keys.overflow() == Some(series) {
                settled.keys.push_overflow(started);
            } else {
                settled.keys.push(self.keys.texts(series), started);
            }
        }
        (settled.overflowed, settled.saturated, settled.faults) =
            (self.overflowed, self.saturated, self.faults);
        settled
    }
}

impl Descriptor {
    /// What a metric is whose values change by the passing of time, once they are evaluated; nothing for every other kind.
    pub(crate) fn settled(&self) -> Option<Arc<Self>> {
        let kind = match self.kind() {
            Kind::Heartbeat | Kind::Rate => Kind::Gauge,
            Kind::WindowedSummary => Kind::Summary,
            _ => return None,
        };
        Some(Arc::new(self.of_kind(kind)))
    }
}

impl Beat {
    /// Of two recorders: the later event, or the earlier one where the longest silence is what counts.
    pub(super) fn merge(&mut self, other: Self, rule: GaugeFold) {
        let known = self.0 != Timestamp::default();
        self.0 = match rule {
            GaugeFold::Max if known => self.0.min(other.0),
            _ => self.0.max(other.0),
        };
    }
}

super::columns::rows!(Beat => Heartbeat, |_, _| 0; Flow => Rate, Flow::heap_bytes; Digests => Windowed, Digests::heap_bytes);
