#!/usr/bin/env bash
# Each fuzz target for so long: fuzz.sh <seconds> [target]... (all of them unless named). What it finds is left in fuzz/artifacts.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
seconds=${1:-60}
shift || true
targets=("$@")
[ "${#targets[@]}" -gt 0 ] || targets=(exposition requests lines names)

missing() {
  ci/not-checked.sh fuzz "$1" "$2"
  exit
}
cargo +nightly --version >/dev/null 2>&1 || missing "there is no nightly toolchain" "rustup toolchain install nightly"
cargo +nightly fuzz --version >/dev/null 2>&1 || missing "cargo-fuzz is missing" "cargo install --locked cargo-fuzz"

cargo +nightly fuzz build
failed=0
for target in "${targets[@]}"; do
  mkdir -p "fuzz/corpus/$target"
  # What is found anew is kept in the corpus, which is the machine's own; the seeds are the repository's.
  log=target/ci/fuzz-$target.log
  mkdir -p target/ci
  status=0
  cargo +nightly fuzz run "$target" "fuzz/corpus/$target" "fuzz/seeds/$target" -- \
    "-max_total_time=$seconds" -max_len=1024 -timeout=30 -print_final_stats=1 >"$log" 2>&1 || status=$?
  runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  coverage=$(sed -n 's/^#.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
  printf '%s: %s runs in %s s, %s edges covered, exit status %s\n' "$target" "${runs:-?}" "$seconds" "${coverage:-?}" "$status"
  if [ "$status" -ne 0 ]; then
    tail -n 40 "$log"
    failed=1
  fi
done
exit "$failed"
