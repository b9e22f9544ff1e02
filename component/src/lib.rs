//! Components without a component runtime: turns a component of WASI 0.2 or 0.3 into one core module.
//!
//! [`flatten`] merges the core modules of a component, ahead of time, into one module that imports functions only.
//! Every engine then runs it in the same way: compile, bind each import to a host function, instantiate, call. A
//! [`Plan`] beside the module says what its imports and exports mean.
//!
//! It does not lift or lower values, keep handles or run anything: that is the host's work, for which the plan holds
//! the types, the canonical options and the handle tables. It knows nothing of HTTP, nor of any engine; the crate
//! wasmtime-environ, from which it learns a component's structure, holds no code generator.
//!
//! # What the module looks like
//! Imports are named by interface and function, as the component names them, which is what a core module fresh from
//! `wit-bindgen` imports too: `wasi:http/types@0.2.3` and `[method]fields.append`. Options follow the name where they
//! are not the default ones, in the order `realloc`, `memory`, `encoding`, `instance`:
//! `[method]fields.append;realloc=cabi_realloc_2`. An option that a function has no use for is not named.
//! Handles of the component's own resources, and what joins composed components, are imported from
//! [`INTRINSICS_MODULE`]; `[resource-new]3` is that of handle table 3.
//!
//! What the component model has for concurrency is imported from [`ASYNC_MODULE`], `stream.read[0]` for what
//! stream type 0 of the plan is. A call that does not wait has `[async-lower]` before its name. A task's context is two
//! globals, `$context_0` and `$context_1`, which whoever switches between tasks puts away and back.
//!
//! Exports are `memory` (others `memory_1` and so on), `cabi_realloc` (others `cabi_realloc_1`), the component's
//! functions (`wasi:cli/run@0.2.3#run`, or the plain name of one outside of an interface), `cabi_post_` before such a
//! name, `$destructor_N` of resource N, `$may_leave_N` of component instance N, `$passed_N`, `$callback_N`,
//! `$post_return_N` and `$may_block` where components call each other asynchronously,
//! `[async-lift]` before the name of a function that does not wait, `[callback]` before that, and [`START_EXPORT`].
//! The plan says which of them there are; it is authoritative where a name had to be changed because of another.
//!
//! # The way through this crate
//! `check`, `census` and `declared` refuse; `translate` reads the structure into a `blueprint`; `module` takes the core
//! modules apart; `link` resolves their imports; `shims` takes out what only passed calls on, `adapter` what the host does
//! itself; `naming` writes the plan;
//! `merge` and `segments` write the module.
//!
//! # Hostile components
//! Size, nesting, instances and code are bounded by [`FlattenOptions`]. Memory and time are in proportion to them.

#![forbid(unsafe_code)]

mod adapter;
mod blueprint;
mod census;
mod check;
mod declared;
mod error;
mod fingerprint;
mod interfaces;
mod layout;
mod link;
mod merge;
mod module;
mod names;
mod naming;
mod options;
mod segments;
mod shims;
mod translate;

pub use error::{Feature, FlattenError};
pub use interfaces::wasi03;
pub use options::FlattenOptions;
pub use wharf_plan as plan;
pub use wharf_plan::{ASYNC_MODULE, INTRINSICS_MODULE, PLAN_SECTION, Plan, PlanError, ROOT_MODULE, START_EXPORT};

/// Names this version of flattening: its crate's version and a digest of its sources, and of the plan's. Another revision
/// may make another module of the same component, so modules have to be cached under this name.
pub fn revision() -> String {
    format!("{}-{}-{}", env!("CARGO_PKG_VERSION"), env!("WHARF_COMPONENT_SOURCES"), wharf_plan::REVISION)
}

/// Whether the bytes begin like those of a component. Nothing after the header is read.
pub fn is_component(wasm: &[u8]) -> bool {
    wasmparser::Parser::is_component(wasm)
}

/// A component as one core module.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Flattened {
    /// The module. Its custom section [`PLAN_SECTION`] holds the plan. The same component and options give the same
    /// bytes.
    pub wasm: Vec<u8>,
    /// What its imports and exports mean.
    pub plan: Plan,
}

/// Turns a component into one core module.
///
/// # Errors
/// [`FlattenError`] says whether the bytes are at fault, the component needs something else, the options forbid it, or
/// this crate has a defect.
pub fn flatten(wasm: &[u8], options: &FlattenOptions) -> Result<Flattened, FlattenError> {
    run(wasm, options).map_err(|fault| fault.into_error(wasm))
}

fn run(wasm: &[u8], options: &FlattenOptions) -> error::Result<Flattened> {
    check::check(wasm, options)?;
    let mut blueprint = translate::translate(wasm)?;
    let modules = blueprint.modules.iter().map(|wasm| module::Module::read(wasm)).collect::<error::Result<Vec<_>>>()?;
    let linked = link::Linked::new(&blueprint, &modules, options)?;
    let memories = naming::count(linked.memories.len())?;
    if memories > 1 && !options.multi_memory {
        return Err(FlattenError::NeedsMultiMemory { memories }.into());
    }
    let mut shims = shims::Shims::find(&linked, &blueprint.hosts)?;
    let found = if options.keep_adapter { None } else { adapter::Found::find(&blueprint, &linked, &shims)? };
    if let Some(found) = &found {
        found.leave_out(&mut blueprint.hosts, &linked, &mut shims)?;
    }
    check::check_size(&linked, &shims)?;
    let adapter = found.map(|found| found.adapter);
    let naming = naming::Naming::new(&blueprint, &linked, &shims, adapter)?;
    let (wasm, plan) = merge::merge(&blueprint, &linked, &shims, naming, options.keep_names)?;
    check::check_result(&wasm, memories)?;
    Ok(Flattened { wasm, plan })
}
