#!/usr/bin/env bash
# Instructions of the hot paths by callgrind, against those stored in benches/rivals/INSTRUCTIONS.txt, with 1 % tolerance to either side:
# what became cheaper is to be stored as well, by `ci/instructions.sh --store`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
stored=benches/rivals/INSTRUCTIONS.txt
events=204800
if ! command -v valgrind >/dev/null; then
  ci/not-checked.sh instructions "valgrind is missing" "apt-get install valgrind"
  exit
fi
# What else decides about the counts: allocation is the C library's.
made="$(rustc --version), $(uname -m), $(ldd --version 2>&1 | sed -n 1p | sed 's/^.* /libc /'), $(valgrind --version)"
if [ "${1:-}" != --store ] && ! grep -qxF "# $made" "$stored"; then
  ci/not-checked.sh instructions "the stored counts are of $(sed -n 's/^# //p' "$stored" | head -n 1), and here is $made" "ci/instructions.sh --store at the commit before"
  exit
fi
cargo build --release -p rivals --bin hotpath --no-default-features
work=target/ci/instructions
mkdir -p "$work"
printf '# %s\n' "$made" >"$work/new"

# What is counted: its name, the path of the program, the function. Instructions are those inside the function, in hundredths for each event.
count() {
  valgrind --tool=callgrind --callgrind-out-file="$work/$1.out" --toggle-collect="hotpath::$3*" \
    "${CARGO_TARGET_DIR:-target}/release/hotpath" "$2" "$events" >"$work/$1.log" 2>&1 || { cat "$work/$1.log"; exit 1; }
  local sum
  sum=$(sed -n 's/^.*Collected : \([0-9]*\).*$/\1/p' "$work/$1.log")
  if [ -z "$sum" ] || [ "$sum" -lt "$events" ]; then
    echo "$1: no instructions were counted in hotpath::$3" >&2
    exit 1
  fi
  awk -v name="$1" -v sum="$sum" -v events="$events" 'BEGIN { printf "%s %.2f\n", name, sum / events }' >>"$work/new"
}
count register alone state_alone
count drain alone drain_alone
count five five drain_alone
count counter counter handle
count histogram histogram handle
count snapshot snapshot read_alone

if [ "${1:-}" = --store ]; then
  cp "$work/new" "$stored"
  cat "$stored"
  exit
fi
awk 'NR == FNR { if ($1 != "#") was[$1] = $2; next }
     $1 != "#" {
       ratio = ($1 in was) ? $2 / was[$1] : 0
       verdict = (ratio > 1.01) ? "MORE THAN STORED" : (ratio < 0.99) ? "LESS: STORE IT" : "ok"
       if (verdict != "ok") bad = 1
       printf "%-10s %9.2f instructions, stored %9.2f: %s\n", $1, $2, was[$1], verdict
       seen++
     }
     END { exit (bad || seen != 6) }' "$stored" "$work/new"
