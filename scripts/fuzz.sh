#!/usr/bin/env bash
# Fuzzes each door for strangers' bytes (fuzz/src/lib.rs) for FUZZ_SECONDS, ten minutes unless told otherwise; installs
# cargo-fuzz if it is not there. What it finds lies in fuzz/artifacts/ and ends the run. New inputs stay in fuzz/grown/, which
# is not committed.
#   scripts/fuzz.sh [TARGET]…     all targets without an argument
set -euo pipefail
cd "$(dirname "$0")/.."

VERSION=0.13.2
seconds=${FUZZ_SECONDS:-600}

# Sanitizer and coverage need flags of the nightly compiler, which the stable one takes in this mode.
export RUSTC_BOOTSTRAP=1
if ! cargo fuzz --version 2> /dev/null | grep -q "$VERSION"; then
    echo "Installing cargo-fuzz $VERSION"
    RUSTC_BOOTSTRAP=0 cargo install --quiet --locked --version "$VERSION" cargo-fuzz
fi
[ $# -gt 0 ] || set -- $(cargo fuzz list)
for target in "$@"; do
    mkdir -p "fuzz/grown/$target"
    log=$(mktemp)
    printf '\n== %s, %s s\n' "$target" "$seconds"
    if ! cargo fuzz run "$target" "fuzz/grown/$target" "fuzz/corpus/$target" -- \
        -max_total_time="$seconds" -rss_limit_mb=2048 -max_len=40000 -timeout=10 -print_final_stats=1 > "$log" 2>&1; then
        tail -n 60 "$log"
        echo "-- $target: FAILED; the input is in fuzz/artifacts/$target"
        exit 1
    fi
    sed -n 's/^Done \([0-9]*\) runs in \([0-9]*\).*/\1 runs in \2 s/p' "$log"
    sed -n 's/^stat::\(peak_rss_mb\): *\([0-9]*\)/peak memory \2 MiB/p' "$log"
    rm -f "$log"
done
