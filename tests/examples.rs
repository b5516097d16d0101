//! The examples of one file do what they say, line by line. Those with more to test have a test file of their own.
#![cfg(all(feature = "runtime", feature = "derive"))]
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]
#![allow(dead_code, reason = "the `main` of an example gives it the standard output, and does nothing else")]

#[path = "../examples/change_hook.rs"]
mod change_hook;
#[path = "../examples/connections.rs"]
mod connections;
#[path = "../examples/manual_lifecycle.rs"]
mod manual_lifecycle;
#[path = "../examples/publishing_recorder.rs"]
mod publishing_recorder;
#[path = "../examples/unbounded_label.rs"]
mod unbounded_label;

/// What an example writes.
fn output<E: std::fmt::Debug>(run: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Vec<String> {
    let mut out = Vec::new();
    run(&mut out).unwrap();
    String::from_utf8(out).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn a_recorder_by_hand_is_made_anywhere_and_read_after_its_stop() {
    let expected = [
        "made outside any executor: 1 pending",
        "nobody drains it: Timeout with Some(1) pending",
        "Running: 1 processed, before there was any metric",
        "three more stated: the stop settles them",
        "Stopped: its task has ended",
        "after the stop: total 3, success 2, failure 1",
        "one event too late: rejected 1, still processed 4",
    ];
    assert_eq!(output(manual_lifecycle::run), expected);
}

#[test]
fn the_hook_is_told_of_three_changes_out_of_four_events() {
    let expected = [
        "document_storage.save.attempts after storage.save_attempt: total 1, success 1, failure 0",
        "document_storage.save.attempts after storage.save_attempt: total 2, success 2, failure 0",
        "document_storage.save.attempts after storage.save_attempt: total 3, success 2, failure 1",
        "in the snapshot: total 3 of 4 events",
    ];
    assert_eq!(output(change_hook::run), expected);
}

#[test]
fn the_publisher_is_open_from_the_first_event_to_the_stop_and_gets_every_change() {
    let start = "published document_storage document_storage.save.attempts storage.save_attempt: ";
    let expected = [
        "created, not started: open false",
        "running: open true",
        &format!("{start}{{ok=\"true\"}} 1"),
        &format!("{start}{{ok=\"true\"}} 2"),
        &format!("{start}{{ok=\"true\"}} 2, {{ok=\"false\"}} 1"),
        "stopped: open false, refused 1",
        "in the snapshot: total 3",
    ];
    assert_eq!(output(publishing_recorder::run), expected);
}

#[test]
fn connections_that_come_and_go_add_up_to_what_their_threads_did() {
    // It fails by itself if a total is not what the threads say.
    let shown = output(|out| connections::run(out, 100, 2));
    assert_eq!(shown.iter().filter(|line| line.starts_with("look ")).count(), 2, "{shown:?}");
    let top: Vec<&String> = shown.iter().filter(|line| line.starts_with("  connection ")).collect();
    assert!((10..=20).contains(&top.len()), "{shown:?}");
    let last = shown.last().unwrap();
    assert!(last.starts_with("at the end: ") && last.ends_with(", 0 events lost"), "{last}");
}

#[test]
fn a_label_without_bound_keeps_the_total_and_loses_late_users() {
    let expected = [
        "5000 users have saved once each",
        "saves.by_user: total 5000, 2000 series, 3000 events share the overflow series",
        "saves.by_plan: total 5000, 2 series, 0 events share the overflow series",
        "by user 17: Some(1)",
        "by user 4999: None",
        "so an absent user may have saved all the same",
        "by plan free: Some(3750)",
        "by plan paid: Some(1250)",
        "the limit is 2000 series for each metric; `cardinality` sets another",
    ];
    assert_eq!(output(unbounded_label::run), expected);
}
