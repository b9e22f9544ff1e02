//! Puts the segments of all instances into one module, and keeps their order relative to start functions.
//!
//! A component makes its core instances one by one: the segments of each are applied, then its start function runs. One
//! module applies all its active segments before any code. So the segments of instances that come after the first start
//! function are passive here, and the function `$start` applies them, in order, between the start functions.
//!
//! `$start` is an export that the host calls, not a start section: inside that, some engines show the host no memory.

use wasm_encoder::reencode::{Reencode, RoundtripReencoder};
use wasm_encoder::{ConstExpr, DataSection, ElementMode, ElementSection, ElementSegment, Elements, Function, RefType};
use wasmparser::{DataKind, ElementItems, ElementKind};

use crate::error::{Result, internal};
use crate::layout::Layout;
use crate::link::{Const, Linked, at};
use crate::naming::count;
use crate::shims::Shims;

/// The segments of the module, and the function that applies what comes late.
pub(crate) struct Segments {
    pub(crate) elements: ElementSection,
    pub(crate) data: DataSection,
    /// `None` if no module has a start function.
    pub(crate) start: Option<Function>,
}

impl Segments {
    pub(crate) fn new(linked: &Linked<'_>, shims: &Shims, layout: &Layout) -> Result<Self> {
        let mut writer = Writer {
            linked,
            shims,
            layout,
            segments: Segments { elements: ElementSection::new(), data: DataSection::new(), start: None },
        };
        for number in 0..linked.instances.len() {
            writer.elements(number)?;
            writer.data(number)?;
            if let Some(start) = linked.module(number)?.start.filter(|_| !shims.drops_instance(number)) {
                let function = at(&linked.instance(number)?.functions, start)?;
                let function = layout.function(shims.resolve(function))?;
                writer.segments.start.get_or_insert_with(|| Function::new([])).instructions().call(function);
            }
        }
        if let Some(start) = &mut writer.segments.start {
            start.instructions().end();
        }
        Ok(writer.segments)
    }
}

struct Writer<'a> {
    linked: &'a Linked<'a>,
    shims: &'a Shims,
    layout: &'a Layout,
    segments: Segments,
}

impl Writer<'_> {
    fn elements(&mut self, number: usize) -> Result<()> {
        for (element, index) in self.linked.module(number)?.elements.iter().zip(0..) {
            let (table, offset_expr) = match &element.kind {
                ElementKind::Passive => {
                    self.segments.elements.passive(self.items(number, &element.items)?);
                    continue;
                }
                ElementKind::Declared => {
                    self.segments.elements.declared(self.items(number, &element.items)?);
                    continue;
                }
                ElementKind::Active { table_index, offset_expr } => (table_index.unwrap_or(0), offset_expr),
            };
            let table = at(&self.linked.instance(number)?.tables, table)?;
            let Some(table) = self.layout.table(table)? else {
                // The table is gone. An applied segment is empty, and code may still name it.
                self.segments.elements.passive(Elements::Functions([].as_slice().into()));
                continue;
            };
            let items = self.items(number, &element.items)?;
            let offset = self.linked.fold_offset(number, offset_expr)?;
            let segment = self.layout.element(number, index)?;
            let length = length(&items)?;
            match &mut self.segments.start {
                None => {
                    let offset = ConstExpr::i32_const(offset);
                    let functions = matches!(items, Elements::Functions(_));
                    let table = if functions && table == 0 { None } else { Some(table) };
                    let mode = ElementMode::Active { table, offset: &offset };
                    self.segments.elements.segment(ElementSegment { mode, elements: items });
                }
                Some(start) => {
                    let mut code = start.instructions();
                    code.i32_const(offset).i32_const(0).i32_const(length).table_init(table, segment).elem_drop(segment);
                    self.segments.elements.passive(items);
                }
            }
        }
        Ok(())
    }

    /// The content of an element segment: as a list of functions where it can be one.
    fn items(&self, number: usize, items: &ElementItems<'_>) -> Result<Elements<'static>> {
        match items {
            ElementItems::Functions(indices) => {
                let mut functions = Vec::new();
                for index in indices.clone() {
                    let function = at(&self.linked.instance(number)?.functions, index?)?;
                    functions.push(self.layout.function(self.shims.resolve(function))?);
                }
                Ok(Elements::Functions(functions.into()))
            }
            ElementItems::Expressions(ty, exprs) => {
                let ty: RefType = RoundtripReencoder.ref_type(*ty).map_err(|error| internal(error.to_string()))?;
                let mut values = Vec::new();
                for expr in exprs.clone() {
                    let value: Const = self.linked.fold(number, &expr?)?;
                    values.push(self.layout.constant(value, self.shims)?);
                }
                Ok(Elements::Expressions(ty, values.into()))
            }
        }
    }

    fn data(&mut self, number: usize) -> Result<()> {
        for (data, index) in self.linked.module(number)?.data.iter().zip(0..) {
            let bytes = data.data.iter().copied();
            let DataKind::Active { memory_index, offset_expr } = &data.kind else {
                self.segments.data.passive(bytes);
                continue;
            };
            let memory = count(at(&self.linked.instance(number)?.memories, *memory_index)?)?;
            let offset = self.linked.fold_offset(number, offset_expr)?;
            let segment = self.layout.data(number, index)?;
            match &mut self.segments.start {
                None => {
                    self.segments.data.active(memory, &ConstExpr::i32_const(offset), bytes);
                }
                Some(start) => {
                    let length = count(data.data.len())?.cast_signed();
                    let mut code = start.instructions();
                    code.i32_const(offset)
                        .i32_const(0)
                        .i32_const(length)
                        .memory_init(memory, segment)
                        .data_drop(segment);
                    self.segments.data.passive(bytes);
                }
            }
        }
        Ok(())
    }
}

fn length(items: &Elements<'_>) -> Result<i32> {
    let length = match items {
        Elements::Functions(functions) => functions.len(),
        Elements::Expressions(_, values) => values.len(),
    };
    Ok(count(length)?.cast_signed())
}
