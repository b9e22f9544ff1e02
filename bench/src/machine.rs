//! Where, when and of what something was measured.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::SystemTime;
use std::{env, fs, thread};

use anyhow::{Context, bail};
use serde::Serialize;

use crate::peers::Peer;

/// The circumstances of a run.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Circumstances {
    /// When it began, by RFC 3339.
    pub(crate) date: String,
    /// The command, as a shell would take it.
    pub(crate) command: String,
    /// How many processors servers and load share.
    pub(crate) processors: usize,
    /// What they are.
    pub(crate) model: String,
    /// In GiB.
    pub(crate) memory: f64,
    pub(crate) kernel: String,
    /// How many wanted a processor in the minute before.
    pub(crate) load_before: f64,
    /// What each program calls itself.
    pub(crate) versions: Vec<(String, String)>,
}

impl Circumstances {
    /// Those of now, for these programs.
    ///
    /// # Errors
    /// If a program does not tell its version.
    pub(crate) fn now(wharf: &Path, peers: &[Peer]) -> anyhow::Result<Self> {
        let wharf = vec![wharf.to_string_lossy().into_owned(), "--version".to_owned()];
        let mut versions = vec![("wharf".to_owned(), version(&wharf)?)];
        for peer in peers {
            if let Some(command) = peer.version() {
                versions.push((peer.name.clone(), version(&command)?));
            }
        }
        let proc = |file: &str| fs::read_to_string(Path::new("/proc").join(file)).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.map(|line| line.trim_start_matches([' ', '\t', ':']).to_owned())
        };
        let args: Vec<String> = env::args().collect();
        let memory = field(&proc("meminfo"), "MemTotal").and_then(|size| size.split(' ').next()?.parse::<f64>().ok());
        Ok(Circumstances {
            date: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            command: shlex::try_join(args.iter().map(String::as_str)).context("the command has a NUL")?,
            processors: thread::available_parallelism().map_or(1, usize::from),
            model: field(&proc("cpuinfo"), "model name").unwrap_or_else(|| "unknown".to_owned()),
            memory: memory.unwrap_or_default() / f64::from(1 << 20),
            kernel: proc("sys/kernel/osrelease").trim().to_owned(),
            load_before: proc("loadavg").split(' ').next().and_then(|load| load.parse().ok()).unwrap_or_default(),
            versions,
        })
    }
}

/// The first line that a command prints.
fn version(command: &[String]) -> anyhow::Result<String> {
    let shown = command.join(" ");
    let output = Command::new(&command[0]).args(&command[1..]).stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("`{shown}` cannot be started"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    match text.lines().next() {
        Some(line) if output.status.success() => Ok(line.trim().to_owned()),
        _ => bail!("`{shown}` prints no version; it ended with {}", output.status),
    }
}
