#!/usr/bin/env bash
# The library with the oldest compiler it promises (`rust-version` in Cargo.toml). Tests and examples promise nothing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
version=$(sed -n 's/^rust-version *= *"\(.*\)"$/\1/p' Cargo.toml | head -n 1)
how="rustup toolchain install $version --profile minimal"
if [ -z "$version" ]; then
  echo "Cargo.toml names no rust-version" >&2
  exit 1
fi
installed() { command -v rustup >/dev/null && cargo "+$version" --version >/dev/null 2>&1; }

# A throw-away machine may fetch a toolchain; on a person's machine that is theirs to decide.
if ! installed && [ "${CI:-}" = true ] && command -v rustup >/dev/null; then
  timeout 300 rustup toolchain install "$version" --profile minimal --no-self-update || true
fi
if installed; then
  cargo "+$version" check -p mvx-metrics --lib --all-features
  cargo "+$version" check -p mvx-metrics --lib --no-default-features
  printf 'checked: the library, all and no features, with %s\n' "$(rustc "+$version" --version)"
else
  cargo clippy -p mvx-metrics --lib --all-features -- -D clippy::incompatible_msrv
  echo "checked: the library's use of the standard library against $version, by clippy::incompatible_msrv"
  echo "NOT CHECKED IN PART: msrv: language features and dependencies, since $version is not installed; to get it: $how"
  [ -z "${MVX_BAR:-}" ]
fi
