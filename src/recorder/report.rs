//! What a recorder tells its journal, gathered here so that the actor and the core have one line each.

use crate::model::clock::Timestamp;
use crate::model::event::MetricEvent;
use crate::model::incident::IncidentKind;
use crate::model::incident::Severity;
use crate::model::limits;
use crate::recorder::core::Core;
use crate::recorder::dispatch::Slot;
use crate::recorder::journal::Untold;
use crate::recorder::journal::panic_message;
use crate::recorder::loss::Look;
use crate::recorder::observers::Observers;
use std::any::Any;

/// What the part of user code that was just taken out of service said, until it is told.
#[derive(Debug, Default)]
pub(crate) struct LastWords(Option<Box<str>>);

impl LastWords {
    /// Keeps a panic's message. The payload stays with the caller, who knows how to drop it.
    pub(crate) fn hear(&mut self, payload: &(dyn Any + Send)) {
        self.0 = Some(panic_message(payload));
    }

    pub(crate) fn take(&mut self) -> Option<Box<str>> {
        self.0.take()
    }
}

/// After a batch: parts that have panicked since the last look, each told once, and the edges of a loss.
pub(crate) fn turn_made<E: MetricEvent>(
    core: &Core<E>,
    slots: &mut [Slot<E>],
    observers: Option<&mut Observers<E>>,
    now: Timestamp,
) {
    if !core.hears(Severity::Warn) {
        return;
    }
    quarantined(core, slots);
    for message in
        observers.into_iter().flat_map(|observers| observers.last_words.drain(..)).filter_map(|words| words.0)
    {
        core.tell(IncidentKind::ObserverPanicked { message });
    }
    core.look_for_losses(now);
}

/// Metrics that have panicked since the last look.
pub(crate) fn quarantined<E: MetricEvent>(core: &Core<E>, slots: &mut [Slot<E>]) {
    for slot in slots {
        if let Some(message) = slot.take_last_words() {
            let metric = slot.descriptor().name().clone();
            core.tell(IncidentKind::MetricPanicked { metric, message });
        }
    }
}

/// After a publication: told to inspection, and only so often.
pub(crate) fn published<'a, E: MetricEvent>(
    core: &Core<E>,
    last: impl FnOnce() -> &'a mut Timestamp,
    now: Timestamp,
    (version, sequence): (u64, u64),
) {
    if !core.hears(Severity::Debug) {
        return;
    }
    let last = last();
    let is_first = *last == Timestamp::default();
    let is_due = is_first || now.saturating_since(*last) >= limits::INSPECTION_INTERVAL;
    if is_due {
        *last = now;
        core.tell(IncidentKind::SnapshotPublished { version, sequence });
    }
}

impl<E: MetricEvent> Core<E> {
    /// Whether anybody is told of incidents as severe as this.
    pub(crate) fn hears(&self, severity: Severity) -> bool {
        self.hub().journal.hears(severity, self.logged_from)
    }

    /// Tells of an incident of this recorder.
    pub(crate) fn tell(&self, kind: IncidentKind) {
        self.hub().journal.note(Some(&self.identity_arc().id), self.logged_from, kind);
    }

    /// What the last look at the losses finds.
    pub(crate) fn last_losses(&self) -> Vec<Untold> {
        if !self.hears(Severity::Warn) {
            return Vec::new();
        }
        // Without a clock: the time of the last publication is not later than now.
        let found = self.losses(&self.accounts_now(), self.cut.load().taken_at, Look::Last);
        let (recorder, logged_from) = (&self.identity_arc().id, self.logged_from);
        let untold = |kind| Untold { recorder: Some(recorder.clone()), logged_from, kind };
        found.into_iter().flatten().map(untold).collect()
    }

    /// Tells of the beginning and of the end of a loss.
    fn look_for_losses(&self, now: Timestamp) {
        if self.hears(Severity::Warn) {
            self.losses(&self.accounts_now(), now, Look::Passing)
                .into_iter()
                .flatten()
                .for_each(|kind| self.tell(kind));
        }
    }

    /// The look at an idle recorder, idle since `before`; true if there has to be another.
    pub(crate) fn look_when_idle(&self, before: Timestamp) -> bool {
        self.look_for_losses(before.saturating_add(limits::RELEASE_AFTER));
        self.is_losing()
    }
}
