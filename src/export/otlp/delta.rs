//! Differences since what the receiver has taken, for those that want no totals.

use crate::model::clock::Timestamp;
use crate::model::snapshot::ExponentialBuckets;
use crate::model::snapshot::Kind;
use crate::model::snapshot::ValueRef;
use std::collections::HashMap;

/// What the receiver has taken of each series. A difference counts as taken when the answer says so, not before.
#[derive(Debug, Default)]
pub(super) struct Taken {
    known: HashMap<Key, Base>,
    /// Which export this is; series that it does not show are forgotten when all of it was taken.
    round: u64,
    /// Whether series are of one recorder: then another start is another series. Totals of several may get an earlier start by one that joins.
    alone: bool,
}

/// Name and encoded attributes.
pub(super) type Key = Box<[u8]>;

/// Begins the key of an overflow series, and of no name.
const REST: u8 = 0;

/// A series as the receiver adds it up.
#[derive(Clone, Debug)]
pub(super) struct Base {
    started: Timestamp,
    at: Timestamp,
    value: Value,
    round: u64,
}

/// What can be told as a difference.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Count(u64),
    Sum(f64),
    Histogram { sum: f64, buckets: Box<[u64]> },
    Exponential { sum: f64, scale: i32, zeros: u64, positive: Run, negative: Run },
}

/// Index and count of buckets that hold something, in rising order.
pub(super) type Run = Vec<(i32, u64)>;

/// What there is to say of a series.
pub(super) enum Change {
    /// Everything, since its start.
    Whole,
    /// What came since a time.
    Since(Timestamp, Value),
    Nothing,
}

impl Taken {
    pub(super) fn new(alone: bool) -> Self {
        Self { alone, ..Self::default() }
    }

    /// Begins an export.
    pub(super) fn begin(&mut self) {
        self.round += 1;
    }

    /// What there is to say of a series now, and what has then been taken. Nothing for what is no difference: gauges, levels, summaries.
    pub(super) fn change(
        &mut self,
        key: Key,
        value: ValueRef<'_>,
        started: Timestamp,
        at: Timestamp,
    ) -> Option<(Change, Key, Base)> {
        let mut value = Value::of(value)?;
        let mut change = Change::Whole;
        if let Some(base) = self.known.get_mut(&key) {
            base.round = self.round;
            let anew = if self.alone { started != base.started } else { started > base.started };
            if let Some(since) = value.since(&base.value).filter(|_| !anew) {
                value.add_up(&base.value, &since);
                change =
                    if since.is_nothing() { Change::Nothing } else { Change::Since(base.at.min(at), since) };
            }
        }
        Some((change, key, Base { started, at, value, round: self.round }))
    }

    /// Accounts for what has moved from series of a metric into overflow series for good, as when a recorder is gone whose group had no room for all of its series: what has been
    /// taken of it has been taken in the other place. `now` are the series as they are and since when, `parts` the beginnings of their keys with the overflow series of each part, if it has one.
    pub(super) fn follow(
        &mut self,
        name: &str,
        now: &HashMap<Key, (Timestamp, Value)>,
        parts: &[(Key, Option<Key>)],
    ) {
        let of_name = |key: &&Key| {
            key.strip_prefix(name.as_bytes()).is_some_and(|rest| matches!(rest.first(), None | Some(&0x3a)))
        };
        let keys: Vec<Key> = self.known.keys().filter(of_name).cloned().collect();
        for key in keys {
            let begins = parts.iter().filter(|(begin, _)| key.starts_with(begin));
            let Some((_, Some(rest))) = begins.max_by_key(|(begin, _)| begin.len()) else { continue };
            let left = now.get(&key);
            if let (Some(base), Some((began, _))) = (self.known.get_mut(&key), left) {
                // What was there earlier has moved; the rest goes on.
                base.started = base.started.max(*began);
            }
            let (Some(base), Some((began, risen))) = (self.known.get(&key), now.get(rest)) else { continue };
            let lost = base.value.without(left.map(|(_, value)| value));
            let Some(lost) = lost.filter(|_| key != *rest) else {
                let fitted = left.and_then(|(_, now)| base.value.refined(now));
                if let (Some(fitted), Some(base)) = (fitted, self.known.get_mut(&key)) {
                    base.value = fitted;
                }
                continue;
            };
            let target = self.known.get(rest);
            let mut there = target.map_or_else(|| base.clone(), Base::clone);
            match target {
                Some(_) => there.value.add(&lost),
                None => there.value = lost.clone(),
            }
            // Otherwise it has gone elsewhere.
            let Some(fitted) = there.value.refined(risen).filter(|value| risen.since(value).is_some()) else {
                continue;
            };
            there.value = fitted;
            there.started = there.started.max(*began);
            self.known.insert(rest.clone(), there);
            if let Some(base) = self.known.get_mut(&key) {
                let stays = base.value.coarsened(&lost).since(&lost);
                let stays = match left {
                    Some((_, now)) => stays.and_then(|stays| stays.refined(now)),
                    None => stays,
                };
                base.value = stays.unwrap_or(lost);
            }
        }
    }

    /// Until when the points of an overflow series have been taken, and what has been when this one is. What is in it is remembered by the series
    /// that it is of: they come and go.
    pub(super) fn rest(&mut self, key: &Key, at: Timestamp) -> (Option<Timestamp>, (Key, Base)) {
        let key: Key = [&[REST], &**key].concat().into();
        let base = self.known.get_mut(&key);
        let until = base.map(|base| {
            base.round = self.round;
            base.at.min(at)
        });
        (until, (key, Base { started: at, at, value: Value::Count(0), round: self.round }))
    }

    /// These have been taken.
    pub(super) fn commit(&mut self, taken: Vec<(Key, Base)>) {
        self.known.extend(taken);
    }

    /// The whole export has been taken: what it did not show is gone, but for overflow series: there are few, and one that comes again goes on.
    pub(super) fn end(&mut self) {
        let round = self.round;
        self.known.retain(|key, base| base.round == round || key.first() == Some(&REST));
    }
}

impl Base {
    /// What has been counted since the start.
    pub(super) fn whole(&self) -> (Timestamp, Value) {
        (self.started, self.value.clone())
    }
}

impl Value {
    /// Whether metrics of this kind are told as differences.
    pub(super) fn is_told_of(kind: Kind) -> bool {
        matches!(kind, Kind::Counter | Kind::FloatCounter | Kind::Histogram | Kind::Exponential)
    }

    /// Adds another series of the same metric.
    pub(super) fn add(&mut self, other: &Self) {
        match (self, other) {
            (Self::Count(own), Self::Count(other)) => *own = own.saturating_add(*other),
            (Self::Sum(own), Self::Sum(other)) => *own += other,
            (Self::Histogram { sum, buckets }, Self::Histogram { sum: other, buckets: theirs }) => {
                *sum += other;
                let pairs = buckets.iter_mut().zip(theirs.iter());
                pairs.for_each(|(own, other)| *own = own.saturating_add(*other));
            }
            (
                Self::Exponential { sum, scale, zeros, positive, negative },
                Self::Exponential {
                    sum: other,
                    scale: theirs,
                    zeros: none,
                    positive: above,
                    negative: below,
                },
            ) => {
                *sum += other;
                *zeros = zeros.saturating_add(*none);
                let coarser = (*scale).min(*theirs);
                let shifts = (scale.abs_diff(coarser), theirs.abs_diff(coarser));
                *positive = run_added(positive, above, shifts);
                *negative = run_added(negative, below, shifts);
                *scale = coarser;
            }
            // Of one metric they are alike.
            _ => {}
        }
    }

    /// What this has had and does not have any more; nothing if it has all of it.
    fn without(&self, now: Option<&Self>) -> Option<Self> {
        let Some(now) = now else { return Some(self.clone()).filter(|all| !all.is_nothing()) };
        let lost = match (self, now) {
            (Self::Count(then), Self::Count(now)) => Self::Count(then.saturating_sub(*now)),
            (Self::Sum(then), Self::Sum(now)) => Self::Sum(less(*then, *now).max(0.0)),
            (Self::Histogram { sum, buckets }, Self::Histogram { sum: now, buckets: left }) => {
                let pairs = buckets.iter().zip(left.iter());
                let buckets = pairs.map(|(then, now)| then.saturating_sub(*now)).collect();
                Self::Histogram { sum: less(*sum, *now), buckets }
            }
            (
                Self::Exponential { sum, scale, zeros, positive, negative },
                Self::Exponential { sum: now, scale: other, zeros: left, positive: above, negative: below },
            ) => {
                let coarser = (*scale).min(*other);
                let (own, theirs) = (scale.abs_diff(coarser), other.abs_diff(coarser));
                let lost = |then: &Run, now: &Run| run_without(&run_at(then, own), &run_at(now, theirs));
                Self::Exponential {
                    sum: less(*sum, *now),
                    scale: coarser,
                    zeros: zeros.saturating_sub(*left),
                    positive: lost(positive, above),
                    negative: lost(negative, below),
                }
            }
            _ => return None,
        };
        Some(lost).filter(|lost| !lost.is_nothing())
    }

    /// The same with buckets no finer than those of another.
    fn coarsened(&self, other: &Self) -> Self {
        match (self, other) {
            (
                Self::Exponential { sum, scale, zeros, positive, negative },
                Self::Exponential { scale: coarse, .. },
            ) if scale > coarse => {
                let shift = scale.abs_diff(*coarse);
                let (positive, negative) = (run_at(positive, shift), run_at(negative, shift));
                Self::Exponential { sum: *sum, scale: *coarse, zeros: *zeros, positive, negative }
            }
            _ => self.clone(),
        }
    }

    /// The same with buckets no coarser than those of one that has all of it: which of the finer ones it was is not known, and makes no difference to their sum. Nothing if
    /// that has not got all of it.
    fn refined(&self, whole: &Self) -> Option<Self> {
        match (self, whole) {
            (
                Self::Exponential { sum, scale, zeros, positive, negative },
                Self::Exponential { scale: fine, positive: above, negative: below, .. },
            ) if scale < fine => {
                let shift = scale.abs_diff(*fine);
                let (positive, negative) =
                    (run_within(positive, above, shift)?, run_within(negative, below, shift)?);
                Some(Self::Exponential { sum: *sum, scale: *fine, zeros: *zeros, positive, negative })
            }
            _ => Some(self.clone()),
        }
    }

    pub(super) fn of(value: ValueRef<'_>) -> Option<Self> {
        Some(match value {
            ValueRef::Counter(count) => Self::Count(count),
            ValueRef::FloatCounter(sum) => Self::Sum(sum),
            ValueRef::Histogram(histogram) => {
                Self::Histogram { sum: histogram.sum(), buckets: histogram.buckets().collect() }
            }
            ValueRef::Exponential(histogram) => Self::Exponential {
                sum: histogram.sum(),
                scale: histogram.scale(),
                zeros: histogram.zero_count(),
                positive: run(histogram.positive()),
                negative: run(histogram.negative()),
            },
            _ => return None,
        })
    }

    /// What is to be added to a base; nothing if that was another series.
    fn since(&self, base: &Self) -> Option<Self> {
        Some(match (self, base) {
            (Self::Count(now), Self::Count(then)) => Self::Count(now.checked_sub(*then)?),
            // Below what was sent by rounding alone.
            (Self::Sum(now), Self::Sum(then)) => Self::Sum(less(*now, *then).max(0.0)),
            (Self::Histogram { sum, buckets }, Self::Histogram { sum: then, buckets: before }) => {
                let alike = buckets.len() == before.len();
                let pairs = buckets.iter().zip(before.iter());
                let buckets = pairs.map(|(now, then)| now.checked_sub(*then)).collect::<Option<_>>();
                Self::Histogram { sum: less(*sum, *then), buckets: buckets.filter(|_| alike)? }
            }
            (
                Self::Exponential { sum, scale, zeros, positive, negative },
                Self::Exponential {
                    sum: then,
                    scale: finer,
                    zeros: before,
                    positive: above,
                    negative: below,
                },
            ) => {
                let shift = u32::try_from(finer.checked_sub(*scale)?).ok()?;
                Self::Exponential {
                    sum: less(*sum, *then),
                    scale: *scale,
                    zeros: zeros.checked_sub(*before)?,
                    positive: run_since(positive, above, shift)?,
                    negative: run_since(negative, below, shift)?,
                }
            }
            _ => return None,
        })
    }

    /// Takes the sums that a receiver gets by adding: what rounding leaves between goes into the next difference.
    fn add_up(&mut self, base: &Self, since: &Self) {
        if let (Some(own), Some(base), Some(since)) = (self.sum_mut(), base.sum(), since.sum()) {
            *own = base + since;
        }
    }

    fn sum(&self) -> Option<f64> {
        match self {
            Self::Count(_) => None,
            Self::Sum(sum) | Self::Histogram { sum, .. } | Self::Exponential { sum, .. } => Some(*sum),
        }
    }

    fn sum_mut(&mut self) -> Option<&mut f64> {
        match self {
            Self::Count(_) => None,
            Self::Sum(sum) | Self::Histogram { sum, .. } | Self::Exponential { sum, .. } => Some(sum),
        }
    }

    fn is_nothing(&self) -> bool {
        match self {
            Self::Count(count) => *count == 0,
            Self::Sum(sum) => *sum == 0.0,
            Self::Histogram { buckets, .. } => buckets.iter().all(|count| *count == 0),
            Self::Exponential { zeros, positive, negative, .. } => {
                *zeros == 0 && positive.is_empty() && negative.is_empty()
            }
        }
    }
}

fn run(buckets: ExponentialBuckets<'_>) -> Run {
    buckets.iter().collect()
}

/// The buckets of `now` without those of `then`, whose scale is finer by `shift`.
fn run_since(now: &[(i32, u64)], then: &[(i32, u64)], shift: u32) -> Option<Run> {
    // No two scales are as far apart as a word is long.
    let mut then = then.iter().map(|(index, count)| (index >> shift.min(31), *count)).peekable();
    let mut since = Run::new();
    for (index, count) in now {
        let mut before = 0_u64;
        while let Some((_, count)) = then.next_if(|(at, _)| at == index) {
            before = before.checked_add(count)?;
        }
        match count.checked_sub(before)? {
            0 => {}
            left => since.push((*index, left)),
        }
    }
    // A bucket that is there no more: this is another series.
    then.next().is_none().then_some(since)
}

/// What one has more than the other, of one scale.
fn run_without(then: &[(i32, u64)], now: &[(i32, u64)]) -> Run {
    let left: HashMap<i32, u64> = now.iter().copied().collect();
    let lost =
        |(index, count): &(i32, u64)| (*index, count.saturating_sub(left.get(index).copied().unwrap_or(0)));
    then.iter().map(lost).filter(|(_, count)| *count > 0).collect()
}

/// The buckets of both, each finer than what comes of it by a shift.
fn run_added(own: &[(i32, u64)], other: &[(i32, u64)], (shift, theirs): (u32, u32)) -> Run {
    let mut all = run_at(own, shift);
    all.extend(run_at(other, theirs));
    all.sort_unstable_by_key(|(index, _)| *index);
    added_up(all)
}

/// The buckets of a scale that is coarser by a shift.
fn run_at(run: &[(i32, u64)], shift: u32) -> Run {
    added_up(run.iter().map(|(index, count)| (index >> shift.min(31), *count)).collect())
}

/// One entry for each index; they rise.
fn added_up(mut run: Run) -> Run {
    run.dedup_by(|(index, count), (kept, sum)| {
        let same = index == kept;
        if same {
            *sum = sum.saturating_add(*count);
        }
        same
    });
    run
}

/// Buckets that are coarser by a shift, as if each was of the first that there are in it; nothing if there are not as many.
fn run_within(coarse: &[(i32, u64)], fine: &[(i32, u64)], shift: u32) -> Option<Run> {
    let mut left: HashMap<i32, u64> = coarse.iter().copied().collect();
    let mut taken = Run::new();
    for (index, count) in fine {
        let Some(wanted) = left.get_mut(&(index >> shift.min(31))) else { continue };
        let some = (*wanted).min(*count);
        *wanted -= some;
        if some > 0 {
            taken.push((*index, some));
        }
    }
    left.values().all(|wanted| *wanted == 0).then_some(taken)
}

/// Also of numbers beyond all.
fn less(now: f64, then: f64) -> f64 {
    if now == then { 0.0 } else { now - then }
}

#[cfg(test)]
#[cfg(not(mvx_loom))]
mod tests {
    use super::*;

    fn at(nanos: u64) -> Timestamp {
        Timestamp::from_unix_nanos(nanos)
    }

    /// What is told of a counter, and taken.
    fn told(taken: &mut Taken, count: u64, started: u64, now: u64) -> Option<(Option<u64>, u64)> {
        taken.begin();
        let change = taken.change((*b"key").into(), ValueRef::Counter(count), at(started), at(now));
        let (change, key, base) = change?;
        let shown = match change {
            Change::Whole => (None, count),
            Change::Since(start, Value::Count(since)) => (Some(start.unix_nanos()), since),
            Change::Since(..) | Change::Nothing => return None,
        };
        taken.commit(vec![(key, base)]);
        taken.end();
        Some(shown)
    }

    #[test]
    fn another_start_is_another_series_unless_an_older_one_has_joined_a_total() {
        for (alone, earlier) in [(true, (None, 9)), (false, (Some(100), 4))] {
            let mut taken = Taken::new(alone);
            assert_eq!(told(&mut taken, 5, 50, 100), Some((None, 5)));
            assert_eq!(told(&mut taken, 9, 40, 200), Some(earlier));
            assert_eq!(told(&mut taken, 9, 40, 300), None, "without a change");
            assert_eq!(told(&mut taken, 11, 40, 400), Some((Some(200), 2)));
            assert_eq!(told(&mut taken, 12, 450, 500), Some((None, 12)));
            assert_eq!(told(&mut taken, 3, 450, 600), Some((None, 3)), "it has begun anew without saying so");
            assert_eq!(told(&mut taken, 4, 450, 550), Some((Some(550), 1)), "a clock that was set back");
        }
    }

    #[test]
    fn what_an_export_has_not_shown_is_forgotten_once_all_of_it_was_taken() {
        let mut taken = Taken::new(true);
        assert_eq!(told(&mut taken, 5, 50, 100), Some((None, 5)));
        taken.begin();
        assert_eq!(taken.known.len(), 1, "it failed");
        taken.begin();
        taken.end();
        assert_eq!(taken.known.len(), 0);
    }

    #[test]
    fn what_rounding_leaves_of_a_sum_goes_into_the_next_difference() {
        let (mut receiver, mut base) = (0.0, None);
        for (round, sum) in (1..).zip([1e17, 1.0, 1.0]) {
            let mut value = Value::Histogram { sum, buckets: [round].into() };
            let since = base.as_ref().map_or(value.clone(), |base| value.since(base).unwrap());
            if let Some(base) = &base {
                value.add_up(base, &since);
            }
            receiver += since.sum().unwrap();
            base = Some(value);
        }
        assert_eq!(receiver, 1.0);
    }

    #[test]
    fn buckets_that_do_not_fit_are_another_series() {
        let histogram = |buckets: &[u64]| Value::Histogram { sum: 0.0, buckets: buckets.into() };
        assert_eq!(histogram(&[1, 2]).since(&histogram(&[1])), None);
        assert_eq!(histogram(&[1, 2]).since(&histogram(&[1, 3])), None);
        let exponential = |scale, positive: &[(i32, u64)]| Value::Exponential {
            sum: 0.0,
            scale,
            zeros: 0,
            positive: positive.to_vec(),
            negative: Run::new(),
        };
        let then = exponential(3, &[(-9, 1), (-8, 1), (8, 1), (12, 2)]);
        let now = exponential(1, &[(-3, 1), (-2, 3), (2, 1), (3, 2), (4, 7)]);
        assert_eq!(now.since(&then), Some(exponential(1, &[(-2, 2), (4, 7)])));
        assert_eq!(exponential(4, &[(8, 9)]).since(&then), None, "finer than before");
        assert_eq!(exponential(1, &[(2, 1)]).since(&then), None, "buckets are gone");
    }

    #[test]
    fn series_of_one_metric_are_added_at_the_coarser_scale() {
        let exponential = |scale, positive: &[(i32, u64)], negative: &[(i32, u64)]| Value::Exponential {
            sum: 1.5,
            scale,
            zeros: 1,
            positive: positive.to_vec(),
            negative: negative.to_vec(),
        };
        for (mut one, other) in [
            (exponential(3, &[(-9, 1), (8, 2)], &[(1, 4)]), exponential(1, &[(-3, 5), (2, 7)], &[])),
            (exponential(1, &[(-3, 5), (2, 7)], &[]), exponential(3, &[(-9, 1), (8, 2)], &[(1, 4)])),
        ] {
            one.add(&other);
            let expected = Value::Exponential {
                sum: 3.0,
                scale: 1,
                zeros: 2,
                positive: vec![(-3, 6), (2, 9)],
                negative: vec![(0, 4)],
            };
            assert_eq!(one, expected);
        }
    }
}
