//! Servers, each a process of its own.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::answer::{self, Answer};

/// How long a server may take until it answers: some compile their guest at each start.
const PATIENCE: Duration = Duration::from_secs(180);

/// How long it takes at least until a server is asked again whether it answers by now, and as a part of the time that it
/// took so far: asking takes from what it has to start with.
const AGAIN: (Duration, f64) = (Duration::from_micros(250), 0.005);

/// How much of what a server says about itself is kept, to tell why it ended.
const SAID: usize = 2048;

const GET: &str = "GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";
const POST: &str = "POST /hello HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\n\r\nwharf";

/// How to start a server, and what to ask it.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) name: String,
    /// The program and its arguments, in which `{addr}`, `{host}`, `{port}`, `{guest}`, `{cache}` and `{dir}` (its
    /// directory) stand for what they are once it starts.
    command: Vec<String>,
    env: Vec<(String, String)>,
    /// Files that it finds in its directory, with the same in their texts.
    files: Vec<(&'static str, String)>,
    guest: PathBuf,
    cache: PathBuf,
    /// The request that it answers with 200.
    pub(crate) request: &'static str,
}

impl Server {
    /// A server that this command starts.
    pub(crate) fn new(name: &str, command: &[&str], guest: &Path, cache: &Path) -> Self {
        Server {
            name: name.to_owned(),
            command: command.iter().map(|&part| part.to_owned()).collect(),
            env: Vec::new(),
            files: Vec::new(),
            guest: guest.to_owned(),
            cache: cache.to_owned(),
            request: GET,
        }
    }

    /// `wharf serve`.
    pub(crate) fn wharf(wharf: &Path, backend: &str, guest: &Path, cache: &Path) -> Self {
        let name = format!("wharf {backend}");
        let wharf = wharf.to_string_lossy();
        let args = ["serve", "--backend", backend, "--cache-dir", "{cache}", "--addr", "{addr}", "{guest}"];
        Server::new(&name, &[&[&*wharf], &args[..]].concat(), guest, cache)
    }

    /// `wharf run` of a guest that listens by itself.
    pub(crate) fn sockets(wharf: &Path, backend: &str, guest: &Path, cache: &Path) -> Self {
        let name = format!("wharf {backend}");
        let wharf = wharf.to_string_lossy();
        let args = ["run", "--backend", backend, "--cache-dir", "{cache}", "--allow-listen", "{addr}"];
        Server::new(&name, &[&[&*wharf], &args[..], &["{guest}", "{addr}"]].concat(), guest, cache).posted()
    }

    /// This command as a native server.
    pub(crate) fn native(own: &Path) -> Self {
        Server::new("native hyper", &[&own.to_string_lossy(), "--native", "{addr}"], Path::new(""), Path::new(""))
    }

    /// With options before the guest.
    pub(crate) fn with(mut self, options: &[&str]) -> Self {
        let at = self.command.iter().position(|part| part == "{guest}").unwrap_or(self.command.len());
        self.command.splice(at..at, options.iter().map(|&option| option.to_owned()));
        self
    }

    /// The same under another name.
    pub(crate) fn called(mut self, name: String) -> Self {
        self.name = name;
        self
    }

    /// Asked with a POST: the guests that listen by themselves answer nothing else with 200.
    pub(crate) fn posted(mut self) -> Self {
        self.request = POST;
        self
    }

    pub(crate) fn with_env(mut self, env: &[(String, String)]) -> Self {
        self.env.extend_from_slice(env);
        self
    }

    pub(crate) fn with_file(mut self, name: &'static str, text: &str) -> Self {
        self.files.push((name, text.to_owned()));
        self
    }

    /// With another place to keep compiled code in.
    pub(crate) fn with_cache(mut self, cache: &Path) -> Self {
        self.cache = cache.to_owned();
        self
    }

    /// Whether it keeps compiled code where it is told to.
    pub(crate) fn caches(&self) -> bool {
        self.command.iter().chain(self.files.iter().map(|(_, text)| text)).any(|text| text.contains("{cache}"))
    }

    pub(crate) fn cache(&self) -> &Path {
        &self.cache
    }

    fn spawn(&self, address: SocketAddr, directory: &Path) -> anyhow::Result<Child> {
        let filled = |text: &str| {
            text.replace("{addr}", &address.to_string())
                .replace("{host}", &address.ip().to_string())
                .replace("{port}", &address.port().to_string())
                .replace("{guest}", &self.guest.to_string_lossy())
                .replace("{cache}", &self.cache.to_string_lossy())
                .replace("{dir}", &directory.to_string_lossy())
        };
        for (name, text) in &self.files {
            let path = directory.join(name);
            fs::create_dir_all(path.parent().unwrap_or(directory))?;
            fs::write(&path, filled(text)).with_context(|| format!("cannot write {}", path.display()))?;
        }
        let (program, args) = self.command.split_first().context("the command is empty")?;
        let mut command = Command::new(program);
        command.args(args.iter().map(|arg| filled(arg))).current_dir(directory);
        command.envs(self.env.iter().map(|(name, value)| (name, filled(value))));
        // What guests print is part of the work, and goes nowhere.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command.spawn().with_context(|| format!("`{program}` cannot be started"))
    }
}

/// A server that runs, until it is dropped.
pub(crate) struct Served {
    child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) request: &'static str,
    name: String,
    said: Arc<Mutex<Vec<u8>>>,
    /// Goes once the process has ended.
    _directory: TempDir,
}

impl Served {
    /// Starts it and waits until it accepts connections.
    pub(crate) fn listening(server: &Server) -> anyhow::Result<Self> {
        Self::start(server, |served| match TcpStream::connect(served.address) {
            Ok(_) => Ok(None),
            Err(error) => Ok(Some(error.to_string())),
        })
    }

    /// Starts it and waits until it has answered a request with 200.
    pub(crate) fn answering(server: &Server) -> anyhow::Result<Self> {
        Self::start(server, |served| {
            let Ok(mut stream) = TcpStream::connect(served.address) else {
                return Ok(Some("it does not listen".to_owned()));
            };
            stream.set_read_timeout(Some(PATIENCE))?;
            match ask(&mut stream, served.request)? {
                Answer { status: 200, body: 1.. } => Ok(None),
                Answer { status: 200, .. } => bail!("it answers with an empty body"),
                // Some listen before they have loaded their guest.
                Answer { status: status @ (404 | 503), .. } => {
                    Ok(Some(format!("it still answers with status {status}")))
                }
                Answer { status, .. } => bail!("it answers with status {status}"),
            }
        })
    }

    /// Starts it and waits until `yet` gives no reason to wait.
    fn start(server: &Server, yet: impl Fn(&Self) -> anyhow::Result<Option<String>>) -> anyhow::Result<Self> {
        let failed = || format!("{} does not serve", server.name);
        // Free a moment ago: whoever takes it in between makes this start fail, and nothing worse.
        let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr())?;
        let directory = tempfile::tempdir().context("cannot make a temporary directory")?;
        let mut child = server.spawn(address, directory.path()).with_context(failed)?;
        let said = Arc::default();
        if let Some(stderr) = child.stderr.take() {
            listen(stderr, Arc::clone(&said));
        }
        let name = server.name.clone();
        let mut served = Served { child, address, request: server.request, name, said, _directory: directory };
        served.wait(yet).map_err(|error| anyhow!("{error:#}; {}", served.last_words())).with_context(failed)?;
        Ok(served)
    }

    fn wait(&mut self, yet: impl Fn(&Self) -> anyhow::Result<Option<String>>) -> anyhow::Result<()> {
        let start = Instant::now();
        loop {
            let reason = yet(self);
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended, with {status}");
            }
            let Some(reason) = reason? else { return Ok(()) };
            if start.elapsed() > PATIENCE {
                bail!("{reason}, after {PATIENCE:?}");
            }
            thread::sleep(AGAIN.0.max(start.elapsed().mul_f64(AGAIN.1)));
        }
    }

    /// The end of what it said on its standard error.
    fn last_words(&self) -> String {
        // What it said last may still be on its way.
        thread::sleep(Duration::from_millis(50));
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        reason(&String::from_utf8_lossy(&said))
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Its private memory now, in bytes.
    pub(crate) fn memory(&self) -> anyhow::Result<f64> {
        let text = self.proc("smaps_rollup")?;
        let private = text.lines().filter(|line| line.starts_with("Private_"));
        let kib: f64 = private.filter_map(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok()).sum();
        Ok(kib * 1024.0)
    }

    /// What it holds in memory now, in bytes.
    pub(crate) fn resident(&self) -> anyhow::Result<f64> {
        self.status("VmRSS:")
    }

    /// The most that it held since its start or [`forget_peak`](Self::forget_peak), in bytes.
    pub(crate) fn resident_peak(&self) -> anyhow::Result<f64> {
        self.status("VmHWM:")
    }

    /// Counts the peak from now on.
    pub(crate) fn forget_peak(&self) -> anyhow::Result<()> {
        let path = format!("/proc/{}/clear_refs", self.child.id());
        fs::write(&path, "5").with_context(|| format!("cannot write {path}"))
    }

    /// The processor time that all its threads took, and the processes it started that have ended, in seconds: `utime`,
    /// `stime`, `cutime` and `cstime` of proc_pid_stat(5).
    pub(crate) fn processor_time(&self) -> anyhow::Result<f64> {
        let ticks = ticks(&self.proc("stat")?).context("/proc/PID/stat has no times")?;
        Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
    }

    fn status(&self, name: &str) -> anyhow::Result<f64> {
        let text = self.proc("status")?;
        let value =
            text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse::<f64>().ok());
        Ok(value.with_context(|| format!("/proc/PID/status has no {name}"))? * 1024.0)
    }

    fn proc(&self, file: &str) -> anyhow::Result<String> {
        let path = format!("/proc/{}/{file}", self.child.id());
        fs::read_to_string(&path).with_context(|| format!("{} has ended: cannot read {path}", self.name))
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // Some start others, which would stay. Any of them may have ended by itself.
        for process in descendants(self.child.id()) {
            let _ = kill_process(process, Signal::KILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The processes that a process has started, and that these have, as proc_pid_task(5) tells.
fn descendants(process: u32) -> Vec<Pid> {
    let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap_or_default();
    let children = children.split_whitespace().filter_map(|child| child.parse().ok());
    children.flat_map(|child: u32| Pid::from_raw(child.cast_signed()).into_iter().chain(descendants(child))).collect()
}

/// Keeps the end of what comes, until nothing comes any more.
fn listen(mut stderr: ChildStderr, said: Arc<Mutex<Vec<u8>>>) {
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = stderr.read(&mut buffer) {
            let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
            said.extend_from_slice(&buffer[..count]);
            let over = said.len().saturating_sub(SAID);
            said.drain(..over);
        }
    });
}

/// Sends a request, and reads its whole answer.
pub(crate) fn ask(stream: &mut TcpStream, request: &str) -> anyhow::Result<Answer> {
    stream.write_all(request.as_bytes()).context("the request cannot be sent")?;
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        if let Some(answer) = answer::whole(&bytes)? {
            return Ok(answer);
        }
        match stream.read(&mut buffer) {
            Ok(0) => bail!("the connection ended within the answer {:?}", String::from_utf8_lossy(&bytes)),
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error).context("the answer does not come"),
        }
    }
}

/// The line of these that most likely tells why a program ended: the last one about an error, or else the last one.
fn reason(said: &str) -> String {
    let lines = || said.lines().map(str::trim).filter(|line| !line.is_empty()).rev();
    match lines().find(|line| line.to_ascii_lowercase().contains("error")).or_else(|| lines().next()) {
        Some(line) => format!("it said: {line}"),
        None => "it said nothing".to_owned(),
    }
}

/// The four times in a `/proc/PID/stat`.
fn ticks(stat: &str) -> Option<u64> {
    // The second field is the program's name, in parentheses, which may contain anything.
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().skip(11).take(4).map(|field| field.parse::<u64>().ok()).sum()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_time_is_that_of_threads_and_ended_children() {
        let stat = "7 (a) 1 b) S 1 7 7 0 -1 4194560 100 0 0 0 1000 200 30 4 20 0 1 0 5 6 7";
        assert_eq!(ticks(stat), Some(1234));
        assert_eq!(ticks("7 (a) S 1 7 7 0 -1 4194560 100 0 0 0 x 2 3 4"), None);
        assert_eq!(ticks(""), None);
    }

    #[test]
    fn the_reason_is_a_line_about_an_error_or_the_last() {
        assert_eq!(reason("TypeError: x\n    at y\n\nNode.js v20\n"), "it said: TypeError: x");
        assert_eq!(reason("serving\nno licence\n\n"), "it said: no licence");
        assert_eq!(reason("\n"), "it said nothing");
    }
}
