//! The Pushgateway: what is pushed is the text format, as one group that replaces itself, whatever stands in its labels; and the real one takes it.
#![cfg(all(feature = "pushgateway", feature = "testing", not(miri)))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail as tests do"
)]

use crate::server::Reply;
use crate::server::Server;
use crate::server::answer;
use crate::server::ok;
use crate::support::Number;
use crate::support::PATIENCE;
use crate::support::running;
use crate::support::until;
use mvx_metrics::ErrorKind;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::export::Schedule;
use mvx_metrics::export::conformance::Conformance;
use mvx_metrics::export::prometheus::Encoder;
use mvx_metrics::export::prometheus::Format;
use mvx_metrics::export::pushgateway::PushgatewayExporter;
use mvx_metrics::export::pushgateway::PushgatewayExporterBuilder;
use std::io::Read;
use std::io::Write;
use std::net::TcpListener;
use std::net::TcpStream;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;

fn quick() -> Schedule {
    Schedule::on_demand().timeout(PATIENCE).retry_pause(Duration::from_millis(1))
}

fn exporter(url: &str) -> PushgatewayExporterBuilder {
    PushgatewayExporter::builder(url, "nightly").vitals(false)
}

fn counting(runtime: &MetricsRuntime, id: &str) {
    let recorder = runtime
        .recorder::<Number>(id)
        .counter("events", |c| c.help("All \"events\".").label("n", |n| n.0.into()))
        .histogram("sizes", |h| h.bounds(&[1.0, 2.0]).value(|n| Some(n.0 as f64)))
        .create()
        .unwrap();
    (0..4).for_each(|n| recorder.register_event(Number(n)));
    recorder.flush_blocking(PATIENCE).unwrap();
}

#[test]
fn the_whole_text_is_put_under_its_group_at_the_end_and_deleted_if_asked_for() {
    for delete in [false, true] {
        let (server, runtime) = (Server::start(), running("job"));
        let url = server.url("/prefix/?x");
        let built =
            exporter(&url).label("instance", "a/b").label("none", "").delete_at_end(delete).build().unwrap();
        runtime.add_exporter("gateway", quick(), built).unwrap();
        counting(&runtime, "one");
        assert!(runtime.shutdown(PATIENCE).unwrap().is_complete());
        let mut text = String::new();
        let _ = Encoder::new(Format::Text).vitals(false).encode(&runtime.collect(), &mut text);
        let received = server.take();
        let path = "/prefix/metrics/job/nightly/instance@base64/YS9i/none@base64/=";
        assert!(received[0].head.starts_with(&format!("PUT {path} HTTP/1.1\r\n")), "{}", received[0].head);
        assert_eq!(received[0].header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
        assert_eq!(String::from_utf8(received[0].body.clone()).unwrap(), text);
        assert_eq!(received.len(), if delete { 2 } else { 1 });
        assert!(!delete || received[1].head.starts_with(&format!("DELETE {path} HTTP/1.1\r\n")));
    }
}

#[test]
fn answers_decide_what_comes_next() {
    let busy = |status: &str| Reply::Keep(answer(status, "", b"inconsistent"));
    for (replies, requests, told) in [
        (vec![Reply::Keep(answer("202 Accepted", "", b""))], 1, None),
        (vec![busy("503 Service Unavailable"), busy("429 Too Many Requests"), ok()], 3, None),
        (vec![busy("400 Bad Request")], 1, Some("the Pushgateway answered 400 Bad Request: inconsistent")),
        (vec![busy("500 Internal Server Error"); 4], 4, Some("answered 500")),
    ] {
        let (server, runtime) = (Server::start(), running("answers"));
        runtime.add_exporter("gateway", quick(), exporter(&server.url("")).build().unwrap()).unwrap();
        server.reply(replies);
        let result = runtime.force_flush(PATIENCE).map_err(|error| error.to_string());
        assert_eq!(server.take().len(), requests);
        match told {
            None => assert_eq!(result, Ok(())),
            Some(told) => assert!(result.as_ref().is_err_and(|error| error.contains(told)), "{result:?}"),
        }
    }
}

#[test]
fn it_conforms_and_refuses_what_cannot_be_a_group() {
    let server = Server::start();
    Conformance::new(|| exporter(&server.url("/")).delete_at_end(true).build().unwrap()).run().unwrap();
    let kinds = [
        exporter("pushgateway:9091").build(),
        exporter("http://p/").label("job", "other").build(),
        exporter("http://p/").label("a", "1").label("a", "2").build(),
        exporter("http://p/").label("a b", "1").build(),
        exporter("http://p/").header("Host", "other").build(),
    ]
    .map(|result| result.unwrap_err().kind());
    use ErrorKind::InvalidName;
    assert_eq!(kinds, [ErrorKind::InvalidAddress, InvalidName, InvalidName, InvalidName, InvalidName]);
    let shown =
        format!("{:?}", exporter("http://u:canary@h/canary").header("X-Token", "canary").build().unwrap());
    assert!(!shown.contains("canary"), "{shown}");
}

/// A child that is ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn get(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

#[test]
fn the_real_one_takes_every_group_whatever_its_labels_and_gives_up_what_is_gone() {
    let there = Command::new("prometheus-pushgateway")
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if there.is_err() {
        let printed = writeln!(
            std::io::stderr(),
            "NOT CHECKED IN PART: a Pushgateway takes what is pushed; to get it: apt-get install prometheus-pushgateway"
        );
        assert!(printed.is_ok());
        return;
    }
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let gateway = Command::new("prometheus-pushgateway")
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let _gateway = Running(gateway.unwrap());
    until("it is ready", || get(port, "/-/ready").is_some_and(|answer| answer.contains(" 200 ")));
    let url = format!("http://127.0.0.1:{port}");
    let awkward = ["host-1", "", "a/b", "..", "ü \"quoted\" \\ \n{}", "+%2F", "日本"];
    for value in awkward {
        let runtime = running("awkward");
        runtime
            .add_exporter("gateway", quick(), exporter(&url).label("instance", value).build().unwrap())
            .unwrap();
        counting(&runtime, "one");
        counting(&runtime, "two");
        runtime.force_flush(PATIENCE).unwrap();
        let held = || get(port, "/metrics").unwrap();
        let escaped = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let sample = |id: &str, n: u64| {
            format!(r#"events_total{{instance="{escaped}",job="nightly",n="{n}",recorder="{id}"}} 1"#)
        };
        let all = held();
        for (id, n) in [("one", 0), ("one", 3), ("two", 1)] {
            assert!(all.contains(&sample(id, n)), "{}\n{all}", sample(id, n));
        }
        runtime.stop_and_remove("two", PATIENCE).unwrap();
        assert!(runtime.shutdown(PATIENCE).unwrap().is_complete());
        let rest = held();
        assert!(
            rest.contains(&sample("one", 3)) && !rest.contains(&sample("two", 1)),
            "a push replaces the group"
        );
        let ending = running("ending");
        let deleting = exporter(&url).label("instance", value).delete_at_end(true).build().unwrap();
        ending.add_exporter("gateway", quick(), deleting).unwrap();
        assert!(ending.shutdown(PATIENCE).unwrap().is_complete());
        assert!(!held().contains(&format!("instance=\"{escaped}\"")), "the group is deleted");
    }
}
