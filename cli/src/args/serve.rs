//! The options of `wharf serve`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use wharf_server::Reuse;

use super::backend::{BackendArgs, HostArgs};
use super::cache::CacheArgs;
use super::image::ImageArgs;
use super::run::{GuestArgs, LimitArgs, OutboundArgs, SocketArgs};
use super::values;

const EXAMPLES: &str = "\
Examples:
  wharf serve app.wasm
  wharf serve --tls-cert cert.pem --tls-key key.pem --addr 0.0.0.0:8443 --access-log app.wasm
  wharf serve --backend wasmer --addr 127.0.0.1:0 --timeout 10s -a https://api.example.com app.wasm

Each request gets an instance of its own, unless --max-instance-reuse-count says otherwise. \
--timeout applies to each request, including its body, and defaults to 30 s; if the client disconnects, its guest is \
ended early.

On SIGINT, SIGTERM and SIGHUP (unless it is ignored, as under nohup) wharf lets the requests in progress finish; a \
second signal ends it at once. The exit code is 0 if all of them finished, and 1 if the time of --drain ran out \
first.";

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
    #[command(flatten)]
    pub(crate) images: ImageArgs,

    /// The guest: a component, or a core module made with its bindings, that exports `wasi:http/incoming-handler`, or a
    /// component of WASI 0.3 that exports `wasi:http/handler`; or an image that has one (`oci://HOST/REPOSITORY:TAG`)
    #[arg(help_heading = "Arguments", value_name = "MODULE", value_hint = clap::ValueHint::FilePath)]
    pub(crate) module: PathBuf,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Serving")]
pub(crate) struct ServingArgs {
    /// The address to serve on; port 0 chooses a free port
    #[arg(long, value_name = "ADDR:PORT", value_parser = values::address, default_value = "127.0.0.1:8080")]
    pub(crate) addr: SocketAddr,

    /// Stop when something connects to this address; port 0 chooses a free port
    #[arg(long, value_name = "ADDR:PORT", value_parser = values::address)]
    pub(crate) shutdown_addr: Option<SocketAddr>,

    /// Serve TLS with the certificate chain in this PEM file; clients may choose HTTP/2
    #[arg(long, value_name = "FILE", requires = "tls_key", value_hint = clap::ValueHint::FilePath)]
    pub(crate) tls_cert: Option<PathBuf>,

    /// The private key of the certificate, in a PEM file
    #[arg(long, value_name = "FILE", requires = "tls_cert", value_hint = clap::ValueHint::FilePath)]
    pub(crate) tls_key: Option<PathBuf>,

    /// Print a line for each request when its response ends
    #[arg(long)]
    pub(crate) access_log: bool,

    /// How many requests an instance handles, one after another: a number, or a range such as 1..8, of which one is
    /// drawn for each instance; if more than 1, a request can see what earlier ones left in the guest's memory
    #[arg(long, value_name = "N", default_value_t = Reuse::ONCE)]
    pub(crate) max_instance_reuse_count: Reuse,

    /// How many requests an instance works on at a time; more than 1 is for services of WASI 0.3, and counts within
    /// --max-instance-reuse-count. Requests in one instance take turns on one thread; one that traps ends them all
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_instance_concurrent_reuse_count: u32,

    /// How many new instances to keep ready [default: a few if one takes long to create, else none]
    #[arg(long, value_name = "N")]
    pub(crate) pre_warm: Option<usize>,

    /// How many header fields a request may have; a request with more is answered with 431
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) max_header_fields: u16,

    /// How long a request target may be; a longer one is answered with 414
    #[arg(long, value_name = "SIZE", value_parser = values::room, default_value = "32KiB")]
    pub(crate) max_target_bytes: ByteSize,

    /// Trust the proxy that all connections come from to say the scheme: by `proto` in the last element of Forwarded,
    /// or else by the scheme of the request target. Without this, a scheme other than the connection's is answered with
    /// 421
    #[arg(long)]
    pub(crate) trusted_proxy: bool,

    /// How many connections may be open at a time
    #[arg(long, value_name = "N", default_value_t = 4096, value_parser = values::count)]
    pub(crate) max_connections: usize,

    /// How long a client may take for the TLS handshake, for its first bytes, and over HTTP/1.1 for each request's head
    #[arg(long, value_name = "TIME", value_parser = values::period, default_value = "10s")]
    pub(crate) header_timeout: Duration,

    /// How long a client may read nothing of a response
    #[arg(long, value_name = "TIME", value_parser = values::period, default_value = "30s")]
    pub(crate) stall_timeout: Duration,

    /// How long an HTTP/2 connection may have no request in progress
    #[arg(long, value_name = "TIME", value_parser = values::period, default_value = "1m")]
    pub(crate) idle_timeout: Duration,

    /// How many requests are handled at a time [default: --max-total-memory divided by --max-memory, at most 128]
    #[arg(long, value_name = "N", value_parser = values::places)]
    pub(crate) max_concurrent: Option<usize>,

    /// How many more requests may wait for their turn; all others are answered with 503
    #[arg(long, value_name = "N", default_value_t = 1024)]
    pub(crate) max_waiting: usize,

    /// How much memory all instances may use together; requests beyond it are answered with 503 [default: three
    /// quarters of the machine's, or of its control group's limit]
    #[arg(long, value_name = "SIZE", value_parser = values::size)]
    pub(crate) max_total_memory: Option<ByteSize>,

    /// How long requests in progress may take to finish when the server stops
    #[arg(long, value_name = "TIME", value_parser = values::duration, default_value = "10s")]
    pub(crate) drain: Duration,
}
