//! A shutdown at SIGTERM or Ctrl-C.
//!
//! On a thread of its own, with a tokio loop of its own: the worker's loop is not looked at while user code holds the worker or a
//! stream of events keeps it busy, and a signal must be noticed just then.

use crate::model::error::Error;
use crate::model::error::ErrorKind;
use crate::model::limits;
use crate::recorder::operation::Completer;
use crate::recorder::operation::Operation;
use crate::runtime::Inner;
use crate::runtime::report::ShutdownReport;
use crate::runtime::shutdown;
use std::future::Future;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc;
use std::task::Context;
use std::task::Poll;
use std::thread::Builder;
use std::time::Duration;

/// Begins to listen, or joins whoever has; the operation ends with the report of the shutdown, whoever began it.
pub(crate) fn listen(inner: &Arc<Inner>, deadline: Duration) -> Operation<ShutdownReport> {
    if inner.control.hub.is_forked() {
        return Operation::done(Err(Error::forked()));
    }
    let (begun, on_shutdown) = Operation::new(None);
    let (operation, done) = Operation::new(None);
    {
        let mut life = inner.life.lock();
        if let Some(there) = life.shutdown.as_ref().or(life.signals.as_ref()) {
            return there.clone();
        }
        life.signals = Some(operation.clone());
        life.on_shutdown = Some(on_shutdown);
    }
    let (told, ready) = mpsc::channel();
    let listener = Arc::clone(inner);
    let spawned = Builder::new()
        .name(format!("{}.signals", inner.namespace))
        .spawn(move || run(&listener, deadline, begun, &told, done));
    // The answer when it cannot be had: the thread has dropped its end, or there is none.
    let failed = match spawned {
        Ok(_) => ready.recv_timeout(limits::START_TIMEOUT).unwrap_or(Ok(())).err(),
        Err(cause) => Some(cause),
    };
    if let Some(cause) = failed {
        let mut life = inner.life.lock();
        (life.signals, life.on_shutdown) = (None, None);
        let message = "signals cannot be listened to; free some threads or file descriptors and ask again, or shut down by yourself";
        return Operation::done(Err(Error::new(ErrorKind::StartFailed, message).with_source(cause)));
    }
    operation
}

/// The thread's whole life.
fn run(
    inner: &Arc<Inner>,
    deadline: Duration,
    begun: Operation,
    told: &mpsc::Sender<io::Result<()>>,
    done: Completer<ShutdownReport>,
) {
    let tokio = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(tokio) => tokio,
        Err(cause) => return drop(told.send(Err(cause))),
    };
    let signalled = tokio.block_on(async {
        let mut signals = match Signals::install() {
            Ok(signals) => signals,
            Err(cause) => {
                let _ = told.send(Err(cause));
                return None;
            }
        };
        let _ = told.send(Ok(()));
        let mut begun = begun;
        let either = poll_fn(|context| {
            if signals.poll(context).is_ready() {
                return Poll::Ready(true);
            }
            Pin::new(&mut begun).poll(context).map(|_| false)
        });
        Some(either.await)
    });
    let Some(signalled) = signalled else { return };
    if signalled {
        // First, so that a second signal finds it done: the shutdown may take as long as its deadline.
        #[cfg(unix)]
        crate::sync::signals::restore();
    }
    let report = shutdown::begin(inner, deadline).wait(Duration::MAX);
    done.complete(report);
}

/// The signals that end a process politely.
#[cfg(unix)]
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn install() -> io::Result<Self> {
        use tokio::signal::unix::SignalKind;
        use tokio::signal::unix::signal;
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let terminated = self.terminate.poll_recv(context).is_ready();
        let interrupted = self.interrupt.poll_recv(context).is_ready();
        if terminated || interrupted { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// Ctrl-C alone.
#[cfg(not(unix))]
struct Signals(Pin<Box<dyn Future<Output = io::Result<()>>>>);

#[cfg(not(unix))]
impl Signals {
    fn install() -> io::Result<Self> {
        Ok(Self(Box::pin(tokio::signal::ctrl_c())))
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(context).map(|_| ())
    }
}
