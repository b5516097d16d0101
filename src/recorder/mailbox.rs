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

impl<E> Mailbox<E> {
    pub(crate) fn new() -> Self {
        Self {
            open: true,
            commands: Vec::new(),
            joining: Waiting::default(),
            after_stop: Waiting::default(),
            owed: Owed::default(),
            endings: Vec::new(),
        }
    }

    /// What commands and answers take on the heap where they wait, without what they carry.
    pub(crate) fn heap_bytes(&self) -> usize {
        let owed = &self.owed;
        let waiting =
            [&self.joining, &self.after_stop, &owed.stops, &owed.starts, &owed.restarts, &owed.room];
        let waiting = waiting.into_iter().map(Waiting::heap_bytes).sum::<usize>();
        heap::vec(&self.commands) + waiting + owed.flushes.heap_bytes() + heap::vec(&self.endings)
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
        let owed = &mut self.owed;
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
                    Asked::Joined => &mut self.joining,
                    Asked::AfterStop => &mut self.after_stop,
                };
                list.push((), done, spent).map_err(|done| Command::Start { done, asked })
            }
            // Never refused: there is one hook at a time, and as many ends of subscriptions as were begun.
            Command::Unsubscribe { .. } | Command::HookDone { .. } => {
                self.commands.push(command);
                Ok(())
            }
            _ if self.commands.len() >= limits::MAX_COMMANDS => Err(command),
            command => {
                self.commands.push(command);
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
        self.endings.extend(ending.take());
        Ok(())
    }

    /// Takes a subscription's end out, to be dropped outside the lock.
    pub(crate) fn unsubscribe(&mut self, id: ObserverId) -> Option<Ending> {
        let at = self.endings.iter().position(|ending| ending.id() == id)?;
        Some(self.endings.swap_remove(at))
    }

    /// The flush of this ticket that is on its way already, if there is one: its answer is good for both.
    pub(crate) fn join_flush(&self, ticket: u64) -> Option<Operation> {
        let (last, done) = self.owed.flushes.last_unseen()?;
        (*last == ticket && self.open).then(|| done.operation())
    }

    /// The commands to obey now, and what is owed; what is only to be answered in time is taken note of here.
    pub(crate) fn take(&mut self) -> (Vec<Command<E>>, Owes) {
        let mut obeyed = std::mem::take(&mut self.commands);
        let start = |asked| move |done| Command::Start { done, asked };
        obeyed.extend(self.joining.take_all().map(start(Asked::Joined)));
        obeyed.extend(self.after_stop.take_all().map(start(Asked::AfterStop)));
        self.owed.flushes.see();
        self.owed.stops.see();
        self.owed.room.see();
        (obeyed, self.owed.note())
    }

    /// The changes of metrics that wait, and nothing else.
    pub(crate) fn take_changes(&mut self) -> Vec<Command<E>> {
        let is_change = |command: &Command<E>| {
            matches!(command, Command::Register { .. } | Command::Replace { .. } | Command::Remove { .. })
        };
        if !self.commands.iter().any(is_change) {
            return Vec::new();
        }
        let (changes, others) = std::mem::take(&mut self.commands).into_iter().partition(is_change);
        self.commands = others;
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
        let list = match asked {
            Asked::Joined => &mut self.owed.starts,
            Asked::AfterStop => &mut self.owed.restarts,
        };
        list.push((), done, spent)?;
        list.see();
        Ok(())
    }

    /// Whether an answer is due when the first `settled` events are settled and, perhaps, the stop is over.
    pub(crate) fn is_due(&self, settled: u64, stopped: bool) -> bool {
        self.owed.flushes.seen().any(|ticket| *ticket <= settled) || stopped && self.owed.stops.has_seen()
    }

    /// The flushes that are due, the stops if they are, and what is owed after that.
    pub(crate) fn take_due(&mut self, settled: u64, stopped: bool) -> (Vec<Completer>, Vec<Completer>, Owes) {
        let flushes = self.owed.flushes.take_seen(|ticket| *ticket <= settled);
        let stops = self.owed.stops.take_seen(|()| stopped);
        (flushes, stops, self.owed.note())
    }

    pub(crate) fn take_starts(&mut self) -> Vec<Completer> {
        self.owed.starts.take_all().collect()
    }

    pub(crate) fn take_restarts(&mut self) -> Vec<Completer> {
        self.owed.restarts.take_all().collect()
    }

    /// Producers to be told of so many free places; those who went away do not count.
    pub(crate) fn take_room(&mut self, places: u64) -> Vec<Completer> {
        let (mut left, mut told) = (places, Vec::new());
        while left > 0 {
            let Some(done) = self.owed.room.pop() else { break };
            left -= u64::from(done.is_awaited());
            told.push(done);
        }
        told
    }

    /// Shuts the mailbox: what nobody will obey any more, what is owed, and the subscriptions, to be dropped outside the lock.
    pub(crate) fn shut(&mut self) -> (Vec<Command<E>>, Owed, Vec<Ending>) {
        let (commands, _) = self.take();
        self.open = false;
        (commands, std::mem::take(&mut self.owed), std::mem::take(&mut self.endings))
    }
}
