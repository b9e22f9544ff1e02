//! What is measured: servers, each a process.

use std::env;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// How long a server may take to start; compiling is done by then.
const PATIENCE: Duration = Duration::from_secs(120);

/// How to start a server, and what to ask it.
pub(crate) struct Server {
    pub(crate) name: String,
    program: PathBuf,
    args: Vec<String>,
    /// The request that it answers with 200.
    pub(crate) request: &'static str,
}

const GET: &str = "GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";
const POST: &str = "POST /hello HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\n\r\nwharf";
/// Stands for the address in the arguments of a server.
const ADDRESS: &str = "ADDRESS";

impl Server {
    fn new(name: String, program: &Path, args: &[&str], guest: &Path) -> Self {
        let guest = guest.to_string_lossy();
        let args = args.iter().map(|arg| if *arg == "GUEST" { guest.to_string() } else { (*arg).to_owned() }).collect();
        Server { name, program: program.to_owned(), args, request: GET }
    }

    fn asked(mut self, request: &'static str) -> Self {
        self.request = request;
        self
    }

    /// Adds options before the guest.
    pub(crate) fn with(mut self, options: &[&str]) -> Self {
        let at = self.args.len() - 1;
        self.args.splice(at..at, options.iter().map(|option| (*option).to_owned()));
        self
    }

    pub(crate) fn native(own: &Path) -> Self {
        Server::new("native hyper".to_owned(), own, &["--native", ADDRESS], Path::new(""))
    }

    /// `reuse` is how many requests an instance answers.
    pub(crate) fn wharf(wharf: &Path, backend: &str, guest: &Path, reuse: Option<u32>) -> Self {
        let args = ["serve", "--backend", backend, "--addr", ADDRESS, "GUEST"];
        match reuse {
            None => Server::new(format!("wharf serve, {backend}, fresh"), wharf, &args, guest),
            Some(count) => Server::new(format!("wharf serve, {backend}, reused"), wharf, &args, guest)
                .with(&["--max-instance-reuse-count", &count.to_string()]),
        }
    }

    pub(crate) fn wasmtime(wasmtime: &Path, guest: &Path, reuse: Option<u32>) -> Self {
        let args = ["serve", "-Scli", "--addr", ADDRESS, "GUEST"];
        match reuse {
            None => Server::new("wasmtime serve, defaults".to_owned(), wasmtime, &args, guest),
            Some(count) => Server::new("wasmtime serve, reused".to_owned(), wasmtime, &args, guest)
                .with(&["--max-instance-reuse-count", &count.to_string()]),
        }
    }

    /// A guest that listens by itself.
    pub(crate) fn sockets(wharf: &Path, backend: &str, guest: &Path) -> Self {
        let args = ["run", "--backend", backend, "--allow-listen", ADDRESS, "GUEST", ADDRESS];
        Server::new(format!("wharf run, {backend}, own socket"), wharf, &args, guest).asked(POST)
    }

    /// The same guest on the engine's own command, which interprets it unless it was compiled before.
    pub(crate) fn wasmedge(wasmedge: &Path, guest: &Path) -> Self {
        let args = ["GUEST", ADDRESS];
        Server::new("wasmedge, own socket".to_owned(), wasmedge, &args, guest).asked(POST)
    }
}

/// A server that runs, until it is dropped.
pub(crate) struct Served {
    child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) request: &'static str,
}

impl Served {
    /// Starts it and waits until it accepts connections.
    pub(crate) fn start(server: &Server) -> anyhow::Result<Self> {
        let failed = || format!("{} cannot be started", server.name);
        // Free a moment ago: whoever takes it in between makes this run fail, and nothing worse.
        let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr())?;
        let mut command = Command::new(&server.program);
        command.args(server.args.iter().map(|arg| arg.replace(ADDRESS, &address.to_string())));
        // What guests print is part of the work, and goes nowhere.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().with_context(failed)?;
        let mut served = Served { child, address, request: server.request };
        served.wait_until_it_listens().with_context(failed)?;
        Ok(served)
    }

    fn wait_until_it_listens(&mut self) -> anyhow::Result<()> {
        let start = Instant::now();
        while TcpStream::connect(self.address).is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended, with {status}");
            }
            if start.elapsed() > PATIENCE {
                bail!("it does not listen on {}", self.address);
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Its private memory now, in bytes.
    pub(crate) fn memory(&self) -> anyhow::Result<f64> {
        let path = format!("/proc/{}/smaps_rollup", self.child.id());
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let private = text.lines().filter(|line| line.starts_with("Private_"));
        let kib: f64 = private.filter_map(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok()).sum();
        Ok(kib * 1024.0)
    }
}

/// What its process holds in memory.
impl Served {
    /// Now, in bytes.
    pub(crate) fn resident(&self) -> anyhow::Result<f64> {
        self.status("VmRSS:")
    }

    /// The most since [`forget_peak`](Self::forget_peak), in bytes.
    pub(crate) fn resident_peak(&self) -> anyhow::Result<f64> {
        self.status("VmHWM:")
    }

    /// Counts the peak from now on.
    pub(crate) fn forget_peak(&self) -> anyhow::Result<()> {
        let path = format!("/proc/{}/clear_refs", self.child.id());
        std::fs::write(&path, "5").with_context(|| format!("cannot write {path}"))
    }

    fn status(&self, name: &str) -> anyhow::Result<f64> {
        let path = format!("/proc/{}/status", self.child.id());
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let value =
            text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse::<f64>().ok());
        Ok(value.with_context(|| format!("{path} has no {name}"))? * 1024.0)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The backends that are compiled into this `wharf`.
pub(crate) fn backends(wharf: &Path) -> anyhow::Result<Vec<String>> {
    let output = Command::new(wharf).args(["backends", "--format", "json"]).output()?;
    let listed: serde_json::Value =
        serde_json::from_slice(&output.stdout).context("`wharf backends --format json` printed no JSON")?;
    let names = listed.as_array().context("`wharf backends` printed no list")?;
    let there = names.iter().filter(|backend| backend.get("compiled_in").is_some_and(|there| *there == true));
    Ok(there.filter_map(|backend| Some(backend.get("name")?.as_str()?.to_owned())).collect())
}

/// Finds a command as the shell does.
pub(crate) fn on_path(command: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|directory| directory.join(command)).find(|file| file.is_file())
}
