//! Measures `wharf serve` on each backend, and beside it whatever peers are there: a native hyper, `wasmtime serve`,
//! and `wasmedge`. Everything that serves is a process of its own; the load comes from this one, and shares the
//! machine with them. What counts are the ratios within one run.

#![forbid(unsafe_code)]

mod bounds;
mod leaving;
mod load;
mod measure;
mod native;
mod report;
mod serving;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Parser;
use tempfile::TempDir;
use wit_component::ComponentEncoder;

use crate::report::Report;
use crate::serving::{Served, Server};

/// Measures `wharf serve` beside its peers, prints a table, and writes it as JSON and as a plot.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// The `wharf` to measure [default: the one beside this command]
    #[arg(long, value_name = "FILE")]
    wharf: Option<PathBuf>,

    /// Which of its backends, separated by commas [default: all it has]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    backend: Vec<String>,

    /// Which measurements, by a part of their names, separated by commas [default: all]
    #[arg(long, value_name = "PART", value_delimiter = ',')]
    only: Vec<String>,

    /// How many connections ask at the same time
    #[arg(long, value_name = "N", default_value_t = 32)]
    connections: usize,

    /// How many seconds each server is asked, in each round
    #[arg(long, value_name = "SECONDS", default_value_t = 4)]
    seconds: u64,

    /// How many rounds there are; the median counts
    #[arg(long, value_name = "N", default_value_t = 3)]
    rounds: usize,

    /// Where the results are written
    #[arg(long, value_name = "DIR", default_value = "target/bench")]
    output: PathBuf,

    /// Be the native server
    #[arg(long, value_name = "ADDR", hide = true)]
    native: Option<SocketAddr>,
}

/// Guests, as the servers want them.
struct Guests {
    directory: TempDir,
    component: PathBuf,
    sockets: PathBuf,
}

impl Guests {
    fn write() -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let write = |name: &str, wasm: &[u8]| -> anyhow::Result<PathBuf> {
            let path = directory.path().join(name);
            std::fs::write(&path, wasm).with_context(|| format!("cannot write {}", path.display()))?;
            Ok(path)
        };
        let core = wharf_guests::HELLO_HTTP.wasm()?;
        let adapter = wasi_preview1_component_adapter_provider::WASI_SNAPSHOT_PREVIEW1_PROXY_ADAPTER;
        let component =
            ComponentEncoder::default().module(&core)?.adapter("wasi_snapshot_preview1", adapter)?.encode()?;
        let component = write("hello.component.wasm", &component)?;
        let sockets = write("hello-hyper.wasm", &wharf_guests::HELLO_HYPER.wasm()?)?;
        Ok(Guests { component, sockets, directory })
    }
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    if let Some(address) = args.native {
        return native::serve(address);
    }
    let own = std::env::current_exe().context("cannot tell where this command is")?;
    let wharf = args.wharf.clone().unwrap_or_else(|| own.with_file_name("wharf"));
    if !wharf.is_file() {
        bail!("there is no `{}`; build it: cargo build --release --workspace --all-features --bins", wharf.display());
    }
    let backends = if args.backend.is_empty() { serving::backends(&wharf)? } else { args.backend.clone() };
    let guests = Guests::write()?;
    let mut report = Report::new(&args.only);

    let servers = servers(&own, &wharf, &backends, &guests);
    throughput(&args, &servers, &mut report)?;
    for backend in &backends {
        let measured = [
            ("cold start from cache, ms", measure::cold_start as fn(&Path, &str, &Guests) -> anyhow::Result<f64>),
            ("host call, ns", measure::host_call),
            ("echo of 256 MiB, MiB/s", measure::streaming),
            ("idle instance, KiB", measure::idle_memory),
        ];
        for (what, measure) in measured {
            report.measure(what, &format!("wharf {backend}"), || measure(&wharf, backend, &guests))?;
        }
        bounds::measure(&wharf, backend, &guests, &mut report)?;
        leaving::measure(&wharf, backend, &guests, &mut report)?;
    }
    if let Some(wasmtime) = serving::on_path("wasmtime") {
        report.measure("cold start from cache, ms", "wasmtime serve", || {
            measure::cold_start_of(&Server::wasmtime(&wasmtime, &guests.component, None))
        })?;
    }
    report.write(&args.output)
}

/// All that serve hello.
fn servers(own: &Path, wharf: &Path, backends: &[String], guests: &Guests) -> Vec<Server> {
    let mut servers = vec![Server::native(own)];
    for backend in backends {
        servers.push(Server::wharf(wharf, backend, &guests.component, None));
        servers.push(Server::wharf(wharf, backend, &guests.component, Some(1000)));
    }
    match serving::on_path("wasmtime") {
        Some(wasmtime) => {
            servers.push(Server::wasmtime(&wasmtime, &guests.component, None));
            servers.push(Server::wasmtime(&wasmtime, &guests.component, Some(1000)));
        }
        None => eprintln!("`wasmtime` is not on the PATH: it is left out"),
    }
    for backend in backends {
        servers.push(Server::sockets(wharf, backend, &guests.sockets));
    }
    match serving::on_path("wasmedge") {
        Some(wasmedge) => servers.push(Server::wasmedge(&wasmedge, &guests.sockets)),
        None => eprintln!("`wasmedge` is not on the PATH: it is left out"),
    }
    servers
}

/// Requests a second and latency. The rounds go through all servers in turn, so that what else the machine does meets
/// all of them.
fn throughput(args: &Args, servers: &[Server], report: &mut Report) -> anyhow::Result<()> {
    let asked = |server: &&Server| report.wants(&server.name);
    let servers: Vec<&Server> = servers.iter().filter(asked).collect();
    let mut rounds = vec![Vec::new(); servers.len()];
    for round in 0..args.rounds {
        for (server, results) in servers.iter().zip(&mut rounds) {
            eprintln!("round {}: {}", round + 1, server.name);
            let served = Served::start(server)?;
            load::run(&served, args.connections, Duration::from_secs(1))?;
            results.push(load::run(&served, args.connections, Duration::from_secs(args.seconds))?);
        }
    }
    for (server, mut results) in servers.into_iter().zip(rounds) {
        results.sort_by(|a, b| a.rate.total_cmp(&b.rate));
        report.throughput(&server.name, results.swap_remove(results.len() / 2));
    }
    Ok(())
}
