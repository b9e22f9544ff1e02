#!/usr/bin/env bash
# Put the packages of WASI 0.2 beside a guest's own WIT files, where every tool looks for them.
#
#     setup/wit-deps.sh WIT_DIR [VERSION]
#
# VERSION is the release of WASI that a toolchain is bound to. The packages are then named as of it, and the little that
# is newer is for no guest to use.
set -euo pipefail
wit=$(cd "$1" && pwd)
cd "$(dirname "${BASH_SOURCE[0]}")/../core/wit"
mkdir -p "$wit/deps"
for file in *.wit; do
    sed "s/\<0\.2\.12\>/${2:-0.2.12}/g" "$file" > "$wit/deps/$file"
done
