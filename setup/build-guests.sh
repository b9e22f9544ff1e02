#!/usr/bin/env bash
# Build the guests of the suite to WebAssembly.
#
#     setup/build-guests.sh OUT_DIR [LANGUAGE...]
#
# A LANGUAGE is a directory of guests/; without any, the guests of every language
# are built, each by the script setup/guests/LANGUAGE.sh. Each guest becomes
# OUT_DIR/<its directory's name>.wasm, so names are unique across languages.
# Nothing is written into the source tree.
set -euo pipefail

die() { printf 'build-guests.sh: %s\n' "$*" >&2; exit 1; }

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
[[ $# -ge 1 ]] || die "usage: build-guests.sh OUT_DIR [LANGUAGE...]"
mkdir -p "$1"
out=$(cd "$1" && pwd)
shift

if [[ $# -eq 0 ]]; then
    for script in "$here"/guests/*.sh; do set -- "$@" "$(basename "$script" .sh)"; done
fi
for language in "$@"; do
    [[ -x $here/guests/$language.sh ]] || die "no guests in '$language': there is no setup/guests/$language.sh"
    "$here/guests/$language.sh" "$out"
done
