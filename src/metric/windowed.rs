//! What was observed lately: quantiles and rates over a window.

use crate::metric::Interests;
use crate::metric::Metric;
use crate::metric::at_rest::AtRest;
use crate::metric::builder::InstrumentBuilder;
use crate::metric::builder::Intake;
use crate::metric::measure::Amount;
use crate::metric::series::Series;
use crate::model::error::Error;
use crate::model::snapshot::Counting;
use crate::model::snapshot::Descriptor;
use crate::model::snapshot::Digests;
use crate::model::snapshot::Family;
use crate::model::snapshot::FamilyWriter;
use crate::model::snapshot::Flow;
use crate::model::snapshot::Kind;
use crate::model::snapshot::WindowShape;
use crate::model::verdict::Context;
use crate::model::verdict::Refusal;
use crate::model::verdict::Verdict;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A [`Summary`](crate::Summary) of what was observed within the last seconds.
///
/// The window is cut into slots of absolute time, and what is old leaves it slot by slot, also when no event comes: it is evaluated when it is
/// read, [at a time](crate::Snapshot::at). It shows what lies in the slot of that time and those before it: between one slot less than the window
/// and the whole of it. Without an observation in there it has no quantiles; the count and the sum that exporters show are those since the
/// start, as in Prometheus's own clients. Recorders merge exactly. Each slot may take as much memory as a summary.
///
/// # Examples
///
/// ```
/// use mvx_metrics::{Context, Family, FamilyWriter, Metric, Timestamp, WindowedSummary};
/// use std::time::Duration;
///
/// let mut wait = WindowedSummary::<u64>::builder("wait").window(Duration::from_secs(60)).value(|e| Some(*e)).build()?;
/// let at = |seconds| Timestamp::from_unix_nanos(0).saturating_add(Duration::from_secs(seconds));
/// let _ = wait.handle_event(&900, &Context::new(at(600), 1));
/// let _ = wait.handle_event(&5, &Context::new(at(655), 1));
/// let mut family = Family::new(wait.descriptor().clone());
/// wait.snapshot(&mut FamilyWriter::whole(&mut family));
///
/// let shown = |now| {
///     let family = family.at(at(now));
///     let wait = family.find(&[]).and_then(|series| series.value().summary()).unwrap();
///     (wait.count(), wait.max(), wait.total_count())
/// };
/// assert_eq!(shown(656), (2, Some(900.0), 2));
/// assert_eq!(shown(660), (1, Some(5.0), 2)); // the slot of second 600 has left
/// assert_eq!(shown(800), (0, None, 2));
/// # Ok::<(), mvx_metrics::Error>(())
/// ```
pub struct WindowedSummary<E> {
    intake: Intake<E>,
    series: Series<E, Vec<Digests>>,
    counting: Counting,
    window: WindowShape,
}

/// Collects what a [`WindowedSummary`] is.
pub type WindowedSummaryBuilder<E> = InstrumentBuilder<E, WindowedSummary<E>>;

/// How much comes in a second, over a window: events, or the sum of what they carry.
///
/// The window is cut into slots of absolute time, so that the rate falls when no event comes: it is evaluated when it is read, [at a
/// time](crate::Snapshot::at), and exported as a gauge. It is the sum of what lies in the slot of that time and those before it, by the time that they
/// cover; without an observation in there, there is no rate, which is another thing than a rate of 0. [`Rate`](crate::Rate) carries the number of
/// observations that it comes from. Recorders merge exactly.
///
/// Where a server of metrics computes rates, prefer a [counter](crate::Counter): a rate cannot be taken over another time afterwards.
///
/// # Examples
///
/// See [`TimedRef::rate_at`](crate::TimedRef::rate_at).
pub struct RateMeter<E> {
    intake: Intake<E>,
    series: Series<E, Vec<Flow>>,
    window: WindowShape,
}

/// Collects what a [`RateMeter`] is.
pub type RateMeterBuilder<E> = InstrumentBuilder<E, RateMeter<E>>;

/// The setters of whatever looks back over a window.
macro_rules! windows {
    ($($builder:ident),*) => {$(
        impl<E: 'static> $builder<E> {
            /// How far back it looks, up to [`MAX_WINDOW`](crate::limits::MAX_WINDOW); a minute unless said.
            pub fn window(mut self, length: Duration) -> Self {
                self.descriptor = self.descriptor.window(length);
                self
            }

            /// Into how many slots the window is cut, from 2 to [`MAX_WINDOW_SLOTS`](crate::limits::MAX_WINDOW_SLOTS): the more, the more evenly
            /// it moves, and the more memory it takes.
            pub fn slots(mut self, slots: u32) -> Self {
                self.descriptor = self.descriptor.slots(slots);
                self
            }
        }
    )*};
}

windows!(WindowedSummaryBuilder, RateMeterBuilder);

impl<E: 'static> WindowedSummary<E> {
    /// Starts a windowed summary of this name; it needs a value selector.
    pub fn builder(name: &str) -> WindowedSummaryBuilder<E> {
        InstrumentBuilder::new(name, Kind::WindowedSummary)
    }
}

impl<E: 'static> WindowedSummaryBuilder<E> {
    /// How many significant digits every quantile has, as in [`SummaryBuilder::digits`](crate::SummaryBuilder::digits).
    pub fn digits(mut self, digits: u8) -> Self {
        self.descriptor = self.descriptor.digits(digits);
        self
    }

    /// The quantiles that exporters show, as in [`SummaryBuilder::quantiles`](crate::SummaryBuilder::quantiles).
    pub fn quantiles(mut self, quantiles: &[f64]) -> Self {
        self.descriptor = self.descriptor.quantiles(quantiles);
        self
    }

    /// Checks everything and makes the windowed summary.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidState`](crate::ErrorKind::InvalidState) without a value selector; else the first mistake, as
    /// [`DescriptorBuilder::build`](crate::DescriptorBuilder::build) tells it.
    pub fn build(self) -> Result<WindowedSummary<E>, Error> {
        self.need_value("a windowed summary")?;
        let (intake, series) = self.into_parts()?.into_series();
        let (counting, window) = (intake.descriptor.counting(), intake.descriptor.window());
        Ok(WindowedSummary { intake, series, counting, window })
    }
}

impl<E: 'static> RateMeter<E> {
    /// Starts a rate of this name; without a value selector it counts 1 per event.
    pub fn builder(name: &str) -> RateMeterBuilder<E> {
        InstrumentBuilder::new(name, Kind::Rate)
    }
}

impl<E: 'static> RateMeterBuilder<E> {
    /// Checks everything and makes the rate.
    ///
    /// # Errors
    ///
    /// The first mistake, as [`DescriptorBuilder::build`](crate::DescriptorBuilder::build) tells it.
    pub fn build(self) -> Result<RateMeter<E>, Error> {
        let (intake, series) = self.into_parts()?.into_series();
        let window = intake.descriptor.window();
        Ok(RateMeter { intake, series, window })
    }
}

impl<E: 'static> Metric<E> for WindowedSummary<E> {
    fn descriptor(&self) -> &Arc<Descriptor> {
        &self.intake.descriptor
    }

    fn interests(&self) -> Interests {
        self.intake.interests()
    }

    fn handle_event(&mut self, event: &E, context: &Context) -> Verdict {
        let Some(amount) = self.intake.take(event, Amount::Unsigned(1)) else { return Verdict::Ignored };
        let value = match amount.summand() {
            Ok(value) => value,
            Err(refusal) => return Verdict::Refused(refusal),
        };
        let row = self.series.row(event, context);
        let (counting, window) = (self.counting, self.window);
        let taken = self.series.column_mut().get_mut(row).is_some_and(|recent| {
            recent.observe(counting, window, context.now(), value, |sum| amount.add_to(sum))
        });
        if taken { Verdict::Accepted } else { Verdict::Refused(Refusal::OutOfRange) }
    }

    fn reshape(&mut self, descriptor: &Arc<Descriptor>) -> bool {
        self.series.reshape(descriptor, &mut self.intake.descriptor)
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

impl<E: 'static> Metric<E> for RateMeter<E> {
    fn descriptor(&self) -> &Arc<Descriptor> {
        &self.intake.descriptor
    }

    fn interests(&self) -> Interests {
        self.intake.interests()
    }

    fn handle_event(&mut self, event: &E, context: &Context) -> Verdict {
        let Some(amount) = self.intake.take(event, Amount::Unsigned(1)) else { return Verdict::Ignored };
        match amount.summand() {
            Ok(value) if value < 0.0 => return Verdict::Refused(Refusal::Negative),
            Ok(_) => {}
            Err(refusal) => return Verdict::Refused(refusal),
        }
        let row = self.series.row(event, context);
        let window = self.window;
        let flow = self.series.column_mut().get_mut(row);
        if flow.is_some_and(|flow| flow.observe(window, context.now(), |sum| amount.add_to(sum))) {
            Verdict::Accepted
        } else {
            Verdict::Refused(Refusal::OutOfRange)
        }
    }

    fn reshape(&mut self, descriptor: &Arc<Descriptor>) -> bool {
        self.series.reshape(descriptor, &mut self.intake.descriptor)
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

impl<E> fmt::Debug for WindowedSummary<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("WindowedSummary");
        shown.field("intake", &self.intake).field("series", &self.series).finish()
    }
}

impl<E> fmt::Debug for RateMeter<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateMeter").field("intake", &self.intake).field("series", &self.series).finish()
    }
}
