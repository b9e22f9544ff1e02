//! What is measured of two servers in turn.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde::Serialize;

use crate::args::{Args, Rate};
use crate::load;
use crate::pairs::Pairs;
use crate::serving::{Served, Server};

/// How long a server runs under load before it is measured.
const WARM: Duration = Duration::from_millis(500);

/// How long a server has to give memory back once the load has ended.
const REST: Duration = Duration::from_secs(1);

/// How many connections are kept open and idle.
const IDLE: usize = 1000;

/// For how long a cache must not grow to be taken for filled, and how long it may take to be.
const STILL: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// How often a command is run for one measurement of how long it takes.
const RUNS: u32 = 5;

/// In the place of a guest, where none is served.
pub(crate) const NO_GUEST: &str = "no guest";

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Measure {
    Throughput,
    Latency,
    Resident,
    ColdStart,
    FirstStart,
    Version,
}

/// A quantity: what it is, its unit, and whether more of it is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Quantity {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) more_is_better: bool,
}

impl Measure {
    pub(crate) const ALL: [Self; 6] =
        [Self::Throughput, Self::Latency, Self::Resident, Self::ColdStart, Self::FirstStart, Self::Version];

    /// Its name, for `--only` and headings.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Throughput => "throughput",
            Self::Latency => "latency",
            Self::Resident => "resident memory",
            Self::ColdStart => "cold start",
            Self::FirstStart => "first start",
            Self::Version => "version",
        }
    }

    /// What its numbers are.
    pub(crate) fn about(self) -> &'static str {
        match self {
            Self::Throughput => "As many answers as come while each connection asks as soon as it was answered.",
            Self::Latency => {
                "At a fixed rate, the same for both sides. A request takes from when it was due to its last byte, whether \
                 earlier ones have been answered or not. Medians of the pairs' percentiles."
            }
            Self::Resident => {
                "VmHWM after a load, VmRSS a second later, and with 1,000 connections that were answered once and stay \
                 open."
            }
            Self::ColdStart => {
                "From the start of the process to the end of its first answer, with the guest's code in its cache; and \
                 the processor time of all its threads and ended child processes until then, in steps of 10 ms."
            }
            Self::FirstStart => "The same with an empty cache: the guest is compiled.",
            Self::Version => "How long `--version` takes.",
        }
    }

    /// What it measures, in the order of the numbers.
    pub(crate) fn quantities(self) -> Vec<Quantity> {
        let more_is_better = self == Self::Throughput;
        let quantity = |&(name, unit)| Quantity { name, unit, more_is_better };
        let all: &[(&str, &str)] = match self {
            Self::Throughput => &[("requests a second", "")],
            Self::Latency => &[("p50", "us"), ("p90", "us"), ("p99", "us"), ("p99.9", "us"), ("max", "us")],
            Self::Resident => &[("peak under load", "MiB"), ("idle", "MiB"), ("1,000 idle connections", "MiB")],
            Self::ColdStart | Self::FirstStart => &[("to the first answer", "ms"), ("processor time", "ms")],
            Self::Version => &[("wall time", "ms")],
        };
        all.iter().map(quantity).collect()
    }
}

/// What a comparison is of.
#[derive(Debug, Clone)]
pub(crate) enum Sides {
    Servers(Box<(Server, Server)>),
    /// Commands that end, with their names.
    Commands([(String, Vec<String>); 2]),
}

/// Two sides that are measured in turn.
#[derive(Debug, Clone)]
pub(crate) struct Comparison {
    pub(crate) measure: Measure,
    /// The name of the guest that both serve, or [`NO_GUEST`].
    pub(crate) guest: String,
    pub(crate) sides: Sides,
}

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    connections: usize,
    time: Duration,
    pairs: usize,
    rate: Rate,
}

impl From<&Args> for Settings {
    fn from(args: &Args) -> Self {
        Settings {
            connections: args.connections.get(),
            time: Duration::from_secs_f64(args.seconds),
            pairs: args.pairs.get(),
            rate: args.rate,
        }
    }
}

/// Measures one side once.
type Probe<'a> = Box<dyn FnMut() -> anyhow::Result<Vec<f64>> + 'a>;

/// What a comparison found.
#[derive(Debug)]
pub(crate) struct Found {
    /// For each of the measure's [quantities](Measure::quantities).
    pub(crate) quantities: Vec<Pairs>,
    /// Requests a second, where they were sent at a fixed rate.
    pub(crate) rate: Option<f64>,
}

impl Comparison {
    /// The names of both sides.
    pub(crate) fn names(&self) -> (&str, &str) {
        match &self.sides {
            Sides::Servers(servers) => (&servers.0.name, &servers.1.name),
            Sides::Commands([a, b]) => (&a.0, &b.0),
        }
    }

    /// For `--only`, and to tell how far the run is.
    pub(crate) fn name(&self) -> String {
        let (a, b) = self.names();
        format!("{} {}: {a} / {b}", self.measure.name(), self.guest)
    }

    /// Measures both sides in turn.
    ///
    /// # Errors
    /// If one of them cannot be measured.
    pub(crate) fn run(&self, settings: Settings) -> anyhow::Result<Found> {
        let (mut a, mut b, rate) = match &self.sides {
            Sides::Servers(servers) => self.probes(&servers.0, &servers.1, settings)?,
            Sides::Commands([a, b]) => (running(&a.1), running(&b.1), None),
        };
        let mut pairs: Vec<(Vec<f64>, Vec<f64>)> = Vec::new();
        for pair in 0..settings.pairs {
            // What the first of a pair leaves behind meets both sides.
            pairs.push(if pair % 2 == 0 {
                let first = a()?;
                (first, b()?)
            } else {
                let first = b()?;
                (a()?, first)
            });
        }
        let count = self.measure.quantities().len();
        let quantity = |at: usize| Pairs::new(pairs.iter().map(|(a, b)| (a[at], b[at])).collect());
        Ok(Found { quantities: (0..count).map(quantity).collect(), rate })
    }

    fn probes<'a>(
        &self,
        a: &'a Server,
        b: &'a Server,
        settings: Settings,
    ) -> anyhow::Result<(Probe<'a>, Probe<'a>, Option<f64>)> {
        Ok(match self.measure {
            Measure::Throughput => (throughput(a, settings)?, throughput(b, settings)?, None),
            Measure::Latency => {
                let (a, b) = (warm(a, settings)?, warm(b, settings)?);
                let rate = |served| load::closed(served, settings.connections, settings.time).map(|load| load.rate);
                let rate = settings.rate.of(rate(&a)?, rate(&b)?);
                (latency(a, settings, rate), latency(b, settings, rate), Some(rate))
            }
            Measure::Resident => (resident(a, settings), resident(b, settings), None),
            Measure::ColdStart => {
                fill(a)?;
                fill(b)?;
                (Box::new(|| start(a)), Box::new(|| start(b)), None)
            }
            Measure::FirstStart => (first_start(a), first_start(b), None),
            Measure::Version => bail!("servers have no version to measure"),
        })
    }
}

/// Starts a server and has it answer for a while.
fn warm(server: &Server, settings: Settings) -> anyhow::Result<Served> {
    let served = Served::answering(server)?;
    load::closed(&served, settings.connections, WARM.min(settings.time))?;
    Ok(served)
}

/// Both servers run from the first pair to the last.
fn throughput(server: &Server, settings: Settings) -> anyhow::Result<Probe<'_>> {
    let served = warm(server, settings)?;
    Ok(Box::new(move || Ok(vec![load::closed(&served, settings.connections, settings.time)?.rate])))
}

fn latency<'a>(served: Served, settings: Settings, rate: f64) -> Probe<'a> {
    Box::new(move || {
        let load = load::open(&served, settings.connections, 2 * settings.time, rate)?;
        Ok([50.0, 90.0, 99.0, 99.9, 100.0].map(|percent| load.micros(percent)).to_vec())
    })
}

fn resident(server: &Server, settings: Settings) -> Probe<'_> {
    Box::new(move || {
        let served = Served::answering(server)?;
        load::closed(&served, settings.connections, settings.time.max(WARM))?;
        let peak = served.resident_peak()?;
        thread::sleep(REST);
        let idle = served.resident()?;
        let streams = load::idle(served.address, served.request, IDLE).with_context(|| server.name.clone())?;
        thread::sleep(REST);
        let connected = served.resident()?;
        load::all_open(&streams).with_context(|| server.name.clone())?;
        Ok([peak, idle, connected].map(|bytes| bytes / f64::from(1 << 20)).to_vec())
    })
}

/// Starts a server, and gives how long that and its first answer took, and how much of the processors, in ms.
fn start(server: &Server) -> anyhow::Result<Vec<f64>> {
    let start = Instant::now();
    let served = Served::answering(server)?;
    let wall = start.elapsed().as_secs_f64();
    // A process that took less than a tick took some.
    Ok(vec![wall * 1e3, served.processor_time()?.max(0.01) * 1e3])
}

fn first_start(server: &Server) -> Probe<'_> {
    Box::new(move || {
        let cache = tempfile::tempdir().context("cannot make a temporary directory")?;
        start(&server.clone().with_cache(cache.path()))
    })
}

/// Has a server fill its cache.
fn fill(server: &Server) -> anyhow::Result<()> {
    let _served = Served::answering(server)?;
    // Some write what they have compiled after the first answer.
    let (begun, mut size, mut since) = (Instant::now(), 0, Instant::now());
    loop {
        let now = size_of(server.cache())?;
        if now != size {
            (size, since) = (now, Instant::now());
        }
        if size > 0 && since.elapsed() > STILL.0 {
            return Ok(());
        }
        if begun.elapsed() > STILL.1 {
            bail!("{} keeps no compiled code in {}, or goes on writing", server.name, server.cache().display());
        }
        thread::sleep(Duration::from_millis(100));
    }
}

/// The bytes of all files below a directory, as far as it is there.
fn size_of(directory: &Path) -> anyhow::Result<u64> {
    let mut size = 0;
    let Ok(entries) = fs::read_dir(directory) else { return Ok(0) };
    for entry in entries {
        let entry = entry?;
        // A file may be renamed meanwhile.
        let Ok(metadata) = entry.metadata() else { continue };
        size += if metadata.is_dir() { size_of(&entry.path())? } else { metadata.len() };
    }
    Ok(size)
}

/// Runs a command that ends.
fn running(command: &[String]) -> Probe<'_> {
    Box::new(move || {
        let (program, args) = command.split_first().context("the command is empty")?;
        let start = Instant::now();
        for _ in 0..RUNS {
            let output = Command::new(program).args(args).stdin(Stdio::null()).output();
            let output = output.with_context(|| format!("`{program}` cannot be started"))?;
            if !output.status.success() {
                bail!("`{}` ended with {}", command.join(" "), output.status);
            }
        }
        Ok(vec![start.elapsed().as_secs_f64() * 1e3 / f64::from(RUNS)])
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn commands(a: &str, b: &str) -> Comparison {
        let side = |name: &str, script: &str| (name.to_owned(), ["sh", "-c", script].map(str::to_owned).to_vec());
        let sides = Sides::Commands([side("a", a), side("b", b)]);
        Comparison { measure: Measure::Version, guest: NO_GUEST.to_owned(), sides }
    }

    fn settings() -> Settings {
        (&Args::try_parse_from(["wharf-bench", "--pairs", "4"]).unwrap()).into()
    }

    #[test]
    fn the_sides_take_turns_in_being_the_first() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        let say = |side: &str| format!("printf {side} >> {}", log.display());
        let found = commands(&say("a"), &say("b")).run(settings()).unwrap();
        let ran = fs::read_to_string(&log).unwrap();
        let turns: Vec<&str> = (0..8).map(|turn| &ran[turn * RUNS as usize..][..1]).collect();
        assert_eq!(turns.join(""), "abbaabba", "{ran}");
        assert_eq!((ran.len(), found.quantities.len()), (8 * RUNS as usize, 1));
        assert_eq!(found.quantities[0].measured.len(), 4);
    }

    #[test]
    fn a_command_that_fails_is_named() {
        let error = commands("true", "exit 3").run(settings()).unwrap_err().to_string();
        assert!(error.contains("sh -c exit 3") && error.contains("exit status: 3"), "{error}");
    }

    #[test]
    fn a_cache_is_as_large_as_all_files_below_it() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(size_of(&directory.path().join("nowhere")).unwrap(), 0);
        fs::create_dir_all(directory.path().join("a/b")).unwrap();
        for (file, size) in [("one", 3), ("a/two", 20), ("a/b/three", 100)] {
            fs::write(directory.path().join(file), vec![0; size]).unwrap();
        }
        assert_eq!(size_of(directory.path()).unwrap(), 123);
    }
}
