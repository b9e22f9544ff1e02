#!/usr/bin/env bash
# Find, or provide, a C compiler that builds for WASI preview 1.
#
#     eval "$(setup/c.sh)"     (setup/guests/c.sh does this)
#
# stdout carries `export` lines only; everything meant for people goes to stderr.
#
#   WHARF_WASM_CC       clang
#   WHARF_WASM_SYSROOT  where its C library for WASI is; empty: where clang looks by itself
#
# A WASI SDK that WASI_SDK_PATH names wins, then a clang on the PATH with Debian's C
# library, then Debian's clang, which this installs.
set -euo pipefail

say() { printf 'c.sh: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
echo 'int main(void) { return 0; }' >"$scratch/empty.c"

# Whether a program can be built: a compiler alone is not enough.
builds() { # CC SYSROOT
    "$1" --target=wasm32-wasi ${2:+"--sysroot=$2"} "$scratch/empty.c" -o "$scratch/empty.wasm" 2>"$scratch/why"
}

emit() { # CC SYSROOT
    say "$("$1" --version | sed -n 1p)"
    printf 'export WHARF_WASM_CC=%q WHARF_WASM_SYSROOT=%q\n' "$1" "$2"
}

find_ready() {
    local cc
    if [[ -n ${WASI_SDK_PATH-} ]]; then
        cc=$WASI_SDK_PATH/bin/clang
        builds "$cc" '' || die "WASI_SDK_PATH is set, and its clang builds no program: $(cat "$scratch/why")"
        emit "$cc" ''
        return
    fi
    cc=$(command -v clang) && builds "$cc" /usr && emit "$cc" /usr
}

if find_ready; then exit; fi
"$here/apt-install.sh" clang lld wasi-libc libclang-rt-dev-wasm32
find_ready || die "Debian's packages are installed, but build no program: $(cat "$scratch/why")"
