#!/usr/bin/env bash
# Runs every loom model, then plants each seeded bug and requires the named model to fail.
#
# A model file declares its bugs in its header, `//! seeded bug: <name> caught by <test>`; the library plants one where it asks
# `seeded("<name>")` and MVX_BUG names it. A model that runs out of its own limits or of time is not a catch.
# Each model says how many preemptions it explores; MVX_LOOM_MORE adds to that. MVX_LOOM_SECONDS bounds each run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export MVX_LOOM_MORE=${MVX_LOOM_MORE:-0}
export RUSTFLAGS="--cfg mvx_loom ${RUSTFLAGS:-}"
export RUST_BACKTRACE=0 CARGO_TERM_COLOR=never
# A directory of its own: the flags differ from everybody else's, and each would otherwise rebuild the other's.
CARGO_TARGET_DIR=$(realpath -m "${CARGO_TARGET_DIR:-target}")/models
export CARGO_TARGET_DIR
seconds=${MVX_LOOM_SECONDS:-1200}
logs=$CARGO_TARGET_DIR/logs
mkdir -p "$logs"
table=()
failed=0

row() { table+=("$(printf '%-34s %-46s %6s s  %s' "$1" "$2" "$3" "$4")"); }
refuse() { row "$1" "$2" "${3:-0}" "$4" && failed=1; }

# Builds the tests and prints the binary's path.
build() { # log
  cargo test -p mvx-metrics --profile loom --lib --no-run >"$1" 2>&1 || return 1
  sed -n 's/^ *Executable unittests [^(]*(\(.*\))$/\1/p' "$1"
}

# The declarations, as `bug test` lines; tests get their full path.
declared() {
  find loom-tests -name '*.rs' -exec sed -n 's/^\/\/! seeded bug: *\([^ ]*\) caught by `\{0,1\}\([A-Za-z0-9_:]*\).*$/\1 \2/p' {} + |
    sed -E 's/ (loom_tests::)?/ loom_tests::/' | sort
}

# The bugs planted in the library.
planted() {
  find src -name '*.rs' -exec sed 's#//.*##' {} + | grep -oE 'seeded\("[^"]+"\)' | sed 's/.*"\(.*\)".*/\1/' | sort -u
}

# Runs one model; all it printed is shown at once. Called through xargs.
# shellcheck disable=SC2329
run_model() { # test
  local output status=0
  output=$(timeout --kill-after=10 "$seconds" "$binary" "$1" --exact --nocapture 2>&1) || status=$?
  printf '%s\n' "$output" | grep -vE '^(running 1 test|test result: ok.*|)$'
  return "$status"
}

run_models() {
  local started=$SECONDS status=0 count
  if ! binary=$(build "$logs/models.build.log") || [ ! -x "$binary" ]; then
    tail -n 80 "$logs/models.build.log"
    refuse "(models)" "" "$((SECONDS - started))" "BUILD FAILED"
    return 0
  fi
  count=$("$binary" loom_tests --list --format terse | grep -c ': test$' || true)
  if [ "$count" -eq 0 ]; then
    refuse "(models)" "" 0 "FAILED: there is no model"
    return 0
  fi
  started=$SECONDS
  # A process for each: loom maps and unmaps a stack for every thread of every execution, and threads of one process wait for each
  # other there.
  export -f run_model && export binary seconds
  "$binary" loom_tests --list --format terse | sed -n 's/: test$//p' |
    xargs -P "$(nproc)" -I '{}' bash -c 'run_model {}' >"$logs/models.log" 2>&1 || status=$?
  cat "$logs/models.log"
  while read -r _ test _ word; do
    row "-" "$test" - "$word"
  done < <(grep -E '^test loom_tests::.* \.\.\. ' "$logs/models.log")
  if [ "$status" -ne 0 ]; then
    refuse "(models)" "$count in all" "$((SECONDS - started))" "FAILED: exit status $status"
  else
    row "(models)" "$count in all, $MVX_LOOM_MORE preemptions more" "$((SECONDS - started))" "ok"
  fi
}

# What a run with a planted bug proves.
judge() { # status log
  if [ "$1" -eq 0 ]; then
    echo "MISSED: the model passes with the bug"
  elif [ "$1" -eq 124 ] || [ "$1" -eq 137 ]; then
    echo "HUNG: no answer in $seconds s"
  elif grep -qi 'exceeded maximum number of' "$2"; then
    echo "UNCLEAR: the model ran into its own limit"
  elif [ "$1" -eq 101 ] && grep -q '^test result: FAILED. 0 passed; 1 failed' "$2"; then
    echo "caught"
  elif grep -q ' panicked at ' "$2"; then
    echo "caught (by a panic that aborted)"
  else
    echo "UNCLEAR: exit status $1 without a panic"
  fi
}

run_bug() { # bug test
  local started=$SECONDS status=0 log=$logs/bug-$1.log word
  if ! "$binary" "$2" --exact --list --format terse | grep -q ': test$'; then
    refuse "$1" "$2" "$((SECONDS - started))" "NO SUCH TEST"
  else
    # In braces, so that the shell's own line about an aborted process goes nowhere.
    { MVX_BUG=$1 timeout --kill-after=10 "$seconds" "$binary" "$2" --exact >"$log" 2>&1 || status=$?; } 2>/dev/null
    word=$(judge "$status" "$log")
    grep -qxF "test $2 ... ok" "$logs/models.log" || word="UNCLEAR: the model does not pass without the bug"
    case "$word" in
      caught*) row "$1" "$2" "$((SECONDS - started))" "$word" ;;
      *) tail -n 40 "$log" && refuse "$1" "$2" "$((SECONDS - started))" "$word" ;;
    esac
  fi
}

if [ ! -d loom-tests ]; then
  echo "there is no loom-tests/, so no model" >&2
  exit 1
fi
binary=
run_models
[ -x "$binary" ] || { printf '%s\n' "${table[@]}" && exit 1; }
bugs=$(declared)
while read -r bug test; do
  [ -n "$bug" ] || continue
  run_bug "$bug" "$test"
done <<<"$bugs"
while read -r bug; do
  [ -z "$bug" ] || refuse "$bug" "" 0 "UNDECLARED: planted in src/, but no model is to catch it"
done < <(comm -23 <(planted) <(cut -d ' ' -f 1 <<<"$bugs" | sort -u))
while read -r bug; do
  [ -z "$bug" ] || refuse "$bug" "" 0 "NOT PLANTED: declared by a model, but not in src/"
done < <(comm -13 <(planted) <(cut -d ' ' -f 1 <<<"$bugs" | sort -u))

printf '\n%-34s %-46s %8s  %s\n' "seeded bug" "model" "time" "verdict"
printf '%s\n' "${table[@]}"
exit "$failed"
