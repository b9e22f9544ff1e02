#!/usr/bin/env bash
# Build the guests written in Go to WebAssembly, for GOOS=wasip1.
#
#     setup/guests/go.sh OUT_DIR [GUEST...]
#
# A GUEST is the name of a directory in guests/go; without any, all of them are built,
# each to OUT_DIR/<its name>.wasm. The same sources and compiler give the same bytes,
# wherever they lie. Nothing is written into the source tree; builds go to WHARF_CACHE.
set -euo pipefail

say() { printf 'guests/go.sh: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
[[ $# -ge 1 ]] || die "usage: guests/go.sh OUT_DIR [GUEST...]"
mkdir -p "$1"
out=$(cd "$1" && pwd)
shift
if [[ $# -eq 0 ]]; then
    for dir in "$root"/guests/go/*/; do
        if [[ -e $dir/go.mod ]]; then set -- "$@" "$(basename "$dir")"; fi
    done
    [[ $# -gt 0 ]] || die "no module in $root/guests/go"
fi

toolchain=$("$root/setup/go.sh")
eval "$toolchain"
cache=${WHARF_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/wharf}
mkdir -p "$cache"
cache=$(cd "$cache" && pwd)

# What a user has set for Go must not reach the output, nor may Go fetch another version of itself.
unset GOFLAGS GOROOT GOWASM GOEXPERIMENT GODEBUG
export GOENV=off GOWORK=off GOTOOLCHAIN=local CGO_ENABLED=0 GOOS=wasip1 GOARCH=wasm
export GOCACHE=$cache/go-build GOMODCACHE=$cache/go-modules

for guest in "$@"; do
    dir=$root/guests/go/$guest
    [[ -e $dir/go.mod ]] || die "no guest '$guest'"
    say "building $guest"
    # From within its module. Neither paths, nor the state of the repository, nor build ids go in.
    (cd "$dir" && "$WHARF_GO" build -trimpath -buildvcs=false -ldflags='-s -w -buildid=' -o "$out/$guest.wasm" .)
    chmod 644 "$out/$guest.wasm"
done
say "done, in $out"
