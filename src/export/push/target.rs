//! Where something is pushed to.

use crate::export::push::base64;
use crate::model::error::Error;
use crate::model::error::ErrorKind;
use http::HeaderMap;
use http::HeaderName;
use http::HeaderValue;
use http::Uri;
use http::header;
use http::uri::Authority;
use std::fmt;

/// An address and the headers that go with every request. Its `Debug` shows neither credentials nor headers nor a path, which may hold a token.
#[derive(Clone)]
pub(crate) struct Target {
    pub(super) tls: bool,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) path: String,
    pub(super) headers: HeaderMap,
}

/// Headers that the request itself decides: a user's could break it, or lead it elsewhere, or stand there beside ours. What a proxy is told about who asks
/// is for it alone, and an answer that is compressed is not read.
const RESERVED: [HeaderName; 13] = [
    header::HOST,
    header::ACCEPT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::EXPECT,
    header::UPGRADE,
    header::PROXY_AUTHORIZATION,
    HeaderName::from_static("x-prometheus-remote-write-version"),
];

impl Target {
    /// An address of the form `http[s]://[user:password@]host[:port][/path]`.
    pub(crate) fn parse(url: &str) -> Result<Self, Error> {
        // The address is not repeated in any of these: it may hold a password.
        let wrong = |what: &str| {
            let message = format!("the address to push to {what}; write it as `http://host:port/path`");
            Error::new(ErrorKind::InvalidAddress, message)
        };
        let uri: Uri =
            url.trim().parse().map_err(|error: http::uri::InvalidUri| wrong("is none").with_source(error))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") if cfg!(feature = "push-tls") => {}
            Some("https") => {
                return Err(wrong(
                    "is one of https, which this build has no TLS for: turn the feature `push-tls` on",
                ));
            }
            _ => return Err(wrong("does not begin with `http://`")),
        }
        let authority = uri.authority().ok_or_else(|| wrong("has no host"))?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(wrong("has no host"));
        }
        let mut headers = HeaderMap::new();
        let shown = match authority.as_str().rsplit_once('@') {
            Some((userinfo, rest)) => {
                headers.insert(
                    header::AUTHORIZATION,
                    basic(userinfo).ok_or_else(|| wrong("has credentials that are not text"))?,
                );
                rest
            }
            None => authority.as_str(),
        };
        headers.insert(header::HOST, HeaderValue::from_str(shown).map_err(|_| wrong("has no host"))?);
        headers.insert(
            header::USER_AGENT,
            HeaderValue::from_static(concat!("mvx-metrics/", env!("CARGO_PKG_VERSION"))),
        );
        let tls = uri.scheme_str() == Some("https");
        let port = port(authority, if tls { 443 } else { 80 })
            .ok_or_else(|| wrong("has a port that is no number"))?;
        let path = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str).to_owned();
        Ok(Self { tls, host, port, path, headers })
    }

    /// Host and port, as a proxy is told them.
    pub(super) fn authority(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }

    /// A path below the one of the address.
    #[cfg(feature = "pushgateway")]
    pub(crate) fn below(&self, path: &str) -> String {
        let own = self.path.split('?').next().unwrap_or_default();
        format!("{}{path}", own.trim_end_matches('/'))
    }

    /// Whether the address has more than host and port.
    #[cfg(feature = "otlp-grpc")]
    pub(crate) fn has_path(&self) -> bool {
        self.path != "/"
    }

    /// Adds a header to every request. Its value is treated as a secret.
    pub(crate) fn header(&mut self, name: &str, value: &str) -> Result<(), Error> {
        let named = HeaderName::try_from(name.trim()).ok().filter(|name| !RESERVED.contains(name));
        let Some(named) = named else {
            let message =
                format!("{name:?} cannot be a header of one's own; leave it out, or choose another name");
            return Err(Error::new(ErrorKind::InvalidName, message));
        };
        // The value is not repeated: it may be a token.
        let mut value = HeaderValue::from_str(value.trim()).map_err(|_| {
            Error::new(
                ErrorKind::InvalidName,
                format!("the value of the header {named} has characters that no header has"),
            )
        })?;
        value.set_sensitive(true);
        self.headers.insert(named, value);
        Ok(())
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }
}

/// The port that an address has or, without one, is by its scheme; nothing if it is no number.
pub(super) fn port(authority: &Authority, without: u16) -> Option<u16> {
    let whole = authority.as_str().rsplit('@').next()?;
    match whole.strip_prefix(authority.host())? {
        "" => Some(without),
        port => port.strip_prefix(':')?.parse().ok(),
    }
}

/// `Basic` authentication of percent-encoded credentials (RFC 7617).
pub(super) fn basic(userinfo: &str) -> Option<HeaderValue> {
    let mut plain = percent_decoded(userinfo)?;
    if !userinfo.contains(':') {
        plain.push(b':');
    }
    let mut value = HeaderValue::from_str(&format!("Basic {}", base64::padded(&plain))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The bytes of a percent-encoded text; nothing if it is broken.
pub(crate) fn percent_decoded(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let (high, low) = (digit(bytes.next()?)?, digit(bytes.next()?)?);
        out.push((high * 16 + low) as u8);
    }
    Some(out)
}

#[cfg(test)]
#[cfg(not(mvx_loom))]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_apart_and_shows_no_secret() {
        let mut target = Target::parse(" http://us%65r:p%40ss@[::1]:4318/v1/metrics?token=canary ").unwrap();
        assert_eq!(
            (target.host.as_str(), target.port, target.path.as_str()),
            ("::1", 4318, "/v1/metrics?token=canary")
        );
        assert_eq!(target.headers[header::HOST], "[::1]:4318");
        assert_eq!(target.headers[header::AUTHORIZATION], "Basic dXNlcjpwQHNz");
        target.header("X-Token", "canary").unwrap();
        let shown = format!("{target:?}");
        assert!(!shown.contains("canary") && !shown.contains("dXN"), "{shown}");
        let plain = Target::parse("http://collector").unwrap();
        assert_eq!((plain.host.as_str(), plain.port, plain.path.as_str()), ("collector", 80, "/"));
    }

    #[test]
    fn what_is_no_address_is_refused_without_being_repeated() {
        for url in [
            "",
            "canary",
            "ftp://canary/",
            "http://",
            "http://h:canary/",
            "http://h:65536/",
            "http:///canary",
            "http://a b/canary",
            "http://u%zz:canary@h/",
            "//canary",
        ] {
            let error = Target::parse(url).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidAddress, "{url}");
            assert!(!error.to_string().contains("canary"), "{error}");
        }
    }

    #[test]
    fn headers_that_decide_the_request_are_refused_and_values_not_repeated() {
        let mut target = Target::parse("http://collector/").unwrap();
        for name in [
            "Host",
            " accept-encoding",
            "content-length",
            "Content-Type",
            "CONTENT-ENCODING",
            "te",
            "Trailer",
            "transfer-encoding",
            "Connection",
            "expect",
            "Upgrade",
            "Proxy-Authorization",
            "X-Prometheus-Remote-Write-Version",
            "",
            "a b",
        ] {
            let error = target.header(name, "canary").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidName, "{name}");
            assert!(!error.to_string().contains("canary"), "{error}");
        }
        assert_eq!(target.headers.len(), 2, "{:?}", target.headers.keys());
        let error = target.header("token", "canary\r\nx: y").unwrap_err();
        assert!(!error.to_string().contains("canary"), "{error}");
    }
}
