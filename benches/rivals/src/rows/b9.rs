//! B9: what an event costs the process, against metrique's aggregation behind a worker of its own.

use crate::Failure;
use crate::bursts::Target;
use crate::event::Saved;
use crate::rounds::interleave;
use crate::rows::Reading;
use crate::rows::Row;
use crate::steady;
use crate::steady::Load;
use metrique::CloseValue;
use metrique::unit_of_work::metrics;
use metrique_aggregation::aggregate;
use metrique_aggregation::aggregator::KeyedAggregator;
use metrique_aggregation::histogram::Histogram;
use metrique_aggregation::sink::WorkerSink;
use metrique_aggregation::traits::AggregateSink;
use metrique_aggregation::traits::FlushableSink;
use metrique_aggregation::value::Sum;
use metrique_writer::sink::DevNullSink;
use mvx_metrics::Label;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::Unit;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How often the rival shows what it has, to nobody.
const FLUSH: Duration = Duration::from_secs(1);

pub(super) fn measure(rounds: usize) -> Result<Row, Failure> {
    let runtime = MetricsRuntime::builder("aggregation").build()?;
    runtime.start()?;
    let recorder = runtime
        .recorder::<Saved>("subject")
        .counter("saves", |c| c.label("outcome", outcome))
        .exponential_histogram("took", |h| {
            h.unit(Unit::Seconds)
                .label("outcome", outcome)
                .value(|event| Some(Duration::from_nanos(event.elapsed_nanos)))
        })
        .create()?;
    let rival = Rival::start();
    let figures = interleave(
        rounds,
        || Ok(steady::round(&recorder, 1, Load::Full)),
        || Ok(steady::round(&rival, 1, Load::Full)),
    )?;
    let report = runtime.shutdown(Duration::from_secs(10))?;
    let accounts = report.accounts();
    if !report.is_complete() || accounts.processed != accounts.accepted {
        return Err(format!("the accounts do not add up: {accounts:?}").into());
    }
    Ok(Row {
        id: "B9",
        what: "counter and exponential histogram by outcome, 1 producer; metrique's WorkerSink and KeyedAggregator",
        unit: "ns process CPU/event",
        figures,
        reading: Reading::Ratio,
        bar: 0.50,
        threads: 2,
        unchecked: None,
        remarks: Vec::new(),
    })
}

#[aggregate]
#[metrics]
struct Stored {
    #[aggregate(key)]
    outcome: &'static str,
    #[aggregate(strategy = Sum)]
    saves: u64,
    #[aggregate(strategy = Histogram<Duration>)]
    took: Duration,
}

fn outcome(event: &Saved) -> Label<'_> {
    Label::fixed(event.outcome.name())
}

/// The entry, as it goes to the worker.
type Entry = <Stored as CloseValue>::Closed;

/// Its queue has no bound, so nothing is refused.
struct Rival {
    sink: WorkerSink<Entry, Counted>,
    processed: Arc<AtomicU64>,
}

/// The aggregator, and how many entries it has taken.
struct Counted {
    aggregator: KeyedAggregator<Stored>,
    processed: Arc<AtomicU64>,
}

impl AggregateSink<Entry> for Counted {
    #[inline]
    fn merge(&mut self, entry: Entry) {
        self.aggregator.merge(entry);
        self.processed.store(self.processed.load(Ordering::Relaxed) + 1, Ordering::Release);
    }
}

impl FlushableSink for Counted {
    fn flush(&mut self) {
        self.aggregator.flush();
    }
}

impl Rival {
    fn start() -> Self {
        let processed = Arc::new(AtomicU64::new(0));
        let aggregator = KeyedAggregator::new(DevNullSink::boxed());
        let counted = Counted { aggregator, processed: Arc::clone(&processed) };
        Self { sink: WorkerSink::new(counted, FLUSH), processed }
    }
}

impl Target for Rival {
    #[inline(always)]
    fn push(&self, number: u64) {
        let event = Saved::numbered(number);
        let took = Duration::from_nanos(event.elapsed_nanos);
        self.sink.send(Stored { outcome: event.outcome.name(), saves: 1, took }.close());
    }

    fn refused(&self) -> u64 {
        0
    }

    fn processed(&self) -> u64 {
        self.processed.load(Ordering::Acquire)
    }
}
