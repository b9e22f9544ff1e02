#!/usr/bin/env bash
# Say whether guests built just now are, byte for byte, the committed ones.
#
#     setup/compare-guests.sh DIR
#
# Another compiler gives other bytes, which is no fault: the suite then runs on what was built. A committed guest that
# does not match its own manifest, or was not built, is one.
set -euo pipefail
built=$(cd "$1" && pwd)
cd "$(dirname "${BASH_SOURCE[0]}")/../guests/prebuilt"
sha256sum --quiet --check SHA256SUMS
for guest in *.wasm; do
    [[ -e $built/$guest ]] || { printf '%s was not built\n' "$guest" >&2; exit 1; }
    if cmp --silent "$guest" "$built/$guest"; then
        printf '%s: the same bytes as committed\n' "$guest"
    else
        printf '%s: other bytes than committed (another compiler); the suite runs on the new ones\n' "$guest"
    fi
done
