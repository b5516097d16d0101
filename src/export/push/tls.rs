//! Encrypted connections to the target, and whom they are made with.

use crate::export::exporter::ExportError;
use crate::export::push::route::Route;
use crate::export::push::target::Target;
use crate::export::push::way::Spoken;
use crate::model::error::Error;
use crate::model::error::ErrorKind;
use std::error::Error as StdError;
use std::io;
use std::sync::Arc;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::AlertDescription;
use tokio_rustls::rustls::CertificateError;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::ConfigBuilder;
use tokio_rustls::rustls::Error as TlsError;
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::client::WantsClientCert;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::pki_types::pem::PemObject;

/// Handshakes with one target.
pub(super) struct Tls {
    connector: TlsConnector,
    name: ServerName<'static>,
    /// Host and port, for what is told.
    shown: String,
    spoken: Spoken,
}

impl Tls {
    /// For a target, whose certificate is signed by one of the route's roots, or else of the platform.
    pub(super) fn new(target: &Target, route: &Route, spoken: Spoken) -> Result<Self, Error> {
        let name = ServerName::try_from(target.host.clone()).map_err(|cause| {
            let message = "the host of the address to push to is no name that a certificate can have; \
                           write it as `https://host:port/path`";
            Error::new(ErrorKind::InvalidAddress, message).with_source(cause)
        })?;
        let roots = match &route.roots {
            Some(pem) => given(pem)?,
            None => of_the_platform()?,
        };
        // Named, so that it does not depend on what else the process has installed.
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|cause| {
                Error::new(ErrorKind::InvalidSetting, "rustls has no version of TLS to speak")
                    .with_source(cause)
            })?
            .with_root_certificates(roots);
        let mut config = match &route.identity {
            Some((chain, key)) => identified(config, chain, key)?,
            None => config.with_no_client_auth(),
        };
        config.alpn_protocols = vec![spoken.alpn().to_vec()];
        let shown = format!("{}:{}", target.host, target.port);
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), name, shown, spoken })
    }

    /// The handshake.
    pub(super) async fn over<S>(&self, stream: S) -> Result<TlsStream<S>, ExportError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let made = self.connector.connect(self.name.clone(), stream).await;
        let made = made.map_err(|cause| failure(&self.shown, cause))?;
        if self.spoken.has_to_be_agreed_on() && made.get_ref().1.alpn_protocol() != Some(self.spoken.alpn()) {
            let Self { shown, .. } = self;
            return Err(ExportError::fatal(format!("no encrypted connection to {shown}: {NOT_SPOKEN}")));
        }
        Ok(made)
    }
}

/// Only who wants HTTP/2 asks for something that not everybody has.
const NOT_SPOKEN: &str = "what listens there has no HTTP/2: push to its port for gRPC, or by HTTP";

/// What it means that a handshake failed. Who is there, and what speaks there, does not change within an export: that is not tried again.
fn failure(shown: &str, cause: io::Error) -> ExportError {
    let advice = match cause.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(TlsError::InvalidCertificate(why)) => advice(why),
        Some(TlsError::InvalidMessage(_)) => {
            "what listens there speaks no TLS: push to `http://`, or to its other port"
        }
        Some(TlsError::AlertReceived(AlertDescription::NoApplicationProtocol)) => NOT_SPOKEN,
        Some(TlsError::AlertReceived(alert)) if asks_for_us(*alert).is_some() => {
            asks_for_us(*alert).unwrap_or_default()
        }
        _ => {
            return ExportError::retryable(format!("no encrypted connection to {shown}: {cause}"))
                .with_source(cause);
        }
    };
    ExportError::fatal(format!("no encrypted connection to {shown}: {cause}; {advice}")).with_source(cause)
}

/// What to do about a receiver that wants to know whom it is pushed by. It may say so in the handshake, or after it (RFC 8446, 4.4.2.4).
fn asks_for_us(alert: AlertDescription) -> Option<&'static str> {
    match alert {
        AlertDescription::CertificateRequired => {
            Some("the receiver asks for a certificate of ours: give it by `identity`")
        }
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnknownCA
        | AlertDescription::AccessDenied => {
            Some("the receiver does not take our certificate: give one that it trusts by `identity`")
        }
        _ => None,
    }
}

/// The same for a connection that broke after its handshake.
pub(super) fn refusal(cause: &(dyn StdError + 'static)) -> Option<&'static str> {
    let mut next = Some(cause);
    while let Some(error) = next {
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let tls = inner.and_then(|inner| inner.downcast_ref()).or_else(|| error.downcast_ref());
        if let Some(TlsError::AlertReceived(alert)) = tls {
            return asks_for_us(*alert);
        }
        next = error.source();
    }
    None
}

fn identified(
    config: ConfigBuilder<ClientConfig, WantsClientCert>,
    chain: &[u8],
    key: &[u8],
) -> Result<ClientConfig, Error> {
    let refused = |what: &str| {
        let message = format!("{what}; give our own certificate, those above it, and its private key in PEM");
        Error::new(ErrorKind::InvalidCredential, message)
    };
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
    let certificates = certificates.map_err(|cause| refused("the identity is no PEM").with_source(cause))?;
    // What the error says of a key is what was expected, and nothing of it.
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|cause| refused("the identity's key is no PEM").with_source(cause))?;
    config
        .with_client_auth_cert(certificates, key)
        .map_err(|cause| refused("the identity's certificate and key do not fit").with_source(cause))
}

fn advice(why: &CertificateError) -> &'static str {
    match why {
        // An authority that was made anew has its old name.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "give the certificate of who signed it by `roots`, or install it on this machine"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "push to a name that the certificate has"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "renew the receiver's certificate"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "set the clock of this machine right, or wait until the certificate holds"
        }
        _ => "give the receiver a certificate that holds",
    }
}

fn given(pem: &[u8]) -> Result<RootCertStore, Error> {
    let refused = || {
        let message = "the roots are no certificates in PEM; give those that the receiver's is signed by";
        Error::new(ErrorKind::InvalidCredential, message)
    };
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|cause| refused().with_source(cause))?;
        store.add(certificate).map_err(|cause| refused().with_source(cause))?;
    }
    if store.is_empty() { Err(refused()) } else { Ok(store) }
}

fn of_the_platform() -> Result<RootCertStore, Error> {
    let mut found = rustls_native_certs::load_native_certs();
    let mut store = RootCertStore::empty();
    // Some that platforms carry along cannot be read any more: the others do.
    let (added, _) = store.add_parsable_certificates(found.certs);
    if added > 0 {
        return Ok(store);
    }
    let message = "this machine has no certificates of authorities (mostly the package ca-certificates); \
                   install them, or give those that the receiver's is signed by as `roots`";
    let error = Error::new(ErrorKind::InvalidCredential, message);
    Err(match found.errors.pop() {
        Some(cause) => error.with_source(cause),
        None => error,
    })
}

#[cfg(test)]
#[cfg(not(mvx_loom))]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_that_does_not_fit_is_permanent_and_every_fault_has_its_remedy() {
        let faults = [
            (CertificateError::UnknownIssuer, "by `roots`"),
            (CertificateError::NotValidForName, "a name that the certificate has"),
            (CertificateError::Expired, "renew"),
            (CertificateError::NotValidYet, "clock"),
            (CertificateError::Revoked, "that holds"),
        ];
        for (fault, remedy) in faults {
            let error = failure("host:443", io::Error::other(TlsError::InvalidCertificate(fault)));
            assert!(!error.is_retryable() && error.to_string().contains(remedy), "{error}");
        }
        for (alert, remedy) in [
            (AlertDescription::CertificateRequired, Some("asks for a certificate")),
            (AlertDescription::UnknownCA, Some("that it trusts")),
            (AlertDescription::CertificateExpired, Some("that it trusts")),
            (AlertDescription::InternalError, None),
        ] {
            let alert = || io::Error::other(TlsError::AlertReceived(alert));
            let told = refusal(&alert()).map(str::to_owned);
            assert_eq!(told.is_some_and(|told| told.contains(remedy.unwrap_or_default())), remedy.is_some());
            let error = failure("host:443", alert());
            assert_eq!(error.is_retryable(), remedy.is_none(), "{error}");
            assert!(error.to_string().contains(remedy.unwrap_or("host:443")), "{error}");
        }
        let broken = failure("host:443", io::Error::from(io::ErrorKind::UnexpectedEof));
        assert!(broken.is_retryable() && broken.to_string().contains("host:443"), "{broken}");
    }
}
