//! Which servers are compared, and in what.

use std::path::Path;

use crate::compare::{Comparison, Measure, NO_GUEST, Sides};
use crate::guests::{Guest, Guests, Kind};
use crate::peers::{Peer, Variant};
use crate::serving::Server;

/// All that can be measured.
pub(crate) struct Subjects<'a> {
    /// This command.
    pub(crate) own: &'a Path,
    pub(crate) wharf: &'a Path,
    /// The backends of wharf; the first stands for wharf where peers are compared in detail.
    pub(crate) backends: &'a [String],
    pub(crate) peers: &'a [Peer],
    /// Where compiled code is kept.
    pub(crate) cache: &'a Path,
}

/// How many requests an instance that is used again answers.
const REUSE: [&str; 2] = ["--max-instance-reuse-count", "1000"];

/// How many an instance of WASI 0.3 answers, and works on at a time, unless `wasmtime serve` is told otherwise.
const CONCURRENT: [&str; 4] = ["--max-instance-reuse-count", "128", "--max-instance-concurrent-reuse-count", "16"];

/// The guests whose starts are measured: a small one and a large one.
const STARTED: [&str; 2] = ["hello", "js"];

impl Subjects<'_> {
    /// All comparisons, those of one measure together.
    pub(crate) fn comparisons(&self, guests: &Guests) -> Vec<Comparison> {
        let mut all = Vec::new();
        for guest in &guests.all {
            match guest.kind {
                Kind::Component => self.component(guest, &mut all),
                Kind::Service => self.service(guest, &mut all),
                Kind::Core => self.core(guest, guests, &mut all),
                Kind::Sockets => self.sockets(guest, &mut all),
            }
        }
        let wharf = ("wharf".to_owned(), vec![self.wharf.to_string_lossy().into_owned(), "--version".to_owned()]);
        for peer in self.peers {
            if let Some(version) = peer.version() {
                let sides = Sides::Commands([wharf.clone(), (peer.name.clone(), version)]);
                all.push(Comparison { measure: Measure::Version, guest: NO_GUEST.to_owned(), sides });
            }
        }
        // A stable sort: within a measure, the order stays.
        all.sort_by_key(|comparison| Measure::ALL.iter().position(|measure| *measure == comparison.measure));
        all
    }

    fn component(&self, guest: &Guest, all: &mut Vec<Comparison>) {
        let mut add = |measure, a: &Server, b: &Server| all.push(servers(measure, guest, a.clone(), b.clone()));
        let hello = guest.name == "hello";
        let native = Server::native(self.own);
        let fresh = |backend: &String| Server::wharf(self.wharf, backend, &guest.path, self.cache);
        let reused = |backend: &String| {
            let server = fresh(backend).with(&REUSE);
            let name = format!("{}, reused", server.name);
            server.called(name)
        };
        let variants = self.peers.iter().flat_map(|peer| peer.serving(guest, self.cache));
        let (reusing, others): (Vec<Variant>, Vec<Variant>) = variants.partition(|variant| variant.reuses);
        for (at, backend) in self.backends.iter().enumerate() {
            let (first, server) = (at == 0, fresh(backend));
            for Variant { server: peer, brief, .. } in &others {
                if first {
                    add(Measure::Throughput, &server, peer);
                }
                if *brief {
                    continue;
                }
                if first {
                    add(Measure::Latency, &server, peer);
                }
                if hello {
                    add(Measure::Resident, &server, peer);
                }
                if STARTED.contains(&guest.name.as_str()) {
                    if peer.caches() {
                        add(Measure::ColdStart, &server, peer);
                    }
                    add(Measure::FirstStart, &server, peer);
                }
            }
            match self.backends.first() {
                Some(main) if !first => add(Measure::Throughput, &server, &fresh(main)),
                _ if hello => add(Measure::Throughput, &server, &native),
                _ => {}
            }
            if hello {
                for Variant { server: peer, brief, .. } in &reusing {
                    if first || !brief {
                        add(Measure::Throughput, &reused(backend), peer);
                    }
                }
                add(Measure::Throughput, &reused(backend), &native);
            } else {
                add(Measure::Throughput, &reused(backend), &server);
            }
        }
    }

    /// One request in an instance, and several at a time.
    fn service(&self, guest: &Guest, all: &mut Vec<Comparison>) {
        let fresh = |backend: &String| Server::wharf(self.wharf, backend, &guest.path, self.cache);
        for (at, backend) in self.backends.iter().enumerate() {
            let concurrent = fresh(backend).with(&CONCURRENT).called(format!("wharf {backend}, concurrent"));
            for Variant { server: peer, reuses, .. } in
                self.peers.iter().flat_map(|peer| peer.serving(guest, self.cache))
            {
                let server = if reuses { concurrent.clone() } else { fresh(backend) };
                if reuses || at == 0 {
                    all.push(servers(Measure::Throughput, guest, server, peer));
                }
            }
            if let Some(main) = self.backends.first().filter(|_| at > 0) {
                all.push(servers(Measure::Throughput, guest, fresh(backend), fresh(main)));
            }
        }
    }

    /// Beside the component that was made of it.
    fn core(&self, guest: &Guest, guests: &Guests, all: &mut Vec<Comparison>) {
        for backend in self.backends {
            let a = Server::wharf(self.wharf, backend, &guest.path, self.cache);
            let b = Server::wharf(self.wharf, backend, &guests.hello(), self.cache);
            let name = format!("{}, as a component", b.name);
            all.push(servers(Measure::Throughput, guest, a, b.called(name)));
        }
    }

    fn sockets(&self, guest: &Guest, all: &mut Vec<Comparison>) {
        let peers = self.peers.iter().flat_map(|peer| peer.serving(guest, self.cache)).map(|variant| variant.server);
        let peers: Vec<Server> = peers.chain([Server::native(self.own).posted()]).collect();
        for backend in self.backends {
            for peer in &peers {
                let server = Server::sockets(self.wharf, backend, &guest.path, self.cache);
                all.push(servers(Measure::Throughput, guest, server, peer.clone()));
            }
        }
    }
}

fn servers(measure: Measure, guest: &Guest, a: Server, b: Server) -> Comparison {
    Comparison { measure, guest: guest.name.clone(), sides: Sides::Servers(Box::new((a, b))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_comparison_is_made_once() {
        let backends = ["wasmtime", "wasmer"].map(str::to_owned);
        let peers = ["wasmtime=sh", "jco=sh", "mine=sh {addr} {guest}"];
        let peers = peers.map(|peer| Peer::new(&peer.parse().unwrap(), false).unwrap());
        let path = Path::new("/x");
        let subjects = Subjects { own: path, wharf: path, backends: &backends, peers: &peers, cache: path };
        let guests = Guests::new(&[]).unwrap();
        let names: Vec<String> = subjects.comparisons(&guests).iter().map(Comparison::name).collect();
        for name in [
            "throughput hello: wharf wasmtime / wasmtime",
            "throughput hello: wharf wasmtime / wasmtime, tuned",
            "throughput hello: wharf wasmtime / native hyper",
            "throughput hello: wharf wasmer / wharf wasmtime",
            "throughput hello: wharf wasmer, reused / wasmtime, reused",
            "throughput hello: wharf wasmtime, reused / jco, reused",
            "throughput js: wharf wasmer, reused / wharf wasmer",
            "throughput python: wharf wasmtime / jco",
            "throughput core: wharf wasmer / wharf wasmer, as a component",
            "throughput sockets: wharf wasmer / native hyper",
            "throughput service: wharf wasmtime / wasmtime",
            "throughput service: wharf wasmtime, concurrent / wasmtime, concurrent",
            "throughput service: wharf wasmer, concurrent / wasmtime, concurrent",
            "throughput service: wharf wasmer / wharf wasmtime",
            "latency js: wharf wasmtime / mine",
            "resident memory hello: wharf wasmer / wasmtime",
            "cold start js: wharf wasmer / wasmtime",
            "first start js: wharf wasmer / mine",
            "version no guest: wharf / wasmtime",
        ] {
            assert_eq!(names.iter().filter(|other| *other == name).count(), 1, "{name} in {names:#?}");
        }
        // It has no cache that could be filled, and nothing but throughput is measured of a brief variant.
        for name in ["cold start js: wharf wasmer / mine", "latency hello: wharf wasmtime / jco"] {
            assert!(!names.iter().any(|other| other == name), "{name}");
        }
        let mut sorted = names.clone();
        sorted.sort();
        sorted.dedup();
        assert_eq!(sorted.len(), names.len());
        // What `--only growth,guests` asks for are others.
        assert!(!names.iter().any(|name| name.contains("growth") || name.contains("guests")));
    }
}
