//! Makes a guest's module ready for any engine: validated, capped, and rewritten so that core stays in charge.
//!
//! Five rewrites, each of which would otherwise be work for every adapter:
//! - the maximum of each memory is lowered to the embedder's cap, so `memory.grow` fails there on every engine;
//! - the same for tables;
//! - where either grows, the host is asked first: what is in all of them counts together (`growth`);
//! - the start section becomes the export [`START_EXPORT`], so that it runs under the deadline and finds its memory;
//! - imports that have the same name, and differ in their signatures, get names of their own.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use wasm_encoder::reencode::{Reencode, RoundtripReencoder};
use wasm_encoder::{ExportKind, ExportSection, ImportSection, MemorySection, RawSection, TableSection, TableType};
use wasmparser::{ExternalKind, Parser, Payload, TypeRef, Validator, WasmFeatures};

use wharf_plan::START_EXPORT;

use crate::abi::composed::{Composed, Declared};
use crate::abi::is_reserved;
use crate::error::{Error, Kind, Result};
use crate::growth::{self, PAGE, Space};
use crate::kept::Kept;
use crate::limits::LoadOptions;
use crate::types::{ADMITTED, Export, ExportType, FuncType, Import, RESERVED, ValType};

/// A module ready to be compiled by any backend, and what core read in it.
#[derive(Debug, Clone)]
pub struct Prepared {
    wasm: Bytes,
    imports: Arc<[Import]>,
    exports: Arc<[Export]>,
    has_start: bool,
    /// How many memories it has.
    memories: u32,
    /// Its memories, then its tables.
    spaces: Arc<[Space]>,
    /// Whether its last import is the question of [`growth`].
    guarded: bool,
    composed: Option<Arc<Composed>>,
    /// The types of its imports, if it has any that are not wharf's, and says.
    declared: Option<Arc<Declared>>,
    /// As what it is kept, if it was prepared with a cache.
    pub(crate) kept: Option<Arc<Kept>>,
}

/// What a start function is.
const START: ExportType = ExportType::Function(FuncType { params: Vec::new(), results: Vec::new() });

impl Prepared {
    /// Validates and rewrites `wasm`.
    ///
    /// # Errors
    /// - [`Kind::Guest`]: not WebAssembly, truncated or invalid (the offset is named);
    /// - [`Kind::Unsupported`]: a component, a feature outside WebAssembly 2.0, an import that is not a function;
    /// - [`Kind::Limit`]: larger than `options` allow, as a whole, in a function, or in its memories and tables.
    pub fn new(wasm: &[u8], options: &LoadOptions) -> Result<Self> {
        check_header(wasm, options)?;
        validate(wasm)?;
        let read = Read::of(wasm)?;
        check_functions(&read, options.max_function_bytes)?;
        let original = wasm;
        let Rewritten { wasm, has_start, spaces } = rewrite(wasm, options)?;
        check_spaces(&spaces, options.max_memory)?;
        let guarded = growth::guard(&wasm).map_err(|e| internal(&e.to_string()))?;
        let (wasm, guarded) = guarded.map_or((wasm, false), |wasm| (wasm, true));
        debug_assert!(Validator::new_with_features(ADMITTED).validate_all(&wasm).is_ok());
        Self::assemble(original, read, has_start, spaces, wasm.into(), guarded)
    }

    /// What [`new`](Self::new) made of a module with these `options`, from what is kept of it: its outline, the rewritten
    /// module, and whether that is guarded. The module was validated then.
    ///
    /// # Errors
    /// If `outline` is not a valid one.
    pub(crate) fn from_kept(outline: &[u8], wasm: Bytes, guarded: bool, options: &LoadOptions) -> Result<Self> {
        let Rewritten { has_start, spaces, .. } = rewrite(outline, options)?;
        Self::assemble(outline, Read::of(outline)?, has_start, spaces, wasm, guarded)
    }

    fn assemble(
        original: &[u8],
        read: Read,
        has_start: bool,
        spaces: Vec<Space>,
        wasm: Bytes,
        guarded: bool,
    ) -> Result<Self> {
        let mut exports = read.exports;
        // A component that was flattened brings its start function as this export already.
        let own_start = exports.iter().position(|export| export.name == START_EXPORT && export.ty == START);
        if let Some(index) = own_start {
            exports.remove(index);
        }
        let has_start = has_start || own_start.is_some();
        let composed = Composed::read(original, &read.imports, &exports)?.map(Arc::new);
        let foreign =
            read.imports.iter().any(|import| !is_reserved(&import.module) || import.module == wharf_plan::ASYNC_MODULE)
                || exports.iter().any(|export| export.name.starts_with(wharf_plan::ASYNC_LIFT));
        let declared = if foreign { Declared::read(original)?.map(Arc::new) } else { None };
        let imports = read.imports.into_iter().chain(guarded.then(growth::import)).collect();
        let (exports, spaces, memories, kept) = (exports.into(), spaces.into(), read.memories, None);
        Ok(Prepared { wasm, imports, exports, has_start, memories, spaces, guarded, composed, declared, kept })
    }

    /// Whether the last import of the rewritten module is the question of [`growth`].
    pub(crate) fn is_guarded(&self) -> bool {
        self.guarded
    }

    /// How many memories it has. More than one needs an engine with
    /// [`Capability::MultiMemory`](crate::Capability::MultiMemory).
    pub fn memories(&self) -> u32 {
        self.memories
    }

    /// How the components belong together that it is composed of, if it is.
    pub(crate) fn composed(&self) -> Option<&Arc<Composed>> {
        self.composed.as_ref()
    }

    /// The types of what it imports that is not wharf's, if it says.
    pub(crate) fn declared(&self) -> Option<&Arc<Declared>> {
        self.declared.as_ref()
    }

    /// The rewritten module.
    pub fn wasm(&self) -> &[u8] {
        &self.wasm
    }

    /// The same, to keep parts of it.
    pub(crate) fn bytes(&self) -> &Bytes {
        &self.wasm
    }

    /// The functions that the rewritten module imports, in order: the guest's own and, where it grows a memory or a
    /// table, one more that [`Imports`](crate::Imports) answers by itself.
    pub fn imports(&self) -> &Arc<[Import]> {
        &self.imports
    }

    /// The functions that the guest imports, in order.
    pub(crate) fn own_imports(&self) -> &[Import] {
        &self.imports[..self.imports.len() - usize::from(self.guarded)]
    }

    /// Its memories, then its tables.
    pub(crate) fn spaces(&self) -> &Arc<[Space]> {
        &self.spaces
    }

    /// What it exports, [`START_EXPORT`] not included.
    pub fn exports(&self) -> &Arc<[Export]> {
        &self.exports
    }

    /// Whether it exports [`START_EXPORT`].
    pub fn has_start(&self) -> bool {
        self.has_start
    }
}

fn check_header(wasm: &[u8], options: &LoadOptions) -> Result<()> {
    if wasm.len() as u64 > options.max_module_bytes {
        return Err(Error::new(
            Kind::Limit,
            format!("the module has {} bytes; at most {} are allowed", wasm.len(), options.max_module_bytes),
        ));
    }
    if !wasm.starts_with(b"\0asm") {
        return Err(Error::new(
            Kind::Guest,
            "not a WebAssembly module: it does not begin with the bytes `\\0asm`; give a compiled .wasm file",
        ));
    }
    if Parser::is_component(wasm) {
        return Err(Error::new(
            Kind::Unsupported,
            "this is a WebAssembly component, and core loads modules only; load it with `wharf::Runtime`, with the feature \
             `component`, or make it one with `wharf compile`",
        ));
    }
    Ok(())
}

fn validate(wasm: &[u8]) -> Result<()> {
    let Err(error) = Validator::new_with_features(ADMITTED).validate_all(wasm) else { return Ok(()) };
    // Valid with everything switched on means that it is a feature that is missing, not a byte that is wrong.
    if Validator::new_with_features(WasmFeatures::all()).validate_all(wasm).is_ok() {
        return Err(Error::new(
            Kind::Unsupported,
            format!(
                "the module needs a WebAssembly feature outside the portable set (WebAssembly 2.0): {} at offset {:#x}",
                error.message(),
                error.offset()
            ),
        ));
    }
    let offset = error.offset();
    let message = if error.message().contains("unexpected end") || error.message().contains("unexpected-eof") {
        format!("the module is truncated: {} at offset {offset:#x}", error.message())
    } else {
        format!("the module is invalid: {} at offset {offset:#x}", error.message())
    };
    Err(Error::new(Kind::Guest, message))
}

/// What a module imports and exports.
struct Read {
    imports: Vec<Import>,
    exports: Vec<Export>,
    memories: u32,
    /// The largest function: its index and how many bytes its body has.
    largest: Option<(u32, u64)>,
}

impl Read {
    /// Reads a module that has been validated.
    fn of(wasm: &[u8]) -> Result<Self> {
        let mut types: Vec<Option<FuncType>> = Vec::new();
        let mut functions: Vec<u32> = Vec::new();
        let mut read = Read { imports: Vec::new(), exports: Vec::new(), memories: 0, largest: None };
        let mut defined = 0;
        for payload in Parser::new(0).parse_all(wasm) {
            match payload.map_err(malformed)? {
                Payload::TypeSection(section) => {
                    for ty in section.into_iter_err_on_gc_types() {
                        types.push(func_type(&ty.map_err(malformed)?));
                    }
                }
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        let import = import.map_err(malformed)?;
                        let TypeRef::Func(index) = import.ty else { return Err(not_a_function(&import)) };
                        let ty = types.get(index as usize).cloned().flatten().ok_or_else(|| {
                            Error::new(
                                Kind::Unsupported,
                                format!(
                                    "import {}::{} takes or returns a reference or a vector; only i32, i64, f32 and \
                                     f64 cross to the host",
                                    import.module, import.name
                                ),
                            )
                        })?;
                        functions.push(index);
                        read.imports.push(Import {
                            module: import.module.to_owned(),
                            name: import.name.to_owned(),
                            ty,
                        });
                    }
                }
                Payload::MemorySection(section) => read.memories = section.count(),
                Payload::CodeSectionEntry(body) => {
                    let bytes = body.range().len() as u64;
                    if read.largest.is_none_or(|(_, largest)| bytes > largest) {
                        read.largest = Some((read.imports.len() as u32 + defined, bytes));
                    }
                    defined += 1;
                }
                Payload::FunctionSection(section) => {
                    for index in section {
                        functions.push(index.map_err(malformed)?);
                    }
                }
                Payload::ExportSection(section) => {
                    for export in section {
                        let export = export.map_err(malformed)?;
                        let ty = match export.kind {
                            ExternalKind::Func | ExternalKind::FuncExact => functions
                                .get(export.index as usize)
                                .and_then(|ty| types.get(*ty as usize).cloned().flatten())
                                .map_or(ExportType::UncallableFunction, ExportType::Function),
                            ExternalKind::Memory => ExportType::Memory,
                            ExternalKind::Global => ExportType::Global,
                            ExternalKind::Table => ExportType::Table,
                            ExternalKind::Tag => continue,
                        };
                        read.exports.push(Export { name: export.name.to_owned(), ty });
                    }
                }
                _ => {}
            }
        }
        Ok(read)
    }
}

fn not_a_function(import: &wasmparser::Import<'_>) -> Error {
    let what = match import.ty {
        TypeRef::Memory(_) => "a memory",
        TypeRef::Table(_) => "a table",
        TypeRef::Global(_) => "a global",
        TypeRef::Tag(_) => "a tag",
        TypeRef::Func(_) | TypeRef::FuncExact(_) => "a function",
    };
    Error::new(
        Kind::Unsupported,
        format!("the module imports {what}, {}::{}; a guest may import functions only", import.module, import.name),
    )
}

/// The signature, if all of it can cross to a backend.
fn func_type(ty: &wasmparser::FuncType) -> Option<FuncType> {
    let number = |ty: &wasmparser::ValType| match ty {
        wasmparser::ValType::I32 => Some(ValType::I32),
        wasmparser::ValType::I64 => Some(ValType::I64),
        wasmparser::ValType::F32 => Some(ValType::F32),
        wasmparser::ValType::F64 => Some(ValType::F64),
        wasmparser::ValType::V128 | wasmparser::ValType::Ref(_) => None,
    };
    Some(FuncType {
        params: ty.params().iter().map(number).collect::<Option<_>>()?,
        results: ty.results().iter().map(number).collect::<Option<_>>()?,
    })
}

/// Refuses a function that would keep a compiler too long.
fn check_functions(read: &Read, limit: u64) -> Result<()> {
    match read.largest {
        Some((index, bytes)) if bytes > limit => {
            let message = format!(
                "function {index} of the module has {bytes} bytes; at most {limit} are allowed: split the function \
                 when building the guest, or raise the limit `max-function-size`"
            );
            Err(Error::new(Kind::Limit, message))
        }
        _ => Ok(()),
    }
}

/// A module whose maxima are lowered, and which has no start section any more.
struct Rewritten {
    wasm: Vec<u8>,
    has_start: bool,
    /// Its memories, then its tables.
    spaces: Vec<Space>,
}

/// Refuses what takes more than a guest may have before it runs at all.
fn check_spaces(spaces: &[Space], cap: u64) -> Result<()> {
    let initial = spaces.iter().fold(0, |sum: u64, space| sum.saturating_add(space.initial()));
    if initial > cap {
        let message = format!(
            "the module's memories and tables start with {initial} bytes together; at most {cap} are allowed: raise the \
             limit `max-memory`"
        );
        return Err(Error::new(Kind::Limit, message));
    }
    Ok(())
}

/// Lowers maxima and turns the start section into an export. Every other section is copied as it stands.
fn rewrite(wasm: &[u8], options: &LoadOptions) -> Result<Rewritten> {
    let start = Parser::new(0).parse_all(wasm).find_map(|payload| match payload {
        Ok(Payload::StartSection { func, .. }) => Some(func),
        _ => None,
    });
    let mut module = wasm_encoder::Module::new();
    let mut exports_seen = false;
    // The tables of a module stand before its memories.
    let (mut memory_spaces, mut table_spaces) = (Vec::new(), Vec::new());
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload.map_err(malformed)?;
        match &payload {
            // A module may have a start function and no export section: it goes where that section would stand.
            Payload::StartSection { .. } => {
                if !exports_seen {
                    module.section(&exports(None, start)?);
                }
            }
            Payload::ExportSection(section) => {
                exports_seen = true;
                module.section(&exports(Some(section), start)?);
            }
            Payload::ImportSection(section) => {
                module.section(&imports(section)?);
            }
            Payload::MemorySection(section) => {
                module.section(&memories(section, options.max_memory, &mut memory_spaces)?);
            }
            Payload::TableSection(section) => {
                module.section(&tables(section, options.max_table_elements, &mut table_spaces)?);
            }
            other => {
                if let Some((id, range)) = other.as_section() {
                    let data = wasm.get(range).ok_or_else(|| internal("a section lies outside the module"))?;
                    module.section(&RawSection { id, data });
                }
            }
        }
    }
    memory_spaces.append(&mut table_spaces);
    Ok(Rewritten { wasm: module.finish(), has_start: start.is_some(), spaces: memory_spaces })
}

/// An import of the same name as an earlier one, such as a function that exists with several signatures, gets a name of
/// its own, as engines that link by name need it.
fn imports(section: &wasmparser::ImportSectionReader<'_>) -> Result<ImportSection> {
    let mut out = ImportSection::new();
    let mut seen = HashSet::new();
    for import in section.clone().into_imports() {
        let import = import.map_err(malformed)?;
        let mut name = import.name.to_owned();
        while !seen.insert((import.module, name.clone())) {
            name.push('\'');
        }
        let ty = RoundtripReencoder.entity_type(import.ty).map_err(|e| internal(&e.to_string()))?;
        out.import(import.module, &name, ty);
    }
    Ok(out)
}

fn exports(section: Option<&wasmparser::ExportSectionReader<'_>>, start: Option<u32>) -> Result<ExportSection> {
    let mut out = ExportSection::new();
    if let Some(section) = section {
        RoundtripReencoder.parse_export_section(&mut out, section.clone()).map_err(|e| internal(&e.to_string()))?;
        if start.is_some() && section.clone().into_iter().any(|e| e.is_ok_and(|e| e.name == START_EXPORT)) {
            return Err(Error::new(
                Kind::Unsupported,
                format!("the module has a start section and also an export `{START_EXPORT}`, a name wharf reserves"),
            ));
        }
        if section.clone().into_iter().any(|e| e.is_ok_and(|e| e.name.starts_with(RESERVED))) {
            let message = format!("the module exports a name that begins with `{RESERVED}`, which wharf reserves");
            return Err(Error::new(Kind::Unsupported, message));
        }
    }
    if let Some(function) = start {
        out.export(START_EXPORT, ExportKind::Func, function);
    }
    Ok(out)
}

/// The memories, each with no more than `cap` bytes.
fn memories(section: &wasmparser::MemorySectionReader<'_>, cap: u64, spaces: &mut Vec<Space>) -> Result<MemorySection> {
    let mut out = MemorySection::new();
    for memory in section.clone() {
        let memory = memory.map_err(malformed)?;
        let pages = cap / PAGE;
        if memory.initial > pages {
            return Err(Error::new(
                Kind::Limit,
                format!(
                    "the module starts with {} bytes of memory; at most {cap} are allowed: raise the limit `max-memory`",
                    memory.initial.saturating_mul(PAGE)
                ),
            ));
        }
        let mut ty = RoundtripReencoder.memory_type(memory).map_err(|e| internal(&e.to_string()))?;
        let maximum = memory.maximum.unwrap_or(PAGE).min(pages).min(PAGE);
        ty.maximum = Some(maximum);
        spaces.push(Space::memory(memory.initial, maximum));
        out.memory(ty);
    }
    Ok(out)
}

fn tables(section: &wasmparser::TableSectionReader<'_>, cap: u64, spaces: &mut Vec<Space>) -> Result<TableSection> {
    let mut out = TableSection::new();
    for table in section.clone() {
        let table = table.map_err(malformed)?;
        if table.ty.initial > cap {
            return Err(Error::new(
                Kind::Limit,
                format!("the module starts with a table of {} elements; at most {cap} are allowed", table.ty.initial),
            ));
        }
        let maximum = table.ty.maximum.unwrap_or(cap).min(cap);
        spaces.push(Space::table(table.ty.initial, maximum));
        let maximum = Some(maximum);
        let ty = RoundtripReencoder.table_type(table.ty).map_err(|e| internal(&e.to_string()))?;
        let ty = TableType { maximum, ..ty };
        match table.init {
            wasmparser::TableInit::RefNull => out.table(ty),
            wasmparser::TableInit::Expr(expr) => {
                let init = RoundtripReencoder.const_expr(expr).map_err(|e| internal(&e.to_string()))?;
                out.table_with_init(ty, &init)
            }
        };
    }
    Ok(out)
}

pub(crate) fn malformed(error: wasmparser::BinaryReaderError) -> Error {
    Error::new(Kind::Guest, format!("the module is invalid at offset {:#x}", error.offset())).with_source(error)
}

pub(crate) fn internal(message: &str) -> Error {
    Error::new(Kind::Internal, format!("preparing the module failed: {message}"))
}
