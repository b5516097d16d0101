#!/usr/bin/env bash
# Runs checks one after the other, whatever the earlier ones said, and ends with a table: checks.sh [name | name=command]...
# A bare name is a recipe of the justfile. Fails if a check failed. Full outputs stay in target/ci/<name>.log.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
logs=target/ci
mkdir -p "$logs"
limit=${MVX_CHECK_SECONDS:-2400}
table=()
failed=0

# Shows an output: all of it for the tests, else its end, longer where it failed.
show() { # name status log
  case "$1:$2" in
    test:*) ;;
    *:0) tail -n 12 "$3" ;;
    *) tail -n 150 "$3" ;;
  esac
}

verdict() { # status log
  if [ "$1" -eq 124 ] || [ "$1" -eq 137 ]; then
    echo "FAILED|not done after ${limit} s"
  elif grep -q '^NOT CHECKED: ' "$2"; then
    local word="NOT CHECKED"
    [ "$1" -eq 0 ] || word=FAILED
    echo "$word|$(grep -m1 '^NOT CHECKED: ' "$2" | cut -c 14-)"
  elif [ "$1" -ne 0 ]; then
    echo "FAILED|exit status $1, see $2"
  elif grep -q '^NOT CHECKED IN PART: ' "$2"; then
    echo "ok, in part|$(grep -m1 '^NOT CHECKED IN PART: ' "$2" | cut -c 22-)"
  else
    echo "ok|"
  fi
}

for check in "$@"; do
  name=${check%%=*}
  command="just $name"
  [ "$name" = "$check" ] || command=${check#*=}
  log=$logs/$name.log
  printf '\n=== %s: %s\n' "$name" "$command"
  started=$SECONDS
  if [ "$name" = test ]; then
    timeout --kill-after=20 "$limit" bash -c "$command" </dev/null 2>&1 | tee "$log"
    status=${PIPESTATUS[0]}
  else
    timeout --kill-after=20 "$limit" bash -c "$command" </dev/null >"$log" 2>&1
    status=$?
  fi
  show "$name" "$status" "$log"
  IFS='|' read -r word note < <(verdict "$status" "$log")
  [ "$word" != FAILED ] || failed=1
  printf '=== %s: %s, %s s\n' "$name" "$word" "$((SECONDS - started))"
  table+=("$(printf '%-24s %6s s  %-12s %s' "$name" "$((SECONDS - started))" "$word" "$note")")
done

if [ -f "$logs/test.log" ] && [[ " $* " == *" test="* ]]; then
  printf '\nThe test runner said:\n'
  grep -E '^(test result:|error: |test .* FAILED$)' "$logs/test.log" || echo "(nothing)"
fi
printf '\n%-24s %8s  %-12s %s\n' check time verdict note
printf '%s\n' "${table[@]}"
exit "$failed"
