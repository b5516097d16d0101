//! Differences since what the receiver has taken, for those that want no totals.

use crate::model::clock::Timestamp;
use crate::model::snapshot::ExponentialBuckets;
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

    /// These have been taken.
    pub(super) fn commit(&mut self, taken: Vec<(Key, Base)>) {
        self.known.extend(taken);
    }

    /// The whole export has been taken: what it did not show is gone.
    pub(super) fn end(&mut self) {
        let round = self.round;
        self.known.retain(|_, base| base.round == round);
    }
}

impl Value {
    fn of(value: ValueRef<'_>) -> Option<Self> {
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

/// Also of numbers beyond all.
fn less(now: f64, then: f64) -> f64 {
    if now == then { 0.0 } else { now - then }
}

#[cfg(test)]
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
}
