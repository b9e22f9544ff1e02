//! From the options to what a guest is granted: the same for a guest that runs and one that serves.

use std::net::TcpListener;
use std::path::Path;

use anyhow::Context;
use wharf::core::grants::{Network, WasiConfig};
use wharf::core::http::{Limits, Outbound, Policy};

use crate::args::{DirGrant, GuestArgs, LimitArgs, OutboundArgs, SocketArgs};
use crate::commands::env_value;

/// How many connections may wait for the guest to accept them; the operating system may let less.
const BACKLOG: i32 = 4096;

/// Arguments, environment and directories. The guest's name among its arguments is that of its file.
pub(crate) fn wasi(args: &GuestArgs, module: &Path, guest_args: Vec<String>) -> anyhow::Result<WasiConfig> {
    let program = module.file_name().unwrap_or_default().to_string_lossy();
    let mut wasi = WasiConfig::new().arg(program)?.args(guest_args)?;
    for entry in &args.env {
        if let Some(value) = env_value(entry)? {
            wasi = wasi.env(&entry.name, value)?;
        }
    }
    for DirGrant { host, guest } in &args.dir {
        wasi = wasi.preopen(host, guest).with_context(|| "--dir")?;
    }
    Ok(wasi)
}

/// What the guest may do with sockets: connect where it may send requests, and listen where the options say.
pub(crate) fn network(args: &SocketArgs, outbound: &Outbound) -> anyhow::Result<Network> {
    let mut network = Network::sharing(outbound)
        .max_sockets(args.max_sockets)
        .max_socket_buffer(usize::try_from(args.max_socket_buffer.as_u64()).unwrap_or(usize::MAX));
    for listen in &args.allow_listen {
        network = network.allow_listen(*listen);
    }
    for address in &args.tcplisten {
        let listener = TcpListener::bind(address).with_context(|| format!("--tcplisten {address}: cannot listen"))?;
        // The standard library lets 128 wait to be accepted; more would have to try again, a second later.
        rustix::net::listen(&listener, BACKLOG).with_context(|| format!("--tcplisten {address}: cannot listen"))?;
        let bound = listener.local_addr().with_context(|| format!("--tcplisten {address}"))?;
        // Nobody can know otherwise which port the system chose.
        if address.port() == 0 {
            eprintln!("listening on {bound}");
        }
        network = network.listener(listener)?;
    }
    Ok(network)
}

/// Where the guest's requests may go, and how much they may use.
pub(crate) fn outbound(args: &OutboundArgs, limits: &LimitArgs) -> anyhow::Result<Outbound> {
    let mut policy = Policy::builder().allow_private_addresses(args.allow_private_ips).redirects(args.redirects);
    for entry in &args.allow_host {
        policy = policy.allow(&entry.0)?;
    }
    let limits = Limits {
        open_responses: limits.concurrency,
        in_flight_requests: limits.concurrency,
        header_bytes: limits.max_header_bytes.as_u64(),
        request_body_bytes: limits.max_request_body.as_u64(),
        response_body_bytes: limits.max_response_body.map_or(u64::MAX, |size| size.as_u64()),
        connect_timeout: limits.connect_timeout,
        first_byte_timeout: limits.first_byte_timeout,
        between_bytes_timeout: limits.between_bytes_timeout,
        ..Limits::default()
    };
    Ok(Outbound::with_defaults(policy.build(), limits)?)
}
