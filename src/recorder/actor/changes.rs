//! Metrics that come and go while a recorder runs.

use super::Actor;
use crate::model::clock::Timestamp;
use crate::model::error::Error;
use crate::model::event::MetricEvent;
use crate::model::incident::IncidentKind;
use crate::model::name::MetricName;
use crate::model::snapshot::Family;
use crate::model::verdict::Context;
use crate::recorder::calls::Call;
use crate::recorder::catalogue::conflict_within;
use crate::recorder::changing::RemovedSeries;
use crate::recorder::core::Core;
use crate::recorder::dispatch::Slot;
use crate::recorder::mailbox::Command;
use crate::recorder::quarantine::Quarantined;
use crate::recorder::view::MetricCut;

impl<E: MetricEvent> Actor<E> {
    /// Obeys the changes of metrics that wait, between two events; the rest waits for the next turn.
    pub(super) fn obey_changes(&mut self, core: &Core<E>, now: Timestamp) {
        let changes = core.mailbox().take_changes();
        changes.into_iter().for_each(|change| self.change(core, change, now));
    }

    /// Obeys a change of metrics.
    pub(super) fn change(&mut self, core: &Core<E>, change: Command<E>, now: Timestamp) {
        match change {
            Command::Register { slots, done } => done.complete(self.register(core, slots, now)),
            Command::Replace { slots, done } => {
                let replaced = slots.into_iter().try_for_each(|slot| self.replace(core, slot, now));
                done.complete(replaced);
            }
            Command::Remove { name, series, done } => done.complete(self.remove(core, &name, series, now)),
            // Not a change of metrics.
            _ => {}
        }
    }

    /// Takes more metrics, all of them or none.
    fn register(&mut self, core: &Core<E>, slots: Vec<Slot<E>>, now: Timestamp) -> Result<(), Error> {
        let names: Vec<MetricName> = slots.iter().map(|slot| slot.descriptor().name().clone()).collect();
        let result = self.add_all(core, slots, now);
        for metric in names {
            core.tell(match &result {
                Ok(()) => IncidentKind::MetricRegistered { metric },
                Err(error) => IncidentKind::MetricRefused { metric, error: error.clone() },
            });
        }
        result
    }

    fn add_all(&mut self, core: &Core<E>, slots: Vec<Slot<E>>, now: Timestamp) -> Result<(), Error> {
        for slot in &slots {
            let live = self.slots.iter().map(Slot::descriptor);
            let kept = self.kept().iter().map(|metric| metric.family.descriptor());
            let present = live.chain(kept).find(|present| present.name() == slot.descriptor().name());
            if let Some(error) = present.and_then(|present| conflict_within(present, slot.descriptor())) {
                return Err(error);
            }
        }
        for slot in slots {
            let name = slot.descriptor().name();
            if self.position(name.as_str()).is_some() {
                // The same shape is the same metric: the first definition stays.
                continue;
            }
            if let Some(at) = self.kept_position(name.as_str()) {
                self.drop_kept(core, at, now)?;
            }
            self.slots.push(slot);
            self.recompose();
            self.dirty = true;
        }
        Ok(())
    }

    /// Puts a metric into the place of the one of its name, whose series end.
    fn replace(&mut self, core: &Core<E>, slot: Slot<E>, now: Timestamp) -> Result<(), Error> {
        let metric = slot.descriptor().name().clone();
        let result = self.put_in_place(core, slot, now);
        core.tell(match &result {
            Ok(()) => IncidentKind::MetricReplaced { metric },
            Err(error) => IncidentKind::MetricRefused { metric, error: error.clone() },
        });
        result
    }

    fn put_in_place(&mut self, core: &Core<E>, slot: Slot<E>, now: Timestamp) -> Result<(), Error> {
        let name = slot.descriptor().name().as_str();
        let at = self.position(name).ok_or_else(|| unknown(name))?;
        let present = self.slots.get(at).map(Slot::descriptor);
        if let Some(error) = present.and_then(|present| conflict_within(present, slot.descriptor())) {
            return Err(error);
        }
        let last = self.state_of(core, at, now)?;
        if let Some(place) = self.slots.get_mut(at) {
            *place = slot;
        }
        self.withdraw(core, &last, now);
        Ok(())
    }

    /// Takes a metric out; what was kept of one that is out already can only be dropped.
    fn remove(
        &mut self,
        core: &Core<E>,
        name: &str,
        series: RemovedSeries,
        now: Timestamp,
    ) -> Result<(), Error> {
        let Some(at) = self.position(name) else {
            let dropped = self.kept_position(name).filter(|_| series == RemovedSeries::Dropped);
            return self.drop_kept(core, dropped.ok_or_else(|| unknown(name))?, now);
        };
        let last = self.state_of(core, at, now)?;
        let slot = self.slots.remove(at);
        let metric = slot.descriptor().name().clone();
        match series {
            RemovedSeries::Dropped => self.withdraw(core, &last, now),
            RemovedSeries::Kept => {
                self.extras().kept.push(MetricCut { removed: true, ..last });
                self.recompose();
                let next = self.next_cut(core, now);
                self.spare = Some(core.cut.replace(next));
            }
        }
        // Visible before it is destroyed, which is the user's code and may take its time.
        drop(slot);
        core.tell(IncidentKind::MetricRemoved { metric });
        Ok(())
    }

    fn drop_kept(&mut self, core: &Core<E>, at: usize, now: Timestamp) -> Result<(), Error> {
        if core.queue.is_abandoned() {
            return Err(core.gone());
        }
        let last = self.extras().kept.remove(at);
        self.withdraw(core, &last, now);
        Ok(())
    }

    /// A metric as it is after the last event dispatched, which readers see from here on, too.
    fn state_of(&mut self, core: &Core<E>, at: usize, now: Timestamp) -> Result<MetricCut, Error> {
        self.dirty = true;
        self.publish(core, now);
        let cut = core.cut.load();
        // Given up meanwhile: then nothing is published any more.
        let shown = cut.metrics.get(at).filter(|_| !self.dirty);
        shown.cloned().ok_or_else(|| core.gone())
    }

    /// Swaps in the state without what was taken out, and hands what that counted over to the totals of the recorder's group, as one step.
    fn withdraw(&mut self, core: &Core<E>, last: &MetricCut, now: Timestamp) {
        self.swap_without(core, &[&last.family], now);
    }

    fn swap_without(&mut self, core: &Core<E>, gone: &[&Family], now: Timestamp) {
        self.recompose();
        let next = self.next_cut(core, now);
        let swap = || core.cut.replace(next);
        let before = core.hub.groups.withdraw(core.identity_arc(), gone, self.published_at, swap);
        drop(before);
    }

    /// Takes the idle series out of every metric, if there are any: what they counted goes to the totals as their cut goes.
    pub(super) fn expire(&mut self, core: &Core<E>, now: Timestamp) {
        if !self.slots.iter().any(|slot| slot.expires) {
            return;
        }
        let context = Context::new(now, self.version + 1);
        let mut gone = Vec::new();
        for (index, slot) in self.slots.iter_mut().enumerate().filter(|(_, slot)| slot.expires) {
            core.calls.at(Call::Snapshot(index));
            if let Some(family) = slot.expire(&context) {
                slot.changed_at = context.cut();
                gone.push(family);
            }
        }
        core.calls.at(Call::Commands);
        if !gone.is_empty() {
            self.swap_without(core, &gone.iter().collect::<Vec<_>>(), now);
        }
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.slots.iter().position(|slot| slot.descriptor().name().as_str() == name)
    }

    fn kept_position(&self, name: &str) -> Option<usize> {
        self.kept().iter().position(|metric| metric.family.name().as_str() == name)
    }
}

fn unknown(name: &str) -> Error {
    Quarantined::Metric(name.into()).unknown()
}
