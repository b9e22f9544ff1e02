//! A running `wharf serve`.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::Duration;

use reqwest::blocking::Client;
use wit_component::ComponentEncoder;

/// A guest as a component: what its toolchain makes of the core module.
pub(crate) fn encode(core: &[u8]) -> Vec<u8> {
    let adapter = wasi_preview1_component_adapter_provider::WASI_SNAPSHOT_PREVIEW1_PROXY_ADAPTER;
    ComponentEncoder::default()
        .module(core)
        .and_then(|encoder| encoder.adapter("wasi_snapshot_preview1", adapter))
        .and_then(|mut encoder| encoder.encode())
        .expect("the guest is encoded as a component")
}

/// The handler of the suite as a component.
pub(crate) fn component() -> Vec<u8> {
    encode(&wharf_guests::HELLO_HTTP.wasm().expect("the guest is there"))
}

/// A running `wharf serve`, which is killed when dropped.
pub(crate) struct Served {
    pub(crate) child: Child,
    err: BufReader<ChildStderr>,
    /// What it printed before it served.
    pub(crate) printed: String,
    pub(crate) base: String,
}

impl Served {
    /// Starts it on a port of its own and waits until it serves.
    pub(crate) fn start(args: &[&str]) -> Self {
        Self::start_as(super::wharf(&[&["serve", "--addr", "127.0.0.1:0"], args].concat()))
    }

    /// The same with so few descriptors.
    pub(crate) fn start_with_descriptors(count: u32, args: &[&str]) -> Self {
        let limited = super::limited(
            &format!("-n {count}"),
            &super::wharf(&[&["serve", "--addr", "127.0.0.1:0"], args].concat()),
        );
        Self::start_as(limited)
    }

    fn start_as(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().expect("the command starts");
        let err = BufReader::new(child.stderr.take().expect("it is piped"));
        let mut served = Served { child, err, printed: String::new(), base: String::new() };
        while served.base.is_empty() {
            let start = served.printed.len();
            let read = served.err.read_line(&mut served.printed).expect("a line");
            assert!(read > 0, "it does not serve: {}", served.printed);
            if let Some(base) = served.printed[start..].trim().strip_prefix("serving on ") {
                served.base = base.to_owned();
            }
        }
        served
    }

    /// The next line on its standard error that has `part`.
    pub(crate) fn line_with(&mut self, part: &str) -> String {
        loop {
            let start = self.printed.len();
            let read = self.err.read_line(&mut self.printed).expect("a line");
            assert!(read > 0, "it ended and never printed {part:?}: {}", self.printed);
            if self.printed[start..].contains(part) {
                return self.printed[start..].to_owned();
            }
        }
    }

    pub(crate) fn get(&self, path: &str) -> reqwest::Result<(u16, String)> {
        let response = client().get(format!("{}{path}", self.base)).send()?;
        Ok((response.status().as_u16(), response.text()?))
    }

    /// Asks it to stop, and returns its exit code and what it printed.
    pub(crate) fn stop(mut self) -> (Option<i32>, String) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        let mut printed = std::mem::take(&mut self.printed);
        self.err.read_to_string(&mut printed).unwrap();
        (self.child.wait().unwrap().code(), printed)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends requests to it, and waits for an answer as long as a machine that is busy may need.
pub(crate) fn client() -> Client {
    // An error says that another test was first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().timeout(Duration::from_secs(120)).no_proxy().build().unwrap()
}
