//! The only module that knows wasmtime-environ: it reads a component into a [`Blueprint`].

mod concurrent;

use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};

use wasmparser::Validator;
use wasmtime_environ::component as environ;
use wasmtime_environ::component::{
    CanonicalOptionsDataModel, ComponentTypes, ComponentTypesBuilder, CoreDef, ExportItem, GlobalInitializer,
    InstantiateModule, InterfaceType, Trampoline, Translator, TypeFuncIndex, TypeResourceTableIndex,
};
use wasmtime_environ::{EntityIndex, EntityRef, ScopeVec, Trap, Tunables, WasmValType};

use crate::blueprint::{Blueprint, CoreInstance, Def, Host, HostKind, Item, ItemKind, Lifted, Options, ResourceDef};
use crate::check::COMPONENT;
use crate::error::{Fault, Feature, FlattenError, Result, internal, unsupported};
use crate::plan::{Encoding, Function, HandleTable, Param, ROOT_MODULE, Transcoding, TrapReason, Type};

/// Resolves the structure of a component that has been checked.
pub(crate) fn translate(wasm: &[u8]) -> Result<Blueprint> {
    // The translator asserts what its own callers ensure; none of that may reach ours.
    catch_unwind(AssertUnwindSafe(|| translate_unguarded(wasm))).unwrap_or_else(|panic| {
        let message = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("no message");
        Err(internal(format!("the translator panicked: {message}")))
    })
}

fn translate_unguarded(wasm: &[u8]) -> Result<Blueprint> {
    let mut tunables = Tunables::default_u32();
    tunables.parse_wasm_debuginfo = false;
    // Without it adapters need nothing of the host that only concurrent calls need, and cannot join asynchronous functions.
    tunables.concurrency_support = crate::check::is_asynchronous(wasm);
    let scope = ScopeVec::new();
    let mut validator = Validator::new_with_features(COMPONENT);
    let mut types = ComponentTypesBuilder::new(&validator);
    let translator = Translator::new(&tunables, &mut validator, &mut types, &scope);
    let (translation, modules) = translator.translate(wasm).map_err(|error| refusal(&error))?;
    let handle_tables = types.num_resource_tables();
    let (stream_tables, future_tables) = (types.num_stream_tables(), types.num_future_tables());
    let (types, _) = types.finish(&translation.component);
    let reader = Reader {
        component: &translation.component,
        types: &types,
        handle_tables,
        stream_tables,
        future_tables,
        interned: HashMap::new(),
        functions: HashMap::new(),
        defined: BTreeMap::new(),
        blueprint: Blueprint {
            modules: modules.values().map(|module| module.wasm.to_vec()).collect(),
            component_instances: translation.component.num_runtime_component_instances,
            component_imports: translation.component.import_types.values().map(|(name, _)| name.clone()).collect(),
            ..Blueprint::default()
        },
    };
    reader.read(&translation.trampolines)
}

/// What the translator has against a component that is valid.
fn refusal(error: &wasmtime_environ::error::Error) -> Fault {
    match error.downcast_ref::<wasmparser::BinaryReaderError>() {
        Some(invalid) => {
            let offset = u64::try_from(invalid.offset()).unwrap_or(u64::MAX);
            FlattenError::Invalid { offset, message: invalid.message().to_owned() }.into()
        }
        None => unsupported(Feature::Other, format!("{error:#}")),
    }
}

/// What the codes mean that adapters stop the guest with.
fn trap_reasons() -> Vec<(u32, TrapReason)> {
    let reasons = [
        (Trap::CannotEnterComponent, TrapReason::Reentered),
        (Trap::CannotLeaveComponent, TrapReason::MayNotLeave),
        (Trap::InvalidChar, TrapReason::InvalidChar),
        (Trap::StringOutOfBounds, TrapReason::StringOutOfBounds),
        (Trap::ListOutOfBounds, TrapReason::ListOutOfBounds),
        (Trap::InvalidDiscriminant, TrapReason::InvalidCase),
        (Trap::UnalignedPointer, TrapReason::Unaligned),
        (Trap::CannotBlockSyncTask, TrapReason::MayNotBlock),
    ];
    reasons.map(|(trap, reason)| (trap as u32, reason)).to_vec()
}

struct Reader<'a> {
    component: &'a environ::Component,
    types: &'a ComponentTypes,
    handle_tables: usize,
    stream_tables: usize,
    future_tables: usize,
    interned: HashMap<Type, u32>,
    functions: HashMap<TypeFuncIndex, u32>,
    /// The component's own resources, by index.
    defined: BTreeMap<u32, ResourceDef>,
    blueprint: Blueprint,
}

type Trampolines = wasmtime_environ::PrimaryMap<environ::TrampolineIndex, Trampoline>;

impl Reader<'_> {
    fn read(mut self, trampolines: &Trampolines) -> Result<Blueprint> {
        for (_, options) in &self.component.options {
            let options = self.canonical_options(options)?;
            self.blueprint.options.push(options);
        }
        let imported: Vec<_> = self.component.imported_resources.values().copied().collect();
        for import in imported {
            let (interface, name) = self.import_name(import)?;
            self.blueprint.resources.push(ResourceDef::Imported { interface, name });
        }
        let mut lowered = Vec::new();
        for initializer in &self.component.initializers {
            self.initializer(initializer, &mut lowered)?;
        }
        self.blueprint.resources.extend(std::mem::take(&mut self.defined).into_values());
        if self.blueprint.resources.len() as u64 != u64::from(self.component.num_resources) {
            return Err(internal("a resource is counted but not defined"));
        }
        self.handle_tables()?;
        for (index, trampoline) in trampolines.iter() {
            let host = self.host(index, trampoline, &lowered)?;
            self.blueprint.hosts.push(host);
        }
        concurrent::check(&self.blueprint)?;
        self.transferred()?;
        for (name, (export, _)) in self.component.exports.raw_iter() {
            self.export(None, name.as_ref(), *export)?;
        }
        Ok(self.blueprint)
    }

    fn initializer(
        &mut self,
        initializer: &GlobalInitializer,
        lowered: &mut Vec<environ::RuntimeImportIndex>,
    ) -> Result<()> {
        match initializer {
            GlobalInitializer::InstantiateModule(InstantiateModule::Static(module, args), owner) => {
                let args = args.iter().map(def).collect::<Result<_>>()?;
                let owner = owner.map(|owner| owner.as_u32());
                self.blueprint.instances.push(CoreInstance { module: module.index(), args, owner });
            }
            GlobalInitializer::InstantiateModule(InstantiateModule::Import(import, _), _) => {
                let (interface, name) = self.import_name(*import)?;
                return Err(unsupported(
                    Feature::CoreModules,
                    format!("it imports the core module {interface}::{name}"),
                ));
            }
            GlobalInitializer::LowerImport { import, .. } => lowered.push(*import),
            GlobalInitializer::ExtractMemory(memory) => {
                let item = export_item(&memory.export.clone().map_index(EntityIndex::Memory))?;
                self.blueprint.memories.push(item);
            }
            GlobalInitializer::ExtractRealloc(realloc) => self.blueprint.reallocs.push(def(&realloc.def)?),
            GlobalInitializer::ExtractPostReturn(post) => self.blueprint.post_returns.push(def(&post.def)?),
            GlobalInitializer::Resource(resource) => {
                let destructor = resource.dtor.as_ref().map(def).transpose()?;
                let instance = resource.instance.as_u32();
                self.defined.insert(resource.index.as_u32(), ResourceDef::Defined { instance, destructor });
            }
            GlobalInitializer::ExtractCallback(callback) => self.blueprint.callbacks.push(def(&callback.def)?),
            GlobalInitializer::ExtractTable(_) => {
                return Err(unsupported(Feature::ComponentThreads, "a function that starts threads"));
            }
        }
        Ok(())
    }

    fn canonical_options(&self, options: &environ::CanonicalOptions) -> Result<Options> {
        let CanonicalOptionsDataModel::LinearMemory(linear) = &options.data_model else {
            return Err(unsupported(Feature::Gc, "a function with the canonical option `gc`"));
        };
        Ok(Options {
            instance: options.instance.as_u32(),
            memory: linear.memory.map(EntityRef::index),
            realloc: linear.realloc.map(EntityRef::index),
            post_return: options.post_return.map(EntityRef::index),
            callback: options.callback.map(EntityRef::index),
            asynchronous: options.async_,
            encoding: match options.string_encoding {
                environ::StringEncoding::Utf8 => Encoding::Utf8,
                environ::StringEncoding::Utf16 => Encoding::Utf16,
                environ::StringEncoding::CompactUtf16 => Encoding::CompactUtf16,
            },
        })
    }

    /// The interface and the name in it; for what is imported by itself, the interface is [`ROOT_MODULE`].
    fn import_name(&self, import: environ::RuntimeImportIndex) -> Result<(String, String)> {
        let (import, path) = &self.component.imports[import];
        let (root, _) = &self.component.import_types[*import];
        Ok(match path.split_last() {
            None => (ROOT_MODULE.to_owned(), root.clone()),
            Some((name, inner)) => {
                let interface = std::iter::once(root).chain(inner).map(String::as_str).collect::<Vec<_>>().join("#");
                (interface, name.clone())
            }
        })
    }

    fn handle_tables(&mut self) -> Result<()> {
        for index in 0..self.handle_tables {
            let table = &self.types[TypeResourceTableIndex::new(index)];
            self.blueprint.handle_tables.push(match table {
                environ::TypeResourceTable::Concrete { ty, instance } => {
                    HandleTable { instance: instance.as_u32(), resource: Some(ty.as_u32()) }
                }
                environ::TypeResourceTable::Abstract(_) => HandleTable { instance: 0, resource: None },
            });
        }
        Ok(())
    }

    fn host(
        &mut self,
        index: environ::TrampolineIndex,
        trampoline: &Trampoline,
        lowered: &[environ::RuntimeImportIndex],
    ) -> Result<Host> {
        let kind = match trampoline {
            Trampoline::LowerImport { index, lower_ty, options } => {
                let import = lowered.get(index.index()).ok_or_else(|| internal("a lowered function has no import"))?;
                let (interface, function) = self.import_name(*import)?;
                let ty = self.function(*lower_ty)?;
                HostKind::Call { interface, function, ty, options: options.index() }
            }
            Trampoline::ResourceNew { ty, .. } => HostKind::ResourceNew { table: ty.as_u32() },
            Trampoline::ResourceRep { ty, .. } => HostKind::ResourceRep { table: ty.as_u32() },
            Trampoline::ResourceDrop { ty, .. } => HostKind::ResourceDrop { table: ty.as_u32() },
            Trampoline::Transcoder { op, from, from64: false, to, to64: false } => {
                let transcoding = Transcoding::parse(op.desc())
                    .ok_or_else(|| internal(format!("strings cannot be copied as `{}`", op.desc())))?;
                HostKind::Transcode { transcoding, from: from.index(), to: to.index() }
            }
            Trampoline::ResourceTransferOwn => HostKind::ResourceTransferOwn,
            Trampoline::ResourceTransferBorrow => HostKind::ResourceTransferBorrow,
            Trampoline::EnterSyncCall => HostKind::EnterSyncCall,
            Trampoline::ExitSyncCall => HostKind::ExitSyncCall,
            Trampoline::Trap => {
                self.blueprint.traps = trap_reasons();
                HostKind::Trap
            }
            other => self.concurrent(other)?,
        };
        let number = |ty| number(ty, &kind);
        let ty = self.types.module_types()[self.component.trampolines[index]].unwrap_func();
        let params = ty.params().iter().map(number).collect::<Result<_>>()?;
        let results = ty.results().iter().map(number).collect::<Result<_>>()?;
        Ok(Host { params, results, kind })
    }

    fn export(&mut self, interface: Option<&str>, name: &str, index: environ::ExportIndex) -> Result<()> {
        let component = self.component;
        match &component.export_items[index] {
            environ::Export::LiftedFunction { ty, func, options } => {
                let lifted = Lifted {
                    interface: interface.map(str::to_owned),
                    function: name.to_owned(),
                    ty: self.function(*ty)?,
                    def: def(func)?,
                    options: options.index(),
                };
                self.blueprint.exports.push(lifted);
            }
            environ::Export::Instance { exports, .. } => {
                let interface = interface.map_or_else(|| name.to_owned(), |outer| format!("{outer}#{name}"));
                for (name, (export, _)) in exports.raw_iter() {
                    self.export(Some(&interface), name.as_ref(), *export)?;
                }
            }
            environ::Export::Type(_) => {}
            environ::Export::ModuleStatic { .. } | environ::Export::ModuleImport { .. } => {
                return Err(unsupported(Feature::CoreModules, format!("it exports the core module {name}")));
            }
        }
        Ok(())
    }

    fn function(&mut self, index: TypeFuncIndex) -> Result<u32> {
        if let Some(known) = self.functions.get(&index) {
            return Ok(*known);
        }
        let types = self.types;
        let ty = &types[index];
        let mut params = Vec::new();
        for (name, ty) in ty.param_names.iter().zip(&types[ty.params].types) {
            params.push(Param { name: name.clone(), ty: self.value(ty)? });
        }
        let result = match &*types[ty.results].types {
            [] => None,
            [one] => Some(self.value(one)?),
            _ => return Err(internal("a function has several results")),
        };
        let position = u32::try_from(self.blueprint.functions.len()).map_err(|_| internal("too many functions"))?;
        self.blueprint.functions.push(Function { params, result, asynchronous: ty.async_ });
        self.functions.insert(index, position);
        Ok(position)
    }

    /// Recursive as the type is, which validation and the translator keep below a hundred levels.
    fn value(&mut self, ty: &InterfaceType) -> Result<u32> {
        let types = self.types;
        let ty = match *ty {
            InterfaceType::Bool => Type::Bool,
            InterfaceType::S8 => Type::S8,
            InterfaceType::U8 => Type::U8,
            InterfaceType::S16 => Type::S16,
            InterfaceType::U16 => Type::U16,
            InterfaceType::S32 => Type::S32,
            InterfaceType::U32 => Type::U32,
            InterfaceType::S64 => Type::S64,
            InterfaceType::U64 => Type::U64,
            InterfaceType::Float32 => Type::F32,
            InterfaceType::Float64 => Type::F64,
            InterfaceType::Char => Type::Char,
            InterfaceType::String => Type::String,
            InterfaceType::List(index) => Type::List { element: self.value(&types[index].element)? },
            InterfaceType::Record(index) => {
                let fields = types[index].fields.iter();
                Type::Record {
                    fields: fields.map(|f| Ok((f.name.clone(), self.value(&f.ty)?))).collect::<Result<_>>()?,
                }
            }
            InterfaceType::Variant(index) => {
                let cases = types[index].cases.iter();
                let case = |(name, ty): (&String, &Option<_>)| Ok((name.clone(), self.optional(ty.as_ref())?));
                Type::Variant { cases: cases.map(case).collect::<Result<_>>()? }
            }
            InterfaceType::Tuple(index) => {
                let types = types[index].types.iter();
                Type::Tuple { types: types.map(|ty| self.value(ty)).collect::<Result<_>>()? }
            }
            InterfaceType::Flags(index) => Type::Flags { names: types[index].names.iter().cloned().collect() },
            InterfaceType::Enum(index) => Type::Enum { names: types[index].names.iter().cloned().collect() },
            InterfaceType::Option(index) => Type::Option { some: self.value(&types[index].ty)? },
            InterfaceType::Result(index) => {
                let result = &types[index];
                Type::Result { ok: self.optional(result.ok.as_ref())?, err: self.optional(result.err.as_ref())? }
            }
            InterfaceType::Own(table) => Type::Own { table: table.as_u32() },
            InterfaceType::Borrow(table) => Type::Borrow { table: table.as_u32() },
            InterfaceType::Stream(table) => Type::Stream { table: self.stream(table)? },
            InterfaceType::Future(table) => Type::Future { table: self.future(table)? },
            InterfaceType::ErrorContext(_) => {
                return Err(unsupported(Feature::ErrorContext, "a type that contains an error context"));
            }
            InterfaceType::Map(_) | InterfaceType::FixedLengthList(_) => {
                return Err(unsupported(Feature::Other, "a map or a list of fixed length"));
            }
        };
        if let Some(known) = self.interned.get(&ty) {
            return Ok(*known);
        }
        let position = u32::try_from(self.blueprint.types.len()).map_err(|_| internal("too many types"))?;
        self.blueprint.types.push(ty.clone());
        self.interned.insert(ty, position);
        Ok(position)
    }

    fn optional(&mut self, ty: Option<&InterfaceType>) -> Result<Option<u32>> {
        ty.map(|ty| self.value(ty)).transpose()
    }
}

fn def(def: &CoreDef) -> Result<Def> {
    Ok(match def {
        CoreDef::Export(export) => Def::Item(export_item(export)?),
        CoreDef::InstanceFlags(instance) => Def::MayLeave(instance.as_u32()),
        CoreDef::Trampoline(index) => Def::Host(index.index()),
        CoreDef::UnsafeIntrinsic(intrinsic) => Def::Context(concurrent::context(*intrinsic)?),
        CoreDef::TaskMayBlock => Def::MayBlock,
    })
}

fn export_item(export: &environ::CoreExport<EntityIndex>) -> Result<Item> {
    let ExportItem::Index(entity) = &export.item else {
        return Err(internal("an export is known by its name only"));
    };
    let (kind, index) = match entity {
        EntityIndex::Function(index) => (ItemKind::Function, index.as_u32()),
        EntityIndex::Table(index) => (ItemKind::Table, index.as_u32()),
        EntityIndex::Memory(index) => (ItemKind::Memory, index.as_u32()),
        EntityIndex::Global(index) => (ItemKind::Global, index.as_u32()),
        EntityIndex::Tag(_) => return Err(unsupported(Feature::Exceptions, "a tag that a core module exports")),
    };
    Ok(Item { instance: export.instance.index(), kind, index })
}

/// The type as the flattened module has it, where functions are passed by number.
fn number(ty: &WasmValType, kind: &HostKind) -> Result<wasm_encoder::ValType> {
    let passes_functions =
        matches!(kind, HostKind::PrepareCall { .. } | HostKind::StartAndWait { .. } | HostKind::Start { .. });
    Ok(match ty {
        WasmValType::Ref(_) if passes_functions => wasm_encoder::ValType::I32,
        WasmValType::I32 => wasm_encoder::ValType::I32,
        WasmValType::I64 => wasm_encoder::ValType::I64,
        WasmValType::F32 => wasm_encoder::ValType::F32,
        WasmValType::F64 => wasm_encoder::ValType::F64,
        WasmValType::V128 | WasmValType::Ref(_) => {
            return Err(internal("a host function takes or returns something other than numbers"));
        }
    })
}
