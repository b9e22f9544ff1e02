//! `adapters.txt` is what the published adapters consist of.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use wasi_preview1_component_adapter_provider as provider;
use wasmparser::TypeRef;

use super::*;

/// Names a directory with the sources of `wasi-preview1-component-adapter-provider`, a directory for each release, to write
/// the table anew from: see `setup/adapters.sh`.
const SOURCES: &str = "WHARF_ADAPTERS";

/// The first release that is known. Those before end a guest that asks for no random bytes, which core does not.
const OLDEST: u32 = 27;

/// The functions of an adapter as it is published, by name.
fn published(wasm: &[u8]) -> BTreeMap<String, String> {
    let module = Module::read(wasm).unwrap();
    let callee = |import: &wasmparser::Import<'_>| match (import.ty, import.module) {
        (TypeRef::Func(_), "__main_module__") => Some(Callee::Main),
        (TypeRef::Func(_), interface) => Some(Callee::host(interface, import.name)),
        _ => None,
    };
    let callees = module.imports.iter().filter_map(callee).collect();
    let fingerprints = Fingerprints::published(&module, callees).expect("it is an adapter");
    let functions = module.exports.iter().filter(|export| export.kind == ExternalKind::Func);
    let digest =
        |export: &wasmparser::Export<'_>| Some((export.name.to_owned(), hex(fingerprints.of(export.index).unwrap()?)));
    functions.filter_map(digest).collect()
}

/// What the table says of a release.
fn listed(release: &str, variant: AdapterVariant) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for (digest, names) in &*KNOWN {
        for (name, releases) in names {
            if releases.contains(&(variant, release)) {
                found.insert((*name).to_owned(), (*digest).to_owned());
            }
        }
    }
    found
}

#[test]
fn the_table_lists_every_function_of_the_adapters_that_are_published() {
    if let Some(sources) = std::env::var_os(SOURCES) {
        return write_table(Path::new(&sources));
    }
    // The one that tests are linked with is among them, whichever it is.
    let releases: BTreeSet<&str> =
        KNOWN.values().flatten().flat_map(|(_, releases)| releases).map(|(_, release)| *release).collect();
    for (variant, wasm) in [
        (AdapterVariant::Command, provider::WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER),
        (AdapterVariant::Reactor, provider::WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER),
        (AdapterVariant::Proxy, provider::WASI_SNAPSHOT_PREVIEW1_PROXY_ADAPTER),
    ] {
        let functions = published(wasm);
        for name in STANDS_IN {
            assert!(functions.contains_key(name), "{variant}: {name}");
        }
        let is_listed = releases.iter().any(|release| listed(release, variant) == functions);
        assert!(is_listed, "{variant}: no release has these functions; write the table anew with setup/adapters.sh");
    }
}

/// A release, as numbers to be ordered by and with its variant as it is written.
type Release = (Vec<u32>, String);

fn write_table(sources: &Path) {
    let mut lines: BTreeMap<(String, String), Vec<Release>> = BTreeMap::new();
    for source in std::fs::read_dir(sources).unwrap() {
        let source = source.unwrap();
        let name = source.file_name().into_string().unwrap();
        let Some(release) = name.strip_prefix("wasi-preview1-component-adapter-provider-") else { continue };
        let order: Vec<u32> = release.split('.').map(|number| number.parse().unwrap()).collect();
        if order[0] < OLDEST {
            continue;
        }
        for variant in AdapterVariant::ALL {
            let file = source.path().join(format!("artefacts/wasi_snapshot_preview1.{variant}.wasm"));
            for (name, digest) in published(&std::fs::read(file).unwrap()) {
                lines.entry((name, digest)).or_default().push((order.clone(), format!("{variant}@{release}")));
            }
        }
    }
    let mut table = String::new();
    for ((name, digest), mut releases) in lines {
        releases.sort_by(|(a, a_name), (b, b_name)| b.cmp(a).then(a_name.cmp(b_name)));
        let releases: Vec<String> = releases.into_iter().map(|(_, release)| release).collect();
        table += &format!("{digest} {name} {}\n", releases.join(" "));
    }
    assert!(!table.is_empty(), "there are no adapters in {}", sources.display());
    std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/src/adapters.txt"), table).unwrap();
}

/// Functions that share state are left out together, or not at all: so every function that does is named here.
#[test]
fn every_published_function_is_alone_or_of_a_group() {
    let alone: BTreeSet<&str> =
        KNOWN.values().flatten().map(|(name, _)| *name).filter(|name| Group::of(name) == Group::Alone).collect();
    let expected = [
        "args_get",
        "args_sizes_get",
        "cabi_export_realloc",
        "cabi_import_realloc",
        "environ_get",
        "environ_sizes_get",
        "proc_exit",
        "proc_raise",
        "random_get",
        "sched_yield",
        "wasi:cli/run@0.2.0#run",
    ];
    let unexpected: Vec<_> =
        alone.iter().filter(|name| !expected.contains(name) && !name.starts_with("wasi:cli/run@")).collect();
    assert!(unexpected.is_empty(), "{unexpected:?}");
}
