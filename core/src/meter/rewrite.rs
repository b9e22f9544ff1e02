//! Rewrites a module so that it counts what it does: see [`meter`](super).
//!
//! The module keeps one or two counters of its own, each an exported global:
//! - [`FUEL`] goes down with the length of every loop body and function entered, and of every bulk operation;
//! - [`STACK`], where the engine does not bound the stack, goes down by a function's frame while the function runs.
//!
//! When either falls below zero the module calls a further import, the check, which comes after its own.
//!
//! A loop takes its fuel from a local first, its function's credit, which it fills up from the global: a loop that
//! wrote to a global each time round would take several times as long.
//!
//! Three more changes make up for engines. Imports are renamed to their positions, for an engine that binds by name. A
//! reference to an import (in a table, exported) becomes one to a function that calls it, for one whose compiled code
//! leaks stack with every indirect call of a host function. Custom sections are dropped, but for the functions' names,
//! for one that looks in them for native code to run.
//!
//! Globals that change are exported, for an [`Imaged`](crate::image::Imaged) to put them back.

use std::collections::HashMap;

use wasm_encoder::reencode::{self, Reencode};
use wasm_encoder::{
    BlockType, CodeSection, ConstExpr, DataCountSection, DataSection, ElementSection, EntityType, ExportKind,
    ExportSection, Function, FunctionSection, GlobalSection, GlobalType, ImportSection, Instruction as I,
    MemorySection, Module, NameMap, NameSection, TableSection, TypeSection, ValType,
};
use wasmparser::{
    CustomSectionReader, FuncType, FuncValidatorAllocations, FunctionBody, KnownCustom, Name, Operator, Parser,
    Payload, TypeRef, ValidPayload, Validator,
};

use super::Frames;
use super::shape::{Shape, is_bulk};
use crate::error::{Error, Kind, Result};
use crate::image::State;
use crate::types::{ADMITTED, RESERVED};

/// The exported global that holds what is left of the stack, an `i32`.
pub(super) const STACK: &str = "$wharf.stack";
/// The exported global that holds what is left of the fuel, an `i32`.
pub(super) const FUEL: &str = "$wharf.fuel";

/// The largest frame that a natively compiled function may need, in bytes.
pub(super) const MAX_FRAME: u32 = 8 << 20;
/// By how much the stack counter understates a natively compiled frame at most: see [`Rewriter::frame`].
pub(super) const SCALE: u32 = 16;

/// Instructions of a body that are counted one by one; of the further ones, only every [`SPREAD`]th is.
const PLAIN: u32 = 128;
/// How many instructions one of fuel stands for at most.
const SPREAD: u32 = 256;
/// How much fuel a function's loops take from the global at a time.
const CREDIT: i32 = 500;

/// Rewrites `wasm`, a prepared module, to be run by an engine with such frames.
///
/// # Errors
/// [`Kind::Limit`] if it has a function that is too large to be compiled safely, with [`Frames::Native`] only.
pub fn rewrite(wasm: &[u8], frames: Frames) -> Result<Vec<u8>> {
    let mut rewriter = Rewriter {
        frames,
        types: Vec::new(),
        functions: Vec::new(),
        imports: 0,
        globals: 0,
        blocks: HashMap::new(),
        state: State::default(),
    };
    match rewriter.read(wasm) {
        Ok(sections) => Ok(rewriter.finish(sections)),
        Err(reencode::Error::ParseError(error)) => Err(failed().with_source(error)),
        Err(reencode::Error::UserError(TooLarge(function))) => {
            let message = format!("function {function} of the module is too large to be compiled safely");
            Err(Error::new(Kind::Limit, message))
        }
        Err(error) => Err(failed().with_source(error.to_string())),
    }
}

fn failed() -> Error {
    Error::new(Kind::Internal, "rewriting the module failed")
}

/// The index of a function that needs a frame beyond [`MAX_FRAME`].
#[derive(Debug, thiserror::Error)]
#[error("function {0} is too large")]
struct TooLarge(u32);

type Encoded<T> = std::result::Result<T, reencode::Error<TooLarge>>;

/// The sections of the rewritten module.
#[derive(Default)]
struct Sections {
    types: TypeSection,
    imports: ImportSection,
    functions: FunctionSection,
    tables: TableSection,
    memories: MemorySection,
    globals: GlobalSection,
    exports: ExportSection,
    elements: ElementSection,
    data_count: Option<u32>,
    code: CodeSection,
    data: DataSection,
    names: Option<NameSection>,
}

/// What is known of the module so far.
struct Rewriter {
    frames: Frames,
    types: Vec<FuncType>,
    /// The type of each function, imports first.
    functions: Vec<u32>,
    imports: u32,
    globals: u32,
    /// The types made for blocks with several results, by these results.
    blocks: HashMap<Vec<ValType>, u32>,
    /// What the module changes.
    state: State,
}

impl Reencode for Rewriter {
    type Error = TooLarge;

    /// The new index of a function, other than where it is called directly.
    fn function_index(&mut self, function: u32) -> Encoded<u32> {
        Ok(if function < self.imports { self.stand_ins() + function } else { function + 1 })
    }
}

impl Rewriter {
    /// The index of the check function: the last import.
    fn check(&self) -> u32 {
        self.imports
    }

    /// The index of the first function that stands for an import: after all of the module's own.
    fn stand_ins(&self) -> u32 {
        self.functions.len() as u32 + 1
    }

    /// The global that holds the fuel.
    fn fuel(&self) -> u32 {
        self.globals
    }

    /// The global that holds what is left of the stack.
    fn stack(&self) -> u32 {
        self.globals + 1
    }

    fn function_type(&self, function: u32) -> &FuncType {
        &self.types[self.functions[function as usize] as usize]
    }

    /// Reads the whole module.
    fn read(&mut self, wasm: &[u8]) -> Encoded<Sections> {
        let mut out = Sections::default();
        let mut validator = Validator::new_with_features(ADMITTED);
        let mut allocations = FuncValidatorAllocations::default();
        for payload in Parser::new(0).parse_all(wasm) {
            let payload = payload?;
            if let ValidPayload::Func(function, body) = validator.payload(&payload)? {
                let index = function.index;
                let shape;
                (shape, allocations) = Shape::of(function, &body, allocations, &mut self.state)?;
                if self.frames == Frames::Native && self.native_frame(&shape) > MAX_FRAME {
                    return Err(reencode::Error::UserError(TooLarge(index)));
                }
                let body = self.body(index, &body, &shape, &mut out.types)?;
                out.code.function(&body);
                continue;
            }
            match payload {
                Payload::TypeSection(section) => {
                    for ty in section.into_iter_err_on_gc_types() {
                        let ty = ty?;
                        let (params, results) =
                            (self.val_types(ty.params().to_vec())?, self.val_types(ty.results().to_vec())?);
                        out.types.ty().function(params, results);
                        self.types.push(ty);
                    }
                }
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        // Core lets no other import through.
                        if let TypeRef::Func(ty) = import?.ty {
                            out.imports.import(RESERVED, &self.imports.to_string(), EntityType::Function(ty));
                            self.functions.push(ty);
                            self.imports += 1;
                        }
                    }
                }
                Payload::FunctionSection(section) => {
                    for ty in section {
                        let ty = ty?;
                        out.functions.function(ty);
                        self.functions.push(ty);
                    }
                }
                Payload::TableSection(section) => self.parse_table_section(&mut out.tables, section)?,
                Payload::MemorySection(section) => self.parse_memory_section(&mut out.memories, section)?,
                Payload::GlobalSection(section) => {
                    self.globals = section.count();
                    self.state.globals(section.clone())?;
                    self.parse_global_section(&mut out.globals, section)?;
                }
                Payload::ExportSection(section) => self.parse_export_section(&mut out.exports, section)?,
                Payload::ElementSection(section) => self.parse_element_section(&mut out.elements, section)?,
                Payload::DataCountSection { count, .. } => out.data_count = Some(count),
                Payload::DataSection(section) => self.parse_data_section(&mut out.data, section)?,
                // A custom section may hold anything: names that cannot be read are none.
                Payload::CustomSection(section) => out.names = self.names(&section).ok().flatten().or(out.names),
                _ => {}
            }
        }
        Ok(out)
    }

    /// The functions' names, which engines give in their traps.
    fn names(&self, section: &CustomSectionReader<'_>) -> Encoded<Option<NameSection>> {
        let KnownCustom::Name(subsections) = section.as_known() else { return Ok(None) };
        let mut names = NameMap::new();
        for subsection in subsections {
            let Name::Function(map) = subsection? else { continue };
            for name in map {
                let name = name?;
                names.append(name.index.saturating_add(u32::from(name.index >= self.imports)), name.name);
            }
        }
        let mut section = NameSection::new();
        section.functions(&names);
        Ok(Some(section))
    }

    /// Adds the counters, the check function and what stands for the imports; then writes it all.
    fn finish(&self, mut out: Sections) -> Vec<u8> {
        let check = out.types.len();
        out.types.ty().function([], []);
        out.imports.import(RESERVED, &self.imports.to_string(), EntityType::Function(check));
        let counters =
            &[(FUEL, self.fuel()), (STACK, self.stack())][..if self.frames == Frames::Engine { 1 } else { 2 }];
        for (name, index) in counters.iter().copied() {
            let ty = GlobalType { val_type: ValType::I32, mutable: true, shared: false };
            out.globals.global(ty, &ConstExpr::i32_const(0));
            out.exports.export(name, ExportKind::Global, index);
        }
        let added: Vec<u32> = counters.iter().map(|(_, index)| *index).collect();
        self.state.export(&added, &mut out.globals, &mut out.exports);
        for import in 0..self.imports {
            let mut body = Function::new([]);
            for param in 0..self.function_type(import).params().len() {
                body.instruction(&I::LocalGet(param as u32));
            }
            body.instruction(&I::Call(import)).instruction(&I::End);
            out.functions.function(self.functions[import as usize]);
            out.code.function(&body);
        }
        let mut module = Module::new();
        module.section(&out.types).section(&out.imports).section(&out.functions).section(&out.tables);
        module.section(&out.memories).section(&out.globals).section(&out.exports).section(&out.elements);
        if let Some(count) = out.data_count {
            module.section(&DataCountSection { count });
        }
        module.section(&out.code).section(&out.data);
        if let Some(names) = &out.names {
            module.section(names);
        }
        module.finish()
    }

    /// An upper bound on the frame that a compiler gives a function, in bytes: a value for every local, those that the
    /// code makes, and the results of every call; all of them twice, for what a compiler that does not optimise keeps on
    /// the way to a value.
    fn native_frame(&self, shape: &Shape) -> u32 {
        let results = self.types.iter().map(|ty| ty.results().len()).max().unwrap_or(0) as u32;
        let values = shape.locals.saturating_add(shape.values).saturating_add(shape.calls.saturating_mul(results));
        values.saturating_mul(32).saturating_add(512)
    }

    /// What a function takes off the stack counter while it runs; `None` if that is not counted.
    fn frame(&self, shape: &Shape) -> Option<i32> {
        let frame = match self.frames {
            Frames::Engine => return None,
            // An interpreter's own frame, and 16 bytes for every value.
            Frames::Interpreter => (shape.locals + shape.height).saturating_mul(16).saturating_add(64),
            // Hardly any frame comes near its bound.
            Frames::Native => self.native_frame(shape) / SCALE,
        };
        Some(counted(frame))
    }

    fn body(
        &mut self,
        index: u32,
        body: &FunctionBody<'_>,
        shape: &Shape,
        types: &mut TypeSection,
    ) -> Encoded<Function> {
        let mut locals = Vec::new();
        for pair in body.get_locals_reader()? {
            let (count, ty) = pair?;
            locals.push((count, self.val_type(ty)?));
        }
        let mut out;
        if !shape.is_metered() {
            out = Function::new(locals);
            for operator in body.get_operators_reader()? {
                out.instruction(&self.instruction(operator?)?);
            }
            return Ok(out);
        }

        // Three more locals: the credit, a bulk operation's length, and the stack counter on entry.
        let (credit, length, saved) = (shape.locals, shape.locals + 1, shape.locals + 2);
        locals.push((3, ValType::I32));
        out = Function::new(locals);
        let frame = self.frame(shape);
        self.enter(&mut out, frame, shape.work, saved);
        if frame.is_some() {
            // The body becomes a block, so that every way out of it leads past the end of that block.
            out.instruction(&I::Block(self.results(index, types)?));
        }
        let mut loops = shape.loops.iter();
        let mut depth = 0;
        for operator in body.get_operators_reader()? {
            let operator = operator?;
            match operator {
                Operator::Call { function_index } if function_index < self.imports => {
                    out.instruction(&I::Call(function_index));
                    continue;
                }
                Operator::Return if frame.is_some() => {
                    out.instruction(&I::Br(depth));
                    continue;
                }
                Operator::End if depth > 0 => depth -= 1,
                Operator::End if frame.is_some() => {
                    out.instruction(&I::End).instruction(&I::LocalGet(saved));
                    out.instruction(&I::GlobalSet(self.stack()));
                }
                Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } => depth += 1,
                _ if is_bulk(&operator) => {
                    // The length is on top of the operands: one for every 256.
                    out.instruction(&I::LocalSet(length));
                    self.charge(&mut out, credit, &[I::LocalGet(length), I::I32Const(8), I::I32ShrU]);
                    out.instruction(&I::LocalGet(length));
                }
                _ => {}
            }
            let is_loop = matches!(operator, Operator::Loop { .. });
            out.instruction(&self.instruction(operator)?);
            if is_loop {
                let work = loops.next().copied().unwrap_or(1);
                self.charge(&mut out, credit, &[I::I32Const(fuel_of(work))]);
            }
        }
        Ok(out)
    }

    /// Takes a function's frame and work off the counters, and checks both at once.
    fn enter(&self, out: &mut Function, frame: Option<i32>, work: u32, saved: u32) {
        let (stack, fuel) = (self.stack(), self.fuel());
        let take_fuel =
            [I::GlobalGet(fuel), I::I32Const(fuel_of(work)), I::I32Sub, I::GlobalSet(fuel), I::GlobalGet(fuel)];
        for instruction in &take_fuel {
            out.instruction(instruction);
        }
        if let Some(frame) = frame {
            for instruction in [
                I::GlobalGet(stack),
                I::LocalTee(saved),
                I::I32Const(frame),
                I::I32Sub,
                I::GlobalSet(stack),
                I::GlobalGet(stack),
                I::I32Or,
            ] {
                out.instruction(&instruction);
            }
        }
        self.check_if_negative(out);
        if self.frames == Frames::Native {
            // The check measured what is left below this function's frame: no more than what its caller has.
            out.instruction(&I::GlobalGet(stack)).instruction(&I::LocalSet(saved));
        }
        out.instruction(&I::End);
    }

    /// Calls the check if the value on top is below zero. What follows, up to an `end`, then happens, too.
    fn check_if_negative(&self, out: &mut Function) {
        out.instruction(&I::I32Const(0)).instruction(&I::I32LtS).instruction(&I::If(BlockType::Empty));
        out.instruction(&I::Call(self.check()));
    }

    /// Takes what `amount` computes off the function's credit, and fills that up from the fuel when it is used up.
    fn charge(&self, out: &mut Function, credit: u32, amount: &[I<'_>]) {
        let fuel = self.fuel();
        out.instruction(&I::LocalGet(credit));
        for instruction in amount {
            out.instruction(instruction);
        }
        for instruction in [
            I::I32Sub,
            I::LocalTee(credit),
            I::I32Const(0),
            I::I32LtS,
            I::If(BlockType::Empty),
            I::GlobalGet(fuel),
            I::LocalGet(credit),
            I::I32Add,
            I::I32Const(CREDIT),
            I::I32Sub,
            I::GlobalSet(fuel),
            I::I32Const(CREDIT),
            I::LocalSet(credit),
            I::GlobalGet(fuel),
        ] {
            out.instruction(&instruction);
        }
        self.check_if_negative(out);
        out.instruction(&I::End).instruction(&I::End);
    }

    /// The type of a block that yields a function's results.
    fn results(&mut self, function: u32, types: &mut TypeSection) -> Encoded<BlockType> {
        let results = self.function_type(function).results().to_vec();
        let results = self.val_types(results)?;
        Ok(match results[..] {
            [] => BlockType::Empty,
            [one] => BlockType::Result(one),
            _ => BlockType::FunctionType(*self.blocks.entry(results).or_insert_with_key(|results| {
                types.ty().function([], results.iter().copied());
                types.len() - 1
            })),
        })
    }
}

/// The fuel that a body of so many instructions takes. Of a long one, most are in branches that are not taken: the loop
/// of an interpreter has tens of thousands, runs some dozens of them each time round, and would reach the check every
/// other time.
fn fuel_of(work: u32) -> i32 {
    counted(work.min(PLAIN) + work.saturating_sub(PLAIN) / SPREAD)
}

fn counted(work: u32) -> i32 {
    i32::try_from(work).unwrap_or(i32::MAX)
}
