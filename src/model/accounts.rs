//! The account of every event: where each one that was ever offered to a recorder ended.

/// What became of every event offered to a recorder.
///
/// Whenever no call is in flight and the worker is idle, and after every shutdown, exactly:
///
/// - `offered = accepted + rejected.total()`
/// - `accepted = processed + dropped.total() + pending`
///
/// At any other moment `accepted >= processed + dropped.total()`, and `pending` is the difference.
///
/// # Examples
///
/// ```
/// use mvx_metrics::{Accounts, Dropped, Rejected};
///
/// let accounts = Accounts::new(10, Rejected { full: 2, ..Rejected::default() }, 7, Dropped::default());
/// assert_eq!((accounts.offered(), accounts.pending()), (12, 3));
/// assert!(!accounts.is_settled());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Accounts {
    /// Events taken over by the recorder.
    pub accepted: u64,
    /// Events refused at the door, by reason.
    pub rejected: Rejected,
    /// Accepted events that every metric of the recorder has seen.
    pub processed: u64,
    /// Accepted events that were given up, by reason.
    pub dropped: Dropped,
}

impl Accounts {
    /// Accounts of these parts.
    pub const fn new(accepted: u64, rejected: Rejected, processed: u64, dropped: Dropped) -> Self {
        Self { accepted, rejected, processed, dropped }
    }

    /// Every event that was ever handed to the recorder.
    pub const fn offered(&self) -> u64 {
        self.accepted.saturating_add(self.rejected.total())
    }

    /// Accepted events whose fate is open, the one in progress included.
    pub const fn pending(&self) -> u64 {
        self.accepted.saturating_sub(self.processed).saturating_sub(self.dropped.total())
    }

    /// Every event that is in no metric and never will be: rejected or dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// use mvx_metrics::{Accounts, Dropped, Rejected};
    ///
    /// let rejected = Rejected { full: 2, ..Rejected::default() };
    /// let dropped = Dropped { deadline: 1, ..Dropped::default() };
    /// let accounts = Accounts::new(10, rejected, 7, dropped);
    /// assert_eq!((accounts.lost(), accounts.pending()), (3, 2));
    /// assert_eq!(accounts.offered(), accounts.processed + accounts.lost() + accounts.pending());
    /// ```
    pub const fn lost(&self) -> u64 {
        self.rejected.total().saturating_add(self.dropped.total())
    }

    /// Whether every accepted event has met its fate.
    pub const fn is_settled(&self) -> bool {
        self.pending() == 0
    }

    /// The sum of two accounts, for totals over recorders.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            accepted: self.accepted.saturating_add(other.accepted),
            rejected: self.rejected.plus(other.rejected),
            processed: self.processed.saturating_add(other.processed),
            dropped: self.dropped.plus(other.dropped),
        }
    }
}

/// Events refused at the door. The caller of `try_register_event` got each of them back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rejected {
    /// The queue held as many pending events as its capacity.
    pub full: u64,
    /// The recorder was stopping or stopped.
    pub closed: u64,
    /// The recorder had failed.
    pub failed: u64,
    /// The process was forked, and the worker thread is the parent's.
    pub forked: u64,
}

impl Rejected {
    /// All refused events.
    pub const fn total(&self) -> u64 {
        self.full.saturating_add(self.closed).saturating_add(self.failed).saturating_add(self.forked)
    }

    /// Each reason with its count, under its stable name.
    pub const fn by_reason(&self) -> [(&'static str, u64); 4] {
        [("full", self.full), ("closed", self.closed), ("failed", self.failed), ("forked", self.forked)]
    }

    /// What came on top since an earlier reading.
    pub(crate) const fn since(self, earlier: Self) -> Self {
        Self {
            full: self.full.saturating_sub(earlier.full),
            closed: self.closed.saturating_sub(earlier.closed),
            failed: self.failed.saturating_sub(earlier.failed),
            forked: self.forked.saturating_sub(earlier.forked),
        }
    }

    const fn plus(self, other: Self) -> Self {
        Self {
            full: self.full.saturating_add(other.full),
            closed: self.closed.saturating_add(other.closed),
            failed: self.failed.saturating_add(other.failed),
            forked: self.forked.saturating_add(other.forked),
        }
    }
}

/// Accepted events that were given up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Pushed out by newer events under [`OverflowPolicy::DropOldest`](crate::OverflowPolicy::DropOldest).
    pub evicted: u64,
    /// Not processed when the deadline of a shutdown or stop was over.
    pub deadline: u64,
    /// Left over when the recorder was removed or its worker went away.
    pub removed: u64,
    /// Accepted for a start that then failed.
    pub start_failed: u64,
}

impl Dropped {
    /// All dropped events.
    pub const fn total(&self) -> u64 {
        self.evicted
            .saturating_add(self.deadline)
            .saturating_add(self.removed)
            .saturating_add(self.start_failed)
    }

    /// Each reason with its count, under its stable name.
    pub const fn by_reason(&self) -> [(&'static str, u64); 4] {
        [
            ("evicted", self.evicted),
            ("deadline", self.deadline),
            ("removed", self.removed),
            ("start_failed", self.start_failed),
        ]
    }

    /// What came on top since an earlier reading.
    pub(crate) const fn since(self, earlier: Self) -> Self {
        Self {
            evicted: self.evicted.saturating_sub(earlier.evicted),
            deadline: self.deadline.saturating_sub(earlier.deadline),
            removed: self.removed.saturating_sub(earlier.removed),
            start_failed: self.start_failed.saturating_sub(earlier.start_failed),
        }
    }

    const fn plus(self, other: Self) -> Self {
        Self {
            evicted: self.evicted.saturating_add(other.evicted),
            deadline: self.deadline.saturating_add(other.deadline),
            removed: self.removed.saturating_add(other.removed),
            start_failed: self.start_failed.saturating_add(other.start_failed),
        }
    }
}

/// What one metric answered, over the events dispatched while it was registered: the five add up to that number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Events that changed the metric.
    pub accepted: u64,
    /// Events that did not concern it, those spared by a route included.
    pub ignored: u64,
    /// Events whose value it could not take.
    pub refused: u64,
    /// Events on which it panicked.
    pub panicked: u64,
    /// Events it did not see because it was quarantined.
    pub quarantined: u64,
}

impl Tally {
    /// All five together: the events dispatched while the metric was registered.
    pub const fn total(&self) -> u64 {
        self.accepted + self.ignored + self.refused + self.panicked + self.quarantined
    }
}
