#!/usr/bin/env bash
# Make a Python environment with pinned packages, unless it is there already.
#
#     setup/venv.sh DIR NAME==VERSION...
#
# DIR names the versions: one that is complete is never looked at again.
set -euo pipefail

say() { printf 'venv.sh: %s\n' "$*" >&2; }

[[ $# -ge 2 ]] || { say 'usage: venv.sh DIR NAME==VERSION...'; exit 1; }
dir=$1
shift

mkdir -p "$(dirname "$dir")"
exec 9>"$dir.lock"
flock 9 # another run may be making it
if [[ -e $dir/complete ]]; then exit; fi

say "installing $*"
rm -rf "$dir"
if ! python3 -m venv "$dir" >/dev/null 2>&1; then
    rm -rf "$dir"
    "$(dirname "${BASH_SOURCE[0]}")/apt-install.sh" python3-venv
    python3 -m venv "$dir"
fi
"$dir/bin/pip" --quiet --disable-pip-version-check install "$@" >&2
touch "$dir/complete" # last: what was interrupted is made anew
