#!/usr/bin/env bash
# Run the guest SDKs' own tests, each in the language of the SDK.
#
#     setup/test-sdks.sh [LANGUAGE...]
#
# A LANGUAGE is assemblyscript, c or go; without any, all of them. Nothing is written into the source tree.
set -euo pipefail

say() { printf 'test-sdks.sh: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

test_assemblyscript() {
    local toolchain
    toolchain=$("$root/setup/node.sh" assemblyscript)
    eval "$toolchain"
    # Packages are looked for above the importing file.
    cp -r "$root/guests/sdk/assemblyscript" "$scratch/assemblyscript"
    ln -s "$WHARF_NODE_PACKAGES" "$scratch/node_modules"
    (cd "$scratch/assemblyscript" && "$WHARF_NODE" --test --test-reporter=dot tests/*.test.js)
}

test_c() {
    # The machine's own compiler: it has sanitizers, which WASI has not.
    (cd "$root/guests/sdk/c" && cc -std=c11 -Wall -Wextra -Werror -g -fsanitize=address,undefined \
        -fno-sanitize-recover=all -I . tests/test.c wharf.c -o "$scratch/test-c")
    "$scratch/test-c"
}

test_go() {
    local toolchain cache=${WHARF_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/wharf}
    toolchain=$("$root/setup/go.sh")
    eval "$toolchain"
    mkdir -p "$cache"
    cache=$(cd "$cache" && pwd)
    unset GOFLAGS GOOS GOARCH
    export GOENV=off GOWORK=off GOTOOLCHAIN=local CGO_ENABLED=0
    export GOCACHE=$cache/go-build GOMODCACHE=$cache/go-modules
    cd "$root/guests/sdk/go"
    "$WHARF_GO" vet ./...
    GOOS=wasip1 GOARCH=wasm "$WHARF_GO" vet ./...
    "$WHARF_GO" test ./...
}

if [[ $# -eq 0 ]]; then set -- assemblyscript c go; fi
for language in "$@"; do
    [[ $(type -t "test_$language") == function ]] || die "no SDK in '$language'"
    say "testing the SDK in $language"
    ("test_$language")
done
say 'all passed'
