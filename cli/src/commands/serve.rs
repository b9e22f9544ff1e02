//! `wharf serve`.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use wharf::core::GuestConfig;
use wharf::core::abi::preview1::Output;
use wharf_server::{Handler, HandlerOptions, Server, ServerOptions};

use crate::args::ServeArgs;
use crate::commands::{grants, load};
use crate::console::Console;
use crate::output::printable;
use crate::signals::Signals;
use crate::{backend, exit};

/// The longest line of a guest's output that is kept together, in bytes.
const MAX_LINE: usize = 8 << 10;
/// How long guests that are still running get to notice that they are cancelled.
const LAST: Duration = Duration::from_secs(1);

pub(crate) fn serve(args: &ServeArgs, console: Console) -> anyhow::Result<u8> {
    let signals = Signals::listen()?;
    // What is wrong with the grants is told before a long compilation.
    let outbound = grants::outbound(&args.outbound, &args.limits)?;
    let network = grants::network(&args.sockets, &args.limits, &outbound)?;
    let wasi = grants::wasi(&args.guest, &args.module, Vec::new())?.network(network);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        // Each request under way has a thread.
        .max_blocking_threads(args.serving.max_concurrent.saturating_add(8).clamp(8, 1 << 16))
        .build()
        .context("cannot start the server's threads")?;
    let mut server_options = ServerOptions::default();
    server_options.drain = args.serving.drain;
    server_options.max_header_bytes = usize::try_from(args.limits.max_header_bytes.as_u64()).unwrap_or(usize::MAX);
    let server = runtime.block_on(Server::bind(args.serving.addr, server_options))?;
    let shutdown = match args.serving.shutdown_addr {
        Some(address) => {
            Some(runtime.block_on(TcpListener::bind(address)).with_context(|| format!("--shutdown-addr {address}"))?)
        }
        None => None,
    };

    let backend = backend::make(&args.backend)?;
    let guest = load::guest(&*backend, &args.host, &args.module, args.limits.max_memory, &args.cache, console)?;
    let mut options = HandlerOptions::default();
    options.max_concurrent = args.serving.max_concurrent;
    options.max_waiting = args.serving.max_waiting;
    options.max_request_body = args.limits.max_request_body.as_u64();
    let (timeout, abandoned) = (args.limits.timeout, CancellationToken::new());
    let cancel = abandoned.clone();
    let handler = Handler::new(guest, options, move |number| {
        let stream = |name| Output::writer(Lines::new(format!("{name} [{number}] ")));
        Ok(GuestConfig {
            wasi: wasi.clone().stdout(stream("stdout")).stderr(stream("stderr")),
            outbound: Some(outbound.clone()),
            timeout,
            cancel: cancel.clone(),
        })
    })?;

    eprintln!("serving on http://{}", server.address());
    let stop = signals.guest_starts();
    if let Some(listener) = shutdown {
        runtime.spawn(stop_on_connection(listener, stop.clone()));
    }
    let drained = runtime.block_on(server.run(handler, stop));
    abandoned.cancel();
    runtime.shutdown_timeout(LAST);
    if !drained {
        tracing::warn!("requests that took longer than {:?} to finish were cut off", args.serving.drain);
    }
    Ok(exit::SUCCESS)
}

async fn stop_on_connection(listener: TcpListener, stop: CancellationToken) {
    let address: Option<SocketAddr> = match listener.accept().await {
        Ok((_, peer)) => Some(peer),
        Err(_) => None,
    };
    tracing::info!("told to stop by {address:?}");
    stop.cancel();
}

/// Writes a guest's output to standard error, each line with a prefix that tells which request it belongs to.
struct Lines {
    prefix: String,
    line: Vec<u8>,
}

impl Lines {
    fn new(prefix: String) -> Self {
        Lines { prefix, line: Vec::new() }
    }

    fn end_line(&mut self) -> io::Result<()> {
        let text = String::from_utf8_lossy(&self.line);
        let written = writeln!(anstream::stderr().lock(), "{}{}", self.prefix, printable(&text));
        self.line.clear();
        written
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for byte in bytes {
            if *byte == b'\n' || self.line.len() == MAX_LINE {
                self.end_line()?;
            }
            if *byte != b'\n' {
                self.line.push(*byte);
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        // Part of a line waits for the rest of it, or for the end.
        Ok(())
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        if !self.line.is_empty() {
            // Without a standard error there is nobody to tell.
            let _ = self.end_line();
        }
    }
}
