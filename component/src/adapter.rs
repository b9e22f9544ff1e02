//! Recognises the published adapter for preview 1, and has the host stand in for what it does.
//!
//! A component that was built for preview 1 brings an adapter of Wasmtime's, which does the functions of preview 1 by those
//! of WASI 0.2. A fresh instance spends half of its time in it. Core has the same functions, so what the guest calls of a
//! known adapter is imported from there instead.
//!
//! Known is a function whose digest, and that of all it reaches, is in `adapters.txt`, made from the adapters that are
//! published ([`fingerprint`](crate::fingerprint)). Of those, the ones in [`STANDS_IN`] are left out, in groups: what shares
//! state stays together. What is not known, or only in part, stays as it is: slower, and never wrong.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::LazyLock;

use wasmparser::ExternalKind;

use crate::blueprint::{Blueprint, Host, HostKind, ResourceDef};
use crate::error::{Result, internal};
use crate::fingerprint::{Callee, Fingerprints};
use crate::link::{Func, Linked};
use crate::module::Module;
use crate::plan::{Adapter, AdapterVariant, Encoding};
use crate::shims::Shims;

/// The functions that core has as adapters have them.
const STANDS_IN: [&str; 10] = [
    "args_get",
    "args_sizes_get",
    "clock_res_get",
    "clock_time_get",
    "environ_get",
    "environ_sizes_get",
    "fd_write",
    "proc_exit",
    "random_get",
    "sched_yield",
];

/// How many bytes of a digest `adapters.txt` has: as many as make it unfeasible to find another function that has them.
const DIGEST: usize = 16;

/// How many core instances are looked into; a component that tools make brings one adapter.
const MAX_CANDIDATES: u32 = 4;

/// The allocator that adapters give to the functions of WASI 0.2 that they call.
const ALLOCATOR: &str = "cabi_import_realloc";

/// What shares state in an adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Group {
    /// Nothing with any other function.
    Alone,
    Clocks,
    Descriptors,
}

impl Group {
    fn of(name: &str) -> Self {
        match name {
            "clock_res_get" | "clock_time_get" | "adapter_monotonic_clock_set_paused" => Group::Clocks,
            "poll_oneoff" | "adapter_open_badfd" | "adapter_close_badfd" | "reset_adapter_state" => Group::Descriptors,
            _ if ["fd_", "path_", "sock_"].iter().any(|prefix| name.starts_with(prefix)) => Group::Descriptors,
            _ => Group::Alone,
        }
    }
}

type Release = (AdapterVariant, &'static str);

/// A name that a function is published by, and the releases that have it.
type Names = (&'static str, Vec<Release>);

/// The published functions by their digest: each name that it has, and the releases that have it under that name, the
/// latest first.
static KNOWN: LazyLock<HashMap<&str, Vec<Names>>> = LazyLock::new(|| {
    let mut known: HashMap<_, Vec<_>> = HashMap::new();
    for line in TABLE.lines() {
        let mut words = line.split(' ');
        let (Some(digest), Some(name)) = (words.next(), words.next()) else { continue };
        let releases = words.filter_map(|word| {
            let (variant, release) = word.split_once('@')?;
            Some((AdapterVariant::ALL.into_iter().find(|known| known.name() == variant)?, release))
        });
        known.entry(digest).or_default().push((name, releases.collect()));
    }
    known
});

/// A line for each published function and name: digest, name, and the variants and releases that have it.
const TABLE: &str = include_str!("adapters.txt");

/// A function of the guest's that the host stands in for.
#[derive(Debug, PartialEq, Eq)]
struct StandIn {
    function: Func,
    name: String,
}

/// A published adapter among the core instances.
#[derive(Debug)]
pub(crate) struct Found {
    instance: usize,
    functions: Vec<StandIn>,
    /// What the plan says of it.
    pub(crate) adapter: Adapter,
}

impl Found {
    /// Looks for an adapter. A component of several memories is composed of others, and keeps theirs.
    pub(crate) fn find(blueprint: &Blueprint, linked: &Linked<'_>, shims: &Shims) -> Result<Option<Self>> {
        if linked.memories.len() != 1 {
            return Ok(None);
        }
        let mut candidates = 0;
        for (instance, spaces) in linked.instances.iter().enumerate() {
            let module = linked.module(instance)?;
            if !module.exports.iter().any(|export| STANDS_IN.contains(&export.name)) || !module.memories.is_empty() {
                continue;
            }
            candidates += 1;
            if candidates > MAX_CANDIDATES {
                break;
            }
            let mut callees = Vec::new();
            for function in spaces.functions.iter().take(module.imported_functions as usize) {
                callees.push(callee(blueprint, shims.resolve(*function), instance)?);
            }
            let Some(fingerprints) = Fingerprints::new(module, callees) else { continue };
            let search = Search { blueprint, linked, shims, instance, module, fingerprints };
            if let Some(found) = search.run()? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Has the host stand in for the functions, and takes out an adapter that nothing uses any more.
    pub(crate) fn leave_out(&self, hosts: &mut Vec<Host>, linked: &Linked<'_>, shims: &mut Shims) -> Result<()> {
        for StandIn { function, name } in &self.functions {
            let Func::Defined { instance, body } = *function else { continue };
            let module = linked.module(instance)?;
            let ty = module.function_type(module.imported_functions + body)?;
            let types = |types: &[wasmparser::ValType]| {
                let types = types.iter().map(|ty| wasm_encoder::ValType::try_from(*ty));
                types.collect::<std::result::Result<Vec<_>, _>>().map_err(|_| internal("a type is not a core type"))
            };
            let kind = HostKind::Adapted { variant: self.adapter.variant, function: name.clone() };
            let host = Host { params: types(ty.params())?, results: types(ty.results())?, kind };
            shims.replace(*function, Func::Host(hosts.len()));
            hosts.push(host);
        }
        if self.adapter.kept.is_empty() {
            shims.drop_instance(self.instance);
        }
        Ok(())
    }
}

/// What `function` is to an adapter.
fn callee(blueprint: &Blueprint, function: Func, adapter: usize) -> Result<Callee> {
    let host = match function {
        Func::Defined { instance, .. } if instance != adapter => return Ok(Callee::Main),
        Func::Defined { .. } | Func::Context(_) => return Ok(Callee::Other),
        Func::Host(host) => host,
    };
    let host = blueprint.hosts.get(host).ok_or_else(|| internal("a host function is out of range"))?;
    let (interface, function) = match &host.kind {
        HostKind::Call { interface, function, options, .. } => {
            let options = blueprint.options.get(*options).ok_or_else(|| internal("an import has no options"))?;
            if options.encoding != Encoding::Utf8 {
                return Ok(Callee::Other);
            }
            (interface, function.clone())
        }
        HostKind::ResourceDrop { table } => {
            let resource = blueprint.handle_tables.get(*table as usize).and_then(|handles| handles.resource);
            match resource.and_then(|resource| blueprint.resources.get(resource as usize)) {
                Some(ResourceDef::Imported { interface, name }) => (interface, format!("[resource-drop]{name}")),
                _ => return Ok(Callee::Other),
            }
        }
        _ => return Ok(Callee::Other),
    };
    Ok(Callee::host(interface, &function))
}

/// The search for what can be left out of one instance.
struct Search<'s, 'a> {
    blueprint: &'s Blueprint,
    linked: &'s Linked<'a>,
    shims: &'s Shims,
    instance: usize,
    module: &'s Module<'a>,
    fingerprints: Fingerprints<'s>,
}

impl Search<'_, '_> {
    fn run(&self) -> Result<Option<Found>> {
        let Some(used) = self.used()? else { return Ok(None) };
        let mut names = BTreeMap::new();
        let mut releases: Option<Vec<Release>> = None;
        let mut kept = BTreeSet::new();
        for body in used {
            let Some((name, of)) = self.known(body)? else { return Ok(None) };
            let common = releases.get_or_insert_with(|| of.clone());
            common.retain(|release| of.contains(release));
            if !STANDS_IN.contains(&name) {
                kept.insert(Group::of(name));
            }
            names.insert(body, name);
        }
        let releases = releases.unwrap_or_default();
        let (true, Some((variant, _))) = (self.allocates_for_itself(&releases)?, releases.first().copied()) else {
            return Ok(None);
        };
        let stays = |name: &&str| {
            let group = Group::of(name);
            !STANDS_IN.contains(name) || (group != Group::Alone && kept.contains(&group))
        };
        let (stay, go): (BTreeMap<_, _>, BTreeMap<_, _>) = names.into_iter().partition(|(_, name)| stays(name));
        let adapter = Adapter {
            variant,
            releases: releases.iter().filter(|(of, _)| *of == variant).map(|(_, name)| (*name).to_owned()).collect(),
            left_out: go.values().map(|name| (*name).to_owned()).collect(),
            kept: stay.into_values().map(str::to_owned).collect(),
        };
        let stand_in = |(body, name): (u32, &str)| StandIn {
            function: Func::Defined { instance: self.instance, body },
            name: name.to_owned(),
        };
        let functions: Vec<StandIn> = go.into_iter().map(stand_in).collect();
        Ok((!functions.is_empty()).then_some(Found { instance: self.instance, functions, adapter }))
    }

    /// The name of a function, and the releases that have it; `None` if none does. One that is published under several names
    /// does the same under all of them.
    fn known(&self, body: u32) -> Result<Option<(&'static str, Vec<Release>)>> {
        let function = self.module.imported_functions + body;
        let Some(digest) = self.fingerprints.of(function)?.map(hex) else { return Ok(None) };
        let exported = |name: &str| {
            let is = |export: &wasmparser::Export<'_>| {
                export.name == name && export.kind == ExternalKind::Func && export.index == function
            };
            self.module.exports.iter().any(is)
        };
        let known = KNOWN.get(digest.as_str()).into_iter().flatten().filter(|(name, _)| exported(name));
        let known = known.max_by_key(|(name, _)| STANDS_IN.contains(name));
        Ok(known.map(|(name, releases)| (*name, releases.clone())))
    }

    /// The adapter's functions that something else uses, by position among its bodies. `None` if something else calls
    /// functions of the host with the adapter's allocator.
    fn used(&self) -> Result<Option<BTreeSet<u32>>> {
        let own = |function: Func| match self.shims.resolve(function) {
            Func::Defined { instance, body } if instance == self.instance => Some(body),
            _ => None,
        };
        let mut used = BTreeSet::new();
        let mut hosts = BTreeSet::new();
        for (number, spaces) in self.linked.instances.iter().enumerate() {
            if number == self.instance || self.shims.fills_tables_only(self.linked, number)? {
                continue;
            }
            let imported = self.linked.module(number)?.imported_functions as usize;
            for function in spaces.functions.iter().take(imported) {
                used.extend(own(*function));
                if let Func::Host(host) = self.shims.resolve(*function) {
                    hosts.insert(host);
                }
            }
        }
        let blueprint = self.blueprint;
        let exports = blueprint.exports.iter().map(|export| export.def);
        let destructors = blueprint.resources.iter().filter_map(|resource| match resource {
            ResourceDef::Defined { destructor, .. } => *destructor,
            ResourceDef::Imported { .. } => None,
        });
        for def in exports.chain(destructors).chain(blueprint.post_returns.iter().copied()) {
            used.extend(own(self.linked.function_def(def)?));
        }
        let options = hosts.into_iter().filter_map(|host| match &blueprint.hosts.get(host)?.kind {
            HostKind::Call { options, .. } => Some(*options),
            _ => None,
        });
        for options in options.chain(blueprint.exports.iter().map(|export| export.options)) {
            if let Some(allocator) = self.allocator(options)?
                && own(allocator).is_some()
            {
                return Ok(None);
            }
        }
        Ok(Some(used))
    }

    /// Whether what the adapter calls of the host gets memory from the adapter's own allocator.
    fn allocates_for_itself(&self, releases: &[Release]) -> Result<bool> {
        let spaces = self.linked.instance(self.instance)?;
        for function in spaces.functions.iter().take(self.module.imported_functions as usize) {
            let Func::Host(host) = self.shims.resolve(*function) else { continue };
            let Some(HostKind::Call { options, .. }) = self.blueprint.hosts.get(host).map(|host| &host.kind) else {
                continue;
            };
            let Some(allocator) = self.allocator(*options)? else { continue };
            let known = match allocator {
                Func::Defined { instance, body } if instance == self.instance => self.known(body)?,
                _ => None,
            };
            let Some((ALLOCATOR, of)) = known else { return Ok(false) };
            if !releases.iter().all(|release| of.contains(release)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn allocator(&self, options: usize) -> Result<Option<Func>> {
        let realloc = self.blueprint.options.get(options).and_then(|options| options.realloc);
        let realloc = realloc.and_then(|realloc| self.blueprint.reallocs.get(realloc));
        realloc.map(|def| Ok(self.shims.resolve(self.linked.function_def(*def)?))).transpose()
    }
}

fn hex(digest: [u8; 32]) -> String {
    digest.iter().take(DIGEST).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
#[path = "adapter_tests.rs"]
mod tests;
