#!/usr/bin/env bash
# Find, or provide, the WasmEdge 0.17 shared library that wharf-wasmedge links.
#
#     eval "$(setup/wasmedge.sh)"
#
# stdout carries `export` lines only; everything meant for people goes to stderr.
# An installation that is already there wins. Otherwise Debian's own packages are
# unpacked, with the C library they were built for, into a private directory
# under the cache; the running system's WasmEdge or C library is never touched.
set -euo pipefail

want=0.17 # the C API that wasmedge-sdk 0.17 / wasmedge-sys 0.21 bind
suite=forky # the Debian suite carrying it

say() { printf 'wasmedge.sh: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }

# --- what is there -----------------------------------------------------------

# Version in the C headers below $1, or nothing.
header_version() {
    sed -n 's/^#define WASMEDGE_VERSION "\([^"]*\)".*/\1/p' "$1/wasmedge/version.h" 2>/dev/null || true
}

# Is the pair (library directory, include directory) usable? Fails quietly when
# there is nothing, and aloud when there is a WasmEdge of another version.
usable() {
    local version
    [[ -e $1/libwasmedge.so && -e $2/wasmedge/wasmedge.h ]] || return 1
    version=$(header_version "$2")
    [[ $version == "$want" || $version == "$want".* ]] && return 0
    say "passing over $1: it is WasmEdge ${version:-of unknown version}, wanted $want.x"
    return 1
}

emit() { # library dir, include dir, [private sysroot]
    say "WasmEdge $(header_version "$2") in $1"
    printf 'export WASMEDGE_LIB_DIR=%q\n' "$(realpath -s "$1")"
    printf 'export WASMEDGE_INCLUDE_DIR=%q\n' "$(realpath -s "$2")"
    if [[ -n ${3-} ]]; then
        printf 'export WHARF_WASMEDGE_SYSROOT=%q\n' "$3"
    elif [[ -n ${WHARF_WASMEDGE_SYSROOT-} ]]; then
        printf 'unset WHARF_WASMEDGE_SYSROOT\n' # left over from an earlier run
    fi
}

cache=${WHARF_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/wharf}
[[ $cache == /* ]] || cache=$PWD/$cache # it ends up inside binaries: never relative
sysroot=$cache/wasmedge-$want
multiarch=x86_64-linux-gnu
loader=usr/lib/$multiarch/ld-linux-x86-64.so.2

# `complete` is written last, before the directory gets its final name.
private_ready() { [[ -e $sysroot/complete && -x $sysroot/$loader ]] && usable "$sysroot/link" "$sysroot/usr/include"; }
emit_private() { emit "$sysroot/link" "$sysroot/usr/include" "$sysroot"; }

find_installed() {
    local lib=${WASMEDGE_LIB_DIR-} dir
    # Not a private copy an earlier run exported: that needs its sysroot named too.
    if [[ -n $lib && ! -e $lib/../complete ]]; then
        for dir in ${WASMEDGE_INCLUDE_DIR:+"$WASMEDGE_INCLUDE_DIR"} "$lib/../include" "$lib/../../include"; do
            if usable "$lib" "$dir"; then emit "$lib" "$dir"; return; fi
        done
    fi
    for dir in ${WASMEDGE_DIR:+"$WASMEDGE_DIR"} "$HOME/.wasmedge" /usr/local /usr; do
        for lib in "$dir/lib" "$dir/lib64" "$dir"/lib/*-linux-gnu; do
            if usable "$lib" "$dir/include"; then emit "$lib" "$dir/include"; return; fi
        done
    done
    return 1
}

# --- libclang, for the bindings wasmedge-sys generates -----------------------

have_libclang() {
    local f
    for f in "${LIBCLANG_PATH-}" "${LIBCLANG_PATH-}"/libclang*.so* \
        /usr/lib/llvm*/lib/libclang{,-[0-9]*}.so /usr/lib{,64,/*-linux-gnu}/libclang{,-[0-9]*}.so \
        /usr/local/lib/libclang{,-[0-9]*}.so; do
        [[ -f $f ]] && return 0
    done
    return 1
}

# --- the private copy --------------------------------------------------------

# Addresses of the Debian archives this system already uses, one a line. apt
# itself reads sources.list and sources.list.d (both formats) and, with
# --print-uris, only tells what it would fetch.
mirrors() {
    local codename
    # shellcheck source=/dev/null
    codename=$(. /etc/os-release && printf %s "${VERSION_CODENAME-}")
    apt-get update --print-uris -o Dir::State::lists="$1" 2>/dev/null |
        sed -n "s|^'\(.*\)/dists/\([^/']*\)/InRelease'.*|\2 \1|p" |
        awk -v own="$codename" '$1 == own || $1 ~ /^(oldstable|stable|testing|unstable|sid|trixie|forky)$/ \
            { if (!seen[$2]++) print $2 }'
}

# Download $suite's libwasmedge-dev and all it needs, from mirror $2, below $1.
# The system's apt configuration (proxies, certificates, credentials) applies;
# only its sources, state, pins and hooks are set aside.
download() {
    local apt=$1 mirror=$2 keyring
    rm -rf "$apt/"{state,cache}
    mkdir -p "$apt/"{state/lists/partial,cache/archives/partial}
    : >"$apt/state/status" # no package is installed: fetch the C library too
    : >"$apt/pins"
    # Testing's Release file is signed with the keys of the current stable
    # releases too, which Debian 12's keyring package already holds. Without that
    # keyring apt checks against the keys it trusts anyhow; it always checks.
    for keyring in /usr/share/keyrings/debian-archive-keyring.{pgp,gpg} ''; do
        [[ -e $keyring ]] && break
    done
    echo "deb [arch=amd64 targets=Packages${keyring:+ signed-by=$keyring}] $mirror $suite main" >"$apt/sources.list"
    cat >"$apt/apt.conf" <<EOF
Dir::State "$apt/state";
Dir::State::lists "$apt/state/lists";
Dir::State::status "$apt/state/status";
Dir::Cache "$apt/cache";
Dir::Cache::archives "$apt/cache/archives";
Dir::Etc::sourcelist "$apt/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "$apt/pins";
Dir::Etc::preferencesparts "/dev/null";
APT::Default-Release "";
APT::Install-Recommends "false";
APT::Install-Suggests "false";
Acquire::Retries "3";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Pre-Install-Pkgs;
EOF
    apt-get -c "$apt/apt.conf" -qq -o APT::Update::Error-Mode=any update >&2 || return 1
    version=$(apt-cache -c "$apt/apt.conf" policy libwasmedge-dev | sed -n 's/^ *Candidate: //p')
    [[ $version == "$want".* ]] ||
        die "Debian $suite now carries WasmEdge ${version:-(none)}, no longer $want.x." \
            "Install WasmEdge $want.x by its own means and set WASMEDGE_DIR to it."
    apt-get -c "$apt/apt.conf" -qq -y --download-only install libwasmedge-dev >&2
}

provide() {
    local mirror file lib listing version='' ok=
    if ! command -v apt-get >/dev/null || [[ $(dpkg --print-architecture) != amd64 ]]; then
        die "no WasmEdge $want.x found, and this is not Debian on amd64: install it and set WASMEDGE_DIR"
    fi
    # apt's download user must be able to reach this; a home directory may be closed.
    scratch=$(mktemp -d)
    chmod 755 "$scratch"
    say "unpacking Debian $suite's WasmEdge into $sysroot"
    while read -r mirror; do
        if download "$scratch" "$mirror"; then ok=1; break; fi
        say "not to be had from $mirror"
    done < <(mirrors "$scratch/none")
    [[ -n $ok ]] || die "could not download libwasmedge-dev ($suite); a bad signature means debian-archive-keyring is too old"

    new=$(mktemp -d "$sysroot.XXXXXX") # same file system as the final name
    chmod 755 "$new"
    for file in "$scratch"/cache/archives/*.deb; do dpkg -x "$file" "$new"; done
    lib=$new/usr/lib/$multiarch
    ln -s "$multiarch" "$new/usr/lib/lib" # libLLVM looks for the others in $ORIGIN/../lib
    # The linker gets to see libwasmedge alone: the C library next to it must not
    # be mixed with the start-up objects of the system's own.
    mkdir "$new/link"
    for file in "$lib"/libwasmedge.so*; do ln -s "../usr/lib/$multiarch/${file##*/}" "$new/link/"; done

    usable "$new/link" "$new/usr/include" || die "the unpacked packages ($version) hold no WasmEdge $want.x"
    [[ -x $new/$loader ]] || die "the unpacked packages have no $loader"
    listing=$("$new/$loader" --library-path "$lib" --list "$lib/libwasmedge.so" 2>&1) || true
    [[ $listing == *libLLVM* && $listing != *"not found"* ]] || die "the unpacked libwasmedge does not load: $listing"
    (cd "$scratch/cache/archives" && sha256sum -- *.deb) >"$new/complete"
    rm -rf "$sysroot"
    mv -T "$new" "$sysroot"
}

scratch='' new=''
trap 'rm -rf ${scratch:+"$scratch"} ${new:+"$new"}' EXIT

have_libclang || "$(dirname "${BASH_SOURCE[0]}")/apt-install.sh" libclang-dev

if ! find_installed; then
    if ! private_ready; then
        mkdir -p "$cache"
        exec 9>"$cache/wasmedge.lock"
        flock 9
        private_ready || provide # another run may have done it meanwhile
    fi
    emit_private
fi
