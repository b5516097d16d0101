//! When an exporter delivers, and how it tries again.

use crate::model::error::Error;
use crate::model::error::ErrorKind;
use crate::model::limits;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::Duration;
use std::time::Instant;

/// When an exporter delivers, how long an attempt may take, and how it tries again.
///
/// The times are a grid from the first one on: an attempt that takes long moves no later one. The first one comes at random within
/// the interval, so that the processes of a fleet that start together do not deliver together.
///
/// # Examples
///
/// ```
/// use mvx_metrics::export::Schedule;
/// use std::time::Duration;
///
/// let schedule = Schedule::every(Duration::from_secs(15))
///     .timeout(Duration::from_secs(5))
///     .retries(2)
///     .retry_pause(Duration::from_millis(200));
/// assert_eq!(schedule.interval(), Some(Duration::from_secs(15)));
/// assert_eq!(Schedule::on_demand().interval(), None);
/// ```
#[derive(Clone, Debug)]
pub struct Schedule {
    interval: Option<Duration>,
    first: Option<Duration>,
    pub(super) timeout: Duration,
    pub(super) retries: u32,
    pause: Duration,
}

impl Schedule {
    /// Delivers once in `interval`, when asked by [`force_flush`](crate::MetricsRuntime::force_flush), and at the end. At least
    /// [`MIN_EXPORT_INTERVAL`](crate::limits::MIN_EXPORT_INTERVAL).
    pub fn every(interval: Duration) -> Self {
        Self { interval: Some(interval), ..Self::on_demand() }
    }

    /// Delivers when asked by [`force_flush`](crate::MetricsRuntime::force_flush), and at the end.
    pub fn on_demand() -> Self {
        Self {
            interval: None,
            first: None,
            timeout: limits::EXPORT_TIMEOUT,
            retries: limits::EXPORT_RETRIES,
            pause: limits::EXPORT_PAUSE,
        }
    }

    /// Delivers first after `delay`, instead of at random within the interval.
    #[must_use]
    pub fn first_after(mut self, delay: Duration) -> Self {
        self.first = Some(delay);
        self
    }

    /// How long one attempt may take; [`EXPORT_TIMEOUT`](crate::limits::EXPORT_TIMEOUT) unless said.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How often it tries again after a failure that is worth it; [`EXPORT_RETRIES`](crate::limits::EXPORT_RETRIES) unless said. No
    /// attempt begins after the next time of the schedule.
    #[must_use]
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// The longest pause before the second attempt; [`EXPORT_PAUSE`](crate::limits::EXPORT_PAUSE) unless said. It doubles with each
    /// further attempt up to [`MAX_EXPORT_PAUSE`](crate::limits::MAX_EXPORT_PAUSE), and each pause is a random part of it, so that those whom the
    /// other side has turned away do not come back together ("full jitter",
    /// <https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>).
    #[must_use]
    pub fn retry_pause(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// The time from one delivery to the next, if there is one.
    pub fn interval(&self) -> Option<Duration> {
        self.interval
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        if self.interval.is_some_and(|interval| interval < limits::MIN_EXPORT_INTERVAL) {
            let least = limits::MIN_EXPORT_INTERVAL;
            let message = format!("an exporter's interval is {least:?} at least; give it that or more");
            return Err(Error::new(ErrorKind::InvalidLimit, message));
        }
        if self.timeout.is_zero() {
            let message = "an exporter's time-out is zero, so no attempt could end; give it some time";
            return Err(Error::new(ErrorKind::InvalidLimit, message));
        }
        Ok(())
    }

    /// The first time of the grid; none if there is no grid, or it begins beyond all time.
    pub(super) fn first_time(&self, now: Instant) -> Option<Instant> {
        let interval = self.interval?;
        now.checked_add(self.first.unwrap_or_else(|| part(interval, random())))
    }

    /// The first time of the grid after `now`, from one of its times that is past, and how many between were missed.
    pub(super) fn next_time(&self, due: Instant, now: Instant) -> (Option<Instant>, u64) {
        let Some(interval) = self.interval else { return (None, 0) };
        let late = now.saturating_duration_since(due).as_nanos();
        let missed = late / interval.as_nanos().max(1);
        let offset = u64::try_from(interval.as_nanos().saturating_mul(missed + 1)).map(Duration::from_nanos);
        (due.checked_add(offset.unwrap_or(Duration::MAX)), u64::try_from(missed).unwrap_or(u64::MAX))
    }

    /// The pause after this many failed attempts, at least what the other side asked for.
    pub(super) fn pause_after(&self, failures: u32, asked: Option<Duration>) -> Duration {
        let doubled = self.pause.saturating_mul(1 << failures.saturating_sub(1).min(16));
        let jittered = part(doubled.min(limits::MAX_EXPORT_PAUSE), random());
        jittered.max(asked.unwrap_or_default()).min(limits::MAX_EXPORT_PAUSE)
    }
}

/// `random` parts in 2^64 of `whole`.
fn part(whole: Duration, random: u64) -> Duration {
    let nanos = (whole.as_nanos().min(u128::from(u64::MAX)) * u128::from(random)) >> 64;
    Duration::from_nanos(nanos as u64)
}

/// A number that differs from process to process and call to call: std's hasher is keyed at random. Not for secrets.
fn random() -> u64 {
    RandomState::new().hash_one(0_u8)
}

#[cfg(test)]
#[cfg(not(mvx_loom))]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_grid_stands_still_however_long_a_delivery_takes() {
        let (schedule, start) = (Schedule::every(SECOND), Instant::now());
        let next = |late: u64| schedule.next_time(start, start + Duration::from_millis(late));
        assert_eq!(next(0), (Some(start + SECOND), 0));
        assert_eq!(next(999), (Some(start + SECOND), 0));
        assert_eq!(next(1_000), (Some(start + 2 * SECOND), 1));
        assert_eq!(next(3_500), (Some(start + 4 * SECOND), 3));
        assert_eq!(Schedule::on_demand().next_time(start, start), (None, 0));
        assert_eq!(Schedule::every(Duration::MAX).next_time(start, start), (None, 0));
    }

    #[test]
    fn the_first_time_is_at_random_within_the_interval_or_as_said() {
        let now = Instant::now();
        let schedule = Schedule::every(1_000 * SECOND);
        let firsts: Vec<_> = (0..32).filter_map(|_| schedule.first_time(now)).collect();
        assert!(firsts.len() == 32 && firsts.iter().all(|first| (now..now + 1_000 * SECOND).contains(first)));
        assert!(firsts.iter().any(|first| *first != firsts[0]));
        assert_eq!(schedule.first_after(SECOND).first_time(now), Some(now + SECOND));
        assert_eq!(Schedule::on_demand().first_time(now), None);
    }

    #[test]
    fn a_thousand_programs_that_begin_at_once_are_spread_over_their_interval_and_so_are_those_that_failed() {
        let now = Instant::now();
        let schedule = Schedule::every(10 * SECOND).retry_pause(10 * SECOND);
        let fullest = |times: Vec<Duration>| {
            let mut bins = [0; 100];
            times.iter().for_each(|time| bins[(time.as_millis() / 100) as usize] += 1);
            bins.into_iter().max()
        };
        let firsts = (0..1_000).filter_map(|_| Some(schedule.first_time(now)? - now));
        // Three times the mean, which chance alone does in no lifetime.
        assert!(fullest(firsts.collect()) <= Some(30));
        assert!(fullest((0..1_000).map(|_| schedule.pause_after(1, None)).collect()) <= Some(30));
    }

    #[test]
    fn pauses_are_random_parts_that_double_up_to_a_bound_and_are_not_shorter_than_asked() {
        let schedule = Schedule::every(SECOND).retry_pause(Duration::from_millis(100));
        let longest = |failures| (0..200).map(|_| schedule.pause_after(failures, None)).max();
        assert!(
            longest(1) <= Some(Duration::from_millis(100)) && longest(1) > Some(Duration::from_millis(50))
        );
        assert!(
            longest(3) <= Some(Duration::from_millis(400)) && longest(3) > Some(Duration::from_millis(200))
        );
        assert!(longest(u32::MAX) <= Some(limits::MAX_EXPORT_PAUSE));
        assert!(schedule.pause_after(1, Some(SECOND)) == SECOND);
        assert_eq!(schedule.pause_after(1, Some(Duration::MAX)), limits::MAX_EXPORT_PAUSE);
    }

    #[test]
    fn parts_are_from_nothing_to_less_than_all() {
        assert_eq!(part(SECOND, 0), Duration::ZERO);
        assert_eq!(part(SECOND, 1 << 63), SECOND / 2);
        assert!(part(SECOND, u64::MAX) < SECOND && part(Duration::MAX, u64::MAX) > SECOND);
    }

    #[test]
    fn what_could_never_deliver_is_refused() {
        assert!(Schedule::every(Duration::ZERO).check().is_err());
        assert!(Schedule::on_demand().timeout(Duration::ZERO).check().is_err());
        assert!(Schedule::every(limits::MIN_EXPORT_INTERVAL).check().is_ok());
    }
}
