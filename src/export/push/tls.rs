//! Encrypted connections to the target, and whom they are made with.

use crate::export::exporter::ExportError;
use crate::export::push::target::Target;
use crate::export::push::way::Spoken;
use crate::model::error::Error;
use crate::model::error::ErrorKind;
use std::io;
use std::sync::Arc;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::AlertDescription;
use tokio_rustls::rustls::CertificateError;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::Error as TlsError;
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
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
    /// For a target, whose certificate is signed by one of these in PEM, or else of the platform.
    pub(super) fn new(target: &Target, roots: Option<&[u8]>, spoken: Spoken) -> Result<Self, Error> {
        let name = ServerName::try_from(target.host.clone()).map_err(|cause| {
            let message = "the host of the address to push to is no name that a certificate can have; \
                           write it as `https://host:port/path`";
            Error::new(ErrorKind::InvalidAddress, message).with_source(cause)
        })?;
        let roots = match roots {
            Some(pem) => given(pem)?,
            None => of_the_platform()?,
        };
        // Named, so that it does not depend on what else the process has installed.
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|cause| {
                Error::new(ErrorKind::InvalidSetting, "rustls has no version of TLS to speak")
                    .with_source(cause)
            })?
            .with_root_certificates(roots)
            .with_no_client_auth();
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
        _ => {
            return ExportError::retryable(format!("no encrypted connection to {shown}: {cause}"))
                .with_source(cause);
        }
    };
    ExportError::fatal(format!("no encrypted connection to {shown}: {cause}; {advice}")).with_source(cause)
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
        let broken = failure("host:443", io::Error::from(io::ErrorKind::UnexpectedEof));
        assert!(broken.is_retryable() && broken.to_string().contains("host:443"), "{broken}");
    }
}
