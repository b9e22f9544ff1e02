#!/usr/bin/env bash
# Build the guests written in C to WebAssembly.
#
#     setup/guests/c.sh OUT_DIR [GUEST...]
#
# A GUEST is the name of a directory in guests/c; without any, all of them are built,
# each from all of its .c files to OUT_DIR/<its name>.wasm, with the SDK in guests/sdk/c if
# it includes wharf.h. The same sources and compiler give the same bytes, wherever they lie.
# Nothing is written into the source tree.
set -euo pipefail
export LC_ALL=C # files in the same order everywhere

say() { printf 'guests/c.sh: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
[[ $# -ge 1 ]] || die "usage: guests/c.sh OUT_DIR [GUEST...]"
mkdir -p "$1"
out=$(cd "$1" && pwd)
shift
if [[ $# -eq 0 ]]; then
    for dir in "$root"/guests/c/*/; do
        if compgen -G "$dir*.c" >/dev/null; then set -- "$@" "$(basename "$dir")"; fi
    done
    [[ $# -gt 0 ]] || die "no .c file below $root/guests/c"
fi

toolchain=$("$root/setup/c.sh")
eval "$toolchain"
sdk=$root/guests/sdk/c
cc=("$WHARF_WASM_CC" --target=wasm32-wasi ${WHARF_WASM_SYSROOT:+"--sysroot=$WHARF_WASM_SYSROOT"})
objects=$(mktemp -d)
trap 'rm -rf "$objects"' EXIT

for guest in "$@"; do
    dir=$root/guests/c/$guest
    compgen -G "$dir/*.c" >/dev/null || die "no guest '$guest'"
    say "building $guest"
    mkdir "$objects/$guest"
    # By name from within their directory, so that no path goes in.
    for place in "$dir" "$sdk"; do
        if [[ $place == "$sdk" ]] && ! grep -q '"wharf.h"' "$dir"/*.c; then continue; fi
        cd "$place"
        for file in *.c; do
            "${cc[@]}" -std=c11 -Os -Wall -Wextra -Werror -I "$sdk" -c "$file" -o "$objects/$guest/$file.o"
        done
    done
    # Without -O here: with it, clang runs a wasm-opt that happens to be on the PATH. The stack lies first and is
    # larger than usual, because poll(2) of the C library keeps there what it polls; too much of it traps.
    "${cc[@]}" -Wl,--strip-all -Wl,-z,stack-size=1048576 -Wl,--stack-first \
        "$objects/$guest/"*.c.o -o "$objects/$guest/linked.wasm"
    install -m 644 "$objects/$guest/linked.wasm" "$out/$guest.wasm"
done
say "done, in $out"
