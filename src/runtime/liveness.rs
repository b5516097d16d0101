//! What the worker is in: alive, and perhaps held by a call of user code.

use crate::model::clock::Timestamp;
use crate::model::limits;
use crate::model::name::RecorderId;
use crate::recorder::calls::UserCall;
use crate::recorder::hosted::Hosted;
use crate::runtime::Inner;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Whether a runtime's worker lives, and what user code it is in.
///
/// # Examples
///
/// ```
/// use mvx_metrics::prelude::*;
/// use std::time::Duration;
///
/// # fn main() -> Result<(), mvx_metrics::Error> {
/// let runtime = MetricsRuntime::builder("docs").build()?;
/// assert!(!runtime.liveness().is_alive());
/// runtime.start()?;
/// let liveness = runtime.liveness();
/// assert!(liveness.is_alive()); // idle is alive
/// assert!(liveness.stuck().is_none());
/// # runtime.shutdown(Duration::from_secs(5))?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Liveness {
    pub(crate) alive: bool,
    pub(crate) call: Option<CallUnderWay>,
}

impl Liveness {
    /// Whether the worker thread is there: working, idle or held. False before the start and after the end.
    pub fn is_alive(&self) -> bool {
        self.alive
    }

    /// The user code that the worker is in at this moment, however short; `None` while it runs none.
    pub fn call(&self) -> Option<&CallUnderWay> {
        self.call.as_ref()
    }

    /// The call, if it has lasted for longer than [`STUCK_AFTER`](crate::limits::STUCK_AFTER).
    pub fn stuck(&self) -> Option<&CallUnderWay> {
        self.call().filter(|call| call.lasted > limits::STUCK_AFTER)
    }
}

/// One call of user code that has not returned.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallUnderWay {
    /// The recorder that it belongs to.
    pub recorder: RecorderId,
    /// What it is.
    pub call: UserCall,
    /// The start of the turn that it is made in. A turn is bounded, but one chunk of events (64 at most) is not divided.
    pub since: Timestamp,
    /// The time since then, by the runtime's clock.
    pub lasted: Duration,
}

impl fmt::Display for CallUnderWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of recorder {} for {:?}", self.call, self.recorder, self.lasted)
    }
}

/// Whether the worker lives, and the call that it is in.
pub(crate) fn look(inner: &Inner) -> Liveness {
    if inner.control.hub.is_forked() {
        return Liveness { alive: false, call: None };
    }
    let worker = inner.life.lock().worker.clone();
    let alive = worker.is_some_and(|ended| ended.result().is_none());
    Liveness { alive, call: alive.then(|| call(inner)).flatten() }
}

/// The call that the worker is in. There is one worker, so there is one call at most.
pub(crate) fn call(inner: &Inner) -> Option<CallUnderWay> {
    inner.registry.find_busy().and_then(|recorder| call_of(inner, &recorder))
}

fn call_of(inner: &Inner, recorder: &Arc<dyn Hosted>) -> Option<CallUnderWay> {
    let (call, since) = recorder.call()?;
    let lasted = inner.settings.clock.now().saturating_since(since);
    Some(CallUnderWay { recorder: recorder.identity().id.clone(), call, since, lasted })
}
