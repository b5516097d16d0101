#!/usr/bin/env bash
# Licences, sources, bans and advisories by cargo-deny, without a network of its own.
# MVX_ADVISORY_DB names an archive or a folder with a copy of the RustSec database.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
database=${MVX_ADVISORY_DB:-../shared/advisory-db.tar.gz}
if ! command -v cargo-deny >/dev/null; then
  ci/not-checked.sh deny "cargo-deny is missing" "cargo install --locked cargo-deny (about five minutes)"
  exit
fi
cargo fetch --quiet
cargo deny --offline check bans licenses sources

# The folder's name is what cargo-deny makes of the database's usual address.
place=target/advisory-db/advisory-db-3157b0e258782691
if [ -d "$database" ]; then
  rm -rf "$place" && mkdir -p target/advisory-db && cp -r "$database" "$place"
elif [ -f "$database" ]; then
  rm -rf "$place" && mkdir -p "$place"
  # The archive may have one folder around the database.
  tar --extract --gzip --file="$database" --directory="$place"
  inner=$(find "$place" -maxdepth 2 -type d -name crates -print -quit)
  if [ -n "$inner" ] && [ "$(dirname "$inner")" != "$place" ]; then
    mv "$(dirname "$inner")" "$place.inner" && rm -rf "$place" && mv "$place.inner" "$place"
  fi
else
  echo "NOT CHECKED IN PART: advisories: no copy of the database; to get it: set MVX_ADVISORY_DB to one"
  [ -z "${MVX_BAR:-}" ]
  exit
fi
cargo deny --offline check advisories
