//! Names what a function of an adapter module does: a digest of it and of all that it reaches.
//!
//! wit-component takes out of an adapter what a guest does not use, numbers the rest anew, and has exported functions
//! allocate a stack first. The digest is the same before and after: an index counts as the place where it is first met, the
//! allocation of the stack is checked by itself, and the allocator of the main module is one function, whether it is
//! imported or stands there.

use sha2::{Digest, Sha256};
use wasm_encoder::reencode::{self, Reencode};
#[cfg(test)]
use wasmparser::{BinaryReader, Name};
use wasmparser::{BlockType, ExternalKind, FuncType, FunctionBody, Operator, ValType};

use crate::error::{Fault, Result, internal};
use crate::module::Module;

/// More than any adapter has, in bytes and of each kind: a larger module is none.
const MAX_SIZE: u64 = 128 << 10;
const MAX_FUNCTIONS: usize = 400;
const MAX_TYPES: usize = 100;
const MAX_GLOBALS: usize = 16;

/// What a function of the adapter calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Callee {
    /// A function of the host, by its interface without the version.
    Host { interface: String, function: String },
    /// A function of the main module.
    Main,
    /// Anything else.
    Other,
}

impl Callee {
    /// The function of an interface whose version is a release of WASI 0.2.
    pub(crate) fn host(interface: &str, function: &str) -> Self {
        match interface.split_once('@') {
            Some((interface, version)) if interface.starts_with("wasi:") && version.starts_with("0.2.") => {
                Callee::Host { interface: interface.to_owned(), function: function.to_owned() }
            }
            _ => Callee::Other,
        }
    }
}

/// Where the stack of an adapter comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stack {
    pointer: u32,
    /// Says how far the allocation is; early adapters have none.
    state: Option<u32>,
    /// The function of wit-component's that allocates it. None in an adapter as it is published.
    allocate: Option<u32>,
}

/// An adapter module whose functions can be named.
pub(crate) struct Fingerprints<'a> {
    module: &'a Module<'a>,
    callees: Vec<Callee>,
    stack: Option<Stack>,
}

impl<'a> Fingerprints<'a> {
    /// The functions of `module`, whose imported functions are `callees`. `None` if it has what no adapter has.
    pub(crate) fn new(module: &'a Module<'a>, callees: Vec<Callee>) -> Option<Self> {
        let own = module.memories.len() + module.elements.len() + module.data.len();
        let large = module.size > MAX_SIZE
            || module.functions.len() > MAX_FUNCTIONS
            || module.types.len() > MAX_TYPES
            || module.globals.len() > MAX_GLOBALS;
        let functions = module.exports.iter().all(|export| export.kind == ExternalKind::Func);
        if own > 0 || large || !functions || callees.len() != module.imported_functions as usize {
            return None;
        }
        let mut this = Fingerprints { module, callees, stack: None };
        let allocations = (0..module.functions.len() as u32).filter_map(|function| this.allocation(function));
        let mut allocations: Vec<Stack> = allocations.collect();
        if allocations.len() > 1 {
            return None;
        }
        this.stack = allocations.pop();
        // One that starts allocates its stack then, and does nothing else.
        let allocates = |start| this.stack.is_some_and(|stack| stack.allocate == Some(start));
        module.start.is_none_or(allocates).then_some(this)
    }

    /// The same of an adapter as it is published, to which wit-component is yet to give a stack.
    #[cfg(test)]
    pub(crate) fn published(module: &'a Module<'a>, callees: Vec<Callee>) -> Option<Self> {
        let this = Self::new(module, callees)?;
        Some(Fingerprints { stack: this.published_stack(), ..this })
    }

    /// The digest of an exported function. `None` if it is none of an adapter's, or runs without a stack.
    pub(crate) fn of(&self, function: u32) -> Result<Option<[u8; 32]>> {
        if let Some(Stack { allocate: Some(allocate), .. }) = self.stack
            && self.module.start.is_none()
            && self.prologue(function)? != Some(allocate)
        {
            return Ok(None);
        }
        let mut walk = Walk { of: self, met: Vec::new(), globals: Vec::new(), types: Vec::new(), strange: false };
        let mut digest = Sha256::new();
        walk.meet(function);
        let mut at = 0;
        while let Some(met) = walk.met.get(at).cloned() {
            at += 1;
            walk.function(&met, &mut digest)?;
            if walk.strange {
                return Ok(None);
            }
        }
        walk.rest(&mut digest)?;
        Ok((!walk.strange).then(|| digest.finalize().into()))
    }

    fn body(&self, function: u32) -> Option<&FunctionBody<'a>> {
        self.module.bodies.get(function.checked_sub(self.module.imported_functions)? as usize)
    }

    /// The function that is called first of all, without parameters.
    fn prologue(&self, function: u32) -> Result<Option<u32>> {
        let Some(body) = self.body(function) else { return Ok(None) };
        Ok(match body.get_operators_reader()?.read()? {
            Operator::Call { function_index } => Some(function_index),
            _ => None,
        })
    }

    /// Whether it is the allocator: the main module's, or what wit-component writes where that has none.
    fn allocates(&self, function: u32) -> bool {
        let Ok(ty) = self.module.function_type(function) else { return false };
        if ty.params() != [ValType::I32; 4] || ty.results() != [ValType::I32] {
            return false;
        }
        match self.callees.get(function as usize) {
            Some(callee) => *callee == Callee::Main,
            None => operators(self.body(function)).is_some_and(|operators| is_growth(&operators)),
        }
    }

    /// The stack, if the function is the one that allocates it.
    fn allocation(&self, function: u32) -> Option<Stack> {
        use Operator::{Call, End, GlobalGet, GlobalSet, I32Add, I32Const, I32Eq, If};
        let operators = operators(self.body(function))?;
        let (state, rest) = match operators.as_slice() {
            [
                GlobalGet { global_index: state },
                I32Const { value: 0 },
                I32Eq,
                If { blockty: BlockType::Empty },
                I32Const { value: 1 },
                GlobalSet { global_index: begun },
                rest @ ..,
                I32Const { value: 2 },
                GlobalSet { global_index: done },
                End,
                End,
            ] if state == begun && state == done => (Some(*state), rest),
            [rest @ .., End] => (None, rest),
            _ => return None,
        };
        match rest {
            [
                I32Const { value: 0 },
                I32Const { value: 0 },
                I32Const { value: 8 },
                I32Const { value: 65_536 },
                Call { function_index },
                I32Const { value: 65_536 },
                I32Add,
                GlobalSet { global_index: pointer },
            ] if self.allocates(*function_index) && state != Some(*pointer) => {
                Some(Stack { pointer: *pointer, state, allocate: Some(function) })
            }
            _ => None,
        }
    }

    /// The stack of an adapter as it is published, whose globals have names.
    #[cfg(test)]
    fn published_stack(&self) -> Option<Stack> {
        let (data, offset) = self.module.names?;
        let section = wasmparser::NameSectionReader::new(BinaryReader::new(data, offset));
        let (mut pointer, mut state) = (None, None);
        for names in section {
            let Ok(Name::Global(names)) = names else { continue };
            for naming in names.into_iter().filter_map(std::result::Result::ok) {
                match naming.name {
                    "__stack_pointer" => pointer = Some(naming.index),
                    "allocation_state" => state = Some(naming.index),
                    _ => {}
                }
            }
        }
        Some(Stack { pointer: pointer?, state, allocate: None })
    }
}

/// All operators of a function of few.
fn operators<'a>(body: Option<&FunctionBody<'a>>) -> Option<Vec<Operator<'a>>> {
    let body = body.filter(|body| body.range().len() < 100)?;
    body.get_operators_reader().ok()?.into_iter().collect::<std::result::Result<_, _>>().ok()
}

/// Whether it asserts that it is asked for one new page, and grows the memory by that.
fn is_growth(operators: &[Operator<'_>]) -> bool {
    use Operator::{End, I32Const, I32Eq, I32Ne, I32Shl, If, LocalGet, LocalTee, MemoryGrow, Unreachable};
    let empty = BlockType::Empty;
    let asserted = |value, local| {
        [I32Const { value }, LocalGet { local_index: local }, I32Ne, If { blockty: empty }, Unreachable, End]
    };
    let expected: Vec<Operator<'_>> = asserted(0, 0)
        .into_iter()
        .chain(asserted(0, 1))
        .chain(asserted(65_536, 3))
        .chain([
            I32Const { value: 1 },
            MemoryGrow { mem: 0 },
            LocalTee { local_index: 4 },
            I32Const { value: -1 },
            I32Eq,
            If { blockty: empty },
            Unreachable,
            End,
            LocalGet { local_index: 4 },
            I32Const { value: 16 },
            I32Shl,
            End,
        ])
        .collect();
    operators == expected
}

/// A function, as it is met on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Met {
    Allocator,
    Import(u32),
    Own(u32),
}

/// The way through all that a function reaches, in the order in which it is met.
struct Walk<'w, 'a> {
    of: &'w Fingerprints<'a>,
    met: Vec<Met>,
    globals: Vec<u32>,
    types: Vec<FuncType>,
    /// Whether something is met that no adapter has.
    strange: bool,
}

fn place<T: PartialEq>(list: &mut Vec<T>, item: T) -> u32 {
    let at = list.iter().position(|known| *known == item).unwrap_or_else(|| {
        list.push(item);
        list.len() - 1
    });
    u32::try_from(at).unwrap_or(u32::MAX)
}

fn signature(ty: &FuncType) -> String {
    let list = |types: &[ValType]| types.iter().map(ValType::to_string).collect::<Vec<_>>().join(" ");
    format!("{} -> {}", list(ty.params()), list(ty.results()))
}

fn put(digest: &mut Sha256, bytes: &[u8]) {
    digest.update((bytes.len() as u64).to_le_bytes());
    digest.update(bytes);
}

impl Walk<'_, '_> {
    fn meet(&mut self, function: u32) -> u32 {
        let met = if self.of.allocates(function) {
            Met::Allocator
        } else if (function as usize) < self.of.callees.len() {
            Met::Import(function)
        } else {
            Met::Own(function)
        };
        place(&mut self.met, met)
    }

    fn function(&mut self, met: &Met, digest: &mut Sha256) -> Result<()> {
        let function = match met {
            Met::Allocator => {
                put(digest, b"allocator");
                return Ok(());
            }
            Met::Import(function) | Met::Own(function) => *function,
        };
        put(digest, signature(self.of.module.function_type(function)?).as_bytes());
        if let Met::Import(import) = met {
            match self.of.callees.get(*import as usize) {
                Some(Callee::Host { interface, function }) => {
                    put(digest, interface.as_bytes());
                    put(digest, function.as_bytes());
                }
                // Its start, for a command.
                Some(Callee::Main) => put(digest, b"main"),
                _ => self.strange = true,
            }
            return Ok(());
        }
        let body = self.of.body(function).ok_or_else(|| internal("a function has no body"))?;
        let mut locals: Vec<(u32, ValType)> = Vec::new();
        for local in body.get_locals_reader()? {
            let (count, ty) = local?;
            match locals.last_mut() {
                Some((known, last)) if *last == ty => *known = known.saturating_add(count),
                _ => locals.push((count, ty)),
            }
        }
        locals.retain(|(count, _)| *count > 0);
        for (count, ty) in &locals {
            put(digest, format!("{count} {ty}").as_bytes());
        }
        let mut code = wasm_encoder::Function::new([]);
        let mut operators = body.get_operators_reader()?;
        let allocate = self.of.stack.and_then(|stack| stack.allocate);
        let mut first = true;
        while !operators.eof() {
            let operator = operators.read()?;
            let prologue =
                matches!(operator, Operator::Call { function_index } if first && Some(function_index) == allocate);
            first = false;
            if !prologue {
                code.instruction(&self.instruction(operator).map_err(fault)?);
            }
        }
        put(digest, &code.into_raw_body());
        Ok(())
    }

    /// What functions name by index beside each other.
    fn rest(&mut self, digest: &mut Sha256) -> Result<()> {
        for ty in &self.types {
            put(digest, signature(ty).as_bytes());
        }
        for global in &self.globals {
            let global = self.of.module.globals.get(*global as usize);
            let init = global.map(|global| global.init_expr.get_operators_reader().read()).transpose()?;
            match (global.map(|global| global.ty), init) {
                // All are: a stack, a pointer, a state.
                (Some(ty), Some(Operator::I32Const { value })) if ty.mutable && ty.content_type == ValType::I32 => {
                    put(digest, &value.to_le_bytes());
                }
                _ => self.strange = true,
            }
        }
        let at = |global: Option<u32>| self.globals.iter().position(|known| Some(*known) == global);
        let stack = self.of.stack;
        let places = (at(stack.map(|stack| stack.pointer)), at(stack.and_then(|stack| stack.state)));
        put(digest, format!("{places:?}").as_bytes());
        Ok(())
    }
}

type Reencoded<T> = std::result::Result<T, reencode::Error<Fault>>;

fn fault(error: reencode::Error<Fault>) -> Fault {
    match error {
        reencode::Error::UserError(fault) => fault,
        other => internal(format!("code cannot be written again: {other}")),
    }
}

impl Reencode for Walk<'_, '_> {
    type Error = Fault;

    fn function_index(&mut self, function: u32) -> Reencoded<u32> {
        Ok(self.meet(function))
    }

    fn global_index(&mut self, global: u32) -> Reencoded<u32> {
        Ok(place(&mut self.globals, global))
    }

    fn type_index(&mut self, ty: u32) -> Reencoded<u32> {
        let ty = self.of.module.types.get(ty as usize).cloned();
        let ty = ty.ok_or_else(|| reencode::Error::UserError(internal("a type is out of range")))?;
        Ok(place(&mut self.types, ty))
    }

    fn memory_index(&mut self, memory: u32) -> Reencoded<u32> {
        Ok(memory)
    }

    fn table_index(&mut self, table: u32) -> Reencoded<u32> {
        self.strange = true;
        Ok(table)
    }

    fn data_index(&mut self, data: u32) -> Reencoded<u32> {
        self.strange = true;
        Ok(data)
    }

    fn element_index(&mut self, element: u32) -> Reencoded<u32> {
        self.strange = true;
        Ok(element)
    }
}
