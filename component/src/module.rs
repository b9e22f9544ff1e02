//! A core module, taken apart.

use wasmparser::{
    ConstExpr, Data, Element, Export, FuncType, FunctionBody, Global, Import, MemoryType, Parser, Payload, Table,
    TypeRef,
};

use crate::error::{Result, internal};

/// A core module, taken apart. Index spaces begin with what is imported.
#[derive(Default)]
pub(crate) struct Module<'a> {
    /// The whole module, in bytes.
    pub(crate) size: u64,
    pub(crate) types: Vec<FuncType>,
    pub(crate) imports: Vec<Import<'a>>,
    pub(crate) exports: Vec<Export<'a>>,
    pub(crate) imported_functions: u32,
    /// The type of each function, imported ones included.
    pub(crate) functions: Vec<u32>,
    pub(crate) tables: Vec<Table<'a>>,
    pub(crate) memories: Vec<MemoryType>,
    pub(crate) globals: Vec<Global<'a>>,
    pub(crate) start: Option<u32>,
    pub(crate) elements: Vec<Element<'a>>,
    pub(crate) data: Vec<Data<'a>>,
    pub(crate) bodies: Vec<FunctionBody<'a>>,
    /// The content of the section that holds names, with its offset.
    pub(crate) names: Option<(&'a [u8], usize)>,
}

impl<'a> Module<'a> {
    /// Takes a module apart that has been validated.
    pub(crate) fn read(wasm: &'a [u8]) -> Result<Self> {
        let mut module = Module { size: wasm.len() as u64, ..Module::default() };
        for payload in Parser::new(0).parse_all(wasm) {
            match payload? {
                Payload::TypeSection(section) => {
                    for ty in section.into_iter_err_on_gc_types() {
                        module.types.push(ty?);
                    }
                }
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        let import = import?;
                        if let TypeRef::Func(ty) = import.ty {
                            module.functions.push(ty);
                            module.imported_functions += 1;
                        }
                        module.imports.push(import);
                    }
                }
                Payload::FunctionSection(section) => extend(&mut module.functions, section)?,
                Payload::TableSection(section) => extend(&mut module.tables, section)?,
                Payload::MemorySection(section) => extend(&mut module.memories, section)?,
                Payload::GlobalSection(section) => extend(&mut module.globals, section)?,
                Payload::ExportSection(section) => extend(&mut module.exports, section)?,
                Payload::StartSection { func, .. } => module.start = Some(func),
                Payload::ElementSection(section) => extend(&mut module.elements, section)?,
                Payload::DataSection(section) => extend(&mut module.data, section)?,
                Payload::CodeSectionEntry(body) => module.bodies.push(body),
                Payload::CustomSection(section) if section.name() == "name" => {
                    module.names = Some((section.data(), section.data_offset()));
                }
                _ => {}
            }
        }
        Ok(module)
    }

    /// The signature of a function of the index space.
    pub(crate) fn function_type(&self, function: u32) -> Result<&FuncType> {
        self.functions
            .get(function as usize)
            .and_then(|ty| self.types.get(*ty as usize))
            .ok_or_else(|| internal(format!("function {function} has no type")))
    }

    /// The initial value of a table's elements, where it is not null.
    pub(crate) fn table_init(table: &Table<'a>) -> Option<ConstExpr<'a>> {
        match &table.init {
            wasmparser::TableInit::RefNull => None,
            wasmparser::TableInit::Expr(expr) => Some(expr.clone()),
        }
    }
}

fn extend<'a, T: wasmparser::FromReader<'a>>(
    list: &mut Vec<T>,
    section: wasmparser::SectionLimited<'a, T>,
) -> Result<()> {
    for item in section {
        list.push(item?);
    }
    Ok(())
}
