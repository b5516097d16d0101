//! A running average.

use crate::metric::Interests;
use crate::metric::Metric;
use crate::metric::at_rest::AtRest;
use crate::metric::builder::InstrumentBuilder;
use crate::metric::builder::Intake;
use crate::metric::measure::Amount;
use crate::metric::series::Series;
use crate::model::error::Error;
use crate::model::snapshot::Descriptor;
use crate::model::snapshot::Family;
use crate::model::snapshot::FamilyWriter;
use crate::model::snapshot::Kind;
use crate::model::snapshot::Mean;
use crate::model::verdict::Context;
use crate::model::verdict::Refusal;
use crate::model::verdict::Verdict;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Keeps the number of observations and their exact sum, so that averages of averages come out right.
///
/// NaN and infinities are refused.
///
/// # Examples
///
/// ```
/// use mvx_metrics::{Average, Context, Family, FamilyWriter, Metric, Timestamp};
///
/// let mut size = Average::<u64>::builder("batch.size").value(|e| Some(*e)).build()?;
/// let context = Context::new(Timestamp::default(), 1);
/// for batch in [1, 2, 6] {
///     let _ = size.handle_event(&batch, &context);
/// }
/// let mut family = Family::new(size.descriptor().clone());
/// size.snapshot(&mut FamilyWriter::whole(&mut family));
/// assert_eq!(family.find(&[]).and_then(|series| series.value().mean()), Some(3.0));
/// # Ok::<(), mvx_metrics::Error>(())
/// ```
pub struct Average<E> {
    intake: Intake<E>,
    series: Series<E, Vec<Mean>>,
}

/// Collects what an [`Average`] is.
pub type AverageBuilder<E> = InstrumentBuilder<E, Average<E>>;

impl<E: 'static> Average<E> {
    /// Starts an average of this name; it needs a value selector.
    pub fn builder(name: &str) -> AverageBuilder<E> {
        InstrumentBuilder::new(name, Kind::Average)
    }
}

impl<E: 'static> AverageBuilder<E> {
    /// Checks everything and makes the average.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidState`](crate::ErrorKind::InvalidState) without a value selector; else the first mistake, as
    /// [`DescriptorBuilder::build`](crate::DescriptorBuilder::build) tells it.
    pub fn build(self) -> Result<Average<E>, Error> {
        self.need_value("an average")?;
        let (intake, series) = self.into_parts()?.into_series();
        Ok(Average { intake, series })
    }
}

impl<E: 'static> Metric<E> for Average<E> {
    fn descriptor(&self) -> &Arc<Descriptor> {
        &self.intake.descriptor
    }

    fn interests(&self) -> Interests {
        self.intake.interests()
    }

    #[inline]
    fn handle_event(&mut self, event: &E, context: &Context) -> Verdict {
        let Some(amount) = self.intake.take(event, Amount::Unsigned(1)) else { return Verdict::Ignored };
        if let Err(refusal) = amount.summand() {
            return Verdict::Refused(refusal);
        }
        let row = self.series.row(event, context);
        let Some(mean) = self.series.column_mut().get_mut(row) else {
            return Verdict::Refused(Refusal::OutOfRange);
        };
        if !amount.add_to(&mut mean.sum) {
            return Verdict::Refused(Refusal::OutOfRange);
        }
        mean.count = mean.count.saturating_add(1);
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

impl<E> fmt::Debug for Average<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Average").field("intake", &self.intake).field("series", &self.series).finish()
    }
}
