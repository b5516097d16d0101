//! The recorders of a runtime, by id. Each operation has exactly one winner, decided under one short lock.

use crate::model::error::Error;
use crate::model::error::ErrorKind;
use crate::model::name::RecorderId;
use crate::recorder::hosted::Hosted;
use crate::runtime::roster::NoPlace;
use crate::runtime::roster::Roster;
use crate::sync::Mutex;
use crate::sync::MutexGuard;
use crate::sync::fetch_for_write;
use crate::sync::fork::Birth;
use std::fmt;
use std::sync::Arc;
use std::sync::Weak;

/// How many recorders ahead memory is asked for: of very many, each is in cache lines of its own.
const AHEAD: usize = 16;

pub(crate) struct Registry {
    state: Mutex<State>,
    born: Birth,
    /// How many recorders are taken, those among them whose removal is under way.
    limit: usize,
}

#[derive(Default)]
struct State {
    closed: bool,
    /// Recorders that found no room.
    refused: u64,
    /// One that somebody removes is there, too: until that is done its id is taken and it can still be found.
    recorders: Roster<Arc<dyn Hosted>>,
    /// A recorder that was removed while its user code held the worker, so that it can still be named: whoever runs that code keeps it
    /// until it returns. There is one worker, so there is one at most.
    held: Option<Weak<dyn Hosted>>,
}

impl Registry {
    pub(crate) fn new(limit: usize) -> Self {
        Self { state: Mutex::default(), born: Birth::here(), limit }
    }

    /// Enters a recorder, unless its id is taken, there is no room, or the runtime takes no more.
    pub(crate) fn enter(&self, recorder: Arc<dyn Hosted>) -> Result<(), Error> {
        let mut state = self.state.lock();
        if state.closed {
            let id = &recorder.identity().id;
            let message = format!(
                "recorder {id} cannot be created: its runtime is shutting down; build another runtime"
            );
            return Err(
                Error::new(ErrorKind::InvalidState, message).with_states("Closed", "Created or Running")
            );
        }
        let Err((why, recorder)) = state.recorders.push(recorder, self.limit) else { return Ok(()) };
        let id = &recorder.identity().id;
        match why {
            NoPlace::Taken => {
                let message = format!("recorder {id} exists already; get it, or choose another id");
                Err(Error::new(ErrorKind::AlreadyExists, message))
            }
            NoPlace::Full(there) => {
                state.refused = state.refused.saturating_add(1);
                let message = format!(
                    "recorder {id} is one too many: {there} are there, among them those that are being removed; remove some, wait for removals to end \
                     (`stop_and_remove`, `MetricsRuntime::flush`), or give the runtime a higher `recorder_limit`"
                );
                Err(Error::new(ErrorKind::LimitReached, message))
            }
        }
    }

    pub(crate) fn find(&self, id: &RecorderId) -> Option<Arc<dyn Hosted>> {
        self.read()?.recorders.get(id).map(Arc::clone)
    }

    /// Every recorder, in the order in which they were entered.
    pub(crate) fn all(&self) -> Vec<Arc<dyn Hosted>> {
        let Some(state) = self.read() else { return Vec::new() };
        let mut all = Vec::with_capacity(state.recorders.len());
        let mut ahead = state.recorders.iter().skip(AHEAD);
        for recorder in state.recorders.iter() {
            ahead.next().into_iter().for_each(fetch_count);
            all.push(Arc::clone(recorder));
        }
        all
    }

    /// Ends such a list: of very many recorders, the counts are in nobody's cache any more.
    pub(crate) fn give_back(mut list: Vec<Arc<dyn Hosted>>) {
        while let Some(recorder) = list.pop() {
            list.len().checked_sub(AHEAD).and_then(|at| list.get(at)).into_iter().for_each(fetch_count);
            drop(recorder);
        }
    }

    /// How many recorders found no room.
    pub(crate) fn refused(&self) -> u64 {
        self.read().map_or(0, |state| state.refused)
    }

    /// What it takes on the heap, without the recorders.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.read().map_or(0, |state| state.recorders.heap_bytes())
    }

    /// Nothing in a child that was forked off while one of its parent's threads was in here.
    fn read(&self) -> Option<MutexGuard<'_, State>> {
        if self.born.is_elsewhere() { self.state.try_lock() } else { Some(self.state.lock()) }
    }

    /// Begins a removal: the recorder, for the one caller who removes it.
    pub(crate) fn begin_removal(&self, id: &RecorderId) -> Result<Arc<dyn Hosted>, Error> {
        let state = self.state.lock();
        match state.recorders.get(id) {
            // Under the lock, as everything that decides who is here.
            Some(recorder) if recorder.begin_leaving() => Ok(Arc::clone(recorder)),
            _ => Err(not_found(id)),
        }
    }

    /// Begins the removal of this very recorder, for the one caller who removes it: its id may be another's by now.
    ///
    /// Without a look at the names: it is among them until whoever has begun its removal ends it.
    pub(crate) fn begin_removal_of(&self, recorder: &dyn Hosted) -> Result<(), Error> {
        if recorder.begin_leaving() { Ok(()) } else { Err(not_found(&recorder.identity().id)) }
    }

    /// Ends a removal: the id is free.
    ///
    /// What it gives back is to be dropped outside of every lock: it may be the last owner of a user's metrics.
    pub(crate) fn end_removal(&self, recorder: &Arc<dyn Hosted>) -> Option<Arc<dyn Hosted>> {
        let held = recorder.calls().now().is_some().then(|| Arc::downgrade(recorder));
        let mut state = self.state.lock();
        state.held = held.or(state.held.take());
        state.recorders.remove(&recorder.identity().id)
    }

    /// The recorder that is in user code at this moment, if one is.
    pub(crate) fn find_busy(&self) -> Option<Arc<dyn Hosted>> {
        let is_busy = |recorder: &&Arc<dyn Hosted>| recorder.calls().now().is_some();
        let state = self.state.lock();
        let found = state.recorders.iter().find(is_busy).map(Arc::clone);
        let held = state.held.clone();
        drop(state);
        // Out of the lock: this may have become its last owner.
        found.or_else(|| held.and_then(|held| held.upgrade()).filter(|held| is_busy(&held)))
    }

    /// Takes no more recorders; those there are, in the order of creation.
    pub(crate) fn close(&self) -> Vec<Arc<dyn Hosted>> {
        self.state.lock().closed = true;
        self.all()
    }
}

/// Asks for the count of a recorder's owners, which is before the recorder itself.
fn fetch_count(recorder: &Arc<dyn Hosted>) {
    fetch_for_write(Arc::as_ptr(recorder).cast::<u64>().wrapping_sub(1));
}

pub(crate) fn not_found(id: &RecorderId) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no recorder {id}; create it first, or check the id"))
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock();
        f.debug_struct("Registry")
            .field("recorders", &state.recorders.len())
            .field("closed", &state.closed)
            .finish()
    }
}
