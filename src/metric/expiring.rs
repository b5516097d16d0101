//! Series that end when they were not observed for long.

use crate::metric::index::Index;
use crate::metric::series::Known;
use crate::metric::series::Series;
use crate::model::clock::Timestamp;
use crate::model::limits::EXPIRY_LOOKS;
use crate::model::snapshot::Column;
use crate::model::snapshot::Family;
use crate::model::verdict::Context;
use std::time::Duration;

/// When each series was last observed, and when it is looked next whether one is idle.
#[derive(Debug)]
pub(super) struct Idleness {
    /// After how long without an observation a series ends.
    pub(super) expiry: Duration,
    seen: Vec<Timestamp>,
    next_look: Timestamp,
}

impl Idleness {
    pub(super) fn new(expiry: Duration) -> Self {
        Self { expiry, seen: Vec::new(), next_look: Timestamp::default() }
    }

    /// Notes that these series are observed.
    pub(super) fn see(&mut self, rows: impl Iterator<Item = usize>, now: Timestamp) {
        for row in rows {
            if self.seen.len() <= row {
                self.seen.resize(row + 1, now);
            }
            if let Some(seen) = self.seen.get_mut(row) {
                *seen = (*seen).max(now);
            }
        }
    }

    /// Whether it is time to look; at most so many times in the time after which series expire.
    fn is_due(&mut self, now: Timestamp) -> bool {
        let due = now >= self.next_look;
        if due {
            self.next_look = now.saturating_add(self.expiry / EXPIRY_LOOKS);
        }
        due
    }
}

impl<E, C: Column> Series<E, C> {
    /// Takes out the series that were not observed for as long as was asked for; the overflow series stays.
    pub(super) fn expire(&mut self, context: &Context) -> Option<Family> {
        let idleness = self.extras.as_mut()?.idleness.as_mut()?;
        let (known, now) = (self.known.as_mut()?, context.now());
        if self.descriptor.label_keys().is_empty() || !idleness.is_due(now) {
            return None;
        }
        let overflow = known.live.keys().overflow();
        let idle = |(row, seen): (usize, &Timestamp)| {
            overflow != Some(row) && now.saturating_since(*seen) >= idleness.expiry
        };
        let gone: Vec<bool> = idleness.seen.iter().enumerate().map(idle).collect();
        if !gone.contains(&true) {
            return None;
        }
        let is_gone = |row: usize| gone.get(row).copied().unwrap_or_default();
        let family = known.live.split_off(&is_gone, &self.descriptor, context.cut());
        let seen = std::mem::take(&mut idleness.seen);
        idleness.seen =
            seen.into_iter().zip(&gone).filter(|(_, gone)| !**gone).map(|(seen, _)| seen).collect();
        known.find_anew();
        Some(family)
    }
}

impl<C: Column> Known<C> {
    /// Makes the index of the series that there are, whose rows have changed or whose index was given up.
    pub(super) fn find_anew(&mut self) {
        self.dense = Box::default();
        self.index = Some(Box::new(Index::of(self.live.keys())));
    }
}
