//! Snapshots for people: aligned, exact if asked for, and never more than text, whatever stands in the labels.
#![cfg(feature = "console")]
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use crate::support::PATIENCE;
use crate::support::running;
use mvx_metrics::Descriptor;
use mvx_metrics::Family;
use mvx_metrics::FamilyWriter;
use mvx_metrics::FieldName;
use mvx_metrics::Fold;
use mvx_metrics::Kind;
use mvx_metrics::MetricEvent;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::RuntimeSnapshot;
use mvx_metrics::Unit;
use mvx_metrics::export::console::Encoder;
use mvx_metrics::export::console::Layout;
use mvx_metrics::export::console::MAX_PADDING;
use proptest::prelude::*;
use std::io;

#[derive(Clone, Debug)]
struct Save {
    user: String,
    bytes: u64,
    seconds: f64,
}

impl MetricEvent for Save {
    fn event_type(&self) -> &'static str {
        "save"
    }
}

fn collected(users: &[&str]) -> RuntimeSnapshot {
    let runtime = running("shown");
    let recorder = runtime
        .recorder::<Save>("left")
        .counter("document.saves", |c| c.label("user", |e| e.user.as_str().into()))
        .counter("document.written", |c| c.unit(Unit::Bytes).value(|e| Some(e.bytes)))
        .gauge("document.last", |g| g.unit(Unit::Seconds).value(|e| Some(e.seconds)))
        .up_down("document.open", |u| u.value(|_| Some(-1)))
        .histogram("document.took", |h| h.unit(Unit::Seconds).bounds(&[0.5]).value(|e| Some(e.seconds)))
        .average("document.size", |a| a.value(|e| Some(e.bytes as f64)))
        .summary("document.wait", |s| {
            s.unit(Unit::Seconds).quantiles(&[0.5, 0.999]).value(|e| Some(e.seconds))
        })
        .info("document.build", |i| i.constant("version", "1.4"))
        .state_set("document.state", &["open", "dirty"], |s| {
            s.label("user", |e| e.user.as_str().into()).toggle(|e| Some(("dirty", e.user == "a")))
        })
        .create()
        .unwrap();
    for user in users {
        let event = Save { user: (*user).to_owned(), bytes: 9_007_199_254_740_993, seconds: 0.25 };
        recorder.try_register_event(event).unwrap();
    }
    recorder.flush_blocking(PATIENCE).unwrap();
    let mut snapshot = runtime.collect();
    let mut family = Family::new(Descriptor::builder("pool", Kind::Fields).build().unwrap());
    let mut writer = FamilyWriter::whole(&mut family);
    writer.field(&FieldName::new("idle").unwrap(), u64::MAX);
    writer.field(&FieldName::new("low").unwrap(), i64::MIN);
    drop(writer);
    snapshot.add(vec![family]).unwrap();
    snapshot
}

fn shown(encoder: &Encoder, snapshot: &RuntimeSnapshot) -> String {
    let mut text = String::new();
    let written = encoder.encode(snapshot, &mut text);
    assert_eq!(written.omitted(), []);
    text
}

fn plain() -> Encoder {
    Encoder::new().vitals(false)
}

#[test]
fn exact_lines_say_every_value_as_it_is() {
    let text = shown(&plain().layout(Layout::Lines).exact(true), &collected(&["a", ""]));
    let expected = "\
document.build{recorder=\"left\",version=\"1.4\"} 1
document.last{recorder=\"left\"} 0.25 s
document.open{recorder=\"left\"} -2
document.saves{recorder=\"left\",user=\"a\"} 1
document.saves{recorder=\"left\"} 1
document.size{recorder=\"left\"} count=2 sum=1.8014398509481984e16 mean=9007199254740992.0
document.state{recorder=\"left\",user=\"a\"} dirty
document.state{recorder=\"left\"} -
document.took{recorder=\"left\"} count=2 sum=0.5 min=0.25 max=0.25 s
document.wait{recorder=\"left\"} count=2 sum=0.5 min=0.25 max=0.25 p50=0.25 p99.9=0.25 s
document.written{recorder=\"left\"} 18014398509481986 By
pool idle=18446744073709551615 low=-9223372036854775808
";
    assert_eq!(text, expected);
}

#[test]
fn values_for_people_have_a_size_that_fits() {
    let text = shown(&plain().layout(Layout::Lines), &collected(&["a"]));
    assert!(text.contains("document.last{recorder=\"left\"} 250 ms\n"), "{text}");
    assert!(text.contains("document.written{recorder=\"left\"} 8 PiB\n"), "{text}");
    let wait = "document.wait{recorder=\"left\"} 1 observation from 250 ms to 250 ms, 250 ms in all, p50 250 ms, p99.9 250 ms\n";
    assert!(text.contains(wait), "{text}");
    assert!(text.contains("document.state{recorder=\"left\",user=\"a\"} dirty\n"), "{text}");
}

#[test]
fn columns_are_aligned_and_a_wide_label_moves_its_own_value_only() {
    let wide = "x".repeat(10_000);
    for (users, others) in [(vec!["a", "é"], true), (vec!["a", wide.as_str(), "é"], false)] {
        let text = shown(&plain().exact(true), &collected(&users));
        let mut lines = text.lines();
        assert!(lines.next().unwrap().starts_with("shown at "), "{text}");
        let head = lines.next().unwrap();
        let at = head.find("VALUE").unwrap();
        assert!(at <= 2 * MAX_PADDING + 4);
        let mut stuck_out = 0;
        for line in lines {
            let characters: Vec<char> = line.chars().collect();
            if characters.len() > 500 {
                stuck_out += 1;
                continue;
            }
            assert!(
                characters[at] != ' ' && characters[at - 1] == ' ' && characters[at - 2] == ' ',
                "{text}"
            );
        }
        assert_eq!(stuck_out == 0, others);
    }
}

#[test]
fn colours_add_their_sequences_and_change_nothing_else() {
    let snapshot = collected(&["a", "b", "\x1b[31mred"]);
    for layout in [Layout::Table, Layout::Lines] {
        let without = shown(&plain().layout(layout), &snapshot);
        let with = shown(&plain().layout(layout).colours(true), &snapshot);
        assert!(!without.contains('\x1b') && with.contains('\x1b'));
        let mut bare = with.clone();
        for sequence in ["\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[36m"] {
            bare = bare.replace(sequence, "");
        }
        assert_eq!(bare, without);
        // Each line ends as it began, so that what follows has the terminal's own colours.
        assert!(
            with.lines().all(|line| line.matches("\x1b[0m").count() * 2 == line.matches('\x1b').count()),
            "{with}"
        );
    }
}

#[test]
fn a_stream_that_is_no_terminal_has_no_colours_unless_they_are_asked_for() {
    let file = tempfile::tempfile().unwrap();
    let snapshot = collected(&["a"]);
    assert!(!shown(&Encoder::for_stream(&file), &snapshot).contains('\x1b'));
    assert!(shown(&Encoder::for_stream(&file).colours(true), &snapshot).contains('\x1b'));
}

#[test]
fn groups_vitals_and_an_empty_runtime() {
    let runtime = MetricsRuntime::builder("a\"b").build().unwrap();
    let text = shown(&Encoder::new().fold(Fold::Group), &runtime.collect());
    assert!(text.contains("mvx.publication.interval"), "{text}");
    assert_eq!(shown(&plain().layout(Layout::Lines), &runtime.collect()), "");
    assert_eq!(shown(&plain(), &runtime.collect()).lines().count(), 2);
}

#[test]
fn a_writer_gets_the_same_text_and_its_failure_is_told() {
    let snapshot = collected(&["a"]);
    let mut out = Vec::new();
    let written = plain().write(&snapshot, &mut out).unwrap();
    assert_eq!((out, written.series()), (shown(&plain(), &snapshot).into_bytes(), 10));
    struct Gone;
    impl io::Write for Gone {
        fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
            Err(io::Error::from(io::ErrorKind::BrokenPipe))
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let error = plain().write(&snapshot, &mut Gone).unwrap_err();
    assert_eq!(error.kind(), mvx_metrics::ErrorKind::Io);
}

/// What Rust's own escapes stand for.
fn unescaped(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        out.push(match rest.next().unwrap() {
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            '0' => '\0',
            'u' => {
                assert_eq!(rest.next(), Some('{'));
                let digits: String = rest.by_ref().take_while(|c| *c != '}').collect();
                char::from_u32(u32::from_str_radix(&digits, 16).unwrap()).unwrap()
            }
            itself => itself,
        });
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 64 }))]

    #[test]
    fn no_label_moves_the_cursor_and_every_one_reads_back(
        label in prop_oneof![any::<String>(), "[\\n\\r\\t\u{0}\u{8}\u{1b}\u{7f}\u{85}\u{9b}\u{200b}\u{202e}\u{2028}\"\\\\é]{1,12}"],
    ) {
        let snapshot = collected(&[&label]);
        for layout in [Layout::Table, Layout::Lines] {
            let text = shown(&plain().layout(layout), &snapshot);
            prop_assert_eq!(text.lines().count(), 10 + if layout == Layout::Table { 2 } else { 0 });
            let moves = |c: char| c != '\n' && c.is_control() || "\u{200b}\u{202e}\u{2028}\u{2029}".contains(c);
            prop_assert!(!text.contains(moves), "{:?}", text);
            let line = text.lines().find(|line| line.starts_with("document.saves")).unwrap();
            let read = line.split_once(",user=\"").map(|(_, rest)| unescaped(&rest[..rest.rfind("\"}").unwrap()]));
            prop_assert_eq!(read.unwrap_or_default(), label.as_str());
        }
    }
}
