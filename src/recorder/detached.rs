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
use crate::recorder::state::RecorderState;
use crate::sync::own_thread;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
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
        let task = RecorderTask {
            recorder: Arc::clone(&node) as Arc<dyn Hosted>,
            hub: home.hub,
            hooks,
            // Not alone: the other tasks of its executor wait, so that a turn ends after its events.
            desk: Desk { clock: home.clock, now, alone: false },
            again: false,
            over: false,
        };
        Ok((Recorder::new(node), task))
    }
}

/// Drains a detached recorder: a future for any executor, done when the recorder has stopped.
///
/// # Cancel safety
///
/// Dropping it closes the recorder; what was accepted and not processed is counted as `dropped.removed`.
#[must_use = "a detached recorder is drained while its task is polled"]
pub struct RecorderTask {
    recorder: Arc<dyn Hosted>,
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
                Arc::clone(&self.recorder).launch(phase);
            }
        }
        false
    }
}

impl Future for RecorderTask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let _own = own_thread::borrow();
        self.hub.attach(context.waker());
        loop {
            let idle = self.work();
            let now = self.desk.clock.now();
            if self.hooks.poll(context, now) {
                // A hook has ended, and its recorder is on the list again.
                continue;
            }
            if self.recorder.state() == RecorderState::Stopped && idle {
                self.over = true;
                self.recorder.retire();
                self.tell_the_last();
                return Poll::Ready(());
            }
            if !idle {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            if self.hub.try_sleep() {
                return Poll::Pending;
            }
        }
    }
}

impl Drop for RecorderTask {
    fn drop(&mut self) {
        if !self.over {
            self.recorder.abandon(Abandonment::Removed);
            self.recorder.retire();
            self.tell_the_last();
        }
    }
}

impl fmt::Debug for RecorderTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecorderTask").field("recorder", &self.recorder.identity().id).finish()
    }
}
