//! The event log: what goes into it comes out as it was, and what is wrong with a line is told with its number.
#![cfg(all(feature = "testing", feature = "serde", feature = "derive"))]
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use crate::support::Gate;
use crate::support::PATIENCE;
use crate::support::running;
use mvx_metrics::Clock;
use mvx_metrics::Error;
use mvx_metrics::ErrorKind;
use mvx_metrics::EventSink;
use mvx_metrics::MetricEvent;
use mvx_metrics::Timestamp;
use mvx_metrics::testing::EventLogReader;
use mvx_metrics::testing::EventLogWriter;
use mvx_metrics::testing::RecorderDouble;
use mvx_metrics::testing::SteppedRuntime;
use proptest::prelude::*;
use serde::Deserialize;
use serde::Serialize;
use std::io;
use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::sync::Arc;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

/// Every kind of value that an event may carry.
#[derive(Clone, Debug, PartialEq, MetricEvent, Serialize, Deserialize)]
enum Sample {
    Unit,
    Count(u64),
    Signed(i64),
    Wide(u128),
    Float(f64),
    Narrow(f32),
    Took { elapsed: Duration },
    Text(String),
    Maybe(Option<f64>),
    Pair(char, Vec<bool>),
    Nested(Option<Option<u8>>),
}

/// What one worker saw; other variants than `Sample`, and one in common.
#[derive(Clone, Debug, PartialEq, MetricEvent, Serialize, Deserialize)]
#[event(name = "sample")]
enum Renamed {
    Unit,
    #[event(name = "counted")]
    Count(u64),
}

const SECOND: u64 = 1_000_000_000;

fn at(nanos: u64) -> Timestamp {
    Timestamp::from_unix_nanos(nanos)
}

fn written(events: &[Sample]) -> Vec<u8> {
    let log = EventLogWriter::new(Vec::new());
    for (n, event) in (0..).zip(events) {
        log.write(at(n), event).unwrap();
    }
    assert_eq!((log.written(), log.lost()), (events.len() as u64, 0));
    log.finish().unwrap()
}

/// The time and the event of a line, or what is wrong with which line.
type Told = Result<(u64, Sample), (ErrorKind, Option<u64>)>;

fn read(log: &[u8]) -> Vec<Told> {
    // A buffer of three bytes: lines come in pieces.
    let read = EventLogReader::new(BufReader::with_capacity(3, log));
    read.map(|line| line.map(|line| (line.at.unix_nanos(), line.event)).map_err(|e| (e.kind(), e.line())))
        .collect()
}

/// The error of a log's only bad line.
fn error_of(log: &str) -> Error {
    let mut errors: Vec<_> =
        EventLogReader::<Sample, _>::new(log.as_bytes()).filter_map(Result::err).collect();
    assert_eq!(errors.len(), 1, "{errors:?}");
    errors.remove(0)
}

fn line(n: u64) -> String {
    format!("{{\"at\":{n},\"event_type\":\"sample.count\",\"event\":{{\"Count\":{n}}}}}")
}

fn sample() -> impl Strategy<Value = Sample> {
    let finite = any::<f64>().prop_filter("finite", |value| value.is_finite());
    prop_oneof![
        Just(Sample::Unit),
        any::<u64>().prop_map(Sample::Count),
        any::<i64>().prop_map(Sample::Signed),
        any::<u128>().prop_map(Sample::Wide),
        finite.clone().prop_map(Sample::Float),
        any::<f32>().prop_filter("finite", |value| value.is_finite()).prop_map(Sample::Narrow),
        (any::<u64>(), 0..1_000_000_000_u32)
            .prop_map(|(seconds, nanos)| Sample::Took { elapsed: Duration::new(seconds, nanos) }),
        any::<String>().prop_map(Sample::Text),
        proptest::option::of(finite).prop_map(Sample::Maybe),
        (any::<char>(), proptest::collection::vec(any::<bool>(), 0..3)).prop_map(|(c, v)| Sample::Pair(c, v)),
        proptest::option::of(any::<u8>()).prop_map(|inner| Sample::Nested(inner.map(Some))),
    ]
}

/// What tells floats apart that compare equal: the sign of zero.
fn bits(sample: &Sample) -> Option<u64> {
    match sample {
        Sample::Float(value) | Sample::Maybe(Some(value)) => Some(value.to_bits()),
        Sample::Narrow(value) => Some(value.to_bits().into()),
        _ => None,
    }
}

proptest! {
    #[test]
    fn any_event_comes_back_as_it_was(events in proptest::collection::vec(sample(), 1..20)) {
        let log = written(&events);
        prop_assert_eq!(log.iter().filter(|byte| **byte == b'\n').count(), events.len());
        let back: Vec<_> = read(&log).into_iter().map(Result::unwrap).collect();
        prop_assert_eq!(back.len(), events.len());
        for (n, (event, (time, read))) in events.iter().zip(&back).enumerate() {
            prop_assert_eq!((event, n as u64, bits(event)), (read, *time, bits(read)));
        }
    }
}

proptest! {
    #[test]
    fn one_spoilt_line_costs_no_other_whatever_stands_there(
        lines in 1_u64..12,
        spoilt in 0_u64..12,
        bytes in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..60),
            // Almost right: a line of ours, a part of it gone or doubled.
            (0_usize..70, 0_usize..70).prop_map(|(from, to)| {
                let line = line(100).into_bytes();
                let (from, to) = (from.min(line.len()), to.min(line.len()));
                [&line[..from], &line[to..]].concat()
            }),
        ],
    ) {
        let spoilt = spoilt % lines;
        let bytes: Vec<u8> = bytes.into_iter().filter(|byte| *byte != b'\n').collect();
        let log: Vec<u8> = (0..lines)
            .flat_map(|n| if n == spoilt { bytes.clone() } else { line(n).into_bytes() }.into_iter().chain([b'\n']))
            .collect();
        let mut others = Vec::new();
        for told in read(&log) {
            match told {
                Ok((n, Sample::Count(count))) if n == count && n < lines && n != spoilt => others.push(n),
                // What was spoilt may still be an event, or blank, or an error at its place.
                Ok(_) => {}
                Err((_, number)) => prop_assert_eq!(number, Some(spoilt + 1)),
            }
        }
        others.dedup();
        prop_assert_eq!(others, (0..lines).filter(|n| *n != spoilt).collect::<Vec<_>>());
    }
}

#[test]
fn nesting_without_end_is_refused_before_the_stack_ends() {
    /// An event that may be as deep as it likes, which no type of finite depth may.
    #[derive(Debug, MetricEvent, Serialize, Deserialize)]
    struct Tree(Vec<Tree>);
    let line = |deep: usize| {
        let (open, shut) = ("[".repeat(deep), "]".repeat(deep));
        format!("{{\"at\":1,\"event_type\":\"tree\",\"event\":{open}{shut}}}\n")
    };
    let log = line(400_000) + &line(3);
    let mut reader = EventLogReader::<Tree, _>::new(log.as_bytes());
    let error = reader.next().unwrap().unwrap_err();
    assert_eq!((error.kind(), error.line()), (ErrorKind::InvalidRecord, Some(1)));
    assert!(error.to_string().contains("recursion limit exceeded"), "{error}");
    assert_eq!(reader.next().unwrap().unwrap().event.0[0].0.len(), 1);
}

#[test]
fn a_writer_is_a_sink_for_any_thread() {
    fn sink<S: EventSink<Sample> + Send + Sync + std::fmt::Debug + 'static>(_: &S) {}
    let log = EventLogWriter::<Sample, _>::new(Vec::new());
    sink(&log);
    assert!(log.is_enabled());
    log.register_event(Sample::Unit);
    assert_eq!(format!("{log:?}"), "EventLogWriter { written: 1, lost: 0, .. }");
    let reader = EventLogReader::<Sample, _>::new(&b""[..]);
    assert_eq!(format!("{reader:?}"), "EventLogReader { line: 0, .. }");
}

#[test]
fn the_ends_of_every_range_come_back_as_they_were() {
    let events = [
        Sample::Count(u64::MAX),
        Sample::Count((1 << 53) + 1),
        Sample::Signed(i64::MIN),
        Sample::Wide(u128::MAX),
        Sample::Float(-0.0),
        Sample::Float(f64::from_bits(1)),
        Sample::Float(f64::MAX),
        Sample::Float(0.1 + 0.2),
        // Read with one rounding too many, this one is off by one in its last place.
        Sample::Float(2.638_344_616_030_823e-256),
        Sample::Narrow(f32::MIN_POSITIVE),
        Sample::Took { elapsed: Duration::MAX },
        Sample::Took { elapsed: Duration::from_nanos(1) },
        Sample::Text("\"\\\r\n\t\0\u{7f}\u{2028}\u{feff} żółw 🦀 \u{10ffff}".to_owned()),
        Sample::Nested(None),
    ];
    let back: Vec<_> = read(&written(&events)).into_iter().map(|line| line.unwrap().1).collect();
    assert_eq!(back, events);
    assert_eq!(back.iter().map(bits).collect::<Vec<_>>(), events.iter().map(bits).collect::<Vec<_>>());
}

#[test]
fn what_json_would_not_give_back_is_not_written_and_counted() {
    let log = EventLogWriter::new(Vec::new());
    let inexact = [
        Sample::Float(f64::NAN),
        Sample::Maybe(Some(f64::INFINITY)),
        Sample::Narrow(f32::NEG_INFINITY),
        Sample::Nested(Some(None)),
    ];
    for event in &inexact {
        let error = log.write(at(0), event).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRecord);
        assert!(error.to_string().contains(event.event_type()), "{error}");
    }
    // A sink can only count it; what fits is written all the same.
    log.register_event(Sample::Float(f64::NAN));
    log.register_event(Sample::Maybe(None));
    assert_eq!((log.written(), log.lost()), (1, 5));
    let error = log.finish().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidRecord);
    assert!(error.to_string().contains("5 of 6 events") && error.to_string().contains("NaN"), "{error}");
}

#[test]
fn blank_lines_line_ends_of_windows_a_mark_and_a_missing_end_do_not_matter() {
    let (one, two, three) = (line(1), line(2), line(3));
    let log = format!("\u{feff}{one}\r\n\r\n \t \n\n{two}\n  {three}  \r\n{}", line(4));
    let expected: Vec<_> = (1..=4).map(|n| Ok((n, Sample::Count(n)))).collect();
    assert_eq!(read(log.as_bytes()), expected);
    assert_eq!(read(b""), []);
    assert_eq!(read(b"\n \n"), []);
    // Members stand in any order, and others are passed over.
    let log = br#"{"event":{"Count":9},"note":[1,{}],"event_type":"sample.count","at":3}"#;
    assert_eq!(read(log), [Ok((3, Sample::Count(9)))]);
}

#[test]
fn a_bad_line_is_told_with_its_number_and_kind_and_the_next_one_is_read() {
    use ErrorKind::InvalidRecord;
    use ErrorKind::UnknownEvent;
    let bad = [
        ("no json", InvalidRecord, "one JSON object on each line"),
        ("{", InvalidRecord, "one JSON object on each line"),
        ("\u{1}", InvalidRecord, "column 1"),
        ("[1,2]", UnknownEvent, "an object with `at`"),
        ("{}", UnknownEvent, "missing field `at`"),
        (r#"{"at":1,"event":{"Count":1}}"#, UnknownEvent, "missing field `event_type`"),
        (r#"{"at":1,"event_type":"sample.count"}"#, UnknownEvent, "missing field `event`"),
        (r#"{"at":-1,"event_type":"sample.count","event":{"Count":1}}"#, UnknownEvent, "invalid value"),
        (r#"{"at":1,"at":2,"event_type":"sample.count","event":{"Count":1}}"#, UnknownEvent, "twice"),
        (r#"{"at":1,"event_type":"sample.gone","event":{"Gone":1}}"#, UnknownEvent, "unknown variant `Gone`"),
        (r#"{"at":1,"event_type":"sample.count","event":{"Count":"1"}}"#, UnknownEvent, "invalid type"),
        (r#"{"at":1,"event_type":"sample.signed","event":{"Count":1}}"#, UnknownEvent, "`sample.signed`"),
    ];
    for (text, kind, says) in bad {
        let log = format!("{}\n\n{text}\n{}\n", line(1), line(4));
        let expected = [Ok((1, Sample::Count(1))), Err((kind, Some(3))), Ok((4, Sample::Count(4)))];
        assert_eq!(read(log.as_bytes()), expected, "{text}");
        let error = error_of(&log);
        assert!(error.to_string().contains(says) && error.to_string().contains("line 3"), "{error}");
        assert!(!error.to_string().contains("line 1"), "{error}");
    }
    let mut log = line(1).into_bytes();
    log.extend_from_slice(b"\n\xff\xfe\n");
    assert_eq!(read(&log), [Ok((1, Sample::Count(1))), Err((InvalidRecord, Some(2)))]);
}

#[test]
fn an_event_type_that_has_changed_since_is_told_instead_of_misread() {
    let log = written(&[Sample::Unit, Sample::Count(1)]);
    let read: Vec<_> = EventLogReader::<Renamed, _>::new(&log[..]).collect();
    assert_eq!(read[0].as_ref().unwrap().event, Renamed::Unit);
    let error = read[1].as_ref().unwrap_err();
    assert_eq!((error.kind(), error.line()), (ErrorKind::UnknownEvent, Some(2)));
    assert!(error.to_string().contains("`sample.count` and reads as `sample.counted`"), "{error}");
}

#[test]
fn a_last_line_cut_off_anywhere_is_told_as_that_and_costs_no_other() {
    let (whole, last) = (line(1) + "\n", line(2));
    for cut in 1..last.len() {
        let log = format!("{whole}{}", &last[..cut]);
        let expected = [Ok((1, Sample::Count(1))), Err((ErrorKind::CutOffRecord, Some(2)))];
        assert_eq!(read(log.as_bytes()), expected, "{log}");
    }
    // In the middle of a character.
    let text = written(&[Sample::Text("ż".to_owned())]);
    let cut = text.iter().position(|byte| !byte.is_ascii()).unwrap() + 1;
    assert_eq!(read(&text[..cut]), [Err((ErrorKind::CutOffRecord, Some(1)))]);
}

/// Bytes that have no end, and count how many were taken.
struct Endless(Arc<Mutex<u64>>, u64);

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut taken = self.0.lock().unwrap();
        let some = (self.1 - *taken).min(buffer.len() as u64) as usize;
        buffer[..some].fill(b'x');
        *taken += some as u64;
        Ok(some)
    }
}

#[test]
fn a_huge_line_is_passed_over_without_being_kept() {
    let long = line(1);
    let limited = |most| {
        let log = format!("{long}\n{}\n", line(2));
        let read = EventLogReader::<Sample, _>::new(BufReader::with_capacity(7, io::Cursor::new(log)));
        let read = read.max_line_bytes(most).map(|line| line.map(|line| line.event));
        read.map(|event| event.map_err(|e| (e.kind(), e.line()))).collect::<Vec<_>>()
    };
    assert_eq!(limited(long.len()), [Ok(Sample::Count(1)), Ok(Sample::Count(2))]);
    let both = [1, 2].map(|line| Err((ErrorKind::OversizedRecord, Some(line))));
    assert_eq!(limited(long.len() - 1), both);

    // Much more than the limit, through a reader that says where its memory stands.
    const SIZE: u64 = 64 << 20;
    let taken = Arc::new(Mutex::new(0));
    let input = Endless(Arc::clone(&taken), SIZE).chain(io::Cursor::new(format!("\n{}\n", line(2))));
    let mut reader = EventLogReader::<Sample, _>::new(BufReader::new(input));
    let error = reader.next().unwrap().unwrap_err();
    assert_eq!((error.kind(), *taken.lock().unwrap()), (ErrorKind::OversizedRecord, SIZE));
    assert!(error.to_string().contains("1048576 bytes"), "{error}");
    assert_eq!(reader.next().unwrap().unwrap().event, Sample::Count(2));
    assert!(reader.next().is_none());
}

#[test]
fn an_input_that_fails_ends_the_reading_with_the_cause() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("unplugged"))
        }
    }
    let input = BufReader::new(io::Cursor::new(line(1) + "\n").chain(Broken));
    let mut reader = EventLogReader::<Sample, _>::new(input);
    assert!(reader.next().unwrap().is_ok());
    let error = reader.next().unwrap().unwrap_err();
    assert_eq!((error.kind(), error.line()), (ErrorKind::Io, Some(2)));
    assert!(error.to_string().contains("unplugged"));
    assert!(reader.next().is_none());
}

#[test]
fn a_replay_states_every_event_up_to_the_first_bad_line() {
    let double = RecorderDouble::<Sample>::new();
    let log = format!("{}\n\n{}\n{}\nbad\n{}\n", line(1), line(2), line(3), line(6));
    let error = EventLogReader::new(log.as_bytes()).replay(&double).unwrap_err();
    assert_eq!((error.kind(), error.line()), (ErrorKind::InvalidRecord, Some(5)));
    assert_eq!(double.take(), [1, 2, 3].map(Sample::Count));
    let whole = format!("{}\n{}\n", line(1), line(2));
    assert_eq!(EventLogReader::new(whole.as_bytes()).replay(&double).unwrap(), 2);
    assert_eq!(double.take(), [1, 2].map(Sample::Count));
}

#[test]
fn a_replay_into_a_running_recorder_waits_for_room_and_says_who_did_not_take_what() {
    let runtime = running("replay");
    let recorder = runtime
        .recorder("replay")
        .capacity(2)
        .counter("counted", |c| c.value(|event| if let Sample::Count(n) = event { Some(*n) } else { None }))
        .create()
        .unwrap();
    let events: Vec<_> = (1..=5_000).map(Sample::Count).collect();
    let log = written(&events);
    assert_eq!(EventLogReader::new(&log[..]).replay_waiting(&recorder, PATIENCE).unwrap(), 5_000);
    let snapshot = recorder.flush_and_snapshot(PATIENCE).unwrap();
    assert_eq!(snapshot.counter("counted", &[]), Some(5_000 * 5_001 / 2));
    assert_eq!((snapshot.accounts().processed, snapshot.accounts().rejected.total()), (5_000, 0));
    recorder.stop().wait(PATIENCE).unwrap();
    let error = EventLogReader::new(&log[..]).replay_waiting(&recorder, PATIENCE).unwrap_err();
    assert_eq!((error.kind(), error.line()), (ErrorKind::InvalidState, Some(1)));
    assert!(error.to_string().contains("recorder replay: the recorder is closed"), "{error}");
}

#[test]
fn a_timed_replay_shows_metrics_the_recorded_times_and_never_turns_the_clock_back() {
    // Recorded in one stepped runtime, under its clock.
    let recording = SteppedRuntime::starting_at("recording", at(5 * SECOND)).unwrap();
    let log = EventLogWriter::new(Vec::new()).clock(recording.clock().clone());
    for n in 1..=3 {
        log.register_event(Sample::Count(n));
        recording.clock().advance(Duration::from_secs(n));
    }
    let log = log.finish().unwrap();

    let mut stepped = SteppedRuntime::starting_at("timed", at(0)).unwrap();
    let times = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&times);
    let recorder = stepped
        .recorder::<Sample>("timed")
        .counter("counted", |c| c)
        .on_metric_changed(move |change| seen.lock().unwrap().push(change.sequence()))
        .create()
        .unwrap();
    /// Shows when each event arrives.
    struct Timed<S>(S, mvx_metrics::testing::ManualClock, Arc<Mutex<Vec<u64>>>);
    impl<S: EventSink<Sample>> EventSink<Sample> for Timed<S> {
        fn register_event(&self, event: Sample) {
            self.2.lock().unwrap().push(self.1.now().unix_nanos());
            self.0.register_event(event);
        }
    }
    let arrivals = Arc::new(Mutex::new(Vec::new()));
    let sink = Timed(recorder.clone(), stepped.clock().clone(), Arc::clone(&arrivals));
    assert_eq!(EventLogReader::new(&log[..]).replay_timed(&mut stepped, &sink).unwrap(), 3);
    assert_eq!(*arrivals.lock().unwrap(), [5, 6, 8].map(|second| second * SECOND));
    assert_eq!(*times.lock().unwrap(), [1, 2, 3]);
    let snapshot = recorder.snapshot();
    assert_eq!((snapshot.taken_at(), snapshot.counter("counted", &[])), (at(8 * SECOND), Some(3)));
    let started = snapshot.metric("counted").unwrap().family().series().next().unwrap().started();
    assert_eq!(started, at(5 * SECOND));

    let error = EventLogReader::new(&log[..]).replay_timed(&mut stepped, &sink).unwrap_err();
    assert_eq!((error.kind(), error.line()), (ErrorKind::InvalidState, Some(1)));
    assert!(error.to_string().contains("starting_at"), "{error}");
    assert_eq!((recorder.accounts().offered(), stepped.clock().now()), (3, at(8 * SECOND)));
}

#[test]
fn lines_of_many_threads_are_whole_in_the_order_of_time_and_passed_on() {
    let double = RecorderDouble::new();
    let log = EventLogWriter::new(Vec::new()).passing_on(double.clone());
    thread::scope(|scope| {
        for thread in 0..4_u64 {
            let log = &log;
            scope.spawn(move || {
                (0..500).for_each(|n| log.register_event(Sample::Count(thread * 1_000 + n)));
            });
        }
    });
    assert_eq!((log.written(), log.lost(), double.len()), (2_000, 0, 2_000));
    let read: Vec<_> = read(&log.finish().unwrap()).into_iter().map(Result::unwrap).collect();
    assert!(read.windows(2).all(|two| two[0].0 <= two[1].0));
    for thread in 0..4 {
        let own = |event: &Sample| matches!(event, Sample::Count(n) if n / 1_000 == thread);
        let own: Vec<_> = read.iter().map(|(_, event)| event).filter(|event| own(event)).collect();
        let expected: Vec<_> = (0..500).map(|n| Sample::Count(thread * 1_000 + n)).collect();
        assert!(own.into_iter().eq(&expected), "thread {thread}");
    }
}

/// Takes so many whole writes, then fails in the middle of one.
struct Full(usize, Vec<u8>, Failure);

#[derive(Clone, Copy, PartialEq)]
enum Failure {
    Error,
    Panic,
    Flush,
}

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.checked_sub(1) {
            Some(left) => self.0 = left,
            None if self.2 == Failure::Error => return Err(io::Error::other("no space left")),
            None => std::panic::resume_unwind(Box::new("the writer's own")),
        }
        self.1.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.2 == Failure::Flush { Err(io::Error::other("no space left")) } else { Ok(()) }
    }
}

#[cfg(panic = "unwind")]
#[test]
fn after_a_failed_write_nothing_is_tried_and_everything_is_counted() {
    for (failure, says) in [(Failure::Error, "no space left"), (Failure::Panic, "panicked")] {
        let double = RecorderDouble::new();
        let log = EventLogWriter::new(Full(2, Vec::new(), failure)).passing_on(double.clone());
        (0..5).for_each(|n| log.register_event(Sample::Count(n)));
        assert_eq!((log.written(), log.lost(), double.len()), (2, 3, 5));
        let error = log.write(at(0), &Sample::Unit).unwrap_err();
        assert_eq!((error.kind(), log.lost()), (ErrorKind::Io, 4));
        let error = log.finish().err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Io);
        assert!(error.to_string().contains("4 of 6") && error.to_string().contains(says), "{error}");
    }
    // Of two losses, each is told where it happens, and the first one at the end.
    let log = EventLogWriter::new(Full(0, Vec::new(), Failure::Error));
    assert_eq!(log.write(at(0), &Sample::Float(f64::NAN)).unwrap_err().kind(), ErrorKind::InvalidRecord);
    assert_eq!(log.write(at(0), &Sample::Unit).unwrap_err().kind(), ErrorKind::Io);
    assert_eq!(log.write(at(0), &Sample::Nested(Some(None))).unwrap_err().kind(), ErrorKind::InvalidRecord);
    assert_eq!((log.lost(), log.finish().err().unwrap().kind()), (3, ErrorKind::InvalidRecord));
    let log = EventLogWriter::new(Full(9, Vec::new(), Failure::Flush));
    log.register_event(Sample::Unit);
    assert_eq!(log.finish().err().unwrap().kind(), ErrorKind::Io);
}

#[cfg(panic = "unwind")]
#[test]
fn an_event_that_panics_when_it_is_written_does_not_panic_its_caller() {
    #[derive(MetricEvent)]
    struct Faulty(bool);
    impl Serialize for Faulty {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            if self.0 {
                std::panic::resume_unwind(Box::new("the event's own"));
            }
            serializer.serialize_unit()
        }
    }
    let log = EventLogWriter::new(Vec::new());
    log.register_event(Faulty(true));
    log.register_event(Faulty(false));
    assert_eq!((log.written(), log.lost()), (1, 1));
    assert!(log.finish().unwrap_err().to_string().contains("panicked"));
}

/// Waits at the gate in each write, and may fail behind it.
struct Slow(Gate, Arc<Mutex<Vec<u8>>>, bool);

impl Write for Slow {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.pass();
        if self.2 {
            return Err(io::Error::other("no space left"));
        }
        self.1.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_slow_writer_holds_up_nobody_but_the_caller_that_writes() {
    for fails in [false, true] {
        let (gate, bytes) = (Gate::default(), Arc::default());
        let log = EventLogWriter::new(Slow(gate.clone(), Arc::clone(&bytes), fails));
        let meanwhile = thread::scope(|scope| {
            scope.spawn(|| log.register_event(Sample::Count(0)));
            gate.until_reached();
            // The writer is held; these return all the same, and the first caller writes them.
            (1..100).for_each(|n| log.register_event(Sample::Count(n)));
            // More than may wait: lost, and counted.
            log.register_event(Sample::Text("x".repeat(mvx_metrics::limits::MAX_LOG_BACKLOG_BYTES)));
            let meanwhile = (log.written(), log.lost(), bytes.lock().unwrap().len());
            gate.open();
            meanwhile
        });
        assert_eq!(meanwhile, (0, 1, 0));
        let (written, lost) = (log.written(), log.lost());
        let error = log.finish().err().unwrap();
        assert!(error.to_string().contains("faster than the log is written"), "{error}");
        if fails {
            assert_eq!((written, lost), (0, 101));
            continue;
        }
        assert_eq!((written, lost), (100, 1));
        let read: Vec<_> = read(&bytes.lock().unwrap()).into_iter().map(|line| line.unwrap().1).collect();
        assert!(read.into_iter().eq((0..100).map(Sample::Count)));
    }
}

#[test]
fn a_log_goes_forward_whatever_its_clock_does() {
    #[derive(Debug)]
    struct Wandering(Mutex<Vec<u64>>);
    impl Clock for Wandering {
        fn now(&self) -> Timestamp {
            at(self.0.lock().unwrap().pop().unwrap_or_default())
        }
    }
    let log = EventLogWriter::new(Vec::new()).clock(Wandering(Mutex::new(vec![9, 3, 7])));
    (0..3).for_each(|n| log.register_event(Sample::Count(n)));
    let times: Vec<_> = read(&log.finish().unwrap()).into_iter().map(|line| line.unwrap().0).collect();
    assert_eq!(times, [7, 7, 9]);
}
