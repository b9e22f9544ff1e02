//! The options of `wharf run`.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::time::Duration;

use bytesize::ByteSize;
use wharf::core::grants::Listen;
use wharf::core::http::Redirects;

use super::backend::{BackendArgs, HostArgs};
use super::cache::CacheArgs;
use super::image::ImageArgs;
use super::values::{self, AllowEntry, DirGrant, EnvEntry};

const EXAMPLES: &str = "\
Examples:
  wharf run guest.wasm
  wharf run --allow-host https://api.example.com guest.wasm --verbose input.txt
  wharf run --backend wasmer --timeout 2s --dir ./data::/data -e TOKEN guest.wasm
  wharf run --tcplisten 127.0.0.1:8080 server.wasm

Options go before the module; everything after it is passed to the guest. Arguments and variables must be UTF-8, as \
WASI 0.2 requires; this holds for guests of preview 1 too, so that both get the same.

The exit code is the guest's own, or 134 if it traps, 124 if it runs out of time, 1 if it cannot be run, 2 if the \
command line is wrong.";

#[derive(Debug, clap::Args)]
#[command(override_usage = "wharf run [OPTIONS] <MODULE> [ARGS]...", after_help = EXAMPLES)]
pub(crate) struct RunArgs {
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

    /// Call this exported function, which takes no parameters, instead of `_start`
    #[arg(short, long, value_name = "FN", help_heading = "Guest")]
    pub(crate) invoke: Option<String>,

    /// The guest, a WebAssembly module or component, or an image that has one (`oci://HOST/REPOSITORY:TAG`), followed by its
    /// arguments
    #[arg(
        help_heading = "Arguments",
        value_name = "MODULE",
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    #[arg(value_hint = clap::ValueHint::FilePath)]
    pub(crate) module_and_args: Vec<OsString>,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Outbound HTTP")]
pub(crate) struct OutboundArgs {
    /// Allow requests to an origin: `[scheme://]host[:port]`, `*.` for all names below a domain, or
    /// `insecure:allow-all`; may be repeated; by default nothing is reachable
    #[arg(short, long, alias = "allowed-host", value_name = "PATTERN", value_parser = values::allow_entry)]
    pub(crate) allow_host: Vec<AllowEntry>,

    /// Let allowed names resolve to private addresses
    #[arg(long)]
    pub(crate) allow_private_ips: bool,

    /// How many redirects to follow for a guest that uses `wasi_experimental_http`, each checked like a new request;
    /// `manual` passes redirects to the guest, as is always done for guests that use `wasi:http`
    #[arg(long, value_name = "N|manual", value_parser = values::redirects, default_value = "10")]
    pub(crate) redirects: Redirects,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Sockets (connections and name lookups need --allow-host)")]
pub(crate) struct SocketArgs {
    /// Listen on an address and hand the listener to the guest, as descriptor 3; a second one is 4, and so on
    #[arg(long, value_name = "ADDR:PORT", value_parser = values::address)]
    pub(crate) tcplisten: Vec<SocketAddr>,

    /// Let the guest itself listen on an address, or on a port of any address; may be repeated
    #[arg(long, value_name = "ADDR:PORT|PORT", value_parser = values::listen)]
    pub(crate) allow_listen: Vec<Listen>,

    /// How many sockets the guest may have open at a time
    #[arg(long, value_name = "N", default_value_t = 4096)]
    pub(crate) max_sockets: usize,

    /// How much may be buffered for a socket in each direction
    #[arg(long, value_name = "SIZE", value_parser = values::size, default_value = "1MiB")]
    pub(crate) max_socket_buffer: ByteSize,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Limits (sizes accept KiB, MiB, GiB; times are seconds or accept ms, s, m)")]
pub(crate) struct LimitArgs {
    /// How many responses the guest may have open at a time
    #[arg(short, long, value_name = "N", default_value_t = 64)]
    pub(crate) concurrency: u64,

    /// How long the guest may run, from its start to its end [default: no limit]
    #[arg(long, value_name = "TIME", value_parser = values::period)]
    pub(crate) timeout: Option<Duration>,

    /// How long connecting may take, including name resolution and TLS
    #[arg(long, value_name = "TIME", value_parser = values::period, default_value = "10s")]
    pub(crate) connect_timeout: Duration,

    /// How long an origin may take to begin its response
    #[arg(long, value_name = "TIME", value_parser = values::period, default_value = "30s")]
    pub(crate) first_byte_timeout: Duration,

    /// How long a response body may pause
    #[arg(long, value_name = "TIME", value_parser = values::period, default_value = "30s")]
    pub(crate) between_bytes_timeout: Duration,

    /// How large a request body may be
    #[arg(long, value_name = "SIZE", value_parser = values::size, default_value = "64MiB")]
    pub(crate) max_request_body: ByteSize,

    /// How large a response body may be; it is streamed, so its size costs no memory [default: no limit]
    #[arg(long, value_name = "SIZE", value_parser = values::size)]
    pub(crate) max_response_body: Option<ByteSize>,

    /// How large all headers of a request or response may be together; clients of `wharf serve` may always send 8KiB
    #[arg(long, value_name = "SIZE", value_parser = values::room, default_value = "64KiB")]
    pub(crate) max_header_bytes: ByteSize,

    #[command(flatten)]
    pub(crate) load: LoadArgs,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Limits (sizes accept KiB, MiB, GiB; times are seconds or accept ms, s, m)")]
pub(crate) struct LoadArgs {
    /// How much memory the guest may use: its memories, its tables, and what wharf keeps for it, all together; code
    /// that was compiled with another limit is compiled again [default: 4GiB; for `serve`, --max-total-memory divided by
    /// --max-concurrent, at least 64MiB]
    #[arg(long, value_name = "SIZE", value_parser = values::size)]
    pub(crate) max_memory: Option<ByteSize>,

    /// How large the code of one function may be; compiling a large one takes long
    #[arg(long, value_name = "SIZE", value_parser = values::size, default_value = "1MiB")]
    pub(crate) max_function_size: ByteSize,

    /// How long compiling the guest may take
    #[arg(long, value_name = "TIME", value_parser = values::period, default_value = "5m")]
    pub(crate) compile_timeout: Duration,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Guest")]
pub(crate) struct GuestArgs {
    /// Set an environment variable for the guest; NAME alone passes on wharf's own, if it is set; may be repeated
    #[arg(short, long, value_name = "NAME[=VALUE]", value_parser = values::env_entry)]
    pub(crate) env: Vec<EnvEntry>,

    /// Let the guest read and write a directory, under its own or another name; may be repeated
    #[arg(long, value_name = "HOST[::GUEST]", value_parser = values::dir_grant)]
    #[arg(value_hint = clap::ValueHint::DirPath)]
    pub(crate) dir: Vec<DirGrant>,
}
