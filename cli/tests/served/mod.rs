//! What the tests of `wharf serve` share: a running one, and a guest for it.

#![allow(dead_code, reason = "each test uses a part")]

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStderr, Stdio};
use std::time::Duration;

use wit_component::ComponentEncoder;

use crate::support::wharf;

/// The guest as a component: what its toolchain makes of the core module.
pub(crate) fn component() -> Vec<u8> {
    let core = wharf_guests::HELLO_HTTP.wasm().expect("the guest is there");
    let adapter = wasi_preview1_component_adapter_provider::WASI_SNAPSHOT_PREVIEW1_PROXY_ADAPTER;
    ComponentEncoder::default()
        .module(&core)
        .and_then(|encoder| encoder.adapter("wasi_snapshot_preview1", adapter))
        .and_then(|mut encoder| encoder.encode())
        .expect("the guest is encoded as a component")
}

/// A running `wharf serve`, which is killed when dropped.
pub(crate) struct Served {
    pub(crate) child: Child,
    err: BufReader<ChildStderr>,
    /// The URL it serves at, without a path.
    pub(crate) base: String,
}

impl Served {
    pub(crate) fn start(args: &[&str]) -> Self {
        let mut child = wharf(&[&["serve", "--addr", "127.0.0.1:0"], args].concat())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the command starts");
        let mut err = BufReader::new(child.stderr.take().expect("it is piped"));
        let mut line = String::new();
        err.read_line(&mut line).expect("a line");
        let base = line.trim().strip_prefix("serving on ").unwrap_or_else(|| panic!("{line}")).to_owned();
        Served { child, err, base }
    }

    pub(crate) fn get(&self, path: &str) -> reqwest::Result<(u16, String)> {
        let response = client().get(format!("{}{path}", self.base)).send()?;
        Ok((response.status().as_u16(), response.text()?))
    }

    /// Asks it to stop, and returns its exit code and what it printed.
    pub(crate) fn stop(mut self) -> (Option<i32>, String) {
        let id = self.child.id().to_string();
        assert!(std::process::Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        let mut printed = String::new();
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

/// Asks without a proxy, and not for ever.
pub(crate) fn client() -> reqwest::blocking::Client {
    // An error says that another test was first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::blocking::Client::builder().timeout(Duration::from_secs(30)).no_proxy().build().unwrap()
}
