#!/usr/bin/env bash
# Everything that CI checks, from a fresh clone on Debian 12: install, check, unit and integration tests, SDKs, browser.
set -uo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh
. scripts/postgres.sh
. scripts/steps.sh

# Whatever ends this run ends PostgreSQL too. The tests end their own servers, each by its id.
trap 'postgres_stop; rm -rf "$logs"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

say 'install'
if ! scripts/install.sh; then
    echo 'The tools that the tests need could not be installed.'
    printf '\n0 passed, 1 failed\n'
    exit 1
fi
steps_check
say 'database'
if ! postgres_start; then
    failed=$((failed + 1))
    failed_steps+=('database')
fi
steps_unit
steps_e2e_postgres "${postgres_stories[@]}"
postgres_stop
steps_e2e
echo
echo "The whole run took $((SECONDS / 60)) min $((SECONDS % 60)) s."
closing_line
