//! The command's tests: one binary, since each that links the engines takes long to build.

#[cfg(feature = "wasmtime-component")]
mod after;
mod commands;
mod components;
mod composed;
mod composed_mutation;
mod fetch;
mod guide;
mod hello;
mod images;
mod input;
mod kept;
mod limits;
mod load;
mod new;
mod run;
mod serve;
mod serve_reuse;
mod serve_together;
mod sockets;
mod support;
#[cfg(feature = "wasmedge")]
mod wasmedge;
#[cfg(feature = "wasmtime-component")]
mod wasmtime_component;
