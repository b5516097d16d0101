//! Encrypted connections, with keys that `openssl` makes for the test.

use crate::client::Client;
use crate::http::counted;
use crate::http::started;
use crate::support::PATIENCE;
use crate::support::running;
use crate::support::until;
use mvx_metrics::ErrorKind;
use mvx_metrics::http::HttpServer;
use std::io::Read;
use std::io::Write;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::ClientConnection;
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::StreamOwned;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;

/// An authority, and a server's certificate and key of it.
struct Keys {
    authority: Vec<u8>,
    chain: Vec<u8>,
    key: Vec<u8>,
}

fn openssl(dir: &Path, arguments: &str) -> bool {
    let mut command = Command::new("openssl");
    command.args(arguments.split(' ')).current_dir(dir).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// `None` without `openssl`, which is told.
fn keys() -> Option<Keys> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("server.ext"), "subjectAltName=DNS:docs.example\n").unwrap();
    let elliptic = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    let made = openssl(
        dir.path(),
        &format!("req -x509 {elliptic} -keyout ca.key -out ca.pem -subj /CN=authority -days 9"),
    ) && openssl(
        dir.path(),
        &format!("req {elliptic} -keyout server.key -out server.csr -subj /CN=docs.example"),
    ) && openssl(
        dir.path(),
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -extfile server.ext -days 9 -out server.pem",
    );
    if !made {
        let told = writeln!(
            std::io::stderr(),
            "NOT CHECKED IN PART: encrypted connections; to get it: apt-get install openssl"
        );
        assert!(told.is_ok());
        return None;
    }
    let read = |name: &str| std::fs::read(dir.path().join(name)).unwrap();
    Some(Keys { authority: read("ca.pem"), chain: read("server.pem"), key: read("server.key") })
}

fn connect(address: SocketAddr, keys: &Keys, name: &'static str) -> StreamOwned<ClientConnection, TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&keys.authority).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    StreamOwned::new(ClientConnection::new(Arc::new(config), name.try_into().unwrap()).unwrap(), stream)
}

#[test]
fn pages_are_served_encrypted_and_not_otherwise() {
    let Some(keys) = keys() else { return };
    let runtime = running("tls");
    counted(&runtime, "one");
    let builder = HttpServer::builder(runtime.reader()).tls(&keys.chain, &keys.key).bearer("s3cret");
    assert!(!format!("{builder:?}").contains("PRIVATE"));
    let (server, address) = started(builder);
    let mut client = connect(address, &keys, "docs.example");
    let head = "GET /metrics HTTP/1.1\r\nHost: docs.example\r\nAuthorization: Bearer s3cret\r\n";
    write!(client, "{head}\r\n{head}Connection: close\r\n\r\n").unwrap();
    let mut answers = String::new();
    // To its proper end, which the other side states.
    client.read_to_string(&mut answers).unwrap();
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 2, "{answers}");
    assert_eq!(answers.matches("events_total{recorder=\"one\"} 1\n").count(), 2);
    assert_eq!(client.conn.alpn_protocol(), None, "a client that asks for none gets none");

    let mut stranger = connect(address, &keys, "elsewhere.example");
    assert!(stranger.write_all(b"GET / HTTP/1.1\r\n\r\n").is_err(), "it is not who the client wants");
    let mut plain = Client::connect(address);
    plain.send(b"GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n");
    assert!(plain.is_closed_within(PATIENCE));
    until("both are counted", || server.stats().malformed == 2);
    server.shutdown(PATIENCE).unwrap();
    assert!(std::net::TcpListener::bind(address).is_ok());
}

#[test]
fn a_handshake_has_the_time_of_a_head() {
    let Some(keys) = keys() else { return };
    let runtime = running("tls-slow");
    let builder = HttpServer::builder(runtime.reader()).tls(&keys.chain, &keys.key);
    let (server, address) = started(builder.head_time(Duration::from_millis(60)));
    let mut silent = Client::connect(address);
    let mut half = Client::connect(address);
    half.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03");
    assert!(silent.is_closed_within(PATIENCE) && half.is_closed_within(PATIENCE));
    until("both are counted", || server.stats().cut_half_sent == 2);
}

#[test]
fn certificates_and_keys_that_do_not_serve_are_refused_and_not_shown() {
    let Some(keys) = keys() else { return };
    let Some(others) = self::keys() else { return };
    let runtime = running("tls-refused");
    let canary = b"-----BEGIN PRIVATE KEY-----\nY2FuYXJ5\n-----END PRIVATE KEY-----\n".as_slice();
    for (chain, key) in [
        (&keys.chain[..], &others.key[..]),
        (&keys.chain, b""),
        (b"", &keys.key),
        (&keys.chain, canary),
        (&keys.key, &keys.chain),
    ] {
        let error = HttpServer::builder(runtime.reader()).port(0).tls(chain, key).start().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidCredential);
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("Y2Fu") && !shown.contains("canary") && !shown.contains("BEGIN"), "{shown}");
    }
}
