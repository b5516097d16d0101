//! Commands on their way to the actor, and the answers that are owed.
//!
//! The answers stand here and not with the actor, so that they can be given when user code holds the actor for ever.

use crate::model::error::Error;
use crate::recorder::dispatch::Slot;
use crate::recorder::observers::ObserverFn;
use crate::recorder::observers::ObserverId;
use crate::recorder::operation::Completer;
use crate::recorder::quarantine::Quarantined;
use crate::recorder::subscription::Ending;
use std::collections::VecDeque;

/// What a handle asks of the actor.
pub(crate) enum Command<E> {
    /// Answer when the first `ticket` events are settled and published.
    Flush { ticket: u64, done: Completer },
    /// Take another metric; the answer is an error if one of its name and another shape is there.
    Register { slot: Slot<E>, done: Completer },
    /// Answer when everything accepted is settled; the door is shut already.
    Stop { done: Completer },
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
    /// The hook under way has ended.
    HookDone { result: Result<(), Error> },
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
    owed: Owed,
    /// The subscriptions to end when nobody is left to tell them anything.
    endings: Vec<Ending>,
}

/// Answers owed.
#[derive(Default)]
pub(crate) struct Owed {
    pub(crate) flushes: Vec<(u64, Completer)>,
    pub(crate) stops: Vec<Completer>,
    pub(crate) starts: Vec<Completer>,
    /// Starts that wait for the end of a stop.
    pub(crate) restarts: Vec<Completer>,
    /// Producers that wait for room, the longest first.
    pub(crate) room: VecDeque<Completer>,
}

/// Whether answers are owed: the actor's note, so that it does not lock the mailbox to learn that there are none.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Owes {
    pub(crate) answers: bool,
    pub(crate) room: bool,
}

impl Owed {
    fn note(&self) -> Owes {
        let answers = !self.flushes.is_empty()
            || !self.stops.is_empty()
            || !self.starts.is_empty()
            || !self.restarts.is_empty();
        Owes { answers, room: !self.room.is_empty() }
    }
}

impl<E> Mailbox<E> {
    pub(crate) fn new() -> Self {
        Self { open: true, commands: Vec::new(), owed: Owed::default(), endings: Vec::new() }
    }

    /// Puts a command in; gives it back if nobody will obey it.
    pub(crate) fn put(&mut self, command: Command<E>) -> Result<(), Command<E>> {
        if !self.open {
            return Err(command);
        }
        self.commands.push(command);
        Ok(())
    }

    /// Puts a command in that begins a subscription; gives both back if nobody will obey it.
    pub(crate) fn subscribe(
        &mut self,
        command: Command<E>,
        ending: Ending,
    ) -> Result<(), (Command<E>, Ending)> {
        match self.put(command) {
            Ok(()) => self.endings.push(ending),
            Err(command) => return Err((command, ending)),
        }
        Ok(())
    }

    /// Takes a subscription's end out, to be dropped outside the lock.
    pub(crate) fn unsubscribe(&mut self, id: ObserverId) -> Option<Ending> {
        let at = self.endings.iter().position(|ending| ending.id() == id)?;
        Some(self.endings.swap_remove(at))
    }

    /// The commands to obey now, and what is owed; what is only to be answered in time is noted here.
    pub(crate) fn take(&mut self) -> (Vec<Command<E>>, Owes) {
        let mut obeyed = Vec::new();
        for command in std::mem::take(&mut self.commands) {
            match command {
                Command::Flush { ticket, done } => self.owed.flushes.push((ticket, done)),
                Command::Stop { done } => self.owed.stops.push(done),
                Command::Room { done } => self.owed.room.push_back(done),
                other => obeyed.push(other),
            }
        }
        (obeyed, self.owed.note())
    }

    /// Owes a start its answer, now or after the stop under way; gives it back if nobody will answer.
    pub(crate) fn owe_start(&mut self, done: Completer, asked: Asked) -> Result<(), Completer> {
        if !self.open {
            return Err(done);
        }
        match asked {
            Asked::Joined => self.owed.starts.push(done),
            Asked::AfterStop => self.owed.restarts.push(done),
        }
        Ok(())
    }

    /// Whether an answer is due when the first `settled` events are settled and, perhaps, the stop is over.
    pub(crate) fn is_due(&self, settled: u64, stopped: bool) -> bool {
        self.owed.flushes.iter().any(|(ticket, _)| *ticket <= settled)
            || stopped && !self.owed.stops.is_empty()
    }

    /// The flushes that are due, the stops if they are, and what is owed after that.
    pub(crate) fn take_due(&mut self, settled: u64, stopped: bool) -> (Vec<Completer>, Vec<Completer>, Owes) {
        let flushes = std::mem::take(&mut self.owed.flushes);
        let (due, later) = flushes.into_iter().partition::<Vec<_>, _>(|(ticket, _)| *ticket <= settled);
        self.owed.flushes = later;
        let stops = if stopped { std::mem::take(&mut self.owed.stops) } else { Vec::new() };
        (due.into_iter().map(|(_, done)| done).collect(), stops, self.owed.note())
    }

    pub(crate) fn take_starts(&mut self) -> Vec<Completer> {
        std::mem::take(&mut self.owed.starts)
    }

    pub(crate) fn take_restarts(&mut self) -> Vec<Completer> {
        std::mem::take(&mut self.owed.restarts)
    }

    /// Producers to be told of so many free places; those who went away do not count.
    pub(crate) fn take_room(&mut self, places: u64) -> Vec<Completer> {
        let (mut left, mut told) = (places, Vec::new());
        while left > 0 {
            let Some(done) = self.owed.room.pop_front() else { break };
            left -= u64::from(done.is_awaited());
            told.push(done);
        }
        told
    }

    /// Shuts the mailbox: what nobody will obey any more, what is owed, and the subscriptions, to be dropped outside the lock.
    pub(crate) fn shut(&mut self) -> (Vec<Command<E>>, Owed, Vec<Ending>) {
        self.open = false;
        let commands = std::mem::take(&mut self.commands);
        (commands, std::mem::take(&mut self.owed), std::mem::take(&mut self.endings))
    }
}
