//! Typed labels: `#[derive(Labels)]` and `#[derive(LabelValue)]`, and what instruments make of them.
#![cfg(all(feature = "runtime", feature = "derive"))]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail as tests do")]

use mvx_metrics::Batch;
use mvx_metrics::Context;
use mvx_metrics::Counter;
use mvx_metrics::CounterBuilder;
use mvx_metrics::ErrorKind;
use mvx_metrics::Family;
use mvx_metrics::FamilyWriter;
use mvx_metrics::Label;
use mvx_metrics::LabelFields;
use mvx_metrics::LabelValue;
use mvx_metrics::Labels;
use mvx_metrics::Metric;
use mvx_metrics::Timestamp;
use mvx_metrics::Verdict;
use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug, LabelValue)]
enum Outcome {
    Success,
    NotFound,
    #[label(name = "I/O")]
    Io(#[expect(dead_code, reason = "does not show in the label")] u32),
}

#[derive(Clone, Copy, LabelValue)]
enum Tier {
    Hot,
    Cold,
}

/// Keys that are not in the order of the alphabet.
#[derive(Labels)]
struct Dense {
    tier: Option<Tier>,
    #[label(name = "cached")]
    hit: bool,
    outcome: Outcome,
    #[label(skip)]
    #[expect(dead_code, reason = "is no label")]
    spare: String,
}

#[derive(Labels)]
struct Open<'e> {
    backend: &'e str,
    code: u16,
    outcome: Outcome,
}

struct Event {
    tier: Option<Tier>,
    hit: bool,
    outcome: Outcome,
    backend: String,
    code: u16,
}

const OUTCOMES: [(Outcome, &str); 3] =
    [(Outcome::Success, "success"), (Outcome::NotFound, "not_found"), (Outcome::Io(7), "I/O")];

fn dense(event: &Event) -> Dense {
    Dense { tier: event.tier, hit: event.hit, outcome: event.outcome, spare: String::new() }
}

fn counter(define: impl FnOnce(CounterBuilder<Event>) -> CounterBuilder<Event>) -> Counter<Event> {
    define(Counter::builder("saves")).build().expect("a valid counter")
}

fn shown<E: 'static>(metric: &Counter<E>) -> BTreeMap<String, u64> {
    let mut family = Family::new(metric.descriptor().clone());
    metric.snapshot(&mut FamilyWriter::whole(&mut family));
    let pairs = family.series().map(|s| (s.labels().to_string(), s.value().counter().unwrap_or_default()));
    pairs.collect()
}

/// Every combination, `times` each, in an order in which neighbours differ.
fn events(times: usize) -> Vec<Event> {
    let mut events = Vec::new();
    for _ in 0..times {
        for tier in [None, Some(Tier::Hot), Some(Tier::Cold)] {
            for hit in [false, true] {
                for (outcome, _) in OUTCOMES {
                    let backend = if hit { "s3" } else { "disk" }.to_owned();
                    events.push(Event { tier, hit, outcome, backend, code: 200 + u16::from(hit) });
                }
            }
        }
    }
    events
}

#[test]
fn fields_are_labels_by_name_and_their_product_is_the_cardinality() {
    assert_eq!(Dense::KEYS, ["tier", "cached", "outcome"]);
    assert_eq!(Dense::CARDINALITY, Some(3 * 2 * 3));
    assert_eq!(Open::KEYS, ["backend", "code", "outcome"]);
    assert_eq!(Open::CARDINALITY, None);
    for (index, (outcome, text)) in OUTCOMES.into_iter().enumerate() {
        assert_eq!((outcome.label(), outcome.index()), (Label::from(text), index));
    }
    let places: Vec<usize> = events(1).iter().map(|event| dense(event).index()).collect();
    assert_eq!(places, (0..18).collect::<Vec<_>>(), "each set has its own place, below the cardinality");
}

#[test]
fn dense_and_open_sets_count_like_closures_one_by_one_and_in_batches() {
    let by_closures = |c: CounterBuilder<Event>| {
        c.label("tier", |e| e.tier.as_ref().map_or(Label::Absent, LabelValue::label))
            .label("cached", |e| e.hit.into())
            .label("outcome", |e| e.outcome.label())
    };
    let by_type = |c: CounterBuilder<Event>| c.labels::<Dense>(dense);
    let (mut closures, mut one_by_one, mut batched) =
        (counter(by_closures), counter(by_type), counter(by_type));
    let open = |c: CounterBuilder<Event>| {
        c.labels::<Open>(|e| Open { backend: &e.backend, code: e.code, outcome: e.outcome })
    };
    let (mut open_one_by_one, mut open_batched) = (counter(open), counter(open));
    let context = Context::new(Timestamp::default(), 1);
    let events = events(20);
    for event in &events {
        assert_eq!(closures.handle_event(event, &context), Verdict::Accepted);
        let _ = one_by_one.handle_event(event, &context);
        let _ = open_one_by_one.handle_event(event, &context);
    }
    for metric in [&mut batched, &mut open_batched] {
        let mut batch = Batch::new(&events);
        metric.handle_batch(&mut batch, &context);
        assert_eq!((batch.accepted(), batch.len()), (events.len() as u64, 0));
    }
    let expected = shown(&closures);
    assert_eq!(expected.len(), 18);
    assert!(expected.values().all(|count| *count == 20), "{expected:?}");
    assert_eq!(shown(&one_by_one), expected);
    assert_eq!(shown(&batched), expected);
    let open = shown(&open_one_by_one);
    assert_eq!(open.get(r#"{backend="s3",code="201",outcome="I/O"}"#), Some(&60));
    assert_eq!((open.len(), shown(&open_batched)), (6, open));
}

#[test]
fn events_without_labels_are_ignored() {
    let mut saves = counter(|c| {
        c.keep(|e| e.code == 200).labels::<Option<Dense>>(|e| e.tier.is_some().then(|| dense(e)))
    });
    let context = Context::new(Timestamp::default(), 1);
    let events = events(1);
    let mut batch = Batch::new(&events);
    saves.handle_batch(&mut batch, &context);
    assert_eq!((batch.accepted(), batch.ignored()), (6, 12));
    assert_eq!(saves.handle_event(&events[0], &context), Verdict::Ignored);
    let shown = shown(&saves);
    assert_eq!(shown.len(), 6);
    assert!(shown.keys().all(|labels| labels.contains("tier=")), "{shown:?}");
}

#[test]
fn two_sets_or_a_set_beside_closures_are_refused() {
    let two =
        Counter::<Event>::builder("saves").labels::<Dense>(dense).labels::<Dense>(dense).build().unwrap_err();
    let mixed = Counter::<Event>::builder("saves")
        .label("more", |e| e.hit.into())
        .labels::<Dense>(dense)
        .build()
        .unwrap_err();
    for error in [two, mixed] {
        assert_eq!(error.kind(), ErrorKind::InvalidState);
        assert!(error.to_string().contains("into the one struct"), "{error}");
    }
}

#[test]
fn sets_past_the_limit_share_the_overflow_series() {
    let mut saves = counter(|c| c.labels::<Dense>(dense).cardinality(4));
    let context = Context::new(Timestamp::default(), 1);
    let events = events(10);
    let mut batch = Batch::new(&events);
    saves.handle_batch(&mut batch, &context);
    let shown = shown(&saves);
    assert_eq!(shown.len(), 5);
    assert_eq!(shown.get(r#"{otel.metric.overflow="true"}"#), Some(&140), "{shown:?}");
    assert_eq!(shown.values().sum::<u64>(), 180);
    let mut family = Family::new(saves.descriptor().clone());
    saves.snapshot(&mut FamilyWriter::whole(&mut family));
    assert_eq!(family.overflowed(), 140, "each observation past the limit is counted");
}

#[cfg(panic = "unwind")]
#[test]
fn a_selector_that_panics_costs_its_event_alone() {
    #[derive(Labels)]
    struct Digit {
        odd: bool,
    }
    let mut digits = Counter::<u32>::builder("digits")
        .labels::<Digit>(|e| {
            assert_ne!(*e, 13, "no thirteen");
            Digit { odd: e % 2 == 1 }
        })
        .build()
        .expect("a valid counter");
    let context = Context::new(Timestamp::default(), 1);
    let mut batch = Batch::new(&[1, 2, 3, 4, 13, 5]);
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        digits.handle_batch(&mut batch, &context);
    }));
    assert!(caught.is_err());
    assert_eq!((batch.accepted(), batch.first()), (4, Some(&13)));
    assert_eq!(
        shown(&digits),
        BTreeMap::from([(r#"{odd="false"}"#.into(), 2), (r#"{odd="true"}"#.into(), 2)])
    );
}

/// Asked by several metrics, and counting how often.
#[cfg(feature = "testing")]
#[test]
fn a_closure_that_holds_nothing_is_asked_once_for_all_metrics_of_a_recorder() {
    use crate::support::Number;
    use mvx_metrics::testing::SteppedRuntime;
    use std::cell::Cell;

    thread_local! {
        static ASKED: Cell<u64> = const { Cell::new(0) };
    }

    #[derive(Labels)]
    struct Digit {
        odd: bool,
    }

    fn digit(event: &Number) -> Digit {
        ASKED.set(ASKED.get() + 1);
        Digit { odd: event.0 % 2 == 1 }
    }

    let mut runtime = SteppedRuntime::new("labels").unwrap();
    let never = std::hint::black_box(false);
    let recorder = runtime
        .recorder::<Number>("digits")
        .counter("seen", |c| c.labels::<Digit>(digit))
        .counter("sum", |c| c.labels::<Digit>(digit).value(|e| Some(e.0)))
        .counter("other", |c| c.labels::<Digit>(move |e| Digit { odd: never || e.0 % 3 == 0 }))
        .counter("kept", |c| c.labels::<Digit>(digit).keep(|e| e.0 % 4 == 0))
        .counter("kept.too", |c| c.labels::<Digit>(digit).keep(|e| e.0 % 4 == 0))
        .gauge("last", |g| g.labels::<Digit>(digit).value(|e| Some(e.0)))
        .create()
        .unwrap();
    // As many as fill the first block of the queue, and make a batch as long as it gets.
    (0..8 + 5 * 64).for_each(|number| recorder.register_event(Number(number)));
    runtime.settle();
    ASKED.set(0);
    (0..64).for_each(|number| recorder.register_event(Number(number)));
    runtime.settle();
    // Once for those who see all events, once for those who keep some, and once more behind these.
    assert_eq!(ASKED.get(), 64 + 16 + 64);
    let snapshot = recorder.snapshot();
    let count = |name, odd| snapshot.counter(name, &[("odd", odd)]).unwrap();
    let total: u64 = (0..8 + 5 * 64).chain(0..64).sum();
    assert_eq!((count("seen", "true"), count("seen", "false")), (196, 196));
    assert_eq!(count("sum", "true") + count("sum", "false"), total);
    assert_eq!((count("other", "true"), count("other", "false")), (110 + 22, 218 + 42));
    assert_eq!((count("kept", "false"), count("kept.too", "false")), (98, 98));
    let last =
        snapshot.metric("last").and_then(|last| last.family().find(&[("odd", "true")])?.value().gauge());
    assert_eq!(last, Some(63.0));
}

#[test]
fn generics_lifetimes_tuples_and_other_names_of_the_crate_work() {
    mod renamed {
        pub use mvx_metrics as metrics;
    }
    #[derive(Clone, renamed::metrics::LabelValue)]
    #[label(crate = "renamed::metrics")]
    enum Only {
        One,
    }
    #[derive(renamed::metrics::Labels)]
    #[label(crate = "renamed::metrics")]
    struct Generic<'a, 'b: 'a, T, const N: usize>(
        #[label(name = "text")] &'a str,
        #[label(name = "more")] &'b T,
        #[label(skip)] [u8; N],
    )
    where
        T: Clone;
    #[derive(Labels)]
    struct Raw {
        r#type: Only,
    }
    #[derive(Labels)]
    struct Nothing;

    assert_eq!(<Generic<'_, '_, Only, 2> as LabelFields>::KEYS, ["text", "more"]);
    assert_eq!((Raw::KEYS, Raw::CARDINALITY), (&["type"][..], Some(1)));
    assert_eq!(Raw { r#type: Only::One }.label(0), Label::from("one"));
    assert_eq!((Nothing::KEYS.len(), Nothing::CARDINALITY), (0, Some(1)));
    let mut events =
        Counter::<u8>::builder("events").labels::<Nothing>(|_| Nothing).build().expect("no labels");
    let _ = events.handle_event(&1, &Context::new(Timestamp::default(), 1));
    assert_eq!(shown(&events), BTreeMap::from([("{}".into(), 1)]));
}

#[test]
fn a_million_values_stay_within_the_limit_and_none_is_lost() {
    #[derive(Labels)]
    struct User {
        id: u32,
    }
    const USERS: u32 = 1_000_000;
    let mut seen = Counter::<u32>::builder("seen")
        .labels::<User>(|e| User { id: *e })
        .cardinality(1_000)
        .build()
        .expect("valid");
    let context = Context::new(Timestamp::default(), 1);
    let users: Vec<u32> = (0..USERS).collect();
    let mut batch = Batch::new(&users);
    seen.handle_batch(&mut batch, &context);
    let mut family = Family::new(seen.descriptor().clone());
    seen.snapshot(&mut FamilyWriter::whole(&mut family));
    assert_eq!(family.len(), 1_001);
    assert_eq!(family.overflowed(), u64::from(USERS) - 1_000);
    let sum: u64 = family.series().filter_map(|series| series.value().counter()).sum();
    assert_eq!(sum, u64::from(USERS));
}

#[test]
fn empty_long_and_awkward_values_are_kept_as_they_are() {
    #[derive(Labels)]
    struct Text<'e> {
        text: &'e str,
    }
    let mut texts =
        Counter::<String>::builder("texts").labels::<Text>(|e| Text { text: e }).build().expect("valid");
    let context = Context::new(Timestamp::default(), 1);
    let mut awkward: Vec<String> = (0..=0x7f_u8).map(|byte| char::from(byte).to_string()).collect();
    awkward.extend(
        ["", "\u{feff}", "\u{202e}x", "\u{10ffff}", "é\u{301}", "a\nb", "\\\"", "🦀"].map(String::from),
    );
    for text in &awkward {
        assert_eq!(texts.handle_event(text, &context), Verdict::Accepted);
    }
    let long = "ä".repeat(5 * 1_024);
    let _ = texts.handle_event(&long, &context);
    let mut family = Family::new(texts.descriptor().clone());
    texts.snapshot(&mut FamilyWriter::whole(&mut family));
    for text in &awkward {
        let series = family.find(&[("text", text)]).expect("each value has its series");
        assert_eq!(series.value().counter(), Some(1), "{text:?}");
    }
    let cut = family.find(&[("text", &long[..1_024])]).and_then(|series| series.value().counter());
    assert_eq!(cut, Some(1), "10 KB are cut at 1,024 bytes");
    assert_eq!(family.len(), awkward.len() + 1);
}

#[test]
fn sets_of_more_than_a_few_labels_are_found_like_others() {
    #[derive(Labels)]
    struct Six {
        f: u32,
        e: u32,
        d: u32,
        c: u32,
        b: u32,
        a: u32,
    }
    let mut six = Counter::<u32>::builder("six")
        .labels::<Six>(|n| Six { f: n % 2, e: 5, d: 4, c: 3, b: 2, a: 1 })
        .build()
        .expect("six labels");
    let mut batch = Batch::new(&[0, 1, 2, 3, 4]);
    six.handle_batch(&mut batch, &Context::new(Timestamp::default(), 1));
    let expected = [(0, 3), (1, 2)]
        .map(|(f, count)| (format!("{{a=\"1\",b=\"2\",c=\"3\",d=\"4\",e=\"5\",f=\"{f}\"}}"), count));
    assert_eq!(shown(&six), BTreeMap::from(expected));
}
