//! Where the parts of the linked instances come to lie in the module that is written.

use std::collections::{BTreeSet, HashMap};

use wasm_encoder::reencode::{Reencode, RoundtripReencoder};
use wasm_encoder::{ConstExpr, Ieee32, Ieee64};

use crate::blueprint::Context;
use crate::error::{Result, internal};
use crate::link::{Const, Func, Linked};
use crate::naming::count;
use crate::shims::Shims;

/// Where everything comes to lie in the module.
pub(crate) struct Layout {
    functions: HashMap<Func, u32>,
    /// The functions that read and write contexts, after all others.
    pub(crate) contexts: Vec<Context>,
    /// How many functions there are, `$start` not counted.
    pub(crate) function_count: u32,
    /// By position in [`Linked::tables`]; `None` for what is taken out.
    pub(crate) tables: Vec<Option<u32>>,
    /// By position in [`Linked::globals`]; `None` for flags that nothing uses.
    pub(crate) globals: Vec<Option<u32>>,
    /// The first element and data segment of each instance.
    elements: Vec<u32>,
    data: Vec<u32>,
    /// The types of the module being written.
    pub(crate) types: Vec<u32>,
}

impl Layout {
    pub(crate) fn new(linked: &Linked<'_>, shims: &Shims, hosts: &[usize]) -> Result<Self> {
        let mut functions = HashMap::new();
        for (host, index) in hosts.iter().zip(0..) {
            functions.insert(Func::Host(*host), index);
        }
        let mut function_count = count(hosts.len())?;
        let (mut elements, mut data) = (Vec::new(), Vec::new());
        let (mut element_count, mut data_count) = (0, 0);
        let mut used = vec![false; linked.globals.len()];
        let mut contexts = BTreeSet::new();
        for (number, instance) in linked.instances.iter().enumerate() {
            let module = linked.module(number)?;
            for body in 0..count(module.bodies.len())? {
                let function = Func::Defined { instance: number, body };
                if !shims.drops_function(function) {
                    functions.insert(function, function_count);
                    function_count += 1;
                }
            }
            elements.push(element_count);
            data.push(data_count);
            element_count += count(module.elements.len())?;
            data_count += count(module.data.len())?;
            for function in instance.functions.iter().filter(|_| !shims.drops_instance(number)) {
                if let Func::Context(context @ (Context::Get(slot) | Context::Set(slot))) = shims.resolve(*function) {
                    contexts.insert(context);
                    if let Some(used) = used.get_mut(linked.context(slot)) {
                        *used = true;
                    }
                }
            }
            for global in instance.globals.iter().filter(|_| !shims.drops_instance(number)) {
                if let Some(used) = used.get_mut(*global) {
                    *used = true;
                }
            }
        }
        for context in &contexts {
            functions.insert(Func::Context(*context), function_count);
            function_count += 1;
        }
        let tables = (0..linked.tables.len()).map(|table| !shims.drops_table(table));
        Ok(Layout {
            functions,
            contexts: contexts.into_iter().collect(),
            function_count,
            tables: number(tables),
            globals: number(used.into_iter()),
            elements,
            data,
            types: Vec::new(),
        })
    }

    /// The index of a function that is not a shim.
    pub(crate) fn function(&self, function: Func) -> Result<u32> {
        self.functions.get(&function).copied().ok_or_else(|| internal("a function has no index in the module"))
    }

    pub(crate) fn table(&self, table: usize) -> Result<Option<u32>> {
        self.tables.get(table).copied().ok_or_else(|| internal("a table is out of range"))
    }

    pub(crate) fn global(&self, global: usize) -> Result<u32> {
        self.globals.get(global).copied().flatten().ok_or_else(|| internal("a global has no index in the module"))
    }

    /// The index of an element segment of an instance.
    pub(crate) fn element(&self, instance: usize, index: u32) -> Result<u32> {
        Ok(self.elements.get(instance).ok_or_else(|| internal("an instance has no segments"))? + index)
    }

    /// The index of a data segment of an instance.
    pub(crate) fn data(&self, instance: usize, index: u32) -> Result<u32> {
        Ok(self.data.get(instance).ok_or_else(|| internal("an instance has no segments"))? + index)
    }

    /// A constant as an expression.
    pub(crate) fn constant(&self, value: Const, shims: &Shims) -> Result<ConstExpr> {
        Ok(match value {
            Const::I32(value) => ConstExpr::i32_const(value),
            Const::I64(value) => ConstExpr::i64_const(value),
            Const::F32(bits) => ConstExpr::f32_const(Ieee32::new(bits)),
            Const::F64(bits) => ConstExpr::f64_const(Ieee64::new(bits)),
            Const::V128(value) => ConstExpr::v128_const(value),
            Const::Null(ty) => {
                ConstExpr::ref_null(RoundtripReencoder.heap_type(ty).map_err(|error| internal(error.to_string()))?)
            }
            Const::Func(function) => ConstExpr::ref_func(self.function(shims.resolve(function))?),
        })
    }
}

fn number(kept: impl Iterator<Item = bool>) -> Vec<Option<u32>> {
    let mut next = 0;
    let place = |kept: bool| {
        kept.then(|| {
            next += 1;
            next - 1
        })
    };
    kept.map(place).collect()
}
