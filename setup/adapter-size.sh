#!/usr/bin/env bash
# Print how many lines each adapter has, and the binding below one that needs its own: all, and those that are neither
# blank nor comment.
set -euo pipefail
shopt -s nullglob
cd "$(dirname "${BASH_SOURCE[0]}")/../backends"
printf '%-26s %6s %6s\n' crate lines code
for crate in wasmtime wasmer wasmedge wasmedge/engine; do
    lines=$(cat "$crate"/src/{,*/}*.rs | wc -l)
    code=$(cat "$crate"/src/{,*/}*.rs | grep -cvE '^\s*(//.*)?$')
    note=''
    [[ $crate != */* ]] || note=' (binding)'
    printf '%-26s %6d %6d\n' "$crate$note" "$lines" "$code"
done
