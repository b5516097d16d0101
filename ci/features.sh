#!/usr/bin/env bash
# The library with each feature alone, with none and with all, without a warning; and what remains without any.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
features=$(awk '/^\[/ { inside = $0 == "[features]" } inside && /^[A-Za-z0-9_-]+ *=/ { print $1 }' Cargo.toml | grep -vx default)

check() { # what, options...
  printf -- '--- %s\n' "$1"
  shift
  # Clippy is `cargo check` whose `-D warnings` does not reach, and so does not rebuild, the dependencies.
  cargo clippy -q -p mvx-metrics --lib "$@" -- -D warnings
}
check "no features" --no-default-features
for feature in $features; do
  check "$feature alone" --no-default-features --features "$feature"
done
check "all features" --all-features
check "default features"

# Promised in README.md: a library that only states events pulls in two small crates at most.
tree=$(cargo tree -p mvx-metrics --no-default-features --edges normal --prefix none | sort -u)
count=$(($(wc -l <<<"$tree") - 1))
printf '%s crate(s) without default features\n' "$count"
if [ "$count" -gt 2 ]; then
  printf 'at most 2 are allowed:\n%s\n' "$tree" >&2
  exit 1
fi
