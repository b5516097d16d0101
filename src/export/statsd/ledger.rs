//! What was sent of each counter, so that the next delivery sends what is new.

use crate::model::clock::Timestamp;
use std::collections::HashMap;
use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

/// Deliveries for which a counter that is not shown any more is remembered: one that comes back is not sent twice.
const REMEMBERED: u64 = 16;

/// What was sent, by name and tags.
#[derive(Debug)]
pub(super) struct Ledger {
    known: HashMap<Box<str>, Known>,
    most: usize,
    /// New counters that are on their way.
    promised: usize,
    /// Complete deliveries.
    round: u64,
    seen: Seen,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    life: Life,
    sent: Total,
    round: u64,
}

/// Which life of a counter a total is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Life {
    /// The recorder's incarnation; 0 where there is none.
    pub(super) incarnation: u64,
    pub(super) started: Timestamp,
}

/// How much was counted since the start of a life.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Total {
    Count(u64),
    Sum(f64),
}

/// What of a total is to be sent.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// Nothing is new.
    Nothing,
    /// This much, and what to enter when it was sent.
    Send(Total, Entry),
    /// No number says it.
    NotFinite,
    /// There is no room for one counter more.
    Full,
}

/// A line of the ledger that is entered when its datagram was taken.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    key: Box<str>,
    life: Life,
    sent: Total,
}

impl Ledger {
    pub(super) fn new(most: usize) -> Self {
        Self { known: HashMap::new(), most, promised: 0, round: 0, seen: Seen::default() }
    }

    /// Begins a delivery.
    pub(super) fn begin(&mut self) {
        self.promised = 0;
        self.seen.lines.clear();
    }

    /// Whether this is the first line of this name and these tags in this delivery.
    pub(super) fn is_first(&mut self, key: &str) -> bool {
        self.seen.enter(key)
    }

    /// What of this total is new. One that only rises is never sent again for having fallen: what was added up for it has moved.
    pub(super) fn step(&mut self, key: &str, life: Life, total: Total, rises: bool) -> Step {
        let known = self.known.get_mut(key);
        let is_new = known.is_none();
        let sent = match known {
            Some(known) => {
                known.round = self.round;
                // A group's series may have begun earlier than was known, when another recorder's part of it is shown.
                let goes_on =
                    known.life.incarnation == life.incarnation && life.started <= known.life.started;
                if goes_on {
                    known.life = life;
                }
                goes_on.then_some(&mut known.sent)
            }
            None => None,
        };
        let (new, to_be_sent) = match (total, sent) {
            (Total::Count(total), Some(Total::Count(sent))) => {
                let new = total.checked_sub(*sent);
                *sent = total.min(*sent);
                (Total::Count(new.unwrap_or(0)), Total::Count(total))
            }
            (Total::Count(total), _) => (Total::Count(total), Total::Count(total)),
            (Total::Sum(total), Some(Total::Sum(sent))) => {
                if rises && total < *sent {
                    *sent = total;
                }
                let new = total - *sent;
                // What a receiver comes to that adds up; the next delivery makes up for the rounding.
                (Total::Sum(new), Total::Sum(*sent + new))
            }
            (Total::Sum(total), _) => (Total::Sum(total), Total::Sum(total)),
        };
        match new {
            Total::Count(0) => return Step::Nothing,
            Total::Sum(0.0) => return Step::Nothing,
            Total::Sum(new) if !new.is_finite() => return Step::NotFinite,
            _ => {}
        }
        if is_new {
            if self.known.len().saturating_add(self.promised) >= self.most {
                return Step::Full;
            }
            self.promised += 1;
        }
        Step::Send(new, Entry { key: key.into(), life, sent: to_be_sent })
    }

    /// Enters what was sent.
    pub(super) fn enter(&mut self, entries: impl IntoIterator<Item = Entry>) {
        for Entry { key, life, sent } in entries {
            let was = self.known.insert(key, Known { life, sent, round: self.round });
            self.promised = self.promised.saturating_sub(usize::from(was.is_none()));
        }
    }

    /// Ends a complete delivery, and forgets what has not been shown for long.
    pub(super) fn end(&mut self) {
        let round = self.round;
        self.known.retain(|_, known| round.saturating_sub(known.round) < REMEMBERED);
        self.round += 1;
    }

    /// How many counters are remembered.
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }
}

/// The lines of one delivery, by 128 bits of hashes that nobody can aim at: texts would be as much memory again.
#[derive(Debug, Default)]
struct Seen {
    hashers: [RandomState; 2],
    lines: HashSet<u128>,
}

impl Seen {
    fn enter(&mut self, key: &str) -> bool {
        let [high, low] = &self.hashers;
        let both = u128::from(high.hash_one(key)) << 64 | u128::from(low.hash_one(key));
        self.lines.insert(both)
    }
}

#[cfg(test)]
#[cfg(not(mvx_loom))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn life(incarnation: u64, started: u64) -> Life {
        Life { incarnation, started: Timestamp::from_unix_nanos(started) }
    }

    /// What is sent of a count, and entered at once.
    fn send(ledger: &mut Ledger, key: &str, life: Life, total: u64) -> Option<u64> {
        match ledger.step(key, life, Total::Count(total), true) {
            Step::Send(Total::Count(new), entry) => {
                ledger.enter([entry]);
                Some(new)
            }
            Step::Nothing => None,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_new_is_sent_and_a_new_life_from_its_whole_value() {
        let mut ledger = Ledger::new(8);
        assert_eq!(send(&mut ledger, "a", life(1, 5), 3), Some(3));
        assert_eq!(send(&mut ledger, "a", life(1, 5), 3), None);
        assert_eq!(send(&mut ledger, "a", life(1, 5), 10), Some(7));
        assert_eq!(send(&mut ledger, "a", life(1, 4), 11), Some(1), "it began earlier than was known");
        assert_eq!(
            send(&mut ledger, "a", life(2, 4), 12),
            Some(12),
            "another incarnation, in the same instant"
        );
        assert_eq!(send(&mut ledger, "a", life(2, 6), 13), Some(13), "a later start");
        assert_eq!(send(&mut ledger, "a", life(2, 6), 9), None, "it has moved, and is not sent again");
        assert_eq!(send(&mut ledger, "a", life(2, 6), 10), Some(1));
    }

    #[test]
    fn what_was_not_entered_is_sent_with_the_next() {
        let mut ledger = Ledger::new(8);
        let of = |step| if let Step::Send(Total::Count(new), _) = step { new } else { 0 };
        assert_eq!(of(ledger.step("a", life(1, 1), Total::Count(3), true)), 3);
        assert_eq!(of(ledger.step("a", life(1, 1), Total::Count(5), true)), 5);
        assert_eq!(ledger.len(), 0);
    }

    #[test]
    fn no_more_are_remembered_than_allowed_and_what_is_gone_makes_room_after_a_while() {
        let mut ledger = Ledger::new(2);
        ledger.begin();
        assert!(
            send(&mut ledger, "a", life(1, 1), 1).is_some()
                && send(&mut ledger, "b", life(1, 1), 1).is_some()
        );
        assert_eq!(ledger.step("c", life(1, 1), Total::Count(1), true), Step::Full);
        ledger.end();
        for round in 0..=REMEMBERED {
            ledger.begin();
            let step = ledger.step("c", life(1, 1), Total::Count(1), true);
            assert_eq!(step == Step::Full, round < REMEMBERED, "{round}");
            ledger.end();
        }
        assert_eq!(ledger.len(), 0);
        assert_eq!(send(&mut ledger, "a", life(1, 1), 1), Some(1), "forgotten");
    }

    #[test]
    fn what_is_on_its_way_takes_room_as_well() {
        let mut ledger = Ledger::new(1);
        ledger.begin();
        assert!(matches!(ledger.step("a", life(1, 1), Total::Count(1), true), Step::Send(..)));
        assert_eq!(ledger.step("b", life(1, 1), Total::Count(1), true), Step::Full);
        ledger.begin(); // it was not sent
        assert!(matches!(ledger.step("b", life(1, 1), Total::Count(1), true), Step::Send(..)));
    }

    #[test]
    fn a_counter_that_is_away_for_a_while_is_not_sent_twice() {
        let mut ledger = Ledger::new(8);
        send(&mut ledger, "a", life(0, 0), 100);
        (0..REMEMBERED - 1).for_each(|_| ledger.end());
        assert_eq!(send(&mut ledger, "a", life(0, 0), 101), Some(1));
    }

    proptest! {
        #[test]
        fn what_was_sent_adds_up(steps in prop::collection::vec((any::<bool>(), -1e6..1e6_f64), 1..50)) {
            let mut ledger = Ledger::new(8);
            let (mut total, mut received) = (0.0, 0.0);
            for (arrives, more) in steps {
                total += more;
                ledger.begin();
                if let Step::Send(Total::Sum(new), entry) = ledger.step("a", life(1, 1), Total::Sum(total), false) {
                    if arrives {
                        received += new;
                        ledger.enter([entry]);
                    }
                }
            }
            // Twice: the first makes up for what did not arrive, the second for its rounding.
            for _ in 0..2 {
                if let Step::Send(Total::Sum(new), entry) = ledger.step("a", life(1, 1), Total::Sum(total), false) {
                    received += new;
                    ledger.enter([entry]);
                }
            }
            prop_assert_eq!(received, total);
        }
    }
}
