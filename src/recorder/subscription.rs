//! Changes for code that awaits them: told by the worker, kept up to a bound, received on any executor or none.

use crate::model::event::MetricEvent;
use crate::model::limits;
use crate::model::name::MetricName;
use crate::model::name::RecorderId;
use crate::model::snapshot::Descriptor;
use crate::queue::HandOff;
use crate::queue::Handed;
use crate::queue::Kind;
use crate::queue::Rest;
use crate::queue::drop_quietly;
use crate::queue::ring::Refused;
use crate::recorder::core::Asks;
use crate::recorder::handle::Recorder;
use crate::recorder::hosted::Hosted;
use crate::recorder::identity::Identity;
use crate::recorder::observers::ObserverId;
use crate::recorder::operation::Operation;
use crate::recorder::operation::WakeOnDrop;
use crate::sync::Exclusive;
use crate::sync::atomic::AtomicU64;
use crate::sync::atomic::Ordering;
use crate::sync::seeded;
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::Weak;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;

/// One metric has accepted one event; received from a [`Subscription`]. `Clone` costs two increments.
#[derive(Clone, PartialEq)]
pub struct ChangeNotice {
    recorder: RecorderId,
    metric: Arc<Descriptor>,
    sequence: u64,
}

impl ChangeNotice {
    /// The id of the recorder whose metric changed.
    pub fn recorder(&self) -> &RecorderId {
        &self.recorder
    }

    /// The name of the metric that changed.
    pub fn metric_name(&self) -> &MetricName {
        self.metric.name()
    }

    /// The number of the event among all that the recorder dispatched, from 1.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }
}

impl fmt::Debug for ChangeNotice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChangeNotice")
            .field("recorder", &self.recorder)
            .field("metric", self.metric_name())
            .field("sequence", &self.sequence)
            .finish()
    }
}

/// The changes of one recorder, in order, for one receiver; made by [`Recorder::subscribe`].
///
/// The worker never waits for it. While as many changes wait as its capacity, later ones are left out and counted in
/// [`missed`](Self::missed): what waits is older than what was missed. A change is told before it is published: a receiver that flushes
/// after the last waiting change, and then takes a snapshot, sees what all of them came to, the missed ones included. Dropping it
/// unsubscribes.
///
/// It ends when the recorder was removed, or its runtime shut down or its task dropped, and every waiting change was received. A stop
/// does not end it: the recorder may be started again.
///
/// # Examples
///
/// Without an executor, several recorders in one place:
///
/// ```
/// # use mvx_metrics::prelude::*;
/// use std::time::Duration;
/// # struct Saved; impl MetricEvent for Saved { fn event_type(&self) -> &'static str { "saved" } }
/// # fn main() -> Result<(), mvx_metrics::Error> {
/// let patience = Duration::from_secs(5);
/// let runtime = MetricsRuntime::builder("docs").build()?;
/// runtime.start()?;
/// let make = |id: &str| runtime.recorder::<Saved>(id).counter("document.saves", |c| c).create();
/// let recorders = [make("left")?, make("right")?];
/// let mut subscriptions = recorders.each_ref().map(|recorder| recorder.subscribe(16));
/// for (recorder, subscription) in recorders.iter().zip(&subscriptions) {
///     subscription.begun().wait(patience)?;
///     recorder.register_event(Saved);
///     recorder.flush_blocking(patience)?;
/// }
/// let changed: Vec<_> = subscriptions.iter_mut().filter_map(|subscription| subscription.try_recv()).collect();
/// assert_eq!(changed.iter().map(|change| change.recorder().as_str()).collect::<Vec<_>>(), ["left", "right"]);
///
/// runtime.shutdown(patience)?;
/// assert!(subscriptions.iter().all(|subscription| subscription.is_ended()));
/// # Ok(())
/// # }
/// ```
#[must_use = "dropping a subscription ends it"]
pub struct Subscription {
    channel: Arc<Channel>,
    identity: Arc<Identity>,
    id: ObserverId,
    begun: Operation,
    /// Weak: a subscription does not keep its recorder.
    source: Weak<dyn Hosted>,
}

/// What worker and receiver share: the events' own ring, in which a subscription is the consumer.
///
/// The receiver's sleep is the IDLE bit of the ring's word, as the models `hand_off` and `subscription` have it: the receiver stores its waker, then rests;
/// whoever clears IDLE (the worker by a change, the end by closing) takes the waker. Both take it by a claim that never waits. A claim
/// fails only against the other side: the worker's, because the receiver is about to rest and will be refused, since the change
/// stands in the word; the receiver's, because it is being woken.
pub(crate) struct Channel {
    changes: HandOff<Told, ()>,
    waker: Exclusive<Option<Waker>>,
    missed: AtomicU64,
}

struct Told {
    metric: Arc<Descriptor>,
    sequence: u64,
}

/// How the receiver's try to sleep went.
pub(crate) enum Repose {
    Asleep,
    Again,
    Ended,
}

impl Channel {
    pub(crate) fn new(capacity: u32) -> Self {
        Self {
            changes: HandOff::new(Kind::Ring, u64::from(capacity), ()),
            waker: Exclusive::new(None),
            missed: AtomicU64::new(0),
        }
    }

    /// Called by the worker.
    pub(crate) fn tell(&self, metric: &Arc<Descriptor>, sequence: u64) {
        match self.changes.push(Told { metric: Arc::clone(metric), sequence }) {
            Ok(handed) => self.wake_if(handed),
            Err((Refused::Full, _)) => {
                self.missed.fetch_add(1, Ordering::Release);
            }
            // It has ended, and nobody receives; or this is a child without a worker, where nobody tells.
            Err((Refused::Closed, _)) => {}
        }
    }

    /// Nothing is told from now on; whoever waits is woken.
    pub(crate) fn close(&self) {
        let handed = self.changes.close().1;
        self.wake_if(handed);
    }

    fn wake_if(&self, handed: Handed) {
        if handed == Handed::Schedule {
            let waker = self.waker.claim().and_then(|mut waker| waker.take());
            drop_quietly(WakeOnDrop(waker));
        }
    }

    pub(crate) fn missed(&self) -> u64 {
        self.missed.load(Ordering::Acquire)
    }

    pub(crate) fn take(&self) -> Option<(Arc<Descriptor>, u64)> {
        let take = |mut consumer: crate::queue::Consumer<'_, Told>, _: &mut ()| {
            let told = consumer.run(1).get(0).map(|told| (Arc::clone(&told.metric), told.sequence));
            if told.is_some() {
                // Nobody abandons this queue, so this cannot fail.
                let _ = consumer.finish(1);
            }
            told
        };
        self.changes.sit(take).flatten()
    }

    /// Called by the receiver when it has found nothing.
    pub(crate) fn rest(&self, waker: &Waker) -> Repose {
        let fresh = waker.clone();
        // Seeded: what comes between the rest and the waker wakes nobody.
        let early = seeded("waker_after_rest").then(|| self.try_rest());
        let Some(mut place) = self.waker.claim() else {
            // It is being woken at this moment: look again, after the executor's other tasks.
            waker.wake_by_ref();
            return Repose::Asleep;
        };
        let old = place.replace(fresh);
        drop(place);
        drop(old);
        let rest = early.unwrap_or_else(|| self.try_rest());
        match rest {
            // Behind a shut door the numbers are final; a change may have come with it since the rest.
            Some(Rest::Idle) if self.is_ended() => Repose::Ended,
            Some(Rest::Idle) if self.changes.is_closed() => Repose::Again,
            Some(Rest::Idle) => Repose::Asleep,
            Some(Rest::Stalled) => {
                // The worker is just writing the change, and will not wake anybody for it.
                waker.wake_by_ref();
                Repose::Asleep
            }
            Some(Rest::Busy) | None => Repose::Again,
        }
    }

    fn try_rest(&self) -> Option<Rest> {
        self.changes.sit(|mut consumer, _| {
            let rest = consumer.rest();
            if rest == Rest::Busy {
                consumer.take_kick();
            }
            rest
        })
    }

    fn is_ended(&self) -> bool {
        // The door before the numbers: behind a shut door they are final.
        let closed = self.changes.is_closed();
        let counts = self.changes.counts();
        closed && counts.accepted == counts.committed
    }
}

/// The duty to end a subscription, kept in the recorder's mailbox: whoever takes the mailbox away ends it.
pub(crate) struct Ending {
    id: ObserverId,
    channel: Arc<Channel>,
}

impl Ending {
    pub(crate) fn id(&self) -> ObserverId {
        self.id
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.channel.close();
    }
}

impl Subscription {
    /// The next change, as soon as there is one; `None` when the subscription has ended.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no change.
    pub async fn recv(&mut self) -> Option<ChangeNotice> {
        poll_fn(|context| self.poll_recv(context)).await
    }

    /// [`recv`](Self::recv), for code that polls by hand or writes a stream of its own. The last task that polled is woken.
    pub fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<Option<ChangeNotice>> {
        loop {
            if let Some(notice) = self.try_recv() {
                return Poll::Ready(Some(notice));
            }
            match self.channel.rest(context.waker()) {
                Repose::Asleep => return Poll::Pending,
                Repose::Ended => return Poll::Ready(None),
                Repose::Again => {}
            }
        }
    }

    /// The next change, if one waits. Never waits itself; works on any thread.
    pub fn try_recv(&mut self) -> Option<ChangeNotice> {
        let (metric, sequence) = self.channel.take()?;
        Some(ChangeNotice { recorder: self.identity.id.clone(), metric, sequence })
    }

    /// How many changes were left out because as many as the capacity waited.
    ///
    /// Exact: what was received, what waits and what was missed add up to the changes since the subscription [began](Self::begun).
    pub fn missed(&self) -> u64 {
        self.channel.missed()
    }

    /// How many changes may wait.
    pub fn capacity(&self) -> u64 {
        self.channel.changes.capacity()
    }

    /// The beginning: when the operation is over, the changes of every event registered from then on are told or counted as missed.
    ///
    /// Events registered before, and not dispatched yet, may be told as well.
    ///
    /// # Errors
    ///
    /// The operation ends in [`ErrorKind::InvalidState`](crate::ErrorKind::InvalidState) if the recorder was removed or its runtime is
    /// gone: then the subscription has ended, too.
    pub fn begun(&self) -> Operation {
        self.begun.clone()
    }

    /// Whether it has ended: nothing waits, and nothing comes.
    pub fn is_ended(&self) -> bool {
        self.channel.is_ended()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        // Taken out of the recorder's mailbox, its end closes it. No recorder: then the end has come before.
        if let Some(source) = self.source.upgrade() {
            source.unsubscribe(self.id);
        }
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("recorder", &self.identity.id)
            .field("missed", &self.missed())
            .field("ended", &self.is_ended())
            .finish()
    }
}

impl<E: MetricEvent> Recorder<E> {
    /// Subscribes to the recorder's changes: each accepted event of each metric is one [`ChangeNotice`], received by async code on any
    /// executor, or by hand.
    ///
    /// At most `changes` wait, from 1 to [`MAX_CAPACITY`](crate::limits::MAX_CAPACITY); a number outside is taken as the nearest of these.
    /// Costs no memory until used. See [`Subscription`] for what happens to more. As with observers, the events of a recorder with
    /// subscriptions are dispatched one by one, which costs the worker more; other recorders pay nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// # use mvx_metrics::prelude::*;
    /// # struct Saved; impl MetricEvent for Saved { fn event_type(&self) -> &'static str { "saved" } }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), mvx_metrics::Error> {
    /// let runtime = MetricsRuntime::builder("docs").build()?;
    /// runtime.start()?;
    /// let recorder = runtime.recorder::<Saved>("storage").counter("document.saves", |c| c).create()?;
    /// let mut changes = recorder.subscribe(2);
    /// changes.begun().await?;
    /// for _ in 0..3 {
    ///     recorder.register_event(Saved);
    /// }
    /// recorder.flush().await?;
    /// let first = changes.recv().await.expect("not ended");
    /// assert_eq!((first.recorder().as_str(), first.metric_name().as_str()), ("storage", "document.saves"));
    /// assert_eq!(first.sequence(), 1);
    /// assert_eq!(changes.try_recv().map(|second| second.sequence()), Some(2));
    /// assert_eq!((changes.try_recv(), changes.missed()), (None, 1)); // there was no room for the third
    /// # Ok(())
    /// # }
    /// ```
    pub fn subscribe(&self, changes: u32) -> Subscription {
        let channel = Arc::new(Channel::new(changes.clamp(1, limits::MAX_CAPACITY)));
        let id = self.node.next_observer_id();
        let told = Arc::clone(&channel);
        let ending = Ending { id, channel: Arc::clone(&channel) };
        let begun = self
            .node
            .subscribe(ending, Box::new(move |change| told.tell(change.descriptor(), change.sequence())));
        let identity = Arc::clone(self.node.identity());
        let source: Weak<dyn Hosted> = Arc::downgrade(&(Arc::clone(&self.node) as Arc<dyn Hosted>));
        Subscription { channel, identity, id, begun, source }
    }
}

#[cfg(test)]
#[cfg(not(mvx_loom))]
#[cfg(not(mvx_loom))]
mod tests {
    use super::*;
    use std::pin::pin;

    struct Step;

    impl MetricEvent for Step {
        fn event_type(&self) -> &'static str {
            "step"
        }
    }

    #[test]
    fn dropping_a_subscription_leaves_nothing_of_it_with_the_recorder() {
        let (recorder, task) =
            Recorder::<Step>::detached("storage").counter("steps", |c| c).create().unwrap();
        let mut task = pin!(task);
        let mut work = || assert!(task.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        let (dropped, mut kept) = (recorder.subscribe(1), recorder.subscribe(2));
        let channel = Arc::downgrade(&dropped.channel);
        work();
        assert_eq!(channel.strong_count(), 3);
        drop(dropped);
        work();
        assert_eq!(channel.strong_count(), 0);
        recorder.register_event(Step);
        work();
        assert_eq!(kept.try_recv().map(|notice| notice.sequence()), Some(1));
        assert!(!kept.is_ended());
    }

    #[test]
    fn thousands_dropped_before_one_turn_of_their_recorder_are_all_forgotten() {
        let (recorder, task) =
            Recorder::<Step>::detached("storage").counter("steps", |c| c).create().unwrap();
        let mut task = pin!(task);
        let subscriptions: Vec<_> = (0..3_000).map(|_| recorder.subscribe(1)).collect();
        let channels: Vec<_> = subscriptions.iter().map(|one| Arc::downgrade(&one.channel)).collect();
        assert!(subscriptions.iter().all(|one| !one.is_ended()));
        drop(subscriptions);
        assert!(task.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert_eq!(channels.iter().filter(|channel| channel.strong_count() > 0).count(), 0);
    }

    #[test]
    fn a_subscription_does_not_keep_its_recorder_and_may_outlive_it() {
        let (recorder, task) =
            Recorder::<Step>::detached("storage").counter("steps", |c| c).create().unwrap();
        let node = Arc::downgrade(&recorder.node);
        let mut subscription = recorder.subscribe(1);
        drop((recorder, task));
        assert!(node.upgrade().is_none());
        assert!(subscription.is_ended() && subscription.try_recv().is_none());
    }

    #[test]
    fn a_receiver_that_is_being_woken_while_it_registers_is_woken_again() {
        let channel = Channel::new(1);
        let held = channel.waker.claim().unwrap();
        struct Count(AtomicU64);
        impl std::task::Wake for Count {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::AcqRel);
            }
        }
        let count = Arc::new(Count(AtomicU64::new(0)));
        let waker = Waker::from(Arc::clone(&count));
        assert!(matches!(channel.rest(&waker), Repose::Asleep));
        assert_eq!(count.0.load(Ordering::Acquire), 1);
        drop(held);
        assert!(matches!(channel.rest(&waker), Repose::Asleep));
        assert_eq!(count.0.load(Ordering::Acquire), 1);
        channel.close();
        assert_eq!(count.0.load(Ordering::Acquire), 2);
        assert!(matches!(channel.rest(&waker), Repose::Again));
        assert!(matches!(channel.rest(&waker), Repose::Ended));
    }
}
