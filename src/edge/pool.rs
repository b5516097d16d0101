//! A few threads for work that blocks or takes its time: rendering, compression, sources that hang.
//!
//! The number of threads has a bound, and so has the number of jobs that wait for one. A job that never returns keeps its thread: it is not
//! replaced, so what hangs costs a known number of threads at most. Who waits for a job waits with a deadline of its own.

use crate::model::limits;
use crate::queue::call_user;
use crate::queue::drop_quietly;
use crate::sync::Monitor;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::thread::Builder;

/// Threads that are made when there is work, and end a while after the last.
///
/// Dropping the pool waits for nobody: jobs that wait are dropped, those at work end by themselves.
pub(crate) struct Pool(Arc<Shared>);

struct Shared {
    name: String,
    threads: usize,
    waiting: usize,
    state: Monitor<State>,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
    closed: bool,
}

type Job = Box<dyn FnOnce() + Send>;

impl Pool {
    /// A pool of at most `threads` threads of this name, in which at most `waiting` jobs wait.
    pub(crate) fn new(name: String, threads: usize, waiting: usize) -> Self {
        Self(Arc::new(Shared { name, threads, waiting, state: Monitor::new(State::default()) }))
    }

    /// Hands a job over; false if every thread is busy and as many jobs wait as may, or there is no thread to be had. The job is dropped
    /// then. What it panics with is dropped, too.
    pub(crate) fn run(&self, job: impl FnOnce() + Send + 'static) -> bool {
        let mut job: Option<Job> = Some(Box::new(job));
        let mut state = self.0.state.lock();
        let needs_thread = state.idle <= state.jobs.len();
        let may_have_thread = state.threads < self.0.threads;
        if needs_thread && !may_have_thread && state.jobs.len() >= self.0.waiting.saturating_add(state.idle) {
            drop(state);
            drop_quietly(job);
            return false;
        }
        state.jobs.extend(job.take());
        if needs_thread && may_have_thread {
            state.threads += 1;
            drop(state);
            return self.spawn();
        }
        drop(state);
        self.0.state.tell_all();
        true
    }

    fn spawn(&self) -> bool {
        let shared = Arc::clone(&self.0);
        let spawned = Builder::new().name(self.0.name.clone()).spawn(move || shared.work());
        if spawned.is_ok() {
            return true;
        }
        let mut state = self.0.state.lock();
        state.threads -= 1;
        // Another thread comes to it; without one nobody would.
        let stranded = if state.threads == 0 { std::mem::take(&mut state.jobs) } else { VecDeque::new() };
        drop(state);
        let taken = stranded.is_empty();
        drop_quietly(stranded);
        taken
    }
}

impl Shared {
    /// The life of one thread.
    fn work(&self) {
        while let Some(job) = self.next() {
            if let Err(payload) = call_user(job) {
                drop_quietly(payload);
            }
        }
    }

    /// The next job; none when the thread is to end, which is written down by then.
    fn next(&self) -> Option<Job> {
        let mut state = self.state.lock();
        let mut waited = false;
        loop {
            if let Some(job) = state.jobs.pop_front() {
                return Some(job);
            }
            if state.closed || waited {
                state.threads -= 1;
                return None;
            }
            state.idle += 1;
            let until = std::time::Instant::now() + limits::POOL_REST;
            while state.jobs.is_empty() && !state.closed && !waited {
                let left = until.saturating_duration_since(std::time::Instant::now());
                waited = left.is_zero();
                if !waited {
                    state = self.state.wait(state, left);
                }
            }
            state.idle -= 1;
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let jobs = {
            let mut state = self.0.state.lock();
            state.closed = true;
            std::mem::take(&mut state.jobs)
        };
        self.0.state.tell_all();
        drop_quietly(jobs);
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.state.lock();
        f.debug_struct("Pool").field("threads", &state.threads).field("waiting", &state.jobs.len()).finish()
    }
}

#[cfg(test)]
#[cfg(not(mvx_loom))]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::Duration;

    const PATIENCE: Duration = Duration::from_secs(20);

    #[test]
    fn jobs_that_hang_keep_their_threads_and_never_get_more() {
        let pool = Pool::new("hang".into(), 2, 1);
        let (release, held) = mpsc::channel::<()>();
        let held = Arc::new(crate::sync::Mutex::new(held));
        let (told, begun) = mpsc::channel();
        let hang = |told: mpsc::Sender<()>| {
            let held = Arc::clone(&held);
            move || {
                told.send(()).unwrap();
                let _ = held.lock().recv();
            }
        };
        assert!(pool.run(hang(told.clone())));
        begun.recv_timeout(PATIENCE).unwrap();
        assert!(pool.run(hang(told.clone())));
        begun.recv_timeout(PATIENCE).unwrap();
        assert!(pool.run(hang(told.clone())), "one may wait");
        assert!(!pool.run(hang(told.clone())), "and no second one");
        assert!(format!("{pool:?}").contains("threads: 2, waiting: 1"), "{pool:?}");
        drop(release);
        begun.recv_timeout(PATIENCE).unwrap();
    }

    #[test]
    fn a_panic_ends_its_job_and_nothing_else() {
        let pool = Pool::new("panic".into(), 1, 8);
        let (told, done) = mpsc::channel();
        assert!(pool.run(|| std::panic::resume_unwind(Box::new("on purpose"))));
        assert!(pool.run(move || told.send(7).unwrap()));
        assert_eq!(done.recv_timeout(PATIENCE), Ok(7));
    }

    #[test]
    fn what_waits_in_a_dropped_pool_is_dropped_at_once() {
        let pool = Pool::new("dropped".into(), 1, 8);
        let (release, held) = mpsc::channel::<()>();
        let (told, begun) = mpsc::channel();
        assert!(pool.run(move || {
            told.send(()).unwrap();
            let _ = held.recv();
        }));
        begun.recv_timeout(PATIENCE).unwrap();
        let (never, dropped) = mpsc::channel::<()>();
        assert!(pool.run(move || drop(never)));
        drop(pool);
        assert_eq!(dropped.try_recv(), Err(mpsc::TryRecvError::Disconnected));
        drop(release);
    }
}
