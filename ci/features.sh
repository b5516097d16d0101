#!/usr/bin/env bash
# The library with each feature alone, with none and with all, without a warning; and what remains without any.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
logs=target/ci/features
mkdir -p "$logs"

# Clippy is `cargo check` whose `-D warnings` does not reach, and so does not rebuild, the dependencies.
check() { # what, options...
  printf -- '--- %s\n' "$1"
  shift
  cargo clippy -q -p mvx-metrics --lib "$@" -- -D warnings
}
mapfile -t features < <(awk '/^\[/ { inside = $0 == "[features]" } inside && /^[A-Za-z0-9_-]+ *=/ { print $1 }' Cargo.toml | grep -vx default)
[ "${#features[@]}" -gt 0 ] || { echo "Cargo.toml has no features" >&2; exit 1; }

# One crate is mostly one core's work. So two at a time, in directories of their own: two cargos in one would wait for each other.
half() { # which
  local at
  for ((at = $1; at < ${#features[@]}; at += 2)); do
    check "${features[at]} alone" --no-default-features --features "${features[at]}" || return 1
  done
}
(export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/features" && half 1) >"$logs/second.log" 2>&1 &
second=$!
first=0
{ check "no features" --no-default-features && check "default features" && check "all features" --all-features && half 0; } || first=$?
failed=0
wait "$second" || failed=$?
cat "$logs/second.log"
[ "$first" -eq 0 ] && [ "$failed" -eq 0 ] || exit 1

# Promised in README.md: a library that only states events pulls in two small crates at most.
tree=$(cargo tree -p mvx-metrics --no-default-features --edges normal --prefix none | sort -u)
count=$(($(wc -l <<<"$tree") - 1))
printf '%s crate(s) without default features\n' "$count"
if [ "$count" -gt 2 ]; then
  printf 'at most 2 are allowed:\n%s\n' "$tree" >&2
  exit 1
fi
