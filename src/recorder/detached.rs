//! A recorder without a runtime: the caller's own executor polls what a worker would do.

use crate::model::clock::Clock;
use crate::model::clock::SystemClock;
use crate::model::error::Error;
use crate::model::event::MetricEvent;
use crate::model::limits;
use crate::model::policy::OverflowPolicy;
use crate::recorder::builder::Home;
use crate::recorder::builder::RecorderBuilder;
use crate::recorder::core::CoreNode;
use crate::recorder::factory::NewRecorder;
use crate::recorder::factory::RecorderHooks;
use crate::recorder::handle::Recorder;
use crate::recorder::hooks::Inline;
use crate::recorder::hosted::Abandonment;
use crate::recorder::hosted::Desk;
use crate::recorder::hosted::Hosted;
use crate::recorder::hosted::Next;
use crate::recorder::hub::Hub;
use crate::recorder::identity::Epoch;
use crate::recorder::journal::Journal;
use crate::recorder::journal::Listeners;
use crate::recorder::operation::Operation;
use crate::sync::own_thread;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Weak;
use std::task::Context;
use std::task::Poll;

/// Turns a detached recorder takes in one poll before it lets other tasks of its executor run.
const TURNS_PER_POLL: u32 = 16;

/// The home of a recorder that lives by itself.
#[derive(Debug)]
pub struct Detached {
    hub: Arc<Hub>,
    clock: Arc<dyn Clock>,
}

impl Home for Detached {
    fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    fn hooks_for(&self, _recorder: &NewRecorder<'_>) -> Result<RecorderHooks, Error> {
        Ok(RecorderHooks::none())
    }

    fn next_epoch(&self) -> Epoch {
        Epoch { process_start: self.clock.now(), incarnation: 1 }
    }
}

impl<E: MetricEvent> Recorder<E> {
    /// A builder for a recorder without a runtime; its `create` gives the handle and the task that drains it.
    ///
    /// Hand-off, order, accounts and snapshots are those of any recorder; flush and stop come true while the task is polled.
    ///
    /// # Examples
    ///
    /// ```
    /// use mvx_metrics::prelude::*;
    ///
    /// # struct Saved; impl MetricEvent for Saved { fn event_type(&self) -> &'static str { "saved" } }
    /// #[tokio::main(flavor = "current_thread")]
    /// async fn main() -> Result<(), mvx_metrics::Error> {
    ///     let (recorder, task) = Recorder::<Saved>::detached("storage").counter("document.saves", |c| c).create()?;
    ///     let running = tokio::spawn(task);
    ///     recorder.register_event(Saved);
    ///     recorder.flush().await?;
    ///     assert_eq!(recorder.snapshot().counter("document.saves", &[]), Some(1));
    ///
    ///     recorder.stop().await?;
    ///     running.await.expect("the task ends when its recorder has stopped");
    ///     assert_eq!(recorder.snapshot().counter("document.saves", &[]), Some(1));
    ///     Ok(())
    /// }
    /// ```
    pub fn detached(id: &str) -> RecorderBuilder<E, Detached> {
        let journal = Journal::new(None, Listeners::default());
        let home = Detached { hub: Arc::new(Hub::new(journal)), clock: Arc::new(SystemClock::new()) };
        RecorderBuilder::new(home, id, limits::DEFAULT_CAPACITY, OverflowPolicy::default())
    }
}

impl<E: MetricEvent> RecorderBuilder<E, Detached> {
    /// Where the recorder's time comes from.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.home.clock = Arc::new(clock);
        self
    }

    /// The recorder, and the task that does its work: spawn it where you like.
    ///
    /// # Errors
    ///
    /// The first mistake of the definition; [`InvalidId`](crate::ErrorKind::InvalidId),
    /// [`InvalidLimit`](crate::ErrorKind::InvalidLimit).
    pub fn create(self) -> Result<(Recorder<E>, RecorderTask), Error> {
        let home = Detached { hub: Arc::clone(&self.home.hub), clock: Arc::clone(&self.home.clock) };
        let node: Arc<CoreNode<E>> = self.assemble(&home, |_| Ok(()))?;
        // The task exists from here on: a flush before its first poll waits for it, and is answered if it is dropped.
        home.hub.announce();
        let hooks = Arc::new(Inline::default());
        home.hub.employ(Arc::clone(&hooks) as _);
        let now = home.clock.now();
        let keeper = Arc::new(Keeper { hub: Arc::clone(&home.hub) });
        let task = RecorderTask {
            recorder: Arc::clone(&node) as Arc<dyn Hosted>,
            handles: Arc::downgrade(&keeper),
            let_go: false,
            hub: home.hub,
            hooks,
            // Not alone: the other tasks of its executor wait, so that a turn ends after its events.
            desk: Desk { clock: home.clock, now, alone: false },
            again: false,
            over: false,
        };
        Ok((Recorder::kept(node, keeper), task))
    }
}

/// Held by the handles of a detached recorder: the last of them wakes its task, which has nobody left to work for.
pub(crate) struct Keeper {
    hub: Arc<Hub>,
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if self.hub.is_forked() {
            return;
        }
        self.hub.hurry();
    }
}

/// Drains a detached recorder: a future for any executor, done when the recorder has stopped.
///
/// A recorder whose start has failed can be started again, so its task goes on; [`Recorder::stop`] ends it, too. Once the last handle
/// is dropped the task stops the recorder by itself: what was accepted is processed, and the task is done. From its end on nothing
/// starts the recorder again.
///
/// # Cancel safety
///
/// Dropping it closes the recorder; what was accepted and not processed is counted as `dropped.removed`.
#[must_use = "a detached recorder is drained while its task is polled"]
pub struct RecorderTask {
    recorder: Arc<dyn Hosted>,
    handles: Weak<Keeper>,
    /// Whether the last handle was seen to be gone.
    let_go: bool,
    hub: Arc<Hub>,
    hooks: Arc<Inline>,
    desk: Desk,
    /// The recorder is busy and on no list: this task owes it the next turn.
    again: bool,
    over: bool,
}

impl RecorderTask {
    fn tell_the_last(&self) {
        self.recorder.last_look().into_iter().for_each(|incident| self.hub.journal.tell(incident));
    }

    /// Gives turns until there is nothing to do (true) or the executor's other tasks are due (false).
    fn work(&mut self) -> bool {
        let mut ready = Vec::new();
        for _ in 0..TURNS_PER_POLL {
            self.hub.take(&mut ready);
            if ready.is_empty() && !self.again {
                return true;
            }
            ready.clear();
            self.desk.now = self.desk.clock.now();
            let turned = self.recorder.turn(&mut self.desk);
            self.recorder.publish(self.desk.now);
            self.again = matches!(turned.next, Next::More | Next::Stalled);
            if let Next::Hook(phase) = turned.next {
                Arc::clone(&self.recorder).launch(phase, &self.desk.clock);
            }
        }
        false
    }

    /// Stops the recorder when its last handle is gone; true if that is news.
    fn follow_handles(&mut self) -> bool {
        let news = !self.let_go && self.handles.strong_count() == 0;
        if news {
            self.let_go = true;
            let (_, unheard) = Operation::new(None);
            Arc::clone(&self.recorder).stop(unheard);
        }
        news
    }
}

impl Future for RecorderTask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.hub.is_forked() {
            // The copy of a task: the parent's goes on.
            return Poll::Ready(());
        }
        let _own = own_thread::borrow();
        self.hub.attach(context.waker());
        self.follow_handles();
        loop {
            let idle = self.work();
            let now = self.desk.clock.now();
            if self.hooks.poll(context, now) {
                // A hook has ended, and its recorder is on the list again.
                continue;
            }
            if idle && self.hooks.is_idle() && self.recorder.conclude() {
                self.over = true;
                self.recorder.retire();
                self.hub.end();
                self.tell_the_last();
                self.recorder.let_go();
                return Poll::Ready(());
            }
            if !idle {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            // Looked at after falling asleep: a handle dropped before that has found nobody to wake.
            if self.hub.try_sleep() && !self.follow_handles() {
                return Poll::Pending;
            }
        }
    }
}

impl Drop for RecorderTask {
    fn drop(&mut self) {
        if !self.over && !self.hub.is_forked() {
            self.recorder.abandon(Abandonment::Removed);
            self.recorder.retire();
            self.hooks.clear();
            self.hub.end();
            self.tell_the_last();
            self.recorder.let_go();
        }
    }
}

impl fmt::Debug for RecorderTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecorderTask").field("recorder", &self.recorder.identity().id).finish()
    }
}

#[cfg(test)]
#[cfg(not(mvx_loom))]
#[cfg(not(mvx_loom))]
mod tests {
    use super::*;
    use crate::metric::Counter;
    use std::pin::pin;
    use std::task::Waker;

    struct Step;

    impl MetricEvent for Step {
        fn event_type(&self) -> &'static str {
            "step"
        }
    }

    fn create() -> (Recorder<Step>, RecorderTask) {
        Recorder::<Step>::detached("storage").counter("steps", |c| c).create().unwrap()
    }

    /// Asks for everything that makes a worker look.
    fn pester(recorder: &Recorder<Step>) {
        recorder.register_event(Step);
        let metric = Counter::<Step>::builder("late").build().unwrap();
        assert!(recorder.register_metric(metric).result().unwrap().is_err());
        assert!(recorder.stop().result().is_some() && recorder.flush().result().is_some());
        assert!(recorder.start().result().unwrap().is_err());
        assert!(recorder.reinstate("steps").result().unwrap().is_err());
    }

    #[test]
    fn a_recorder_whose_task_was_dropped_goes_with_its_last_handle() {
        let (recorder, task) = create();
        let node = Arc::downgrade(&recorder.node);
        recorder.register_event(Step);
        drop(task);
        pester(&recorder);
        drop(recorder);
        assert_eq!(node.strong_count(), 0);
    }

    #[test]
    fn a_recorder_whose_task_has_ended_goes_with_its_last_handle() {
        let (recorder, task) = create();
        let node = Arc::downgrade(&recorder.node);
        recorder.register_event(Step);
        let stop = recorder.stop();
        let mut task = Box::pin(task);
        assert!(pin!(task.as_mut()).poll(&mut Context::from_waker(Waker::noop())).is_ready());
        assert_eq!(stop.result().map(|result| result.is_ok()), Some(true));
        pester(&recorder);
        drop((recorder, task));
        assert_eq!(node.strong_count(), 0);
    }
}
