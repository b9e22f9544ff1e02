//! Decides whether a component can be flattened at all, and says why not.

use wasmparser::{Parser, Validator, WasmFeatures};

use crate::error::{Feature, FlattenError, Result, internal};
use crate::link::Linked;
use crate::options::FlattenOptions;
use crate::plan::Plan;
use crate::shims::Shims;

/// What a component's core modules may use: WebAssembly 2.0, constant expressions that flattening folds, tail calls, which
/// it writes as calls, and several memories, which the adapters between composed components use.
pub(crate) const PORTABLE: WasmFeatures = WasmFeatures::WASM2
    .union(WasmFeatures::EXTENDED_CONST)
    .union(WasmFeatures::TAIL_CALL)
    .union(WasmFeatures::MULTI_MEMORY);

/// The same, and the component model as of WASI 0.2.
pub(crate) const SYNCHRONOUS: WasmFeatures = PORTABLE.union(WasmFeatures::COMPONENT_MODEL);

/// The same, and that of WASI 0.3, with what its toolchains will have: the second slot of contexts belongs to threads, whose
/// functions translation refuses.
pub(crate) const COMPONENT: WasmFeatures = SYNCHRONOUS
    .union(WasmFeatures::CM_ASYNC)
    .union(WasmFeatures::CM_MORE_ASYNC_BUILTINS)
    .union(WasmFeatures::CM_THREADING);

/// Features that have a name of their own in a refusal.
const NAMED: [(WasmFeatures, Feature); 8] = [
    (WasmFeatures::CM_ASYNC_STACKFUL, Feature::Stackful),
    (WasmFeatures::CM_ERROR_CONTEXT, Feature::ErrorContext),
    (WasmFeatures::GC.union(WasmFeatures::FUNCTION_REFERENCES).union(WasmFeatures::CM_GC), Feature::Gc),
    (WasmFeatures::EXCEPTIONS.union(WasmFeatures::LEGACY_EXCEPTIONS), Feature::Exceptions),
    (WasmFeatures::MEMORY64.union(WasmFeatures::CM64), Feature::Memory64),
    (WasmFeatures::CM_FIXED_LENGTH_LISTS, Feature::FixedLengthLists),
    (WasmFeatures::CM_MAP, Feature::Maps),
    (WasmFeatures::THREADS.union(WasmFeatures::SHARED_EVERYTHING_THREADS), Feature::Threads),
];

/// What no release of the component model has: a component that is valid only with these is not valid.
const DRAFTS: WasmFeatures = WasmFeatures::CM_VALUES
    .union(WasmFeatures::CM_NESTED_NAMES)
    .union(WasmFeatures::CM_IMPLEMENTS)
    .union(WasmFeatures::CM_CANON_NAMES);

/// Whether a component that is valid needs asynchronous functions.
pub(crate) fn is_asynchronous(wasm: &[u8]) -> bool {
    !valid(wasm, SYNCHRONOUS)
}

/// Refuses what is not a component, is too large or invalid, or needs more than [`COMPONENT`].
pub(crate) fn check(wasm: &[u8], options: &FlattenOptions) -> Result<()> {
    let (found, limit) = (wasm.len() as u64, options.max_component_bytes);
    if found > limit {
        return Err(FlattenError::Limit { what: "bytes", found, limit }.into());
    }
    let not = |found: &str| Err(FlattenError::NotAComponent { found: found.to_owned() }.into());
    if !wasm.starts_with(b"\0asm") {
        return not("it does not begin with the bytes `\\0asm`; give a compiled .wasm file");
    }
    if Parser::is_core_wasm(wasm) {
        return not(match Plan::read(wasm) {
            Ok(_) => "this is a component that has been flattened already; run it as it is",
            Err(_) => {
                "this is a core module; run it as it is, or make a component of it with `wasm-tools component new`"
            }
        });
    }
    crate::census::outline(wasm, options)?;
    validate(wasm)?;
    crate::census::check(wasm, options)
}

fn validate(wasm: &[u8]) -> Result<()> {
    let Err(error) = Validator::new_with_features(COMPONENT).validate_all(wasm) else { return Ok(()) };
    // Valid with everything switched on that there is means that it is a feature that is missing, not a byte that is wrong.
    if !valid(wasm, WasmFeatures::all().difference(DRAFTS)) {
        let message = error.message();
        let truncated = if message.contains("unexpected end") { "the file is truncated: " } else { "" };
        let offset = u64::try_from(error.offset()).unwrap_or(u64::MAX);
        return Err(FlattenError::Invalid { offset, message: format!("{truncated}{message}") }.into());
    }
    let feature = NAMED.iter().find(|(flags, _)| valid(wasm, COMPONENT.union(*flags)));
    let feature = feature.map_or(Feature::Other, |(_, feature)| *feature);
    let item = format!("{} at offset {:#x}", error.message(), error.offset());
    Err(FlattenError::Unsupported { feature, item }.into())
}

fn valid(wasm: &[u8], features: WasmFeatures) -> bool {
    Validator::new_with_features(features).validate_all(wasm).is_ok()
}

/// Refuses what would be too much for one module, though no core module has too much: wasmparser's limits, which are
/// those of the engines.
pub(crate) fn check_size(linked: &Linked<'_>, shims: &Shims) -> Result<()> {
    let mut elements = 0;
    let mut data = 0;
    let mut functions = 0;
    for instance in &linked.instances {
        let module = linked.modules.get(instance.module).ok_or_else(|| internal("an instance has no module"))?;
        elements += module.elements.len();
        data += module.data.len();
        functions += module.bodies.len() + module.imports.len();
    }
    let tables = (0..linked.tables.len()).filter(|table| !shims.drops_table(*table)).count();
    let limits = [
        ("memories", linked.memories.len(), 100),
        ("tables", tables, 100),
        ("globals", linked.globals.len(), 1_000_000),
        ("functions", functions, 1_000_000),
        // One more may declare the functions that code refers to.
        ("element segments", elements + 1, 100_000),
        ("data segments", data, 100_000),
    ];
    for (what, found, limit) in limits {
        if found > limit {
            return Err(FlattenError::Limit { what, found: found as u64, limit: limit as u64 }.into());
        }
    }
    Ok(())
}

/// Makes sure that what flattening wrote is valid, and needs no more than it says.
pub(crate) fn check_result(wasm: &[u8], memories: u32) -> Result<()> {
    let mut features = WasmFeatures::WASM2;
    features.set(WasmFeatures::MULTI_MEMORY, memories > 1);
    match Validator::new_with_features(features).validate_all(wasm) {
        Ok(_) => Ok(()),
        Err(error) => Err(internal(format!("the flattened module is invalid: {error}"))),
    }
}
