//! Commands on their way to the actor, and the answers that are owed.
//!
//! The answers stand here and not with the actor, so that they can be given when user code holds the actor for ever.
//!
//! Everything here is bounded. Changes of the recorder (a metric, an observer) are wanted whether or not their caller waits, so they
//! are refused beyond [`MAX_COMMANDS`](limits::MAX_COMMANDS). An answer that nobody waits for (any more) is dropped when its list
//! has doubled, and beyond [`MAX_WAITING`](limits::MAX_WAITING) awaited ones the next is refused. The deeds themselves (the shut
//! door of a stop, the begun start) are done before their answer is asked for and do not depend on it; a start that waits for a
//! stop is lost by neither, because a list that was ever full or swept is not empty.

use crate::model::error::Error;
use crate::model::heap;
use crate::model::limits;
use crate::recorder::changing::RemovedSeries;
use crate::recorder::dispatch::Slot;
use crate::recorder::observers::ObserverFn;
use crate::recorder::observers::ObserverId;
use crate::recorder::operation::Completer;
use crate::recorder::operation::Operation;
use crate::recorder::quarantine::Quarantined;
use crate::recorder::subscription::Ending;
use crate::recorder::waiting::Waiting;
use crate::sync::seeded;

/// What a handle asks of the actor.
pub(crate) enum Command<E> {
    /// Answer when the first `ticket` events are settled and published.
    Flush { ticket: u64, done: Completer },
    /// Take more metrics, all of them or none; the answer is an error if one of a name and another shape is there.
    Register { slots: Vec<Slot<E>>, done: Completer },
    /// Put metrics into the places of those of their names.
    Replace { slots: Vec<Slot<E>>, done: Completer },
    /// Take a metric out.
    Remove { name: Box<str>, series: RemovedSeries, done: Completer },
    /// Answer when everything accepted is settled; the door is shut already. A removal's or a shutdown's is never refused.
    Stop { done: Completer, for_good: bool },
    /// Answer when the start is over that was asked for.
    Start { done: Completer, asked: Asked },
    /// Tell an observer of every change from now on.
    Observe { id: ObserverId, observer: ObserverFn<E>, done: Completer },
    /// Stop telling an observer.
    Unobserve { id: ObserverId, done: Completer },
    /// Forget a subscription that was dropped. Always finds a place: there are never more of them than there were subscriptions.
    Unsubscribe { id: ObserverId },
    /// Let what was quarantined see events again.
    Reinstate { whom: Quarantined, done: Completer },
    /// Answer when there is room for an event, or never will be.
    Room { done: Completer },
    /// The hook under way has ended. There is one at a time, so it is never refused.
    HookDone { result: Result<(), Error> },
}

impl<E> Command<E> {
    /// Who waits for the answer.
    pub(crate) fn into_done(self) -> Option<Completer> {
        match self {
            Self::Flush { done, .. }
            | Self::Register { done, .. }
            | Self::Replace { done, .. }
            | Self::Remove { done, .. }
            | Self::Stop { done, .. }
            | Self::Start { done, .. }
            | Self::Observe { done, .. }
            | Self::Unobserve { done, .. }
            | Self::Reinstate { done, .. }
            | Self::Room { done } => Some(done),
            Self::Unsubscribe { .. } | Self::HookDone { .. } => None,
        }
    }
}

/// What a start met when it was asked for; a stop may have come since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// A start that it or another began, or that is over: it shares its end.
    Joined,
    /// A stop under way: it starts when that is over.
    AfterStop,
}

/// The mailbox; shut when there is nobody left to obey.
pub(crate) struct Mailbox<E> {
    open: bool,
    /// Made for the first command, and given up when there is none for a while: of many recorders, most have none.
    post: Option<Box<Post<E>>>,
}

/// What lies in a mailbox.
struct Post<E> {
    commands: Vec<Command<E>>,
    /// Starts that the actor has not seen: it finds out whose end they share.
    joining: Waiting,
    after_stop: Waiting,
    owed: Owed,
    /// The subscriptions to end when nobody is left to tell them anything.
    endings: Vec<Ending>,
}

/// Answers owed.
#[derive(Default)]
pub(crate) struct Owed {
    pub(crate) flushes: Waiting<u64>,
    pub(crate) stops: Waiting,
    pub(crate) starts: Waiting,
    /// Starts that wait for the end of a stop.
    pub(crate) restarts: Waiting,
    /// Producers that wait for room, the longest first.
    pub(crate) room: Waiting,
}

/// Whether answers are owed: the actor's note, so that it does not lock the mailbox to learn that there are none.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Owes {
    pub(crate) answers: bool,
    pub(crate) room: bool,
}

/// Answers that nobody waits for, to be dropped outside the lock: their wakers are foreign code.
pub(crate) type Spent = Vec<Completer>;

impl Owed {
    fn note(&self) -> Owes {
        let answers = self.flushes.has_seen()
            || self.stops.has_seen()
            || self.starts.has_seen()
            || self.restarts.has_seen();
        Owes { answers, room: self.room.has_seen() }
    }
}

impl<E> Default for Post<E> {
    fn default() -> Self {
        Self {
            commands: Vec::new(),
            joining: Waiting::default(),
            after_stop: Waiting::default(),
            owed: Owed::default(),
            endings: Vec::new(),
        }
    }
}

impl<E> Post<E> {
    fn is_empty(&self) -> bool {
        let Self { commands, joining, after_stop, owed, endings } = self;
        let Owed { flushes, stops, starts, restarts, room } = owed;
        let waiting = [joining, after_stop, stops, starts, restarts, room];
        let none_waits = flushes.is_empty() && waiting.into_iter().all(Waiting::is_empty);
        none_waits && commands.is_empty() && endings.is_empty()
    }

    fn heap_bytes(&self) -> usize {
        let Self { commands, joining, after_stop, owed, endings } = self;
        let Owed { flushes, stops, starts, restarts, room } = owed;
        let waiting = [joining, after_stop, stops, starts, restarts, room].map(Waiting::heap_bytes);
        let lists = heap::vec(commands) + heap::vec(endings) + waiting.into_iter().sum::<usize>();
        size_of::<Self>() + lists + flushes.heap_bytes()
    }
}

impl<E> Mailbox<E> {
    pub(crate) fn new() -> Self {
        Self { open: true, post: None }
    }

    /// What commands and answers take on the heap where they wait, without what they carry.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.post.as_ref().map_or(0, |post| post.heap_bytes())
    }

    /// Gives up the memory of a mailbox in which nothing lies.
    pub(crate) fn release(&mut self) {
        if self.post.as_ref().is_some_and(|post| post.is_empty()) {
            self.post = None;
        }
    }

    /// Whether it is open and nothing lies in it.
    pub(crate) fn is_quiet(&self) -> bool {
        self.open && self.post.as_ref().is_none_or(|post| post.is_empty())
    }

    /// Whether somebody will still obey: a command that was given back all the same found no place.
    pub(crate) fn is_open(&self) -> bool {
        self.open
    }

    /// Puts a command in; gives it back if nobody will obey it or there is no place for it. `spent` is to be dropped unlocked.
    pub(crate) fn put(&mut self, command: Command<E>, spent: &mut Spent) -> Result<(), Command<E>> {
        // Seeded: what comes after the mailbox was shut lies there for ever.
        if !self.open && !seeded("post_to_nobody") {
            return Err(command);
        }
        let post = self.post.get_or_insert_default();
        let owed = &mut post.owed;
        match command {
            Command::Flush { ticket, done } => {
                owed.flushes.push(ticket, done, spent).map_err(|done| Command::Flush { ticket, done })
            }
            Command::Stop { done, for_good: true } => {
                owed.stops.push_always((), done, spent);
                Ok(())
            }
            Command::Stop { done, for_good } => {
                owed.stops.push((), done, spent).map_err(|done| Command::Stop { done, for_good })
            }
            Command::Room { done } => owed.room.push((), done, spent).map_err(|done| Command::Room { done }),
            Command::Start { done, asked } => {
                let list = match asked {
                    Asked::Joined => &mut post.joining,
                    Asked::AfterStop => &mut post.after_stop,
                };
                list.push((), done, spent).map_err(|done| Command::Start { done, asked })
            }
            // Never refused: there is one hook at a time, and as many ends of subscriptions as were begun.
            Command::Unsubscribe { .. } | Command::HookDone { .. } => {
                post.commands.push(command);
                Ok(())
            }
            _ if post.commands.len() >= limits::MAX_COMMANDS => Err(command),
            command => {
                post.commands.push(command);
                Ok(())
            }
        }
    }

    /// Puts a command in that begins a subscription, and takes its end; leaves that and gives the command back if nobody will obey it or
    /// there is no place for it.
    pub(crate) fn subscribe(
        &mut self,
        command: Command<E>,
        ending: &mut Option<Ending>,
    ) -> Result<(), Command<E>> {
        // Nothing is ever spent by an observer.
        self.put(command, &mut Spent::new())?;
        self.post.get_or_insert_default().endings.extend(ending.take());
        Ok(())
    }

    /// Takes a subscription's end out, to be dropped outside the lock.
    pub(crate) fn unsubscribe(&mut self, id: ObserverId) -> Option<Ending> {
        let endings = &mut self.post.as_mut()?.endings;
        let at = endings.iter().position(|ending| ending.id() == id)?;
        Some(endings.swap_remove(at))
    }

    /// The flush of this ticket that is on its way already, if there is one: its answer is good for both.
    pub(crate) fn join_flush(&self, ticket: u64) -> Option<Operation> {
        let (last, done) = self.post.as_ref()?.owed.flushes.last_unseen()?;
        (*last == ticket && self.open).then(|| done.operation())
    }

    /// The commands to obey now, and what is owed; what is only to be answered in time is taken note of here.
    pub(crate) fn take(&mut self) -> (Vec<Command<E>>, Owes) {
        let Some(post) = &mut self.post else { return (Vec::new(), Owes::default()) };
        let mut obeyed = std::mem::take(&mut post.commands);
        let start = |asked| move |done| Command::Start { done, asked };
        obeyed.extend(post.joining.take_all().map(start(Asked::Joined)));
        obeyed.extend(post.after_stop.take_all().map(start(Asked::AfterStop)));
        post.owed.flushes.see();
        post.owed.stops.see();
        post.owed.room.see();
        (obeyed, post.owed.note())
    }

    /// The changes of metrics that wait, and nothing else.
    pub(crate) fn take_changes(&mut self) -> Vec<Command<E>> {
        let is_change = |command: &Command<E>| {
            matches!(command, Command::Register { .. } | Command::Replace { .. } | Command::Remove { .. })
        };
        let Some(post) = self.post.as_mut().filter(|post| post.commands.iter().any(is_change)) else {
            return Vec::new();
        };
        let (changes, others) = std::mem::take(&mut post.commands).into_iter().partition(is_change);
        post.commands = others;
        changes
    }

    /// Owes a start its answer, now or after the stop under way; gives it back if nobody will answer or too many wait.
    pub(crate) fn owe_start(
        &mut self,
        done: Completer,
        asked: Asked,
        spent: &mut Spent,
    ) -> Result<(), Completer> {
        if !self.open {
            return Err(done);
        }
        let owed = &mut self.post.get_or_insert_default().owed;
        let list = match asked {
            Asked::Joined => &mut owed.starts,
            Asked::AfterStop => &mut owed.restarts,
        };
        list.push((), done, spent)?;
        list.see();
        Ok(())
    }

    /// Whether an answer is due when the first `settled` events are settled and, perhaps, the stop is over.
    pub(crate) fn is_due(&self, settled: u64, stopped: bool) -> bool {
        self.post.as_deref().is_some_and(|Post { owed, .. }| {
            owed.flushes.seen().any(|ticket| *ticket <= settled) || stopped && owed.stops.has_seen()
        })
    }

    /// The flushes that are due, the stops if they are, and what is owed after that.
    pub(crate) fn take_due(&mut self, settled: u64, stopped: bool) -> (Vec<Completer>, Vec<Completer>, Owes) {
        let Some(Post { owed, .. }) = self.post.as_deref_mut() else { return Default::default() };
        let flushes = owed.flushes.take_seen(|ticket| *ticket <= settled);
        let stops = owed.stops.take_seen(|()| stopped);
        (flushes, stops, owed.note())
    }

    pub(crate) fn take_starts(&mut self) -> Vec<Completer> {
        self.post.as_mut().map(|post| post.owed.starts.take_all().collect()).unwrap_or_default()
    }

    pub(crate) fn take_restarts(&mut self) -> Vec<Completer> {
        self.post.as_mut().map(|post| post.owed.restarts.take_all().collect()).unwrap_or_default()
    }

    /// Producers to be told of so many free places; those who went away do not count.
    pub(crate) fn take_room(&mut self, places: u64) -> Vec<Completer> {
        let (mut left, mut told) = (places, Vec::new());
        while left > 0 {
            let Some(done) = self.post.as_mut().and_then(|post| post.owed.room.pop()) else { break };
            left -= u64::from(done.is_awaited());
            told.push(done);
        }
        told
    }

    /// Shuts the mailbox: what nobody will obey any more, what is owed, and the subscriptions, to be dropped outside the lock.
    pub(crate) fn shut(&mut self) -> (Vec<Command<E>>, Owed, Vec<Ending>) {
        let (commands, _) = self.take();
        self.open = false;
        let post = self.post.take().map(|post| *post).unwrap_or_default();
        (commands, post.owed, post.endings)
    }
}
