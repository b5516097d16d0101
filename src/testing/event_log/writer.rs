//! Writing an event log, from any number of threads.

use super::line;
use crate::model::clock::Clock;
use crate::model::clock::SystemClock;
use crate::model::clock::Timestamp;
use crate::model::error::Error;
use crate::model::error::ErrorKind;
use crate::model::event::EventSink;
use crate::model::event::MetricEvent;
use crate::model::limits::MAX_LOG_BACKLOG_BYTES;
use crate::queue::call_user;
use crate::queue::drop_quietly;
use crate::sync::Mutex;
use serde::Serialize;
use std::fmt;
use std::io;
use std::io::Write;
use std::sync::Arc;

/// A sink that writes every event to `W`, one JSON object a line, with its type and the time at which it was stated.
///
/// What it writes is read by [`EventLogReader`](super::EventLogReader); see [`LoggedEvent`](super::LoggedEvent) for the form. Reading
/// gives the same event, bit by bit, for integers of every size, floats, durations and any text; an event that JSON cannot give
/// back as it was (a NaN, an infinity, a `Some(None)`) is not written and counted as [`lost`](Self::lost).
///
/// It is made for tests and for collecting samples: stating an event costs its serialisation, and now and then the writing. Give it a
/// [`BufWriter`](std::io::BufWriter). Callers do not wait for each other: one of them writes what the others have stated, up to
/// [`MAX_LOG_BACKLOG_BYTES`]; what goes beyond is lost and counted. After a failed write nothing more is written, since a
/// line may stand there in part. [`finish`](Self::finish) tells of every loss.
///
/// # Examples
///
/// From a double:
///
/// ```
/// use mvx_metrics::prelude::*;
/// use mvx_metrics::Timestamp;
/// use mvx_metrics::testing::EventLogWriter;
/// use mvx_metrics::testing::RecorderDouble;
///
/// #[derive(MetricEvent, serde::Serialize)]
/// enum StorageEvent {
///     Saved { bytes: u64 },
/// }
///
/// # fn main() -> Result<(), mvx_metrics::Error> {
/// let double = RecorderDouble::new();
/// double.register_event(StorageEvent::Saved { bytes: 512 });
/// let log = EventLogWriter::new(Vec::new());
/// for event in double.take() {
///     log.write(Timestamp::from_unix_nanos(7), &event)?;
/// }
/// let lines = log.finish()?;
/// assert_eq!(lines, b"{\"at\":7,\"event_type\":\"storage.saved\",\"event\":{\"Saved\":{\"bytes\":512}}}\n");
/// # Ok(())
/// # }
/// ```
///
/// Where production code states its events, passing them on to the recorder:
///
/// ```
/// # use mvx_metrics::prelude::*;
/// # use mvx_metrics::testing::EventLogWriter;
/// # use mvx_metrics::testing::RecorderDouble;
/// # #[derive(MetricEvent, serde::Serialize)] struct Saved;
/// # fn main() -> Result<(), mvx_metrics::Error> {
/// let recorder = RecorderDouble::new(); // or a recorder
/// let log = EventLogWriter::new(Vec::new()).passing_on(recorder.clone());
/// log.register_event(Saved);
/// assert_eq!((log.written(), recorder.len()), (1, 1));
/// # Ok(())
/// # }
/// ```
#[must_use = "only `finish` tells whether everything was written"]
pub struct EventLogWriter<E, W> {
    clock: Arc<dyn Clock>,
    next: Option<Box<dyn EventSink<E>>>,
    state: Mutex<State<W>>,
}

struct State<W> {
    /// Away while a caller writes with it.
    writer: Option<W>,
    /// Whole lines that wait for it.
    backlog: Vec<u8>,
    /// How many lines those are.
    waiting: u64,
    last: Timestamp,
    written: u64,
    lost: u64,
    /// The first loss, told by `finish`.
    error: Option<Error>,
    /// The write that has failed: no more are tried.
    broken: Option<Error>,
}

impl<E: MetricEvent + Serialize, W: Write + Send> EventLogWriter<E, W> {
    /// A log written to `writer`, with the times of the machine's clock.
    pub fn new(writer: W) -> Self {
        let state = State {
            writer: Some(writer),
            backlog: Vec::new(),
            waiting: 0,
            last: Timestamp::default(),
            written: 0,
            lost: 0,
            error: None,
            broken: None,
        };
        Self { clock: Arc::new(SystemClock::new()), next: None, state: Mutex::new(state) }
    }

    /// Takes the time of each event from `clock`, such as that of a [`SteppedRuntime`](crate::testing::SteppedRuntime).
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Passes every event on to `sink` after it was written, or could not be.
    pub fn passing_on(mut self, sink: impl EventSink<E> + 'static) -> Self {
        self.next = Some(Box::new(sink));
        self
    }

    /// Writes an event that was stated at `at`. Nothing is passed on.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidRecord`] when JSON cannot give the event back as it is; [`ErrorKind::Io`] when `W` fails now, or has
    /// failed before. The event is then counted as [`lost`](Self::lost), and [`finish`](Self::finish) fails as well.
    pub fn write(&self, at: Timestamp, event: &E) -> Result<(), Error> {
        let taken = match encode_quietly(event) {
            Ok(line) => self.state.lock().take(at, &line),
            Err(error) => Err(self.state.lock().lose(error)),
        };
        self.write_out();
        taken?;
        self.state.lock().broken.clone().map_or(Ok(()), Err)
    }

    /// How many events have been handed to `W`. What its own buffer holds may still be lost; [`finish`](Self::finish) flushes it.
    pub fn written(&self) -> u64 {
        self.state.lock().written
    }

    /// How many events could not be written.
    pub fn lost(&self) -> u64 {
        self.state.lock().lost
    }

    /// Flushes `W` and gives it back.
    ///
    /// # Errors
    ///
    /// The first loss, with its kind and the number of all events lost; [`ErrorKind::Io`] when the flush fails.
    pub fn finish(self) -> Result<W, Error> {
        let mut writer = self.state.lock().writer.take();
        let flushed = writer.as_mut().map(|writer| caught(|| writer.flush()));
        let mut state = self.state.lock();
        if let Some(Err(error)) = flushed {
            state.error.get_or_insert(failed(error));
        }
        match (&state.error, writer) {
            (None, Some(writer)) => Ok(writer),
            (None, None) => Err(Error::new(ErrorKind::Io, "the log's writer is gone; write the log again")),
            (Some(error), _) => {
                let message = match state.lost {
                    0 => format!("the log's end may be missing: {error}"),
                    lost => {
                        format!("{lost} of {} events are missing in the log: {error}", lost + state.written)
                    }
                };
                Err(Error::new(error.kind(), message).with_source(error.clone()))
            }
        }
    }

    /// Writes what waits, unless somebody does so already: then it is theirs to write this, too.
    fn write_out(&self) {
        loop {
            let (mut writer, lines, count) = {
                let mut state = self.state.lock();
                if state.backlog.is_empty() {
                    return;
                }
                let Some(writer) = state.writer.take() else { return };
                (writer, std::mem::take(&mut state.backlog), std::mem::take(&mut state.waiting))
            };
            // `W` is the user's: it runs under no lock of ours, and may panic.
            let result = caught(|| writer.write_all(&lines));
            let mut state = self.state.lock();
            state.writer = Some(writer);
            match result {
                Ok(()) => state.written += count,
                Err(error) => state.break_off(failed(error), count),
            }
        }
    }
}

impl<W> State<W> {
    /// Appends a line, or counts its loss.
    fn take(&mut self, at: Timestamp, line: &[u8]) -> Result<(), Error> {
        self.last = self.last.max(at);
        let head = line::head(at);
        if self.broken.is_some() {
            self.lost += 1;
        } else if self.backlog.len().saturating_add(head.len() + line.len()) > MAX_LOG_BACKLOG_BYTES {
            let message =
                "events are stated faster than the log is written; write it to a file, through a `BufWriter`";
            return Err(self.lose(Error::new(ErrorKind::Io, message)));
        } else {
            self.backlog.extend_from_slice(head.as_bytes());
            self.backlog.extend_from_slice(line);
            self.waiting += 1;
        }
        Ok(())
    }

    fn lose(&mut self, error: Error) -> Error {
        self.lost += 1;
        self.error.get_or_insert_with(|| error.clone());
        error
    }

    /// Gives up `count` lines that may stand there in part, and all that wait.
    fn break_off(&mut self, error: Error, count: u64) {
        self.backlog = Vec::new();
        self.lost += count + std::mem::take(&mut self.waiting);
        self.error.get_or_insert_with(|| error.clone());
        self.broken = Some(error);
    }
}

impl<E: MetricEvent + Serialize, W: Write + Send> EventSink<E> for EventLogWriter<E, W> {
    fn register_event(&self, event: E) {
        let at = self.clock.now();
        let line = encode_quietly(&event);
        {
            let mut state = self.state.lock();
            // Two callers may have read the clock in the other order; a log goes forward.
            let at = at.max(state.last);
            // What is lost is counted there, and told by `finish`.
            let _told_later = match line {
                Ok(line) => state.take(at, &line),
                Err(error) => Err(state.lose(error)),
            };
        }
        self.write_out();
        match &self.next {
            Some(next) => next.register_event(event),
            None => drop_quietly(event),
        }
    }
}

/// The line of an event, whose `Serialize` is the user's and may panic.
fn encode_quietly<E: MetricEvent + Serialize>(event: &E) -> Result<Vec<u8>, Error> {
    call_user(|| line::encode(event)).unwrap_or_else(|payload| {
        drop_quietly(payload);
        let message =
            "an event has not been written: its `Serialize` panicked; mend it, and write the log again";
        Err(Error::new(ErrorKind::InvalidRecord, message))
    })
}

/// What `W` does, its panics told as errors.
fn caught(write: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    call_user(write).unwrap_or_else(|payload| {
        drop_quietly(payload);
        Err(io::Error::other("the writer panicked"))
    })
}

fn failed(error: io::Error) -> Error {
    let message = format!("the log could not be written: {error}; nothing behind that place was tried");
    Error::new(ErrorKind::Io, message).with_source(error)
}

impl<E, W> fmt::Debug for EventLogWriter<E, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock();
        f.debug_struct("EventLogWriter")
            .field("written", &state.written)
            .field("lost", &state.lost)
            .finish_non_exhaustive()
    }
}
