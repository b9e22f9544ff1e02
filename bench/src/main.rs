//! Compares `wharf serve` on each backend with its peers, in pairs: whatever serves is a process of its own, and the load
//! comes from this one. What counts are the ratios within one run.

#![forbid(unsafe_code)]

mod answer;
mod args;
mod bounds;
mod compare;
mod guests;
mod leaving;
mod load;
mod machine;
mod measure;
mod native;
mod pairs;
mod peers;
mod plan;
mod plot;
mod report;
mod serving;
mod targets;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Parser;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::args::Args;
use crate::guests::Guests;
use crate::machine::Circumstances;
use crate::peers::Peer;
use crate::plan::Subjects;
use crate::report::Report;

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    if let Some(address) = args.native {
        native::serve(address)?;
        return Ok(ExitCode::SUCCESS);
    }
    let own = std::env::current_exe().context("cannot tell where this command is")?;
    let wharf = args.wharf.clone().unwrap_or_else(|| own.with_file_name("wharf"));
    if !wharf.is_file() {
        bail!("there is no `{}`; build it: cargo build --release --workspace --all-features --bins", wharf.display());
    }
    // Servers run in directories of their own.
    let wharf = wharf.canonicalize()?;
    let peers = peers(&args)?;
    if peers.is_empty() {
        eprintln!(
            "no --peer is given: wharf is compared with itself and with hyper only; setup/peers.sh installs other servers"
        );
    }
    let backends = if args.backend.is_empty() { serving::backends(&wharf)? } else { args.backend.clone() };
    let guests = Guests::new(&args.guest)?;
    let mut report = Report::new(Circumstances::now(&wharf, &peers)?, &args.only);
    raise_limit()?;

    let cache = tempfile::tempdir().context("cannot make a temporary directory")?;
    let subjects = Subjects { own: &own, wharf: &wharf, backends: &backends, peers: &peers, cache: cache.path() };
    let mut comparisons = subjects.comparisons(&guests);
    comparisons.retain(|comparison| report.wants(&comparison.name()));
    // Those that are not built are told before anything is measured.
    for guest in &guests.all {
        if comparisons.iter().any(|comparison| comparison.guest == guest.name) {
            guest.write()?;
        }
    }
    for (at, comparison) in comparisons.iter().enumerate() {
        eprintln!("{} of {}: {}", at + 1, comparisons.len(), comparison.name());
        report.compared(comparison, comparison.run((&args).into()));
        // What there is by now is kept, should the rest not come.
        report.write(&args.output, args.record.as_deref())?;
    }
    for backend in &backends {
        alone(&wharf, backend, &guests, &mut report);
        // These tell what guests can take, not how fast they are.
        if !args.only.is_empty() {
            bounds::measure(&wharf, backend, &guests, &mut report);
            leaving::measure(&wharf, backend, &guests, &mut report);
        }
    }
    if report.is_empty() {
        bail!("nothing that could be measured is called {}", args.only.join(" or "));
    }
    report.write(&args.output, args.record.as_deref())?;
    report.print();
    eprintln!("the tables, JSON and a plot are in {}", args.output.display());
    if report.failed() > 0 {
        eprintln!("{} measurements failed", report.failed());
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

fn peers(args: &Args) -> anyhow::Result<Vec<Peer>> {
    let fresh = args.peer.iter().map(|peer| (peer, false));
    let named: Vec<_> = fresh.chain(args.reusing_peer.iter().map(|peer| (peer, true))).collect();
    for (at, (peer, _)) in named.iter().enumerate() {
        if named[..at].iter().any(|(other, _)| other.name == peer.name) {
            bail!("there are two peers of the name {}", peer.name);
        }
    }
    named.into_iter().map(|(peer, reuses)| Peer::new(peer, reuses)).collect()
}

/// What is measured of wharf alone.
fn alone(wharf: &Path, backend: &str, guests: &Guests, report: &mut Report) {
    let server = format!("wharf {backend}");
    report.measure("host call, ns", &server, || measure::host_call(wharf, backend, guests));
    let cache = guests.directory.path();
    let echo = |guest: &Path, len: u64| measure::echo(wharf, backend, guest, cache, len);
    report.measure("echo of 256 MiB, MiB/s", &server, || Ok(echo(&guests.hello(), 256 << 20)?.rate));
    let mut growth = None;
    report.measure("echo of 2 GiB by WASI 0.3, MiB/s", &server, || {
        let echoed = echo(&guests.service(), 2 << 30)?;
        growth = Some(echoed.growth);
        Ok(echoed.rate)
    });
    if let Some(growth) = growth {
        report.measure("echo of 2 GiB by WASI 0.3, growth in MiB", &server, || Ok(growth));
    }
    report.measure("idle instance, KiB", &server, || measure::idle_memory(wharf, backend, guests));
}

/// Has this process, and the servers it starts, open as many connections as it may.
fn raise_limit() -> anyhow::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
        .context("cannot raise the limit of open files")
}
