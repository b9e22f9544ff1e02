//! The options of `wharf serve`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;

use super::backend::{BackendArgs, HostArgs};
use super::cache::CacheArgs;
use super::run::{GuestArgs, LimitArgs, OutboundArgs, SocketArgs};
use super::values;

const EXAMPLES: &str = "\
Examples:
  wharf serve app.wasm
  wharf serve --tls-cert cert.pem --tls-key key.pem --addr 0.0.0.0:8443 --access-log app.wasm
  wharf serve --backend wasmer --addr 127.0.0.1:0 --timeout 10s -a https://api.example.com app.wasm

Each request gets an instance of its own, unless --max-instance-reuse-count says otherwise. --timeout is for each
request, its body included, and 30 s unless it is given; a client that leaves ends its guest before. SIGINT,
SIGTERM and SIGHUP (unless it is ignored, as by nohup) let the requests under way finish; a second one ends
wharf at once. The exit code is 0 if all of them did, and 1 if --drain was over before.";

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

    /// Stop when something connects here; port 0 takes one that is free
    #[arg(long, value_name = "ADDR")]
    pub(crate) shutdown_addr: Option<SocketAddr>,

    /// Speak TLS with the certificate chain in this PEM file; clients may choose HTTP/2
    #[arg(long, value_name = "FILE", requires = "tls_key", value_hint = clap::ValueHint::FilePath)]
    pub(crate) tls_cert: Option<PathBuf>,

    /// The private key of the certificate, in a PEM file
    #[arg(long, value_name = "FILE", requires = "tls_cert", value_hint = clap::ValueHint::FilePath)]
    pub(crate) tls_key: Option<PathBuf>,

    /// Print a line for each request when its answer ends
    #[arg(long)]
    pub(crate) access_log: bool,

    /// How many requests an instance answers, one after another: beyond 1, what a guest keeps in its memory is seen by
    /// the requests that follow
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_instance_reuse_count: u32,

    /// How many fresh instances are kept ready [default: a few if one takes long to make, else none]
    #[arg(long, value_name = "N")]
    pub(crate) pre_warm: Option<usize>,

    /// How many fields the head of a request may have; more are answered with 431
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) max_header_fields: u16,

    /// How long a request target may be; a longer one is answered with 414
    #[arg(long, value_name = "SIZE", value_parser = values::room, default_value = "32KiB")]
    pub(crate) max_target_bytes: ByteSize,

    /// All connections come from a proxy whose word on the scheme holds: `proto` in the last element of Forwarded, or
    /// else the scheme of the request target. Without it, another scheme than the connection's is answered with 421
    #[arg(long)]
    pub(crate) trusted_proxy: bool,

    /// How many connections there may be
    #[arg(long, value_name = "N", default_value_t = 4096, value_parser = values::count)]
    pub(crate) max_connections: usize,

    /// How long a client may take to begin: with TLS, with the head of a request, and over HTTP/1.1 with the next one's
    #[arg(long, value_name = "TIME", value_parser = values::period, default_value = "10s")]
    pub(crate) header_timeout: Duration,

    /// How long a client may take none of a response
    #[arg(long, value_name = "TIME", value_parser = values::period, default_value = "30s")]
    pub(crate) stall_timeout: Duration,

    /// How long a client of HTTP/2 may have no request under way
    #[arg(long, value_name = "TIME", value_parser = values::period, default_value = "1m")]
    pub(crate) idle_timeout: Duration,

    /// How many requests are worked on at a time
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = values::count)]
    pub(crate) max_concurrent: usize,

    /// How many more may wait for their turn; all others are answered with 503
    #[arg(long, value_name = "N", default_value_t = 1024)]
    pub(crate) max_waiting: usize,

    /// How much memory all instances may take together; what finds none is answered with 503 [default: three quarters
    /// of the machine's]
    #[arg(long, value_name = "SIZE", value_parser = values::size)]
    pub(crate) max_total_memory: Option<ByteSize>,

    /// How long requests under way get to finish at the end
    #[arg(long, value_name = "TIME", value_parser = values::duration, default_value = "10s")]
    pub(crate) drain: Duration,
}
