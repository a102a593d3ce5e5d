#!/usr/bin/env bash
# Takes the pictures of docs/screenshots/ from a real server with something on its screens. FANFARE_BIN names another binary.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh
. scripts/steps.sh
trap 'rm -rf "$logs"' EXIT
scripts/install.sh debian node
[ -n "${FANFARE_BIN:-}" ] || build_binary
node e2e/browser/screenshots.mjs "${1:-$root/docs/screenshots}"
