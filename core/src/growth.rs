//! Growing memories and tables: charged to the instance's [`Budget`] on every engine.
//!
//! A maximum in a module is for one memory and stands when the module is compiled; what a guest has is in all its
//! memories and tables together, and in what the host keeps for it meanwhile. So [`guard`] puts a question before each
//! `memory.grow` and `table.grow`: they become calls of functions that ask the host, by one more import, and answer -1
//! where it says no.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Mutex, PoisonError};

use wasm_encoder::reencode::{Error as Reencoding, Reencode, utils};
use wasm_encoder::{
    BlockType, CodeSection, EntityType, Function, FunctionSection, ImportSection, Instruction as I, Module, SectionId,
    TypeSection, ValType,
};
use wasmparser::{CustomSectionReader, KnownCustom, Operator, Parser, Payload, TypeRef};

use crate::budget::{Budget, Charge, Exceeded};
use crate::types::Import;
use crate::types::RESERVED;
use crate::types::{FuncType, ValType as Slot};

/// The import by which a guarded module asks.
const GUARD: &str = "grow";

/// What a page of memory takes.
pub(crate) const PAGE: u64 = 65_536;

/// What an element of a table takes, on the engine on which it takes most.
const ELEMENT: u64 = 16;

/// The import that [`guard`] adds: of which memory or table, how large it is, and by how much it is to grow; whether it
/// may.
pub(crate) fn import() -> Import {
    let ty = FuncType { params: vec![Slot::I32; 3], results: vec![Slot::I32] };
    Import { module: RESERVED.to_owned(), name: GUARD.to_owned(), ty }
}

/// A memory or a table, as a module declares it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Space {
    initial: u64,
    maximum: u64,
    /// What each page or element takes.
    unit: u64,
}

impl Space {
    pub(crate) fn memory(initial: u64, maximum: u64) -> Self {
        Space { initial, maximum, unit: PAGE }
    }

    pub(crate) fn table(initial: u64, maximum: u64) -> Self {
        Space { initial, maximum, unit: ELEMENT }
    }

    /// What it takes from the start.
    pub(crate) fn initial(&self) -> u64 {
        self.initial.saturating_mul(self.unit)
    }
}

/// What the memories and tables of one instance take, memories first.
#[derive(Default)]
pub(crate) struct Growth(Mutex<Vec<(Space, Charge)>>);

impl Growth {
    /// Charges what an instance takes from the start.
    pub(crate) fn new(spaces: &[Space], budget: &Budget) -> Result<Self, Exceeded> {
        let spaces = spaces.iter().map(|space| Ok((*space, budget.charge(space.initial())?)));
        spaces.collect::<Result<_, _>>().map(|spaces| Growth(Mutex::new(spaces)))
    }

    /// Answers the guard's question.
    ///
    /// What is charged follows from the size that the guest found, so that a growth that the engine then refuses is made
    /// up for by the next.
    pub(crate) fn ask(&self, slots: &mut [u64]) {
        let slot = |at: usize| u64::from(slots.get(at).copied().unwrap_or_default() as u32);
        let (index, wanted) = (slot(0) as usize, slot(1) + slot(2));
        let mut spaces = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let may = match spaces.get_mut(index) {
            Some((space, charge)) => wanted <= space.maximum && charge.resize(wanted * space.unit).is_ok(),
            // Nothing is charged, and the module's own maximum holds.
            None => true,
        };
        if let Some(slot) = slots.first_mut() {
            *slot = u64::from(may);
        }
    }
}

/// Puts the guard into `wasm`, a valid module without a start section; `None` if nothing in it ever grows.
pub(crate) fn guard(wasm: &[u8]) -> Result<Option<Vec<u8>>, Reencoding> {
    let Some(mut guarding) = Guarding::read(wasm)? else { return Ok(None) };
    let mut module = Module::new();
    guarding.parse_core_module(&mut module, Parser::new(0), wasm)?;
    Ok(Some(module.finish()))
}

/// A memory or a table that grows somewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Grown {
    Memory(u32),
    Table(u32),
}

/// Rewrites a module.
#[derive(Default)]
struct Guarding {
    /// How many functions it imports: the guard's index.
    imports: u32,
    /// How many functions it has, imports included.
    functions: u32,
    memories: u32,
    /// What each table holds.
    tables: Vec<wasmparser::RefType>,
    /// What grows, and the function by which it does, counted from the first that is added.
    grown: BTreeMap<Grown, u32>,
    /// The first type that is added: the guard's. One for each of `grown` follows.
    first_type: u32,
    guard_imported: bool,
}

impl Guarding {
    /// Looks for what grows; `None` if nothing does.
    fn read(wasm: &[u8]) -> Result<Option<Self>, Reencoding> {
        let mut read = Guarding::default();
        for payload in Parser::new(0).parse_all(wasm) {
            match payload? {
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        read.imports += u32::from(matches!(import?.ty, TypeRef::Func(_)));
                    }
                }
                Payload::FunctionSection(section) => read.functions = section.count(),
                Payload::MemorySection(section) => read.memories = section.count(),
                Payload::TableSection(section) => {
                    for table in section {
                        read.tables.push(table?.ty.element_type);
                    }
                }
                Payload::CodeSectionEntry(body) => {
                    for operator in body.get_operators_reader()? {
                        let grown = match operator? {
                            Operator::MemoryGrow { mem } => Grown::Memory(mem),
                            Operator::TableGrow { table } => Grown::Table(table),
                            _ => continue,
                        };
                        read.grown.insert(grown, 0);
                    }
                }
                _ => {}
            }
        }
        read.functions += read.imports;
        for (at, function) in (0..).zip(read.grown.values_mut()) {
            *function = at;
        }
        Ok((!read.grown.is_empty()).then_some(read))
    }

    /// What the guard calls a memory or a table.
    fn space(&self, grown: Grown) -> u32 {
        match grown {
            Grown::Memory(index) => index,
            Grown::Table(index) => self.memories + index,
        }
    }

    /// The function by which something grows.
    fn call(&self, grown: Grown) -> I<'static> {
        // The guard comes before all functions that are the module's own.
        I::Call(self.functions + 1 + self.grown.get(&grown).copied().unwrap_or_default())
    }

    /// That function.
    fn body(&self, grown: Grown) -> Function {
        let (delta, grow): (u32, &[I<'_>]) = match grown {
            Grown::Memory(index) => (0, &[I::LocalGet(0), I::MemoryGrow(index)]),
            Grown::Table(index) => (1, &[I::LocalGet(0), I::LocalGet(1), I::TableGrow(index)]),
        };
        let size = match grown {
            Grown::Memory(index) => I::MemorySize(index),
            Grown::Table(index) => I::TableSize(index),
        };
        let mut body = Function::new([]);
        let space = self.space(grown).cast_signed();
        body.instruction(&I::I32Const(space)).instruction(&size).instruction(&I::LocalGet(delta));
        body.instruction(&I::Call(self.imports)).instruction(&I::If(BlockType::Result(ValType::I32)));
        for instruction in grow {
            body.instruction(instruction);
        }
        body.instruction(&I::Else).instruction(&I::I32Const(-1)).instruction(&I::End).instruction(&I::End);
        body
    }

    fn import_guard(&mut self, imports: &mut ImportSection) {
        imports.import(RESERVED, GUARD, EntityType::Function(self.first_type));
        self.guard_imported = true;
    }
}

impl Reencode for Guarding {
    type Error = Infallible;

    fn function_index(&mut self, function: u32) -> Result<u32, Reencoding> {
        Ok(function + u32::from(function >= self.imports))
    }

    fn parse_type_section(
        &mut self,
        types: &mut TypeSection,
        section: wasmparser::TypeSectionReader<'_>,
    ) -> Result<(), Reencoding> {
        utils::parse_type_section(self, types, section)?;
        self.first_type = types.len();
        types.ty().function([ValType::I32; 3], [ValType::I32]);
        for grown in self.grown.clone().into_keys() {
            let element = match grown {
                Grown::Memory(_) => None,
                Grown::Table(index) => self.tables.get(index as usize).copied(),
            };
            let element = element.map(|ty| self.ref_type(ty)).transpose()?.map(ValType::Ref);
            let params: Vec<ValType> = element.into_iter().chain([ValType::I32]).collect();
            types.ty().function(params, [ValType::I32]);
        }
        Ok(())
    }

    fn parse_import_section(
        &mut self,
        imports: &mut ImportSection,
        section: wasmparser::ImportSectionReader<'_>,
    ) -> Result<(), Reencoding> {
        utils::parse_import_section(self, imports, section)?;
        self.import_guard(imports);
        Ok(())
    }

    /// A module that imports nothing has no section for it.
    fn intersperse_section_hook(
        &mut self,
        module: &mut Module,
        after: Option<SectionId>,
        before: Option<SectionId>,
    ) -> Result<(), Reencoding> {
        if after == Some(SectionId::Type) && before != Some(SectionId::Import) && !self.guard_imported {
            let mut imports = ImportSection::new();
            self.import_guard(&mut imports);
            module.section(&imports);
        }
        Ok(())
    }

    fn parse_function_section(
        &mut self,
        functions: &mut FunctionSection,
        section: wasmparser::FunctionSectionReader<'_>,
    ) -> Result<(), Reencoding> {
        utils::parse_function_section(self, functions, section)?;
        for function in self.grown.values() {
            functions.function(self.first_type + 1 + function);
        }
        Ok(())
    }

    fn parse_code_section(
        &mut self,
        code: &mut CodeSection,
        section: wasmparser::CodeSectionReader<'_>,
    ) -> Result<(), Reencoding> {
        utils::parse_code_section(self, code, section)?;
        for grown in self.grown.keys() {
            code.function(&self.body(*grown));
        }
        Ok(())
    }

    fn instruction<'a>(&mut self, operator: Operator<'a>) -> Result<I<'a>, Reencoding> {
        match operator {
            Operator::MemoryGrow { mem } => Ok(self.call(Grown::Memory(mem))),
            Operator::TableGrow { table } => Ok(self.call(Grown::Table(table))),
            operator => utils::instruction(self, operator),
        }
    }

    /// A custom section may hold anything: names that cannot be read are left out, and so is what tells where in the code
    /// something stood.
    fn parse_custom_section(
        &mut self,
        module: &mut Module,
        section: CustomSectionReader<'_>,
    ) -> Result<(), Reencoding> {
        if let KnownCustom::Name(names) = section.as_known() {
            if let Ok(names) = self.custom_name_section(names) {
                module.section(&names);
            }
        } else if !section.name().starts_with(".debug_") {
            module.section(&utils::custom_section(self, section));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_charged_by_what_there_is_then() {
        let budget = Budget::new(10 * PAGE);
        let spaces = [Space::memory(1, 20), Space::memory(2, 3), Space::table(4, 100)];
        let growth = Growth::new(&spaces, &budget).unwrap();
        let ask = |index: u64, size: u64, delta: u64| {
            let mut slots = [index, size, delta];
            growth.ask(&mut slots);
            slots[0] == 1
        };
        assert_eq!(budget.used(), 3 * PAGE + 64);
        assert!(!ask(0, 1, 8), "more than is left");
        assert!(!ask(1, 2, 2), "more than the module allows itself");
        assert!(!ask(0, 1, u64::from(u32::MAX)));
        assert!(ask(0, 1, 6));
        assert!(!ask(1, 2, 1), "the first memory has it");
        // The engine refused that growth: the next question finds the old size.
        assert!(ask(0, 1, 1) && ask(1, 2, 1));
        assert!(ask(2, 4, 1));
        assert_eq!(budget.used(), 5 * PAGE + 80);
        drop(growth);
        assert_eq!(budget.used(), 0);
        assert!(Growth::new(&[Space::memory(11, 11)], &budget).is_err());
    }

    #[test]
    fn a_guarded_module_is_valid_and_asks() {
        let texts = [
            "(module (memory 1) (func (export \"f\") (result i32) (memory.grow (i32.const 1))))",
            "(module (import \"a\" \"b\" (func $b (param i64))) (memory 1) (memory 2) (table $t 1 externref)
                (table $u 1 funcref) (global funcref (ref.func $f)) (elem (table $u) (i32.const 0) func $f $b)
                (func $f (export \"f\") (param externref) (result i32)
                    (call $b (i64.const 1)) (drop (memory.grow 1 (i32.const 1)))
                    (drop (table.grow $u (ref.func $f) (i32.const 1)))
                    (table.grow $t (local.get 0) (i32.const 1)))
                (@custom \"name\" \"junk\") (@custom \".debug_info\" \"x\") (@custom \"kept\" \"x\"))",
        ];
        for text in texts {
            let wasm = wat::parse_str(text).unwrap();
            let guarded = guard(&wasm).unwrap().unwrap();
            wasmparser::Validator::new_with_features(crate::types::ADMITTED).validate_all(&guarded).unwrap();
            let again = Guarding::read(&guarded).unwrap().unwrap();
            assert_eq!(again.grown.len(), Guarding::read(&wasm).unwrap().unwrap().grown.len());
        }
        assert!(guard(&wat::parse_str("(module (memory 1))").unwrap()).unwrap().is_none());
    }
}
