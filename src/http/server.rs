//! The server's handle, and its thread.

use crate::export::pages::Look;
use crate::export::pages::Pages;
use crate::http::access::Access;
use crate::http::builder::HttpServerBuilder;
use crate::http::serve::serve;
use crate::http::stats::HttpStats;
use crate::http::table::Allowed;
use crate::http::table::Table;
use crate::model::error::Error;
use crate::model::error::ErrorKind;
use crate::model::incident::IncidentKind;
use crate::model::limits;
use crate::recorder::operation::Completer;
use crate::recorder::operation::Operation;
use crate::recorder::operation::would_deadlock;
use crate::runtime::collection::servers::Connections;
use crate::runtime::collection::servers::Served;
use crate::runtime::collection::servers::Serves;
use crate::runtime::reader::RuntimeReader;
use crate::sync::Mutex;
use crate::sync::own_thread;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::Builder;
use std::time::Duration;
use tokio::time::Instant;

/// A server of a runtime's metrics.
///
/// It serves until the first of: its [`shutdown`](Self::shutdown), the drop of this handle (which waits for nobody), and the end of the
/// runtime's own shutdown, during which it still serves. [`detach`](Self::detach) leaves the last alone.
///
/// # Examples
///
/// ```
/// use mvx_metrics::http::HttpServer;
/// use mvx_metrics::prelude::*;
/// use std::io::{Read, Write};
/// use std::net::TcpStream;
/// use std::time::Duration;
///
/// # struct Saved; impl MetricEvent for Saved { fn event_type(&self) -> &'static str { "saved" } }
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let runtime = MetricsRuntime::builder("docs").build()?;
/// runtime.start()?;
/// let recorder = runtime.recorder::<Saved>("storage").counter("document.saves", |c| c).create()?;
/// recorder.register_event(Saved);
/// recorder.flush_blocking(Duration::from_secs(5))?;
///
/// let server = HttpServer::builder(runtime.reader()).port(0).start()?;
/// let mut scraper = TcpStream::connect(server.local_addr().ok_or("not serving")?)?;
/// scraper.write_all(b"GET /metrics HTTP/1.1\r\nHost: docs\r\nConnection: close\r\n\r\n")?;
/// let mut answer = String::new();
/// scraper.read_to_string(&mut answer)?;
/// assert!(answer.starts_with("HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4; charset=utf-8\r\n"));
/// assert!(answer.contains("\r\n\r\n# TYPE document_saves_total counter\ndocument_saves_total{recorder=\"storage\"} 1\n"));
///
/// server.shutdown(Duration::from_secs(5))?;
/// assert_eq!((server.stats().requests, server.stats().renderings), (1, 1));
/// # Ok(())
/// # }
/// ```
#[must_use = "a server ends with its handle; `detach` lets it serve until the runtime ends"]
pub struct HttpServer {
    shared: Arc<Shared>,
    address: Option<SocketAddr>,
    degraded: Option<Error>,
    ended: Operation,
    /// Dropped to end the server.
    stop: Mutex<Option<Completer>>,
}

/// What a builder has collected.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) address: SocketAddr,
    pub(super) may_degrade: bool,
    pub(super) look: Look,
    pub(super) compressed: bool,
    pub(super) patience: Duration,
    pub(super) access: Access,
    #[cfg(feature = "rustls")]
    pub(super) tls: Option<crate::http::tls::Tls>,
    pub(super) allowed: Allowed,
}

/// What the handle, the loop and the connections share.
pub(super) struct Shared {
    pub(super) pages: Pages,
    pub(super) access: Access,
    #[cfg(feature = "rustls")]
    pub(super) tls: Option<crate::http::tls::Tls>,
    pub(super) allowed: Allowed,
    pub(super) table: Mutex<Table>,
    /// Until when answers are finished, once somebody has said so.
    pub(super) grace: Mutex<Option<Instant>>,
    /// What would end a server whose handle was given up.
    detached: Mutex<Option<Completer>>,
}

impl HttpServer {
    /// A builder for a server of this runtime.
    pub fn builder(reader: RuntimeReader) -> HttpServerBuilder {
        HttpServerBuilder::new(reader)
    }

    pub(super) fn start(reader: RuntimeReader, settings: Settings) -> Result<Self, Error> {
        if reader.is_forked() {
            return Err(Error::forked());
        }
        let listener = listen(settings.address);
        let pages = Pages::new(reader.clone(), settings.look, settings.patience, settings.compressed);
        let shared = Arc::new(Shared {
            pages,
            access: settings.access,
            #[cfg(feature = "rustls")]
            tls: settings.tls,
            allowed: settings.allowed,
            table: Mutex::new(Table::new(settings.allowed)),
            grace: Mutex::new(None),
            detached: Mutex::new(None),
        });
        match listener {
            Ok((listener, address)) => {
                let (stop, ended) = spawn(&shared, listener)?;
                reader.show(&address.to_string(), &shared);
                Ok(Self {
                    shared,
                    address: Some(address),
                    degraded: None,
                    ended,
                    stop: Mutex::new(Some(stop)),
                })
            }
            Err(error) if settings.may_degrade => {
                reader.note(IncidentKind::NotServing { error: error.clone() });
                let ended = Operation::done(Ok(()));
                Ok(Self { shared, address: None, degraded: Some(error), ended, stop: Mutex::new(None) })
            }
            Err(error) => Err(error),
        }
    }

    /// The address that it listens on, or has listened on, with the port that was taken for 0; `None` if it was allowed to start without one
    /// and has none.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Why it does not serve although it was started, as it [may](HttpServerBuilder::may_degrade).
    pub fn degraded(&self) -> Option<&Error> {
        self.degraded.as_ref()
    }

    /// Whether it serves: it has an address, and has not ended.
    pub fn is_serving(&self) -> bool {
        self.ended.result().is_none()
    }

    /// What it has done until now. Waits for nobody. While it serves, it is also among what the runtime says of itself: see [`HttpStats`].
    pub fn stats(&self) -> HttpStats {
        self.shared.stats()
    }

    /// Ends the server: its port is free at once, answers that are under way are finished within `timeout`, and what is left then is cut.
    ///
    /// Blocks until it has ended. Asking again waits for the same end, and the first caller's time holds.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::WouldDeadlock`] on one of the runtime's own threads (nothing has happened then); [`ErrorKind::Timeout`] if its thread did not
    /// come to it in time, on a machine that is too busy: it goes on ending. [`ErrorKind::Forked`] in a child process, whose parent has the server.
    pub fn shutdown(&self, timeout: Duration) -> Result<(), Error> {
        if self.shared.pages.reader().is_forked() {
            return Err(Error::forked());
        }
        if own_thread::is_own() && self.is_serving() {
            return Err(would_deadlock());
        }
        let stop = self.stop.lock().take();
        if let Some(stop) = stop {
            *self.shared.grace.lock() = Instant::now().checked_add(timeout);
            stop.complete(Ok(()));
        }
        self.ended.wait(timeout.saturating_add(limits::EXIT_GRACE).saturating_add(limits::START_TIMEOUT))
    }

    /// Gives the handle up: the server serves until its runtime ends.
    ///
    /// # Examples
    ///
    /// ```
    /// use mvx_metrics::MetricsRuntime;
    /// use mvx_metrics::http::HttpServer;
    ///
    /// let runtime = MetricsRuntime::builder("docs").build()?;
    /// HttpServer::builder(runtime.reader()).port(0).start()?.detach();
    /// # Ok::<(), mvx_metrics::Error>(())
    /// ```
    pub fn detach(self) {
        let stop = self.stop.lock().take();
        *self.shared.detached.lock() = stop;
    }
}

impl Shared {
    fn stats(&self) -> HttpStats {
        let scrapes = self.pages.counts();
        let table = self.table.lock();
        HttpStats {
            open: table.open() as u64,
            scrapes: scrapes.scrapes,
            renderings: scrapes.renderings,
            rendering_time: scrapes.rendering_time,
            longest_rendering: scrapes.longest_rendering,
            held_renderings: scrapes.held as u64,
            held_bytes: scrapes.held_bytes as u64,
            late_sources: scrapes.late_sources,
            ..table.stats
        }
    }
}

impl Serves for Shared {
    fn served(&self) -> Option<Served> {
        if self.table.lock().is_ending() {
            return None;
        }
        let stats = self.stats();
        let connections = Connections {
            accepted: stats.connections,
            open: stats.open,
            accept_errors: stats.accept_errors,
            unauthorized: stats.unauthorized,
            malformed: stats.malformed,
            cut_half_sent: stats.cut_half_sent,
            cut_slow: stats.cut_slow,
            cut_for_room: stats.cut_for_room,
            cut_idle: stats.cut_idle,
        };
        Some(Served {
            connections: Some(connections),
            requests: stats.requests,
            refused: stats.refused.saturating_sub(stats.unauthorized),
            unavailable: stats.unavailable,
            ..self.pages.served()
        })
    }
}

fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), Error> {
    let listening = TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    });
    listening.map_err(|cause| {
        let (kind, why) = match cause.kind() {
            io::ErrorKind::AddrInUse => (ErrorKind::AddressInUse, "another socket listens there"),
            _ => (ErrorKind::Io, "the address cannot be had"),
        };
        let message = format!(
            "metrics cannot be served at {address}: {why}; choose another, or port 0 for one that is free"
        );
        Error::new(kind, message).with_source(cause)
    })
}

/// The thread, and what ends it and tells of its end.
fn spawn(shared: &Arc<Shared>, listener: TcpListener) -> Result<(Completer, Operation), Error> {
    let (stop, stopped) = Operation::new(None);
    let (ended, done) = Operation::new(None);
    let (told, ready) = mpsc::channel();
    let serving = Arc::clone(shared);
    let spawned = Builder::new()
        .name(format!("{}.http", shared.pages.reader().namespace()))
        .spawn(move || run(serving, listener, stop, &told, done));
    let failed = match spawned {
        Ok(_) => ready.recv_timeout(limits::START_TIMEOUT).unwrap_or(Ok(())).err(),
        Err(cause) => Some(cause),
    };
    match failed {
        None => Ok((stopped, ended)),
        Some(cause) => {
            let message =
                "the server cannot be started; free some threads or file descriptors and start it again";
            Err(Error::new(ErrorKind::StartFailed, message).with_source(cause))
        }
    }
}

/// The thread's whole life.
fn run(
    shared: Arc<Shared>,
    listener: TcpListener,
    stop: Operation,
    told: &mpsc::Sender<io::Result<()>>,
    done: Completer,
) {
    let begun = tokio::runtime::Builder::new_current_thread().enable_all().build().and_then(|tokio| {
        // The loop's I/O takes the socket in.
        let entered = tokio.enter();
        let listener = tokio::net::TcpListener::from_std(listener)?;
        drop(entered);
        Ok((tokio, listener))
    });
    let (tokio, listener) = match begun {
        Ok(begun) => begun,
        Err(cause) => return drop(told.send(Err(cause))),
    };
    let _ = told.send(Ok(()));
    tokio.block_on(serve(listener, shared, stop));
    drop(tokio);
    done.complete(Ok(()));
}

impl fmt::Debug for HttpServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpServer")
            .field("address", &self.address)
            .field("serving", &self.is_serving())
            .field("degraded", &self.degraded)
            .field("stats", &self.stats())
            .finish()
    }
}
