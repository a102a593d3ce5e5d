#!/usr/bin/env bash
# Formatting, lints and documentation, without running anything.
set -uo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh
. scripts/steps.sh
trap 'rm -rf "$logs"' EXIT
steps_check
closing_line
