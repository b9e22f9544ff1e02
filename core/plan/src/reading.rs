//! Reads a plan back, and checks it: the module may come from anybody.

use std::collections::HashMap;

use serde::Deserialize;
use wasmparser::{ExternalKind, Parser, Payload};

use crate::{
    ASYNC_MODULE, AdapterVariant, Builtin, Calls, CanonicalOptions, INTRINSICS_MODULE, Import, ImportKind, Intrinsic,
    PLAN_SECTION, PLAN_VERSION, Passing, Plan, PlanError, Resource, START_EXPORT, Type,
};

#[derive(Deserialize)]
struct Version {
    version: u32,
}

/// What a module says of itself.
#[derive(Default)]
struct Surface {
    imports: Vec<(String, String)>,
    exports: HashMap<String, ExternalKind>,
    plan: Option<Plan>,
}

impl Plan {
    /// Reads the plan of a flattened module, and makes sure that it fits the module: its imports are the module's, what
    /// it names is exported, and every index is in range. So a host may rely on it though the module is a stranger's.
    ///
    /// # Errors
    /// If there is no plan, none that this version reads, or one that does not fit the module.
    pub fn read(module: &[u8]) -> Result<Plan, PlanError> {
        read(module)
    }
}

fn read(module: &[u8]) -> Result<Plan, PlanError> {
    let mut surface = Surface::default();
    for payload in Parser::new(0).parse_all(module) {
        match payload? {
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import?;
                    surface.imports.push((import.module.to_owned(), import.name.to_owned()));
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    surface.exports.insert(export.name.to_owned(), export.kind);
                }
            }
            Payload::CustomSection(section) if section.name() == PLAN_SECTION && surface.plan.is_none() => {
                let Version { version: found } = serde_json::from_slice(section.data())?;
                if found != PLAN_VERSION {
                    return Err(PlanError::Version { found });
                }
                surface.plan = Some(serde_json::from_slice(section.data())?);
            }
            _ => {}
        }
    }
    let plan = surface.plan.take().ok_or(PlanError::Missing)?;
    Check { plan: &plan, surface: &surface }.all().map_err(|what| PlanError::Inconsistent { what })?;
    Ok(plan)
}

struct Check<'a> {
    plan: &'a Plan,
    surface: &'a Surface,
}

type Checked = Result<(), String>;

impl Check<'_> {
    fn all(&self) -> Checked {
        let plan = self.plan;
        let planned = plan.imports.iter().map(|import| (import.module.as_str(), import.name.as_str()));
        if !planned.eq(self.surface.imports.iter().map(|(module, name)| (module.as_str(), name.as_str()))) {
            return Err("its imports differ from the module's".to_owned());
        }
        for import in &plan.imports {
            self.import(import)?;
        }
        for export in &plan.exports {
            self.function(&export.name)?;
            self.index("function type", export.ty, plan.functions.len())?;
            self.options(&export.options)?;
        }
        for memory in &plan.memories {
            self.memory(memory)?;
        }
        for instance in &plan.instances {
            if let Some(flag) = &instance.may_leave {
                self.exported(flag, ExternalKind::Global)?;
            }
        }
        if plan.start {
            self.function(START_EXPORT)?;
        }
        self.resources()?;
        plan.calls.as_ref().map_or(Ok(()), |calls| self.calls(calls))?;
        self.types()
    }

    fn calls(&self, calls: &Calls) -> Checked {
        self.functions(&calls.functions)?;
        calls.streams.iter().try_for_each(|table| self.payload(Passing::Stream, *table))?;
        calls.futures.iter().try_for_each(|table| self.payload(Passing::Future, *table))?;
        let mut results = calls.results.iter().filter_map(|(_, result)| *result);
        results.try_for_each(|ty| self.index("type", ty, self.plan.types.len()))?;
        calls.may_block.iter().try_for_each(|global| self.exported(global, ExternalKind::Global))
    }

    fn import(&self, import: &Import) -> Checked {
        let connects = import.module == INTRINSICS_MODULE;
        let adapted = AdapterVariant::of_module(&import.module).is_some();
        let agrees = match &import.kind {
            ImportKind::Intrinsic { name } => connects && Intrinsic::parse(&import.name).as_ref() == Some(name),
            ImportKind::Adapted => adapted,
            ImportKind::Async { .. } => import.module == ASYNC_MODULE,
            ImportKind::Call { .. } | ImportKind::ResourceDrop { .. } => {
                !connects && !adapted && import.module != ASYNC_MODULE
            }
        };
        if !agrees {
            return Err(format!("it says of `{}` of `{}` what its name does not", import.name, import.module));
        }
        match &import.kind {
            ImportKind::Call { ty, options, .. } => {
                self.index("function type", *ty, self.plan.functions.len())?;
                self.options(options)
            }
            ImportKind::ResourceDrop { table } => self.table(*table),
            ImportKind::Adapted => Ok(()),
            ImportKind::Async { builtin, options } => {
                match builtin {
                    Builtin::TaskReturn { result } => {
                        result.map_or(Ok(()), |ty| self.index("type", ty, self.plan.types.len()))?;
                    }
                    Builtin::End { of, table, .. } => self.payload(*of, *table)?,
                    _ => {}
                }
                self.options(options)
            }
            ImportKind::Intrinsic { name } => {
                name.table().map_or(Ok(()), |table| self.table(table))?;
                match name {
                    Intrinsic::Transcode { from, to, .. } => self.memory(from).and_then(|()| self.memory(to)),
                    Intrinsic::PrepareCall { memory, .. } => memory.iter().try_for_each(|memory| self.memory(memory)),
                    Intrinsic::StartAndWait { callback, .. } => self.functions(callback),
                    Intrinsic::Start { callback, post_return } => self.functions(callback.iter().chain(post_return)),
                    _ => Ok(()),
                }
            }
        }
    }

    fn resources(&self) -> Checked {
        let plan = self.plan;
        for resource in &plan.resources {
            if let Resource::Defined { instance, destructor } = resource {
                self.instance(*instance)?;
                if let Some(destructor) = destructor {
                    self.function(destructor)?;
                }
            }
        }
        for table in &plan.handle_tables {
            self.instance(table.instance)?;
            if let Some(resource) = table.resource {
                self.index("resource", resource, plan.resources.len())?;
            }
        }
        Ok(())
    }

    /// Types refer to earlier types only, so whoever follows them comes to an end.
    fn types(&self) -> Checked {
        for (position, ty) in self.plan.types.iter().enumerate() {
            let earlier = |inner: u32| self.index("type", inner, position);
            match ty {
                Type::List { element } => earlier(*element)?,
                Type::Option { some } => earlier(*some)?,
                Type::Record { fields } => fields.iter().try_for_each(|(_, ty)| earlier(*ty))?,
                Type::Variant { cases } => cases.iter().filter_map(|(_, ty)| *ty).try_for_each(earlier)?,
                Type::Tuple { types } => types.iter().try_for_each(|ty| earlier(*ty))?,
                Type::Result { ok, err } => ok.iter().chain(err).try_for_each(|ty| earlier(*ty))?,
                Type::Own { table } | Type::Borrow { table } => self.table(*table)?,
                Type::Stream { table } => self.payload(Passing::Stream, *table)?,
                Type::Future { table } => self.payload(Passing::Future, *table)?,
                _ => {}
            }
        }
        for payload in self.plan.streams.iter().chain(&self.plan.futures) {
            self.instance(payload.instance)?;
            payload.ty.map_or(Ok(()), |ty| self.index("type", ty, self.plan.types.len()))?;
        }
        for function in &self.plan.functions {
            let types = function.params.iter().map(|param| param.ty).chain(function.result);
            types.into_iter().try_for_each(|ty| self.index("type", ty, self.plan.types.len()))?;
        }
        Ok(())
    }

    fn options(&self, options: &CanonicalOptions) -> Checked {
        self.instance(options.instance)?;
        if let Some(memory) = &options.memory {
            self.memory(memory)?;
        }
        self.functions([&options.realloc, &options.post_return, &options.callback].into_iter().flatten())
    }

    fn instance(&self, instance: u32) -> Checked {
        self.index("instance", instance, self.plan.instances.len())
    }

    fn table(&self, table: u32) -> Checked {
        self.index("handle table", table, self.plan.handle_tables.len())
    }

    fn payload(&self, of: Passing, table: u32) -> Checked {
        let tables = match of {
            Passing::Stream => &self.plan.streams,
            Passing::Future => &self.plan.futures,
        };
        self.index(of.name(), table, tables.len())
    }

    fn memory(&self, name: &str) -> Checked {
        self.exported(name, ExternalKind::Memory)
    }

    fn function(&self, name: &str) -> Checked {
        self.exported(name, ExternalKind::Func)
    }

    fn functions<'n>(&self, names: impl IntoIterator<Item = &'n String>) -> Checked {
        names.into_iter().try_for_each(|name| self.function(name))
    }

    fn exported(&self, name: &str, kind: ExternalKind) -> Checked {
        if self.surface.exports.get(name) == Some(&kind) {
            return Ok(());
        }
        Err(format!("the module exports no {kind:?} `{name}`").to_lowercase())
    }

    fn index(&self, what: &str, index: u32, length: usize) -> Checked {
        if (index as usize) < length {
            return Ok(());
        }
        Err(format!("{what} {index} is out of range"))
    }
}
