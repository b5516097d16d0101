//! Encryption before a receiver, with keys that `openssl` makes for the test.

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::thread;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::server::WebPkiClientVerifier;

/// An authority, and a server's certificate and key of it.
pub struct Keys {
    pub authority: Vec<u8>,
    pub chain: Vec<u8>,
    pub key: Vec<u8>,
}

impl Keys {
    /// For a server of this name; `None` without `openssl`, which is told.
    pub fn of(name: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let extension = format!("subjectAltName=DNS:{name}\n");
        std::fs::write(dir.path().join("server.ext"), extension).unwrap();
        // Each of a name of its own: authorities of one name would be taken for one.
        let authority = dir.path().file_name().unwrap().to_str().unwrap();
        let elliptic = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
        let made = [
            format!("req -x509 {elliptic} -keyout ca.key -out ca.pem -subj /CN={authority} -days 9"),
            format!("req {elliptic} -keyout server.key -out server.csr -subj /CN={name}"),
            "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -extfile server.ext -days 9 -out server.pem"
                .to_owned(),
        ]
        .iter()
        .all(|arguments| openssl(dir.path(), arguments));
        if !made {
            let told = writeln!(
                std::io::stderr(),
                "NOT CHECKED IN PART: encrypted pushes; to get it: apt-get install openssl"
            );
            assert!(told.is_ok());
            return None;
        }
        let read = |name: &str| std::fs::read(dir.path().join(name)).unwrap();
        Some(Self { authority: read("ca.pem"), chain: read("server.pem"), key: read("server.key") })
    }
}

fn openssl(dir: &Path, arguments: &str) -> bool {
    let mut command = Command::new("openssl");
    command.args(arguments.split(' ')).current_dir(dir).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Takes encrypted connections for a server that knows none.
pub struct Front;

impl Front {
    /// Until the process ends, on a port of the system's choice.
    pub fn before(server: SocketAddr, keys: &Keys) -> SocketAddr {
        Self::offering(server, keys, &[])
    }

    /// The same, for whoever agrees on one of these protocols in the handshake.
    pub fn offering(server: SocketAddr, keys: &Keys, protocols: &[&str]) -> SocketAddr {
        Self::started(server, keys, protocols, None)
    }

    /// The same, for whoever has a certificate of this authority.
    pub fn asking(server: SocketAddr, keys: &Keys, protocols: &[&str], of: &Keys) -> SocketAddr {
        Self::started(server, keys, protocols, Some(of))
    }

    fn started(server: SocketAddr, keys: &Keys, protocols: &[&str], of: Option<&Keys>) -> SocketAddr {
        let chain = CertificateDer::pem_slice_iter(&keys.chain).collect::<Result<_, _>>().unwrap();
        let key = PrivateKeyDer::from_pem_slice(&keys.key).unwrap();
        let provider = Arc::new(ring::default_provider());
        let config = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let config = config.with_safe_default_protocol_versions().unwrap();
        let config = match of {
            None => config.with_no_client_auth(),
            Some(of) => {
                let mut roots = RootCertStore::empty();
                for certificate in CertificateDer::pem_slice_iter(&of.authority) {
                    roots.add(certificate.unwrap()).unwrap();
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                config.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let mut config = config.with_single_cert(chain, key).unwrap();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).unwrap();
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(bridge(acceptor.clone(), stream, server));
                }
            });
        });
        address
    }
}

/// Nothing of a connection whose handshake fails reaches the server.
async fn bridge(acceptor: TlsAcceptor, stream: TcpStream, server: SocketAddr) -> Option<()> {
    let mut encrypted = acceptor.accept(stream).await.ok()?;
    let mut plain = TcpStream::connect(server).await.ok()?;
    tokio::io::copy_bidirectional(&mut encrypted, &mut plain).await.ok().map(drop)
}
