//! Guests that are servers, running.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use wharf_guests::{HELLO_GO, HELLO_HYPER, HELLO_POLL, HELLO_STD, HELLO_WASMEDGE, PrebuiltGuest};

use super::{Files, wharf};

/// How long anything here may take. A large guest's first start takes most of it, on a machine that does other things.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

/// An HTTP server that answers `POST /hello`, and how it gets its listener.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hello {
    pub(crate) guest: PrebuiltGuest,
    /// Whether it binds for itself, where its argument says; else it is handed a listener.
    pub(crate) binds: bool,
}

pub(crate) const HYPER: Hello = Hello { guest: HELLO_HYPER, binds: true };
pub(crate) const WASMEDGE: Hello = Hello { guest: HELLO_WASMEDGE, binds: true };
pub(crate) const STD: Hello = Hello { guest: HELLO_STD, binds: false };
pub(crate) const POLL: Hello = Hello { guest: HELLO_POLL, binds: false };
pub(crate) const GO: Hello = Hello { guest: HELLO_GO, binds: false };

impl Hello {
    /// Writes the guest to a file.
    pub(crate) fn file(&self, files: &Files) -> String {
        files.write(&format!("{}.wasm", self.guest.name), self.guest.wasm().expect("the guest is there"))
    }

    /// The option that lets it listen.
    pub(crate) fn option(&self) -> [&'static str; 2] {
        [if self.binds { "--allow-listen" } else { "--tcplisten" }, "127.0.0.1:0"]
    }

    /// The command that runs it with these options.
    pub(crate) fn command(&self, file: &str, options: &[&str]) -> Command {
        let arguments: &[&str] = if self.binds { &["127.0.0.1:0"] } else { &[] };
        wharf(&[&["run"], options, &[file], arguments].concat())
    }

    /// Starts it on a backend.
    pub(crate) fn start(&self, file: &str, backend: &str) -> Server {
        self.start_as(self.command(file, &[&["--backend", backend][..], &self.option()].concat()))
    }

    /// Starts it with a command that prints where it listens.
    pub(crate) fn start_as(&self, mut command: Command) -> Server {
        // A guest that binds for itself says on stdout where; a listener that is handed over, wharf tells of.
        if self.binds {
            command.stdout(Stdio::piped());
        } else {
            command.stderr(Stdio::piped());
        }
        let mut child = command.spawn().expect("the command starts");
        let output: Box<dyn Read + Send> = match (child.stdout.take(), child.stderr.take()) {
            (Some(out), _) => Box::new(out),
            (_, err) => Box::new(err.expect("one of both is piped")),
        };
        let mut output = BufReader::new(output);
        let mut line = String::new();
        output.read_line(&mut line).expect("the guest's output");
        let address = line.trim().strip_prefix("listening on ").and_then(|address| address.parse().ok());
        let address = address.unwrap_or_else(|| panic!("{} says {line:?}", self.guest.name));
        Server { child, address, _output: output }
    }
}

/// A guest that runs until this is dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    /// Not closed, so that nothing fails to be written.
    _output: BufReader<Box<dyn Read + Send>>,
}

impl Server {
    /// A size in kB that the operating system knows about the process: `VmRSS`, `VmHWM`.
    pub(crate) fn memory(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("its status");
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a line of that name");
        line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().expect("a number of kB")
    }

    /// How many files and sockets the process has open.
    pub(crate) fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).expect("its descriptors").count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}
