# Shared by the scripts of this folder: where things are, and steps that count what passed and what failed.
# Source it; it sets no shell options.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export NODE_TEST_CONCURRENCY=${NODE_TEST_CONCURRENCY:-2}

passed=0
failed=0
skipped=0
failed_steps=()
logs=$(mktemp -d "${TMPDIR:-/tmp}/fanfare-test.XXXXXX")

say() { printf '\n== %s\n' "$*"; }

# step NAME KIND COMMAND…: runs the command, shows its output, counts by the closing lines of KIND
# (nextest | cargo | node | plain); a step that fails without a countable failure counts as one.
step() {
    local name=$1 kind=$2
    shift 2
    local log="$logs/${name// /-}.log" code=0 start=$SECONDS p=0 f=0 s=0
    say "$name"
    "$@" 2>&1 | tee "$log"
    code=${PIPESTATUS[0]}
    case $kind in
        nextest)
            p=$(sum "$log" '([0-9]+) passed' Summary)
            f=$(($(sum "$log" '([0-9]+) failed' Summary) + $(sum "$log" '([0-9]+) timed out' Summary)))
            s=$(sum "$log" '([0-9]+) skipped' Summary)
            ;;
        cargo)
            p=$(sum "$log" '([0-9]+) passed' 'test result:')
            f=$(sum "$log" '([0-9]+) failed' 'test result:')
            s=$(sum "$log" '([0-9]+) ignored' 'test result:')
            ;;
        node)
            p=$(sum "$log" '^. pass ([0-9]+)' '')
            f=$(($(sum "$log" '^. fail ([0-9]+)' '') + $(sum "$log" '^. cancelled ([0-9]+)' '')))
            s=$(sum "$log" '^. skipped ([0-9]+)' '')
            ;;
        plain)
            if [ "$code" = 0 ]; then p=1; fi
            ;;
    esac
    if [ "$code" != 0 ] && [ "$f" = 0 ]; then f=1; fi
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
    if [ "$code" != 0 ]; then failed_steps+=("$name"); fi
    printf -- '-- %s: %s in %d s (%d passed, %d failed)\n' "$name" "$([ "$code" = 0 ] && echo ok || echo FAILED)" $((SECONDS - start)) "$p" "$f"
    return "$code"
}

# The sum of the first group of a pattern over the lines of a log that hold a word; colours are taken out first.
sum() {
    sed 's/\x1b\[[0-9;]*m//g' "$1" | WORD=$3 PATTERN=$2 perl -CS -ne 'BEGIN { $n = 0 } $n += $1 if index($_, $ENV{WORD}) >= 0 && /$ENV{PATTERN}/; END { print $n }'
}

# The last line is read by machines: "N passed, N failed, N skipped".
closing_line() {
    if [ ${#failed_steps[@]} -gt 0 ]; then
        printf '\nFailed: %s\n' "$(IFS=,; echo "${failed_steps[*]}" | sed 's/,/, /g')"
    fi
    if [ "$skipped" -gt 0 ]; then
        printf '\n%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
    else
        printf '\n%d passed, %d failed\n' "$passed" "$failed"
    fi
    [ "$failed" = 0 ] && [ ${#failed_steps[@]} = 0 ]
}
