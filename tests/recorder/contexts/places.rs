//! The places of the matrix: each makes one call where its name says.

use crate::contexts::calls::Call;
use crate::contexts::calls::ID;
use crate::contexts::calls::Made;
use crate::contexts::calls::Subject;
use crate::support::Number;
use crate::support::PATIENCE;
use crate::support::Probe;
use crate::support::by_hand;
use mvx_metrics::Incident;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::Recorder;
use mvx_metrics::Verdict;
use std::cell::RefCell;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::Mutex;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;
use std::thread;
use tokio::runtime::Builder;
use tokio::task::LocalSet;
use tokio::task::spawn_blocking;
use tokio::task::spawn_local;

pub struct Place {
    pub name: &'static str,
    /// Its column of the table, without the first.
    pub column: usize,
    /// Where in the runtime's own code the call is made, if it is.
    entry: Option<Entry>,
    /// Makes the call, or sees to it that somebody does.
    run: fn(Job, &Recorder<Number>, &Desk),
}

/// User code on the worker's thread.
#[derive(Clone, Copy, PartialEq)]
enum Entry {
    Metric,
    Observer,
    Hook,
    Handler,
}

const ELSEWHERE: usize = 0;
const OWN: usize = 1;
const AFTER: usize = 2;

const fn place(name: &'static str, run: fn(Job, &Recorder<Number>, &Desk)) -> Place {
    Place { name, column: ELSEWHERE, entry: None, run }
}

const fn own(name: &'static str, entry: Entry) -> Place {
    Place { name, column: OWN, entry: Some(entry), run: on_the_worker }
}

pub const PLACES: &[Place] = &[
    place("on a plain thread", |job, _, _| on_a_thread(move || by_hand(job.run()))),
    place("in a current-thread runtime", |job, _, _| {
        let tokio = Builder::new_current_thread().build().unwrap();
        tokio.block_on(job.run());
    }),
    place("in a task of a runtime with one worker", |job, _, _| spawned(job, 1)),
    place("in a task of a runtime with several workers", |job, _, _| spawned(job, 4)),
    place("in a local set", |job, _, _| {
        let tokio = Builder::new_current_thread().build().unwrap();
        LocalSet::new().block_on(&tokio, async { spawn_local(job.run()).await.unwrap() });
    }),
    place("in spawn_blocking", |job, _, _| {
        let tokio = Builder::new_multi_thread().worker_threads(1).build().unwrap();
        tokio.block_on(async { spawn_blocking(|| by_hand(job.run())).await.unwrap() });
    }),
    place("in a destructor of a thread-local", at_thread_exit),
    place("in a destructor that runs because of a panic", |job, _, _| while_panicking(job)),
    own("in a metric", Entry::Metric),
    own("in an observer", Entry::Observer),
    own("in a lifecycle hook", Entry::Hook),
    own("in an error handler", Entry::Handler),
    Place {
        name: "on a plain thread after the shutdown",
        column: AFTER,
        entry: None,
        run: |job, _, _| {
            assert!(job.subject.runtime.shutdown(PATIENCE).unwrap().is_complete());
            on_a_thread(move || by_hand(job.run()));
        },
    },
];

/// A call to be made, and where its outcome goes.
pub struct Job {
    pub subject: Subject,
    pub call: &'static Call,
    pub outcome: std::sync::mpsc::Sender<String>,
}

impl Job {
    fn run(self) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
        let Self { subject, call, outcome } = self;
        let made: Made = (call.make)(subject);
        Box::pin(async move { outcome.send(made.await).unwrap() })
    }

    /// Where nothing can be waited for: the outcome has to be there at once.
    fn run_at_once(self) {
        let outcome = self.outcome.clone();
        let polled = self.run().as_mut().poll(&mut Context::from_waker(Waker::noop()));
        if polled == Poll::Pending {
            outcome.send("pending".to_owned()).unwrap();
        }
    }
}

/// Where a job lies until the place's own code takes it.
pub type Desk = Arc<Mutex<Option<Job>>>;

fn take(desk: &Desk) -> Option<Job> {
    desk.lock().unwrap().take()
}

impl Place {
    /// A running runtime with a recorder, and the place's own code in it.
    pub fn build(&self, desk: &Desk) -> Subject {
        let entry = self.entry;
        let here = move |this: Entry, desk: &Desk| (entry == Some(this)).then(|| take(desk)).flatten();
        let (handler, metric, observer, hook) =
            (Arc::clone(desk), Arc::clone(desk), Arc::clone(desk), Arc::clone(desk));
        let told = move |_: &Incident| here(Entry::Handler, &handler).into_iter().for_each(Job::run_at_once);
        let runtime = MetricsRuntime::builder("contexts").on_error(told).build().unwrap();
        runtime.start().unwrap();
        let handle = move |event: &Number| {
            if entry == Some(Entry::Handler) && event.0 == 0 {
                resume_unwind(Box::new("for the handler"));
            }
            here(Entry::Metric, &metric).into_iter().for_each(Job::run_at_once);
            Verdict::Accepted
        };
        let recorder = runtime
            .recorder(ID)
            .capacity(16)
            .metric(Probe::new("events", handle))
            .counter("others", |c| c)
            .on_metric_changed(move |_| {
                here(Entry::Observer, &observer).into_iter().for_each(Job::run_at_once)
            })
            .on_starting(move || {
                let job = here(Entry::Hook, &hook);
                async move {
                    if let Some(job) = job {
                        job.run().await;
                    }
                    Ok(())
                }
            })
            .create()
            .unwrap();
        Subject { runtime, recorder }
    }

    /// Has the call made; its outcome comes through the job's channel.
    pub fn make(&self, job: Job, desk: &Desk) {
        let recorder = job.subject.recorder.clone();
        (self.run)(job, &recorder, desk);
    }
}

fn on_the_worker(job: Job, recorder: &Recorder<Number>, desk: &Desk) {
    *desk.lock().unwrap() = Some(job);
    recorder.register_event(Number(0));
}

fn on_a_thread(act: impl FnOnce() + Send + 'static) {
    thread::spawn(act).join().unwrap();
}

fn spawned(job: Job, workers: usize) {
    let tokio = Builder::new_multi_thread().worker_threads(workers).build().unwrap();
    tokio.block_on(async { tokio::spawn(job.run()).await.unwrap() });
}

/// Makes its call when it is dropped.
struct WhenDropped(Option<Job>);

impl Drop for WhenDropped {
    fn drop(&mut self) {
        if let Some(job) = self.0.take() {
            by_hand(job.run());
        }
    }
}

fn at_thread_exit(job: Job, _: &Recorder<Number>, _: &Desk) {
    thread_local! {
        static LAST: RefCell<WhenDropped> = const { RefCell::new(WhenDropped(None)) };
    }
    on_a_thread(move || LAST.with_borrow_mut(|last| last.0 = Some(job)));
}

fn while_panicking(job: Job) {
    on_a_thread(move || {
        let guard = WhenDropped(Some(job));
        let panicked = catch_unwind(AssertUnwindSafe(move || {
            let _guard = guard;
            resume_unwind(Box::new("a mistake of the caller"));
        }));
        assert!(panicked.is_err());
    });
}
