# A PostgreSQL of the tests' own: in a temporary folder, on the loopback only, without durability. Source it, then
# `postgres_start` exports FANFARE_TEST_POSTGRES_URL and `postgres_stop` ends it and removes the folder.

postgres_folder=

# PostgreSQL refuses to run as root.
as_postgres() {
    if [ "$(id -u)" = 0 ]; then setpriv --reuid=postgres --regid=postgres --clear-groups env HOME="$postgres_folder" "$@"; else "$@"; fi
}

# Below the range from which the kernel takes ports for outgoing connections.
free_port() {
    python3 - << 'PY'
import random, socket
for _ in range(200):
    port = random.randint(9600, 10239)
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        print(port)
        break
PY
}

postgres_start() {
    local bin port tries
    bin=$(dirname "$(compgen -G '/usr/lib/postgresql/*/bin/initdb' | sort -V | tail -n 1)")
    postgres_folder=$(mktemp -d "${TMPDIR:-/tmp}/fanfare-postgres.XXXXXX")
    [ "$(id -u)" != 0 ] || chown postgres:postgres "$postgres_folder"
    cd "$postgres_folder" || return 1
    if ! as_postgres "$bin/initdb" -D "$postgres_folder/data" -U fanfare -A trust -E UTF8 --locale=C.UTF-8 --no-sync > "$postgres_folder/initdb.log" 2>&1; then
        cat "$postgres_folder/initdb.log"
        cd "$root" || true
        return 1
    fi
    for tries in 1 2 3; do
        port=$(free_port)
        if as_postgres "$bin/pg_ctl" -D "$postgres_folder/data" -w -t 30 -l "$postgres_folder/server.log" \
            -o "-p $port -k $postgres_folder -c listen_addresses=127.0.0.1 -c fsync=off -c synchronous_commit=off -c full_page_writes=off -c max_connections=300" start > /dev/null; then
            postgres_ctl="$bin/pg_ctl"
            export FANFARE_TEST_POSTGRES_URL="postgres://fanfare@127.0.0.1:$port/postgres"
            cd "$root" || return 1
            echo "PostgreSQL listens on 127.0.0.1:$port (pid $(head -n 1 "$postgres_folder/data/postmaster.pid"))"
            return 0
        fi
        echo "PostgreSQL did not start on port $port (try $tries)"
    done
    cat "$postgres_folder/server.log"
    cd "$root" || true
    return 1
}

postgres_stop() {
    [ -n "$postgres_folder" ] || return 0
    if [ -e "$postgres_folder/data/postmaster.pid" ]; then
        (cd / && as_postgres "$postgres_ctl" -D "$postgres_folder/data" -m immediate -w stop > /dev/null) || true
    fi
    rm -rf "$postgres_folder"
    postgres_folder=
    unset FANFARE_TEST_POSTGRES_URL
}
