#!/bin/sh
# Write `component/src/adapters.txt` anew: the published adapters for preview 1, by what their functions consist of. Toolchains
# bring the first of a release of Wasmtime or the latest. Before one is added, run the case `guest/adapter` on it:
# WHARF_ADAPTER_FILES names its directory `artefacts`.
set -eu
cd "$(dirname "$0")/.."
sources=$(mktemp -d)
trap 'rm -rf "$sources"' EXIT
mkdir "$sources/src" "$sources/all"
echo 'fn main() {}' > "$sources/src/main.rs"
for version in 27.0.0 28.0.0 28.0.1 29.0.0 29.0.1 30.0.0 30.0.2 31.0.0 32.0.0 32.0.1 33.0.0 33.0.2 34.0.2 36.0.0 36.0.20 \
    37.0.0 37.0.3 38.0.0 38.0.4 39.0.0 39.0.2 40.0.0 40.0.4 41.0.0 41.0.4 42.0.0 42.0.2 43.0.0 43.0.2 44.0.0 44.0.3 \
    45.0.0 45.0.3 46.0.0 46.0.3 47.0.4 48.0.0 48.0.8; do
    cat > "$sources/Cargo.toml" <<EOF
[package]
name = "adapters"
edition = "2024"
[workspace]
[dependencies]
wasi-preview1-component-adapter-provider = "=$version"
EOF
    (cd "$sources" && rm -f Cargo.lock && cargo vendor --quiet --versioned-dirs vendor > /dev/null)
    mv "$sources/vendor"/* "$sources/all/"
done
WHARF_ADAPTERS="$sources/all" cargo test --workspace --all-features --lib -- the_table_lists_every_function
