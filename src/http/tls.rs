//! Encrypted connections.

use crate::model::error::Error;
use crate::model::error::ErrorKind;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::Accept;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;

/// The server's certificate and key. `Clone` shares them.
#[derive(Clone)]
pub(super) struct Tls(TlsAcceptor);

impl Tls {
    /// From PEM.
    pub(super) fn new(chain: &[u8], key: &[u8]) -> Result<Self, Error> {
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
        let certificates = certificates.map_err(|cause| refused("the certificates are no PEM", cause))?;
        // What the error says of a key is what was expected, and nothing of it.
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|cause| refused("the key is no PEM", cause))?;
        // Named, so that it does not depend on what else the process has installed.
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(certificates, key))
            .map_err(|cause| refused("certificate and key do not serve together", cause))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }

    /// The handshake.
    pub(super) fn accept(&self, stream: TcpStream) -> Accept<TcpStream> {
        self.0.accept(stream)
    }
}

fn refused(what: &str, cause: impl StdError + Send + Sync + 'static) -> Error {
    let message =
        format!("{what}; give the server's certificate, those above it, and its private key in PEM");
    Error::new(ErrorKind::InvalidCredential, message).with_source(cause)
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls(***)")
    }
}
