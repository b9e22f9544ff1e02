#!/usr/bin/env bash
# List the files that guests are built from, with their digests, as `sha256sum` does.
#
#     setup/guest-sources.sh LANGUAGE              all that a guest of this language may be built from
#     setup/guest-sources.sh --committed LANGUAGE  the same for the guests that are in guests/prebuilt
#     setup/guest-sources.sh --check [LANGUAGE...] whether those were built from what is there now
#
# What guests/prebuilt was built from is kept in guests/prebuilt/sources, which `setup/build-guests.sh --commit` writes.
set -euo pipefail
export LC_ALL=C # the same order everywhere
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Sources, lock files, the SDK, and the scripts that provide the compiler and call it; more than one guest needs.
list() { # LANGUAGE PLACE...
    local places=("${@:2}" "setup/guests/$1.sh")
    case $1 in
        assemblyscript) places+=(guests/sdk/assemblyscript setup/node.sh setup/assemblyscript) ;;
        c) places+=(guests/sdk/c setup/c.sh) ;;
        go) places+=(guests/sdk/go setup/go.sh) ;;
        javascript) places+=(core/wit setup/node.sh setup/node setup/wit-deps.sh) ;;
        python) places+=(core/wit setup/python.sh setup/venv.sh setup/wit-deps.sh) ;;
        rust) places+=(core/wit/0.3 setup/wasm-toolchain.sh setup/wasm-link.sh) ;;
        *) printf 'guest-sources.sh: no guests in %s\n' "$1" >&2; exit 1 ;;
    esac
    find "${places[@]}" -type f ! -name '*.md' ! -path '*/tests/*' ! -path '*/target/*' ! -path '*/node_modules/*' \
        ! -path '*/__pycache__/*' -print0 | sort -z | xargs -0 sha256sum
}

committed() { # LANGUAGE
    local places=("guests/$1")
    if [[ $1 == rust ]]; then
        # None of the guests on the SDK, which share one lock file, is committed.
        places=(guests/rust/*/Cargo.lock)
        places=("${places[@]%/Cargo.lock}")
    fi
    list "$1" "${places[@]}"
}

case ${1-} in
    --committed) committed "$2" ;;
    --check)
        kept=guests/prebuilt/sources
        shift
        if [[ $# -eq 0 ]]; then
            for file in "$kept"/*; do set -- "$@" "$(basename "$file")"; done
        fi
        for language in "$@"; do
            now=$(committed "$language")
            if ! diff "$kept/$language" - <<<"$now" >&2; then
                printf 'guests/prebuilt was built from other sources of %s: run setup/build-guests.sh --commit\n' "$language" >&2
                exit 1
            fi
        done
        ;;
    ?*) list "$1" "guests/$1" ;;
    *) printf 'usage: guest-sources.sh [--committed|--check] LANGUAGE\n' >&2; exit 1 ;;
esac
