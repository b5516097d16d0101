//! `Published`: readers take what is published while a writer replaces it and uses what comes back again.
//!
//! The payload is a cell that loom watches: a reader that still looks while the writer changes a reclaimed value is a race, a value
//! freed under a reader is one, too, and a value that is never freed is a leak.
//!
//! seeded bug: refill_blindly caught by loom_tests::published::two_readers_and_a_writer_that_reuses
//! seeded bug: release_unseen caught by loom_tests::published::two_readers_and_a_writer_that_reuses

use super::explore;
use crate::queue::published::Published;
use crate::queue::published::Shared;
use crate::sync::UnsafeCell;
use loom::alloc::Track;
use loom::sync::Arc;
use loom::thread;

struct Payload {
    version: UnsafeCell<u64>,
    _alive: Track<()>,
}

// SAFETY: shared for reading, and changed only through `get_mut`, which is what the model checks.
unsafe impl Sync for Payload {}

impl Payload {
    fn shared(version: u64) -> Shared<Self> {
        Shared::new(Self { version: UnsafeCell::new(version), _alive: Track::new(()) })
    }

    fn version(&self) -> u64 {
        // SAFETY: loom ends the model if this races with a write.
        self.version.with(|version| unsafe { *version })
    }
}

impl Drop for Payload {
    fn drop(&mut self) {
        // A write, so that a reader that still looks is caught.
        // SAFETY: loom ends the model if this races with a read.
        self.version.with_mut(|version| unsafe { *version = u64::MAX });
    }
}

/// Loads `count` times; versions never go back.
fn read(cell: &Published<Payload>, count: u64) {
    let mut last = 0;
    for _ in 0..count {
        let seen = cell.load().version();
        assert!(seen >= last && seen != u64::MAX, "{seen} after {last}");
        last = seen;
    }
}

/// Publishes versions `1..=count`, in what comes back whenever nobody holds it any more.
fn write(cell: &Published<Payload>, count: u64) {
    let mut spare = None::<Shared<Payload>>;
    for version in 1..=count {
        let mut next = spare.take().unwrap_or_else(|| Payload::shared(0));
        match next.get_mut() {
            // SAFETY: loom ends the model if a reader still looks.
            Some(payload) => payload.version.with_mut(|place| unsafe { *place = version }),
            None => next = Payload::shared(version),
        }
        spare = Some(cell.replace(next));
    }
}

/// Readers with so many loads each on threads of their own, and a writer on the main one.
fn race(readers: &[u64], replaces: u64) {
    let cell = Arc::new(Published::new(Payload::shared(0)));
    let readers: Vec<_> = readers
        .iter()
        .map(|&count| {
            let cell = Arc::clone(&cell);
            thread::spawn(move || read(&cell, count))
        })
        .collect();
    write(&cell, replaces);
    for reader in readers {
        reader.join().unwrap();
    }
    assert_eq!(cell.load().version(), replaces);
}

/// Two readers meet the refill on the same node (the second taken reference is where it begins), while the writer replaces
/// that node and takes it back.
#[test]
fn two_readers_and_a_writer_that_reuses() {
    explore("two_readers_and_a_writer_that_reuses", 3, || race(&[2, 2], 2));
}

/// A reader that looks on while three versions go by in two nodes.
#[test]
fn a_reader_and_three_versions() {
    explore("a_reader_and_three_versions", 3, || race(&[3], 3));
}
