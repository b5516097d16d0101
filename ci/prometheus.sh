#!/usr/bin/env bash
# The tests in which a real Prometheus takes part, with the one of the path, whose version is told.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
prometheus --version 2>&1 | head -n 1 || ci/not-checked.sh prometheus "prometheus is missing" "apt-get install prometheus"
cargo test --all-features --test real_prometheus --test push_receivers -- prom reference example
cargo test --all-features --test export -- prometheus_ promtool
