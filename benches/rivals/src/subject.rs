//! Our side: a live runtime with one recorder, as an application has it.

use crate::Failure;
use crate::bursts::Target;
use crate::event;
use crate::event::Saved;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::Recorder;
use std::time::Duration;

/// A started runtime and its recorder with the two instruments of `event`; default capacity, default everything.
pub struct Subject {
    runtime: MetricsRuntime,
    pub recorder: Recorder<Saved>,
}

impl Subject {
    pub fn start() -> Result<Self, Failure> {
        let runtime = MetricsRuntime::builder("rivals").build()?;
        runtime.start()?;
        let recorder = runtime
            .recorder::<Saved>("subject")
            .counter(event::COUNTER, event::define_counter)
            .histogram(event::HISTOGRAM, event::define_histogram)
            .create()?;
        Ok(Self { runtime, recorder })
    }

    /// Ends the runtime, and checks that the accounts add up: a benchmark of something that loses events is worth nothing.
    pub fn finish(self) -> Result<(), Failure> {
        let report = self.runtime.shutdown(Duration::from_secs(10))?;
        let accounts = report.accounts();
        let metric = self.recorder.snapshot();
        let counted = metric.metric(event::HISTOGRAM).map_or(0, |metric| metric.tally().accepted);
        if !report.is_complete() || accounts.processed != accounts.accepted || counted != accounts.processed {
            return Err(
                format!("the recorder's accounts do not add up: {accounts:?}, {counted} measured").into()
            );
        }
        Ok(())
    }
}

impl Target for Recorder<Saved> {
    #[inline(always)]
    fn push(&self, number: u64) {
        self.register_event(Saved::numbered(number));
    }

    fn refused(&self) -> u64 {
        self.accounts().rejected.total()
    }

    fn processed(&self) -> u64 {
        self.accounts().processed
    }
}
