#!/usr/bin/env bash
# Builds the binary and tells the stories of the SDKs and of the pages against it. FANFARE_BIN names another binary.
set -uo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh
. scripts/steps.sh
trap 'rm -rf "$logs"' EXIT
scripts/install.sh || exit 1
steps_e2e
closing_line
