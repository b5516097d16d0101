//! Recorders in the order in which they came, found by their ids.

use crate::model::heap;
use crate::model::name::RecorderId;
use crate::recorder::hosted::Hosted;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use std::hash::BuildHasher;
use std::hash::RandomState;
use std::sync::Arc;

/// Holes that are not worth closing.
const FEW: usize = 32;

/// What has an id.
pub(super) trait Named {
    fn id(&self) -> &RecorderId;
}

impl Named for Arc<dyn Hosted> {
    fn id(&self) -> &RecorderId {
        &self.identity().id
    }
}

/// Why somebody is not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoPlace {
    /// There is one of the same id.
    Taken,
    /// There are so many, and no more may come.
    Full(usize),
}

/// A list in the order of arrival, with a table of places beside it.
///
/// Whoever goes leaves a hole, so that places stay; when most of the list is holes, it is closed up. So to list all is to walk through memory, mostly
/// in the order in which it was asked for, and costs no sorting. The table holds numbers alone: an id is where its owner keeps it.
#[derive(Debug)]
pub(super) struct Roster<T> {
    places: Vec<Place<T>>,
    by_id: HashTable<u32>,
    holes: usize,
    seed: RandomState,
}

#[derive(Debug)]
struct Place<T> {
    /// Of the id, so that the table can grow without a look at every owner.
    hash: Hash,
    owner: Option<T>,
}

/// A part of what the hasher says, which is enough for the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Hash(u32);

impl Hash {
    /// Spread again: the table takes its tags from the highest bits.
    fn wide(self) -> u64 {
        u64::from(self.0).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

impl<T> Default for Roster<T> {
    fn default() -> Self {
        Self { places: Vec::new(), by_id: HashTable::new(), holes: 0, seed: RandomState::new() }
    }
}

impl<T: Named> Roster<T> {
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn get(&self, id: &RecorderId) -> Option<&T> {
        let hash = self.hash(id);
        let at = self.by_id.find(hash.wide(), |at| is_at(&self.places, *at, hash, id))?;
        self.places.get(*at as usize)?.owner.as_ref()
    }

    /// Adds one, or gives it back if its id is taken or there are so many already.
    pub(super) fn push(&mut self, owner: T, limit: usize) -> Result<(), (NoPlace, T)> {
        let hash = self.hash(owner.id());
        let (there, places) = (self.len(), &mut self.places);
        let entry = self.by_id.entry(
            hash.wide(),
            |at| is_at(places, *at, hash, owner.id()),
            |at| hash_at(places, *at),
        );
        let Entry::Vacant(free) = entry else { return Err((NoPlace::Taken, owner)) };
        match u32::try_from(places.len()) {
            Ok(at) if there < limit => {
                free.insert(at);
                places.push(Place { hash, owner: Some(owner) });
                Ok(())
            }
            _ => Err((NoPlace::Full(there), owner)),
        }
    }

    pub(super) fn remove(&mut self, id: &RecorderId) -> Option<T> {
        let hash = self.hash(id);
        let places = &self.places;
        let found = self.by_id.find_entry(hash.wide(), |at| is_at(places, *at, hash, id)).ok()?;
        let (at, _) = found.remove();
        let owner = self.places.get_mut(at as usize).and_then(|place| place.owner.take());
        self.holes += 1;
        while self.places.last().is_some_and(|place| place.owner.is_none()) {
            self.places.pop();
            self.holes -= 1;
        }
        if self.holes > FEW && self.holes > self.places.len() / 2 {
            self.close_up();
        }
        owner
    }

    /// Everybody, in the order in which they came.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.places.iter().filter_map(|place| place.owner.as_ref())
    }

    /// What it takes on the heap, without its owners.
    pub(super) fn heap_bytes(&self) -> usize {
        heap::vec(&self.places) + heap::map(self.by_id.capacity(), size_of::<u32>())
    }

    fn hash(&self, id: &RecorderId) -> Hash {
        Hash(self.seed.hash_one(id.as_str()) as u32)
    }

    /// The cost is shared by the removals that made the holes.
    fn close_up(&mut self) {
        self.places.retain(|place| place.owner.is_some());
        self.holes = 0;
        let enough = 2 * self.places.len();
        if self.places.capacity() > 2 * enough {
            self.places.shrink_to(enough);
            self.by_id = HashTable::with_capacity(enough);
        }
        self.by_id.clear();
        let places = &self.places;
        for (at, place) in (0_u32..).zip(places) {
            self.by_id.insert_unique(place.hash.wide(), at, |at| hash_at(places, *at));
        }
    }
}

fn is_at<T: Named>(places: &[Place<T>], at: u32, hash: Hash, id: &RecorderId) -> bool {
    let place = places.get(at as usize);
    place
        .is_some_and(|place| place.hash == hash && place.owner.as_ref().is_some_and(|owner| owner.id() == id))
}

fn hash_at<T>(places: &[Place<T>], at: u32) -> u64 {
    places.get(at as usize).map_or(0, |place| place.hash.wide())
}

#[cfg(test)]
#[cfg(not(mvx_loom))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug, PartialEq)]
    struct Owner(RecorderId, u32);

    impl Named for Owner {
        fn id(&self) -> &RecorderId {
            &self.0
        }
    }

    const LIMIT: usize = 120;

    fn id(number: u32) -> RecorderId {
        RecorderId::new(&format!("recorder-{number}")).unwrap()
    }

    fn check(roster: &Roster<Owner>, expected: &[Owner]) -> Result<(), TestCaseError> {
        prop_assert_eq!(roster.iter().collect::<Vec<_>>(), expected.iter().collect::<Vec<_>>());
        prop_assert_eq!(roster.len(), expected.len());
        for owner in expected {
            prop_assert_eq!(roster.get(&owner.0), Some(owner));
        }
        prop_assert!(roster.places.len() <= FEW + 1 + 2 * expected.len(), "{} places", roster.places.len());
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn it_is_a_list_whose_members_are_found_by_id(steps in prop::collection::vec((any::<bool>(), 0_u32..300), 0..1_500)) {
            let mut roster = Roster::default();
            let mut expected: Vec<Owner> = Vec::new();
            for (step, (enters, number)) in (0_u32..).zip(steps) {
                let there = expected.iter().position(|owner| owner.0 == id(number));
                prop_assert_eq!(roster.get(&id(number)).is_some(), there.is_some());
                if enters {
                    let owner = Owner(id(number), step);
                    let pushed = roster.push(owner.clone(), LIMIT);
                    if there.is_some() {
                        prop_assert_eq!(pushed, Err((NoPlace::Taken, owner)));
                    } else if expected.len() == LIMIT {
                        prop_assert_eq!(pushed, Err((NoPlace::Full(LIMIT), owner)));
                    } else {
                        prop_assert_eq!(pushed, Ok(()));
                        expected.push(owner);
                    }
                } else {
                    let removed = there.map(|at| expected.remove(at));
                    prop_assert_eq!(roster.remove(&id(number)), removed);
                }
                if step % 200 == 0 {
                    check(&roster, &expected)?;
                }
            }
            check(&roster, &expected)?;
        }
    }

    #[test]
    fn what_many_took_is_given_back_when_most_are_gone() {
        let mut roster = Roster::default();
        (0..10_000).for_each(|number| assert_eq!(roster.push(Owner(id(number), number), 10_000), Ok(())));
        let most = roster.heap_bytes();
        (0..9_900).for_each(|number| assert!(roster.remove(&id(number)).is_some(), "{number}"));
        assert!(roster.heap_bytes() < most / 20, "{} of {most} bytes", roster.heap_bytes());
        let left: Vec<u32> = roster.iter().map(|owner| owner.1).collect();
        assert_eq!(left, (9_900..10_000).collect::<Vec<_>>());
    }
}
