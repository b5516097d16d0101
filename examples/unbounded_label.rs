//! A trap, and the way out: a label with a value for every user.
//!
//! Each label set is a series: memory here, and in every system that the metrics are sent to. So a metric keeps a limited number of them,
//! [`DEFAULT_CARDINALITY`] unless its builder says otherwise, and whoever comes later shares one overflow series. Nothing is lost,
//! and the total is right; but the question "how often did this user save?" gets no answer for users that came late, and
//! an absent series is easily read as zero.
//!
//! ```sh
//! cargo run --example unbounded_label
//! ```

use mvx_metrics::limits::DEFAULT_CARDINALITY;
use mvx_metrics::prelude::*;
use std::io;
use std::io::Write;
use std::time::Duration;

/// How many users there are: more than a metric has series.
const USERS: u32 = 5_000;

/// What kinds of users there are. A label made of an enum has a bound that everybody can see.
#[derive(Clone, Copy)]
enum Plan {
    Free,
    Paid,
}

impl Plan {
    fn of(user: u32) -> Self {
        if user % 4 == 0 { Self::Paid } else { Self::Free }
    }

    const fn label(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Paid => "paid",
        }
    }
}

/// The event says who it was. That is right: an event states what happened, and costs no series.
#[derive(MetricEvent)]
struct Saved {
    user: u32,
    plan: Plan,
}

/// What the example can fail with.
type Failure = Box<dyn std::error::Error>;

/// Runs the example.
///
/// # Errors
///
/// None is expected.
pub fn main() -> Result<(), Failure> {
    run(&mut io::stdout().lock())
}

/// The example, telling what it sees.
///
/// # Errors
///
/// Those of the runtime and of `out`; none is expected.
pub fn run(out: &mut impl Write) -> Result<(), Failure> {
    let runtime = MetricsRuntime::builder("unbounded-label").build()?;
    runtime.start()?;
    let recorder = runtime
        .recorder::<Saved>("document_storage")
        .counter("saves.by_user", |c| c.label("user", |saved| saved.user.into())) // the trap
        .counter("saves.by_plan", |c| c.label("plan", |saved| Label::fixed(saved.plan.label()))) // the way out
        .create()?;
    for user in 0..USERS {
        recorder.register_event(Saved { user, plan: Plan::of(user) });
    }
    let snapshot = recorder.flush_and_snapshot(Duration::from_secs(30))?;

    writeln!(out, "{USERS} users have saved once each")?;
    for metric in snapshot.metrics() {
        let family = metric.family();
        let own = family.series().filter(|series| !series.is_overflow()).count();
        writeln!(
            out,
            "{}: total {}, {own} series, {} events share the overflow series",
            family.name(),
            snapshot.total(family.name().as_str()).unwrap_or_default(),
            family.overflowed()
        )?;
    }

    // The trap: the same question about an early and a late user.
    for user in ["17", "4999"] {
        let saves = snapshot.counter("saves.by_user", &[("user", user)]);
        writeln!(out, "by user {user}: {saves:?}")?;
    }
    // A reader can tell: where a family has overflowed, an absent series is unknown, not zero.
    let by_user = snapshot.metric("saves.by_user").map_or(0, |metric| metric.family().overflowed());
    writeln!(
        out,
        "so an absent user {}",
        if by_user > 0 { "may have saved all the same" } else { "has not saved" }
    )?;

    // The way out: a label whose values can be counted on one's fingers. Who exactly it was belongs into a log or a trace.
    for plan in [Plan::Free, Plan::Paid] {
        let saves = snapshot.counter("saves.by_plan", &[("plan", plan.label())]);
        writeln!(out, "by plan {}: {saves:?}", plan.label())?;
    }
    writeln!(out, "the limit is {DEFAULT_CARDINALITY} series for each metric; `cardinality` sets another")?;
    runtime.shutdown(Duration::from_secs(5))?;
    Ok(())
}
