#!/usr/bin/env bash
# Measures two servers in turns over every scenario of docs/PERFORMANCE.md, one file of results each.
#   bench/against.sh FOLDER [SCENARIO…]
# A is started by $A (default: this checkout's release build), B by $B; $FANFARE is the load tool. The servers' app: id 1001 (B: $ID_B),
# key app-key, secret app-secret, no limits. Quiet machine, two cores at least; takes a quarter of an hour.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:?folder for the results}
shift
ulimit -n "$(ulimit -Hn)"
FANFARE=${FANFARE:-target/release/fanfare}
B=${B:?command that starts server B}
data=$(mktemp -d)
trap 'rm -rf "$data"' EXIT
A=${A:-FANFARE_WORKERS=1 FANFARE_LOG=error FANFARE_DRAIN_SECONDS=0 FANFARE_APP_ID=1001 FANFARE_APP_KEY=app-key FANFARE_APP_SECRET=app-secret FANFARE_DATA_DIR=$data FANFARE_LISTEN=127.0.0.1:6001 exec $FANFARE serve}
commit=$(git rev-parse --short=8 HEAD)
wanted=" $* "
files=${NAMES:-fanfare,other}
files=${files/,/-}

# NAME SCENARIO ARGUMENTS…
measure() {
    local name=$1 scenario=$2
    shift 2
    if [ "$wanted" != '  ' ] && [[ "$wanted" != *" $name "* ]]; then return 0; fi
    echo "-- $name" >&2
    "$FANFARE" bench compare --a "$A" --b "$B" --names "${NAMES:-fanfare,other}" --pin --rounds "${ROUNDS:-3}" --scenario "$scenario" \
        --url "${URL_A:-ws://127.0.0.1:6001}" --url-b "${URL_B:-ws://127.0.0.1:6002}" --app-id 1001 --app-id-b "${ID_B:-app-id}" \
        --key app-key --secret app-secret --commit "$commit" --json -- "$@" > "$out/$(date -u +%F)-$name-$files.jsonl" || echo "   $name: see its faults" >&2
}

mkdir -p "$out"
measure fanout-one-in-flight fanout -n 1000 --size 64 -p 1 --window 1 --secs 2.5 --warmup 0.5
measure fanout-saturated-1000 fanout -n 1000 --size 64 -p 16 --window 16 --secs 2.5 --warmup 0.5
measure fanout-saturated-10000 fanout -n 10000 --size 64 -p 16 --window 16 --secs 2.5 --warmup 0.5
measure fanout-1000-channels fanout -n 10000 --channels 1000 --size 64 -p 16 --window 64 --secs 2.5 --warmup 0.5
measure fanout-paced fanout -n 1000 --size 512 --rate 50 -p 1 --window 16 --secs 5 --warmup 0.5
measure publish publish -p 16 --secs 4
measure publish-batch publish -p 16 --batch 10 --secs 4
measure idle idle -n 10000
measure presence presence -n 1000
measure churn churn -n 64 --secs 5
measure client-events client-events --secs 4
measure slow slow -n 200 -m 20 --rate 100 --size 10000 -p 1 --secs 15
