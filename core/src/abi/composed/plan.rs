//! What core has to know of the plan of a composed component.

use std::collections::{HashMap, HashSet};

use wharf_plan::{INTRINSICS_MODULE, ImportKind, Intrinsic, PLAN_SECTION, Passing, Payload, Plan, Resource};

use crate::abi::concurrent::{self, Element};
use crate::error::{Error, Kind, Result};
use crate::types::{Export, ExportType, FuncType, Import, ValType};

/// How many component instances there may be: each start makes a table of handles for each.
const MAX_INSTANCES: usize = 10_000;

/// How the parts of a composed guest belong together.
#[derive(Debug)]
pub(crate) struct Composed {
    pub(super) plan: Plan,
    /// The instance that answers requests.
    handler: u32,
    /// The types of what the host calls for calls between components, by name.
    functions: HashMap<String, FuncType>,
    /// How values of the plan's types lie in memory.
    layouts: Vec<Element>,
}

impl Composed {
    /// Reads the plan of `wasm`, if it has imports of [`INTRINSICS_MODULE`].
    ///
    /// # Errors
    /// [`Kind::Guest`] if there is no plan, or it does not fit the module.
    pub(crate) fn read(wasm: &[u8], imports: &[Import], exports: &[Export]) -> Result<Option<Self>> {
        if !imports.iter().any(|import| import.module == INTRINSICS_MODULE) {
            return Ok(None);
        }
        let plan = Plan::read(wasm).map_err(|error| {
            let message = "the parts of this component cannot be put together; compile the component again";
            Error::new(Kind::Guest, message).with_source(error)
        })?;
        let bad = |what: &str| {
            Error::new(Kind::Guest, format!("the section `{PLAN_SECTION}` {what}; compile the component again"))
        };
        if plan.instances.len() > MAX_INSTANCES {
            return Err(bad("has more component instances than are allowed"));
        }
        if !destructors_fit(&plan, exports) {
            return Err(bad("has a destructor of another type than it must have"));
        }
        let handler = handler(&plan);
        let functions = called(&plan, exports);
        let layouts = concurrent::layouts(&plan);
        Ok(Some(Composed { plan, handler, functions, layouts }))
    }

    /// The instance that import `index` belongs to.
    pub(crate) fn caller(&self, index: usize) -> Option<u32> {
        match &self.plan.imports.get(index)?.kind {
            ImportKind::Call { options, .. } | ImportKind::Async { options, .. } => Some(options.instance),
            ImportKind::ResourceDrop { table } => self.instance_of(*table),
            ImportKind::Intrinsic { name } => self.instance_of(name.table()?),
            // Only a component of one instance imports it.
            ImportKind::Adapted => None,
        }
    }

    /// The instance that answers requests.
    pub(crate) fn handler(&self) -> u32 {
        self.handler
    }

    /// The instance that exports `export`.
    pub(crate) fn exporter(&self, export: &str) -> Option<u32> {
        self.plan.exports.iter().find(|found| found.name == export).map(|found| found.options.instance)
    }

    /// The global that says whether this instance may call out.
    pub(crate) fn may_leave(&self, instance: u32) -> Option<&str> {
        self.plan.instances.get(instance as usize)?.may_leave.as_deref()
    }

    /// The instance of a handle table.
    pub(crate) fn instance_of(&self, table: u32) -> Option<u32> {
        self.plan.handle_tables.get(table as usize).map(|table| table.instance)
    }

    /// How values of the plan's types lie in memory.
    pub(super) fn layouts(&self) -> &[Element] {
        &self.layouts
    }

    fn streams_or_futures(&self, of: Passing) -> &[Payload] {
        match of {
            Passing::Stream => &self.plan.streams,
            Passing::Future => &self.plan.futures,
        }
    }

    /// Size and alignment of what is in a stream or future.
    pub(crate) fn payload(&self, of: Passing, table: u32) -> (u32, u32) {
        let payload = self.streams_or_futures(of).get(table as usize);
        let layout = payload.and_then(|payload| self.layouts.get(payload.ty? as usize)).copied().unwrap_or_default();
        (layout.size, layout.align)
    }

    /// The instance that has ends of this stream or future, and its table again; none if there is no such table.
    pub(super) fn owner(&self, of: Passing, table: u32) -> Option<(u32, u32)> {
        self.streams_or_futures(of).get(table as usize).map(|payload| (payload.instance, table))
    }

    /// The type of an export that the host calls for calls between components.
    pub(super) fn function(&self, export: &str) -> Option<&FuncType> {
        self.functions.get(export)
    }

    /// What an adapter means that stops the guest with this code.
    pub(crate) fn trap_reason(&self, code: u32) -> String {
        let known = self.plan.traps.iter().find(|(known, _)| *known == code);
        known.map_or_else(|| format!("trap {code} of an adapter"), |(_, reason)| reason.to_string())
    }
}

/// Whether each destructor takes a representation and returns nothing.
fn destructors_fit(plan: &Plan, exports: &[Export]) -> bool {
    // A stranger's plan may ask for as many names as the module exports.
    let types: HashMap<&str, &ExportType> = exports.iter().map(|export| (&*export.name, &export.ty)).collect();
    let destructor = ExportType::Function(FuncType { params: vec![ValType::I32], results: vec![] });
    plan.resources.iter().all(|resource| match resource {
        Resource::Defined { destructor: Some(name), .. } => types.get(&**name) == Some(&&destructor),
        _ => true,
    })
}

/// The types of what the host calls for calls between components.
fn called(plan: &Plan, exports: &[Export]) -> HashMap<String, FuncType> {
    let Some(calls) = &plan.calls else { return HashMap::new() };
    let mut names: HashSet<&str> = calls.functions.iter().map(String::as_str).collect();
    for import in &plan.imports {
        match &import.kind {
            ImportKind::Intrinsic { name: Intrinsic::StartAndWait { callback, .. } } => {
                names.extend(callback.as_deref());
            }
            ImportKind::Intrinsic { name: Intrinsic::Start { callback, post_return } } => {
                names.extend(callback.as_deref().into_iter().chain(post_return.as_deref()));
            }
            _ => {}
        }
    }
    let named = exports.iter().filter(|export| names.contains(&*export.name));
    let function = |export: &Export| match &export.ty {
        ExportType::Function(ty) => Some((export.name.clone(), ty.clone())),
        _ => None,
    };
    named.filter_map(function).collect()
}

fn handler(plan: &Plan) -> u32 {
    let answers = |interface: &String| {
        ["wasi:http/incoming-handler@", "wasi:http/handler@"].iter().any(|name| interface.starts_with(name))
    };
    let export = plan.exports.iter().find(|export| export.interface.as_ref().is_some_and(answers));
    export.map_or(0, |export| export.options.instance)
}
