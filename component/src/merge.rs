//! Writes the linked instances as one module.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};

use wasm_encoder::reencode::{self, Reencode, RoundtripReencoder};
use wasm_encoder::{
    CodeSection, ConstExpr, CustomSection, DataCountSection, ElementSection, Elements, EntityType, ExportKind,
    ExportSection, Function, FunctionSection, GlobalSection, GlobalType, ImportSection, MemorySection, Module,
    TableSection, TypeSection, ValType,
};
use wasmparser::{FunctionBody, Operator};

use crate::START_EXPORT;
use crate::blueprint::{Blueprint, Context};
use crate::error::{Fault, Result, internal};
use crate::layout::Layout;
use crate::link::{Func, Global, Instance, Linked, at};
use crate::naming::{Exported, Naming, count};
use crate::plan::{PLAN_SECTION, Plan};
use crate::segments::Segments;
use crate::shims::Shims;

/// Writes the module, and completes the plan.
pub(crate) fn merge(
    blueprint: &Blueprint,
    linked: &Linked<'_>,
    shims: &Shims,
    naming: Naming,
    keep_names: bool,
) -> Result<(Vec<u8>, Plan)> {
    let Naming { hosts, exports, mut plan } = naming;
    let mut types = Types::default();
    let mut layout = Layout::new(linked, shims, &hosts)?;
    let mut imports = ImportSection::new();
    for (host, import) in hosts.iter().zip(&plan.imports) {
        let host = blueprint.hosts.get(*host).ok_or_else(|| internal("a host function is out of range"))?;
        let ty = types.intern(host.params.clone(), host.results.clone())?;
        imports.import(&import.module, &import.name, EntityType::Function(ty));
    }

    let mut functions = FunctionSection::new();
    let mut code = CodeSection::new();
    let mut declared = BTreeSet::new();
    for (number, instance) in linked.instances.iter().enumerate() {
        let module = linked.module(number)?;
        // Types of blocks and indirect calls point into the module's own list.
        layout.types.clear();
        for ty in &module.types {
            let ty = RoundtripReencoder.func_type(ty.clone()).map_err(|error| internal(error.to_string()))?;
            layout.types.push(types.intern(ty.params().to_vec(), ty.results().to_vec())?);
        }
        for (body, position) in module.bodies.iter().zip(0..) {
            if shims.drops_function(Func::Defined { instance: number, body: position }) {
                continue;
            }
            functions.function(at(&layout.types, at(&module.functions, module.imported_functions + position)?)?);
            let mut remap = Remap { linked, layout: &layout, shims, number, instance, declared: &mut declared };
            remap.parse_function_body(&mut code, body.clone()).map_err(fault)?;
        }
    }

    for context in &layout.contexts {
        let mut body = Function::new([]);
        let ty = match context {
            Context::Get(slot) => {
                body.instructions().global_get(layout.global(linked.context(*slot))?).end();
                types.intern(Vec::new(), vec![ValType::I32])?
            }
            Context::Set(slot) => {
                body.instructions().local_get(0).global_set(layout.global(linked.context(*slot))?).end();
                types.intern(vec![ValType::I32], Vec::new())?
            }
        };
        functions.function(ty);
        code.function(&body);
    }

    let segments = Segments::new(linked, shims, &layout)?;
    let mut export_section = ExportSection::new();
    for (name, exported) in &exports {
        match *exported {
            Exported::Function(function) => export_section.export(name, ExportKind::Func, layout.function(function)?),
            Exported::Memory(memory) => export_section.export(name, ExportKind::Memory, count(memory)?),
            Exported::Global(global) => export_section.export(name, ExportKind::Global, layout.global(global)?),
        };
    }
    if let Some(start) = &segments.start {
        functions.function(types.intern(Vec::new(), Vec::new())?);
        code.function(start);
        export_section.export(START_EXPORT, ExportKind::Func, layout.function_count);
    }
    plan.start = segments.start.is_some();
    plan.tables = count(layout.tables.iter().flatten().count())?;

    let mut elements = segments.elements;
    declare(&mut elements, &declared);
    let mut module = Module::new();
    module.section(&types.section);
    if !imports.is_empty() {
        module.section(&imports);
    }
    module.section(&functions);
    module.section(&tables(linked, shims, &layout)?);
    module.section(&memories(linked)?);
    module.section(&globals(linked, shims, &layout)?);
    module.section(&export_section);
    module.section(&elements);
    if !segments.data.is_empty() {
        module.section(&DataCountSection { count: segments.data.len() });
    }
    module.section(&code);
    module.section(&segments.data);
    if keep_names {
        module.section(&crate::names::section(linked, &layout, &plan)?);
    }
    let json = serde_json::to_vec(&plan).map_err(|error| internal(format!("the plan cannot be written: {error}")))?;
    module.section(&CustomSection { name: Cow::Borrowed(PLAN_SECTION), data: Cow::Owned(json) });
    Ok((module.finish(), plan))
}

/// Functions that code refers to must be declared outside of code.
fn declare(elements: &mut ElementSection, functions: &BTreeSet<u32>) {
    if !functions.is_empty() {
        elements.declared(Elements::Functions(functions.iter().copied().collect()));
    }
}

/// Function types, each once.
#[derive(Default)]
struct Types {
    section: TypeSection,
    known: HashMap<(Vec<ValType>, Vec<ValType>), u32>,
}

impl Types {
    fn intern(&mut self, params: Vec<ValType>, results: Vec<ValType>) -> Result<u32> {
        if let Some(known) = self.known.get(&(params.clone(), results.clone())) {
            return Ok(*known);
        }
        let index = count(self.known.len())?;
        self.section.ty().function(params.iter().copied(), results.iter().copied());
        self.known.insert((params, results), index);
        Ok(index)
    }
}

/// Moves the code of one instance into the index spaces of the module.
struct Remap<'a> {
    linked: &'a Linked<'a>,
    layout: &'a Layout,
    shims: &'a Shims,
    number: usize,
    instance: &'a Instance,
    declared: &'a mut BTreeSet<u32>,
}

type Reencoded<T> = std::result::Result<T, reencode::Error<Fault>>;

impl Reencode for Remap<'_> {
    type Error = Fault;

    fn function_index(&mut self, function: u32) -> Reencoded<u32> {
        let function = at(&self.instance.functions, function).map_err(reencode::Error::UserError)?;
        self.layout.function(self.shims.resolve(function)).map_err(reencode::Error::UserError)
    }

    fn table_index(&mut self, table: u32) -> Reencoded<u32> {
        let table = at(&self.instance.tables, table).and_then(|table| self.layout.table(table));
        let table = table.and_then(|table| table.ok_or_else(|| internal("code uses a table that was taken out")));
        table.map_err(reencode::Error::UserError)
    }

    fn memory_index(&mut self, memory: u32) -> Reencoded<u32> {
        at(&self.instance.memories, memory).and_then(count).map_err(reencode::Error::UserError)
    }

    fn global_index(&mut self, global: u32) -> Reencoded<u32> {
        let global = at(&self.instance.globals, global).and_then(|global| self.layout.global(global));
        global.map_err(reencode::Error::UserError)
    }

    fn type_index(&mut self, ty: u32) -> Reencoded<u32> {
        at(&self.layout.types, ty).map_err(reencode::Error::UserError)
    }

    fn element_index(&mut self, element: u32) -> Reencoded<u32> {
        self.layout.element(self.number, element).map_err(reencode::Error::UserError)
    }

    fn data_index(&mut self, data: u32) -> Reencoded<u32> {
        self.layout.data(self.number, data).map_err(reencode::Error::UserError)
    }

    /// A tail call is a call and a return, on engines that have none: a guest that recurses without end runs out of stack.
    fn parse_function_body(&mut self, code: &mut CodeSection, body: FunctionBody<'_>) -> Reencoded<()> {
        let mut function = self.new_function_with_parsed_locals(&body)?;
        let mut reader = body.get_operators_reader()?;
        while !reader.eof() {
            let (operator, returns) = match reader.read()? {
                Operator::ReturnCall { function_index } => (Operator::Call { function_index }, true),
                Operator::ReturnCallIndirect { type_index, table_index } => {
                    (Operator::CallIndirect { type_index, table_index }, true)
                }
                operator => (operator, false),
            };
            function.instruction(&self.instruction(operator)?);
            if returns {
                function.instruction(&wasm_encoder::Instruction::Return);
            }
        }
        code.function(&function);
        Ok(())
    }

    fn instruction<'a>(&mut self, operator: Operator<'a>) -> Reencoded<wasm_encoder::Instruction<'a>> {
        if let Operator::Call { function_index } = operator {
            let function = at(&self.instance.functions, function_index).map_err(reencode::Error::UserError)?;
            let global = |slot| self.layout.global(self.linked.context(slot)).map_err(reencode::Error::UserError);
            match self.shims.resolve(function) {
                Func::Context(Context::Get(slot)) => return Ok(wasm_encoder::Instruction::GlobalGet(global(slot)?)),
                Func::Context(Context::Set(slot)) => return Ok(wasm_encoder::Instruction::GlobalSet(global(slot)?)),
                _ => {}
            }
        }
        if let Operator::RefFunc { function_index } = operator {
            let function = self.function_index(function_index)?;
            self.declared.insert(function);
        }
        reencode::utils::instruction(self, operator)
    }
}

fn fault(error: reencode::Error<Fault>) -> Fault {
    match error {
        reencode::Error::UserError(fault) => fault,
        other => internal(format!("code cannot be written again: {other}")),
    }
}

fn tables(linked: &Linked<'_>, shims: &Shims, layout: &Layout) -> Result<TableSection> {
    let mut section = TableSection::new();
    for (position, origin) in linked.tables.iter().enumerate() {
        if layout.table(position)?.is_none() {
            continue;
        }
        let table = linked.module(origin.instance)?.tables.get(origin.index);
        let table = table.ok_or_else(|| internal("a table is out of range"))?;
        let ty = RoundtripReencoder.table_type(table.ty).map_err(|error| internal(error.to_string()))?;
        match crate::module::Module::table_init(table) {
            None => section.table(ty),
            Some(init) => {
                let init = linked.fold(origin.instance, &init)?;
                section.table_with_init(ty, &layout.constant(init, shims)?)
            }
        };
    }
    Ok(section)
}

fn memories(linked: &Linked<'_>) -> Result<MemorySection> {
    let mut section = MemorySection::new();
    for origin in &linked.memories {
        let memory = linked.module(origin.instance)?.memories.get(origin.index);
        let memory = *memory.ok_or_else(|| internal("a memory is out of range"))?;
        section.memory(RoundtripReencoder.memory_type(memory).map_err(|error| internal(error.to_string()))?);
    }
    Ok(section)
}

fn globals(linked: &Linked<'_>, shims: &Shims, layout: &Layout) -> Result<GlobalSection> {
    let mut section = GlobalSection::new();
    for (global, place) in linked.globals.iter().zip(&layout.globals) {
        match global {
            _ if place.is_none() => {}
            Global::MayLeave | Global::Context => {
                let ty = GlobalType { val_type: ValType::I32, mutable: true, shared: false };
                section.global(ty, &ConstExpr::i32_const(i32::from(matches!(global, Global::MayLeave))));
            }
            Global::Defined(origin, value) => {
                let global = linked.module(origin.instance)?.globals.get(origin.index);
                let ty = global.ok_or_else(|| internal("a global is out of range"))?.ty;
                let ty = RoundtripReencoder.global_type(ty).map_err(|error| internal(error.to_string()))?;
                section.global(ty, &layout.constant(*value, shims)?);
            }
        }
    }
    Ok(section)
}
