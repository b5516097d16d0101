//! How a target is reached: straight or through a proxy, encrypted or not.

use crate::export::exporter::ExportError;
use crate::export::push::client;
use crate::export::push::proxy::Proxy;
use crate::export::push::route::Route;
use crate::export::push::target::Target;
#[cfg(feature = "push-tls")]
use crate::export::push::tls;
#[cfg(feature = "push-tls")]
use crate::export::push::tls::Tls;
use crate::model::error::Error;
use bytes::Bytes;
use http::Method;
use http::Request;
use http::StatusCode;
use http::header;
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use std::error::Error as StdError;
use std::fmt;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;

/// What is spoken once a target is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spoken {
    Http1,
    #[cfg(feature = "otlp-grpc")]
    Http2,
}

impl Spoken {
    /// Its name in a handshake of TLS.
    #[cfg(feature = "push-tls")]
    pub(super) fn alpn(self) -> &'static [u8] {
        match self {
            Self::Http1 => b"http/1.1",
            #[cfg(feature = "otlp-grpc")]
            Self::Http2 => b"h2",
        }
    }

    /// Whether a server has to say that it speaks it. Everybody speaks the other.
    #[cfg(feature = "push-tls")]
    pub(super) fn has_to_be_agreed_on(self) -> bool {
        self != Self::Http1
    }
}

/// A target and the way to it.
pub(super) struct Way {
    pub(super) target: Target,
    pub(super) proxy: Option<Proxy>,
    spoken: Spoken,
    /// For a target of `https`.
    #[cfg(feature = "push-tls")]
    tls: Option<Tls>,
}

/// What requests and answers go over.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Way {
    /// Reads certificates and variables of the environment, as far as the route leaves it to them.
    pub(super) fn new(target: Target, route: &Route, spoken: Spoken) -> Result<Self, Error> {
        Ok(Self {
            proxy: route.proxy(&target)?,
            #[cfg(feature = "push-tls")]
            tls: if target.tls { Some(Tls::new(&target, route, spoken)?) } else { None },
            spoken,
            target,
        })
    }

    /// The proxy, if it is one that reads the requests.
    pub(super) fn asked(&self) -> Option<&Proxy> {
        self.proxy.as_ref().filter(|_| !self.target.tls && self.spoken == Spoken::Http1)
    }

    /// A new stream to the target, or to a proxy that reads the requests.
    pub(super) async fn connect(&self) -> Result<Box<dyn Stream>, ExportError> {
        let (what, host, port) = match &self.proxy {
            Some(Proxy { host, port, .. }) => ("the proxy ", host, *port),
            None => ("", &self.target.host, self.target.port),
        };
        let stream = TcpStream::connect((host.as_str(), port)).await.map_err(|cause| {
            ExportError::retryable(format!("no connection to {what}{host}:{port}: {cause}"))
                .with_source(cause)
        })?;
        // A request is one write, or large: nothing is gained by waiting for more.
        let _ = stream.set_nodelay(true);
        let stream: Box<dyn Stream> = match &self.proxy {
            Some(proxy) if self.asked().is_none() => Box::new(self.tunnel(proxy, stream).await?),
            _ => Box::new(stream),
        };
        #[cfg(feature = "push-tls")]
        if let Some(tls) = &self.tls {
            return Ok(Box::new(tls.over(stream).await?));
        }
        Ok(stream)
    }

    /// What it means that a connection broke: nothing, unless the receiver wanted to know who we are.
    pub(super) fn broken(&self, cause: &(dyn StdError + 'static)) -> ExportError {
        let told = format!("the connection to {self} broke: {cause}");
        #[cfg(feature = "push-tls")]
        if let Some(advice) = tls::refusal(cause) {
            return ExportError::fatal(format!("{told}; {advice}"));
        }
        ExportError::retryable(told)
    }

    /// A way through the proxy to the target, which the proxy does not see into (RFC 9110, 9.3.6).
    async fn tunnel(
        &self,
        proxy: &Proxy,
        stream: TcpStream,
    ) -> Result<TokioIo<hyper::upgrade::Upgraded>, ExportError> {
        let Proxy { host, port, authorization } = proxy;
        let lost = |cause: hyper::Error| {
            ExportError::retryable(format!("no way through the proxy {host}:{port}: {cause}"))
                .with_source(cause)
        };
        let authority = self.target.authority();
        let mut request = Request::builder()
            .method(Method::CONNECT)
            .uri(&authority)
            .header(header::HOST, &authority)
            .body(Full::<Bytes>::default())
            .map_err(|cause| ExportError::fatal("there is no such host").with_source(cause))?;
        if let Some(value) = authorization {
            request.headers_mut().insert(header::PROXY_AUTHORIZATION, value.clone());
        }
        let mut sender = client::speak(stream).await.map_err(lost)?;
        let response = sender.send_request(request).await.map_err(lost)?;
        let status = response.status();
        if status.is_success() {
            return hyper::upgrade::on(response).await.map(TokioIo::new).map_err(lost);
        }
        let why = format!("the proxy {host}:{port} answered {status} to a way to {authority}");
        Err(if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            ExportError::retryable(why)
        } else if status == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
            ExportError::fatal(format!("{why}; write its user and password into its address"))
        } else {
            ExportError::fatal(format!("{why}; allow it there, or leave the proxy out"))
        })
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.target.host, self.target.port)
    }
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Way")
            .field("target", &self.target)
            .field("proxy", &self.proxy)
            .finish_non_exhaustive()
    }
}
