//! Our side of B3 to B6: one event that feeds five instruments with two labels.

use crate::Failure;
use crate::bursts::Target;
use crate::event::Outcome;
use crate::event::Saved;
use mvx_metrics::Label;
use mvx_metrics::LabelValue;
use mvx_metrics::Labels;
use mvx_metrics::MetricEvent;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::Recorder;
use mvx_metrics::RecorderBuilder;
use mvx_metrics::Unit;
use std::sync::Arc;
use std::time::Duration;

/// Bounds of the histogram of sizes, on both sides.
pub const SIZES: [f64; 6] = [1024.0, 4096.0, 16384.0, 65536.0, 262_144.0, 1_048_576.0];

/// Bounds of the histogram of durations, on both sides: those of our `Unit::Seconds`.
pub const SECONDS: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// Where a document was put: the second label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, LabelValue)]
pub enum Tier {
    Hot,
    Warm,
    Cold,
    Frozen,
}

impl Tier {
    pub const fn of(bytes: u64) -> Self {
        match bytes & 3 {
            0 => Self::Hot,
            1 => Self::Warm,
            2 => Self::Cold,
            _ => Self::Frozen,
        }
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Hot => "hot",
            Self::Warm => "warm",
            Self::Cold => "cold",
            Self::Frozen => "frozen",
        }
    }
}

/// The first label once more, as our derive wants it.
#[derive(Clone, Copy, Debug, LabelValue)]
enum Ended {
    Success,
    Failure,
    Timeout,
    Refused,
}

#[derive(Labels)]
struct Both {
    outcome: Ended,
    tier: Tier,
}

fn both(event: &Saved) -> Both {
    let outcome = match event.outcome {
        Outcome::Success => Ended::Success,
        Outcome::Failure => Ended::Failure,
        Outcome::Timeout => Ended::Timeout,
        Outcome::Refused => Ended::Refused,
    };
    Both { outcome, tier: Tier::of(event.bytes) }
}

/// The tenants of B6.
pub const TENANTS: usize = 8;

pub fn tenants() -> Vec<Arc<str>> {
    (0..TENANTS).map(|number| Arc::from(format!("tenant-{number}"))).collect()
}

/// The event of B6: an owned string is cloned by the caller, and dropped by whoever is last.
pub struct Owned {
    pub saved: Saved,
    pub tenant: Arc<str>,
}

impl MetricEvent for Owned {
    fn event_type(&self) -> &'static str {
        "owned"
    }
}

/// A started runtime and its recorder with five instruments.
pub struct Five<E: MetricEvent> {
    runtime: MetricsRuntime,
    pub recorder: Recorder<E>,
}

/// The five instruments of whichever recorder is being built.
pub fn define<H>(builder: RecorderBuilder<Saved, H>) -> RecorderBuilder<Saved, H> {
    builder
        .counter("saves", |c| c.labels::<Both>(both))
        .counter("saved", |c| c.unit(Unit::Bytes).labels::<Both>(both).value(|e| Some(e.bytes)))
        .gauge("last", |g| g.unit(Unit::Bytes).labels::<Both>(both).value(|e| Some(e.bytes)))
        .histogram("took", |h| {
            h.unit(Unit::Seconds)
                .bounds(&SECONDS)
                .labels::<Both>(both)
                .value(|e| Some(Duration::from_nanos(e.elapsed_nanos)))
        })
        .histogram("sizes", |h| {
            h.unit(Unit::Bytes).bounds(&SIZES).labels::<Both>(both).value(|e| Some(e.bytes))
        })
}

impl Five<Saved> {
    pub fn start() -> Result<Self, Failure> {
        let runtime = MetricsRuntime::builder("rivals").build()?;
        runtime.start()?;
        let recorder = define(runtime.recorder::<Saved>("five")).create()?;
        Ok(Self { runtime, recorder })
    }
}

fn outcome(event: &Owned) -> Label<'_> {
    Label::fixed(event.saved.outcome.name())
}

impl Five<Owned> {
    pub fn start_owned() -> Result<Self, Failure> {
        let runtime = MetricsRuntime::builder("rivals").build()?;
        runtime.start()?;
        let recorder = runtime
            .recorder::<Owned>("five")
            .counter("saves", |c| c.label("outcome", outcome).label("tenant", |e| (&e.tenant).into()))
            .counter("saved", |c| {
                c.label("outcome", outcome)
                    .label("tenant", |e| (&e.tenant).into())
                    .value(|e| Some(e.saved.bytes))
            })
            .gauge("last", |g| {
                g.label("outcome", outcome)
                    .label("tenant", |e| (&e.tenant).into())
                    .value(|e| Some(e.saved.bytes))
            })
            .histogram("took", |h| {
                h.bounds(&SECONDS)
                    .label("outcome", outcome)
                    .label("tenant", |e| (&e.tenant).into())
                    .value(|e| Some(Duration::from_nanos(e.saved.elapsed_nanos)))
            })
            .histogram("sizes", |h| {
                h.bounds(&SIZES)
                    .label("outcome", outcome)
                    .label("tenant", |e| (&e.tenant).into())
                    .value(|e| Some(e.saved.bytes))
            })
            .create()?;
        Ok(Self { runtime, recorder })
    }
}

impl<E: MetricEvent> Five<E> {
    /// Ends the runtime, and checks that all five have measured every event.
    pub fn finish(self) -> Result<(), Failure> {
        let report = self.runtime.shutdown(Duration::from_secs(10))?;
        let accounts = report.accounts();
        let snapshot = self.recorder.snapshot();
        let measured: u64 = snapshot.metrics().map(|metric| metric.tally().accepted).sum();
        if !report.is_complete()
            || measured != 5 * accounts.processed
            || accounts.processed != accounts.accepted
        {
            return Err(format!("the accounts do not add up: {accounts:?}, {measured} measured").into());
        }
        Ok(())
    }
}

/// The recorder, and the strings that callers hold.
pub struct WithTenants {
    pub five: Five<Owned>,
    pub tenants: Vec<Arc<str>>,
}

impl Target for WithTenants {
    #[inline(always)]
    fn push(&self, number: u64) {
        let saved = Saved::numbered(number);
        let tenant = Arc::clone(&self.tenants[saved.bytes as usize % TENANTS]);
        self.five.recorder.register_event(Owned { saved, tenant });
    }

    fn refused(&self) -> u64 {
        self.five.recorder.accounts().rejected.total()
    }

    fn processed(&self) -> u64 {
        self.five.recorder.accounts().processed
    }
}
