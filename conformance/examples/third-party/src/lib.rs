//! A backend that wharf does not ship: the [Wasmi](https://docs.rs/wasmi) interpreter.
//!
//! It shows how little a backend is, and what becomes of one that cannot do everything. Wasmi has, used as plainly as
//! here, no way to be interrupted: core meters its guests. It has no compiled code to store, and says so in its
//! [`BackendInfo`]: the suite reports the cases that need it as `unsupported`, after it has seen the backend refuse.
//!
//! `tests/conformance.rs` is the ten lines that run the suite.

#![forbid(unsafe_code)]

use std::sync::Arc;

use wasmi::{AsContext, AsContextMut, Engine, Extern, Func, Store, Val};
use wharf_core::meter::{self, Frames, Metered};
use wharf_core::{
    Backend, BackendInfo, Caller, Capability, Error, Imports, Instance, Kind, Module, Prepared, Result, Trap, TrapCode,
    TrustedCode, ValType,
};

/// How many calls of a guest may be open at a time.
const MAX_RECURSION: usize = 50_000;
/// What their values may take, in bytes.
const MAX_STACK: usize = 8 << 20;

/// The Wasmi interpreter.
pub struct Wasmi {
    engine: Engine,
    info: BackendInfo,
}

impl Wasmi {
    /// The interpreter.
    pub fn new() -> Self {
        let info = BackendInfo {
            name: "wasmi",
            engine_version: "2".to_owned(),
            code_key: String::new(),
            capabilities: vec![Capability::Interrupt],
        };
        let mut config = wasmi::Config::default();
        // Guests may recurse as deep as on an engine with a stack of 1 MiB.
        config.set_max_recursion_depth(MAX_RECURSION).set_max_stack_height(MAX_STACK);
        Wasmi { engine: Engine::new(&config), info }
    }
}

impl Default for Wasmi {
    fn default() -> Self {
        Wasmi::new()
    }
}

impl Backend for Wasmi {
    fn info(&self) -> &BackendInfo {
        &self.info
    }

    fn compile(&self, prepared: &Prepared) -> Result<Arc<dyn Module>> {
        // Wasmi bounds the stack.
        let module = wasmi::Module::new(&self.engine, meter::rewrite(prepared.wasm(), Frames::Engine)?);
        let module = Compiled(module.map_err(|error| engine_error("the module was refused", error))?);
        Ok(Arc::new(Metered::new(module, Frames::Engine)))
    }

    fn load(&self, _: &Prepared, _: TrustedCode<'_>) -> Result<Arc<dyn Module>> {
        Err(Error::new(Kind::Unsupported, "an interpreter has no compiled code to load"))
    }
}

struct Compiled(wasmi::Module);

impl Module for Compiled {
    fn serialize(&self) -> Result<Option<TrustedCode<'_>>> {
        Ok(None)
    }

    fn instantiate(&self, imports: Arc<Imports>) -> Result<Box<dyn Instance>> {
        let mut store = Store::new(self.0.engine(), State(None));
        let functions: Vec<Extern> = (0..imports.types().len())
            .map(|index| Extern::Func(host_function(&mut store, imports.clone(), index)))
            .collect();
        let instance =
            wasmi::Instance::new(&mut store, &self.0, &functions).map_err(|error| match error.as_trap_code() {
                Some(_) => Error::new(Kind::Trap, "an active segment is out of bounds").with_source(trap(&error)),
                None => engine_error("the module was not instantiated", error),
            })?;
        store.data_mut().0 = Some(instance);
        Ok(Box::new(Live(store)))
    }
}

/// What a store holds: its instance, once there is one.
struct State(Option<wasmi::Instance>);

struct Live(Store<State>);

/// The instance from within a host function.
struct Inside<'a>(wasmi::Caller<'a, State>);

fn host_function(store: &mut Store<State>, imports: Arc<Imports>, index: usize) -> Func {
    let ty = &imports.types()[index].ty;
    let ty = wasmi::FuncType::new(ty.params.iter().map(engine_type), ty.results.iter().map(engine_type));
    Func::new(store, ty, move |caller, params, results| {
        let mut slots: Vec<u64> = params.iter().map(slot).collect();
        slots.resize(params.len().max(results.len()), 0);
        imports.call(index, &mut Inside(caller), &mut slots).map_err(|_| wasmi::Error::host(Halted))?;
        set_all(results, &slots);
        Ok(())
    })
}

/// Carries [`wharf_core::Halt`] through the engine. Why is kept in the [`Imports`].
#[derive(Debug)]
struct Halted;

impl std::fmt::Display for Halted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a host function ended the guest")
    }
}

impl wasmi::errors::HostError for Halted {}

fn export(context: impl AsContext<Data = State>, name: &str) -> Option<Extern> {
    context.as_context().data().0?.get_export(&context, name)
}

fn memory<'a>(context: impl Into<wasmi::StoreContextMut<'a, State>>) -> Option<&'a mut [u8]> {
    let context = context.into();
    let memory = export(&context, "memory")?.into_memory()?;
    Some(memory.data_mut(context))
}

fn call(mut context: impl AsContextMut<Data = State>, name: &str, slots: &mut [u64]) -> Result<(), Trap> {
    let function = export(&context, name).and_then(Extern::into_func).ok_or_else(|| Trap::no_function(name))?;
    let ty = function.ty(&context);
    let params: Vec<Val> = ty.params().iter().zip(slots.iter()).map(|(ty, slot)| value(*ty, *slot)).collect();
    let mut results: Vec<Val> = ty.results().iter().map(|ty| value(*ty, 0)).collect();
    function.call(&mut context, &params, &mut results).map_err(|error| trap(&error))?;
    for (slot_out, result) in slots.iter_mut().zip(&results) {
        *slot_out = slot(result);
    }
    Ok(())
}

fn global(context: impl AsContext<Data = State>, name: &str) -> Option<u64> {
    Some(slot(&export(&context, name)?.into_global()?.get(&context)))
}

fn set_global(mut context: impl AsContextMut<Data = State>, name: &str, bits: u64) -> bool {
    let Some(global) = export(&context, name).and_then(Extern::into_global) else { return false };
    let ty = global.ty(&context).content();
    global.set(&mut context, value(ty, bits)).is_ok()
}

impl Caller for Live {
    fn memory(&mut self) -> Option<&mut [u8]> {
        memory(&mut self.0)
    }

    fn call(&mut self, export: &str, slots: &mut [u64]) -> Result<(), Trap> {
        call(&mut self.0, export, slots)
    }

    fn global(&mut self, export: &str) -> Option<u64> {
        global(&self.0, export)
    }

    fn set_global(&mut self, export: &str, value: u64) -> bool {
        set_global(&mut self.0, export, value)
    }
}

impl Caller for Inside<'_> {
    fn memory(&mut self) -> Option<&mut [u8]> {
        memory(&mut self.0)
    }

    fn call(&mut self, export: &str, slots: &mut [u64]) -> Result<(), Trap> {
        call(&mut self.0, export, slots)
    }

    fn global(&mut self, export: &str) -> Option<u64> {
        global(&self.0, export)
    }

    fn set_global(&mut self, export: &str, value: u64) -> bool {
        set_global(&mut self.0, export, value)
    }
}

impl Instance for Live {}

fn engine_type(ty: &ValType) -> wasmi::ValType {
    match ty {
        ValType::I32 => wasmi::ValType::I32,
        ValType::I64 => wasmi::ValType::I64,
        ValType::F32 => wasmi::ValType::F32,
        ValType::F64 => wasmi::ValType::F64,
    }
}

/// A slot as a value of a number type. Values of other types do not cross to a backend; they get their default.
fn value(ty: wasmi::ValType, slot: u64) -> Val {
    match ty {
        wasmi::ValType::I32 => Val::I32(slot as i32),
        wasmi::ValType::I64 => Val::I64(slot as i64),
        wasmi::ValType::F32 => Val::F32(wasmi::F32::from_bits(slot as u32)),
        wasmi::ValType::F64 => Val::F64(wasmi::F64::from_bits(slot)),
        other => Val::default_for_ty(other),
    }
}

fn slot(value: &Val) -> u64 {
    match value {
        Val::I32(value) => u64::from(*value as u32),
        Val::I64(value) => *value as u64,
        Val::F32(value) => u64::from(value.to_bits()),
        Val::F64(value) => value.to_bits(),
        _ => 0,
    }
}

fn set_all(results: &mut [Val], slots: &[u64]) {
    for (result, slot) in results.iter_mut().zip(slots) {
        *result = value(result.ty(), *slot);
    }
}

fn trap(error: &wasmi::Error) -> Trap {
    use wasmi::TrapCode as Theirs;
    let code = match error.as_trap_code() {
        Some(Theirs::UnreachableCodeReached) => TrapCode::Unreachable,
        Some(Theirs::MemoryOutOfBounds) => TrapCode::MemoryOutOfBounds,
        Some(Theirs::TableOutOfBounds) => TrapCode::TableOutOfBounds,
        Some(Theirs::IndirectCallToNull) => TrapCode::NullElement,
        Some(Theirs::BadSignature) => TrapCode::BadSignature,
        Some(Theirs::IntegerDivisionByZero) => TrapCode::DivisionByZero,
        Some(Theirs::IntegerOverflow) => TrapCode::IntegerOverflow,
        Some(Theirs::BadConversionToInteger) => TrapCode::BadConversion,
        Some(Theirs::StackOverflow) => TrapCode::StackOverflow,
        _ if error.downcast_ref::<Halted>().is_some() => TrapCode::Host,
        _ => TrapCode::Other,
    };
    Trap::new(code, error.to_string())
}

fn engine_error(what: &str, error: wasmi::Error) -> Error {
    Error::new(Kind::Engine, format!("{what} by Wasmi")).with_source(error)
}
