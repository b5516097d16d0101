#!/usr/bin/env bash
# The tests under a sanitizer of the nightly compiler: sanitizer.sh thread|address.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
kind=$1
missing() {
  ci/not-checked.sh "$kind sanitizer" "$1" "rustup toolchain install nightly --component rust-src"
  exit
}
command -v rustup >/dev/null || missing "rustup is missing"
cargo +nightly --version >/dev/null 2>&1 || missing "there is no nightly toolchain"
options=(--target "$(rustc +nightly -vV | sed -n 's/^host: //p')")
if [ "$kind" = thread ]; then
  # Without an instrumented std the thread sanitizer reports races that are none.
  rustup component list --installed --toolchain nightly | grep -q '^rust-src' ||
    timeout 300 rustup component add rust-src --toolchain nightly || missing "rust-src is missing"
  options+=(-Zbuild-std)
fi
# By default the thread sanitizer ends a forked child that starts threads, with 66; the tests about fork do as much.
export TSAN_OPTIONS="die_after_fork=0 ${TSAN_OPTIONS:-}"
# A backtrace is slow to write under a sanitizer, and tests of panics wait for what comes after it.
export RUST_BACKTRACE=0
skipped=()
skip() {
  echo "NOT CHECKED IN PART: $kind sanitizer: $1 $2; to get it: cargo test, without a sanitizer"
  skipped+=(--skip "$1")
}
# Under the thread sanitizer the program with a preloaded library did not end within a minute; why was not looked into.
skip a_program_under_a_machine_clock_that_steps_keeps_its_accounts_and_its_order_of_times "preloads a library"
skip a_thread_that_cannot_be_made_fails_the_start_which_can_be_tried_again "limits the memory that the sanitizer lives on"
skip a_thousand_drops_of_a_runtime_whose_worker_is_held_return_at_once_and_lose_nothing \
  "counts waits, and a sanitizer waits for every thread it starts"
log=target/ci/$kind-sanitizer.log
mkdir -p target/ci
if [ "$kind" = address ]; then
  skip a_hundred_thousand_recorders_that_come_and_go_leave_memory_descriptors_and_threads_as_they_were \
    "measures resident memory, and the sanitizer keeps what is freed"
  skip limits::memory_does_not_depend_on_how_many_read_slowly "measures memory against time, and the sanitizer is slow"
  # What a test allocates that leaves something behind on purpose, and what can be reached from there, is no finding.
  leaks=$PWD/target/ci/leaks.txt
  : >"$leaks"
  leaks_by_design() {
    echo "NOT CHECKED IN PART: leaks of $1: it $2"
    echo "leak:$1" >>"$leaks"
  }
  ring="has an error handler that holds its own runtime, a ring that nobody breaks"
  leaks_by_design log::whoever_is_told_may_look_at_everything_because_no_lock_is_held "$ring"
  leaks_by_design log::a_handler_is_not_told_of_what_it_causes_and_cannot_wait_for_the_worker "$ring"
  leaks_by_design handoff::an_event_that_panics_when_refused_does_not_panic_its_caller "panics while a panic's payload is dropped"
  leaks_by_design original::a_process_that_forgot_its_shutdown_ends_also_past_a_stuck_metric "forgets a runtime"
  export LSAN_OPTIONS="suppressions=$leaks:print_suppressions=0 ${LSAN_OPTIONS:-}"
fi
# What is alive at the end of a test's process is no leak; the leak detector looks for addresses, and the cells of snapshots hold them beside a count.
export RUSTFLAGS="-Zsanitizer=$kind --cfg mvx_leaks ${RUSTFLAGS:-}"
CARGO_TARGET_DIR=$(realpath -m "${CARGO_TARGET_DIR:-target}")/sanitizer-$kind
export CARGO_TARGET_DIR
cargo +nightly test -p mvx-metrics --no-fail-fast --lib --tests "${options[@]}" -- "${skipped[@]}" 2>&1 | tee "$log"
# A report may come after the test's own line said ok.
! grep -E '(WARNING|ERROR|SUMMARY): .*Sanitizer' "$log"
