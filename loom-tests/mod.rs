//! Models of the crate's protocols: the real `sync` and `queue`, run by loom through every order of their atomic operations
//! and every value that an acquire or relaxed load may return, up to a bound of preemptions.
//!
//! ```text
//! RUSTFLAGS="--cfg mvx_loom" cargo test --lib --profile loom loom_tests::                     all models
//! RUSTFLAGS="--cfg mvx_loom" cargo test --lib --profile loom loom_tests:: -- --nocapture      with executions and time of each
//! MVX_BUG=rest_by_store RUSTFLAGS="--cfg mvx_loom" \
//!     cargo test --lib --profile loom loom_tests::hand_off::                                  must fail: a seeded bug
//! ```
//!
//! Models run by module path, so a new one is never forgotten. Each file names at its top the seeded bugs that it catches, in lines
//! of the form `seeded bug: NAME caught by TEST`; the sources carry them behind `seeded("NAME")`. A model that catches nothing
//! when its protocol is weakened proves nothing.
//!
//! Under `mvx_loom` blocks have 1 and 2 slots, and a publication cell prepays 8 references and refills at 2, so a handful of events
//! or reads crosses every boundary. Every protocol has a model that explores 3 preemptions; larger ones beside it explore 2. `MVX_LOOM_MORE=1` adds
//! one to each (`just loom-deep`). loom counts a switch away from a thread that could go on, not those at its end or at a wait.

mod abandon;
mod drop_oldest;
mod exclusive;
mod flush;
mod hand_off;
mod published;
mod ready_list;
mod removal;
mod restart;
mod shutdown;
mod subscription;
mod waiters;

use crate::queue::Rest;
use loom::model::Builder;
use loom::thread;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// Turns that no drain needs: several times what the models' handful of events and threads takes.
const TURNS: u64 = 40;

/// Gives a recorder turns until one ends idle, as whoever must schedule it. A turn that cannot go on lets the others go on first,
/// so more of them than `TURNS` mean that something never comes.
fn work(mut turn: impl FnMut() -> Option<Rest>) {
    for turns in 0.. {
        assert!(turns < TURNS, "the queue never rests");
        if turn() == Some(Rest::Idle) {
            return;
        }
        thread::yield_now();
    }
}

/// Runs `model` through every execution with at most `preemptions` of them, and `MVX_LOOM_MORE` more, and says how many executions that was.
fn explore(name: &str, preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let executions = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&executions);
    let start = Instant::now();
    let mut builder = Builder::new();
    let more = std::env::var("MVX_LOOM_MORE").map_or(0, |more| more.parse().unwrap());
    let preemptions = preemptions + more;
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 2_000;
    builder.check(move || {
        counter.fetch_add(1, Ordering::Relaxed);
        model();
    });
    let executions = executions.load(Ordering::Relaxed);
    println!("{name}: {executions} executions, {preemptions} preemptions, {:.1?}", start.elapsed());
    assert!(executions > 1, "a model with one execution has no concurrency in it");
}
