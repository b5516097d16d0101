//! The connections of a server: what each is at, until when it may be, and which has to go for another.

use crate::http::stats::HttpStats;
use crate::model::limits;
use std::collections::HashMap;
use std::time::Duration;
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// What a server allows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowed {
    pub(super) head_time: Duration,
    pub(super) head_bytes: usize,
    pub(super) answer_time: Duration,
    pub(super) kept_time: Duration,
    pub(super) answered: usize,
    pub(super) headless: usize,
}

#[derive(Debug)]
pub(super) struct Table {
    allowed: Allowed,
    entries: HashMap<u64, Entry>,
    next: u64,
    /// Answers are finished, and nothing else goes on.
    ending: bool,
    pub(super) stats: HttpStats,
}

#[derive(Debug)]
struct Entry {
    phase: Phase,
    since: Instant,
    /// When the answer was handed over, and how many bytes of it the client has taken since.
    handed: Instant,
    taken: u64,
    /// When the client last took a part of its answer.
    progress: Instant,
    /// The answer is not handed over yet.
    owed: bool,
    /// Something was read since the last head was complete: a part of the next one.
    partial: bool,
    task: Option<AbortHandle>,
}

/// What a connection is at. `Heading` and `Kept` are without a complete head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Its first request, or the rest of a head that has begun, is waited for.
    Heading,
    /// It was answered, and its next request is waited for.
    Kept,
    /// Its request is being answered, to the last byte written.
    Answering,
}

/// Whether a request is answered.
#[derive(Debug)]
pub(super) enum Admission {
    Answer,
    /// Another connection is cut for it.
    Instead(AbortHandle),
    /// There are too many, and none of them is slow.
    Busy,
}

impl Table {
    pub(super) fn new(allowed: Allowed) -> Self {
        Self { allowed, entries: HashMap::new(), next: 0, ending: false, stats: HttpStats::default() }
    }

    /// Whether a connection more would cut one that has hardly come.
    pub(super) fn is_crowded(&self, now: Instant) -> bool {
        let headless = self.entries.values().filter(|entry| entry.phase != Phase::Answering);
        let young =
            headless.filter(|entry| now.saturating_duration_since(entry.since) < limits::HEADLESS_LEAST);
        // All of them: an older one would be cut first.
        young.count() >= self.allowed.headless
    }

    /// A new connection, and the one to be cut for it, if one must be.
    pub(super) fn enter(&mut self, now: Instant) -> (u64, Option<AbortHandle>) {
        let headless = self.entries.values().filter(|entry| entry.phase != Phase::Answering).count();
        let cut = (headless >= self.allowed.headless).then(|| self.oldest_headless()).flatten();
        self.next += 1;
        self.stats.connections += 1;
        let entry = Entry {
            phase: Phase::Heading,
            since: now,
            handed: now,
            taken: 0,
            progress: now,
            owed: false,
            partial: false,
            task: None,
        };
        self.entries.insert(self.next, entry);
        (self.next, cut)
    }

    /// The task of a connection, by which it can be cut.
    pub(super) fn attend(&mut self, id: u64, task: AbortHandle) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.task = Some(task);
        }
    }

    pub(super) fn leave(&mut self, id: u64) {
        self.entries.remove(&id);
    }

    /// Something was read.
    pub(super) fn received(&mut self, id: u64, now: Instant) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.partial = true;
            if entry.phase == Phase::Kept {
                (entry.phase, entry.since) = (Phase::Heading, now);
            }
        }
    }

    /// A head is complete.
    pub(super) fn begin(&mut self, id: u64, now: Instant) -> Admission {
        self.stats.requests += 1;
        let others =
            self.entries.iter().filter(|(other, entry)| **other != id && entry.phase == Phase::Answering);
        let crowded = others.count() >= self.allowed.answered;
        if let Some(entry) = self.entries.get_mut(&id) {
            // Of requests in one go the oldest answer that is not written decides.
            if entry.phase != Phase::Answering {
                (entry.phase, entry.since) = (Phase::Answering, now);
            }
            (entry.owed, entry.partial) = (true, false);
        }
        if !crowded {
            return Admission::Answer;
        }
        self.slowest(id, now).map_or(Admission::Busy, Admission::Instead)
    }

    /// An answer is handed over to be written.
    pub(super) fn handed_over(&mut self, id: u64, now: Instant) {
        if let Some(entry) = self.entries.get_mut(&id) {
            (entry.owed, entry.handed, entry.taken, entry.progress) = (false, now, 0, now);
        }
    }

    /// So many bytes of an answer went out.
    pub(super) fn progressed(&mut self, id: u64, bytes: usize, now: Instant) {
        if let Some(entry) = self.entries.get_mut(&id) {
            (entry.taken, entry.progress) = (entry.taken + bytes as u64, now);
        }
    }

    /// Everything handed over is written.
    pub(super) fn written(&mut self, id: u64, now: Instant) {
        if let Some(entry) = self.entries.get_mut(&id) {
            if entry.phase == Phase::Answering && !entry.owed {
                entry.phase = if entry.partial { Phase::Heading } else { Phase::Kept };
                entry.since = now;
            }
        }
    }

    /// Until when the connection may be at what it is at; `None` if it is to be closed now.
    pub(super) fn deadline(&self, id: u64) -> Option<Instant> {
        let entry = self.entries.get(&id)?;
        let time = match entry.phase {
            Phase::Answering => self.allowed.answer_time,
            _ if self.ending => return None,
            Phase::Heading => self.allowed.head_time,
            Phase::Kept => self.allowed.kept_time,
        };
        Some(entry.since + time)
    }

    /// The deadline of a connection is over.
    pub(super) fn cut(&mut self, id: u64) {
        match self.entries.get(&id).map(|entry| entry.phase) {
            Some(Phase::Heading) => self.stats.cut_half_sent += 1,
            Some(Phase::Kept) => self.stats.cut_idle += 1,
            Some(Phase::Answering) => self.stats.cut_slow += 1,
            None => {}
        }
    }

    /// The connection without a head that has been there longest, to be cut.
    pub(super) fn oldest_headless(&mut self) -> Option<AbortHandle> {
        self.take_oldest(|_, entry| (entry.phase != Phase::Answering).then_some(entry.since))
    }

    /// A connection that reads its answer slowly, to be cut for the sake of `id`: the one that has not taken anything for longest, or if all get on
    /// the one that has been at it for longest of those that take next to nothing. Who reads as fast as the machine lets it is not cut,
    /// however long that takes while a thousand do the same.
    pub(super) fn slowest(&mut self, id: u64, now: Instant) -> Option<AbortHandle> {
        let reads = |other, entry: &Entry| entry.phase == Phase::Answering && !entry.owed && other != id;
        let past = |time: Instant, limit| now.saturating_duration_since(time) >= limit;
        let slow = |entry: &Entry| {
            let due = now.saturating_duration_since(entry.handed).as_secs_f64() * limits::LEAST_RATE as f64;
            past(entry.handed, limits::SLOW_AFTER) && (entry.taken as f64) < due
        };
        self.take_oldest(|other, entry| {
            (reads(other, entry) && past(entry.progress, limits::STALLED_AFTER)).then_some(entry.progress)
        })
        .or_else(|| {
            self.take_oldest(|other, entry| (reads(other, entry) && slow(entry)).then_some(entry.handed))
        })
    }

    /// Takes out the connection whose time is the earliest, of those that have one.
    fn take_oldest(&mut self, time: impl Fn(u64, &Entry) -> Option<Instant>) -> Option<AbortHandle> {
        let attended = self.entries.iter().filter(|(_, entry)| entry.task.is_some());
        let timed = attended.filter_map(|(id, entry)| Some((time(*id, entry)?, *id)));
        let (_, oldest) = timed.min()?;
        self.stats.cut_for_room += 1;
        // Its place is free at once; its task ends when the loop comes to it.
        self.entries.remove(&oldest)?.task
    }

    /// From now on answers are finished, and connections closed; those to be closed at once.
    pub(super) fn end(&mut self) -> Vec<AbortHandle> {
        self.ending = true;
        let idle = self.entries.values().filter(|entry| entry.phase != Phase::Answering);
        idle.filter_map(|entry| entry.task.clone()).collect()
    }

    pub(super) fn is_ending(&self) -> bool {
        self.ending
    }

    pub(super) fn open(&self) -> usize {
        self.entries.len()
    }
}
