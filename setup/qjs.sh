#!/usr/bin/env bash
# Provide componentize-qjs, which makes components of WASI 0.3 of JavaScript programs.
#
#     eval "$(setup/qjs.sh)"     (setup/guests/javascript.sh does this)
#
# stdout carries one `export` line; everything meant for people goes to stderr.
#
#   WHARF_QJS   the program
#
# It is compiled, which takes minutes. Releases before 0.5 make no components that import an asynchronous function.
set -euo pipefail

version=0.5.0
least=1.97 # what it asks of Rust
tools=${WHARF_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/wharf}/qjs-$version

say() { printf 'qjs.sh: %s\n' "$*" >&2; }

mkdir -p "$tools"
exec 9>"$tools.lock"
flock 9 # another run may be making it
if ! [[ -x $tools/bin/componentize-qjs ]]; then
    for toolchain in '' +stable +nightly none; do
        found=$(cargo ${toolchain:+"$toolchain"} --version 2>/dev/null | grep -o '1\.[0-9]*' | head -n 1 || true)
        if [[ -n $found && $(printf '%s\n' "$least" "$found" | sort -V | head -n 1) == "$least" ]]; then break; fi
    done
    if [[ $toolchain == none ]]; then
        say "no Rust of $least or later is installed: run 'rustup update stable'"
        exit 1
    fi
    say "compiling componentize-qjs $version"
    # What it does for a guest takes a second; so does not being optimized.
    CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
        CARGO_TARGET_DIR=$tools/target \
        cargo ${toolchain:+"$toolchain"} install --quiet --locked --root "$tools" --version "$version" componentize-qjs-cli >&2
    rm -rf "$tools/target"
fi
printf 'export WHARF_QJS=%q\n' "$(realpath "$tools")/bin/componentize-qjs"
