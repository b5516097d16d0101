//! The instruments against plain maps, and stale families against fresh ones.

use crate::metric::Average;
use crate::metric::Batch;
use crate::metric::Counter;
use crate::metric::CounterBuilder;
use crate::metric::Gauge;
use crate::metric::Histogram;
use crate::metric::Interests;
use crate::metric::Measure;
use crate::metric::Measured;
use crate::metric::Metric;
use crate::metric::UpDown;
use crate::model::clock::Timestamp;
use crate::model::error::ErrorKind;
use crate::model::label::Label;
use crate::model::label::LabelSet;
use crate::model::snapshot::Family;
use crate::model::snapshot::FamilyWriter;
use crate::model::snapshot::Number;
use crate::model::unit::Unit;
use crate::model::verdict::Context;
use crate::model::verdict::Refusal;
use crate::model::verdict::Verdict;
use crate::queue::run::Run;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::time::Duration;

/// An event as a program would write it: an enum label, a text label, numbers.
#[derive(Clone, Debug)]
struct Saved {
    ok: bool,
    user: String,
    shard: i64,
    bytes: u64,
    elapsed: Duration,
}

impl Saved {
    fn outcome(&self) -> Label<'_> {
        Label::fixed(if self.ok { "success" } else { "failure" })
    }

    fn user(&self) -> Label<'_> {
        Label::from(&self.user)
    }

    /// A measure that is everything by turns.
    fn mixed(&self) -> Option<Mixed> {
        Some(Mixed(match self.shard {
            -2 => Measured::Number(Number::I64(-(self.bytes as i64 >> 40).abs())),
            -1 => Measured::Number(Number::U64(self.bytes)),
            0 => Measured::Number(Number::F64(self.elapsed.as_secs_f64())),
            1 => Measured::Duration(self.elapsed),
            _ => Measured::Duration(Duration::from_secs(self.bytes)),
        }))
    }

    fn elapsed(&self) -> Option<Duration> {
        self.ok.then_some(self.elapsed)
    }
}

struct Mixed(Measured);

impl Measure for Mixed {
    const FRACTIONAL: bool = true;

    fn number(self) -> Number {
        match self.0 {
            Measured::Number(number) => number,
            Measured::Duration(duration) => duration.number(),
        }
    }

    fn measured(self) -> Measured {
        self.0
    }
}

fn saved(user: &str, bytes: u64) -> Saved {
    Saved { ok: true, user: user.to_owned(), shard: 0, bytes, elapsed: Duration::from_millis(3) }
}

fn at(cut: u64) -> Context {
    Context::new(Timestamp::from_unix_nanos(cut * 10), cut)
}

fn fresh<E>(metric: &impl Metric<E>) -> Family {
    let mut family = Family::new(metric.descriptor().clone());
    metric.snapshot(&mut FamilyWriter::whole(&mut family));
    family
}

/// The shape of the recorder builder's method: the event is known before the closures are checked.
fn counter<E: 'static>(f: impl FnOnce(CounterBuilder<E>) -> CounterBuilder<E>) -> Counter<E> {
    f(Counter::builder("document.saves")).build().unwrap()
}

#[test]
fn closures_infer_their_event() {
    let mut saves = counter::<Saved>(|c| {
        c.label("outcome", |e| e.outcome())
            .label("fixed", |_| Label::fixed("yes"))
            .label("shard", |e| e.shard.into())
            .label("user", |e| Label::from(e.user.as_str()))
            .keep(|e| e.bytes > 0)
            .value(|e| Some(e.bytes))
    });
    assert_eq!(saves.handle_event(&saved("ann", 7), &at(1)), Verdict::Accepted);
    assert_eq!(saves.handle_event(&saved("ann", 0), &at(1)), Verdict::Ignored);
    let family = fresh(&saves);
    let found =
        family.find(&[("user", "ann"), ("shard", "0"), ("fixed", "yes"), ("outcome", "success")]).unwrap();
    assert_eq!((found.value().counter(), found.started().unix_nanos()), (Some(7), 10));
    assert!(family.find(&[("user", "ann")]).is_none());
}

#[test]
fn labels_that_render_equally_are_one_series_whatever_their_type() {
    type Pick = fn() -> Label<'static>;
    let mut sevens = Counter::<Pick>::builder("sevens").label("v", |pick| pick()).build().unwrap();
    let kinds: [Pick; 4] = [|| Label::U64(7), || Label::I64(7), || Label::Str("7"), || Label::Static("7")];
    let blanks: [Pick; 3] = [|| Label::Absent, || Label::Str(""), || Label::Static("")];
    for pick in kinds.iter().chain(&blanks).cycle().take(70) {
        assert_eq!(sevens.handle_event(pick, &at(1)), Verdict::Accepted);
    }
    let family = fresh(&sevens);
    assert_eq!(family.len(), 2);
    assert_eq!(family.find(&[("v", "7")]).and_then(|series| series.value().counter()), Some(40));
    assert_eq!(family.find(&[]).and_then(|series| series.value().counter()), Some(30));
}

#[test]
fn another_text_at_the_same_address_is_another_series() {
    let mut users = Counter::<String>::builder("users").label("user", |e| Label::from(e)).build().unwrap();
    let mut name = String::from("ann");
    let address = name.as_ptr();
    for user in ["ann", "bob", "ann", "cat", "bob"] {
        name.clear();
        name.push_str(user);
        assert_eq!(name.as_ptr(), address);
        assert_eq!(users.handle_event(&name, &at(1)), Verdict::Accepted);
    }
    let family = fresh(&users);
    let counts = ["ann", "bob", "cat"].map(|user| family.find(&[("user", user)]).unwrap().value().counter());
    assert_eq!((counts, family.len()), ([Some(2), Some(2), Some(1)], 3));
}

#[test]
fn as_many_labels_as_there_may_be_are_told_apart() {
    let keys: Vec<String> = (0..16).map(|n| format!("k{n:02}")).collect();
    for width in [4, 16] {
        let label =
            |builder: CounterBuilder<[u8; 16]>, at: usize| builder.label(&keys[at], move |e| e[at].into());
        let mut wide = (0..width).rev().fold(Counter::builder("wide"), label).build().unwrap();
        for _ in 0..3 {
            for changed in 0..width {
                let mut event = [0; 16];
                event[changed] = 1 + changed as u8;
                assert_eq!(wide.handle_event(&event, &at(1)), Verdict::Accepted);
            }
        }
        let family = fresh(&wide);
        assert_eq!(family.len(), width);
        for (changed, series) in family.series().enumerate() {
            let value = (changed + 1).to_string();
            assert_eq!(series.labels().get(&keys[changed]), Some(value.as_str()));
            assert_eq!(series.value().counter(), Some(3));
        }
    }
}

#[test]
fn past_the_limit_the_overflow_series_keeps_totals_right() {
    let mut users =
        Counter::<String>::builder("users").label("user", |e| Label::from(e)).cardinality(2).build().unwrap();
    for user in ["a", "b", "c", "a", "d", "c"] {
        assert_eq!(users.handle_event(&user.to_owned(), &at(1)), Verdict::Accepted);
    }
    let family = fresh(&users);
    let count = |labels: &[(&str, &str)]| family.find(labels).and_then(|series| series.value().counter());
    assert_eq!(
        (count(&[("user", "a")]), count(&[("user", "b")]), count(&[("user", "c")])),
        (Some(2), Some(1), None)
    );
    assert_eq!(count(&[("otel.metric.overflow", "true")]), Some(3));
    assert_eq!((family.overflowed(), family.len()), (3, 3));
    assert!(family.series().last().unwrap().is_overflow());
}

#[test]
fn a_counter_stays_at_its_end_and_says_so() {
    let mut sum = Counter::<u64>::builder("sum").value(|e| Some(*e)).build().unwrap();
    for amount in [u64::MAX - 1, 1, 1, 5] {
        assert_eq!(sum.handle_event(&amount, &at(1)), Verdict::Accepted);
    }
    let family = fresh(&sum);
    assert_eq!(family.find(&[]).unwrap().value().counter(), Some(u64::MAX));
    assert_eq!(family.saturated(), 2);

    let mut level = UpDown::<i64>::builder("level").value(|e| Some(*e)).build().unwrap();
    for step in [i64::MIN, -1, 3] {
        assert_eq!(level.handle_event(&step, &at(1)), Verdict::Accepted);
    }
    let family = fresh(&level);
    assert_eq!((family.find(&[]).unwrap().value().up_down(), family.saturated()), (Some(i64::MIN + 3), 1));
}

#[test]
fn refused_values_make_no_series() {
    let bad = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
    let mut counter = Counter::<f64>::builder("c").value(|e| Some(*e)).build().unwrap();
    let mut gauge = Gauge::<f64>::builder("g").value(|e| Some(*e)).build().unwrap();
    let mut mean = Average::<f64>::builder("a").value(|e| Some(*e)).build().unwrap();
    let mut histogram = Histogram::<f64>::builder("h").bounds(&[1.0]).value(|e| Some(*e)).build().unwrap();
    for value in bad {
        let refused = Verdict::Refused(Refusal::NonFinite);
        assert_eq!(counter.handle_event(&value, &at(1)), refused);
        assert_eq!(gauge.handle_event(&value, &at(1)), refused);
        assert_eq!(mean.handle_event(&value, &at(1)), refused);
        assert_eq!(histogram.handle_event(&value, &at(1)), refused);
    }
    assert_eq!(counter.handle_event(&-0.5, &at(1)), Verdict::Refused(Refusal::Negative));
    assert_eq!(histogram.handle_event(&f64::MAX, &at(1)), Verdict::Refused(Refusal::OutOfRange));
    assert_eq!(mean.handle_event(&f64::MIN, &at(1)), Verdict::Refused(Refusal::OutOfRange));
    let lens = [fresh(&counter).len(), fresh(&gauge).len(), fresh(&mean).len(), fresh(&histogram).len()];
    assert_eq!(lens, [0; 4]);
}

#[cfg(panic = "unwind")]
#[test]
fn a_panicking_selector_changes_nothing() {
    let mut picky = Counter::<u32>::builder("picky")
        .label("v", |e| if *e == 13 { panic!("seeded") } else { Label::from(*e) })
        .build()
        .unwrap();
    assert_eq!(picky.handle_event(&1, &at(1)), Verdict::Accepted);
    let before = fresh(&picky);
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| picky.handle_event(&13, &at(2))));
    assert!(outcome.is_err());
    assert_eq!(fresh(&picky), before);
}

#[test]
fn builders_tell_the_first_mistake() {
    let name = Counter::<u8>::builder("no spaces").cardinality(0).build().unwrap_err();
    assert_eq!(name.kind(), ErrorKind::InvalidName);
    let limit = Counter::<u8>::builder("c").cardinality(0).build().unwrap_err();
    assert_eq!(limit.kind(), ErrorKind::InvalidLimit);
    let reserved = Counter::<u8>::builder("c").label("le", |_| Label::Absent).build().unwrap_err();
    assert!(reserved.to_string().contains("reserved"));
    assert!(Gauge::<u8>::builder("g").build().unwrap_err().to_string().contains(".value("));
    let whole = UpDown::<f64>::builder("u").value(|e| Some(*e)).build().unwrap_err();
    assert!(whole.to_string().contains("gauge"));
    let bounds = Histogram::<u64>::builder("h").value(|e| Some(*e)).build().unwrap_err();
    assert_eq!(bounds.kind(), ErrorKind::InvalidLimit);
}

#[test]
fn instruments_go_to_the_worker_and_families_to_every_reader() {
    fn assert_send<T: Send>() {}
    fn assert_shared<T: Send + Sync>() {}
    // Events are read by one thread only, so an instrument over events that are not even `Send` is `Send` itself.
    type Event = std::rc::Rc<u8>;
    assert_send::<(Counter<Event>, Gauge<Event>, UpDown<Event>, Histogram<Event>, Average<Event>)>();
    assert_send::<CounterBuilder<Event>>();
    assert_shared::<(Family, LabelSet)>();
    assert!(size_of::<Label<'_>>() <= 24);
}

#[test]
fn units_with_a_preset_need_no_bounds_and_routes_are_kept() {
    let seconds = Histogram::<Saved>::builder("d").unit(Unit::Seconds).value(|e| e.elapsed()).on(&["saved"]);
    let seconds = seconds.build().unwrap();
    assert_eq!(seconds.descriptor().bounds().len(), 14);
    assert_eq!(seconds.interests(), Interests::Only(vec!["saved"]));
    let bytes = Histogram::<Saved>::builder("b").unit(Unit::Bytes).value(|e| Some(e.bytes)).build().unwrap();
    assert_eq!(bytes.descriptor().bounds().first(), Some(&64.0));
}

#[test]
fn a_bound_belongs_to_the_bucket_below_it() {
    for count in [3_usize, 100] {
        let bounds: Vec<f64> = (0..count).map(|bound| bound as f64).collect();
        let mut histogram =
            Histogram::<f64>::builder("h").bounds(&bounds).value(|e| Some(*e)).build().unwrap();
        for value in [-1.0, 0.0, 0.5, 1.0, count as f64] {
            assert_eq!(histogram.handle_event(&value, &at(1)), Verdict::Accepted);
        }
        let family = fresh(&histogram);
        let value = family.find(&[]).unwrap().value().histogram().unwrap();
        let buckets: Vec<u64> = value.buckets().collect();
        assert_eq!((&buckets[..3], buckets[count]), (&[2, 2, 0][..], 1));
        assert_eq!((value.count(), value.min(), value.sum()), (5, Some(-1.0), 0.5 + count as f64));
        assert_eq!(value.cumulative().last(), Some(5));
    }
}

/// Every kind of instrument, over one event type.
fn all_instruments() -> Vec<Box<dyn Metric<Saved>>> {
    let limit = 150;
    vec![
        Box::new(
            Counter::<Saved>::builder("c").label("user", Saved::user).cardinality(limit).build().unwrap(),
        ),
        Box::new(
            Counter::<Saved>::builder("f")
                .label("outcome", |e| e.outcome())
                .label("shard", |e| e.shard.into())
                .value(|e| Some(e.elapsed))
                .build()
                .unwrap(),
        ),
        Box::new(
            Gauge::<Saved>::builder("g").label("user", Saved::user).value(|e| Some(e.bytes)).build().unwrap(),
        ),
        Box::new(
            UpDown::<Saved>::builder("u")
                .label("s", |e| e.shard.into())
                .value(|e| Some(e.shard))
                .build()
                .unwrap(),
        ),
        Box::new(
            Histogram::<Saved>::builder("h")
                .unit(Unit::Seconds)
                .label("user", Saved::user)
                .label("a", |e| e.outcome())
                .label("b", |e| e.shard.into())
                .cardinality(limit)
                .value(|e| e.elapsed())
                .build()
                .unwrap(),
        ),
        Box::new(Average::<Saved>::builder("a").value(|e| Some(e.bytes)).build().unwrap()),
        Box::new(
            Histogram::<Saved>::builder("i").unit(Unit::Seconds).value(|e| e.elapsed()).build().unwrap(),
        ),
        Box::new(
            Histogram::<Saved>::builder("j")
                .bounds(&[-1.5, 0.0, 1.0, 1.2, 1.4, 1.6, 1.8, 1e18, 1.5e19])
                .keep(|e| e.shard != 0)
                .value(|e| Some(e.bytes >> (e.elapsed.as_nanos() % 64)))
                .build()
                .unwrap(),
        ),
        Box::new(
            Histogram::<Saved>::builder("k")
                .bounds(&[-1.5, 0.0, 1.0, 1.2, 1.4])
                .value(|e| (e.shard != 1).then_some(e.shard as f64 / f64::from(u8::from(e.ok))))
                .build()
                .unwrap(),
        ),
        Box::new(
            Histogram::<Saved>::builder("l").bounds(&[-1.0, 1.0]).value(|e| Some(e.shard)).build().unwrap(),
        ),
        Box::new(Histogram::<Saved>::builder("m").bounds(&[0.5, 1.5]).value(Saved::mixed).build().unwrap()),
        Box::new(
            Counter::<Saved>::builder("n")
                .label("outcome", |e| e.outcome())
                .keep(|e| e.bytes % 3 > 0)
                .value(|e| Some(e.shard))
                .build()
                .unwrap(),
        ),
        Box::new(
            Counter::<Saved>::builder("o")
                .value(|e| (!e.user.is_empty()).then_some(e.bytes))
                .build()
                .unwrap(),
        ),
        Box::new(Counter::<Saved>::builder("p").keep(|e| e.ok).build().unwrap()),
        Box::new(Counter::<Saved>::builder("q").value(Saved::mixed).build().unwrap()),
    ]
}

fn events() -> impl Strategy<Value = Vec<Saved>> {
    let event = (any::<bool>(), 0_u32..300, -2_i64..3, any::<u64>(), 0_u64..20_000_000_000);
    let event = event.prop_map(|(ok, user, shard, bytes, nanos)| Saved {
        ok,
        user: if user == 0 { String::new() } else { user.to_string() },
        shard,
        bytes,
        elapsed: Duration::from_nanos(nanos),
    });
    proptest::collection::vec(event, 0..400)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Two buffers take turns, as in the recorder, each refreshed from the older cut that it holds.
    #[test]
    fn refreshing_a_stale_family_equals_a_fresh_write(events in events(), pause in proptest::collection::vec(0_usize..60, 1..20)) {
        for mut metric in all_instruments() {
            let mut buffers = [0, 1].map(|_| (Family::new(metric.descriptor().clone()), 0_u64));
            let mut rest = events.as_slice();
            for (cut, &pause) in (1_u64..).zip(pause.iter().cycle()).take(20) {
                let (now, later) = rest.split_at(pause.min(rest.len()));
                rest = later;
                for event in now {
                    let _ = metric.handle_event(event, &at(cut));
                }
                let (family, since) = &mut buffers[cut as usize % 2];
                metric.snapshot(&mut FamilyWriter::new(family, *since));
                *since = cut;
                let mut whole = Family::new(metric.descriptor().clone());
                metric.snapshot(&mut FamilyWriter::whole(&mut whole));
                prop_assert_eq!(&*family, &whole);
                prop_assert_eq!(format!("{family:?}"), format!("{whole:?}"));
            }
        }
    }

    /// Every instrument, whatever the events are cut into and however they are picked.
    #[test]
    fn a_batch_equals_its_events_one_by_one(
        events in events(),
        sizes in proptest::collection::vec((1_usize..150, any::<u64>(), any::<bool>()), 1..8),
    ) {
        for (mut batched, mut single) in all_instruments().into_iter().zip(all_instruments()) {
            let mut rest = events.as_slice();
            for (cut, &(size, shown, picks)) in (1_u64..).zip(sizes.iter().cycle()) {
                let (now, later) = rest.split_at(size.min(if picks { 64 } else { 150 }).min(rest.len()));
                rest = later;
                let run = Run::of(now);
                let mut batch = if picks { Batch::picked(run, shown) } else { Batch::all(run) };
                prop_assert_eq!(batch.iter().count(), batch.len());
                let mut answers = [0_u64; 3];
                for event in batch.iter() {
                    match single.handle_event(event, &at(cut)) {
                        Verdict::Accepted => answers[0] += 1,
                        Verdict::Ignored => answers[1] += 1,
                        Verdict::Refused(_) => answers[2] += 1,
                    }
                }
                batched.handle_batch(&mut batch, &at(cut));
                prop_assert_eq!([batch.accepted(), batch.ignored(), batch.refused()], answers);
                prop_assert!(batch.is_empty());
                if rest.is_empty() {
                    break;
                }
            }
            let families = [&batched, &single].map(|metric| {
                let mut family = Family::new(metric.descriptor().clone());
                metric.snapshot(&mut FamilyWriter::whole(&mut family));
                family
            });
            prop_assert_eq!(&families[0], &families[1]);
            prop_assert_eq!(format!("{:?}", families[0]), format!("{:?}", families[1]));
        }
    }

    /// Integers alone: nothing but the memo's identities stands between two series here.
    #[test]
    fn integer_labels_agree_with_an_array(
        steps in proptest::collection::vec((0_usize..40, 0_usize..3), 0..2_000),
        stride in prop_oneof![Just(1_u64), Just(8), any::<u64>()],
    ) {
        let mut oracle = vec![[0_u64; 3]; 40];
        let mut counter = Counter::<(usize, usize)>::builder("c")
            .label("left", move |e| Label::U64(stride.wrapping_mul(e.0 as u64)))
            .label("right", |e| Label::fixed(["a", "b", ""][e.1]))
            .build()
            .unwrap();
        for step in &steps {
            oracle[step.0][step.1] += 1;
            prop_assert_eq!(counter.handle_event(step, &at(1)), Verdict::Accepted);
        }
        let family = fresh(&counter);
        for (left, counts) in oracle.iter().enumerate() {
            let text = stride.wrapping_mul(left as u64).to_string();
            let twins = (0..40).filter(|twin| stride.wrapping_mul(*twin) == stride.wrapping_mul(left as u64));
            for (right, count) in counts.iter().enumerate().filter(|_| twins.clone().count() == 1) {
                let found = family.find(&[("left", text.as_str()), ("right", ["a", "b", ""][right])]);
                prop_assert_eq!(found.and_then(|series| series.value().counter()).unwrap_or_default(), *count);
            }
        }
        let total: u64 = family.series().filter_map(|series| series.value().counter()).sum();
        prop_assert_eq!(total, steps.len() as u64);
    }

    #[test]
    fn counts_and_sums_agree_with_a_map(events in events()) {
        let mut oracle: BTreeMap<(String, String), (u64, u64)> = BTreeMap::new();
        let mut counter = Counter::<Saved>::builder("c").label("user", Saved::user).label("shard", |e| e.shard.into()).build().unwrap();
        let mut mean = Average::<Saved>::builder("a").label("user", Saved::user).label("shard", |e| e.shard.into())
            .value(|e| Some(e.bytes >> 32)).build().unwrap();
        for event in &events {
            let entry = oracle.entry((event.user.clone(), event.shard.to_string())).or_default();
            *entry = (entry.0 + 1, entry.1 + (event.bytes >> 32));
            prop_assert_eq!(counter.handle_event(event, &at(1)), Verdict::Accepted);
            prop_assert_eq!(mean.handle_event(event, &at(1)), Verdict::Accepted);
        }
        let (counts, means) = (fresh(&counter), fresh(&mean));
        prop_assert_eq!((counts.len(), means.len()), (oracle.len(), oracle.len()));
        for ((user, shard), (count, sum)) in oracle {
            let labels = [("shard", shard.as_str()), ("user", user.as_str())];
            prop_assert_eq!(counts.find(&labels).unwrap().value().counter(), Some(count));
            let mean = means.find(&labels).unwrap().value().mean();
            prop_assert_eq!(mean, Some(sum as f64 / count as f64));
        }
    }
}

#[test]
fn a_whole_write_takes_nothing_for_granted() {
    let make = || Counter::<String>::builder("users").label("user", |e| Label::from(e)).build().unwrap();
    let (mut ours, mut theirs) = (make(), make());
    for (one, other) in [("a", "x"), ("b", "y"), ("b", "x")] {
        assert_eq!(ours.handle_event(&one.to_owned(), &at(1)), Verdict::Accepted);
        assert_eq!(theirs.handle_event(&other.to_owned(), &at(1)), Verdict::Accepted);
    }
    let mut family = fresh(&theirs);
    ours.snapshot(&mut FamilyWriter::whole(&mut family));
    assert_eq!(family, fresh(&ours));
    assert_ne!(family, fresh(&theirs));
}

/// A custom metric that shows what it is told, to be refreshed over whatever an older cut held.
#[test]
fn what_a_custom_metric_no_longer_states_is_gone() {
    let gauge =
        Gauge::<u8>::builder("g").label("k", |_| Label::Absent).cardinality(2).value(|e| Some(*e)).build();
    let mut family = Family::new(gauge.unwrap().descriptor().clone());
    let labels = |value: &str| LabelSet::new([("k", value)]).unwrap();
    let mut writer = FamilyWriter::new(&mut family, 0);
    writer.started(Timestamp::from_unix_nanos(5)).gauge(&labels("a"), 1.0);
    writer.gauge(&labels("b"), 2.0);
    writer.gauge(&labels("a"), 3.0);
    writer.gauge(&labels("c"), 4.0);
    writer.gauge(&labels("b"), f64::NAN);
    writer.gauge(&LabelSet::new([("undeclared", 1_u8)]).unwrap(), 1.0);
    drop(writer);
    assert_eq!((family.len(), family.overflowed(), family.faults()), (2, 1, 2));
    let a = family.find(&[("k", "a")]).unwrap();
    assert_eq!((a.value().gauge(), a.started().unix_nanos()), (Some(3.0), 5));

    drop(FamilyWriter::new(&mut family, 1));
    assert_eq!((family.len(), family.faults()), (0, 0));
    assert_eq!(Number::from(u64::MAX).to_string(), u64::MAX.to_string());
}
