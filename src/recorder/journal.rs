//! Where incidents are told: the error handlers of a runtime, and the log of the feature `log`.
//!
//! Everybody told is user code: it runs under `catch_unwind`, under no lock, on whatever thread the incident happened: the
//! worker, or the caller of an operation; a shutdown has a thread of its own for it. Never on the hand-off path of events. It runs as a hook would: calls that
//! wait are answered by `WouldDeadlock`, and incidents that it causes are told to nobody, so that no incident breeds another.

#[cfg(feature = "log")]
pub(crate) mod log;

use crate::model::incident::Incident;
use crate::model::incident::IncidentKind;
use crate::model::incident::Severity;
use crate::model::limits;
use crate::model::name::RecorderId;
use crate::queue::call_user;
use crate::queue::drop_quietly;
use crate::sync::atomic::AtomicU64;
use crate::sync::atomic::Ordering;
use crate::sync::own_thread;
use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::sync::Arc;

/// Somebody who is told of incidents.
type Handler = Arc<dyn Fn(&Incident) + Send + Sync>;

/// What a builder collects: who is told, and from which severity on the log is written; `None` writes nothing.
#[derive(Clone)]
pub(crate) struct Listeners {
    handlers: Vec<Handler>,
    pub(crate) logged_from: LoggedFrom,
}

/// The severity from which on something is logged; `None` for never.
pub(crate) type LoggedFrom = Option<Severity>;

/// An incident that is still to be told: plain data, which keeps nobody alive.
pub(crate) struct Untold {
    pub(crate) recorder: Option<RecorderId>,
    pub(crate) logged_from: LoggedFrom,
    pub(crate) kind: IncidentKind,
}

/// The journal of one runtime, or of one recorder without a runtime.
pub(crate) struct Journal {
    runtime: Option<RecorderId>,
    listeners: Listeners,
    write: Option<fn(&Incident)>,
    panics: AtomicU64,
}

impl Listeners {
    pub(crate) fn listen(&mut self, handler: impl Fn(&Incident) + Send + Sync + 'static) {
        self.handlers.push(Arc::new(handler));
    }
}

impl Default for Listeners {
    fn default() -> Self {
        Self { handlers: Vec::new(), logged_from: Some(Severity::Info) }
    }
}

impl Journal {
    pub(crate) fn new(runtime: Option<RecorderId>, listeners: Listeners) -> Self {
        Self { runtime, listeners, write: log_writer(), panics: AtomicU64::new(0) }
    }

    /// From which severity on is logged what has no setting of its own.
    pub(crate) fn logged_from(&self) -> LoggedFrom {
        self.listeners.logged_from
    }

    /// Whether an incident of this severity is told to anybody: asked before something is looked up only to tell of it.
    pub(crate) fn hears(&self, severity: Severity, logged_from: LoggedFrom) -> bool {
        self.is_logged(severity, logged_from) || self.is_handled(severity)
    }

    /// Whether there is anybody to tell of anything.
    pub(crate) fn is_heard(&self) -> bool {
        log_is_read() || !self.listeners.handlers.is_empty()
    }

    /// Tells everybody whom it concerns.
    pub(crate) fn note(&self, recorder: Option<&RecorderId>, logged_from: LoggedFrom, kind: IncidentKind) {
        let severity = kind.facts().severity;
        let telling = if self.hears(severity, logged_from) { Telling::begin() } else { None };
        if telling.is_none() {
            return drop_quietly(kind);
        }
        let incident = Incident::new(self.runtime.clone(), recorder.cloned(), kind);
        if let (Some(write), true) = (self.write, self.is_logged(severity, logged_from)) {
            self.call(|| write(&incident));
        }
        if self.is_handled(severity) {
            self.listeners.handlers.iter().for_each(|handler| self.call(|| handler(&incident)));
        }
        // It may be the last owner of an error whose source is the user's.
        drop_quietly(incident);
    }

    pub(crate) fn tell(&self, Untold { recorder, logged_from, kind }: Untold) {
        self.note(recorder.as_ref(), logged_from, kind);
    }

    /// How often somebody who was told panicked over it.
    pub(crate) fn panics(&self) -> u64 {
        self.panics.load(Ordering::Acquire)
    }

    fn is_logged(&self, severity: Severity, logged_from: LoggedFrom) -> bool {
        self.write.is_some() && logged_from.is_some_and(|from| severity >= from)
    }

    fn is_handled(&self, severity: Severity) -> bool {
        severity >= Severity::Warn && !self.listeners.handlers.is_empty()
    }

    fn call(&self, tell: impl FnOnce()) {
        if let Err(payload) = call_user(tell) {
            drop_quietly(payload);
            self.panics.fetch_add(1, Ordering::AcqRel);
        }
    }
}

#[cfg(feature = "log")]
fn log_writer() -> Option<fn(&Incident)> {
    Some(log::write)
}

#[cfg(feature = "log")]
fn log_is_read() -> bool {
    log::is_read()
}

#[cfg(not(feature = "log"))]
fn log_is_read() -> bool {
    false
}

#[cfg(not(feature = "log"))]
fn log_writer() -> Option<fn(&Incident)> {
    None
}

/// What a panic said, for an incident.
pub(crate) fn panic_message(payload: &(dyn Any + Send)) -> Box<str> {
    let said = payload.downcast_ref::<&str>().copied();
    let said = said.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let said = said.unwrap_or("(its payload is no text)");
    let cut = (0..=limits::MAX_PANIC_BYTES.min(said.len())).rev().find(|end| said.is_char_boundary(*end));
    said[..cut.unwrap_or(0)].into()
}

thread_local! {
    static TELLING: Cell<bool> = const { Cell::new(false) };
}

/// The calling thread tells somebody: what happens meanwhile is told to nobody, and calls that would wait fail.
struct Telling {
    _own: own_thread::Borrowed,
}

impl Telling {
    fn begin() -> Option<Self> {
        let before = TELLING.try_with(|telling| telling.replace(true)).unwrap_or(true);
        (!before).then(|| Self { _own: own_thread::borrow() })
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        // Err only while the thread is torn down: then nobody asks any more.
        let _ = TELLING.try_with(|telling| telling.set(false));
    }
}

impl fmt::Debug for Listeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listeners")
            .field("handlers", &self.handlers.len())
            .field("logged_from", &self.logged_from)
            .finish()
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal")
            .field("runtime", &self.runtime)
            .field("listeners", &self.listeners)
            .field("panics", &self.panics())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[cfg(not(mvx_loom))]
mod tests {
    use super::*;

    #[test]
    fn a_panics_message_is_cut_at_a_character() {
        let cut = |text: &str| panic_message(&String::from(text)).len();
        assert_eq!(cut("short"), 5);
        assert_eq!(cut(&"x".repeat(300)), limits::MAX_PANIC_BYTES);
        assert_eq!(cut(&format!("{}é and more", "x".repeat(limits::MAX_PANIC_BYTES - 1))), 255);
        assert_eq!(&*panic_message(&"fixed"), "fixed");
        assert_eq!(&*panic_message(&7), "(its payload is no text)");
    }
}
