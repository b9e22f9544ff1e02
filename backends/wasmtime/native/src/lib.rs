//! Runs `wasi:http` components on Wasmtime's own component model, with wharf's policy and transport.
