//! Requests as nobody should send them.

use crate::client::Client;
use crate::client::get;
use crate::client::request;
use crate::http::counted;
use crate::http::started;
use crate::support::PATIENCE;
use crate::support::running;
use crate::support::until;
use mvx_metrics::http::HttpServer;
use proptest::prelude::*;
use std::io::Read;
use std::io::Write;
use std::net::Shutdown;
use std::net::SocketAddr;

/// What comes back for these bytes, after which the client sends nothing more; the connection must be closed then.
fn exchange(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut client = Client::connect(address);
    // The server may close while it is still being sent to.
    let _ = client.stream.write_all(bytes).and_then(|()| client.stream.shutdown(Shutdown::Write));
    let (mut all, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        match client.stream.read(&mut buffer) {
            Ok(0) => return all,
            Ok(read) => all.extend_from_slice(&buffer[..read]),
            Err(error) => {
                let waited =
                    matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut);
                assert!(!waited, "it hangs: {:?}", String::from_utf8_lossy(bytes));
                return all;
            }
        }
    }
}

fn status(answer: &[u8]) -> Option<u16> {
    std::str::from_utf8(answer.get(9..12)?).ok()?.parse().ok()
}

#[test]
fn awkward_requests_get_the_answer_that_is_due() {
    let runtime = running("awkward");
    counted(&runtime, "one");
    let (server, address) = started(HttpServer::builder(runtime.reader()));
    let cases: &[(&[u8], Option<u16>)] = &[
        (b"", None),
        (b"\r\n\r\n", None),
        (b"\0\0\0\0", Some(400)),
        (b"GET /metrics\r\n\r\n", Some(400)),
        (b"GET /metrics HTTP/0.9\r\n\r\n", Some(400)),
        (b"GET /metrics HTTP/3.0\r\n\r\n", Some(400)),
        (b"GET /metrics HTTP/1.0\r\n\r\n", Some(200)),
        (b"GET /metrics HTTP/1.1\r\n\r\n", Some(200)),
        (b"GET /metrics HTTP/1.1\n\n", Some(200)),
        (b"\r\nGET /metrics HTTP/1.1\r\n\r\n", Some(200)),
        (b"get /metrics HTTP/1.1\r\n\r\n", Some(405)),
        (b"GET http://elsewhere/metrics HTTP/1.1\r\nHost: here\r\n\r\n", Some(200)),
        (b"GET http://elsewhere HTTP/1.1\r\n\r\n", Some(200)),
        (b"GET metrics HTTP/1.1\r\n\r\n", Some(404)),
        (b"CONNECT here:80 HTTP/1.1\r\n\r\n", Some(404)),
        (b"OPTIONS * HTTP/1.1\r\n\r\n", Some(404)),
        (b"GET /metrics HTTP/1.1\r\nHost here\r\n\r\n", Some(400)),
        (b"GET /metrics HTTP/1.1\r\nA: b\r\n c\r\n\r\n", Some(400)),
        (b"GET /\xff HTTP/1.1\r\n\r\n", Some(400)),
        (b"GET /metrics HTTP/1.1\r\nAccept: \xff\xfe\r\nAccept-Encoding: \xff\r\n\r\n", Some(200)),
        (b"GET /metrics HTTP/1.1\r\nContent-Length: 0\r\n\r\n", Some(200)),
        (b"GET /metrics HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", Some(413)),
        (b"GET /metrics HTTP/1.1\r\nContent-Length: 18446744073709551615\r\n\r\n", Some(431)),
        (b"GET /metrics HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n", Some(400)),
        (b"GET /metrics HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", Some(400)),
        (b"GET /metrics HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Some(413)),
        (b"GET /metrics HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n", Some(413)),
        (b"GET /metrics HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n", Some(413)),
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 9999\r\n\r\n", Some(413)),
        (b"GET /metrics HTTP/1.1\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n", Some(200)),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", None),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", Some(400)),
    ];
    for (bytes, expected) in cases {
        let answer = exchange(address, bytes);
        let shown = (String::from_utf8_lossy(bytes), String::from_utf8_lossy(&answer));
        assert_eq!(status(&answer), *expected, "{shown:?}");
    }
    until("nobody is left", || server.stats().open == 0);
    assert_eq!(get(address, "/metrics", &[]).status, 200);
    assert!(server.stats().malformed >= 9, "{:?}", server.stats());
}

#[test]
fn a_head_may_have_so_many_bytes_and_no_more() {
    const MOST: usize = 4_096;
    let runtime = running("heads");
    let (_server, address) = started(HttpServer::builder(runtime.reader()).max_head_bytes(MOST));
    let head = |bytes: usize| {
        let start = "GET /livez HTTP/1.1\r\nX: ";
        format!("{start}{}\r\n\r\n", "y".repeat(bytes - start.len() - 4))
    };
    for (bytes, expected) in [(MOST - 1, Some(200)), (MOST, Some(200)), (MOST + 1, Some(431))] {
        assert_eq!(status(&exchange(address, head(bytes).as_bytes())), expected, "{bytes}");
    }
    let many = "GET /livez HTTP/1.1\r\n".to_owned() + &"a:\r\n".repeat(101) + "\r\n";
    assert_eq!(status(&exchange(address, many.as_bytes())), Some(431), "a hundred headers at most");
    // One that never ends is cut at the limit.
    let mut endless = Client::connect(address);
    endless.send(b"GET /livez HTTP/1.1\r\nX: ");
    until("it was cut", || endless.stream.write_all(&[b'y'; 1024]).is_err());
}

#[test]
fn requests_in_one_go_are_answered_in_their_order() {
    let runtime = running("pipelined");
    let (server, address) = started(HttpServer::builder(runtime.reader()));
    let mut client = Client::connect(address);
    let all =
        request("GET", "/livez", &[]) + &request("HEAD", "/metrics", &[]) + &request("GET", "/nothing", &[]);
    client.send(all.as_bytes());
    assert_eq!(client.answer(false).unwrap().text(), "alive\n");
    assert_eq!(client.answer(true).unwrap().status, 200);
    assert_eq!(client.answer(false).unwrap().status, 404);
    assert_eq!(client.ask(&request("GET", "/livez", &[])).status, 200, "and the connection is kept");
    assert_eq!((server.stats().connections, server.stats().requests), (1, 4));
}

#[test]
fn a_request_may_come_byte_by_byte() {
    let runtime = running("bytes");
    let (_server, address) = started(HttpServer::builder(runtime.reader()));
    let mut client = Client::connect(address);
    client.stream.set_nodelay(true).unwrap();
    for byte in request("GET", "/livez", &[]).bytes() {
        client.send(&[byte]);
    }
    assert_eq!(client.answer(false).unwrap().status, 200);
}

#[test]
fn whatever_is_sent_is_answered_or_closed_and_the_next_one_is_served() {
    let runtime = running("fuzzed");
    counted(&runtime, "one");
    let (server, address) = started(HttpServer::builder(runtime.reader()).head_time(PATIENCE * 4));
    let part = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..200),
        "(GET|HEAD|POST|PUT) /(metrics|snapshot|livez|[a-z/?%]{0,12}) HTTP/1\\.[01]\r\n".prop_map(String::into_bytes),
        "[A-Za-z-]{1,20}: ?[ -~]{0,60}\r\n".prop_map(String::into_bytes),
        "(Accept|Accept-Encoding|Content-Length|Transfer-Encoding|Connection|Expect|Upgrade|Authorization): [a-z0-9;,=./* -]{0,40}\r\n"
            .prop_map(String::into_bytes),
        Just(b"\r\n".to_vec()),
        Just(b"\r\n\r\n".to_vec()),
    ];
    let requests = proptest::collection::vec(part, 0..12).prop_map(|parts| parts.concat());
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: crate::support::scaled(300).min(20_000) as u32,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    runner
        .run(&requests, |bytes| {
            let _answer = exchange(address, &bytes);
            prop_assert!(server.is_serving());
            Ok(())
        })
        .unwrap();
    until("nobody is left", || server.stats().open == 0);
    assert_eq!(get(address, "/metrics", &[]).status, 200);
}
