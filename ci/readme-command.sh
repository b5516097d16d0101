#!/usr/bin/env bash
# Prints the n-th command of README.md's fenced shell blocks, so that what CI runs is what readers are told.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
command=$(awk -v wanted="$1" '
  /^[[:space:]]*```/ {
    language = $0; sub(/^[[:space:]]*```[[:space:]]*/, "", language)
    if (fenced) { fenced = 0; shell = 0 } else { fenced = 1; shell = language ~ /^(sh|bash|shell|console)[[:space:]]*$/ }
    next
  }
  shell {
    sub(/^[[:space:]]*\$?[[:space:]]*/, "")
    if ($0 != "" && $0 !~ /^#/ && ++seen == wanted) { print; exit }
  }' README.md)
if [ -z "$command" ]; then
  echo "README.md has no command number $1 in a fenced sh block" >&2
  exit 1
fi
printf '%s\n' "$command"
