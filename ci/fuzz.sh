#!/usr/bin/env bash
# Each fuzz target for so long: fuzz.sh <seconds> [target]... (all of them unless named). What it finds is left in fuzz/artifacts.
#
# MVX_FUZZ_RUNS ends a target after so many runs, too, or, with 0 seconds, only then. A target that ends by itself has found something.
# MVX_FUZZ_SANITIZER=address looks for memory errors besides, several times slower: the only unsafe code of ours is in `sync` and `queue`, and
# `just asan` runs all of these bodies anyway, by their seeds and by random bytes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
seconds=${1:-60}
shift || true
runs=${MVX_FUZZ_RUNS:--1}
sanitizer=${MVX_FUZZ_SANITIZER:-none}
targets=("$@")
[ "${#targets[@]}" -gt 0 ] || targets=(exposition otlp remote_write requests settings lines names operations)

missing() {
  ci/not-checked.sh fuzz "$1" "$2"
  exit
}
cargo +nightly --version >/dev/null 2>&1 || missing "there is no nightly toolchain" "rustup toolchain install nightly"
cargo +nightly fuzz --version >/dev/null 2>&1 || missing "cargo-fuzz is missing" "cargo install --locked cargo-fuzz"

# What guides the fuzzer is which edges are reached, and how often. Values that are compared would guide it, too, and so would what is rare (`entropic`);
# but most of a run's time would be for that. The inputs choose words from lists, so there is little to guess.
options=(--sanitizer "$sanitizer" --no-trace-compares)
cargo +nightly fuzz build "${options[@]}"
failed=0
for target in "${targets[@]}"; do
  mkdir -p "fuzz/corpus/$target"
  # What is found anew is kept in the corpus, which is the machine's own; the seeds are the repository's.
  log=target/ci/fuzz-$target.log
  mkdir -p target/ci
  status=0
  started=$SECONDS
  cargo +nightly fuzz run "${options[@]}" "$target" "fuzz/corpus/$target" "fuzz/seeds/$target" -- \
    "-max_total_time=$seconds" "-runs=$runs" -max_len=400 -timeout=30 -entropic=0 -reduce_inputs=0 -print_final_stats=1 >"$log" 2>&1 || status=$?
  took=$((SECONDS - started))
  reached=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  coverage=$(sed -n 's/^#.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
  printf '%s: %s runs in %s s, %s a second, %s edges covered, exit status %s\n' \
    "$target" "${reached:-?}" "$took" "$((${reached:-0} / (took > 0 ? took : 1)))" "${coverage:-?}" "$status"
  if [ "$status" -ne 0 ]; then
    tail -n 40 "$log"
    failed=1
  fi
done
exit "$failed"
