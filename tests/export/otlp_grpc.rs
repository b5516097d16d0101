//! OTLP over gRPC: what is sent is what the snapshot shows, to the last bit, and every answer means what the specification says (R24, R25, R37).
#![cfg(all(feature = "otlp-grpc", feature = "testing", not(miri)))]

use crate::grpc::Call;
use crate::grpc::Pairs;
use crate::grpc::Receiver;
use crate::grpc::Reply;
use crate::grpc::ended;
use crate::grpc::frame;
use crate::grpc::grpc;
use crate::grpc::gzip_frame;
#[cfg(feature = "zstd")]
use crate::grpc::zstd_frame;
use crate::otlp::compressions;
use crate::otlp::everything;
use crate::otlp::expected;
use crate::otlp::pairs;
use crate::otlp::points;
use crate::otlp::pushing;
use crate::otlp::quick;
use crate::otlp::status;
use crate::support::Number;
use crate::support::PATIENCE;
use crate::support::until;
use h2::Reason;
use mvx_metrics::ErrorKind;
use mvx_metrics::Fold;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::export::Schedule;
use mvx_metrics::export::conformance::Conformance;
use mvx_metrics::export::otlp::Compression;
use mvx_metrics::export::otlp::OtlpExporter;
use mvx_metrics::export::otlp::OtlpExporterBuilder;
use mvx_metrics::export::otlp::Protocol;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsPartialSuccess;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceResponse;
use prost::Message;
use std::io::Read;
use std::io::Write;
use std::net::TcpListener;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use std::time::Instant;

const PATH: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";

fn exporter(receiver: &Receiver) -> OtlpExporterBuilder {
    at(&receiver.url())
}

fn at(url: &str) -> OtlpExporterBuilder {
    OtlpExporter::builder().protocol(Protocol::Grpc).endpoint(url).vitals(false)
}

fn decoded(call: &Call) -> ExportMetricsServiceRequest {
    ExportMetricsServiceRequest::decode(&call.message()[..]).unwrap()
}

/// A runtime with one series, pushed by such an exporter.
fn small(builder: OtlpExporterBuilder, schedule: Schedule) -> MetricsRuntime {
    let (runtime, _) = pushing("answers", builder.build().unwrap(), schedule);
    let recorder = runtime.recorder::<Number>("one").counter("events", |c| c).create().unwrap();
    recorder.register_event(Number(1));
    runtime
}

/// `google.rpc.Status` with a `RetryInfo` of so many milliseconds, as a receiver encodes it.
fn retry_info(millis: u8) -> (&'static str, String) {
    #[derive(Message)]
    struct Status {
        #[prost(int32, tag = "1")]
        code: i32,
        #[prost(string, tag = "2")]
        message: String,
        #[prost(message, repeated, tag = "3")]
        details: Vec<Any>,
    }
    #[derive(Message)]
    struct Any {
        #[prost(string, tag = "1")]
        type_url: String,
        #[prost(bytes = "vec", tag = "2")]
        value: Vec<u8>,
    }
    #[derive(Message)]
    struct RetryInfo {
        #[prost(message, optional, tag = "1")]
        retry_delay: Option<Delay>,
    }
    #[derive(Message)]
    struct Delay {
        #[prost(int64, tag = "1")]
        seconds: i64,
        #[prost(int32, tag = "2")]
        nanos: i32,
    }
    let info = RetryInfo { retry_delay: Some(Delay { seconds: 0, nanos: i32::from(millis) * 1_000_000 }) };
    let any = |kind: &str, value: Vec<u8>| Any {
        type_url: format!("type.googleapis.com/google.rpc.{kind}"),
        value,
    };
    let details = vec![any("DebugInfo", vec![]), any("RetryInfo", info.encode_to_vec())];
    let encoded = Status { code: 8, message: "later".into(), details }.encode_to_vec();
    ("grpc-status-details-bin", base64(&encoded))
}

/// Without padding, as gRPC's libraries send it.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = bytes.chunks(3).flat_map(|chunk| {
        let word = [chunk, &[0; 3]].concat();
        let word = u32::from_be_bytes([0, word[0], word[1], word[2]]);
        (0..=chunk.len()).map(move |at| char::from(DIGITS[(word >> (18 - 6 * at) & 63) as usize]))
    });
    digits.collect()
}

#[test]
fn every_value_arrives_to_the_last_bit_with_what_the_protocol_asks_for_around_it() {
    for (compression, coding) in compressions() {
        let receiver = Receiver::start();
        let built =
            exporter(&receiver).compression(compression).header("X-Tenant", "shop").resource("region", "eu");
        let (runtime, kept) = pushing("values", built.build().unwrap(), quick());
        everything(&runtime);
        runtime.force_flush(PATIENCE).unwrap();
        let calls = receiver.take();
        let [call] = &calls[..] else { panic!("{calls:?}") };
        assert_eq!(call.head.method, "POST");
        assert_eq!(call.head.uri.to_string(), format!("{}{PATH}", receiver.url()));
        assert_eq!(call.header("content-type"), Some("application/grpc"));
        assert_eq!(call.header("te"), Some("trailers"));
        assert_eq!((call.header("grpc-encoding"), call.frame[0]), (coding, u8::from(coding.is_some())));
        let accepted = if cfg!(feature = "zstd") { "zstd,gzip" } else { "gzip" };
        assert_eq!(call.header("grpc-accept-encoding"), Some(accepted));
        assert_eq!(call.header("host"), None);
        assert_eq!(call.header("x-tenant"), Some("shop"));
        let timeout = call.header("grpc-timeout").and_then(|text| text.strip_suffix('m')).unwrap();
        let timeout = Duration::from_millis(timeout.parse().unwrap());
        assert!(timeout <= PATIENCE && timeout > PATIENCE / 2, "{timeout:?}");
        let request = decoded(call);
        let resource = pairs(&request.resource_metrics[0].resource.as_ref().unwrap().attributes);
        assert_eq!(resource, [("region".into(), "eu".into()), ("service.name".into(), "values".into())]);
        let sent = points(&[request]);
        assert_eq!(sent, expected(&kept.latest().unwrap()));
        assert!(sent.len() > 25, "{}", sent.len());
    }
}

#[test]
fn a_state_that_is_too_much_for_one_message_comes_in_several_over_one_connection() {
    let receiver = Receiver::start();
    let most = 16 * 1_024;
    let built = exporter(&receiver).max_request_bytes(most).build().unwrap();
    let (runtime, kept) = pushing("batches", built, quick());
    let many = runtime
        .recorder::<Number>("many")
        .counter("many", |c| c.label("n", |n| n.0.into()))
        .create()
        .unwrap();
    (0..1_900).for_each(|n| many.register_event(Number(n)));
    many.flush_blocking(PATIENCE).unwrap();
    runtime.force_flush(PATIENCE).unwrap();
    let calls = receiver.take();
    assert!(calls.len() > 5, "{}", calls.len());
    assert!(calls.iter().all(|call| call.frame.len() <= most + 5 && call.connection == 0));
    let requests: Vec<_> = calls.iter().map(decoded).collect();
    assert_eq!(points(&requests), expected(&kept.latest().unwrap()));
    // One message that is larger than any window of HTTP/2 is, in one piece.
    let (runtime, kept) = pushing("large", exporter(&receiver).build().unwrap(), quick());
    let large = runtime.recorder::<Number>("large");
    let large =
        large.counter("large", |c| c.cardinality(20_000).label("n", |n| n.0.into())).create().unwrap();
    (0..9_900).for_each(|n| crate::support::insist(&large, Number(n)));
    large.flush_blocking(PATIENCE).unwrap();
    runtime.force_flush(PATIENCE).unwrap();
    let calls = receiver.take();
    let [call] = &calls[..] else { panic!("{}", calls.len()) };
    assert!(call.frame.len() > 1 << 19, "{}", call.frame.len());
    assert_eq!(points(&[decoded(call)]), expected(&kept.latest().unwrap()));
}

/// What the answers are, how many calls that makes, and what is told.
type Row = (Vec<Reply>, usize, Option<&'static str>);

fn check(table: Vec<Row>) {
    for (replies, calls, told) in table {
        let receiver = Receiver::start();
        receiver.reply(replies.clone());
        let runtime = small(exporter(&receiver), quick());
        let result = runtime.force_flush(PATIENCE).map_err(|error| error.to_string());
        assert_eq!(receiver.take().len(), calls, "{replies:?}: {result:?}");
        match told {
            None => assert_eq!(result, Ok(()), "{replies:?}"),
            Some(told) => {
                assert!(result.as_ref().is_err_and(|error| error.contains(told)), "{replies:?}: {result:?}");
            }
        }
        // What was on the way comes on top.
        assert!(receiver.endless() < 16 << 20, "{}", receiver.endless());
        // Whatever it was, the next one is well.
        runtime.force_flush(PATIENCE).unwrap();
    }
}

fn in_head(status: &str, more: Pairs) -> Reply {
    Reply::Head(200, [grpc(), vec![("grpc-status", status.into())], more].concat())
}

/// By the table of the specification (https://opentelemetry.io/docs/specs/otlp/#failures).
#[test]
fn each_code_is_tried_again_or_not_wherever_it_stands() {
    const NAMES: [&str; 17] = [
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    ];
    let mut table: Vec<Row> = Vec::new();
    for (code, name) in NAMES.into_iter().enumerate().skip(1) {
        let again = matches!(code, 1 | 4 | 10 | 11 | 14 | 15);
        let message = || vec![("grpc-message", "no%0Aroom%zz".to_owned())];
        for reply in [ended(&code.to_string(), b""), in_head(&code.to_string(), message())] {
            table.push(if again { (vec![reply], 2, None) } else { (vec![reply], 1, Some(name)) });
        }
        // With a pause that the receiver asks for, a full one can be tried again as well; what cannot succeed is not.
        let asks = in_head(&code.to_string(), vec![retry_info(1)]);
        let again = again || code == 8;
        table.push(if again { (vec![asks], 2, None) } else { (vec![asks], 1, Some(name)) });
    }
    let told = in_head("3", vec![("grpc-message", "no%0Aroom: 100%25 é".replace('é', "%C3%A9"))]);
    table.push((vec![told], 1, Some("answered INVALID_ARGUMENT: no\\nroom: 100% é")));
    for number in ["17", "-1", "", "x", "99999999999999999999"] {
        table.push((vec![in_head(number, vec![])], 1, Some("answered UNKNOWN")));
    }
    let unavailable = || ended("14", b"");
    table.push((vec![unavailable(), unavailable(), unavailable()], 4, None));
    table.push((
        vec![unavailable(), unavailable(), unavailable(), unavailable()],
        4,
        Some("answered UNAVAILABLE"),
    ));
    check(table);
}

#[test]
fn a_pause_that_is_asked_for_is_kept() {
    let receiver = Receiver::start();
    receiver.reply([in_head("8", vec![retry_info(250)]), in_head("14", vec![retry_info(250)])]);
    let runtime = small(exporter(&receiver), quick());
    let began = Instant::now();
    runtime.force_flush(PATIENCE).unwrap();
    assert!(began.elapsed() >= Duration::from_millis(500), "{:?}", began.elapsed());
    assert_eq!(receiver.take().len(), 3);
}

#[test]
fn a_partial_success_is_counted_and_never_sent_again_compressed_or_not() {
    let partial = ExportMetricsServiceResponse {
        partial_success: Some(ExportMetricsPartialSuccess {
            rejected_data_points: 3,
            error_message: "too old".into(),
        }),
    };
    let message = partial.encode_to_vec();
    let with = |body: Vec<u8>, encoding: &str| Reply::Whole {
        status: 200,
        headers: [grpc(), vec![("grpc-encoding", encoding.to_owned())]].concat(),
        body,
        trailers: vec![("grpc-status", "0".into())],
    };
    const REJECTED: Option<&str> = Some("rejected 3 of 1 data points: too old");
    check(vec![
        (vec![ended("0", &message)], 1, REJECTED),
        (vec![with(frame(&message), "identity")], 1, REJECTED),
        (vec![with(gzip_frame(&message), "gzip")], 1, REJECTED),
        // Taken all the same, whatever stands there.
        (vec![with(gzip_frame(&message), "identity")], 1, None),
        (vec![with(gzip_frame(&message), "br")], 1, None),
        (vec![with([&[1][..], &frame(b"no gzip")[1..]].concat(), "gzip")], 1, None),
        (vec![with([&[7][..], &frame(&message)[1..]].concat(), "gzip")], 1, None),
        (vec![with(b"\0\xff\xff\xff\xffhalf".to_vec(), "identity")], 1, None),
        (vec![with(b"\0\0".to_vec(), "identity")], 1, None),
        (vec![with(Vec::new(), "identity")], 1, None),
        (vec![in_head("0", vec![])], 1, None),
        (vec![ended("0", b"\x0a\x09\x08")], 1, None),
        // A little that becomes very much.
        (vec![with(gzip_frame(&vec![0; 64 << 20]), "gzip")], 1, Some("more than 4194304 bytes")),
        (vec![Reply::Endless], 1, Some("more than 4194304 bytes")),
    ]);
    #[cfg(feature = "zstd")]
    check(vec![
        (vec![with(zstd_frame(&message, 19), "zstd")], 1, REJECTED),
        // Taken all the same: by another name, no zstd at all, half of it, with a window of 128 MiB.
        (vec![with(zstd_frame(&message, 19), "gzip")], 1, None),
        (vec![with([&[1][..], &frame(b"no zstd")[1..]].concat(), "zstd")], 1, None),
        (vec![with(half(zstd_frame(&message, 19)), "zstd")], 1, None),
        (vec![with(zstd_frame(&message, 27), "zstd")], 1, None),
        (vec![with(zstd_frame(&vec![0; 64 << 20], 19), "zstd")], 1, Some("more than 4194304 bytes")),
    ]);
}

/// A frame without the end of its message.
#[cfg(feature = "zstd")]
fn half(whole: Vec<u8>) -> Vec<u8> {
    let message = &whole[5..];
    let mut bytes = frame(&message[..message.len() / 2]);
    bytes[0] = 1;
    bytes
}

#[test]
fn whoever_speaks_http_and_no_grpc_is_understood_by_its_status() {
    let page = |status: u16, headers: Pairs| Reply::Whole {
        status,
        headers,
        body: b"<html>".to_vec(),
        trailers: vec![("x", "y".into())],
    };
    check(vec![
        (vec![page(200, vec![])], 1, Some("UNKNOWN: HTTP 200 OK without a status of gRPC: <html>")),
        (vec![page(307, vec![("location", "http://127.0.0.1:1/".into())])], 1, Some("UNKNOWN: HTTP 307")),
        (vec![page(400, vec![])], 1, Some("INTERNAL: HTTP 400")),
        (vec![page(401, vec![])], 1, Some("UNAUTHENTICATED")),
        (vec![page(403, vec![])], 1, Some("PERMISSION_DENIED")),
        (vec![page(404, vec![])], 1, Some("UNIMPLEMENTED")),
        (vec![page(413, vec![])], 1, Some("UNKNOWN")),
        (vec![page(500, vec![])], 1, Some("UNKNOWN")),
        (vec![page(429, vec![("retry-after", "0".into())]), page(502, vec![]), page(503, vec![])], 4, None),
        (vec![page(504, vec![])], 2, None),
        (vec![Reply::Head(503, vec![])], 2, None),
        (vec![Reply::Unended(frame(b""))], 1, Some("UNKNOWN")),
    ]);
}

#[test]
fn streams_that_are_reset_and_connections_that_end_mean_what_their_reasons_say() {
    check(vec![
        (vec![Reply::Reset(Reason::CANCEL)], 2, None),
        (vec![Reply::Reset(Reason::REFUSED_STREAM)], 2, None),
        (vec![Reply::Reset(Reason::INTERNAL_ERROR)], 1, Some("broke the request off")),
        (vec![Reply::Reset(Reason::PROTOCOL_ERROR)], 1, Some("broke the request off")),
        (vec![Reply::Reset(Reason::ENHANCE_YOUR_CALM)], 1, Some("broke the request off")),
        (vec![Reply::GoAway], 2, None),
        (vec![Reply::Close], 2, None),
        (vec![Reply::Close, Reply::Close, Reply::Close, Reply::Close], 4, Some("broke")),
    ]);
}

#[test]
fn a_connection_is_kept_and_one_that_the_receiver_has_closed_is_made_again_without_a_failure() {
    let receiver = Receiver::start();
    let runtime = small(exporter(&receiver), quick());
    receiver.reply([ended("0", b""), ended("0", b""), ended("5", b""), Reply::GoAway]);
    runtime.force_flush(PATIENCE).unwrap();
    runtime.force_flush(PATIENCE).unwrap();
    runtime.force_flush(PATIENCE).unwrap_err();
    // The fourth is not begun with, and sent again at once over a connection of its own.
    runtime.force_flush(PATIENCE).unwrap();
    let connections: Vec<_> = receiver.take().iter().map(|call| call.connection).collect();
    assert_eq!(connections, [0, 0, 0, 0, 1]);
    let well = status(&runtime);
    assert_eq!((well.delivered, well.attempts, well.failed), (3, 4, 1));
}

#[test]
fn a_receiver_that_hangs_costs_its_time_out_and_is_told_how_long_is_waited() {
    let receiver = Receiver::start();
    receiver.reply([Reply::Hang, Reply::Hang]);
    let schedule = quick().timeout(Duration::from_millis(100)).retries(1);
    let (runtime, kept) = pushing("late", exporter(&receiver).build().unwrap(), schedule);
    everything(&runtime);
    let began = Instant::now();
    assert_eq!(runtime.force_flush(PATIENCE).unwrap_err().kind(), ErrorKind::ExportFailed);
    assert!(began.elapsed() >= Duration::from_millis(200));
    for call in receiver.take() {
        let millis: u64 = call.header("grpc-timeout").unwrap().trim_end_matches('m').parse().unwrap();
        assert!(millis <= 100, "{millis}");
    }
    runtime.force_flush(PATIENCE).unwrap();
    let calls: Vec<_> = receiver.take();
    assert_eq!(calls[0].connection, 2, "whoever hung is not asked again over the same connection");
    assert_eq!(points(&[decoded(&calls[0])]), expected(&kept.latest().unwrap()));
}

/// Somebody who takes connections, and answers each with these bytes.
fn stranger(says: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.write_all(says);
            thread::spawn(move || stream.read_to_end(&mut Vec::new()));
        }
    });
    url
}

#[test]
fn a_stranger_at_the_port_is_told_apart_from_a_receiver() {
    for says in [
        &b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"[..],
        b"SSH-2.0-OpenSSH_9.2p1\r\n",
        b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    ] {
        let runtime = small(at(&stranger(says)), quick());
        let error = runtime.force_flush(PATIENCE).unwrap_err().to_string();
        assert!(error.contains("speaks no HTTP/2") && error.contains("push to its port for gRPC"), "{error}");
        assert_eq!(status(&runtime).attempts, 1, "{error}");
    }
    // Nobody at all, and somebody who says nothing.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let runtime = small(at(&format!("http://{address}")), quick().retries(1));
    let error = runtime.force_flush(PATIENCE).unwrap_err().to_string();
    assert!(error.contains(&format!("no connection to {address}")), "{error}");
    assert_eq!(status(&runtime).attempts, 2);
    let runtime = small(at(&stranger(b"")), quick().timeout(Duration::from_millis(50)).retries(0));
    assert!(runtime.force_flush(PATIENCE).unwrap_err().to_string().contains("not over after"));
}

#[test]
fn secrets_arrive_and_are_shown_nowhere() {
    let receiver = Receiver::start();
    let url = format!("http://canary-user:canary%20pass@{}", receiver.address);
    let builder = at(&url).header("X-Api-Key", "canary-header");
    let shown = [format!("{builder:?}"), format!("{:?}", builder.clone().build().unwrap())];
    let (sender, told) = mpsc::channel();
    let runtime = MetricsRuntime::builder("secrets")
        .on_error(move |incident| drop(sender.send(format!("{incident} {incident:?}"))))
        .build()
        .unwrap();
    runtime.start().unwrap();
    runtime.recorder::<Number>("one").counter("events", |c| c).create().unwrap().register_event(Number(1));
    runtime.add_exporter("otlp", quick().retries(0), builder.build().unwrap()).unwrap();
    receiver.reply([in_head("16", vec![]), Reply::Reset(Reason::INTERNAL_ERROR), Reply::Close, Reply::Close]);
    let errors: Vec<_> =
        (0..3).map(|_| format!("{:?}", runtime.force_flush(PATIENCE).unwrap_err())).collect();
    let call = receiver.take().remove(0);
    assert_eq!(call.header("authorization"), Some("Basic Y2FuYXJ5LXVzZXI6Y2FuYXJ5IHBhc3M="));
    assert_eq!(call.header("x-api-key"), Some("canary-header"));
    assert!(!call.head.uri.to_string().contains("canary"));
    let report = format!("{:?} {:?} {:?}", runtime.exporters(), runtime, runtime.shutdown(PATIENCE));
    let vitals = format!("{:?}", runtime.collect().vitals());
    let all: Vec<_> =
        shown.into_iter().chain(errors).chain([report, vitals]).chain(told.try_iter()).collect();
    assert!(all.len() > 6);
    assert!(all.iter().all(|text| !text.contains("canary")), "{all:#?}");
}

#[test]
fn it_conforms() {
    let receiver = Receiver::start();
    Conformance::new(|| exporter(&receiver).vitals(true).build().unwrap()).run().unwrap();
    let small = || {
        let small = exporter(&receiver).compression(Compression::Gzip).fold(Fold::Group);
        small.max_request_bytes(9_000).build().unwrap()
    };
    Conformance::new(small).run().unwrap();
    let calls = receiver.take();
    assert!(calls.len() > 100, "{}", calls.len());
    calls.iter().for_each(|call| drop(decoded(call)));
}

#[test]
fn what_cannot_be_sent_to_or_said_is_refused() {
    for (builder, kind) in [
        (at("http://collector:4317/v1/metrics"), ErrorKind::InvalidAddress),
        (at("http://collector:4317?token=canary"), ErrorKind::InvalidAddress),
        (at("collector:4317"), ErrorKind::InvalidAddress),
        (at("http://collector").header("grpc-timeout", "1S"), ErrorKind::InvalidName),
        (at("http://collector").header(" GRPC-Encoding", "br"), ErrorKind::InvalidName),
        (at("http://collector").header("TE", "gzip"), ErrorKind::InvalidName),
        (at("http://collector").header("connection", "close"), ErrorKind::InvalidName),
    ] {
        let error = builder.build().unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(!error.to_string().contains("canary"), "{error}");
    }
    let usual = OtlpExporter::builder().protocol(Protocol::Grpc).build().unwrap();
    assert!(format!("{usual:?}").contains("port: 4317"), "{usual:?}");
}

#[test]
fn connections_to_a_receiver_that_takes_nothing_are_given_up() {
    let receiver = Receiver::start();
    receiver.reply(std::iter::repeat_n(Reply::Hang, 50));
    let schedule = Schedule::every(Duration::from_millis(10)).timeout(Duration::from_millis(5)).retries(0);
    let runtime = small(exporter(&receiver), schedule);
    receiver.wait_for(50);
    until("it is delivered", || status(&runtime).delivered > 0);
    until("one connection is left", || receiver.open() == 1);
    runtime.shutdown(PATIENCE).unwrap();
    until("none is left", || receiver.open() == 0);
}

/// To `localhost`, encrypted.
#[cfg(all(feature = "push-tls", unix))]
mod encrypted {
    use super::*;
    use crate::proxy::Proxy;
    use crate::tls::Front;
    use crate::tls::Keys;

    #[test]
    fn http2_is_agreed_on_in_the_handshake_and_gone_through_a_tunnel_of_a_proxy() {
        let Some(keys) = Keys::of("collector.example") else { return };
        let receiver = Receiver::start();
        let us = Keys::of("us.example").unwrap();
        let proxy = Proxy::before(Front::asking(receiver.address, &keys, &["h2", "http/1.1"], &us));
        let builder = at("https://collector.example:4317").roots(&keys.authority);
        let builder = builder.identity(&us.chain, &us.key);
        let runtime = small(builder.proxy(&format!("canary-user:canary@{}", proxy.address)), quick());
        runtime.force_flush(PATIENCE).unwrap();
        runtime.force_flush(PATIENCE).unwrap();
        let calls = receiver.take();
        assert_eq!((calls.len(), calls[1].connection), (2, 0));
        assert_eq!(calls[0].head.uri.to_string(), format!("https://collector.example:4317{PATH}"));
        assert_eq!(calls[0].header("proxy-authorization"), None);
        let heads = proxy.take();
        assert!(
            heads.len() == 1 && heads[0].starts_with("CONNECT collector.example:4317 HTTP/1.1\r\n"),
            "{heads:?}"
        );
        // Unencrypted ones go through a tunnel as well: no proxy can pass their like on.
        let proxy = Proxy::before(receiver.address);
        let runtime = small(at("http://collector.example").proxy(&proxy.address.to_string()), quick());
        runtime.force_flush(PATIENCE).unwrap();
        assert!(proxy.take()[0].starts_with("CONNECT collector.example:80 "));
        assert_eq!(receiver.take()[0].head.uri.to_string(), format!("http://collector.example:80{PATH}"));
    }

    #[test]
    fn a_server_that_has_no_http2_gets_nothing_and_the_error_says_what_to_do() {
        let Some(keys) = Keys::of("localhost") else { return };
        let receiver = Receiver::start();
        for offered in [&["http/1.1"][..], &[]] {
            let front = Front::offering(receiver.address, &keys, offered);
            let builder =
                at(&format!("https://localhost:{}", front.port())).roots(&keys.authority).no_proxy();
            let runtime = small(builder, quick());
            let error = runtime.force_flush(PATIENCE).unwrap_err().to_string();
            assert!(error.contains("no HTTP/2") && error.contains("by HTTP"), "{error}");
            assert_eq!(status(&runtime).attempts, 1);
        }
        assert!(receiver.take().is_empty());
    }
}
