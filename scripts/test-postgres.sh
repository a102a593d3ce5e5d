#!/usr/bin/env bash
# Tells all stories of the SDKs on PostgreSQL: each data folder gets a database of its own there. Names of stories
# (`webhooks mail`) tell only those. FANFARE_BIN names another binary.
set -uo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh
. scripts/postgres.sh
. scripts/steps.sh
trap 'postgres_stop; rm -rf "$logs"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
scripts/install.sh || exit 1
postgres_start || exit 1
steps_e2e_postgres "$@"
closing_line
