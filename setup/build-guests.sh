#!/usr/bin/env bash
# Build the guests of the suite to WebAssembly.
#
#     setup/build-guests.sh OUT_DIR [LANGUAGE...]
#         All of them, from their sources.
#     setup/build-guests.sh --changed OUT_DIR [LANGUAGE...]
#         The same guests, but what was compiled from the same sources before is not compiled again: neither what is in
#         OUT_DIR, nor what is committed in guests/prebuilt.
#     setup/build-guests.sh --commit [GUEST...]
#         guests/prebuilt, if their sources changed: those that are there, and these.
#
# A LANGUAGE is a directory of guests/; without any, the guests of every language
# are built, each by the script setup/guests/LANGUAGE.sh. Each guest becomes
# OUT_DIR/<its directory's name>.wasm, so names are unique across languages.
#
# What they were compiled from, as setup/guest-sources.sh lists it, is kept beside them,
# in OUT_DIR/sources. Nothing is written into the source tree, except with --commit.
set -euo pipefail

say() { printf 'build-guests.sh: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
guests=$(cd "$here/../guests" && pwd)
prebuilt=$guests/prebuilt

build() { # LANGUAGE OUT_DIR [GUEST...]
    [[ -x $here/guests/$1.sh ]] || die "no guests in '$1': there is no setup/guests/$1.sh"
    rm -f "$2/sources/$1" # until all are there
    "$here/guests/$1.sh" "${@:2}"
}

# Builds what neither OUT_DIR nor guests/prebuilt has of the sources of now.
changed() { # LANGUAGE OUT_DIR
    local sources dir name still=false missing=()
    sources=$("$here/guest-sources.sh" "$1")
    if [[ -e $2/sources/$1 && $sources == "$(<"$2/sources/$1")" ]]; then
        say "$1: nothing changed"
        return
    fi
    if [[ -e $prebuilt/sources/$1 ]] && "$here/guest-sources.sh" --check "$1"; then still=true; fi
    for dir in "$guests/$1"/*/; do
        name=$(basename "$dir")
        if [[ $name == sdk ]]; then continue; fi # of Rust, in the workspace of its guests
        if $still && [[ -e $prebuilt/$name.wasm ]]; then
            install -m 644 "$prebuilt/$name.wasm" "$2/$name.wasm"
        else
            missing+=("$name")
        fi
    done
    if [[ ${#missing[@]} -gt 0 ]]; then build "$1" "$2" "${missing[@]}"; fi
    keep "$sources" "$1" "$2"
}

# Builds the committed guests of a language, and those named, if its sources changed.
commit() { # LANGUAGE [GUEST...]
    local sources name names=()
    for name in "$prebuilt"/*.wasm "${@:2}"; do
        name=$(basename "$name" .wasm)
        if [[ -d $guests/$1/$name ]]; then names+=("$name"); fi
    done
    if [[ ${#names[@]} -eq 0 ]]; then return; fi
    if [[ -e $prebuilt/sources/$1 ]] && "$here/guest-sources.sh" --check "$1"; then
        say "$1: nothing changed"
        return
    fi
    sources=$("$here/guest-sources.sh" --committed "$1")
    build "$1" "$prebuilt" "${names[@]}"
    keep "$sources" "$1" "$prebuilt"
}

keep() { # SOURCES LANGUAGE DIR
    mkdir -p "$3/sources"
    printf '%s\n' "$1" >"$3/sources/$2"
}

mode=all
case ${1-} in
    --changed | --commit)
        mode=${1#--}
        shift
        ;;
esac
languages=()
for script in "$here"/guests/*.sh; do languages+=("$(basename "$script" .sh)"); done

if [[ $mode == commit ]]; then
    for language in "${languages[@]}"; do commit "$language" "$@"; done
    cd "$prebuilt"
    sha256sum -- *.wasm >SHA256SUMS
    exit
fi

[[ $# -ge 1 ]] || die "usage: build-guests.sh [--changed] OUT_DIR [LANGUAGE...], or build-guests.sh --commit [GUEST...]"
mkdir -p "$1"
out=$(cd "$1" && pwd)
shift
if [[ $# -gt 0 ]]; then languages=("$@"); fi
for language in "${languages[@]}"; do
    if [[ $mode == changed ]]; then
        changed "$language" "$out"
    else
        sources=$("$here/guest-sources.sh" "$language")
        build "$language" "$out"
        keep "$sources" "$language" "$out"
    fi
done
