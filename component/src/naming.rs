//! Names the imports and exports of the flattened module, and writes the plan that explains them.

mod joining;

use std::collections::{BTreeSet, HashMap, HashSet};

use self::joining::Joining;
use crate::blueprint::{Blueprint, BuiltinOptions, Context, Host, HostKind, Options, ResourceDef};
use crate::error::{Result, internal};
use crate::link::{Func, Linked};
use crate::plan::{
    ASYNC_LIFT, ASYNC_LOWER, ASYNC_MODULE, Adapter, CALLBACK, CONTEXT, CONTEXT_SLOTS, CanonicalOptions, CoreType,
    Encoding, Export, INTRINSICS_MODULE, Import, ImportKind, Instance, Intrinsic, PLAN_VERSION, PREPARING, Plan,
    Resource,
};
use crate::shims::Shims;

/// The export that is the default memory.
const MEMORY: &str = "memory";
/// The export that is the default allocator.
const REALLOC: &str = "cabi_realloc";

/// What the flattened module exports beside `$start`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exported {
    Function(Func),
    /// By position in [`Linked::memories`].
    Memory(usize),
    /// By position in [`Linked::globals`].
    Global(usize),
}

/// The names of everything that enters or leaves the flattened module.
pub(crate) struct Naming {
    /// The host functions it imports, by position in [`Blueprint::hosts`], in the plan's order.
    pub(crate) hosts: Vec<usize>,
    /// Its exports, in order.
    pub(crate) exports: Vec<(String, Exported)>,
    /// The numbers of the functions that adapters pass to the host.
    pub(crate) passed: HashMap<Func, i32>,
    /// All but [`Plan::start`] and [`Plan::tables`], which merging decides.
    pub(crate) plan: Plan,
}

impl Naming {
    pub(crate) fn new(
        blueprint: &Blueprint,
        linked: &Linked<'_>,
        shims: &Shims,
        adapter: Option<Adapter>,
    ) -> Result<Self> {
        let mut namer = Namer { blueprint, linked, shims, exports: Vec::new(), taken: HashSet::new() };
        let memories = namer.memories()?;
        let reallocs = namer.reallocs()?;
        let instances = namer.instances();
        let resources = namer.resources()?;
        let crossing = Crossing { default_instance: default_instance(blueprint), memories, reallocs };
        let exports = namer.lifted(&crossing)?;
        let joining = Joining::new(&mut namer)?;
        namer.contexts();
        let hosts = namer.hosts_used()?;
        let imports = namer.imports(&hosts, &crossing, &joining)?;
        let plan = Plan {
            version: PLAN_VERSION,
            imports,
            exports,
            memories: crossing.distinct_memories(),
            memory_count: count(linked.memories.len())?,
            tables: 0,
            start: false,
            instances,
            resources,
            handle_tables: blueprint.handle_tables.clone(),
            streams: blueprint.streams.clone(),
            futures: blueprint.futures.clone(),
            types: blueprint.types.clone(),
            traps: blueprint.traps.clone(),
            functions: blueprint.functions.clone(),
            component_imports: blueprint.component_imports.clone(),
            adapter,
            calls: joining.calls,
        };
        Ok(Naming { hosts, exports: namer.exports, passed: joining.passed, plan })
    }
}

pub(crate) fn count(number: usize) -> Result<u32> {
    u32::try_from(number).map_err(|_| internal("a count passes 32 bits"))
}

/// The component instance whose options go without saying: the first that has a core module.
fn default_instance(blueprint: &Blueprint) -> u32 {
    blueprint.instances.iter().find_map(|instance| instance.owner).unwrap_or(0)
}

/// The exports through which values cross, by position in the lists of the blueprint.
struct Crossing {
    default_instance: u32,
    memories: Vec<String>,
    /// `None` for one that is taken out: what is called with it is called by nothing.
    reallocs: Vec<Option<String>>,
}

impl Crossing {
    fn distinct_memories(&self) -> Vec<String> {
        let mut seen = HashSet::new();
        self.memories.iter().filter(|name| seen.insert(name.as_str())).cloned().collect()
    }

    fn options(&self, options: &Options, post_return: Option<String>) -> Result<CanonicalOptions> {
        let out_of_range = || internal("an option is out of range");
        let memory = options.memory.map(|index| self.memories.get(index).cloned().ok_or_else(out_of_range));
        let realloc = options.realloc.map(|index| self.reallocs.get(index).cloned().flatten().ok_or_else(out_of_range));
        Ok(CanonicalOptions {
            instance: options.instance,
            memory: memory.transpose()?,
            realloc: realloc.transpose()?,
            encoding: options.encoding,
            post_return,
            asynchronous: options.asynchronous,
            callback: None,
        })
    }
}

struct Namer<'a> {
    blueprint: &'a Blueprint,
    linked: &'a Linked<'a>,
    shims: &'a Shims,
    exports: Vec<(String, Exported)>,
    taken: HashSet<String>,
}

impl Namer<'_> {
    /// Exports an item under the name it asks for, or under one derived from it where that is taken: a component may
    /// export a function that is called `memory`.
    fn export(&mut self, name: &str, exported: Exported) -> String {
        let free = |taken: &HashSet<String>, name: &str| !taken.contains(name) && name != crate::START_EXPORT;
        let mut name = name.to_owned();
        if !free(&self.taken, &name) {
            let base = name.clone();
            name = (1..).map(|n: u32| format!("{base}${n}")).find(|name| free(&self.taken, name)).unwrap_or(base);
        }
        self.taken.insert(name.clone());
        self.exports.push((name.clone(), exported));
        name
    }

    /// Exports the distinct ones of a list as `base`, `base_1` and so on; returns the name of each entry.
    fn numbered(&mut self, base: &str, list: Vec<Exported>) -> Vec<String> {
        let mut names: Vec<(Exported, String)> = Vec::new();
        let mut out = Vec::new();
        for exported in list {
            let known = names.iter().find(|(other, _)| *other == exported).map(|(_, name)| name.clone());
            let name = known.unwrap_or_else(|| {
                let wanted = if names.is_empty() { base.to_owned() } else { format!("{base}_{}", names.len()) };
                let name = self.export(&wanted, exported);
                names.push((exported, name.clone()));
                name
            });
            out.push(name);
        }
        out
    }

    fn memories(&mut self) -> Result<Vec<String>> {
        let list = self.blueprint.memories.iter().map(|item| Ok(Exported::Memory(self.linked.memory(*item)?)));
        let list = list.collect::<Result<_>>()?;
        Ok(self.numbered(MEMORY, list))
    }

    fn reallocs(&mut self) -> Result<Vec<Option<String>>> {
        let list = self.blueprint.reallocs.iter();
        let list = list.map(|def| {
            let function = self.shims.resolve(self.linked.function_def(*def)?);
            Ok((!self.shims.drops_function(function)).then_some(Exported::Function(function)))
        });
        let list = list.collect::<Result<Vec<_>>>()?;
        let mut names = self.numbered(REALLOC, list.iter().copied().flatten().collect()).into_iter();
        Ok(list.into_iter().map(|kept| kept.and_then(|_| names.next())).collect())
    }

    fn instances(&mut self) -> Vec<Instance> {
        // The flags are the first globals; only adapters import them.
        let used: HashSet<usize> = self.linked.instances.iter().flat_map(|instance| instance.globals.clone()).collect();
        (0..self.blueprint.component_instances)
            .map(|instance| {
                let global = instance as usize;
                let may_leave = used
                    .contains(&global)
                    .then(|| self.export(&format!("$may_leave_{instance}"), Exported::Global(global)));
                Instance { may_leave }
            })
            .collect()
    }

    /// The slots of a task's context that something uses.
    fn contexts(&mut self) {
        for slot in 0..CONTEXT_SLOTS {
            let uses = |function: &Func| {
                let function = self.shims.resolve(*function);
                [Context::Get(slot), Context::Set(slot)].map(Func::Context).contains(&function)
            };
            let instances = self.linked.instances.iter().enumerate();
            let mut kept = instances.filter(|(number, _)| !self.shims.drops_instance(*number));
            if kept.any(|(_, instance)| instance.functions.iter().any(uses)) {
                self.export(&format!("{CONTEXT}{slot}"), Exported::Global(self.linked.context(slot)));
            }
        }
    }

    fn resources(&mut self) -> Result<Vec<Resource>> {
        let mut resources = Vec::new();
        for (index, resource) in self.blueprint.resources.iter().enumerate() {
            resources.push(match resource {
                ResourceDef::Imported { interface, name } => {
                    Resource::Imported { interface: interface.clone(), name: name.clone() }
                }
                ResourceDef::Defined { instance, destructor } => {
                    let destructor = match destructor {
                        Some(def) => {
                            let function = self.shims.resolve(self.linked.function_def(*def)?);
                            Some(self.export(&format!("$destructor_{index}"), Exported::Function(function)))
                        }
                        None => None,
                    };
                    Resource::Defined { instance: *instance, destructor }
                }
            });
        }
        Ok(resources)
    }

    fn lifted(&mut self, crossing: &Crossing) -> Result<Vec<Export>> {
        let mut exports = Vec::new();
        for lifted in &self.blueprint.exports {
            let wanted = match &lifted.interface {
                Some(interface) => format!("{interface}#{}", lifted.function),
                None => lifted.function.clone(),
            };
            let function = self.shims.resolve(self.linked.function_def(lifted.def)?);
            let options = self.blueprint.options.get(lifted.options);
            let options = options.ok_or_else(|| internal("a lifted function has no options"))?;
            let lift = if options.asynchronous { ASYNC_LIFT } else { "" };
            let name = self.export(&format!("{lift}{wanted}"), Exported::Function(function));
            let callback = match options.callback {
                Some(index) => {
                    let def = self.blueprint.callbacks.get(index);
                    let def = def.ok_or_else(|| internal("a callback is out of range"))?;
                    let function = self.shims.resolve(self.linked.function_def(*def)?);
                    Some(self.export(&format!("{CALLBACK}{name}"), Exported::Function(function)))
                }
                None => None,
            };
            let post_return = match options.post_return {
                Some(index) => {
                    let def = self.blueprint.post_returns.get(index);
                    let def = def.ok_or_else(|| internal("a post-return is out of range"))?;
                    let function = self.shims.resolve(self.linked.function_def(*def)?);
                    Some(self.export(&format!("cabi_post_{name}"), Exported::Function(function)))
                }
                None => None,
            };
            exports.push(Export {
                name,
                interface: lifted.interface.clone(),
                function: lifted.function.clone(),
                ty: lifted.ty,
                options: CanonicalOptions { callback, ..crossing.options(options, post_return)? },
            });
        }
        Ok(exports)
    }

    /// The host functions that something refers to once the shims are gone.
    fn hosts_used(&self) -> Result<Vec<usize>> {
        let mut used = BTreeSet::new();
        let exported = self.exports.iter().filter_map(|(_, exported)| match exported {
            Exported::Function(function) => Some(*function),
            _ => None,
        });
        let mut functions: Vec<Func> = exported.collect();
        for (number, instance) in self.linked.instances.iter().enumerate() {
            if !self.shims.drops_instance(number) && !self.shims.fills_tables_only(self.linked, number)? {
                let imported = self.linked.module(number)?.imported_functions as usize;
                functions.extend(instance.functions.iter().take(imported));
            }
        }
        for function in functions {
            if let Func::Host(host) = self.shims.resolve(function) {
                used.insert(host);
            }
        }
        Ok(used.into_iter().collect())
    }

    fn imports(&self, hosts: &[usize], crossing: &Crossing, joining: &Joining) -> Result<Vec<Import>> {
        let mut imports: Vec<Import> = Vec::new();
        // What is imported twice under one name is one function only if it means the same.
        let mut named: HashMap<(String, String), usize> = HashMap::new();
        for host in hosts {
            let host = self.blueprint.hosts.get(*host).ok_or_else(|| internal("a host function is out of range"))?;
            let mut import = self.import(host, crossing, joining)?;
            let base = import.name.clone();
            for variant in 1_u32.. {
                let key = (import.module.clone(), import.name.clone());
                match named.get(&key) {
                    Some(known) if imports.get(*known).is_some_and(|known| known.kind != import.kind) => {
                        import.name = format!("{base};variant={variant}");
                    }
                    Some(_) => break,
                    None => {
                        named.insert(key, imports.len());
                        break;
                    }
                }
            }
            imports.push(import);
        }
        Ok(imports)
    }

    fn import(&self, host: &Host, crossing: &Crossing, joining: &Joining) -> Result<Import> {
        let memory =
            |index: usize| crossing.memories.get(index).cloned().ok_or_else(|| internal("a memory is out of range"));
        let intrinsic = |name: Intrinsic| Import {
            module: INTRINSICS_MODULE.to_owned(),
            name: name.to_string(),
            kind: ImportKind::Intrinsic { name },
        };
        Ok(match &host.kind {
            HostKind::Call { interface, function, ty, options } => {
                let options =
                    self.blueprint.options.get(*options).ok_or_else(|| internal("an import has no options"))?;
                let options = crossing.options(options, None)?;
                let lower = if options.asynchronous { ASYNC_LOWER } else { "" };
                let name = format!("{lower}{function}{}", suffix(&options, crossing.default_instance));
                let (module, interface, function) = (interface.clone(), interface.clone(), function.clone());
                Import { module, name, kind: ImportKind::Call { interface, function, ty: *ty, options } }
            }
            HostKind::Adapted { variant, function } => {
                Import { module: variant.module().to_owned(), name: function.clone(), kind: ImportKind::Adapted }
            }
            HostKind::ResourceDrop { table } => {
                let handles = self.blueprint.handle_tables.get(*table as usize);
                let resource = handles.and_then(|handles| self.blueprint.resources.get(handles.resource? as usize));
                match (resource, handles) {
                    (Some(ResourceDef::Imported { interface, name }), Some(handles)) => {
                        let other = handles.instance != crossing.default_instance;
                        let instance = if other { format!(";instance={}", handles.instance) } else { String::new() };
                        Import {
                            module: interface.clone(),
                            name: format!("[resource-drop]{name}{instance}"),
                            kind: ImportKind::ResourceDrop { table: *table },
                        }
                    }
                    _ => intrinsic(Intrinsic::ResourceDrop(*table)),
                }
            }
            HostKind::ResourceNew { table } => intrinsic(Intrinsic::ResourceNew(*table)),
            HostKind::ResourceRep { table } => intrinsic(Intrinsic::ResourceRep(*table)),
            HostKind::Transcode { transcoding, from, to } => {
                let (from, to) = (memory(*from)?, memory(*to)?);
                intrinsic(Intrinsic::Transcode { transcoding: *transcoding, from, to })
            }
            HostKind::Async { builtin, options } => {
                let options = match options {
                    BuiltinOptions::Listed(index) => {
                        let options = self.blueprint.options.get(*index);
                        crossing.options(options.ok_or_else(|| internal("a function has no options"))?, None)?
                    }
                    BuiltinOptions::Only { instance, asynchronous } => CanonicalOptions {
                        instance: *instance,
                        memory: None,
                        realloc: None,
                        encoding: Encoding::Utf8,
                        post_return: None,
                        asynchronous: *asynchronous,
                        callback: None,
                    },
                };
                let lower = if options.asynchronous { ASYNC_LOWER } else { "" };
                Import {
                    module: ASYNC_MODULE.to_owned(),
                    name: format!("{lower}{}{}", builtin.import_name(), suffix(&options, crossing.default_instance)),
                    kind: ImportKind::Async { builtin: *builtin, options },
                }
            }
            HostKind::ResourceTransferOwn => intrinsic(Intrinsic::TransferOwn),
            HostKind::ResourceTransferBorrow => intrinsic(Intrinsic::TransferBorrow),
            HostKind::EnterSyncCall => intrinsic(Intrinsic::EnterSyncCall),
            HostKind::ExitSyncCall => intrinsic(Intrinsic::ExitSyncCall),
            HostKind::Trap => intrinsic(Intrinsic::Trap),
            HostKind::PrepareCall { memory: index } => {
                let params = host.params.iter().skip(PREPARING).map(core_type).collect::<Result<_>>()?;
                intrinsic(Intrinsic::PrepareCall { params, memory: index.map(memory).transpose()? })
            }
            HostKind::StartAndWait { callback } => intrinsic(Intrinsic::StartAndWait {
                callback: joining.callback(*callback)?,
                result: host.results.first().map(core_type).transpose()?,
            }),
            HostKind::Start { callback, post_return } => intrinsic(Intrinsic::Start {
                callback: joining.callback(*callback)?,
                post_return: joining.post_return(*post_return)?,
            }),
            HostKind::StreamTransfer => intrinsic(Intrinsic::StreamTransfer),
            HostKind::FutureTransfer => intrinsic(Intrinsic::FutureTransfer),
        })
    }
}

fn core_type(ty: &wasm_encoder::ValType) -> Result<CoreType> {
    Ok(match ty {
        wasm_encoder::ValType::I32 => CoreType::I32,
        wasm_encoder::ValType::I64 => CoreType::I64,
        wasm_encoder::ValType::F32 => CoreType::F32,
        wasm_encoder::ValType::F64 => CoreType::F64,
        _ => return Err(internal("a call between components passes something other than numbers")),
    })
}

/// The options that differ from the default ones.
fn suffix(options: &CanonicalOptions, default_instance: u32) -> String {
    let mut suffix = String::new();
    for (key, value, default) in [("realloc", &options.realloc, REALLOC), ("memory", &options.memory, MEMORY)] {
        if let Some(value) = value.as_ref().filter(|value| *value != default) {
            suffix.push_str(&format!(";{key}={value}"));
        }
    }
    if options.encoding != Encoding::Utf8 {
        suffix.push_str(&format!(";encoding={}", options.encoding.name()));
    }
    if options.instance != default_instance {
        suffix.push_str(&format!(";instance={}", options.instance));
    }
    suffix
}
