//! `wharf serve`.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use anyhow::{Context, bail};
use bytesize::ByteSize;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::Sender;
use tokio_util::sync::CancellationToken;
use wharf::core::GuestConfig;
use wharf::core::grants::{Lines, Output};
use wharf_server::{Access, Bound, HandlerOptions, ServerOptions, tls_from_pem};

use crate::args::ServeArgs;
use crate::commands::grants;
use crate::commands::load::{Loading, Purpose};
use crate::console::Console;
use crate::memory::Shares;
use crate::output::printable;
use crate::signals::Signals;
use crate::{descriptors, exit, memory};

/// How many lines of output may wait to be printed before guests have to.
const QUEUE: usize = 1024;
/// Threads for what blocks beside guests, of which each may need one.
const SPARE_THREADS: usize = 8;
/// How long lines are gathered before they are printed.
const GATHER: Duration = Duration::from_millis(1);
/// How long a request may take unless --timeout says otherwise.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How long it takes until a connection to the shutdown address is accepted again, after one could not be.
const PAUSE: Duration = Duration::from_secs(1);
/// How long guests that are still running get to notice that they are cancelled.
const LAST: Duration = Duration::from_secs(1);

pub(crate) fn serve(args: &ServeArgs, console: Console) -> anyhow::Result<u8> {
    let signals = Signals::listen()?;
    descriptors::raise_limit();
    // What is wrong with the grants is told before a long compilation.
    let outbound = grants::outbound(&args.outbound, &args.limits)?;
    let network = grants::network(&args.sockets, &outbound)?;
    let wasi = grants::wasi(&args.guest, &args.module, Vec::new())?.network(network);
    let said = |size: Option<ByteSize>| size.map(|size| size.as_u64());
    let (total, each) = (said(args.serving.max_total_memory), said(args.limits.load.max_memory));
    let shares = Shares::of(memory::available(), total, each, args.serving.max_concurrent);
    let threads = shares.places + SPARE_THREADS;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(threads)
        .build()
        .context("cannot start the server's threads")?;
    let mut server_options = ServerOptions::default();
    server_options.drain = args.serving.drain;
    server_options.max_header_bytes = usize::try_from(args.limits.max_header_bytes.as_u64()).unwrap_or(usize::MAX);
    server_options.max_header_fields = usize::from(args.serving.max_header_fields);
    server_options.max_target_bytes = usize::try_from(args.serving.max_target_bytes.as_u64()).unwrap_or(usize::MAX);
    server_options.trusted_proxy = args.serving.trusted_proxy;
    server_options.max_connections = args.serving.max_connections;
    server_options.header_timeout = args.serving.header_timeout;
    server_options.stall_timeout = args.serving.stall_timeout;
    server_options.idle_timeout = args.serving.idle_timeout;
    let tls = match (&args.serving.tls_cert, &args.serving.tls_key) {
        (Some(certificate), Some(key)) => Some(tls_from_pem(certificate, key).context("--tls-cert, --tls-key")?),
        _ => None,
    };
    let scheme = if tls.is_some() { "https" } else { "http" };
    // Nobody can connect yet, and so nobody takes a guest that is being compiled for one that answers.
    let bound = Bound::new(args.serving.addr)?;
    let shutdown = match args.serving.shutdown_addr {
        Some(address) => Some(Shutdown::listen(address, &runtime)?),
        None => None,
    };

    let loading = Loading::new(&args.backend, &args.host, &args.limits.load, &args.cache, &args.images);
    let total = shares.account();
    if let Some(total) = &total {
        runtime.spawn(memory::release(total.clone()));
    }
    let loading = Loading { total_memory: total, ..loading };
    let program = loading.guest(&args.module, Purpose::Serve, console)?;
    let mut options = HandlerOptions::default();
    (options.max_concurrent, options.blocking_threads) = (shares.places, threads);
    options.max_waiting = args.serving.max_waiting;
    options.max_request_body = args.limits.max_request_body.as_u64();
    options.max_reuse = args.serving.max_instance_reuse_count;
    options.max_concurrent_reuse = args.serving.max_instance_concurrent_reuse_count;
    options.pre_warm = args.serving.pre_warm;
    options.on_workers = true;
    let (timeout, abandoned) = (args.limits.timeout.unwrap_or(TIMEOUT), CancellationToken::new());
    let printer = Printer::start()?;
    let (cancel, queue) = (abandoned.clone(), printer.queue.clone());
    let handler = program.handler(options, move |request| {
        let number = request.map(|request| request.number());
        let stream = |name| Printer::output(&queue, name, number);
        Ok(GuestConfig {
            wasi: wasi.clone().stdout(stream("stdout")).stderr(stream("stderr")),
            outbound: Some(outbound.clone()),
            timeout: Some(timeout),
            cancel: cancel.clone(),
            ..GuestConfig::default()
        })
    })?;

    let within = runtime.enter();
    let mut server = bound.listen(server_options)?;
    drop(within);
    if let Some(tls) = tls {
        server = server.tls(tls);
    }
    if args.serving.access_log {
        let queue = printer.queue.clone();
        server = server.access_log(move |access| {
            if queue.try_send(access_line(access)).is_err() {
                tracing::debug!("dropped a line of the access log: the queue is full");
            }
        });
    }
    let stop = signals.guest_starts();
    if let Some(shutdown) = shutdown {
        eprintln!("stopping when something connects to {}", shutdown.address);
        runtime.spawn(shutdown.wait(stop.clone()));
    }
    eprintln!("{shares}");
    eprintln!("serving on {scheme}://{}", server.address());
    let drained = runtime.block_on(server.run(handler, stop));
    abandoned.cancel();
    runtime.shutdown_timeout(LAST);
    printer.end();
    if !drained {
        bail!(
            "requests that took longer than {:?} to finish were cut off; allow more time with --drain",
            args.serving.drain
        );
    }
    Ok(exit::SUCCESS)
}

/// Where something connects to stop the server.
struct Shutdown {
    listener: TcpListener,
    address: SocketAddr,
}

impl Shutdown {
    fn listen(address: SocketAddr, runtime: &Runtime) -> anyhow::Result<Self> {
        let listener = runtime.block_on(TcpListener::bind(address));
        let listener = listener.with_context(|| format!("--shutdown-addr {address}: cannot listen"))?;
        let address = listener.local_addr().with_context(|| format!("--shutdown-addr {address}"))?;
        Ok(Shutdown { listener, address })
    }

    async fn wait(self, stop: CancellationToken) {
        loop {
            match self.listener.accept().await {
                Ok((_, peer)) => {
                    tracing::info!("stopping: {peer} connected to the shutdown address");
                    stop.cancel();
                    return;
                }
                // Nobody has connected; for example, there are no descriptors left.
                Err(error) => {
                    tracing::warn!("a connection to the shutdown address cannot be accepted: {error}");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

/// Writes lines to standard error, on a thread of its own: whoever puts them into the queue waits only while it is full.
struct Printer {
    queue: Sender<String>,
    ended: Receiver<()>,
}

impl Printer {
    fn start() -> anyhow::Result<Self> {
        let (queue, mut lines) = tokio::sync::mpsc::channel::<String>(QUEUE);
        let (end, ended) = std::sync::mpsc::channel();
        let print = move || {
            let mut waiting = Vec::new();
            while lines.blocking_recv_many(&mut waiting, QUEUE) > 0 {
                let mut text = String::new();
                for line in waiting.drain(..) {
                    text.push_str(&printable(&line));
                    text.push('\n');
                }
                // Without a standard error there is nobody to tell.
                let _ = std::io::stderr().write_all(text.as_bytes());
                // What comes meanwhile is printed together, and no guest has to wake this thread up for each line.
                std::thread::sleep(GATHER);
            }
            // Nobody waits for it if there is still somebody who may put lines into the queue.
            let _ = end.send(());
        };
        std::thread::Builder::new().name("wharf-print".to_owned()).spawn(print).context("cannot start a thread")?;
        Ok(Printer { queue, ended })
    }

    /// A guest's output, each line with a prefix that tells which request it belongs to.
    fn output(queue: &Sender<String>, stream: &str, request: Option<u64>) -> Output {
        let request = request.map_or_else(|| "-".to_owned(), |number| number.to_string());
        Output::Lines(Lines::new(queue.clone(), format!("{stream} [{request}] ")))
    }

    /// Waits until all is printed, or for as long as it makes sense.
    fn end(self) {
        drop(self.queue);
        if self.ended.recv_timeout(LAST).is_err() {
            tracing::debug!("some guests still had their output open at the end");
        }
    }
}

/// A request in one line. What the client chose has no line ends, or is escaped when it is printed.
fn access_line(access: &Access) -> String {
    format!(
        "{} \"{} {} {:?}\" {} {}{} {:.1?}",
        access.peer,
        access.method,
        access.uri,
        access.version,
        access.status.map_or_else(|| "-".to_owned(), |status| status.as_u16().to_string()),
        access.bytes,
        if access.complete { "" } else { " broken off" },
        access.time
    )
}
