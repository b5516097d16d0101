//! The worker: one thread, one tokio loop, one task that gives recorders their turns.
//!
//! ```text
//!   ready list --take--> queue of turns --turn--> idle | more (back of the queue) | stalled (after a moment)
//!   turned and dirty --> publication pass, at most a tenth of the time
//!   nothing to do    --> a few naps (events wait for the worker), then sleep (the next event wakes it)
//! ```

use crate::model::clock::Clock;
use crate::model::clock::Timestamp;
use crate::model::limits;
use crate::recorder::hosted::Desk;
use crate::recorder::hosted::FETCHES;
use crate::recorder::hosted::Hosted;
use crate::recorder::hosted::Next;
use crate::recorder::hub::Hub;
use crate::recorder::journal::Journal;
use crate::sync::atomic::AtomicBool;
use crate::sync::atomic::AtomicU64;
use crate::sync::atomic::AtomicUsize;
use crate::sync::atomic::Ordering;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::task::Waker;
use std::time::Duration;

/// What the worker shares with the runtime's handles.
#[derive(Debug)]
pub(crate) struct Control {
    pub(crate) hub: Arc<Hub>,
    exit: AtomicBool,
    /// Lifecycle hooks that run beside the worker's task on its loop.
    hooks: Arc<AtomicUsize>,
    /// Nanoseconds from the last publication pass to the next: a figure for reports, so relaxed.
    publication_interval: AtomicU64,
    /// Recorders removed so far: what tells the worker to let go of those it still holds.
    removals: AtomicU64,
}

impl Control {
    pub(crate) fn new(journal: Journal) -> Self {
        Self {
            hub: Arc::new(Hub::new(journal)),
            exit: AtomicBool::new(false),
            hooks: Arc::default(),
            publication_interval: AtomicU64::new(limits::PUBLISH_INTERVAL.as_nanos() as u64),
            removals: AtomicU64::new(0),
        }
    }

    /// Tells the worker to end: every event is settled or given up, and whoever waits is answered by somebody else.
    pub(crate) fn end(&self) {
        self.exit.store(true, Ordering::Release);
        self.hub.hurry();
    }

    pub(crate) fn publication_interval(&self) -> Duration {
        Duration::from_nanos(self.publication_interval.load(Ordering::Relaxed))
    }

    /// A recorder is out of the registry.
    pub(crate) fn note_removal(&self) {
        self.removals.fetch_add(1, Ordering::Release);
    }

    /// The count of hooks under way, for whoever runs them.
    pub(crate) fn hooks(&self) -> &Arc<AtomicUsize> {
        &self.hooks
    }

    /// Whether the loop has other tasks than the worker's.
    fn is_shared(&self) -> bool {
        self.hooks.load(Ordering::Acquire) > 0
    }

    fn is_ending(&self) -> bool {
        self.exit.load(Ordering::Acquire)
    }
}

/// The worker's whole state; nobody else sees any of it.
pub(crate) struct Worker {
    control: Arc<Control>,
    desk: Desk,
    turns: VecDeque<Arc<dyn Hosted>>,
    /// For how many of the next turns memory was asked for.
    foreseen: usize,
    stalled: Vec<Arc<dyn Hosted>>,
    dirty: Vec<Arc<dyn Hosted>>,
    /// Recorders with memory to release once they have been idle for a while.
    fed: VecDeque<Arc<dyn Hosted>>,
    /// How many of them this pass has looked at.
    looked_at: usize,
    /// The removals that `fed` was rid of.
    swept: u64,
    taken: Vec<Arc<dyn Hosted>>,
    publish_from: Timestamp,
    release_from: Timestamp,
    /// Naps since there was last something to do.
    naps: u32,
    attended: Option<Box<dyn FnOnce()>>,
}

/// What to do next, decided apart from doing it, so that the whole table is one test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Turn,
    Publish,
    Release,
    Rest(Repose),
}

/// How the worker rests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Repose {
    Nap(Duration),
    Sleep(Option<Duration>),
}

/// All that the decision depends on.
#[derive(Clone, Copy, Debug)]
struct Outlook {
    now: Timestamp,
    turns: bool,
    stalled: bool,
    dirty: bool,
    publish_from: Timestamp,
    fed: bool,
    release_from: Timestamp,
    naps: u32,
}

impl Worker {
    /// `attended` is called once, when whatever is scheduled from then on is seen.
    /// `now` is the clock's first look: whoever makes a worker has something better to do than to unwind if that panics.
    pub(crate) fn new(
        control: Arc<Control>,
        clock: Arc<dyn Clock>,
        now: Timestamp,
        attended: impl FnOnce() + 'static,
    ) -> Self {
        Self {
            control,
            desk: Desk { clock, now, alone: true },
            turns: VecDeque::new(),
            foreseen: 0,
            stalled: Vec::new(),
            dirty: Vec::new(),
            fed: VecDeque::new(),
            looked_at: 0,
            swept: 0,
            taken: Vec::new(),
            publish_from: now,
            release_from: now,
            naps: 0,
            attended: Some(Box::new(attended)),
        }
    }

    /// Runs until it is told to end.
    pub(crate) async fn run(mut self) {
        poll_fn(|context| {
            self.attend(context.waker());
            Poll::Ready(())
        })
        .await;
        // It is told to end when every event is settled or given up: whoever goes on asking must not keep it busy for ever.
        while !self.control.is_ending() {
            match self.advance() {
                None if self.control.is_shared() => tokio::task::yield_now().await,
                None => {}
                // A nap would hold the loop, and with it the hooks: the same rest is taken in the loop.
                Some(Repose::Nap(time)) if self.control.is_shared() => self.doze(time).await,
                Some(Repose::Nap(time)) => self.nap(time),
                Some(Repose::Sleep(until)) => self.sleep(until).await,
            }
        }
        self.publish();
    }

    /// Takes its place: whatever is scheduled from now on is seen.
    pub(crate) fn attend(&mut self, waker: &Waker) {
        self.control.hub.attach(waker);
        self.control.hub.attach_thread();
        if let Some(attended) = self.attended.take() {
            attended();
        }
    }

    /// One step of work; or, when there is none, how to rest.
    fn advance(&mut self) -> Option<Repose> {
        self.collect();
        match next_step(&self.outlook()) {
            Step::Turn => self.turn(),
            Step::Publish => self.publish(),
            Step::Release => self.release(),
            Step::Rest(repose) => return Some(repose),
        }
        None
    }

    /// Works until there is nothing more to do at this time, and publishes it: for a worker that is stepped by hand.
    #[cfg(feature = "testing")]
    pub(crate) fn work_off(&mut self) {
        loop {
            while self.advance().is_none() {}
            self.turns.extend(self.stalled.drain(..));
            if self.turns.is_empty() && self.control.hub.is_empty() {
                break;
            }
        }
        self.publish();
    }

    fn outlook(&mut self) -> Outlook {
        let turns = !self.turns.is_empty();
        if !turns {
            self.desk.now = self.desk.clock.now();
        }
        self.keep_within_reach();
        Outlook {
            now: self.desk.now,
            turns,
            stalled: !self.stalled.is_empty(),
            dirty: !self.dirty.is_empty(),
            publish_from: self.publish_from,
            fed: !self.fed.is_empty(),
            release_from: self.release_from,
            naps: self.naps,
        }
    }

    /// A clock that was set back puts nothing off for longer than it was put off before.
    fn keep_within_reach(&mut self) {
        let now = self.desk.now;
        self.publish_from = self.publish_from.min(now.saturating_add(self.control.publication_interval()));
        self.release_from = self.release_from.min(now.saturating_add(limits::RELEASE_PASS));
    }

    /// Takes over what has become ready.
    fn collect(&mut self) {
        self.sweep();
        self.control.hub.take(&mut self.taken);
        self.turns.extend(self.taken.drain(..));
    }

    fn turn(&mut self) {
        self.look_ahead();
        let Some(recorder) = self.turns.pop_front() else { return };
        self.foreseen = self.foreseen.saturating_sub(1);
        self.naps = 0;
        self.desk.alone = self.turns.is_empty();
        self.desk.now = self.desk.clock.now();
        let turned = recorder.turn(&mut self.desk);
        if turned.newly_dirty {
            self.dirty.push(Arc::clone(&recorder));
        }
        if turned.newly_fed {
            if self.fed.is_empty() {
                self.release_from = self.desk.now.saturating_add(limits::RELEASE_PASS);
            }
            self.fed.push_back(Arc::clone(&recorder));
        }
        match turned.next {
            Next::Idle | Next::Parked => {}
            Next::Hook(phase) => recorder.launch(phase, &self.desk.clock),
            Next::More => self.turns.push_back(recorder),
            Next::Stalled => return self.stalled.push(recorder),
        }
        // Somebody got on, so time has passed: the stalled may have another look. Stalled ones alone are napped on, not spun on.
        self.turns.extend(self.stalled.drain(..));
    }

    /// Asks for the memory of the next turns, step by step for all of them: what many recorders have is in nobody's cache, and one pointer leads to
    /// another, so a turn by itself waits for each of them in turn.
    fn look_ahead(&mut self) {
        if self.foreseen > 0 || self.turns.len() < 2 {
            return;
        }
        self.foreseen = self.turns.len().min(limits::AHEAD);
        for step in 0..FETCHES {
            self.turns.iter().take(self.foreseen).for_each(|recorder| recorder.fetch(step));
        }
    }

    /// Makes visible what has changed, and puts the next pass off for as long as keeps publication to its share.
    fn publish(&mut self) {
        let started = self.desk.clock.now();
        for recorder in self.dirty.drain(..) {
            recorder.publish(started);
        }
        self.desk.now = self.desk.clock.now();
        let pause = self.desk.now.saturating_since(started).saturating_mul(limits::PUBLISH_PAUSE);
        let interval = pause.max(limits::PUBLISH_INTERVAL);
        let nanos = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
        self.control.publication_interval.store(nanos, Ordering::Relaxed);
        self.publish_from = self.desk.now.saturating_add(interval);
    }

    /// Lets go of recorders that were removed, once they may be half of those that wait for their release: however fast they come and go,
    /// those gone take no more memory than those that stay, and each costs a constant time.
    fn sweep(&mut self) {
        let removals = self.control.removals.load(Ordering::Acquire);
        let many = limits::RELEASE_SLICE.max(self.fed.len() / 2) as u64;
        if removals - self.swept < many {
            return;
        }
        self.swept = removals;
        let last = Timestamp::from_unix_nanos(u64::MAX);
        self.fed.retain(|recorder| !(recorder.is_gone() && recorder.release(last)));
        self.looked_at = 0;
        give_back(&mut self.fed);
    }

    fn release(&mut self) {
        let now = self.desk.now;
        let before = Timestamp::from_unix_nanos(
            now.unix_nanos().saturating_sub(limits::RELEASE_AFTER.as_nanos() as u64),
        );
        for _ in 0..limits::RELEASE_SLICE.min(self.fed.len()) {
            let Some(recorder) = self.fed.pop_front() else { break };
            if !recorder.release(before) {
                self.looked_at += 1;
                self.fed.push_back(recorder);
            }
        }
        if self.looked_at >= self.fed.len() {
            self.looked_at = 0;
            // What very many recorders at once needed is not kept for the few that are left.
            give_back(&mut self.fed);
            give_back(&mut self.turns);
            self.release_from = now.saturating_add(limits::RELEASE_PASS);
        }
    }

    /// Rests on the thread's own parker: producers that schedule meanwhile pay for no wake. Commands end it at once.
    fn nap(&mut self, time: Duration) {
        self.naps = self.naps.saturating_add(1);
        if self.control.hub.is_empty() {
            crate::sync::nap(time);
        }
        self.turns.extend(self.stalled.drain(..));
    }

    /// A nap in the loop, while hooks are under way.
    async fn doze(&mut self, time: Duration) {
        self.naps = self.naps.saturating_add(1);
        self.sleep(Some(time)).await;
        self.turns.extend(self.stalled.drain(..));
    }

    /// Sleeps in the loop until something is scheduled, at most for `until`.
    async fn sleep(&mut self, until: Option<Duration>) {
        let hub = Arc::clone(&self.control.hub);
        if !hub.try_sleep() || self.control.is_ending() {
            return;
        }
        let woken = poll_fn(|_| if hub.is_asleep() { Poll::Pending } else { Poll::Ready(()) });
        match until {
            Some(until) => {
                // Either end is the same here: the loop looks again.
                let _ = tokio::time::timeout(until, woken).await;
            }
            None => woken.await,
        }
    }
}

/// Shrinks a list that has become short against its memory.
fn give_back(list: &mut VecDeque<Arc<dyn Hosted>>) {
    if list.capacity() / 4 > list.len().max(limits::RELEASE_SLICE) {
        list.shrink_to(2 * list.len());
    }
}

/// The worker's decision; see [`Step`].
fn next_step(outlook: &Outlook) -> Step {
    // What is in hand is shown together with what is to come in the same moment, but is not kept waiting by those who always have more.
    let wait = if outlook.turns { limits::PUBLISH_LATEST } else { Duration::ZERO };
    let may_publish = outlook.dirty && outlook.now >= outlook.publish_from.saturating_add(wait);
    if may_publish {
        return Step::Publish;
    }
    // At the last instant the next pass is due at once, for ever, and no turn would come: there, memory is kept instead.
    let releases = outlook.fed && outlook.release_from.unix_nanos() < u64::MAX;
    if releases && outlook.now >= outlook.release_from {
        return Step::Release;
    }
    if outlook.turns {
        return Step::Turn;
    }
    if outlook.dirty {
        return nap(outlook.publish_from.saturating_since(outlook.now).min(limits::NAP));
    }
    if outlook.stalled || outlook.naps < limits::NAPS {
        return nap(limits::NAP);
    }
    Step::Rest(Repose::Sleep(releases.then(|| outlook.release_from.saturating_since(outlook.now))))
}

fn nap(time: Duration) -> Step {
    Step::Rest(Repose::Nap(time))
}

#[cfg(test)]
#[cfg(not(mvx_loom))]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_nanos(1_000_000_000);

    fn quiet() -> Outlook {
        Outlook {
            now: NOW,
            turns: false,
            stalled: false,
            dirty: false,
            publish_from: NOW,
            fed: false,
            release_from: NOW,
            naps: limits::NAPS,
        }
    }

    fn sleep(until: Option<Duration>) -> Step {
        Step::Rest(Repose::Sleep(until))
    }

    fn later(micros: u64) -> Timestamp {
        NOW.saturating_add(Duration::from_micros(micros))
    }

    #[test]
    fn nothing_to_do_is_a_sleep_without_a_timer() {
        assert_eq!(next_step(&quiet()), sleep(None));
    }

    #[test]
    fn after_work_the_worker_naps_before_it_sleeps() {
        assert_eq!(next_step(&Outlook { naps: 0, ..quiet() }), nap(limits::NAP));
        assert_eq!(next_step(&Outlook { naps: limits::NAPS - 1, ..quiet() }), nap(limits::NAP));
    }

    #[test]
    fn a_stalled_producer_is_never_slept_on() {
        assert_eq!(next_step(&Outlook { stalled: true, ..quiet() }), nap(limits::NAP));
    }

    #[test]
    fn publication_comes_first_once_its_time_has_come() {
        let due = Outlook { dirty: true, naps: 0, ..quiet() };
        assert_eq!(next_step(&due), Step::Publish);
        assert_eq!(next_step(&Outlook { publish_from: later(1), ..due }), nap(Duration::from_micros(1)));
    }

    #[test]
    fn events_in_hand_are_shown_together_but_do_not_put_publication_off_for_ever() {
        let busy = Outlook { turns: true, dirty: true, publish_from: NOW, ..quiet() };
        assert_eq!(next_step(&busy), Step::Turn);
        assert_eq!(next_step(&Outlook { turns: false, ..busy }), Step::Publish);
        let latest = NOW.saturating_add(limits::PUBLISH_LATEST);
        assert_eq!(next_step(&Outlook { now: latest, ..busy }), Step::Publish);
    }

    #[test]
    fn what_waits_to_be_published_shortens_the_nap() {
        let waiting = Outlook { dirty: true, publish_from: later(50), ..quiet() };
        assert_eq!(next_step(&waiting), nap(Duration::from_micros(50)));
    }

    #[test]
    fn memory_is_released_between_work_and_bounds_the_sleep_before_it_is_due() {
        let fed = Outlook { fed: true, ..quiet() };
        assert_eq!(next_step(&fed), Step::Release);
        assert_eq!(next_step(&Outlook { turns: true, ..fed }), Step::Release);
        let last = Timestamp::from_unix_nanos(u64::MAX);
        let at_the_end = Outlook { now: last, release_from: last, ..fed };
        assert_eq!(next_step(&Outlook { turns: true, ..at_the_end }), Step::Turn);
        assert_eq!(next_step(&Outlook { naps: limits::NAPS, ..at_the_end }), Step::Rest(Repose::Sleep(None)));
        let early = Outlook { release_from: later(200), ..fed };
        assert_eq!(next_step(&early), sleep(Some(Duration::from_micros(200))));
    }
}
