//! What is asked of an exporter's thread by others, and how it waits for that.

use crate::model::error::Error;
use crate::model::error::ErrorKind;
use crate::model::name::RecorderId;
use crate::recorder::operation::Completer;
use crate::recorder::operation::Operation;
use crate::recorder::operation::wake_quietly;
use crate::sync::Mutex;
use std::future::Future;
use std::future::poll_fn;
use std::pin::Pin;
use std::pin::pin;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;
use std::time::Instant;

/// Flushes and the end, as they were asked for; and whoever waits for them on the thread.
#[derive(Default)]
pub(super) struct Mail {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    flushes: Vec<Flush>,
    ending: Option<Ending>,
    /// Something else has changed: the thread is to look again.
    nudged: bool,
    /// The thread has ended: nobody answers any more.
    gone: bool,
    waker: Option<Waker>,
}

struct Flush {
    until: Option<Instant>,
    done: Completer,
}

struct Ending {
    until: Option<Instant>,
    operation: Operation,
    done: Option<Completer>,
}

/// Flushes that one delivery answers.
pub(super) struct Flushes {
    /// Nothing is tried after it; none if somebody has no deadline.
    pub(super) until: Option<Instant>,
    asked: Vec<Flush>,
}

/// What comes next on an exporter's thread.
pub(super) enum Next {
    /// The time has come.
    Due,
    /// Somebody wants it now.
    Flush(Flushes),
    /// The last delivery, until then.
    End(Option<Instant>),
    /// To look again at what it waits for.
    Again,
}

impl Mail {
    pub(super) fn flush(&self, name: &RecorderId, until: Option<Instant>) -> Operation {
        let (operation, done) = Operation::new(None);
        let waker = {
            let mut state = self.state.lock();
            if state.gone || state.ending.is_some() {
                drop(state);
                let message = format!("exporter {name} has ended; what it delivered last is in its status");
                done.complete(Err(Error::new(ErrorKind::InvalidState, message)));
                return operation;
            }
            // However often a caller comes back to an exporter that is held: those who have gone take no room.
            state.flushes.retain(|flush| flush.done.is_awaited());
            state.flushes.push(Flush { until, done });
            state.waker.take()
        };
        if let Some(waker) = waker {
            wake_quietly(waker);
        }
        operation
    }

    pub(super) fn finish(&self, until: Option<Instant>) -> Operation {
        let (operation, waker) = {
            let mut state = self.state.lock();
            if let Some(ending) = &state.ending {
                return ending.operation.clone();
            }
            let (operation, done) = Operation::new(None);
            state.ending = Some(Ending { until, operation: operation.clone(), done: Some(done) });
            (operation, state.waker.take())
        };
        if let Some(waker) = waker {
            wake_quietly(waker);
        }
        operation
    }

    /// Makes the thread look again.
    pub(super) fn nudge(&self) {
        let waker = {
            let mut state = self.state.lock();
            state.nudged = true;
            state.waker.take()
        };
        if let Some(waker) = waker {
            wake_quietly(waker);
        }
    }

    /// Waits for what comes next.
    pub(super) async fn next(&self, due: Option<Instant>) -> Next {
        let mut time = pin!(at(due));
        poll_fn(|context| match self.poll(context) {
            Poll::Ready(next) => Poll::Ready(next),
            Poll::Pending => time.as_mut().poll(context).map(|()| Next::Due),
        })
        .await
    }

    fn poll(&self, context: &mut Context<'_>) -> Poll<Next> {
        let fresh = context.waker().clone();
        let mut state = self.state.lock();
        if let Some(ending) = &state.ending {
            return Poll::Ready(Next::End(ending.until));
        }
        if std::mem::take(&mut state.nudged) {
            return Poll::Ready(Next::Again);
        }
        if state.flushes.is_empty() {
            state.waker = Some(fresh);
            return Poll::Pending;
        }
        let asked = std::mem::take(&mut state.flushes);
        let latest = asked
            .iter()
            .map(|flush| flush.until)
            .try_fold(Instant::now(), |latest, until| Some(latest.max(until?)));
        Poll::Ready(Next::Flush(Flushes { until: latest, asked }))
    }

    /// Waits until then; shorter if somebody asks for something.
    pub(super) async fn pause(&self, until: Instant) {
        let mut time = pin!(at(Some(until)));
        poll_fn(|context| {
            if self.is_asked(context) {
                return Poll::Ready(());
            }
            time.as_mut().poll(context)
        })
        .await;
    }

    fn is_asked(&self, context: &mut Context<'_>) -> bool {
        let fresh = context.waker().clone();
        let mut state = self.state.lock();
        let asked = state.ending.is_some() || !state.flushes.is_empty();
        if !asked {
            state.waker = Some(fresh);
        }
        asked
    }

    /// Whether the end is asked for, and until when; whoever asks is woken by it.
    pub(super) fn ending(&self, context: &mut Context<'_>) -> Option<Option<Instant>> {
        let fresh = context.waker().clone();
        let mut state = self.state.lock();
        let until = state.ending.as_ref().map(|ending| ending.until);
        if until.is_none() {
            state.waker = Some(fresh);
        }
        until
    }

    pub(super) fn is_ending(&self) -> bool {
        self.state.lock().ending.is_some()
    }

    /// The thread ends: whoever waits, and whoever asks from now on, gets this.
    pub(super) fn close(&self, name: &RecorderId, result: Result<(), Error>) {
        let (flushes, ending) = {
            let mut state = self.state.lock();
            state.gone = true;
            let flushes = std::mem::take(&mut state.flushes);
            let ending = match &mut state.ending {
                Some(ending) => ending.done.take(),
                None => {
                    let operation = Operation::done(result.clone());
                    state.ending = Some(Ending { until: None, operation, done: None });
                    None
                }
            };
            (flushes, ending)
        };
        for flush in flushes {
            let message = format!("exporter {name} ended before it came to this; see its report");
            flush.done.complete(Err(Error::new(ErrorKind::InvalidState, message)));
        }
        if let Some(done) = ending {
            done.complete(result);
        }
    }
}

impl Flushes {
    pub(super) fn answer(self, result: &Result<(), Error>) {
        for flush in self.asked {
            flush.done.complete(result.clone());
        }
    }
}

/// Over at this time; never, if there is none.
pub(super) fn at(time: Option<Instant>) -> impl Future<Output = ()> {
    let mut sleep = time.map(|time| Box::pin(tokio::time::sleep_until(time.into())));
    poll_fn(move |context| match &mut sleep {
        Some(sleep) => Pin::new(sleep).poll(context),
        None => Poll::Pending,
    })
}
