//! Resolves every import of every core instance to what defines it, so that nothing is left to look up.

use wasmparser::{ConstExpr, FuncType, HeapType, Operator};

use crate::blueprint::{Blueprint, Context, Def, Host, Item, ItemKind};
use crate::error::{FlattenError, Result, internal};
use crate::module::Module;
use crate::options::FlattenOptions;
use crate::plan::CONTEXT_SLOTS;

/// A function, wherever it is imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Func {
    /// The host's, by position in [`Blueprint::hosts`].
    Host(usize),
    /// The one of flattening's own that reads or writes a context.
    Context(Context),
    /// One with a body, by position among the bodies of its module.
    Defined { instance: usize, body: u32 },
}

/// The value of a constant expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Const {
    I32(i32),
    I64(i64),
    F32(u32),
    F64(u64),
    V128(i128),
    Null(HeapType),
    Func(Func),
}

/// A table, memory or global: the instance that defines it, and its position among those its module defines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    pub(crate) instance: usize,
    pub(crate) index: usize,
}

/// A global, wherever it is imported.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Global {
    /// One that a module defines, with its initial value.
    Defined(Origin, Const),
    /// The may-leave flag of a component instance, whose number is its position: made by flattening, initially 1.
    MayLeave,
    /// A slot of a task's context: made by flattening, initially 0. They come after the flags.
    Context,
    /// The flag that says whether the task that runs may wait: made by flattening, initially 0. It comes after the slots.
    MayBlock,
}

/// A core instance: its index spaces, each entry resolved.
#[derive(Debug, Default)]
pub(crate) struct Instance {
    pub(crate) module: usize,
    pub(crate) functions: Vec<Func>,
    /// Positions in [`Linked::tables`].
    pub(crate) tables: Vec<usize>,
    /// Positions in [`Linked::memories`].
    pub(crate) memories: Vec<usize>,
    /// Positions in [`Linked::globals`].
    pub(crate) globals: Vec<usize>,
}

/// All core instances, and everything they define.
pub(crate) struct Linked<'a> {
    pub(crate) modules: &'a [Module<'a>],
    pub(crate) instances: Vec<Instance>,
    pub(crate) tables: Vec<Origin>,
    pub(crate) memories: Vec<Origin>,
    pub(crate) globals: Vec<Global>,
    /// The first slot of context in [`Linked::globals`].
    context: usize,
}

impl<'a> Linked<'a> {
    /// Links the instances of `blueprint`, whose modules are `modules`.
    pub(crate) fn new(blueprint: &Blueprint, modules: &'a [Module<'a>], options: &FlattenOptions) -> Result<Self> {
        let flags = blueprint.component_instances as usize;
        let mut globals = vec![Global::MayLeave; flags];
        globals.resize(flags + CONTEXT_SLOTS as usize, Global::Context);
        globals.push(Global::MayBlock);
        let mut linked = Linked {
            modules,
            instances: Vec::new(),
            tables: Vec::new(),
            memories: Vec::new(),
            globals,
            context: flags,
        };
        let (mut found, limit) = (0_u64, options.max_module_bytes);
        for spec in &blueprint.instances {
            let module = modules.get(spec.module).ok_or_else(|| internal("an instance has no module"))?;
            found = found.saturating_add(module.size);
            if found > limit {
                return Err(FlattenError::Limit { what: "bytes of instantiated core modules", found, limit }.into());
            }
            linked.instantiate(spec.module, module, &spec.args)?;
        }
        Ok(linked)
    }

    fn instantiate(&mut self, index: usize, module: &Module<'_>, args: &[Def]) -> Result<()> {
        if args.len() != module.imports.len() {
            return Err(internal("a module is instantiated with the wrong number of arguments"));
        }
        let number = self.instances.len();
        let mut instance = Instance { module: index, ..Instance::default() };
        for arg in args {
            match *arg {
                Def::Host(host) => instance.functions.push(Func::Host(host)),
                Def::Context(context) => instance.functions.push(Func::Context(context)),
                Def::MayLeave(flag) => instance.globals.push(flag as usize),
                Def::MayBlock => instance.globals.push(self.may_block()),
                Def::Item(item) => match item.kind {
                    ItemKind::Function => instance.functions.push(self.function(item)?),
                    ItemKind::Table => instance.tables.push(self.item(item, |i| &i.tables)?),
                    ItemKind::Memory => instance.memories.push(self.item(item, |i| &i.memories)?),
                    ItemKind::Global => instance.globals.push(self.item(item, |i| &i.globals)?),
                },
            }
        }
        let bodies = u32::try_from(module.bodies.len()).map_err(|_| internal("too many functions"))?;
        instance.functions.extend((0..bodies).map(|body| Func::Defined { instance: number, body }));
        for index in 0..module.tables.len() {
            instance.tables.push(self.tables.len());
            self.tables.push(Origin { instance: number, index });
        }
        for index in 0..module.memories.len() {
            instance.memories.push(self.memories.len());
            self.memories.push(Origin { instance: number, index });
        }
        self.instances.push(instance);
        for (index, global) in module.globals.iter().enumerate() {
            let value = self.fold(number, &global.init_expr)?;
            let position = self.globals.len();
            self.globals.push(Global::Defined(Origin { instance: number, index }, value));
            self.instance_mut(number)?.globals.push(position);
        }
        Ok(())
    }

    /// The value of a constant expression of an instance. Whatever it may refer to is known: a module imports no
    /// global from the host, so everything folds.
    pub(crate) fn fold(&self, instance: usize, expr: &ConstExpr<'_>) -> Result<Const> {
        let spaces = self.instance(instance)?;
        let mut stack: Vec<Const> = Vec::new();
        let mut reader = expr.get_operators_reader();
        while !reader.is_end_then_eof() {
            let value = match reader.read()? {
                Operator::I32Const { value } => Const::I32(value),
                Operator::I64Const { value } => Const::I64(value),
                Operator::F32Const { value } => Const::F32(value.bits()),
                Operator::F64Const { value } => Const::F64(value.bits()),
                Operator::V128Const { value } => Const::V128(value.i128()),
                Operator::RefNull { hty } => Const::Null(hty),
                Operator::RefFunc { function_index } => Const::Func(at(&spaces.functions, function_index)?),
                Operator::GlobalGet { global_index } => match self.globals.get(at(&spaces.globals, global_index)?) {
                    Some(Global::Defined(_, value)) => *value,
                    _ => return Err(internal("a constant expression reads a global that is not constant")),
                },
                operator => {
                    let (right, left) = (stack.pop(), stack.pop());
                    match (operator, left, right) {
                        (Operator::I32Add, Some(Const::I32(a)), Some(Const::I32(b))) => Const::I32(a.wrapping_add(b)),
                        (Operator::I32Sub, Some(Const::I32(a)), Some(Const::I32(b))) => Const::I32(a.wrapping_sub(b)),
                        (Operator::I32Mul, Some(Const::I32(a)), Some(Const::I32(b))) => Const::I32(a.wrapping_mul(b)),
                        (Operator::I64Add, Some(Const::I64(a)), Some(Const::I64(b))) => Const::I64(a.wrapping_add(b)),
                        (Operator::I64Sub, Some(Const::I64(a)), Some(Const::I64(b))) => Const::I64(a.wrapping_sub(b)),
                        (Operator::I64Mul, Some(Const::I64(a)), Some(Const::I64(b))) => Const::I64(a.wrapping_mul(b)),
                        _ => return Err(internal("a constant expression has an operator that is not constant")),
                    }
                }
            };
            stack.push(value);
        }
        match stack.as_slice() {
            [value] => Ok(*value),
            _ => Err(internal("a constant expression does not have exactly one value")),
        }
    }

    /// The value of a constant expression that is an address in a memory or table.
    pub(crate) fn fold_offset(&self, instance: usize, expr: &ConstExpr<'_>) -> Result<i32> {
        match self.fold(instance, expr)? {
            Const::I32(offset) => Ok(offset),
            _ => Err(internal("a segment's offset is not an i32")),
        }
    }

    pub(crate) fn instance(&self, instance: usize) -> Result<&Instance> {
        self.instances.get(instance).ok_or_else(|| internal("a core instance is used before it is made"))
    }

    fn instance_mut(&mut self, instance: usize) -> Result<&mut Instance> {
        self.instances.get_mut(instance).ok_or_else(|| internal("a core instance is used before it is made"))
    }

    /// The module that an instance was made from.
    pub(crate) fn module(&self, instance: usize) -> Result<&'a Module<'a>> {
        self.modules.get(self.instance(instance)?.module).ok_or_else(|| internal("an instance has no module"))
    }

    /// The function that an item is.
    pub(crate) fn function(&self, item: Item) -> Result<Func> {
        self.item(item, |instance| &instance.functions)
    }

    /// The memory that an item is, by position in [`Linked::memories`].
    pub(crate) fn memory(&self, item: Item) -> Result<usize> {
        self.item(item, |instance| &instance.memories)
    }

    /// The function that a definition is.
    pub(crate) fn function_def(&self, def: Def) -> Result<Func> {
        match def {
            Def::Host(host) => Ok(Func::Host(host)),
            Def::Context(context) => Ok(Func::Context(context)),
            Def::Item(item) if item.kind == ItemKind::Function => self.function(item),
            _ => Err(internal("an item that should be a function is not one")),
        }
    }

    /// Whether a function has this signature; `hosts` are those of the blueprint.
    pub(crate) fn has_type(&self, hosts: &[Host], function: Func, ty: &FuncType) -> Result<bool> {
        match function {
            Func::Host(host) => {
                let host = hosts.get(host).ok_or_else(|| internal("a host function is out of range"))?;
                Ok(same(&host.params, ty.params()) && same(&host.results, ty.results()))
            }
            Func::Context(Context::Get(_)) => Ok(ty.params().is_empty() && ty.results() == [wasmparser::ValType::I32]),
            Func::Context(Context::Set(_)) => Ok(ty.params() == [wasmparser::ValType::I32] && ty.results().is_empty()),
            Func::Defined { instance, body } => {
                let module = self.module(instance)?;
                Ok(module.function_type(module.imported_functions + body)? == ty)
            }
        }
    }

    /// The global that holds a slot of context, by position in [`Linked::globals`].
    pub(crate) fn context(&self, slot: u32) -> usize {
        self.context + slot as usize
    }

    /// The global that says whether the task that runs may wait, by position in [`Linked::globals`].
    pub(crate) fn may_block(&self) -> usize {
        self.context(CONTEXT_SLOTS)
    }

    fn item<T: Copy>(&self, item: Item, space: impl Fn(&Instance) -> &Vec<T>) -> Result<T> {
        at(space(self.instance(item.instance)?), item.index)
    }
}

fn same(host: &[wasm_encoder::ValType], guest: &[wasmparser::ValType]) -> bool {
    host.len() == guest.len()
        && host
            .iter()
            .zip(guest)
            .all(|(host, guest)| wasm_encoder::ValType::try_from(*guest).is_ok_and(|ty| ty == *host))
}

/// The entry of an index space.
pub(crate) fn at<T: Copy>(space: &[T], index: u32) -> Result<T> {
    space.get(index as usize).copied().ok_or_else(|| internal(format!("index {index} is out of range")))
}
