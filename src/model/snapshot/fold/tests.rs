use super::*;
use crate::model::label::LabelSet;
use crate::model::snapshot::FamilyWriter;
use proptest::prelude::*;

fn counters(series: &[(&str, u64)]) -> Family {
    let mut family = Family::new(Descriptor::builder("hits", Kind::Counter).label("code").build().unwrap());
    let mut writer = FamilyWriter::whole(&mut family);
    for (code, count) in series {
        writer
            .started(Timestamp::from_unix_nanos(*count))
            .counter(&LabelSet::new([("code", *code)]).unwrap(), *count);
    }
    drop(writer);
    family
}

fn folded(families: &[Family], limit: usize) -> Folded {
    let mut folded = Folded::new(families[0].descriptor().clone(), limit);
    families.iter().for_each(|family| assert!(folded.add(family, FIRST)));
    folded
}

fn count(family: &Family, code: &str) -> Option<u64> {
    family.find(&[("code", code)]).and_then(|series| series.value().counter())
}

#[test]
fn series_of_one_label_set_are_added_in_whatever_order_they_come_and_keep_the_first_start() {
    let folded = folded(&[counters(&[("a", 5), ("b", 2)]), counters(&[("b", 1), ("c", 7), ("a", 3)])], 10);
    let family = folded.family();
    let counts = ["a", "b", "c"].map(|code| count(family, code).unwrap());
    assert_eq!((family.len(), counts), (3, [8, 3, 7]));
    assert_eq!(family.find(&[("code", "b")]).unwrap().started().unix_nanos(), 1);
    assert_eq!((folded.past_limit(), family.saturated()), (0, 0));
}

#[test]
fn what_finds_no_room_is_in_the_overflow_series_and_is_counted() {
    let folded = folded(&[counters(&[("a", 1), ("b", 2)]), counters(&[("", 4), ("a", 8), ("d", 16)])], 2);
    let family = folded.family();
    assert_eq!((family.len(), count(family, "a"), count(family, "b")), (3, Some(9), Some(2)));
    let overflow = family.series().find(|series| series.is_overflow()).unwrap();
    assert_eq!((overflow.value().counter(), folded.past_limit()), (Some(20), 2));
}

/// Folded apart, and then together.
fn absorbed(first: &[Family], second: &[Family], limit: usize) -> (Folded, bool) {
    let mut whole = folded(first, limit);
    let plain = whole.absorb(&folded(second, limit));
    (whole, plain)
}

#[test]
fn folded_apart_they_come_to_the_same_and_it_is_told_where_that_is_not_sure() {
    let families = [
        counters(&[("a", 5), ("b", 2)]),
        counters(&[("c", 7), ("a", 3)]),
        counters(&[("b", 1), ("", 4)]),
        counters(&[("", 9)]),
    ];
    for at in 1..families.len() {
        let (first, second) = families.split_at(at);
        let (both, plain) = absorbed(first, second, 4);
        assert!(plain, "{at}");
        assert_eq!(both.family(), folded(&families, 4).family(), "{at}");
    }
    let (one, many) = ([counters(&[("a", 1)])], [counters(&[("b", 1), ("c", 1)])]);
    assert!(!absorbed(&one, &many, 2).1, "both together find no room");
    assert!(!absorbed(&many, &one, 1).1, "the first has found none");
    assert!(!absorbed(&[counters(&[])], &many, 1).1, "the second has found none");
    let huge = [counters(&[("a", u64::MAX)])];
    assert!(!absorbed(&one, &huge, 2).1, "the sum is out of range");
    let mut widened = folded(&many, 1);
    widened.widen(2);
    assert!(!widened.exceeded, "what was before is over");
}

#[test]
fn label_values_that_run_into_each_other_are_kept_apart() {
    let shape = || Descriptor::builder("pairs", Kind::Counter).label("a").label("b").build().unwrap();
    let pairs = [("1:", "x"), ("1", ":x"), ("", "1:x"), ("1:x", "")];
    let family = |pairs: &mut dyn Iterator<Item = &(&str, &str)>| {
        let mut family = Family::new(shape());
        let mut writer = FamilyWriter::whole(&mut family);
        pairs.for_each(|(a, b)| writer.counter(&LabelSet::new([("a", *a), ("b", *b)]).unwrap(), 1));
        drop(writer);
        family
    };
    let folded = folded(&[family(&mut pairs.iter()), family(&mut pairs.iter().rev())], 10);
    assert_eq!(folded.family().len(), 4);
    assert!(folded.family().series().all(|series| series.value().counter() == Some(2)));
}

#[test]
fn gauges_follow_their_rule() {
    let gauge = |rule, value: f64| {
        let shape = Descriptor::builder("load", Kind::Gauge).gauge_fold(rule).build().unwrap();
        let mut family = Family::new(shape);
        FamilyWriter::whole(&mut family).gauge(&LabelSet::empty(), value);
        family
    };
    let rules = [GaugeFold::Sum, GaugeFold::Min, GaugeFold::Max, GaugeFold::Count, GaugeFold::Last];
    let values = rules.map(|rule| {
        let mut folded = Folded::new(gauge(rule, 0.0).descriptor().clone(), 10);
        for (value, at) in [(1e16, 20), (3.0, 30), (-1e16, 10)] {
            assert!(folded.add(&gauge(rule, value), Timestamp::from_unix_nanos(at)));
        }
        folded.family().series().next().unwrap().value().gauge().unwrap()
    });
    assert_eq!(values, [3.0, -1e16, 1e16, 3.0, 3.0]);
}

#[test]
fn a_counter_at_the_end_of_its_range_stays_there_and_says_so() {
    let folded = folded(&[counters(&[("a", u64::MAX)]), counters(&[("a", 2)])], 10);
    assert_eq!((count(folded.family(), "a"), folded.family().saturated()), (Some(u64::MAX), 1));
}

#[test]
fn another_shape_and_free_fields_are_not_folded() {
    let mut hits = folded(&[counters(&[("a", 1)])], 10);
    let other = Family::new(Descriptor::builder("hits", Kind::UpDown).label("code").build().unwrap());
    assert!(!hits.add(&other, FIRST));
    let fields = Family::new(Descriptor::builder("pool", Kind::Fields).build().unwrap());
    assert!(!Folded::new(fields.descriptor().clone(), 10).add(&fields, FIRST));
}

proptest! {
    #[test]
    fn histograms_come_to_the_same_in_every_order(rows in prop::collection::vec((any::<u32>(), any::<u32>(), -1e300f64..1e300), 1..8)) {
        let shape = Descriptor::builder("took", Kind::Histogram).bounds(&[1.0]).build().unwrap();
        let family = |(low, high, sum): &(u32, u32, f64)| {
            let mut family = Family::new(shape.clone());
            let mut exact = ExactSum::default();
            assert!(exact.add(*sum));
            let buckets = [u64::from(*low), u64::from(*high)];
            FamilyWriter::whole(&mut family).histogram(&LabelSet::empty(), &buckets, &exact, Some((*sum, *sum)));
            family
        };
        let families: Vec<_> = rows.iter().map(family).collect();
        let forth = folded(&families, 10);
        let back = folded(&families.iter().rev().cloned().collect::<Vec<_>>(), 10);
        let shown = forth.family().series().next().unwrap().value().histogram().unwrap();
        let expected: Vec<u64> = vec![rows.iter().map(|row| u64::from(row.0)).sum(), rows.iter().map(|row| u64::from(row.1)).sum()];
        prop_assert_eq!(shown.buckets().collect::<Vec<_>>(), expected);
        prop_assert_eq!(shown.min(), rows.iter().map(|row| row.2).reduce(f64::min));
        prop_assert_eq!(forth.family(), back.family());
    }
}
