#!/usr/bin/env bash
# Print how many lines each adapter has: all, and those that are neither blank nor comment.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../backends"
printf '%-10s %6s %6s\n' adapter lines code
for engine in wasmtime wasmer wasmedge; do
    lines=$(cat "$engine"/src/*.rs | wc -l)
    code=$(cat "$engine"/src/*.rs | grep -cvE '^\s*(//.*)?$')
    printf '%-10s %6d %6d\n' "$engine" "$lines" "$code"
done
