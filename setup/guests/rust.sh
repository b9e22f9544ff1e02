#!/usr/bin/env bash
# Build the guests written in Rust to WebAssembly.
#
#     setup/guests/rust.sh OUT_DIR [GUEST...]
#
# A GUEST is the name of a directory in guests/rust, or the path of any other
# stand-alone crate; without any, all of guests/rust are built. Each becomes
# OUT_DIR/<directory name>.wasm (a crate with several programs: <program>.wasm).
# `crate-type = ["cdylib"]` makes a reactor, a program makes a command.
#
# The same sources and compiler give the same bytes, wherever they lie, as long as
# a crate depends on registries and on what is in its own workspace only: cargo mixes
# the full path of any other path dependency into symbol names, hence into their
# order. The SDK and the guests on it are one workspace, guests/rust/Cargo.toml.
# Nothing is written into the source tree; builds go to WHARF_CACHE/guests-target-2.
set -euo pipefail

say() { printf 'guests/rust.sh: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
[[ $# -ge 1 ]] || die "usage: guests/rust.sh OUT_DIR [GUEST...]"
mkdir -p "$1"
out=$(cd "$1" && pwd)
shift

cache=${WHARF_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/wharf}
target=wasm32-wasip1
# Cargo does not build again what it built with other path prefixes: with other ones below, take another number.
mkdir -p "$cache/guests-target-2"
target_dir=$(cd "$cache/guests-target-2" && pwd)

crates=()
if [[ $# -eq 0 ]]; then
    for dir in "$root"/guests/rust/*/; do
        if [[ -e $dir/Cargo.toml ]]; then crates+=("${dir%/}"); fi
    done
    [[ ${#crates[@]} -gt 0 ]] || die "no crate in $root/guests/rust"
fi
for guest in "$@"; do
    dir=$root/guests/rust/$guest
    [[ $guest != */* && -e $dir/Cargo.toml ]] || dir=$guest
    [[ -e $dir/Cargo.toml ]] || die "no guest '$guest'"
    crates+=("$(cd "$dir" && pwd)")
done

env_lines=$("$root/setup/wasm-toolchain.sh")
eval "$env_lines"

# The profile is set here, so that no crate's own can drift from it.
export CARGO_PROFILE_RELEASE_OPT_LEVEL=s CARGO_PROFILE_RELEASE_LTO=fat CARGO_PROFILE_RELEASE_PANIC=abort
export CARGO_PROFILE_RELEASE_CODEGEN_UNITS=1 CARGO_PROFILE_RELEASE_STRIP=symbols CARGO_PROFILE_RELEASE_DEBUG=0
export CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS=false CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS=false
export CARGO_INCREMENTAL=0 RUSTC=$WHARF_WASM_RUSTC
unset RUSTFLAGS CARGO_BUILD_RUSTFLAGS CARGO_ENCODED_RUSTFLAGS RUSTC_WRAPPER RUSTC_WORKSPACE_WRAPPER CARGO_BUILD_TARGET

sysroot=$("$RUSTC" --print sysroot)
commit=$("$RUSTC" -vV | sed -n 's/^commit-hash: //p')
std_source=$(realpath -m "$sysroot/lib/rustlib/src/rust") # a link, on Debian

# Downloaded first, so that it is known where their sources lie.
for dir in "${crates[@]}"; do
    (cd "$dir" && "$WHARF_WASM_CARGO" fetch --quiet --locked --target "$target")
done

# Paths end up in panic messages; later prefixes win over earlier ones. A crate's
# own are relative already. Those of a registry begin with its name and a digest of
# how cargo calls it, which are no business of a guest's: /crate/NAME-VERSION/ is
# all it says. The flags are the same for all guests, or each would get its own
# build of everything it depends on.
cargo_home=${CARGO_HOME:-$HOME/.cargo}
flags=(
    "--remap-path-prefix=$root=/wharf"
    "--remap-path-prefix=$cargo_home=/cargo"
    "--remap-path-prefix=$std_source=/rustc/$commit"
    "--remap-path-prefix=$sysroot/lib/rustlib/src/rust=/rustc/$commit"
    "--remap-path-prefix=$target_dir=/target"
)
for registry in "$cargo_home"/registry/src/*/; do
    flags+=("--remap-path-prefix=${registry%/}=/crate")
done
cargo=("$WHARF_WASM_CARGO" build --release --locked --target "$target" --target-dir "$target_dir"
    --message-format json-render-diagnostics)
if [[ -n $WHARF_WASM_BUILD_STD ]]; then
    export RUSTC_BOOTSTRAP=1 # -Zbuild-std asks for it
    export CARGO_TARGET_WASM32_WASIP1_LINKER=$root/setup/wasm-link.sh
    cargo+=("-Zbuild-std=std,panic_abort")
    flags+=(-Clink-self-contained=no "-Lnative=$WHARF_WASM_LIBC")
fi

for dir in "${crates[@]}"; do
    name=${dir##*/}
    say "building $name"
    # What a crate's dependencies ask for besides, a flag a line.
    own=()
    if [[ -e $dir/rustflags ]]; then mapfile -t own <"$dir/rustflags"; fi
    # The encoded form (fields parted by \x1f) lets paths contain spaces.
    CARGO_ENCODED_RUSTFLAGS=$(printf '%s\x1f' "${flags[@]}" "${own[@]}")
    export CARGO_ENCODED_RUSTFLAGS=${CARGO_ENCODED_RUSTFLAGS%?}
    # From within the crate, for a cargo configuration there.
    messages=$(cd "$dir" && "${cargo[@]}")
    mapfile -t built < <(grep -F '"reason":"compiler-artifact"' <<<"$messages" |
        grep -F "\"manifest_path\":\"$dir/Cargo.toml\"" | grep -o '"/[^"]*\.wasm"' | tr -d '"' | sort -u)
    case ${#built[@]} in
        0) die "$name built no .wasm" ;;
        1) install -m 644 "${built[0]}" "$out/$name.wasm" ;;
        *) install -m 644 "${built[@]}" "$out/" ;;
    esac
done
say "done, in $out"
