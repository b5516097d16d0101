#!/usr/bin/env bash
# The tests as a program built with `panic = "abort"` runs the code, each in a process of its own. Those whose subject is a panic that is
# survived are left out by `cfg(panic = "unwind")`: there, the documentation says, a panic ends the process.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if ! cargo +nightly --version >/dev/null 2>&1; then
  ci/not-checked.sh panic-abort "there is no nightly toolchain, which alone has -Zpanic-abort-tests" "rustup toolchain install nightly"
  exit
fi
# A directory of its own: the flags differ from everybody else's, and each would otherwise rebuild the other's.
CARGO_TARGET_DIR=$(realpath -m "${CARGO_TARGET_DIR:-target}")/abort
export CARGO_TARGET_DIR
export RUSTFLAGS="-C panic=abort -Zpanic-abort-tests ${RUSTFLAGS:-}"
# With a target, the flags leave what runs in the compiler alone.
cargo +nightly test -p mvx-metrics --no-fail-fast --lib --tests --target "$(rustc +nightly -vV | sed -n 's/^host: //p')" "$@"
