#!/usr/bin/env bash
# Find, or provide, a Rust toolchain that builds for wasm32-wasip1.
#
#     eval "$(setup/wasm-toolchain.sh)"     (setup/guests/rust.sh does this)
#
# stdout carries `export` lines only; everything meant for people goes to stderr.
#
#   WHARF_WASM_RUSTC      the compiler
#   WHARF_WASM_CARGO      the cargo to drive it
#   WHARF_WASM_BUILD_STD  1: the standard library must be built from source
#   WHARF_WASM_LINKER     linker and WASI C library, both only in that case
#   WHARF_WASM_LIBC
#
# A toolchain that has the target already wins, then rustup, then Debian's own
# compiler, which needs nothing but the package mirror the system uses.
# WHARF_WASM_TOOLCHAIN=debian|rust skips the search.
set -euo pipefail

target=wasm32-wasip1
choice=${WHARF_WASM_TOOLCHAIN-}
debian_rustc=/usr/bin/rustc
libc=/usr/lib/wasm32-wasi

say() { printf 'wasm-toolchain.sh: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }

# Which toolchain rustup picks can depend on the directory: ask from the root.
cd "$(dirname "${BASH_SOURCE[0]}")/.."

emit() { # NAME VALUE ...
    while [[ $# -gt 0 ]]; do
        printf 'export %s=%q\n' "$1" "$2"
        shift 2
    done
}

# --- a toolchain with a ready-made standard library --------------------------

rust_ready() {
    [[ $choice != debian ]] && command -v cargo >/dev/null && command -v rustc >/dev/null || return 1
    compgen -G "$(rustc --print sysroot)/lib/rustlib/$target/lib/libstd-*.rlib" >/dev/null
}

emit_rust() {
    # rustup's stand-ins on PATH are fine here: no path of theirs reaches the output.
    local rustc
    rustc=$(command -v rustc)
    say "$("$rustc" --version) with $target"
    emit WHARF_WASM_CARGO "$(command -v cargo)" WHARF_WASM_RUSTC "$rustc" WHARF_WASM_BUILD_STD ''
}

# --- Debian's compiler, standard library from source -------------------------

linker() { # rustup's rust-lld, or LLVM's wasm-ld of the compiler's own LLVM
    local llvm
    if command -v rustc >/dev/null; then
        compgen -G "$(rustc --print sysroot)/lib/rustlib/*/bin/rust-lld" && return
    fi
    llvm=$("$debian_rustc" -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
    command -v "wasm-ld-$llvm" && return
    echo "lld-$llvm" # the package it is in
    return 1
}

debian_ready() {
    [[ $choice != rust && -x $debian_rustc && -e $libc/crt1-command.o ]] &&
        [[ -e $("$debian_rustc" --print sysroot)/lib/rustlib/src/rust/library/Cargo.lock ]] &&
        command -v cargo >/dev/null && linker >/dev/null
}

emit_debian() {
    say "Debian's $("$debian_rustc" --version), standard library from source"
    emit WHARF_WASM_CARGO "$(command -v cargo)" WHARF_WASM_RUSTC "$debian_rustc" WHARF_WASM_BUILD_STD 1 \
        WHARF_WASM_LINKER "$(linker)" WHARF_WASM_LIBC "$libc"
}

# --- choose ------------------------------------------------------------------

if rust_ready; then emit_rust; exit; fi
if debian_ready; then emit_debian; exit; fi

if [[ $choice != debian ]] && command -v rustup >/dev/null; then
    # Bounded: behind some networks this neither works nor fails.
    if timeout 60 rustup target add "$target" >&2 && rust_ready; then emit_rust; exit; fi
    say "rustup could not add $target"
fi
[[ $choice != rust ]] || die "no $target for the Rust toolchain in use"

command -v apt-get >/dev/null || die "no toolchain for $target: please run 'rustup target add $target'"
packages=(rustc-web rust-web-src wasi-libc)
command -v cargo >/dev/null || packages+=(cargo-web)
setup/apt-install.sh "${packages[@]}"
if ! package=$(linker); then setup/apt-install.sh "$package"; fi
debian_ready || die "Debian's packages are installed, but do not make a toolchain for $target"
emit_debian
