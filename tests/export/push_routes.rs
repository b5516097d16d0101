//! The way of a push: encrypted to whoever has the right certificate, through a proxy, and with no secret shown to anybody else (R25, R37).
#![cfg(all(
    feature = "otlp",
    feature = "remote-write",
    feature = "pushgateway",
    feature = "push-tls",
    unix,
    not(miri)
))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail as tests do"
)]

use crate::proxy::Proxy;
use crate::server::Reply;
use crate::server::Server;
use crate::server::answer;
use crate::support::PATIENCE;
use crate::support::again;
use crate::support::passed;
use crate::support::running;
use crate::tls::Front;
use crate::tls::Keys;
use mvx_metrics::Error;
use mvx_metrics::ErrorKind;
use mvx_metrics::ExporterStatus;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::export::Exporter;
use mvx_metrics::export::Schedule;
use mvx_metrics::export::otlp::OtlpExporter;
use mvx_metrics::export::otlp::OtlpExporterBuilder;
use mvx_metrics::export::pushgateway::PushgatewayExporter;
use mvx_metrics::export::remote_write::RemoteWriteExporter;
use std::io::Write;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::time::Duration;

fn quick() -> Schedule {
    Schedule::on_demand().timeout(PATIENCE).retry_pause(Duration::from_millis(1)).retries(2)
}

fn status(runtime: &MetricsRuntime) -> ExporterStatus {
    runtime.exporters().remove(0)
}

fn pushing(exporter: impl Exporter, schedule: Schedule) -> MetricsRuntime {
    let runtime = running("routes");
    runtime.add_exporter("push", schedule, exporter).unwrap();
    runtime
}

/// To `localhost`, encrypted, at the port of an address.
fn encrypted(address: SocketAddr, keys: &Keys) -> OtlpExporterBuilder {
    let url = format!("https://localhost:{}/v1/metrics", address.port());
    OtlpExporter::builder().endpoint(&url).roots(&keys.authority).no_proxy()
}

/// What came of one push: how often it was tried, and the error that is told.
fn pushed(exporter: OtlpExporter) -> (u64, Result<(), String>) {
    let runtime = pushing(exporter, quick());
    let result = runtime.force_flush(PATIENCE).map_err(|error| format!("{error} {error:?}"));
    let attempts = status(&runtime).attempts;
    // The last state is pushed once more, before anything else is.
    let _ = runtime.shutdown(PATIENCE);
    (attempts, result)
}

type Headers<'h> = &'h [(&'h str, &'h str)];

/// How each exporter that pushes by HTTP is set up and added to a runtime.
type Pushes = fn(&str, Headers<'_>) -> Result<MetricsRuntime, Error>;

const PUSHES: [(&str, Pushes); 3] = [
    ("otlp", |url, headers| {
        let builder = OtlpExporter::builder().endpoint(url).no_proxy();
        let builder = headers.iter().fold(builder, |builder, (name, value)| builder.header(name, value));
        Ok(pushing(builder.build()?, quick()))
    }),
    ("remote write", |url, headers| {
        let builder = RemoteWriteExporter::builder(url).no_proxy();
        let builder = headers.iter().fold(builder, |builder, (name, value)| builder.header(name, value));
        Ok(pushing(builder.build()?, quick()))
    }),
    ("pushgateway", |url, headers| {
        let builder = PushgatewayExporter::builder(url, "job").no_proxy();
        let builder = headers.iter().fold(builder, |builder, (name, value)| builder.header(name, value));
        Ok(pushing(builder.build()?, quick()))
    }),
];

/// Something to push.
fn state(runtime: &MetricsRuntime) {
    let recorder =
        runtime.recorder::<crate::support::Number>("one").counter("events", |c| c).create().unwrap();
    recorder.register_event(crate::support::Number(1));
    recorder.flush_blocking(PATIENCE).unwrap();
}

#[test]
fn pushes_go_where_the_program_says_and_nowhere_else() {
    let elsewhere = Server::start();
    for (name, pushes) in PUSHES {
        for status in
            ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent", "300 Choose"]
        {
            let server = Server::start();
            let there = elsewhere.url("/");
            let headers =
                format!("Location: {there}\r\nContent-Location: {there}\r\nRefresh: 0; url={there}\r\n");
            server.reply([Reply::Keep(answer(status, &headers, there.as_bytes()))]);
            let runtime = pushes(&server.url("/push"), &[]).unwrap();
            state(&runtime);
            let told = runtime.force_flush(PATIENCE).unwrap_err().to_string();
            assert!(told.contains(&format!("answered {}", &status[..3])), "{name}: {told}");
            assert_eq!(server.take().len(), 1, "{name}: {status}");
            // The next one goes to the same server.
            runtime.force_flush(PATIENCE).unwrap();
            assert!(!server.take().is_empty(), "{name}: {status}");
        }
        for url in [
            "ftp://canary/",
            "file:///canary",
            "unix:///canary",
            "gopher://canary/",
            "ws://canary/",
            "data:canary",
            "javascript:canary",
            "/canary",
        ] {
            let error = pushes(url, &[]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidAddress, "{name}: {url}");
            assert!(!error.to_string().contains("canary"), "{name}: {error}");
        }
    }
    assert!(elsewhere.take().is_empty(), "no redirect is followed");
}

#[test]
fn no_header_of_ones_own_stands_in_for_one_of_the_request() {
    for (name, pushes) in PUSHES {
        for reserved in [
            "Host",
            "content-type",
            "Content-Encoding",
            "CONTENT-LENGTH",
            "Transfer-Encoding",
            "Connection",
            "Accept-Encoding",
            "Proxy-Authorization",
            "X-Prometheus-Remote-Write-Version",
        ] {
            let error = pushes("http://collector/", &[("x-own", "1"), (reserved, "canary")]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidName, "{name}: {reserved}");
            assert!(!format!("{error:?}").contains("canary"), "{name}: {error:?}");
        }
        let server = Server::start();
        let runtime =
            pushes(&server.url("/"), &[("X-Own", "1"), ("User-Agent", "mine/2"), ("X-Own", "2")]).unwrap();
        state(&runtime);
        runtime.force_flush(PATIENCE).unwrap();
        let request = server.take().remove(0);
        let keys: Vec<_> = request.head.lines().skip(1).filter_map(|line| line.split(':').next()).collect();
        let mut once: Vec<_> = keys.iter().map(|key| key.to_ascii_lowercase()).collect();
        once.sort();
        once.dedup();
        assert_eq!(once.len(), keys.len(), "{name}: {}", request.head);
        assert_eq!(
            (request.header("x-own"), request.header("user-agent")),
            (Some("2"), Some("mine/2")),
            "{name}"
        );
        let host = server.address.to_string();
        assert_eq!(request.header("host"), Some(host.as_str()), "{name}");
    }
}

#[test]
fn every_exporter_pushes_encrypted_over_a_connection_that_is_kept() {
    let Some(keys) = Keys::of("localhost") else { return };
    let server = Server::start();
    let front = Front::before(server.address, &keys);
    let url = |path: &str| format!("https://localhost:{}{path}", front.port());
    let remote_write = RemoteWriteExporter::builder(&url("/write")).roots(&keys.authority).no_proxy();
    let gateway = PushgatewayExporter::builder(&url(""), "job").roots(&keys.authority).no_proxy();
    let runtimes = [
        pushing(encrypted(front, &keys).build().unwrap(), quick()),
        pushing(remote_write.build().unwrap(), quick()),
        pushing(gateway.build().unwrap(), quick()),
    ];
    for (runtime, path) in runtimes.iter().zip(["POST /v1/metrics ", "POST /write ", "PUT /metrics/job/job "])
    {
        runtime.force_flush(PATIENCE).unwrap();
        runtime.force_flush(PATIENCE).unwrap();
        let received = server.take();
        assert_eq!(received.len(), 2);
        assert!(received.iter().all(|request| request.head.starts_with(path) && !request.body.is_empty()));
        assert_eq!(received[0].connection, received[1].connection);
        assert_eq!(received[0].header("host"), Some(format!("localhost:{}", front.port()).as_str()));
    }
}

#[test]
fn a_receiver_that_asks_who_pushes_is_shown_a_certificate() {
    let Some(keys) = Keys::of("localhost") else { return };
    let (known, unknown) = (Keys::of("us.example").unwrap(), Keys::of("others.example").unwrap());
    let server = Server::start();
    let front = Front::asking(server.address, &keys, &[], &known);
    let url = |path: &str| format!("https://localhost:{}{path}", front.port());
    let roots = &keys.authority;
    let otlp = encrypted(front, &keys).identity(&known.chain, &known.key);
    let remote_write = RemoteWriteExporter::builder(&url("/write")).roots(roots).no_proxy();
    let gateway = PushgatewayExporter::builder(&url(""), "job").roots(roots).no_proxy();
    let runtimes = [
        pushing(otlp.build().unwrap(), quick()),
        pushing(remote_write.identity(&known.chain, &known.key).build().unwrap(), quick()),
        pushing(gateway.identity(&known.chain, &known.key).build().unwrap(), quick()),
    ];
    for runtime in &runtimes {
        runtime.force_flush(PATIENCE).unwrap();
        assert_eq!(server.take().len(), 1);
    }
    for (builder, advice) in [
        (encrypted(front, &keys), "asks for a certificate of ours"),
        (
            encrypted(front, &keys).identity(&unknown.chain, &unknown.key),
            "give one that it trusts by `identity`",
        ),
    ] {
        let (_, result) = pushed(builder.build().unwrap());
        let told = result.unwrap_err();
        // The receiver closes with our request unread, so its reason may be lost on the way.
        assert!(told.contains(advice) || told.contains("broke"), "{told}");
        assert!(server.take().is_empty());
    }
    // What is none, or does not fit, is refused at once, and shown nowhere.
    for (chain, key) in [
        (&b"canary"[..], &known.key[..]),
        (&known.chain, b"canary"),
        (&known.chain, &unknown.key),
        (b"", &known.key),
    ] {
        let builder = encrypted(front, &keys).identity(chain, key);
        assert!(!format!("{builder:?}").contains("PRIVATE"));
        let error = builder.build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidCredential, "{error:?}");
        let told = format!("{error} {error:?}");
        assert!(!told.contains("canary") && !told.contains("PRIVATE") && told.contains("in PEM"), "{told}");
    }
}

#[test]
fn whoever_cannot_prove_to_be_the_receiver_gets_nothing_and_the_error_says_what_to_do() {
    let (Some(keys), Some(others)) = (Keys::of("localhost"), Keys::of("elsewhere.example")) else { return };
    let server = Server::start();
    let unknown = encrypted(Front::before(server.address, &keys), &others);
    // Of the right authority, but for another name.
    let misnamed = encrypted(Front::before(server.address, &others), &others);
    // The platform does not know the authority.
    let port = Front::before(server.address, &keys).port();
    let url = format!("https://canary-user:canary-pass@localhost:{port}/canary-path");
    let platform = OtlpExporter::builder().endpoint(&url).no_proxy().header("token", "canary-token");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let plain = encrypted(listener.local_addr().unwrap(), &keys);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    for (builder, advice) in [
        (unknown, "by `roots`"),
        (misnamed, "push to a name that the certificate has"),
        (platform, "by `roots`"),
        (plain, "speaks no TLS"),
    ] {
        let exporter = match builder.build() {
            Ok(exporter) => exporter,
            // A machine without any authorities says so at once.
            Err(error) => {
                assert!(
                    error.kind() == ErrorKind::InvalidCredential && error.to_string().contains("`roots`")
                );
                continue;
            }
        };
        let (attempts, result) = pushed(exporter);
        let told = result.unwrap_err();
        assert_eq!(attempts, 1, "permanent: {told}");
        assert!(told.contains(advice) && !told.contains("canary"), "{told}");
    }
    assert!(server.take().is_empty(), "nothing was told to whoever it is");
}

#[test]
fn a_handshake_that_ends_or_hangs_is_tried_again() {
    let Some(keys) = Keys::of("localhost") else { return };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let closing = std::thread::spawn(move || (0..3).for_each(|_| drop(listener.accept().unwrap())));
    let (attempts, result) = pushed(encrypted(address, &keys).build().unwrap());
    let told = result.unwrap_err();
    assert_eq!(attempts, 3, "{told}");
    assert!(told.contains("no encrypted connection to localhost:"), "{told}");
    closing.join().unwrap();

    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let exporter = encrypted(silent.local_addr().unwrap(), &keys).build().unwrap();
    let runtime = pushing(exporter, quick().timeout(Duration::from_millis(50)).retries(1));
    let error = runtime.force_flush(PATIENCE).unwrap_err();
    assert_eq!((error.kind(), status(&runtime).attempts), (ErrorKind::ExportFailed, 2), "{error}");
}

#[test]
fn roots_that_are_none_are_refused() {
    for roots in ["", "canary", "-----BEGIN CERTIFICATE-----\nY2FuYXJ5\n-----END CERTIFICATE-----\n"] {
        let error = OtlpExporter::builder().endpoint("https://collector").roots(roots).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidCredential, "{error}");
        assert!(!format!("{error} {error:?}").contains("canary"));
    }
}

#[test]
fn a_proxy_of_plain_http_is_asked_for_the_whole_address_and_told_who_asks() {
    let proxy = Server::start();
    let via = format!("http://canary-user:canary%20pass@{}", proxy.address);
    let builder = OtlpExporter::builder().endpoint("http://collector.example/v1/metrics?a=b").proxy(&via);
    let exporter = builder.clone().build().unwrap();
    let shown = format!("{builder:?} {exporter:?}");
    assert!(!shown.contains("canary") && !shown.contains("Y2FuYXJ5"), "{shown}");
    let runtime = pushing(exporter, quick());
    proxy.reply([
        Reply::Keep(answer("407 Proxy Authentication Required", "", b"")),
        Reply::Keep(answer("502 Bad Gateway", "", b"")),
    ]);
    let told = format!("{:?}", runtime.force_flush(PATIENCE).unwrap_err());
    assert!(told.contains("407") && !told.contains("canary"), "{told}");
    runtime.force_flush(PATIENCE).unwrap();
    let received = proxy.take();
    assert_eq!(received.len(), 3);
    for request in &received {
        let line = "POST http://collector.example:80/v1/metrics?a=b HTTP/1.1\r\n";
        assert!(request.head.starts_with(line), "{}", request.head);
        assert_eq!(request.header("host"), Some("collector.example"));
        assert_eq!(request.header("proxy-authorization"), Some("Basic Y2FuYXJ5LXVzZXI6Y2FuYXJ5IHBhc3M="));
    }
}

#[test]
fn through_a_tunnel_the_proxy_sees_no_request_and_the_receiver_no_credentials_of_the_proxy() {
    let Some(keys) = Keys::of("collector.example") else { return };
    let server = Server::start();
    let proxy = Proxy::before(Front::before(server.address, &keys));
    let builder = |authority: &Keys| {
        OtlpExporter::builder()
            .endpoint("https://collector.example/v1/metrics")
            .header("token", "canary-token")
            .proxy(&format!("canary-user:canary@{}", proxy.address))
            .roots(&authority.authority)
    };
    proxy.answer(["502 Bad Gateway", "429 Too Many Requests", "200 Connection established"]);
    let runtime = pushing(builder(&keys).build().unwrap(), quick());
    runtime.force_flush(PATIENCE).unwrap();
    runtime.force_flush(PATIENCE).unwrap();
    let received = server.take();
    assert_eq!(received.len(), 2);
    for request in &received {
        assert!(request.head.starts_with("POST /v1/metrics HTTP/1.1\r\n"), "{}", request.head);
        assert_eq!(request.header("host"), Some("collector.example"));
        assert_eq!(request.header("token"), Some("canary-token"));
        assert_eq!(request.header("proxy-authorization"), None);
    }
    let heads = proxy.take();
    assert_eq!(heads.len(), 3, "one way was kept for two requests: {heads:?}");
    for head in &heads {
        let credentials = "proxy-authorization: Basic Y2FuYXJ5LXVzZXI6Y2FuYXJ5\r\n";
        assert!(head.starts_with("CONNECT collector.example:443 HTTP/1.1\r\n"), "{head}");
        assert!(head.to_lowercase().contains(&credentials.to_lowercase()), "{head}");
        assert!(!head.contains("token"), "{head}");
    }
    // A proxy that looks into the tunnel would need a certificate that is trusted.
    let others = Keys::of("collector.example").unwrap();
    let (attempts, result) = pushed(builder(&others).build().unwrap());
    assert!(attempts == 1 && result.unwrap_err().contains("by `roots`"));
    for (refusal, attempts, advice) in [
        ("407 Proxy Authentication Required", 1, "user and password"),
        ("403 Forbidden", 1, "allow it there"),
        ("301 Moved Permanently", 1, "answered 301"),
        ("503 Service Unavailable", 3, "answered 503"),
    ] {
        proxy.answer([refusal; 3]);
        let (tried, result) = pushed(builder(&keys).build().unwrap());
        let told = result.unwrap_err();
        assert_eq!(tried, attempts, "{told}");
        assert!(told.contains(advice) && !told.contains("canary") && !told.contains("Y2Fu"), "{told}");
        proxy.forget();
    }
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (attempts, result) = pushed(builder(&keys).proxy(&gone.to_string()).build().unwrap());
    assert!(attempts == 3 && result.unwrap_err().contains(&format!("no connection to the proxy {gone}")));
}

/// What [`the_environment_chooses_the_proxy_unless_the_program_does`] runs again, with and without the variables.
fn build(endpoint: &str) -> Result<OtlpExporter, Error> {
    OtlpExporter::builder().endpoint(endpoint).build()
}

#[test]
fn the_environment_chooses_the_proxy_unless_the_program_does() {
    const MINE: &str = "MVX_TEST_OF_PROXIES";
    let Ok(mine) = std::env::var(MINE) else {
        let proxy = Server::start();
        let mut child = again("push_routes::the_environment_chooses_the_proxy_unless_the_program_does");
        for name in ["http_proxy", "https_proxy", "no_proxy", "REQUEST_METHOD"] {
            child.env_remove(name);
        }
        child.env("HTTP_PROXY", format!("http://{}", proxy.address)).env("NO_PROXY", "direct.invalid");
        child.env("HTTPS_PROXY", "ftp://canary").env(MINE, proxy.address.to_string());
        assert!(passed(child.status().unwrap()));
        let mut lines: Vec<_> =
            proxy.take().iter().map(|request| request.head.lines().next().unwrap().to_owned()).collect();
        // Each state is pushed again at the end.
        lines.dedup();
        let expected =
            ["POST http://far.invalid:80/x HTTP/1.1", "POST /here HTTP/1.1", "POST /direct HTTP/1.1"];
        assert_eq!(lines, expected);
        return;
    };
    let (_, sent) = pushed(build("http://far.invalid/x").unwrap());
    sent.unwrap();
    let (_, sent) = pushed(build(&format!("http://{mine}/here")).unwrap());
    sent.unwrap();
    let (_, exempt) = pushed(build("http://direct.invalid/").unwrap());
    assert!(exempt.unwrap_err().contains("no connection to direct.invalid:80"));
    let error = build("https://far.invalid/").unwrap_err();
    assert!(error.to_string().contains("HTTPS_PROXY") && !format!("{error:?}").contains("canary"), "{error}");
    let direct = OtlpExporter::builder().endpoint(&format!("http://{mine}/direct")).no_proxy();
    pushed(direct.build().unwrap()).1.unwrap();
    assert!(OtlpExporter::builder().endpoint("https://far.invalid/").no_proxy().build().is_ok());
}
