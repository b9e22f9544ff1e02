#!/usr/bin/env bash
# Build the guests written in AssemblyScript to WebAssembly.
#
#     setup/guests/assemblyscript.sh OUT_DIR [GUEST...]
#
# A GUEST is the name of a directory in guests/assemblyscript; without any, all of them are
# built, each from its index.ts to OUT_DIR/<its name>.wasm. The package `@wharf/guest` is the
# one in guests/sdk. The same sources and compiler give the same bytes, wherever they lie.
# Nothing is written into the source tree.
set -euo pipefail

say() { printf 'guests/assemblyscript.sh: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
[[ $# -ge 1 ]] || die "usage: guests/assemblyscript.sh OUT_DIR [GUEST...]"
mkdir -p "$1"
out=$(cd "$1" && pwd)
shift
if [[ $# -eq 0 ]]; then
    for dir in "$root"/guests/assemblyscript/*/; do set -- "$@" "$(basename "$dir")"; done
fi

toolchain=$("$root/setup/node.sh" assemblyscript)
eval "$toolchain"

# The compiler finds packages by their place, and file names end up in the module: each guest
# is built in a directory that looks the same everywhere.
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir -p "$scratch/node_modules/@wharf"
ln -s "$WHARF_NODE_PACKAGES/@assemblyscript" "$scratch/node_modules/@assemblyscript"
cp -r "$root/guests/sdk/assemblyscript" "$scratch/node_modules/@wharf/guest"
cd "$scratch"
for guest in "$@"; do
    dir=$root/guests/assemblyscript/$guest
    [[ -e $dir/index.ts ]] || die "no guest '$guest'"
    say "building $guest"
    cp -r "$dir" "$guest"
    "$WHARF_NODE" "$WHARF_NODE_PACKAGES/assemblyscript/bin/asc.js" "$guest/index.ts" --outFile "$guest.wasm" \
        --config node_modules/@assemblyscript/wasi-shim/asconfig.json --optimizeLevel 3 --shrinkLevel 1 >&2
    install -m 644 "$guest.wasm" "$out/$guest.wasm"
done
say "done, in $out"
