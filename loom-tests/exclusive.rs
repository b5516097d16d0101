//! `sync::Exclusive`: at most one claim at a time, and each sees what the one before wrote.
//!
//! seeded bug: claim_by_store caught by loom_tests::exclusive::claims_never_overlap_and_see_each_other
//! seeded bug: unclaim_relaxed caught by loom_tests::exclusive::claims_never_overlap_and_see_each_other

use super::explore;
use crate::sync::Exclusive;
use loom::sync::Arc;
use loom::thread;

/// Claims once, and says whether that succeeded. The increment is a read and a write of a cell that loom watches for races.
fn try_increment(cell: &Exclusive<u64>) -> u64 {
    cell.claim().map_or(0, |mut value| {
        *value += 1;
        1
    })
}

#[test]
fn claims_never_overlap_and_see_each_other() {
    explore("exclusive", 3, || {
        let cell = Arc::new(Exclusive::new(0));
        let others: Vec<_> = (0..2)
            .map(|_| {
                let cell = Arc::clone(&cell);
                thread::spawn(move || try_increment(&cell) + try_increment(&cell))
            })
            .collect();
        let mut succeeded = try_increment(&cell);
        for other in others {
            succeeded += other.join().unwrap();
        }
        assert!(succeeded >= 1, "a claim on a free cell was refused");
        assert_eq!(cell.claim().map(|value| *value), Some(succeeded));
    });
}
