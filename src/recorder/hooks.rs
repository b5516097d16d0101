//! Lifecycle hooks: async code of the user's that runs before a recorder's first event and after its last.

use crate::model::clock::Timestamp;
use crate::model::error::Error;
use crate::model::error::ErrorKind;
use crate::model::limits;
use crate::queue::call_user;
use crate::sync::Mutex;
use std::error::Error as StdError;
use std::future::Future;
use std::pin::Pin;
use std::task::Context;
use std::task::Poll;
use std::time::Duration;

/// What a hook may fail with.
pub(crate) type BoxError = Box<dyn StdError + Send + Sync>;

/// A hook under way.
pub(crate) type HookFuture = Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>;

/// Makes the hook's future, once for each start or stop.
pub(crate) type HookFn = Box<dyn FnMut() -> HookFuture + Send>;

/// What is told how a hook ended.
pub(crate) type HookDone = Box<dyn FnOnce(Result<(), Error>) + Send>;

/// The hooks of one recorder.
pub(crate) struct Hooks {
    pub(crate) on_starting: Option<HookFn>,
    pub(crate) on_stopped: Option<HookFn>,
    /// `None` is the default.
    pub(crate) deadline: Option<Duration>,
}

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Starting,
    Stopped,
}

impl Phase {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Starting => "on_starting",
            Self::Stopped => "on_stopped",
        }
    }
}

impl Hooks {
    pub(crate) const fn none() -> Self {
        Self { on_starting: None, on_stopped: None, deadline: None }
    }

    /// Whether there is anything in here.
    pub(crate) const fn are_any(&self) -> bool {
        self.on_starting.is_some() || self.on_stopped.is_some() || self.deadline.is_some()
    }

    pub(crate) const fn has(&self, phase: Phase) -> bool {
        match phase {
            Phase::Starting => self.on_starting.is_some(),
            Phase::Stopped => self.on_stopped.is_some(),
        }
    }

    /// What they take on the heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        let hooks = [&self.on_starting, &self.on_stopped].into_iter().flatten();
        hooks.map(|hook| size_of_val(&**hook)).sum()
    }

    pub(crate) fn deadline(&self) -> Duration {
        self.deadline.unwrap_or(limits::HOOK_DEADLINE)
    }

    /// Makes the future of a hook; `None` if there is no such hook. A hook that panics over it has failed.
    pub(crate) fn make(&mut self, phase: Phase) -> Option<HookFuture> {
        let hook = match phase {
            Phase::Starting => &mut self.on_starting,
            Phase::Stopped => &mut self.on_stopped,
        };
        let hook = hook.as_mut()?;
        Some(call_user(hook).unwrap_or_else(|payload| {
            crate::queue::drop_quietly(payload);
            Box::pin(async { Err(BoxError::from("it panicked")) })
        }))
    }
}

/// Somebody who runs hooks beside the drain loop.
pub(crate) trait Executor: Send + Sync {
    fn run(&self, hook: HookFuture, phase: Phase, deadline: Duration, done: HookDone);
}

/// How a hook's end is reported.
pub(crate) fn hook_result(phase: Phase, result: Result<(), BoxError>) -> Result<(), Error> {
    result.map_err(|cause| {
        let message =
            format!("the hook {} failed: {cause}; mend what it needs, and start again", phase.name());
        Error::new(ErrorKind::HookFailed, message).with_boxed_source(cause)
    })
}

pub(crate) fn hook_timed_out(phase: Phase, deadline: Duration) -> Error {
    let message = format!(
        "the hook {} was not over after {deadline:?}; give it more time by `hook_deadline`",
        phase.name()
    );
    Error::new(ErrorKind::HookFailed, message)
}

pub(crate) fn hook_panicked(phase: Phase) -> Error {
    Error::new(ErrorKind::HookFailed, format!("the hook {} panicked; mend it, and start again", phase.name()))
}

/// Runs hooks inside whatever polls it: a detached recorder's task, or a test's stepped worker.
///
/// It has no timer: a deadline is looked at when it is polled.
#[derive(Default)]
pub(crate) struct Inline {
    arrived: Mutex<Vec<Running>>,
}

struct Running {
    hook: HookFuture,
    phase: Phase,
    deadline: Duration,
    since: Option<Timestamp>,
    done: HookDone,
}

impl Executor for Inline {
    fn run(&self, hook: HookFuture, phase: Phase, deadline: Duration, done: HookDone) {
        self.arrived.lock().push(Running { hook, phase, deadline, since: None, done });
    }
}

impl Inline {
    /// Drops what is under way. A hook holds its recorder, which leads here: left alone, they would keep each other for ever.
    pub(crate) fn clear(&self) {
        let left = std::mem::take(&mut *self.arrived.lock());
        left.into_iter().for_each(crate::queue::drop_quietly);
    }

    /// Whether no hook is under way.
    pub(crate) fn is_idle(&self) -> bool {
        self.arrived.lock().is_empty()
    }

    /// Polls every hook once; true if one ended.
    pub(crate) fn poll(&self, context: &mut Context<'_>, now: Timestamp) -> bool {
        let mut hooks = std::mem::take(&mut *self.arrived.lock());
        let before = hooks.len();
        let mut left = Vec::new();
        for mut running in hooks.drain(..) {
            let since = *running.since.get_or_insert(now);
            let result = match call_user(|| running.hook.as_mut().poll(context)) {
                Ok(Poll::Ready(result)) => hook_result(running.phase, result),
                Ok(Poll::Pending) if now.saturating_since(since) >= running.deadline => {
                    Err(hook_timed_out(running.phase, running.deadline))
                }
                Ok(Poll::Pending) => {
                    left.push(running);
                    continue;
                }
                Err(payload) => {
                    crate::queue::drop_quietly(payload);
                    Err(hook_panicked(running.phase))
                }
            };
            // The future is the user's: its destructor may panic as well as its code.
            crate::queue::drop_quietly(running.hook);
            (running.done)(result);
        }
        let ended = left.len() < before;
        self.arrived.lock().extend(left);
        ended
    }
}
