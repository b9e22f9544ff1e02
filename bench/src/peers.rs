//! What wharf is compared with.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::args::Named;
use crate::guests::{Guest, Kind};
use crate::serving::Server;

/// Servers whose options are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// `wasmtime serve`.
    Wasmtime,
    /// `wash dev` of wasmCloud.
    Wash,
    /// `jco serve`.
    Jco,
    /// `wasmedge`, for guests that listen by themselves.
    Wasmedge,
}

/// More of what instances leave is kept for the next ones: memory, tables, stacks, and places for them.
const TUNED: [&str; 5] = [
    "-Opooling-allocator=y",
    "-Opooling-memory-keep-resident=1048576",
    "-Opooling-table-keep-resident=65536",
    "-Opooling-async-stack-keep-resident=65536",
    "-Opooling-max-unused-warm-slots=1000",
];

/// An instance for each request, which is not the default for guests of WASI 0.3.
const ONE_EACH: [&str; 4] = ["--max-instance-reuse-count", "1", "--max-instance-concurrent-reuse-count", "1"];

/// `wash` has neither a file nor an address among its options.
const WASH: &str = "\
build:
  command: \"true\"
  component_path: \"{guest}\"
dev:
  address: \"{addr}\"
";

/// A server that wharf is compared with.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub(crate) name: String,
    env: Vec<(String, String)>,
    command: Vec<String>,
    known: Option<Known>,
    reuses: bool,
}

/// A way in which a peer serves a guest.
#[derive(Debug, Clone)]
pub(crate) struct Variant {
    pub(crate) server: Server,
    /// Whether an instance answers more than one request.
    pub(crate) reuses: bool,
    /// Whether only its throughput is compared.
    pub(crate) brief: bool,
}

impl Peer {
    /// # Errors
    /// If the command cannot be split, its program is not there, or it lacks a place for the address or the guest; if it is
    /// said of a known peer that it reuses instances.
    pub(crate) fn new(peer: &Named, reuses: bool) -> anyhow::Result<Self> {
        Self::parse(peer, reuses).with_context(|| format!("the peer {}", peer.name))
    }

    fn parse(peer: &Named, reuses: bool) -> anyhow::Result<Self> {
        let mut parts = shlex::split(&peer.value).context("its command has a quote that is not closed")?;
        let is_program = |part: &String| part.split_once('=').is_none_or(|(name, _)| name.contains('/'));
        let program = parts.iter().position(is_program).context("its command has no program")?;
        let command = parts.split_off(program);
        let env = parts.iter().filter_map(|part| part.split_once('='));
        let env = env.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let known = match peer.name.as_str() {
            "wasmtime" => Some(Known::Wasmtime),
            "wash" => Some(Known::Wash),
            "jco" => Some(Known::Jco),
            "wasmedge" => Some(Known::Wasmedge),
            _ => None,
        };
        if known.is_some() && reuses {
            bail!("how it serves is known, with instances that are used again and without: name it with --peer");
        }
        let has = |place: &str| command.iter().any(|part| part.contains(place));
        if known.is_none() && !(has("{guest}") && (has("{addr}") || has("{port}"))) {
            bail!(
                "its command has no {{guest}}, or neither {{addr}} nor {{port}}: only those of wasmtime, wash, jco and \
                 wasmedge are known"
            );
        }
        // It runs in a directory of its own: files are named from the root.
        let command = command.into_iter().map(|part| match Path::new(&part).canonicalize() {
            Ok(file) if part.contains('/') => file.to_string_lossy().into_owned(),
            _ => part,
        });
        let command: Vec<_> = command.collect();
        if !found(&command[0]) {
            bail!("there is no program `{}`", command[0]);
        }
        Ok(Peer { name: peer.name.clone(), env, command, known, reuses })
    }

    /// What prints its version.
    pub(crate) fn version(&self) -> Option<Vec<String>> {
        self.known?;
        Some([self.command.clone(), vec!["--version".to_owned()]].concat())
    }

    /// The ways in which it serves this guest.
    pub(crate) fn serving(&self, guest: &Guest, cache: &Path) -> Vec<Variant> {
        let server = |suffix: &str, args: &[&str]| {
            let command: Vec<&str> = self.command.iter().map(String::as_str).chain(args.iter().copied()).collect();
            Server::new(&format!("{}{suffix}", self.name), &command, &guest.path, cache).with_env(&self.env)
        };
        let variant = |server, reuses, brief| Variant { server, reuses, brief };
        let wasmtime = |suffix: &str, options: &[&str]| {
            let cached = ["serve", "-Scli", "-Ccache-config={dir}/cache.toml", "--addr", "{addr}", "{guest}"];
            let server = server(suffix, &cached).with(options);
            server.with_file("cache.toml", "[cache]\ndirectory = \"{cache}/wasmtime\"\n")
        };
        match (self.known, guest.kind) {
            (Some(Known::Wasmtime), Kind::Component) => {
                vec![
                    variant(wasmtime("", &[]), false, false),
                    variant(wasmtime(", tuned", &TUNED), false, true),
                    variant(wasmtime(", reused", &["--max-instance-reuse-count", "1000"]), true, false),
                ]
            }
            (Some(Known::Wasmtime), Kind::Service) => {
                vec![
                    variant(wasmtime("", &ONE_EACH), false, false),
                    variant(wasmtime(", concurrent", &[]), true, false),
                ]
            }
            (Some(Known::Wash), Kind::Component) => {
                let server = server("", &["--non-interactive", "--log-level", "error", "dev"]);
                let home = [("HOME".to_owned(), "{dir}".to_owned())];
                vec![variant(server.with_file(".wash/config.yaml", WASH).with_env(&home), false, true)]
            }
            (Some(Known::Jco), Kind::Component) => {
                let with = |suffix: &str, options: &[&str]| {
                    server(suffix, &["serve", "--host", "{host}", "--port", "{port}", "{guest}"]).with(options)
                };
                vec![
                    variant(with("", &["--isolate-requests", "instance"]), false, true),
                    variant(with(", reused", &[]), true, true),
                ]
            }
            (Some(Known::Wasmedge), Kind::Sockets) => {
                vec![variant(server("", &["{guest}", "{addr}"]).posted(), true, true)]
            }
            (None, Kind::Component) => vec![variant(server("", &[]), self.reuses, false)],
            _ => Vec::new(),
        }
    }
}

/// Whether a shell would find this program.
fn found(program: &str) -> bool {
    if program.contains('/') {
        return Path::new(program).is_file();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found: Option<PathBuf> = std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file());
    found.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guests::Guests;

    fn peer(text: &str) -> anyhow::Result<Peer> {
        Peer::new(&text.parse().unwrap(), false)
    }

    fn served(text: &str, guest: &str) -> Vec<(String, bool)> {
        let guests = Guests::new(&[guest.parse().unwrap()]).unwrap();
        let variants = peer(text).unwrap().serving(&guests.all[0], Path::new("/cache"));
        variants.into_iter().map(|variant| (variant.server.name, variant.reuses)).collect()
    }

    #[test]
    fn a_command_has_environment_program_and_places() {
        let peer = peer("mine=A=1 B='2 3' sh -c 'x {port}' {guest}").unwrap();
        assert_eq!(peer.env, [("A".to_owned(), "1".to_owned()), ("B".to_owned(), "2 3".to_owned())]);
        assert_eq!(peer.command, ["sh", "-c", "x {port}", "{guest}"]);
        assert!(peer.version().is_none());
    }

    #[test]
    fn a_command_that_cannot_serve_is_refused() {
        for (text, reason) in [
            ("mine=sh '", "quote"),
            ("mine=A=1", "no program"),
            ("mine=sh {addr}", "no {guest}"),
            ("mine=sh {guest}", "neither {addr}"),
            ("mine=/nowhere/server {addr} {guest}", "no program `/nowhere/server`"),
            ("wasmtime=/nowhere/wasmtime", "no program `/nowhere/wasmtime`"),
        ] {
            let error = format!("{:#}", peer(text).unwrap_err());
            assert!(error.contains(reason) && error.starts_with("the peer "), "{text}: {error}");
        }
        let error = format!("{:#}", Peer::new(&"wasmtime=sh".parse().unwrap(), true).unwrap_err());
        assert!(error.contains("name it with --peer"), "{error}");
    }

    #[test]
    fn each_peer_serves_what_it_can() {
        let named = |names: &[(&str, bool)]| -> Vec<(String, bool)> {
            names.iter().map(|&(name, reuses)| (name.to_owned(), reuses)).collect()
        };
        assert_eq!(
            served("wasmtime=sh", "hello"),
            named(&[("wasmtime", false), ("wasmtime, tuned", false), ("wasmtime, reused", true)])
        );
        assert_eq!(served("wasmtime=sh", "service"), named(&[("wasmtime", false), ("wasmtime, concurrent", true)]));
        assert_eq!(served("wash=sh", "js"), named(&[("wash", false)]));
        assert_eq!(served("jco=sh", "hello"), named(&[("jco", false), ("jco, reused", true)]));
        assert_eq!(served("wasmedge=sh", "sockets"), named(&[("wasmedge", true)]));
        assert_eq!(served("mine=sh {addr} {guest}", "hello"), named(&[("mine", false)]));
        for (peer, guest) in
            [("wash=sh", "service"), ("wasmtime=sh", "core"), ("wasmtime=sh", "sockets"), ("wasmedge=sh", "hello")]
        {
            assert!(served(peer, guest).is_empty(), "{peer} {guest}");
        }
    }
}
