//! How an event is told as an exemplar of the series that it belongs to.

use crate::metric::builder::InstrumentBuilder;
use crate::metric::counter::Counter;
use crate::metric::exponential::ExponentialHistogram;
use crate::metric::histogram::Histogram;
use crate::metric::measure::Amount;
use crate::model::clock::Timestamp;
use crate::model::label::LabelSet;
use crate::model::snapshot::Descriptor;
use crate::model::snapshot::Exemplar;
use crate::model::snapshot::ExemplarLabels;
use crate::model::snapshot::Exemplars;
use crate::model::snapshot::Number;
use crate::model::snapshot::Slot;

/// How an event tells the labels of an exemplar; nothing if it is none.
pub(super) trait Exemplify<E>: Send {
    fn tell(&self, event: &E, labels: &mut ExemplarLabels);
}

impl<E, F: Fn(&E, &mut ExemplarLabels) + Send> Exemplify<E> for F {
    fn tell(&self, event: &E, labels: &mut ExemplarLabels) {
        self(event, labels);
    }
}

/// What an event has said of itself, and what for.
pub(super) struct Candidate {
    slot: Slot,
    /// Nothing if it were no labels.
    labels: Option<LabelSet>,
}

impl Candidate {
    #[cold]
    pub(super) fn ask<E>(exemplify: &dyn Exemplify<E>, slot: Slot, event: &E) -> Option<Self> {
        let mut labels = ExemplarLabels::default();
        exemplify.tell(event, &mut labels);
        (!labels.is_empty()).then(|| Self { slot, labels: labels.to_set().ok() })
    }

    #[cold]
    pub(super) fn keep(
        self,
        into: &mut Exemplars,
        row: usize,
        value: Amount,
        of: &Descriptor,
        at: Timestamp,
    ) {
        let exemplar = self.labels.and_then(|labels| Exemplar::new(labels, value.number(), at).ok());
        match exemplar {
            Some(exemplar) => into.put(row, self.slot, exemplar, of),
            None => into.leave_out(1),
        }
    }
}

impl Amount {
    fn number(self) -> Number {
        match self {
            Self::Unsigned(value) => Number::U64(value),
            Self::Signed(value) => Number::I64(value),
            Self::Float(_) | Self::Nanos(_) => Number::F64(self.as_f64()),
        }
    }
}

/// The setter of instruments whose series have exemplars.
macro_rules! takes_exemplars {
    ($($instrument:ident),*) => {$(
        impl<E: 'static> InstrumentBuilder<E, $instrument<E>> {
            /// Keeps some events as [exemplars](crate::Exemplar), by the labels that `tell` writes for them: mostly the trace and the span, by which the
            /// reader of a surprising number finds the request behind it. An event for which nothing is written is none.
            ///
            /// A counter has one for each series, a histogram one for each bucket, an exponential histogram up to
            /// [`EXPONENTIAL_EXEMPLARS`](crate::limits::EXPONENTIAL_EXEMPLARS), each of another power of two. One is held for
            /// [`EXEMPLAR_HOLD`](crate::limits::EXEMPLAR_HOLD); after that the next event takes its place, and `tell` is not called before. Labels
            /// that are none, or longer than [`MAX_EXEMPLAR_CHARS`](crate::limits::MAX_EXEMPLAR_CHARS), are counted in
            /// [`Family::exemplars_left_out`](crate::Family::exemplars_left_out). In a group, the newest of all recorders is seen.
            ///
            /// Events of such a metric are handled one by one; each kept exemplar costs some allocations, on the worker.
            ///
            /// # Examples
            ///
            /// ```
            /// use mvx_metrics::prelude::*;
            /// use std::time::Duration;
            ///
            /// struct Served { seconds: f64, trace: u128, span: u64 }
            /// impl MetricEvent for Served { fn event_type(&self) -> &'static str { "served" } }
            ///
            /// # fn main() -> Result<(), mvx_metrics::Error> {
            /// let runtime = MetricsRuntime::builder("docs").build()?;
            /// runtime.start()?;
            #[doc = takes_exemplars!(@recorder $instrument)]
            /// server.register_event(Served { seconds: 0.25, trace: 0x4bf9, span: 0 });
            /// server.flush_blocking(Duration::from_secs(5))?;
            ///
            /// let snapshot = server.snapshot();
            /// let family = snapshot.metric("request.time").unwrap().family();
            /// let series = family.series().next().unwrap();
            /// let exemplar = series.exemplars().next().unwrap();
            /// assert_eq!(exemplar.value().as_f64(), 0.25);
            /// assert_eq!(exemplar.labels().get("trace_id"), Some("00000000000000000000000000004bf9"));
            /// # Ok(())
            /// # }
            /// ```
            pub fn exemplar<F>(mut self, tell: F) -> Self
            where
                F: Fn(&E, &mut ExemplarLabels) + Send + 'static,
            {
                self.exemplify = Some(Box::new(tell));
                self
            }
        }
    )*};
    (@recorder Counter) => { takes_exemplars!(@text "counter") };
    (@recorder Histogram) => { takes_exemplars!(@text "histogram") };
    (@recorder ExponentialHistogram) => { takes_exemplars!(@text "exponential_histogram") };
    (@text $method:literal) => {
        concat!(
            "let server = runtime\n    .recorder::<Served>(\"server\")\n    .", $method,
            "(\"request.time\", |m| m.unit(Unit::Seconds).value(|e| Some(e.seconds)).exemplar(|e, labels| labels.trace(e.trace, e.span)))\n    .create()?;"
        )
    };
}

takes_exemplars!(Counter, Histogram, ExponentialHistogram);
