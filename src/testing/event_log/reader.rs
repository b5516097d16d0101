//! Reading an event log, line by line and within bounds.

use super::LoggedEvent;
use super::line;
use crate::model::clock::Clock;
use crate::model::error::Error;
use crate::model::error::ErrorKind;
use crate::model::event::EventSink;
use crate::model::event::MetricEvent;
use crate::model::limits::MAX_RECORD_BYTES;
use crate::recorder::handle::Recorder;
use crate::testing::SteppedRuntime;
use serde::de::DeserializeOwned;
use std::fmt;
use std::io;
use std::io::BufRead;
use std::marker::PhantomData;
use std::time::Duration;

/// Reads an event log: an iterator over its events, and ways to replay all of them.
///
/// Blank lines are passed over, lines may end in CR LF, the last one needs no end, and a byte order mark at the start is ignored.
/// No line is taken into memory beyond [`max_line_bytes`](Self::max_line_bytes). Numbers of lines start at 1 and count the blank ones.
///
/// An error is one of these [kinds](ErrorKind), and [`Error::line`] says where:
///
/// | kind | the line | afterwards the iterator |
/// |---|---|---|
/// | [`InvalidRecord`](ErrorKind::InvalidRecord) | is no JSON | goes on with the next line |
/// | [`UnknownEvent`](ErrorKind::UnknownEvent) | is JSON, and no event of this type: an unknown variant, a missing field, another `event_type` | goes on |
/// | [`OversizedRecord`](ErrorKind::OversizedRecord) | is longer than allowed; the rest of it was passed over | goes on |
/// | [`CutOffRecord`](ErrorKind::CutOffRecord) | is the last one, and ends in its middle | is over |
/// | [`Io`](ErrorKind::Io) | could not be read | is over |
///
/// # Examples
///
/// Events recorded earlier, replayed into a metric that was thought of later:
///
/// ```
/// use mvx_metrics::prelude::*;
/// use mvx_metrics::testing::EventLogReader;
/// use mvx_metrics::testing::SteppedRuntime;
///
/// #[derive(MetricEvent, serde::Serialize, serde::Deserialize)]
/// enum StorageEvent {
///     Saved { bytes: u64 },
/// }
///
/// # fn main() -> Result<(), mvx_metrics::Error> {
/// let log = r#"
/// {"at":1000,"event_type":"storage.saved","event":{"Saved":{"bytes":512}}}
/// {"at":2000,"event_type":"storage.saved","event":{"Saved":{"bytes":70000}}}
/// "#;
/// let mut stepped = SteppedRuntime::new("replay")?;
/// let large = stepped
///     .recorder::<StorageEvent>("storage")
///     .counter("document.saves.large", |c| c.keep(|StorageEvent::Saved { bytes }| *bytes > 4_096))
///     .create()?;
/// let replayed = EventLogReader::new(log.as_bytes()).replay(&large)?;
/// stepped.settle();
/// assert_eq!(replayed, 2);
/// assert_eq!(large.snapshot().counter("document.saves.large", &[]), Some(1));
/// # Ok(())
/// # }
/// ```
#[must_use = "a reader reads nothing until it is iterated or replayed"]
pub struct EventLogReader<E, R> {
    input: R,
    line: Vec<u8>,
    number: u64,
    max_line_bytes: usize,
    over: bool,
    event: PhantomData<fn() -> E>,
}

/// What stood at the place where a line was looked for.
enum Found {
    Line { ended: bool },
    TooLong,
    Nothing,
}

impl<E: MetricEvent + DeserializeOwned, R: BufRead> EventLogReader<E, R> {
    /// A reader of `input`, from where it stands.
    pub fn new(input: R) -> Self {
        Self {
            input,
            line: Vec::new(),
            number: 0,
            max_line_bytes: MAX_RECORD_BYTES,
            over: false,
            event: PhantomData,
        }
    }

    /// How long a line may be, its end aside; [`MAX_RECORD_BYTES`] if this is not called.
    pub fn max_line_bytes(mut self, bytes: usize) -> Self {
        self.max_line_bytes = bytes;
        self
    }

    /// States every event to `sink`, in the order of the lines, and says how many there were.
    ///
    /// For sinks that take all there is, such as a double or the recorder of a [`SteppedRuntime`] for a log within its capacity. A
    /// running recorder may be full: [`replay_waiting`](Self::replay_waiting) waits for it.
    ///
    /// # Errors
    ///
    /// The first bad line's; every event before it has been stated, and none behind it.
    pub fn replay(self, sink: &(impl EventSink<E> + ?Sized)) -> Result<u64, Error> {
        self.replay_with(|logged, _| {
            sink.register_event(logged.event);
            Ok(())
        })
    }

    /// States every event to a recorder that a worker drains, and waits at most `patience` for room for each.
    ///
    /// # Errors
    ///
    /// As [`replay`](Self::replay); [`ErrorKind::InvalidState`] with the line of an event that the recorder did not take.
    ///
    /// # Examples
    ///
    /// ```
    /// use mvx_metrics::prelude::*;
    /// use mvx_metrics::testing::EventLogReader;
    /// use std::time::Duration;
    ///
    /// #[derive(MetricEvent, serde::Deserialize)]
    /// struct Saved {}
    ///
    /// # fn main() -> Result<(), mvx_metrics::Error> {
    /// let runtime = MetricsRuntime::builder("docs").build()?;
    /// runtime.start()?;
    /// let recorder = runtime.recorder::<Saved>("storage").capacity(1).counter("document.saves", |c| c).create()?;
    /// let log = r#"{"at":0,"event_type":"saved","event":{}}"#.to_owned() + "\n";
    /// let patience = Duration::from_secs(5);
    /// assert_eq!(EventLogReader::new(log.repeat(1_000).as_bytes()).replay_waiting(&recorder, patience)?, 1_000);
    /// let snapshot = recorder.flush_and_snapshot(patience)?;
    /// assert_eq!((snapshot.counter("document.saves", &[]), snapshot.accounts().rejected.total()), (Some(1_000), 0));
    /// # Ok(())
    /// # }
    /// ```
    pub fn replay_waiting(self, recorder: &Recorder<E>, patience: Duration) -> Result<u64, Error> {
        self.replay_with(|logged, number| {
            recorder.register_event_blocking(logged.event, patience).map_err(|refused| {
                let message = format!(
                    "line {number} of the event log was not taken by recorder {}: {refused}; start it, or give it more time",
                    recorder.id()
                );
                Error::new(ErrorKind::InvalidState, message).with_line(number)
            })
        })
    }

    /// States every event to `sink` at the time at which it was recorded: the clock of `stepped` is advanced to it first, and the
    /// event is settled before the next one.
    ///
    /// # Errors
    ///
    /// As [`replay`](Self::replay); [`ErrorKind::InvalidState`] for an event recorded earlier than the clock shows, which cannot go
    /// back: see [`SteppedRuntime::starting_at`].
    ///
    /// # Examples
    ///
    /// ```
    /// use mvx_metrics::prelude::*;
    /// use mvx_metrics::Timestamp;
    /// use mvx_metrics::testing::EventLogReader;
    /// use mvx_metrics::testing::SteppedRuntime;
    ///
    /// #[derive(MetricEvent, serde::Deserialize)]
    /// struct Saved {}
    ///
    /// # fn main() -> Result<(), mvx_metrics::Error> {
    /// let mut stepped = SteppedRuntime::starting_at("replay", Timestamp::from_unix_nanos(0))?;
    /// let recorder = stepped.recorder::<Saved>("storage").counter("document.saves", |c| c).create()?;
    /// let log = r#"{"at":1700000000000000000,"event_type":"saved","event":{}}"#;
    /// EventLogReader::new(log.as_bytes()).replay_timed(&mut stepped, &recorder)?;
    /// assert_eq!(recorder.snapshot().taken_at().unix_nanos(), 1_700_000_000_000_000_000);
    /// # Ok(())
    /// # }
    /// ```
    pub fn replay_timed(
        self,
        stepped: &mut SteppedRuntime,
        sink: &(impl EventSink<E> + ?Sized),
    ) -> Result<u64, Error> {
        self.replay_with(|logged, number| {
            let now = stepped.clock().now();
            if logged.at < now {
                let (at, now) = (logged.at.unix_nanos(), now.unix_nanos());
                let message = format!(
                    "line {number} of the event log was recorded at {at}, and the clock shows {now} already; \
                     make the runtime with `SteppedRuntime::starting_at` the first line's time, and sort the log"
                );
                return Err(Error::new(ErrorKind::InvalidState, message).with_line(number));
            }
            stepped.clock().advance(logged.at.saturating_since(now));
            sink.register_event(logged.event);
            stepped.settle();
            Ok(())
        })
    }

    fn replay_with(
        mut self,
        mut state: impl FnMut(LoggedEvent<E>, u64) -> Result<(), Error>,
    ) -> Result<u64, Error> {
        let mut replayed = 0;
        while let Some(logged) = self.next() {
            state(logged?, self.number)?;
            replayed += 1;
        }
        Ok(replayed)
    }

    /// Takes the next line into `self.line`, without its end, as far as it is not too long.
    fn find_line(&mut self) -> io::Result<Found> {
        self.line.clear();
        let mut length = 0_usize;
        let ended = loop {
            let chunk = match self.input.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                chunk => chunk?,
            };
            if chunk.is_empty() {
                break false;
            }
            let end = chunk.iter().position(|byte| *byte == b'\n');
            let part = chunk.get(..end.unwrap_or(chunk.len())).unwrap_or_default();
            let taken = part.len() + usize::from(end.is_some());
            length = length.saturating_add(part.len());
            if length <= self.max_line_bytes {
                self.line.extend_from_slice(part);
            }
            self.input.consume(taken);
            if end.is_some() {
                break true;
            }
        };
        Ok(match length {
            0 if !ended => Found::Nothing,
            _ if length > self.max_line_bytes => Found::TooLong,
            _ => Found::Line { ended },
        })
    }

    fn unreadable(&self, error: io::Error) -> Error {
        let message = format!(
            "line {} of the event log could not be read: {error}; every line before it has been read",
            self.number
        );
        Error::new(ErrorKind::Io, message).with_line(self.number).with_source(error)
    }

    fn oversized(&self) -> Error {
        let (number, most) = (self.number, self.max_line_bytes);
        let message = format!(
            "line {number} of the event log is longer than {most} bytes; an event is one small line: raise `max_line_bytes`, or see \
             whether its lines have lost their ends"
        );
        Error::new(ErrorKind::OversizedRecord, message).with_line(number)
    }
}

impl<E: MetricEvent + DeserializeOwned, R: BufRead> Iterator for EventLogReader<E, R> {
    type Item = Result<LoggedEvent<E>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";
        while !self.over {
            self.number += 1;
            let ended = match self.find_line() {
                Ok(Found::Line { ended }) => ended,
                Ok(Found::TooLong) => return Some(Err(self.oversized())),
                Ok(Found::Nothing) => {
                    self.over = true;
                    break;
                }
                Err(error) => {
                    self.over = true;
                    return Some(Err(self.unreadable(error)));
                }
            };
            let text = match self.number {
                1 => self.line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&self.line),
                _ => &self.line,
            };
            if !text.trim_ascii().is_empty() {
                return Some(line::decode(text, self.number, !ended));
            }
        }
        None
    }
}

impl<E, R> fmt::Debug for EventLogReader<E, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventLogReader").field("line", &self.number).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[cfg(not(mvx_loom))]
mod tests {
    use super::*;
    use std::io::BufReader;
    use std::io::Read;

    struct Nothing;

    impl MetricEvent for Nothing {
        fn event_type(&self) -> &'static str {
            "nothing"
        }
    }

    impl<'de> serde::Deserialize<'de> for Nothing {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            <()>::deserialize(deserializer).map(|()| Self)
        }
    }

    #[test]
    fn a_huge_line_costs_the_memory_of_the_longest_allowed_one() {
        let input = BufReader::new(std::io::repeat(b'x').take(8 << 20));
        let mut reader = EventLogReader::<Nothing, _>::new(input).max_line_bytes(1 << 16);
        let error = reader.next().and_then(Result::err).unwrap();
        assert_eq!(error.kind(), ErrorKind::OversizedRecord);
        assert!(reader.line.capacity() <= 2 << 16, "{}", reader.line.capacity());
        assert!(reader.next().is_none());
    }
}
