#!/usr/bin/env bash
# Install Debian packages, as root or through sudo, and say so on stderr.
#
#     setup/apt-install.sh PACKAGE...
#
# The package lists are refreshed only when the first try fails. Nothing that is installed is ever removed for it.
set -euo pipefail

say() { printf 'apt-install.sh: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }

run=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0)
command -v apt-get >/dev/null || die "this is not Debian: please install what corresponds to $*"
if [[ $EUID -ne 0 ]]; then
    sudo -n true 2>/dev/null || die "please install (needs root): $*"
    run=(sudo -n "${run[@]}")
fi
say "installing $*"
"${run[@]}" install -y --no-install-recommends --no-remove "$@" >&2 && exit
"${run[@]}" update >&2 || say "some package lists could not be refreshed; going on"
exec "${run[@]}" install -y --no-install-recommends --no-remove "$@" >&2
