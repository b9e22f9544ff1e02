#!/usr/bin/env bash
# Find, or provide, Debian's docker-registry, which the tests of images push to.
#
#     eval "$(setup/registry.sh)"
#
# stdout carries `export` lines only; everything meant for people goes to stderr. Debian's package is unpacked, not installed:
# it would start a registry that anybody can use.
set -euo pipefail

say() { printf 'registry.sh: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }

if command -v docker-registry >/dev/null; then exit; fi

cache=${WHARF_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/wharf}
[[ $cache == /* ]] || cache=$PWD/$cache
dir=$cache/docker-registry

provide() {
    command -v apt-get >/dev/null || die "this is not Debian: please install docker-registry (distribution 2.8)"
    # apt's download user must be able to reach this; a home directory may be closed.
    scratch=$(mktemp -d)
    chmod 755 "$scratch"
    say "unpacking Debian's docker-registry into $dir"
    fetch() { (cd "$scratch" && apt-get -qq -o APT::Sandbox::User=root download docker-registry >&2); }
    if ! fetch; then
        local update=(apt-get -qq update)
        if [[ $EUID -ne 0 ]]; then update=(sudo -n "${update[@]}"); fi
        "${update[@]}" >&2 || say "some package lists could not be refreshed; going on"
        fetch || die "could not download docker-registry"
    fi
    new=$(mktemp -d "$dir.XXXXXX") # same file system as the final name
    dpkg -x "$scratch"/docker-registry_*.deb "$new"
    "$new/usr/bin/docker-registry" --version >&2 || die "the unpacked docker-registry does not run"
    rm -rf "$dir"
    mv -T "$new" "$dir"
}

scratch='' new=''
trap 'rm -rf ${scratch:+"$scratch"} ${new:+"$new"}' EXIT

if [[ ! -x $dir/usr/bin/docker-registry ]]; then
    mkdir -p "$cache"
    exec 9>"$cache/docker-registry.lock"
    flock 9
    [[ -x $dir/usr/bin/docker-registry ]] || provide # another run may have done it meanwhile
fi
printf 'export PATH=%q:"$PATH"\n' "$dir/usr/bin"
