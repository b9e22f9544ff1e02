//! Runs a flattened module on an interpreter, with host functions given by a closure.

use wasmi::{Caller, Engine, Extern, Func, Linker, Module, Store, Val, ValType};
use wharf_component::{FlattenError, FlattenOptions, Flattened, START_EXPORT, flatten};

/// What host functions see: everything that was called so far.
pub(crate) type Log = Vec<String>;

type Handler = dyn Fn(&mut Caller<'_, Log>, &str, &[Val]) -> Vec<i64> + Send + Sync;

/// A running flattened module.
pub(crate) struct Run {
    store: Store<Log>,
    instance: wasmi::Instance,
}

/// Flattens a component in the text format.
pub(crate) fn flattened(text: &str) -> Flattened {
    let wasm = wat::parse_str(text).expect("the test's component is well formed");
    flatten(&wasm, &FlattenOptions::default()).expect("the component can be flattened")
}

/// What flattening says against a component in the text format.
pub(crate) fn refused(text: &str, options: &FlattenOptions) -> FlattenError {
    let wasm = wat::parse_str(text).expect("the test's component is well formed");
    flatten(&wasm, options).expect_err("the component cannot be flattened")
}

/// Instantiates, with host functions that return zeros, and runs `$start`.
pub(crate) fn start(flattened: &Flattened) -> Run {
    start_with(flattened, |_, _, _| Vec::new()).expect("`$start` does not trap")
}

/// Instantiates and runs `$start`. `handler` is given `module#name` of what is called, and returns the results; too few
/// are made up with zeros.
pub(crate) fn start_with(
    flattened: &Flattened,
    handler: impl Fn(&mut Caller<'_, Log>, &str, &[Val]) -> Vec<i64> + Send + Sync + 'static,
) -> Result<Run, wasmi::Error> {
    let handler: std::sync::Arc<Handler> = std::sync::Arc::new(handler);
    let engine = Engine::default();
    let module = Module::new(&engine, &flattened.wasm)?;
    let mut store = Store::new(&engine, Log::new());
    let mut linker = Linker::new(&engine);
    let mut defined = std::collections::HashSet::new();
    for import in module.imports() {
        let name = format!("{}#{}", import.module(), import.name());
        let ty = import.ty().func().expect("a flattened module imports functions only").clone();
        if !defined.insert(name.clone()) {
            continue;
        }
        let handler = handler.clone();
        let results = ty.results().to_vec();
        let function = Func::new(&mut store, ty, move |mut caller, params, out| {
            caller.data_mut().push(call(&name, params));
            let mut values = handler(&mut caller, &name, params).into_iter();
            for (slot, ty) in out.iter_mut().zip(&results) {
                *slot = value(*ty, values.next().unwrap_or(0));
            }
            Ok(())
        });
        linker.define(import.module(), import.name(), function).expect("each import is defined once");
    }
    let instance = linker.instantiate_and_start(&mut store, &module)?;
    let mut run = Run { store, instance };
    assert_eq!(flattened.plan.start, run.instance.get_func(&run.store, START_EXPORT).is_some());
    if flattened.plan.start {
        run.try_call(START_EXPORT, &[])?;
    }
    Ok(run)
}

fn value(ty: ValType, bits: i64) -> Val {
    match ty {
        ValType::I64 => Val::I64(bits),
        ValType::F32 => Val::F32(f32::from_bits(bits as u32).into()),
        ValType::F64 => Val::F64(f64::from_bits(bits as u64).into()),
        _ => Val::I32(bits as i32),
    }
}

fn call(name: &str, params: &[Val]) -> String {
    let params: Vec<String> = params.iter().map(|param| number(param).to_string()).collect();
    format!("{name}({})", params.join(","))
}

/// A parameter or result as a number.
pub(crate) fn number(value: &Val) -> i64 {
    match value {
        Val::I32(value) => i64::from(*value),
        Val::I64(value) => *value,
        Val::F32(value) => i64::from(value.to_bits()),
        Val::F64(value) => value.to_bits() as i64,
        _ => panic!("a reference crossed to the host"),
    }
}

impl Run {
    /// Calls an export that does not trap.
    pub(crate) fn call(&mut self, export: &str, params: &[i64]) -> Vec<i64> {
        self.try_call(export, params).unwrap_or_else(|error| panic!("`{export}` trapped: {error}"))
    }

    /// Calls an export.
    pub(crate) fn try_call(&mut self, export: &str, params: &[i64]) -> Result<Vec<i64>, wasmi::Error> {
        let function = self.instance.get_func(&self.store, export).unwrap_or_else(|| panic!("no export `{export}`"));
        let ty = function.ty(&self.store);
        let params: Vec<Val> = ty.params().iter().zip(params).map(|(ty, bits)| value(*ty, *bits)).collect();
        let mut results = vec![Val::I32(0); ty.results().len()];
        function.call(&mut self.store, &params, &mut results)?;
        Ok(results.iter().map(number).collect())
    }

    /// What host functions were called, in order.
    pub(crate) fn log(&self) -> &[String] {
        self.store.data()
    }

    /// Bytes of an exported memory.
    pub(crate) fn bytes(&self, memory: &str, at: usize, length: usize) -> Vec<u8> {
        let memory = self.instance.get_memory(&self.store, memory).unwrap_or_else(|| panic!("no memory `{memory}`"));
        memory.data(&self.store)[at..at + length].to_vec()
    }

    /// The value of an exported global.
    pub(crate) fn global(&self, name: &str) -> i64 {
        match self.instance.get_export(&self.store, name) {
            Some(Extern::Global(global)) => number(&global.get(&self.store)),
            _ => panic!("no global `{name}`"),
        }
    }
}
