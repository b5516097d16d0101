#!/usr/bin/env bash
# Runs a slow check and leaves its last result in results/<name>.txt: record.sh <name> <command> [argument]...
# Under CI nothing is written, since nobody would commit it. Paths of the machine are taken out.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
name=$1
shift
mkdir -p target/ci
log=target/ci/$name.full.log
started=$SECONDS
"$@" 2>&1 | tee "$log"
status=${PIPESTATUS[0]}
[ "${CI:-}" = true ] && exit "$status"

verdict=ok
[ "$status" -eq 0 ] || verdict="FAILED (exit status $status)"
! grep -q '^NOT CHECKED: ' "$log" || verdict="NOT CHECKED"
commit=$(git rev-parse --short HEAD 2>/dev/null || echo unknown)
[ -z "$(git status --porcelain -- . ':!results' 2>/dev/null)" ] || commit="$commit, with changes not committed"
processor=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo 2>/dev/null | head -n 1)
root=$PWD
mkdir -p results
{
  printf 'command  %s\ncommit   %s\ndate     %s\n' "$*" "$commit" "$(date -u +%Y-%m-%dT%H:%MZ)"
  printf 'machine  %s, %s cores\nrustc    %s\n' "${processor:-unknown}" "$(nproc 2>/dev/null || echo '?')" "$(rustc --version)"
  printf 'scale    %s\nseconds  %s\nverdict  %s\n\n' "${MVX_SCALE:-1}" "$((SECONDS - started))" "$verdict"
  grep -vE '^ *(Compiling|Downloading|Downloaded|Updating|Locking|Fresh|Blocking|Finished|Preparing) ' "$log" | tail -n 80 |
    sed -e "s#${CARGO_TARGET_DIR:-$root/target}#target#g" -e "s#$root#.#g" -e "s#${HOME:-/nonexistent}#~#g"
} >"results/$name.txt"
exit "$status"
