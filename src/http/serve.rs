//! The loop: accepts connections until the server or its runtime ends.

use crate::http::connection;
use crate::http::server::Shared;
use crate::model::limits;
use crate::recorder::operation::Operation;
use crate::runtime::reader::RuntimeReader;
use std::future::Future;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::pin::pin;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio::time::Sleep;

/// Connections accepted in one go, before those that are there get their turn.
const ACCEPTS: usize = 32;

/// How long nobody is accepted while all who are there have hardly come.
const CROWDED_PAUSE: Duration = Duration::from_millis(5);

/// Serves until `stop` or the runtime is over, then lets answers be finished.
pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>, stop: Operation) {
    let mut door = Door { listener, tasks: JoinSet::new(), pause: None, shared: Arc::clone(&shared) };
    let mut stop = stop;
    let mut over = pin!(over(shared.pages.reader().clone()));
    poll_fn(|context| {
        if Pin::new(&mut stop).poll(context).is_ready() || over.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        door.poll(context);
        Poll::Pending
    })
    .await;
    let Door { listener, mut tasks, .. } = door;
    // First, so that who takes the port finds its name free as well.
    let closed = shared.table.lock().end();
    // The port is free from here on.
    drop(listener);
    closed.iter().for_each(|task| task.abort());
    let until = shared.grace.lock().unwrap_or_else(|| Instant::now() + limits::SERVER_GRACE);
    let finished = async { while tasks.join_next().await.is_some() {} };
    // Who is not finished by then is cut with the set.
    let _ = tokio::time::timeout_at(until, finished).await;
}

/// Over with the runtime's shutdown, or when the runtime is gone.
async fn over(reader: RuntimeReader) {
    if let Some(begun) = reader.shutdown_begun() {
        // An error says that nobody can begin one any more.
        let _ = begun.await;
    }
    if let Some(shutdown) = reader.shutdown() {
        let _ = shutdown.await;
    }
}

/// Where connections come in.
struct Door {
    listener: TcpListener,
    tasks: JoinSet<()>,
    /// Until then nobody is accepted.
    pause: Option<Pin<Box<Sleep>>>,
    shared: Arc<Shared>,
}

impl Door {
    /// Accepts who waits, and comes back when somebody does.
    fn poll(&mut self, context: &mut Context<'_>) {
        while let Poll::Ready(Some(_)) = self.tasks.poll_join_next(context) {}
        for _ in 0..ACCEPTS {
            if let Some(pause) = &mut self.pause {
                if pause.as_mut().poll(context).is_pending() {
                    return;
                }
                self.pause = None;
            }
            if self.shared.table.lock().is_crowded(Instant::now()) {
                // Whoever comes waits at the port.
                self.pause = Some(Box::pin(tokio::time::sleep(CROWDED_PAUSE)));
                continue;
            }
            match self.listener.poll_accept(context) {
                Poll::Ready(Ok((stream, _))) => self.admit(stream),
                Poll::Ready(Err(error)) if self.goes_on_after(&error) => {}
                // First what was cut has to go.
                Poll::Ready(Err(_)) => break,
                Poll::Pending => return,
            }
        }
        context.waker().wake_by_ref();
    }

    fn admit(&mut self, stream: TcpStream) {
        // An answer is written in one go; it does not wait for more.
        let _ = stream.set_nodelay(true);
        let (id, cut) = self.shared.table.lock().enter(Instant::now());
        if let Some(cut) = cut {
            cut.abort();
        }
        let task = self.tasks.spawn(connection::attend(Arc::clone(&self.shared), id, stream));
        self.shared.table.lock().attend(id, task);
    }

    /// Nothing ends the loop. A client that has gone is its own affair. Else something ran out, most likely descriptors: a connection without a
    /// head gives its own, and if there is none the next try waits. False if it is not to be tried at once.
    fn goes_on_after(&mut self, error: &io::Error) -> bool {
        let gone = matches!(
            error.kind(),
            io::ErrorKind::ConnectionAborted
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionRefused
        );
        let cut = {
            let mut table = self.shared.table.lock();
            table.stats.accept_errors += 1;
            if gone { None } else { table.oldest_headless() }
        };
        match cut {
            _ if gone => true,
            Some(cut) => {
                cut.abort();
                false
            }
            None => {
                self.pause = Some(Box::pin(tokio::time::sleep(limits::ACCEPT_PAUSE)));
                true
            }
        }
    }
}
