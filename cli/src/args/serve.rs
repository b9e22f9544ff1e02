//! The options of `wharf serve`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::backend::{BackendArgs, HostArgs};
use super::run::{CacheArgs, GuestArgs, LimitArgs, OutboundArgs, SocketArgs};
use super::values;

const EXAMPLES: &str = "\
Examples:
  wharf serve app.wasm
  wharf serve --backend wasmer --addr 127.0.0.1:0 --timeout 10s -a https://api.example.com app.wasm

Each request gets an instance of its own, and --timeout is for each. SIGINT and SIGTERM let the requests under way
finish; a second one ends wharf at once.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    pub(crate) serving: ServingArgs,
    #[command(flatten)]
    pub(crate) backend: BackendArgs,
    #[command(flatten)]
    pub(crate) host: HostArgs,
    #[command(flatten)]
    pub(crate) outbound: OutboundArgs,
    #[command(flatten)]
    pub(crate) sockets: SocketArgs,
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
    #[command(flatten)]
    pub(crate) guest: GuestArgs,
    #[command(flatten)]
    pub(crate) cache: CacheArgs,

    /// The guest: a component, or a core module from its bindings, that exports `wasi:http/incoming-handler`, or of
    /// WASI 0.3 `wasi:http/handler`
    #[arg(value_name = "MODULE", value_hint = clap::ValueHint::FilePath)]
    pub(crate) module: PathBuf,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Serving")]
pub(crate) struct ServingArgs {
    /// Where requests are taken; port 0 takes one that is free
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub(crate) addr: SocketAddr,

    /// Stop when something connects here
    #[arg(long, value_name = "ADDR")]
    pub(crate) shutdown_addr: Option<SocketAddr>,

    /// How many requests are worked on at a time
    #[arg(long, value_name = "N", default_value_t = 128)]
    pub(crate) max_concurrent: usize,

    /// How many more may wait for their turn; all others are answered with 503
    #[arg(long, value_name = "N", default_value_t = 1024)]
    pub(crate) max_waiting: usize,

    /// How long requests under way get to finish at the end
    #[arg(long, value_name = "TIME", value_parser = values::duration, default_value = "10s")]
    pub(crate) drain: Duration,
}
