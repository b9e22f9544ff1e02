#!/usr/bin/env bash
# No program can link wasmer 7.4 and wasmtime 48, which look compatible.
#
# Assumed: both ask for cranelift 0.135, so Cargo takes one patch release for both, or two side by side.
# Seen:    wasmer 7.4.2 asks for exactly =0.135.0, wasmtime 48.0.8 for 0.135.8 or later, and Cargo never takes two releases that
#          semantic versioning calls compatible. wasmer 7.3.0, on an older cranelift, stands beside the same wasmtime.
source "$(dirname "${BASH_SOURCE[0]}")/support.bash"

resolve() { # WASMER
    mkdir -p program/src
    touch program/src/lib.rs
    cat >program/Cargo.toml <<TOML
[package]
name = "program"
version = "0.0.0"
edition = "2024"

[dependencies]
wasmer = { version = "=$1", default-features = false, features = ["sys", "cranelift"] }
wasmtime = "=48.0.8"
TOML
    rm -f program/Cargo.lock
    (cd program && cargo generate-lockfile 2>&1 && sed -n '/name = "cranelift-codegen"/,/version/p' Cargo.lock)
}

if output=$(resolve 7.4.2); then echo 'No longer so: Cargo finds versions.' >&2; exit 1; fi
shows 'wasmtime 48.0.8 with wasmer 7.4.2' '=0\.135\.0|\^0\.135\.8|could resolve this conflict' "$output"
shows 'with wasmer 7.3.0' '^version = ' "$(resolve 7.3.0)"
