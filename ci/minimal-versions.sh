#!/usr/bin/env bash
# The library with the oldest direct dependencies that Cargo.toml allows, in a copy, so that Cargo.lock stays.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if ! command -v rustup >/dev/null || ! cargo +nightly --version >/dev/null 2>&1; then
  ci/not-checked.sh minimal-versions "there is no nightly toolchain" "rustup toolchain install nightly"
  exit
fi
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
copy=$target/minimal-versions/copy
rm -rf "$copy"
mkdir -p "$copy"
git ls-files -z --cached --others --exclude-standard | tar --null --files-from=- --create --ignore-failed-read --file=- |
  tar --extract --file=- --directory="$copy"
cd "$copy"
# The rivals are no part of what users build, and what they need would hide what the library needs.
sed -i 's/^members = .*/members = [".", "macros"]/' Cargo.toml
rm -f Cargo.lock
export CARGO_TARGET_DIR=$target/minimal-versions/target
cargo +nightly generate-lockfile -Z direct-minimal-versions
cargo +nightly check -p mvx-metrics --lib --all-features
cargo +nightly tree -p mvx-metrics --depth 1 --edges normal --all-features
