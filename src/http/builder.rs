//! How a server is set up.

use crate::export::pages::Look;
use crate::http::access::Access;
use crate::http::server::HttpServer;
use crate::http::server::Settings;
use crate::http::table::Allowed;
use crate::model::error::Error;
use crate::model::error::ErrorKind;
use crate::model::limits;
use crate::runtime::collection::Fold;
use crate::runtime::reader::RuntimeReader;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::time::Duration;

/// Sets up an [`HttpServer`]. What is set is checked at [`start`](Self::start).
///
/// | setting | default | at the bound |
/// |---|---|---|
/// | [`head_time`](Self::head_time) | [`HEAD_TIME`](crate::limits::HEAD_TIME) | the connection is cut |
/// | [`max_head_bytes`](Self::max_head_bytes) | [`MAX_HEAD_BYTES`](crate::limits::MAX_HEAD_BYTES) | 431, and the connection is closed |
/// | [`answer_time`](Self::answer_time) | [`ANSWER_TIME`](crate::limits::ANSWER_TIME) | the connection is cut |
/// | [`kept_time`](Self::kept_time) | [`KEPT_TIME`](crate::limits::KEPT_TIME) | the connection is closed |
/// | [`max_headless`](Self::max_headless) | [`MAX_HEADLESS`](crate::limits::MAX_HEADLESS) | the oldest of them is cut |
/// | [`max_answered`](Self::max_answered) | [`MAX_ANSWERED`](crate::limits::MAX_ANSWERED) | the slowest reader is cut; 503 if none is slow |
/// | - | [`MAX_RENDERINGS`](crate::limits::MAX_RENDERINGS) | the slowest reader is cut; 503 if none is slow |
/// | [`source_patience`](Self::source_patience) | [`SOURCE_PATIENCE`](crate::limits::SOURCE_PATIENCE) | what sources gave last is shown |
///
/// # Examples
///
/// ```
/// use mvx_metrics::MetricsRuntime;
/// use mvx_metrics::http::HttpServer;
/// use std::time::Duration;
///
/// let runtime = MetricsRuntime::builder("docs").build()?;
/// let server = HttpServer::builder(runtime.reader())
///     .port(0) // one that is free, on this machine only
///     .bearer("the-scrapers-secret")
///     .kept_time(Duration::from_secs(20))
///     .start()?;
/// assert!(server.local_addr().is_some_and(|address| address.ip().is_loopback()));
/// # Ok::<(), mvx_metrics::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a server begins with `start`"]
pub struct HttpServerBuilder {
    reader: RuntimeReader,
    settings: Settings,
    mistake: Option<Error>,
}

/// Where metrics of OpenTelemetry's are served, too.
const PORT: u16 = 9464;

impl HttpServerBuilder {
    pub(super) fn new(reader: RuntimeReader) -> Self {
        let allowed = Allowed {
            head_time: limits::HEAD_TIME,
            head_bytes: limits::MAX_HEAD_BYTES,
            answer_time: limits::ANSWER_TIME,
            kept_time: limits::KEPT_TIME,
            answered: limits::MAX_ANSWERED,
            headless: limits::MAX_HEADLESS,
        };
        let settings = Settings {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, PORT)),
            may_degrade: false,
            look: Look { fold: Fold::default(), vitals: true },
            compressed: true,
            patience: limits::SOURCE_PATIENCE,
            access: Access::default(),
            #[cfg(feature = "rustls")]
            tls: None,
            allowed,
        };
        Self { reader, settings, mistake: None }
    }

    /// The address to listen on. Without it, the loopback address with port 9464: what a program measures is for its machine alone, until
    /// somebody says otherwise. Port 0 takes one that is free; [`HttpServer::local_addr`] says which.
    pub fn bind(mut self, address: impl Into<SocketAddr>) -> Self {
        self.settings.address = address.into();
        self
    }

    /// The port, of the address that is set.
    pub fn port(mut self, port: u16) -> Self {
        self.settings.address.set_port(port);
        self
    }

    /// Whether [`start`](Self::start) succeeds without the address, such as when its port is taken: for programs that would rather run unseen
    /// than not at all. Then there is no server, [`HttpServer::degraded`] says why, and the runtime's error handlers are told of
    /// [`IncidentKind::NotServing`](crate::IncidentKind::NotServing).
    ///
    /// # Examples
    ///
    /// ```
    /// use mvx_metrics::http::HttpServer;
    /// use mvx_metrics::{ErrorKind, MetricsRuntime};
    ///
    /// let runtime = MetricsRuntime::builder("docs").build()?;
    /// let first = HttpServer::builder(runtime.reader()).port(0).start()?;
    /// let Some(taken) = first.local_addr() else { unreachable!() };
    ///
    /// let second = HttpServer::builder(runtime.reader()).bind(taken);
    /// assert_eq!(second.clone().start().unwrap_err().kind(), ErrorKind::AddressInUse);
    /// let second = second.may_degrade(true).start()?;
    /// assert_eq!(second.degraded().map(|error| error.kind()), Some(ErrorKind::AddressInUse));
    /// assert_eq!(second.local_addr(), None);
    /// # Ok::<(), mvx_metrics::Error>(())
    /// ```
    pub fn may_degrade(mut self, may: bool) -> Self {
        self.settings.may_degrade = may;
        self
    }

    /// Shows recorders one by one, as by default, or folded by group.
    pub fn fold(mut self, fold: Fold) -> Self {
        self.settings.look.fold = fold;
        self
    }

    /// Shows what the runtime says of itself, as by default, or leaves it out.
    pub fn vitals(mut self, shown: bool) -> Self {
        self.settings.look.vitals = shown;
        self
    }

    /// Compresses pages for clients that accept gzip, or zstd with the feature of that name, as by default, or never does.
    pub fn compression(mut self, compressed: bool) -> Self {
        self.settings.compressed = compressed;
        self
    }

    /// Answers only requests with this bearer token, or with what [`basic`](Self::basic) asks for. It is compared in constant time, and
    /// neither shown nor logged. Over a network it is as secret as the connection is.
    pub fn bearer(mut self, token: impl AsRef<str>) -> Self {
        let token = token.as_ref();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            self.mistake = Some(Error::new(
                ErrorKind::InvalidCredential,
                "a bearer token must be visible ASCII, or no client could send it; choose one of letters and digits",
            ));
        }
        self.settings.access.set_bearer(token);
        self
    }

    /// Answers only requests with this name and password (the scheme `Basic`), or with the token of [`bearer`](Self::bearer). They are compared
    /// in constant time, and neither shown nor logged. Over a network they are as secret as the connection is.
    pub fn basic(mut self, user: impl AsRef<str>, password: impl AsRef<str>) -> Self {
        let (user, password) = (user.as_ref(), password.as_ref());
        if user.contains(':') || password.is_empty() {
            self.mistake = Some(Error::new(
                ErrorKind::InvalidCredential,
                "a name for `Basic` has no colon, and a password is not blank; choose others",
            ));
        }
        self.settings.access.set_basic(user, password);
        self
    }

    /// Serves over TLS alone, with this chain of certificates (the server's own first) and its private key, both in PEM: 1.2 and 1.3, by rustls. What
    /// is not TLS is closed. The handshake is a part of [`head_time`](Self::head_time). The key is neither shown nor logged.
    ///
    /// # Examples
    ///
    /// ```
    /// use mvx_metrics::http::HttpServer;
    /// use mvx_metrics::{ErrorKind, MetricsRuntime};
    ///
    /// let runtime = MetricsRuntime::builder("docs").build()?;
    /// let (chain, key) = ("not a certificate", "not a key"); // std::fs::read("server.pem")?
    /// let refused = HttpServer::builder(runtime.reader()).tls(chain, key).start();
    /// assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidCredential);
    /// # Ok::<(), mvx_metrics::Error>(())
    /// ```
    #[cfg(feature = "rustls")]
    pub fn tls(mut self, chain: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Self {
        match crate::http::tls::Tls::new(chain.as_ref(), key.as_ref()) {
            Ok(tls) => self.settings.tls = Some(tls),
            Err(mistake) => self.mistake = Some(mistake),
        }
        self
    }

    /// How long the head of a request may take, from its first byte; of a new connection, from the beginning.
    pub fn head_time(mut self, time: Duration) -> Self {
        self.settings.allowed.head_time = time;
        self
    }

    /// How large the head of a request may be: [`MIN_HEAD_BYTES`](crate::limits::MIN_HEAD_BYTES) at least.
    pub fn max_head_bytes(mut self, bytes: usize) -> Self {
        self.settings.allowed.head_bytes = bytes;
        self
    }

    /// How long an answer may take, from the request's head to the last byte that the client takes.
    pub fn answer_time(mut self, time: Duration) -> Self {
        self.settings.allowed.answer_time = time;
        self
    }

    /// How long a connection may stay open between two requests.
    pub fn kept_time(mut self, time: Duration) -> Self {
        self.settings.allowed.kept_time = time;
        self
    }

    /// How many connections may be without a complete head: new, half-sent, or between two requests. Of one more the oldest is cut, as soon as it
    /// has had [`HEADLESS_LEAST`](crate::limits::HEADLESS_LEAST); until then the new one waits at the port.
    pub fn max_headless(mut self, connections: usize) -> Self {
        self.settings.allowed.headless = connections;
        self
    }

    /// How many requests are answered at a time. For one more, a client is cut that takes nothing of its answer
    /// ([`STALLED_AFTER`](crate::limits::STALLED_AFTER)) or has been at it for a while ([`SLOW_AFTER`](crate::limits::SLOW_AFTER)) at less than
    /// [`LEAST_RATE`](crate::limits::LEAST_RATE); if there is none, the new one gets 503.
    pub fn max_answered(mut self, requests: usize) -> Self {
        self.settings.allowed.answered = requests;
        self
    }

    /// How long a rendering waits for sources that are due. One that takes longer goes on by itself; what it gave last is shown.
    pub fn source_patience(mut self, patience: Duration) -> Self {
        self.settings.patience = patience;
        self
    }

    /// Listens, and serves from now on. Costs a thread, and waits until that has its loop.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::AddressInUse`] if the port is taken, [`ErrorKind::Io`] with the cause if the address cannot be had otherwise, neither if it
    /// [may degrade](Self::may_degrade); [`ErrorKind::InvalidLimit`] for a setting that nothing could be served with, [`ErrorKind::InvalidCredential`] for a secret of that kind;
    /// [`ErrorKind::StartFailed`] if there is no thread or descriptor to be had; [`ErrorKind::Forked`].
    pub fn start(self) -> Result<HttpServer, Error> {
        if let Some(mistake) = self.mistake {
            return Err(mistake);
        }
        self.settings.allowed.check()?;
        HttpServer::start(self.reader, self.settings)
    }
}

impl Allowed {
    fn check(&self) -> Result<(), Error> {
        let refused = |message: &str| Err(Error::new(ErrorKind::InvalidLimit, message));
        if self.head_time.is_zero() || self.answer_time.is_zero() || self.kept_time.is_zero() {
            return refused(
                "a time of zero cuts every connection; give the server's times some milliseconds at least",
            );
        }
        if self.answered == 0 || self.headless == 0 {
            return refused("without connections nothing is served; allow 1 at least");
        }
        if self.head_bytes < limits::MIN_HEAD_BYTES {
            let least = limits::MIN_HEAD_BYTES;
            return refused(&format!(
                "heads of {} bytes are too small; allow {least} at least",
                self.head_bytes
            ));
        }
        Ok(())
    }
}
