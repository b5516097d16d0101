//! The thread of one exporter: waits for its times, calls it, tries again, and ends with the runtime.
//!
//! One thread each, so that an exporter that hangs, spins or panics moves no other one's times.

use crate::edge::sources;
use crate::export::exporter::AnyExporter;
use crate::export::exporter::Call;
use crate::export::exporter::ExportError;
use crate::export::mail::Mail;
use crate::export::mail::Next;
use crate::export::schedule::Schedule;
use crate::model::error::Error;
use crate::model::error::ErrorKind;
use crate::model::incident::IncidentKind;
use crate::model::limits;
use crate::model::name::RecorderId;
use crate::queue::call_user;
use crate::queue::drop_quietly;
use crate::recorder::journal::panic_message;
use crate::recorder::operation::Operation;
use crate::runtime::Inner;
use crate::runtime::followers::ExporterStatus;
use crate::runtime::followers::Follower;
use crate::runtime::followers::left;
use crate::sync::Mutex;
use crate::sync::own_thread;
use std::any::Any;
use std::future::Future;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::task::Poll;
use std::time::Duration;
use std::time::Instant;

/// What an exporter's thread shares with everybody else.
pub(super) struct Post {
    name: RecorderId,
    mail: Mail,
    status: Mutex<ExporterStatus>,
}

impl Post {
    pub(super) fn new(name: RecorderId) -> Self {
        let status = ExporterStatus {
            name: name.as_str().to_owned(),
            delivered: 0,
            failed: 0,
            attempts: 0,
            missed: 0,
            consecutive_failures: 0,
            last_delivery: None,
            last_error: None,
            running_since: None,
            is_quarantined: false,
        };
        Self { name, mail: Mail::default(), status: Mutex::new(status) }
    }

    /// The thread is not there, and never was.
    pub(super) fn never_began(&self, error: Error) {
        self.mail.close(&self.name, Err(error));
    }
}

impl Follower for Post {
    fn name(&self) -> &RecorderId {
        &self.name
    }

    fn flush(&self, until: Option<Instant>) -> Operation {
        self.mail.flush(&self.name, until)
    }

    fn finish(&self, until: Option<Instant>) -> Operation {
        self.mail.finish(until)
    }

    fn reinstate(&self) -> bool {
        let was = std::mem::take(&mut self.status.lock().is_quarantined);
        self.mail.nudge();
        was
    }

    fn status(&self) -> ExporterStatus {
        self.status.lock().clone()
    }
}

/// One exporter on its thread.
pub(super) struct Driver {
    inner: Arc<Inner>,
    post: Arc<Post>,
    schedule: Schedule,
    exporter: Box<dyn AnyExporter>,
}

/// Until when a delivery is tried.
#[derive(Clone, Copy)]
struct Within {
    /// No attempt begins after it.
    begin: Option<Instant>,
    /// No attempt goes on after it.
    end: Option<Instant>,
    /// Whether it is the last one, which gives way to nobody.
    last: bool,
}

/// How a call of the exporter ended, if not well.
enum Failure {
    Export(ExportError),
    Panic(Box<dyn Any + Send>),
}

impl Driver {
    pub(super) fn new(
        inner: Arc<Inner>,
        post: Arc<Post>,
        schedule: Schedule,
        exporter: Box<dyn AnyExporter>,
    ) -> Self {
        Self { inner, post, schedule, exporter }
    }

    /// The thread's whole life.
    pub(super) fn run(mut self, told: &Sender<io::Result<()>>) {
        own_thread::mark();
        let tokio = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(tokio) => tokio,
            Err(cause) => {
                drop_quietly(self.exporter);
                return drop(told.send(Err(cause)));
            }
        };
        let _ = told.send(Ok(()));
        // The exporter is caught where it is called; this is for a mistake of our own, which must not be silent.
        let ended = call_user(|| tokio.block_on(self.live()));
        let Self { inner, post, exporter, .. } = self;
        {
            // An exporter may hold what belongs to the loop.
            let _entered = tokio.enter();
            drop_quietly(exporter);
        }
        // Not waiting for what the exporter has left to the loop's blocking threads: that may be held by anything.
        tokio.shutdown_background();
        let result = ended.unwrap_or_else(|payload| {
            let message =
                format!("the thread of exporter {} is lost: {}", post.name, panic_message(&*payload));
            drop_quietly(payload);
            Err(Error::new(ErrorKind::WorkerLost, message))
        });
        if let Err(error) = &result {
            post.status.lock().last_error = Some(error.clone());
        }
        drop(inner);
        post.mail.close(&post.name, result);
    }

    /// Delivers until it is told to end; how the last delivery went.
    async fn live(&mut self) -> Result<(), Error> {
        let mut due = self.schedule.first_time(Instant::now());
        let post = Arc::clone(&self.post);
        loop {
            let awaited = if self.is_quarantined() { None } else { due };
            match post.mail.next(awaited).await {
                Next::Due => {
                    let (next, _) = due.map_or((None, 0), |due| self.schedule.next_time(due, due));
                    let within = Within { begin: next, end: None, last: false };
                    // How it went is in the status, and told once.
                    let _ = self.deliver(within).await;
                    due = self.pass(due);
                }
                Next::Flush(flushes) => {
                    let within = Within { begin: flushes.until, end: flushes.until, last: false };
                    let result = match self.deliver(within).await {
                        Ok(()) => self.call_once(Call::Flush, flushes.until).await,
                        failed => failed,
                    };
                    flushes.answer(&result);
                }
                // Out of quarantine, at whatever time of the grid.
                Next::Again => due = due.filter(|due| *due > Instant::now()).or_else(|| self.pass(due)),
                Next::End(until) => return self.end(until).await,
            }
        }
    }

    /// The next time of the schedule from now on; those that have passed were missed.
    fn pass(&self, due: Option<Instant>) -> Option<Instant> {
        let (next, missed) = self.schedule.next_time(due?, Instant::now());
        self.post.status.lock().missed += missed;
        next
    }

    /// The last delivery, and the exporter's own end.
    async fn end(&mut self, until: Option<Instant>) -> Result<(), Error> {
        let within = Within { begin: until, end: until, last: true };
        let delivered = self.deliver(within).await;
        if self.is_quarantined() {
            return delivered;
        }
        let flushed = self.call_once(Call::Flush, until).await;
        let ended = self.call_once(Call::Shutdown, until).await;
        delivered.and(flushed).and(ended)
    }

    /// One delivery, with as many attempts as it takes and the schedule allows.
    async fn deliver(&mut self, within: Within) -> Result<(), Error> {
        if self.is_quarantined() {
            return Err(self.quarantined());
        }
        let mut failures = 0;
        let error = loop {
            self.post.status.lock().attempts += 1;
            self.ask_sources(within).await;
            let snapshot = self.inner.collect();
            let error = match self.call(Call::Export(&snapshot), within).await {
                Ok(()) => {
                    self.delivered();
                    return Ok(());
                }
                Err(Failure::Export(error)) => error,
                Err(Failure::Panic(payload)) => return Err(self.panicked(payload)),
            };
            failures += 1;
            let pause = self.schedule.pause_after(failures, error.retry_after());
            let Some(again) = Instant::now().checked_add(pause) else { break error };
            let in_time = within.begin.is_none_or(|begin| again < begin);
            if !error.is_retryable() || failures > self.schedule.retries || !in_time {
                break error;
            }
            if within.last {
                crate::export::mail::at(Some(again)).await;
            } else {
                self.post.mail.pause(again).await;
                if self.post.mail.is_ending() {
                    // The last delivery tries again, with a newer state.
                    break error;
                }
            }
        };
        Err(self.failed(error))
    }

    /// Lets the sources that are due give what is new, for a tenth of the attempt's time at most, and for no longer than until the end is asked for.
    async fn ask_sources(&self, within: Within) {
        let share = self.schedule.timeout.min(left(within.end)) / limits::SOURCE_SHARE;
        let over = tokio::time::sleep(share.min(limits::SOURCE_PATIENCE));
        let mut over = pin!(over);
        let given_up = poll_fn(|context| {
            if !within.last && self.post.mail.ending(context).is_some() {
                return Poll::Ready(());
            }
            over.as_mut().poll(context)
        });
        // Who was late is in the sources' own figures.
        let _late = sources::ask(&self.inner).until(given_up).await;
    }

    /// A call besides the deliveries, which is not tried again.
    async fn call_once(&mut self, call: Call<'_>, until: Option<Instant>) -> Result<(), Error> {
        let within = Within { begin: until, end: until, last: true };
        match self.call(call, within).await {
            Ok(()) => Ok(()),
            Err(Failure::Export(error)) => Err(self.as_error(error)),
            Err(Failure::Panic(payload)) => Err(self.panicked(payload)),
        }
    }

    /// Calls the exporter, and drops what it does when its time is over.
    async fn call(&mut self, call: Call<'_>, within: Within) -> Result<(), Failure> {
        let time = self.schedule.timeout.min(left(within.end));
        self.post.status.lock().running_since = Some(self.inner.settings.clock.now());
        let mail = (!within.last).then_some(&self.post.mail);
        let ended = called(&mut *self.exporter, call, time, mail).await;
        self.post.status.lock().running_since = None;
        ended
    }

    fn delivered(&self) {
        let now = self.inner.settings.clock.now();
        let failures = {
            let mut status = self.post.status.lock();
            status.delivered += 1;
            status.last_delivery = Some(now);
            std::mem::take(&mut status.consecutive_failures)
        };
        if failures > 0 {
            let exporter = self.post.name.as_str().into();
            self.inner.note(IncidentKind::ExportRecovered { exporter, failures });
        }
    }

    fn failed(&self, error: ExportError) -> Error {
        let error = self.as_error(error);
        let first = {
            let mut status = self.post.status.lock();
            status.failed += 1;
            status.consecutive_failures += 1;
            status.last_error = Some(error.clone());
            status.consecutive_failures == 1
        };
        if first {
            let exporter = self.post.name.as_str().into();
            self.inner.note(IncidentKind::ExportFailing { exporter, error: error.clone() });
        }
        error
    }

    fn panicked(&self, payload: Box<dyn Any + Send>) -> Error {
        let message = panic_message(&*payload);
        drop_quietly(payload);
        let error = self.quarantined();
        {
            let mut status = self.post.status.lock();
            status.failed += 1;
            status.consecutive_failures += 1;
            status.is_quarantined = true;
            status.last_error = Some(error.clone());
        }
        let exporter = self.post.name.as_str().into();
        self.inner.note(IncidentKind::ExporterPanicked { exporter, message });
        error
    }

    fn as_error(&self, error: ExportError) -> Error {
        let message = format!("exporter {} could not deliver: {error}", self.post.name);
        Error::new(ErrorKind::ExportFailed, message).with_source(error)
    }

    fn quarantined(&self) -> Error {
        let message =
            format!("exporter {} panicked and is quarantined; mend it, and reinstate it", self.post.name);
        Error::new(ErrorKind::ExportFailed, message)
    }

    fn is_quarantined(&self) -> bool {
        self.post.status.lock().is_quarantined
    }
}

/// One call of an exporter, from its first poll to the drop of its future. Where there is mail, the end of the runtime cuts the call at
/// half of what is left until then, so that as much remains for the last delivery.
async fn called(
    exporter: &mut dyn AnyExporter,
    call: Call<'_>,
    time: Duration,
    mail: Option<&Mail>,
) -> Result<(), Failure> {
    let mut calling = call_user(|| exporter.call(call, time)).map_err(Failure::Panic)?;
    let mut over = pin!(tokio::time::sleep(time));
    let mut mail = mail;
    let ended = poll_fn(|context| {
        match call_user(|| calling.as_mut().poll(context)) {
            Ok(Poll::Ready(result)) => return Poll::Ready(result.map_err(Failure::Export)),
            Err(payload) => return Poll::Ready(Err(Failure::Panic(payload))),
            Ok(Poll::Pending) => {}
        }
        if let Some(until) = mail.and_then(|mail| mail.ending(context)) {
            mail = None;
            let half = tokio::time::Instant::now() + left(until).min(time) / 2;
            let sooner = half.min(over.deadline());
            over.as_mut().reset(sooner);
        }
        over.as_mut()
            .poll(context)
            .map(|()| Err(Failure::Export(ExportError::retryable(format!("it was not over after {time:?}")))))
    })
    .await;
    drop_quietly(calling);
    ended
}
