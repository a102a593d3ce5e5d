# The steps of `make test`, `make check` and `make e2e`. Source it after lib.sh; each goes on after a failure, so that one
# run shows everything that is wrong.

steps_check() {
    step 'format' plain cargo fmt --all --check
    step 'lints' plain cargo clippy --workspace --all-targets --quiet -- -D warnings
    RUSTDOCFLAGS='-D warnings' step 'documentation' plain cargo doc --workspace --no-deps --quiet
}

steps_unit() {
    if cargo nextest --version > /dev/null 2>&1; then
        step 'rust tests' nextest cargo nextest run --workspace --no-fail-fast --no-tests=pass --status-level=fail --final-status-level=fail
    else
        step 'rust tests' cargo cargo test --workspace --no-fail-fast --quiet --lib --bins --tests
    fi
    step 'rust doc tests' cargo cargo test --workspace --doc --quiet
    if compgen -G 'dashboard/tests/js/*.mjs' > /dev/null; then
        step 'page script tests' node node --test --test-reporter=spec dashboard/tests/js/*.mjs
    fi
}

# The binary under test: of the dev profile, because the tests have built nearly all of it already.
build_binary() {
    cargo build --package fanfare --bin fanfare --example ws-echo --example stripe-like --quiet || return 1
    local folder
    folder=$(cargo metadata --format-version 1 --no-deps | python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')
    # A copy, so that a build beside the run does not change the program under test.
    cp "$folder/debug/fanfare" "$logs/fanfare"
    cp "$folder/debug/examples/ws-echo" "$logs/ws-echo"
    cp "$folder/debug/examples/stripe-like" "$logs/stripe-like"
    export FANFARE_BIN="${FANFARE_BIN:-$logs/fanfare}" FANFARE_ECHO_BIN="$logs/ws-echo" FANFARE_STRIPE_BIN="$logs/stripe-like"
}

# The binary under test, once for all stories. Not in a `step`: that would lose its exported name in a pipe.
need_binary() {
    if [ -z "${FANFARE_BIN:-}" ] || [ -z "${FANFARE_ECHO_BIN:-}" ] || [ -z "${FANFARE_STRIPE_BIN:-}" ]; then
        say 'binary'
        local start=$SECONDS
        if ! build_binary; then
            failed=$((failed + 1))
            failed_steps+=('binary')
            echo '-- binary: FAILED; the SDK and browser tests cannot run'
            return 1
        fi
        echo "-- binary: ok in $((SECONDS - start)) s"
    fi
}

# Stories (of e2e/sdk) that read and write storage most; `make test` tells them on PostgreSQL too, `make test-postgres` tells all.
postgres_stories=(accounts key-pairs usage-truth tenants ../browser/billing)

# steps_e2e_postgres NAME…: these stories with a database on the PostgreSQL of postgres_start for each data folder; all without names.
steps_e2e_postgres() {
    need_binary || return 1
    local name stories=()
    for name in "$@"; do stories+=("e2e/sdk/$name.test.mjs"); done
    [ $# -gt 0 ] || stories=(e2e/sdk/*.test.mjs)
    FANFARE_E2E_DATABASE=postgres step 'sdk tests on PostgreSQL' node node --test --test-force-exit --test-reporter=spec --test-concurrency="$NODE_TEST_CONCURRENCY" "${stories[@]}"
}

steps_e2e() {
    need_binary || return 1
    # A refused pusher-js keeps a timer for half a minute; nothing waits for it once the stories are told.
    step 'sdk tests' node node --test --test-force-exit --test-reporter=spec --test-concurrency="$NODE_TEST_CONCURRENCY" e2e/sdk/*.test.mjs
    step 'websocket conformance' node node --test --test-reporter=spec e2e/websocket/*.test.mjs
    step 'browser tests' node node --test --test-force-exit --test-reporter=spec --test-concurrency="$NODE_TEST_CONCURRENCY" e2e/browser/*.test.mjs
}
