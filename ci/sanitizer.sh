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
if [ "$kind" = thread ]; then
  skip a_thread_that_cannot_be_made_fails_the_start_which_can_be_tried_again "limits the memory that the sanitizer lives on"
  skip a_thousand_drops_of_a_runtime_whose_worker_is_held_return_at_once_and_lose_nothing \
    "counts waits, and the sanitizer waits for every thread it starts"
fi
log=target/ci/$kind-sanitizer.log
mkdir -p target/ci
export RUSTFLAGS="-Zsanitizer=$kind ${RUSTFLAGS:-}"
CARGO_TARGET_DIR=$(realpath -m "${CARGO_TARGET_DIR:-target}")/sanitizer-$kind
export CARGO_TARGET_DIR
cargo +nightly test -p mvx-metrics --no-fail-fast --lib --tests "${options[@]}" -- "${skipped[@]}" 2>&1 | tee "$log"
# A report may come after the test's own line said ok.
! grep -E '(WARNING|ERROR|SUMMARY): .*Sanitizer' "$log"
