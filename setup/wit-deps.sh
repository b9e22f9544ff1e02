#!/usr/bin/env bash
# Put the packages of WASI beside a guest's own WIT files, where every tool looks for them: those of 0.3 if the guest's
# world is of 0.3, else those of 0.2.
#
#     setup/wit-deps.sh WIT_DIR [VERSION]
#
# VERSION is the release of WASI 0.2 that a toolchain is bound to. The packages are then named as of it, and the little that
# is newer is for no guest to use.
set -euo pipefail
wit=$(cd "$1" && pwd)
cd "$(dirname "${BASH_SOURCE[0]}")/../core/wit"
mkdir -p "$wit/deps"
if grep -q '@0\.3\.' "$wit"/*.wit; then
    cp 0.3/*.wit "$wit/deps"
    exit
fi
for file in *.wit; do
    sed "s/\<0\.2\.12\>/${2:-0.2.12}/g" "$file" > "$wit/deps/$file"
done
