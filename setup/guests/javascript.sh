#!/usr/bin/env bash
# Make components of the guests written in JavaScript, with componentize-js; of those of WASI 0.3, with componentize-qjs.
#
#     setup/guests/javascript.sh OUT_DIR [GUEST...]
#
# A GUEST is the name of a directory in guests/javascript, or the path of any other; without any, all of
# guests/javascript are built. Each becomes OUT_DIR/<directory name>.wasm. A guest is app.js, which may import what lies
# beside it, and wit/, which describes its world `app`; the packages of WASI come from core/wit.
# Nothing is written into the source tree.
set -euo pipefail

say() { printf 'guests/javascript.sh: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
[[ $# -ge 1 ]] || die "usage: guests/javascript.sh OUT_DIR [GUEST...]"
mkdir -p "$1"
out=$(cd "$1" && pwd)
shift

if [[ $# -eq 0 ]]; then
    for dir in "$root"/guests/javascript/*/; do set -- "$@" "$(basename "$dir")"; done
fi
dirs=()
for guest in "$@"; do
    dir=$root/guests/javascript/$guest
    [[ $guest != */* && -e $dir/app.js ]] || dir=$guest
    [[ -e $dir/app.js ]] || die "no guest '$guest'"
    dirs+=("$(cd "$dir" && pwd)")
done

# Sets up what a script provides, once: compiling componentize-qjs takes minutes.
declare -A there=()
needs() {
    if [[ -n ${there[$1]-} ]]; then return; fi
    there[$1]=yes
    local lines
    lines=$("$root/setup/$1.sh")
    eval "$lines"
}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
for dir in "${dirs[@]}"; do
    name=${dir##*/}
    say "building $name"
    # A copy: a file's path ends up in the component, and the world needs its dependencies beside it.
    cp -r "$dir" "$scratch/$name"
    "$root/setup/wit-deps.sh" "$scratch/$name/wit" 0.2.10
    if grep -q '@0\.3\.' "$dir"/wit/*.wit; then
        needs qjs
        (cd "$scratch/$name" && "$WHARF_QJS" --js app.js --wit wit --world app --opt-size \
            --output "$scratch/$name.wasm") >&2
    else
        needs node
        (cd "$scratch/$name" && "$WHARF_NODE" "$WHARF_NODE_PACKAGES/@bytecodealliance/componentize-js/src/cli.js" \
            app.js --wit wit --world-name app --out "$scratch/$name.wasm") >&2
    fi
    install -m 644 "$scratch/$name.wasm" "$out/$name.wasm"
done
say "done, in $out"
