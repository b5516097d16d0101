#!/usr/bin/env bash
# Miri over the unit tests of the rooms that hold unsafe code: miri.sh <schedules>.
# MVX_MIRI_TESTS names other tests (prefixes, separated by spaces); MIRIFLAGS replaces the flags.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
seeds=${1:-4}
read -r -a tests <<<"${MVX_MIRI_TESTS:-sync:: queue::}"
how="rustup toolchain install nightly --component miri,rust-src"

missing() {
  ci/not-checked.sh miri "$1" "$how"
  exit
}
command -v rustup >/dev/null || missing "rustup is missing"
cargo +nightly --version >/dev/null 2>&1 || missing "there is no nightly toolchain"
if ! cargo +nightly miri --version >/dev/null 2>&1; then
  timeout 300 rustup component add miri rust-src --toolchain nightly || missing "this nightly has no Miri"
fi
timeout 600 cargo +nightly miri setup || missing "Miri's own standard library does not build here"

# Isolation off: property tests and clocks read the machine. Permissive provenance: the publication cell has the address of its node in an integer.
export MIRIFLAGS=${MIRIFLAGS:-"-Zmiri-permissive-provenance -Zmiri-disable-isolation -Zmiri-many-seeds=0..$seeds"}
# Miri is a few hundred times slower than the machine.
export PROPTEST_CASES=${PROPTEST_CASES:-4} RUST_BACKTRACE=${RUST_BACKTRACE:-0}
log=target/ci/miri.full.log
mkdir -p target/ci
cargo +nightly miri test -p mvx-metrics --lib -- "${tests[@]}" 2>&1 | tee "$log"
if ! grep -qE '^running [1-9][0-9]* test' "$log"; then
  echo "no test matches ${tests[*]}, so Miri saw nothing" >&2
  exit 1
fi
