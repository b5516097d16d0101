//! `#[derive(MetricEvent)]` through the public API: names, indices, generics, and independence of what is in scope.
#![cfg(feature = "derive")]

use mvx_metrics::DynEvent;
use mvx_metrics::EventSink;
use mvx_metrics::MetricEvent;
use mvx_metrics::NoopSink;
use std::any::Any;
use std::cell::Cell;
use std::convert::Infallible;
use std::fmt::Debug;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

/// Types, names and indices of an event type agree, for one value of each variant in order.
fn assert_routes<E: MetricEvent>(values: &[E], names: &[&str]) {
    assert_eq!(E::EVENT_TYPES, names);
    let seen: Vec<_> = values.iter().map(|event| (event.variant_index(), event.event_type())).collect();
    let expected: Vec<_> = names.iter().copied().enumerate().collect();
    assert_eq!(seen, expected);
}

#[test]
fn enum_variants_of_every_shape_have_names_and_indices() {
    #[derive(MetricEvent)]
    #[expect(dead_code, reason = "the fields are what a metric would read")]
    enum StorageEvent {
        Saved { bytes: u64, elapsed: Duration },
        SaveFailed(std::io::ErrorKind, String),
        Empty {},
        Nothing(),
        Closed,
    }

    assert_routes(
        &[
            StorageEvent::Saved { bytes: 512, elapsed: Duration::from_millis(3) },
            StorageEvent::SaveFailed(std::io::ErrorKind::NotFound, "a.txt".into()),
            StorageEvent::Empty {},
            StorageEvent::Nothing(),
            StorageEvent::Closed,
        ],
        &["storage.saved", "storage.save_failed", "storage.empty", "storage.nothing", "storage.closed"],
    );
}

#[test]
fn a_struct_is_one_event_type() {
    #[derive(MetricEvent)]
    struct CacheMiss;
    #[derive(MetricEvent)]
    struct PageReadEvent(#[expect(dead_code, reason = "a measured field")] u64);
    #[derive(MetricEvent)]
    #[event(name = "http.request")]
    struct Request {
        #[expect(dead_code, reason = "a measured field")]
        elapsed: Duration,
    }

    assert_routes(&[CacheMiss], &["cache_miss"]);
    assert_routes(&[PageReadEvent(4096)], &["page_read"]);
    assert_routes(&[Request { elapsed: Duration::ZERO }], &["http.request"]);
}

#[test]
fn names_given_replace_prefix_and_part() {
    #[derive(MetricEvent)]
    #[event(name = "document.storage")]
    enum StorageEvent {
        Saved,
        #[event(name = "save.failed")]
        CouldNotSave,
        #[event(name = "404")]
        Missing,
        #[event(name = r"Raw_Name")]
        Raw,
    }

    assert_routes(
        &[StorageEvent::Saved, StorageEvent::CouldNotSave, StorageEvent::Missing, StorageEvent::Raw],
        &[
            "document.storage.saved",
            "document.storage.save.failed",
            "document.storage.404",
            "document.storage.Raw_Name",
        ],
    );
}

#[test]
fn acronyms_digits_underscores_and_raw_identifiers_read_well() {
    #[derive(MetricEvent)]
    #[expect(non_camel_case_types, reason = "names as generated code has them")]
    enum HTTPEvent {
        HTTPRequest2,
        Tls13Up,
        _Hidden,
        r#type,
        SNAKE_Case,
    }
    #[derive(MetricEvent)]
    #[expect(non_camel_case_types, reason = "a raw identifier")]
    struct r#match;

    assert_routes(
        &[
            HTTPEvent::HTTPRequest2,
            HTTPEvent::Tls13Up,
            HTTPEvent::_Hidden,
            HTTPEvent::r#type,
            HTTPEvent::SNAKE_Case,
        ],
        &["http.http_request2", "http.tls13_up", "http.hidden", "http.type", "http.snake_case"],
    );
    assert_routes(&[r#match], &["match"]);
}

#[test]
fn the_index_counts_variants_whatever_their_discriminants() {
    #[derive(MetricEvent)]
    #[repr(u16)]
    enum StatusEvent {
        NotFound = 404,
        Ok = 200,
    }

    assert_eq!(StatusEvent::NotFound as u16, 404);
    assert_routes(&[StatusEvent::NotFound, StatusEvent::Ok], &["status.not_found", "status.ok"]);
}

#[test]
fn variants_behind_a_cfg_leave_no_gap() {
    #[derive(MetricEvent)]
    enum ProbeEvent {
        First,
        #[cfg(any())]
        Never,
        Last,
    }

    assert_routes(&[ProbeEvent::First, ProbeEvent::Last], &["probe.first", "probe.last"]);
}

#[test]
fn an_enum_without_variants_has_no_event_types() {
    #[derive(MetricEvent)]
    enum NoEvent {}
    #[derive(MetricEvent)]
    enum OffEvent {
        #[cfg(any())]
        Never,
    }

    assert_routes::<NoEvent>(&[], &[]);
    assert_routes::<OffEvent>(&[], &[]);
}

#[test]
fn generic_events_hold_whenever_they_can_be_sent() {
    #[derive(MetricEvent)]
    enum PoolEvent<K, const N: usize = 2>
    where
        K: Ord + Debug,
    {
        #[expect(dead_code, reason = "the fields are what a metric would read")]
        Opened(Arc<K>, [K; N]),
        Closed,
    }
    // `Cell` may be sent and not shared, `*const u8` neither; the event only names the type.
    #[derive(MetricEvent)]
    struct Typed<T: ?Sized>(PhantomData<fn() -> Box<T>>);
    #[derive(MetricEvent)]
    struct Projected<I: Iterator>(I::Item);
    #[derive(MetricEvent)]
    struct Sized4<const N: usize>;

    assert_routes(
        &[PoolEvent::Opened(Arc::new(7_u8), [1, 2]), PoolEvent::<u8>::Closed],
        &["pool.opened", "pool.closed"],
    );
    assert_routes(&[Typed::<*const u8>(PhantomData)], &["typed"]);
    assert_routes(&[Typed::<dyn Debug>(PhantomData)], &["typed"]);
    let projected = Projected::<std::vec::IntoIter<Cell<u8>>>(Cell::new(1));
    assert_eq!(projected.0.get(), 1);
    assert_routes(&[projected], &["projected"]);
    assert_routes(&[Sized4::<4>], &["sized4"]);
}

#[test]
fn variants_nobody_can_build_are_counted_like_others() {
    #[derive(MetricEvent)]
    enum ReadEvent<E> {
        Done,
        #[expect(dead_code, reason = "cannot be built with an uninhabited error")]
        Failed(E),
    }

    assert_eq!(ReadEvent::<Infallible>::EVENT_TYPES, ["read.done", "read.failed"]);
    assert_eq!(ReadEvent::<Infallible>::Done.variant_index(), 0);
}

#[test]
fn a_generated_type_may_take_its_names_from_macro_arguments() {
    macro_rules! events {
        ($type:ident, $name:literal, $($variant:ident = $part:expr),*) => {
            #[derive(MetricEvent)]
            #[event(name = $name)]
            enum $type { $(#[event(name = $part)] $variant),* }
        };
    }
    events!(Generated, "made.up", One = "first", Two = "second");

    assert_routes(&[Generated::One, Generated::Two], &["made.up.first", "made.up.second"]);
}

#[test]
fn the_crate_may_be_reached_under_another_name() {
    mod renamed {
        pub use mvx_metrics as metrics;
    }

    #[derive(renamed::metrics::MetricEvent)]
    #[event(crate = "renamed::metrics", name = "facade")]
    struct Facade;

    assert_routes(&[Facade], &["facade"]);
}

#[test]
fn names_of_the_longest_length_are_accepted() {
    // 127 + 1 + 127 = 255 bytes.
    #[derive(MetricEvent)]
    #[event(
        name = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
    )]
    enum Long {
        #[event(
            name = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
        )]
        Part,
    }

    assert_eq!(Long::Part.event_type().len(), 255);
}

#[test]
fn inherent_items_of_the_same_names_do_not_interfere() {
    #[derive(MetricEvent)]
    #[expect(non_camel_case_types, reason = "the names of the trait's items")]
    enum Clash {
        EVENT_TYPES,
        event_type,
    }
    impl Clash {
        const fn variant_index(&self) -> u8 {
            99
        }
    }

    assert_eq!(Clash::event_type.variant_index(), 99);
    assert_routes(&[Clash::EVENT_TYPES, Clash::event_type], &["clash.event_types", "clash.event_type"]);
}

#[test]
fn a_derived_event_is_an_event_like_one_written_by_hand() {
    #[derive(MetricEvent, Debug, PartialEq)]
    enum DoorEvent {
        Opened { times: u32 },
    }

    let event = DynEvent::new(DoorEvent::Opened { times: 3 });
    assert_eq!(event.event_type(), "door.opened");
    assert_eq!(event.downcast_ref(), Some(&DoorEvent::Opened { times: 3 }));

    let sink: Box<dyn EventSink<DoorEvent>> = Box::new(NoopSink);
    sink.register_event(DoorEvent::Opened { times: 4 });
    assert!(!sink.is_enabled());
    let any: &dyn Any = &DoorEvent::Opened { times: 5 };
    assert!(any.is::<DoorEvent>());
}
