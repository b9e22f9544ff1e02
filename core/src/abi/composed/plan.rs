//! What core has to know of a module's plan, checked against the module, which may be a stranger's.

use std::collections::HashMap;

use serde::Deserialize;
use wasmparser::{Parser, Payload};

use super::Intrinsic;
use crate::error::{Error, Kind, Result};
use crate::types::Import;
use crate::types::{Export, ExportType};
use crate::types::{FuncType, ValType};

/// The custom section that holds the plan.
const SECTION: &str = "wharf.plan";

/// The version of the plan that is read here.
const VERSION: u32 = 1;

/// How many component instances there may be: each start makes a table of handles for each.
const MAX_INSTANCES: usize = 10_000;

#[derive(Deserialize)]
struct RawPlan {
    version: u32,
    imports: Vec<RawImport>,
    exports: Vec<RawExport>,
    instances: Vec<Instance>,
    resources: Vec<Resource>,
    handle_tables: Vec<HandleTable>,
}

#[derive(Deserialize)]
struct RawImport {
    kind: RawKind,
}

#[derive(Deserialize)]
struct RawKind {
    options: Option<RawOptions>,
    table: Option<u32>,
}

#[derive(Deserialize)]
struct RawOptions {
    instance: u32,
}

#[derive(Deserialize)]
struct RawExport {
    name: String,
    interface: Option<String>,
    options: RawOptions,
}

#[derive(Debug, Deserialize)]
pub(super) struct Instance {
    /// The exported global that is even while the instance may not call out.
    pub(super) may_leave: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(super) enum Resource {
    /// One of the host's.
    Imported { name: String },
    /// One of a component's.
    Defined { instance: u32, destructor: Option<String> },
}

#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct HandleTable {
    pub(super) instance: u32,
    pub(super) resource: Option<u32>,
}

/// How the parts of a composed guest belong together.
#[derive(Debug)]
pub(crate) struct Composed {
    /// The component instance that each import belongs to, where it belongs to one.
    callers: Vec<Option<u32>>,
    pub(super) instances: Vec<Instance>,
    pub(super) resources: Vec<Resource>,
    pub(super) tables: Vec<HandleTable>,
    /// The instance that answers requests.
    handler: u32,
    /// The instance of each export.
    exporters: Vec<(String, u32)>,
}

impl Composed {
    /// Reads the plan of `wasm`, if it has imports of [`super::MODULE`].
    ///
    /// # Errors
    /// [`Kind::Guest`] if there is no plan, or it does not fit the module.
    pub(crate) fn read(wasm: &[u8], imports: &[Import], exports: &[Export]) -> Result<Option<Self>> {
        if !imports.iter().any(|import| import.module == super::MODULE) {
            return Ok(None);
        }
        let bad = |what: &str| {
            Error::new(Kind::Guest, format!("the section `{SECTION}` {what}; compile the component again"))
        };
        let section = Parser::new(0).parse_all(wasm).find_map(|payload| match payload {
            Ok(Payload::CustomSection(section)) if section.name() == SECTION => Some(section),
            _ => None,
        });
        let section =
            section.ok_or_else(|| bad("is missing, which a module made of a composed component must have"))?;
        let raw: RawPlan =
            serde_json::from_slice(section.data()).map_err(|error| bad("cannot be read").with_source(error))?;
        if raw.version != VERSION {
            return Err(bad("has a version that this wharf cannot read"));
        }
        let plan = Composed {
            callers: Vec::new(),
            handler: handler(&raw.exports),
            exporters: raw.exports.into_iter().map(|export| (export.name, export.options.instance)).collect(),
            instances: raw.instances,
            resources: raw.resources,
            tables: raw.handle_tables,
        };
        if plan.instances.len() > MAX_INSTANCES {
            return Err(bad("has more component instances than are allowed"));
        }
        if raw.imports.len() != imports.len() || !plan.fits(imports, exports) {
            return Err(bad("does not fit the module"));
        }
        let caller = |import: &RawImport| match (&import.kind.options, import.kind.table) {
            (Some(options), _) => Some(options.instance),
            (None, Some(table)) => plan.tables.get(table as usize).map(|table| table.instance),
            (None, None) => None,
        };
        let callers: Vec<Option<u32>> = raw.imports.iter().map(caller).collect();
        let known = |instance: &u32| (*instance as usize) < plan.instances.len();
        let exporters = plan.exporters.iter().map(|(_, instance)| instance);
        if !callers.iter().flatten().chain(exporters).all(known) || !known(&plan.handler) {
            return Err(bad("refers to a component instance that does not exist"));
        }
        Ok(Some(Composed { callers, ..plan }))
    }

    /// Whether every number is in range, and every name that of an export of the kind.
    fn fits(&self, imports: &[Import], exports: &[Export]) -> bool {
        // A stranger's plan may ask for as many names as the module exports.
        let types: HashMap<&str, &ExportType> = exports.iter().map(|export| (&*export.name, &export.ty)).collect();
        let exported = |name: &str, ty: &ExportType| types.get(name).is_some_and(|found| *found == ty);
        let in_range = |index: u32, length: usize| (index as usize) < length;
        let destructor = ExportType::Function(FuncType { params: vec![ValType::I32], results: vec![] });
        let globals = self.instances.iter().filter_map(|instance| instance.may_leave.as_deref());
        let (mut globals, mut resources) = (globals, self.resources.iter());
        globals.all(|name| exported(name, &ExportType::Global))
            && resources.all(|resource| match resource {
                Resource::Imported { .. } => true,
                Resource::Defined { instance, destructor: name } => {
                    in_range(*instance, self.instances.len())
                        && name.as_ref().is_none_or(|name| exported(name, &destructor))
                }
            })
            && self.tables.iter().all(|table| {
                in_range(table.instance, self.instances.len())
                    && table.resource.is_none_or(|resource| in_range(resource, self.resources.len()))
            })
            && imports.iter().filter(|import| import.module == super::MODULE).all(|import| {
                let Some((intrinsic, _)) = Intrinsic::parse(&import.name) else { return false };
                intrinsic.table().is_none_or(|table| in_range(table, self.tables.len()))
                    && intrinsic.memories().into_iter().flatten().all(|name| exported(name, &ExportType::Memory))
            })
    }

    /// The instance that import `index` belongs to.
    pub(crate) fn caller(&self, index: usize) -> Option<u32> {
        self.callers.get(index).copied().flatten()
    }

    /// The instance that answers requests.
    pub(crate) fn handler(&self) -> u32 {
        self.handler
    }

    /// The instance that exports `export`.
    pub(crate) fn exporter(&self, export: &str) -> Option<u32> {
        self.exporters.iter().find(|(name, _)| name == export).map(|(_, instance)| *instance)
    }

    /// The global that says whether this instance may call out.
    pub(crate) fn may_leave(&self, instance: u32) -> Option<&str> {
        self.instances.get(instance as usize)?.may_leave.as_deref()
    }

    /// The instance of a handle table.
    pub(crate) fn instance_of(&self, table: u32) -> Option<u32> {
        self.tables.get(table as usize).map(|table| table.instance)
    }
}

fn handler(exports: &[RawExport]) -> u32 {
    let answers = |export: &&RawExport| {
        export.interface.as_ref().is_some_and(|interface| interface.starts_with("wasi:http/incoming-handler@"))
    };
    exports.iter().find(answers).map_or(0, |export| export.options.instance)
}
