#!/usr/bin/env bash
# Says that a check could not be made, and how it can: not-checked.sh <what> <why> <how to get it>.
# That is a pass for a quick check and a failure for `just bar`, which sets MVX_BAR.
set -euo pipefail
printf 'NOT CHECKED: %s: %s; to get it: %s\n' "$1" "$2" "$3"
[ -z "${MVX_BAR:-}" ]
