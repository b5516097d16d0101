//! What every exporter has to stand, ours and a user's: a suite to be run against the real receiver, or against a double of it.

use crate::export::exporter::AnyExporter;
use crate::export::exporter::Call;
use crate::export::exporter::ExportError;
use crate::export::exporter::Exporter;
use crate::export::schedule::Schedule;
use crate::model::error::Error;
use crate::model::error::ErrorKind;
use crate::model::event::MetricEvent;
use crate::model::label::Label;
use crate::model::label::LabelSet;
use crate::model::name::FieldName;
use crate::model::snapshot::Descriptor;
use crate::model::snapshot::FamilyWriter;
use crate::model::snapshot::Kind;
use crate::model::unit::Unit;
use crate::model::verdict::Context;
use crate::model::verdict::Verdict;
use crate::queue::call_user;
use crate::queue::drop_quietly;
use crate::recorder::journal::panic_message;
use crate::runtime::MetricsRuntime;
use crate::runtime::collection::RuntimeSnapshot;
use std::fmt;
use std::future::Future;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use std::time::Instant;

/// The checks of an exporter, each with a fresh one.
///
/// An exporter passes if it takes every state that a runtime can have (none at all, every kind of metric, labels of any text, extremes, a
/// runtime that has ended), comes back within its time, can be cut off in the middle of a call and called again, ends when it was never used,
/// and panics nowhere. What has arrived at the other side is for a test of its own to say: the suite does not know the format.
///
/// # Examples
///
/// ```
/// use mvx_metrics::export::Exporter;
/// use mvx_metrics::export::conformance::Conformance;
/// use mvx_metrics::export::json::Encoder;
/// # use mvx_metrics::{RuntimeSnapshot, export::ExportError};
/// # use std::time::Duration;
///
/// let passed = Conformance::new(|| Encoder::new().into_exporter(std::io::sink())).run();
/// assert!(passed.is_ok(), "{passed:?}");
///
/// struct Picky;
/// impl Exporter for Picky {
///     async fn export(&mut self, snapshot: &RuntimeSnapshot, _within: Duration) -> Result<(), ExportError> {
///         snapshot.recorders().next().map(drop).ok_or_else(|| ExportError::fatal("there is no recorder"))
///     }
/// }
/// let failed = Conformance::new(|| Picky).run().unwrap_err();
/// assert!(failed.to_string().contains("a runtime without recorders is delivered: there is no recorder"));
/// ```
#[derive(Clone)]
pub struct Conformance<M> {
    make: M,
    within: Duration,
    grace: Duration,
}

impl<M> fmt::Debug for Conformance<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conformance")
            .field("within", &self.within)
            .field("grace", &self.grace)
            .finish_non_exhaustive()
    }
}

/// How long a cut call may go on without coming back to its `await`.
const GRACE: Duration = Duration::from_secs(1);

impl<M, X> Conformance<M>
where
    M: FnMut() -> X,
    X: Exporter,
{
    /// The suite over exporters that `make` makes; where they deliver to has to be there while it runs.
    pub fn new(make: M) -> Self {
        Self { make, within: Duration::from_secs(10), grace: GRACE }
    }

    /// How long each call may take; ten seconds unless said.
    #[must_use]
    pub fn within(mut self, within: Duration) -> Self {
        self.within = within;
        self
    }

    /// Runs the checks, one after another, on the calling thread with a tokio loop of its own. Some seconds at most, for an exporter that
    /// passes.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ExportFailed`] with the first check that does not hold and why; [`ErrorKind::InvalidState`] within a tokio
    /// runtime, whose thread this would hold; [`ErrorKind::StartFailed`] if no thread or loop is to be had.
    pub fn run(mut self) -> Result<(), Error> {
        if tokio::runtime::Handle::try_current().is_ok() {
            let message = "this would hold a thread of the tokio runtime it is called in; call it by `spawn_blocking`, or from a plain test";
            return Err(Error::new(ErrorKind::InvalidState, message));
        }
        let mut states = States::make()?;
        self.check("a runtime without recorders is delivered", |suite, exporter| {
            suite.export(exporter, &states.empty)
        })?;
        self.check("every kind of metric, awkward labels and extremes are delivered", |suite, exporter| {
            suite.export(exporter, &states.full)
        })?;
        self.check("a runtime that has ended is delivered", |suite, exporter| {
            suite.export(exporter, &states.ended)
        })?;
        self.check("a hundred states are delivered one after another", |suite, exporter| {
            (0..100).try_for_each(|_| suite.export(exporter, &states.next()))
        })?;
        self.check("states that shrink and grow are delivered", |suite, exporter| {
            [&states.full, &states.empty, &states.full]
                .into_iter()
                .try_for_each(|state| suite.export(exporter, state))
        })?;
        self.check("a call that is cut off does not spoil the next one", |suite, exporter| {
            for polls in 0..4 {
                suite.cut(exporter, &states.full, polls)?;
                suite.export(exporter, &states.full)?;
            }
            Ok(())
        })?;
        self.check("a call without any time comes back, and the next one delivers", |suite, exporter| {
            // Delivered or not: it must end.
            drop(suite.call(exporter, Call::Export(&states.full), Duration::ZERO)?);
            suite.export(exporter, &states.full)
        })?;
        self.check("flush and shutdown succeed after deliveries", |suite, exporter| {
            suite.export(exporter, &states.full)?;
            suite.succeed(exporter, Call::Flush)?;
            suite.succeed(exporter, Call::Flush)?;
            suite.succeed(exporter, Call::Shutdown)
        })?;
        self.check("one that was never used flushes and ends", |suite, exporter| {
            suite.succeed(exporter, Call::Flush)?;
            suite.succeed(exporter, Call::Shutdown)
        })?;
        self.check("one may be dropped without an end", |_, _| Ok(()))?;
        self.on_a_runtime()
    }

    /// One check, with an exporter of its own, and a loop that it may leave things on.
    fn check(
        &mut self,
        what: &str,
        check: impl FnOnce(&Suite, &mut dyn AnyExporter) -> Result<(), String>,
    ) -> Result<(), Error> {
        let failed = |why: String| {
            Error::new(ErrorKind::ExportFailed, format!("the exporter does not conform: {what}: {why}"))
        };
        let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|cause| {
            Error::new(ErrorKind::StartFailed, "no loop for the suite; free some file descriptors")
                .with_source(cause)
        })?;
        let suite = Suite { tokio, within: self.within, grace: self.grace };
        let mut exporter = suite.entered(&mut self.make).map_err(failed)?;
        let checked = check(&suite, &mut exporter);
        let began = Instant::now();
        let dropped = suite.entered(|| drop(exporter));
        suite.tokio.shutdown_background();
        checked.and(dropped).map_err(failed)?;
        if began.elapsed() > self.grace {
            return Err(failed(format!("to drop it took {:?}", began.elapsed())));
        }
        Ok(())
    }

    /// The same as a user would have it: on a thread of a runtime.
    fn on_a_runtime(mut self) -> Result<(), Error> {
        let runtime = MetricsRuntime::builder("conformance").build()?;
        runtime.start()?;
        let exporter = call_user(&mut self.make).map_err(|payload| {
            let message =
                format!("the exporter does not conform: it cannot be made: {}", panic_message(&*payload));
            drop_quietly(payload);
            Error::new(ErrorKind::ExportFailed, message)
        })?;
        runtime.add_exporter("checked", Schedule::on_demand().timeout(self.within), exporter)?;
        runtime.force_flush(self.within)?;
        let report = runtime.shutdown(self.within)?;
        report.exporters().iter().find_map(|exporter| exporter.error.clone()).map_or(Ok(()), Err)
    }
}

/// Calls exporters, and looks at the time.
struct Suite {
    tokio: tokio::runtime::Runtime,
    within: Duration,
    grace: Duration,
}

impl Suite {
    /// Runs the exporter's code where it finds its loop; what it panics with is a finding.
    fn entered<T>(&self, code: impl FnOnce() -> T) -> Result<T, String> {
        let _entered = self.tokio.enter();
        call_user(code).map_err(|payload| {
            let message = format!("it panicked: {}", panic_message(&*payload));
            drop_quietly(payload);
            message
        })
    }

    fn export(&self, exporter: &mut dyn AnyExporter, state: &RuntimeSnapshot) -> Result<(), String> {
        self.succeed(exporter, Call::Export(state))
    }

    fn succeed(&self, exporter: &mut dyn AnyExporter, call: Call<'_>) -> Result<(), String> {
        match self.call(exporter, call, self.within)? {
            Some(result) => result.map_err(|error| error.to_string()),
            None => Err(format!("it was not over after {:?}", self.within)),
        }
    }

    /// What a call came to; nothing, if it was not over in time and was cut.
    fn call(
        &self,
        exporter: &mut dyn AnyExporter,
        call: Call<'_>,
        within: Duration,
    ) -> Result<Option<Result<(), ExportError>>, String> {
        let began = Instant::now();
        let ended = self.tokio.block_on(async {
            let mut calling = call_user(|| exporter.call(call, within)).map_err(Some)?;
            let mut over = pin!(tokio::time::sleep(within));
            let ended = poll_fn(|context| match call_user(|| calling.as_mut().poll(context)) {
                Ok(Poll::Ready(result)) => Poll::Ready(Ok(Some(result))),
                Ok(Poll::Pending) => over.as_mut().poll(context).map(|()| Ok(None)),
                Err(payload) => Poll::Ready(Err(Some(payload))),
            })
            .await;
            call_user(|| drop(calling)).map_err(Some)?;
            ended
        });
        let ended = ended.map_err(|payload: Option<Box<dyn std::any::Any + Send>>| {
            let said = payload.as_deref().map(panic_message).unwrap_or_default();
            drop_quietly(payload);
            format!("it panicked: {said}")
        })?;
        let took = began.elapsed();
        if took > within.saturating_add(self.grace) {
            return Err(format!(
                "a call of {within:?} took {took:?} and could not be cut: it blocks its thread"
            ));
        }
        Ok(ended)
    }

    /// Begins an export, polls it so many times at most, and drops it.
    fn cut(&self, exporter: &mut dyn AnyExporter, state: &RuntimeSnapshot, polls: u32) -> Result<(), String> {
        let began = Instant::now();
        let cut = self.tokio.block_on(async {
            call_user(|| {
                let mut calling = exporter.call(Call::Export(state), self.within);
                let mut context = std::task::Context::from_waker(std::task::Waker::noop());
                for _ in 0..polls {
                    if calling.as_mut().poll(&mut context).is_ready() {
                        break;
                    }
                }
            })
        });
        cut.map_err(|payload| {
            let message = format!("it panicked: {}", panic_message(&*payload));
            drop_quietly(payload);
            message
        })?;
        if began.elapsed() > self.within.saturating_add(self.grace) {
            return Err(format!("a call that is cut off took {:?}", began.elapsed()));
        }
        Ok(())
    }
}

/// States of runtimes, ordinary and otherwise.
struct States {
    empty: RuntimeSnapshot,
    full: RuntimeSnapshot,
    ended: RuntimeSnapshot,
    changing: MetricsRuntime,
    recorder: crate::recorder::handle::Recorder<Odd>,
    changes: u64,
}

/// An event with whatever a label and a value may be.
#[derive(Clone)]
struct Odd {
    text: Arc<str>,
    count: u64,
    level: i64,
    number: f64,
}

impl MetricEvent for Odd {
    fn event_type(&self) -> &'static str {
        "odd"
    }
}

impl Odd {
    fn ordinary(count: u64) -> Self {
        Self { text: "ordinary".into(), count, level: -1, number: 0.5 }
    }
}

/// What stands in labels, ids and names of groups elsewhere, and what some format gives a meaning to.
const TEXTS: [&str; 12] = [
    "",
    " ",
    "a\"b\\c",
    "line\nfeed\r\ttab",
    "comma,equals=brace{}|pipe#hash:colon@at;semicolon/slash",
    "\u{1b}[31mred\u{7}",
    "\0",
    "\u{202e}right to left",
    "ü日本🦀",
    "</script><img onerror=1>",
    "# EOF",
    "NaN",
];

const NUMBERS: [f64; 8] = [0.0, -0.0, 1.0, -1.5, f64::MIN_POSITIVE, f64::MAX, -f64::MAX, 1e-300];

impl States {
    fn make() -> Result<Self, Error> {
        let runtime = MetricsRuntime::builder("conformance").build()?;
        let empty = runtime.collect();
        runtime.start()?;
        let recorder = odd_recorder(&runtime, "odd")?;
        let changing = MetricsRuntime::builder("changing").build()?;
        changing.start()?;
        let changed = odd_recorder(&changing, "changing \"id\" #{},=\\")?;
        let events = TEXTS.iter().flat_map(|text| NUMBERS.map(|number| (*text, number)));
        for (text, number) in events {
            let counts = [(0, 0), (1, -1), (u64::MAX / 200, i64::MAX / 200), ((1 << 53) + 1, i64::MIN / 200)];
            for (count, level) in counts {
                recorder.register_event(Odd { text: text.into(), count, level, number });
            }
        }
        recorder.register_event(Odd { text: "x".repeat(10_240).into(), ..Odd::ordinary(1) });
        runtime
            .recorder::<Odd>("unused")
            .group("a \"group\" {}\\")
            .counter("conformance.unused", |c| c)
            .create()?;
        recorder.flush_blocking(crate::model::limits::START_TIMEOUT)?;
        let full = runtime.collect();
        runtime.shutdown(crate::model::limits::DROP_DEADLINE)?;
        Ok(Self { empty, full, ended: runtime.collect(), changing, recorder: changed, changes: 0 })
    }

    /// The state after one more event.
    fn next(&mut self) -> RuntimeSnapshot {
        self.changes += 1;
        self.recorder.register_event(Odd::ordinary(self.changes));
        // Should it not be visible in time, an older state does as well.
        drop(self.recorder.flush_blocking(GRACE));
        self.changing.collect()
    }
}

/// A recorder with a metric of every kind.
fn odd_recorder(runtime: &MetricsRuntime, id: &str) -> Result<crate::recorder::handle::Recorder<Odd>, Error> {
    fn text(event: &Odd) -> Label<'_> {
        (&*event.text).into()
    }
    runtime
        .recorder::<Odd>(id)
        .entity("an \"entity\" {}\\")
        .constant_label("constant", "a \"label\"\n\u{1b}")
        .counter("conformance.count", |c| {
            c.help("help with \"quotes\", \\ and\na line feed").label("text", text).value(|e| Some(e.count))
        })
        .counter("conformance.bytes", |c| c.unit(Unit::Bytes).value(|e| Some(e.count)))
        .up_down("conformance.level", |u| u.label("text", text).value(|e| Some(e.level)))
        .gauge("conformance.gauge", |g| g.unit(Unit::Seconds).label("text", text).value(|e| Some(e.number)))
        .histogram("conformance.explicit", |h| {
            h.bounds(&[-1.0, 0.0, 1e-3, 1.0, 1e300]).label("text", text).value(|e| Some(e.number))
        })
        .exponential_histogram("conformance.exponential", |h| h.label("text", text).value(|e| Some(e.number)))
        .average("conformance.average", |a| a.label("text", text).value(|e| Some(e.number)))
        .metric(Fields::new()?)
        .create()
}

/// A custom metric of free fields.
struct Fields {
    descriptor: Arc<Descriptor>,
    integer: FieldName,
    fraction: FieldName,
    seen: u64,
}

impl Fields {
    fn new() -> Result<Self, Error> {
        Ok(Self {
            descriptor: Descriptor::builder("conformance.fields", Kind::Fields).label("text").build()?,
            integer: FieldName::new("integer")?,
            fraction: FieldName::new("fraction")?,
            seen: 0,
        })
    }
}

impl crate::metric::Metric<Odd> for Fields {
    fn descriptor(&self) -> &Arc<Descriptor> {
        &self.descriptor
    }

    fn handle_event(&mut self, _event: &Odd, _context: &Context) -> Verdict {
        self.seen += 1;
        Verdict::Accepted
    }

    fn snapshot(&self, writer: &mut FamilyWriter<'_>) {
        let Ok(labels) = LabelSet::new([("text", TEXTS[2])]) else { return };
        writer.labelled_field(&labels, &self.integer, u64::MAX);
        writer.labelled_field(&labels, &self.fraction, -0.25 * self.seen as f64);
    }
}
