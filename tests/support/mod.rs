//! What the tests of the promises share: a metric that calls back, a gate that holds the worker, waiting with a deadline.
#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use mvx_metrics::Context;
use mvx_metrics::Descriptor;
use mvx_metrics::FamilyWriter;
use mvx_metrics::Interests;
use mvx_metrics::Kind;
use mvx_metrics::LabelSet;
use mvx_metrics::Metric;
use mvx_metrics::MetricEvent;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::Recorder;
use mvx_metrics::RegisterError;
use mvx_metrics::Verdict;
use std::future::Future;
use std::pin::pin;
use std::process::Command;
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::task::Wake;
use std::task::Waker;
use std::thread::Thread;
use std::time::Duration;
use std::time::Instant;

/// How long anything may take that should take no time, on a machine that does other things as well.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// An event that carries a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number(pub u64);

impl MetricEvent for Number {
    fn event_type(&self) -> &'static str {
        "number"
    }
}

/// A count of rounds, multiplied by `MVX_SCALE` for the slow recipe.
pub fn scaled(rounds: u64) -> u64 {
    let scale = std::env::var("MVX_SCALE").ok().and_then(|scale| scale.parse::<u64>().ok());
    rounds * scale.unwrap_or(1).max(1)
}

/// A command that runs this test, and no other, in a process of its own.
pub fn again(test: &str) -> Command {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", test, "--nocapture"]);
    if cfg!(panic = "abort") {
        // There the harness gives each test a process of its own, without the input, and one that lives on when the harness
        // is killed. By this it runs the test itself.
        child.env("__RUST_TEST_INVOKE", test);
    }
    child
}

/// Whether what was run `again` has passed: a harness says so by 0, the test by itself as the harness of such builds expects it.
pub fn passed(status: ExitStatus) -> bool {
    status.code() == Some(if cfg!(panic = "abort") { 50 } else { 0 })
}

/// A runtime that runs.
pub fn running(namespace: &str) -> MetricsRuntime {
    let runtime = MetricsRuntime::builder(namespace).build().unwrap();
    runtime.start().unwrap();
    runtime
}

/// Looks until it is so, and fails when patience ends.
#[track_caller]
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "not within {PATIENCE:?}: {what}");
        std::thread::park_timeout(Duration::from_micros(50));
    }
}

/// Offers an event until there is room for it; what is refused comes back and is offered again, so the order stays.
#[track_caller]
pub fn insist<E: MetricEvent>(recorder: &Recorder<E>, mut event: E) {
    let end = Instant::now() + PATIENCE;
    while let Err(refused) = recorder.try_register_event(event) {
        assert!(matches!(refused, RegisterError::Full(_)) && Instant::now() < end, "{refused}: {recorder:?}");
        event = refused.into_event();
        std::thread::yield_now();
    }
}

/// Says that it is over when it goes out of scope, so that a failed assertion ends the threads that wait for that, too.
pub struct Over<'a>(pub &'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// A metric that calls a closure for each event, and shows how many it has accepted.
pub struct Probe<E, F> {
    descriptor: Arc<Descriptor>,
    interests: Interests,
    accepted: u64,
    handle: F,
    event: std::marker::PhantomData<fn(E)>,
}

impl<E, F: FnMut(&E) -> Verdict> Probe<E, F> {
    pub fn new(name: &str, handle: F) -> Self {
        let descriptor = Descriptor::builder(name, Kind::Counter).build().unwrap();
        Self { descriptor, interests: Interests::All, accepted: 0, handle, event: std::marker::PhantomData }
    }

    pub fn on(mut self, event_types: &[&'static str]) -> Self {
        self.interests = Interests::Only(event_types.to_vec());
        self
    }
}

impl<E: MetricEvent, F: FnMut(&E) -> Verdict + Send + 'static> Metric<E> for Probe<E, F> {
    fn descriptor(&self) -> &Arc<Descriptor> {
        &self.descriptor
    }

    fn interests(&self) -> Interests {
        self.interests.clone()
    }

    fn handle_event(&mut self, event: &E, _context: &Context) -> Verdict {
        let verdict = (self.handle)(event);
        self.accepted += u64::from(verdict == Verdict::Accepted);
        verdict
    }

    fn snapshot(&self, writer: &mut FamilyWriter<'_>) {
        writer.counter(&LabelSet::empty(), self.accepted);
    }
}

/// A place where a metric waits until the test lets it go on. `Clone` gives the same place.
#[derive(Clone, Default)]
pub struct Gate(Arc<(Mutex<GateState>, Condvar)>);

#[derive(Default)]
struct GateState {
    came: u64,
    open: bool,
}

impl Gate {
    /// Called by the metric: waits until the gate is open.
    pub fn pass(&self) {
        let mut state = self.0.0.lock().unwrap();
        state.came += 1;
        self.0.1.notify_all();
        while !state.open {
            state = self.0.1.wait(state).unwrap();
        }
    }

    /// Called by the test: waits until a metric stands at the gate.
    #[track_caller]
    pub fn until_reached(&self) {
        let state = self.0.0.lock().unwrap();
        let (_state, timeout) =
            self.0.1.wait_timeout_while(state, PATIENCE, |state| state.came == 0).unwrap();
        assert!(!timeout.timed_out(), "nobody came to the gate");
    }

    pub fn open(&self) {
        self.0.0.lock().unwrap().open = true;
        self.0.1.notify_all();
    }
}

/// A metric that waits at the gate on the event of this number, and accepts every event.
pub fn stopper(name: &str, number: u64, gate: &Gate) -> impl Metric<Number> + use<> {
    let gate = gate.clone();
    Probe::new(name, move |event: &Number| {
        if event.0 == number {
            gate.pass();
        }
        Verdict::Accepted
    })
}

/// Runs a future on this thread, with nothing but a parker; fails when patience ends.
#[track_caller]
pub fn by_hand<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    let end = Instant::now() + PATIENCE;
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut std::task::Context::from_waker(&waker)) {
            // Woken, and not come to look when the time was over.
            assert!(Instant::now() < end, "nobody woke the future within {PATIENCE:?}");
            return output;
        }
        let left = end.saturating_duration_since(Instant::now());
        assert!(!left.is_zero(), "the future is not over after {PATIENCE:?}");
        std::thread::park_timeout(left);
    }
}
