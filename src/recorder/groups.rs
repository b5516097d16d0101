//! What recorders are exported as one, and what those that are gone have counted.

use crate::model::accounts::Accounts;
use crate::model::clock::Timestamp;
use crate::model::error::Error;
use crate::model::error::ErrorKind;
use crate::model::limits;
use crate::model::name::MetricName;
use crate::model::name::RecorderId;
use crate::model::snapshot::Family;
use crate::model::snapshot::Folded;
use crate::recorder::identity::Identity;
use crate::recorder::view::Snapshot;
use crate::sync::Mutex;
use crate::sync::MutexGuard;
use crate::sync::fork::Birth;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// The name of a group; none is the group of all recorders that name none.
pub(crate) type GroupName = Option<Arc<str>>;

/// The named groups of a runtime, and the totals of removed recorders.
///
/// Its lock is taken before the registry's. A removal holds it from before the recorder leaves the registry until its counts are among the
/// totals, a collection while it looks at both: so a collection sees a recorder there or here, never in both nor in neither. Once a
/// collection has the recorder, it reads a state at least as late as any before.
pub(crate) struct Groups {
    state: Mutex<State>,
    born: Birth,
}

struct State {
    names: BTreeSet<Arc<str>>,
    /// Shared with collections: what they hold is copied family by family when it changes.
    retired: Arc<Retired>,
    limit: usize,
    /// Metrics taken out of recorders that stay.
    withdrawals: u64,
}

/// What removed recorders and metrics have counted, by metric and group. Bounded: by the names of metrics in the program, by
/// [`MAX_GROUPS`](limits::MAX_GROUPS), and by the limit of each family.
#[derive(Clone, Default)]
pub(crate) struct Retired {
    pub(crate) families: BTreeMap<(MetricName, GroupName), Arc<Folded>>,
    pub(crate) accounts: BTreeMap<GroupName, GroupAccounts>,
}

/// The accounts of the recorders of a group that are gone.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct GroupAccounts {
    pub(crate) recorders: u64,
    pub(crate) accounts: Accounts,
}

impl Groups {
    /// How many series each exported family may have beside its overflow series.
    pub(crate) fn limit_series(&self, limit: u32) {
        self.state.lock().limit = limit as usize;
    }

    /// Checks the name of a group and keeps it.
    pub(crate) fn name(&self, name: &str) -> Result<Arc<str>, Error> {
        let name = RecorderId::new(name).map_err(|cause| {
            let message =
                "the name of the group is blank or not writable; name it after what its recorders are, as in \"disks\"";
            Error::new(ErrorKind::InvalidId, message).with_source(cause)
        })?;
        let mut state = self.state.lock();
        if let Some(known) = state.names.get(name.as_str()) {
            return Ok(Arc::clone(known));
        }
        if state.names.len() >= limits::MAX_GROUPS {
            let message = format!(
                "group {name} is one too many, as {} are named in this runtime; tell recorders apart by a label instead",
                limits::MAX_GROUPS
            );
            return Err(Error::new(ErrorKind::LimitReached, message));
        }
        let name: Arc<str> = name.as_str().into();
        state.names.insert(Arc::clone(&name));
        Ok(name)
    }

    /// Keeps what a recorder has counted, as one step with `leave`, by which it leaves the registry.
    pub(crate) fn retire<T>(&self, last: &Snapshot, leave: impl FnOnce() -> T) -> T {
        let mut state = self.state.lock();
        let left = leave();
        let limit = state.limit;
        let retired = Arc::make_mut(&mut state.retired);
        retired.keep_recorder(last, limit);
        left
    }

    /// Keeps what metrics or series have counted that leave a recorder which stays, as one step with `leave`, which swaps in the recorder's state
    /// without it, made before: no user code runs under the lock.
    pub(crate) fn withdraw<T>(
        &self,
        of: &Identity,
        last: &[&Family],
        at: Timestamp,
        leave: impl FnOnce() -> T,
    ) -> T {
        let mut state = self.state.lock();
        let left = leave();
        let limit = state.limit;
        state.withdrawals += 1;
        let retired = Arc::make_mut(&mut state.retired);
        last.iter().for_each(|last| retired.keep(of, last, at, limit));
        left
    }

    /// The totals, and what `list` and then `read` find beside them: nothing is in both or in neither.
    pub(crate) fn view<L, T>(&self, list: impl Fn() -> L, read: impl Fn(&L) -> T) -> (Arc<Retired>, L, T) {
        for _ in 0..4 {
            let Some(state) = self.state() else { break };
            let (withdrawals, retired, listed) = (state.withdrawals, Arc::clone(&state.retired), list());
            drop(state);
            let found = read(&listed);
            if self.state().is_none_or(|state| state.withdrawals == withdrawals) {
                return (retired, listed, found);
            }
        }
        // Metrics come and go all the time: they wait for once.
        let state = self.state();
        let retired = state.as_ref().map(|state| Arc::clone(&state.retired)).unwrap_or_default();
        let listed = list();
        let found = read(&listed);
        (retired, listed, found)
    }

    /// Nothing in a child that was forked off while one of its parent's threads was in here.
    fn state(&self) -> Option<MutexGuard<'_, State>> {
        if self.born.is_elsewhere() { self.state.try_lock() } else { Some(self.state.lock()) }
    }
}

impl Retired {
    /// Keeps what a recorder has counted.
    pub(crate) fn keep_recorder(&mut self, last: &Snapshot, limit: usize) {
        let identity = &last.cut.identity;
        for metric in last.cut.metrics.iter() {
            self.keep(identity, &metric.family, last.cut.taken_at, limit);
        }
        let group = self.accounts.entry(identity.group().cloned()).or_default();
        group.recorders = group.recorders.saturating_add(1);
        group.accounts = group.accounts.plus(last.accounts);
    }

    /// Keeps what is kept elsewhere; the shapes are equal.
    pub(crate) fn keep_totals(&mut self, of: &Self, limit: usize) {
        for (key, theirs) in &of.families {
            let kept = self.families.entry(key.clone());
            let kept = kept.or_insert_with(|| Arc::new(Folded::new(Arc::clone(theirs.shape()), limit)));
            Arc::make_mut(kept).add(theirs.family(), Timestamp::default());
        }
        for (group, theirs) in &of.accounts {
            let ours = self.accounts.entry(group.clone()).or_default();
            ours.recorders = ours.recorders.saturating_add(theirs.recorders);
            ours.accounts = ours.accounts.plus(theirs.accounts);
        }
    }

    fn keep(&mut self, of: &Identity, last: &Family, at: Timestamp, limit: usize) {
        if last.is_empty() || !Folded::keeps(last.descriptor().kind()) {
            return;
        }
        let key = (last.name().clone(), of.group().cloned());
        let kept = self
            .families
            .entry(key)
            .or_insert_with(|| Arc::new(Folded::new(Arc::clone(last.descriptor()), limit)));
        // The catalogue has seen to it that the shapes are equal.
        Arc::make_mut(kept).add(last, at);
    }
}

impl Default for Groups {
    fn default() -> Self {
        let state = State {
            names: BTreeSet::new(),
            retired: Arc::default(),
            limit: limits::DEFAULT_EXPORTED_CARDINALITY as usize,
            withdrawals: 0,
        };
        Self { state: Mutex::new(state), born: Birth::here() }
    }
}

impl fmt::Debug for Groups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock();
        f.debug_struct("Groups")
            .field("named", &state.names.len())
            .field("retired", &state.retired.families.len())
            .finish()
    }
}
