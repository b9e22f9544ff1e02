#!/usr/bin/env bash
# Make components of the guests written in Python, with componentize-py.
#
#     setup/guests/python.sh OUT_DIR [GUEST...]
#
# A GUEST is the name of a directory in guests/python, or the path of any other; without any, all of guests/python are
# built. Each becomes OUT_DIR/<directory name>.wasm. A guest is app.py, which may import what lies beside it, and wit/,
# which describes its world `app`; the packages of WASI come from core/wit.
# Nothing is written into the source tree.
set -euo pipefail

say() { printf 'guests/python.sh: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
[[ $# -ge 1 ]] || die "usage: guests/python.sh OUT_DIR [GUEST...]"
mkdir -p "$1"
out=$(cd "$1" && pwd)
shift

if [[ $# -eq 0 ]]; then
    for dir in "$root"/guests/python/*/; do set -- "$@" "$(basename "$dir")"; done
fi
dirs=()
for guest in "$@"; do
    dir=$root/guests/python/$guest
    [[ $guest != */* && -e $dir/app.py ]] || dir=$guest
    [[ -e $dir/app.py ]] || die "no guest '$guest'"
    dirs+=("$(cd "$dir" && pwd)")
done

env_lines=$("$root/setup/python.sh")
eval "$env_lines"

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# Where componentize-py looks for packages: without it, in whatever Python is on the PATH.
mkdir "$scratch/packages"
for dir in "${dirs[@]}"; do
    name=${dir##*/}
    say "building $name"
    # A copy: Python writes compiled files beside its sources, and the world needs its dependencies beside it.
    cp -r "$dir" "$scratch/$name"
    "$root/setup/wit-deps.sh" "$scratch/$name/wit"
    (cd "$scratch/$name" && VIRTUAL_ENV=$scratch/packages "$WHARF_PYTHON_TOOLS/bin/componentize-py" --quiet \
        --wit-path wit --world app componentize app --output "$scratch/$name.wasm") >&2
    install -m 644 "$scratch/$name.wasm" "$out/$name.wasm"
done
say "done, in $out"
