//! A running guest: its engine objects, the host functions it calls, and the calls into it.

use std::cell::{Cell, RefCell};
use std::ffi::c_void;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use wasmedge_sys::ffi;
use wharf_core::{Caller, Error, FuncType, Imports, Interrupt, Kind, Result, Trap};

use crate::backend::Loaded;
use crate::meter;
use crate::native::{GuestStack, as_guest};
use crate::raw::{self, Global, Guest, Name, Owned};

/// What an interpreted guest's frames may take, as [`meter`] counts them.
const INTERPRETER_STACK: i32 = 4 << 20;
/// The fuel between two checks: a few milliseconds of an interpreted guest, less of a compiled one.
const FUEL: i32 = 100_000;
/// How many calls into a guest there may be at a time, each from a host function that the one before called. They
/// nest on the caller's stack.
const MAX_NESTED: u32 = 64;

/// An instance. Everything in it is reached through a pointer that its host functions share.
pub(crate) struct Instance(Handle);

// SAFETY: the instance is used by one thread at a time, and no engine object is bound to a thread.
unsafe impl Send for Instance {}

/// The instance, as seen by its owner and, during a call, by its host functions.
#[derive(Clone, Copy)]
struct Handle(NonNull<State>);

/// Fields are dropped in this order: the guest, what it imports, what runs it, what it was made from.
struct State {
    guest: Guest,
    stack: Global,
    fuel: Global,
    _module: Owned<ffi::WasmEdge_ModuleInstanceContext>,
    _import_module: Owned<ffi::WasmEdge_ModuleInstanceContext>,
    hosts: Box<[Host]>,
    _store: Owned<ffi::WasmEdge_StoreContext>,
    _executor: Owned<ffi::WasmEdge_ExecutorContext>,
    _code: Arc<Loaded>,
    imports: Arc<Imports>,
    nested: Cell<u32>,
    interrupted: Arc<Interrupted>,
    /// Of a compiled guest.
    native: Option<Native>,
}

struct Native {
    limit: usize,
    stack: RefCell<GuestStack>,
}

/// What the engine passes to a host function.
struct Host {
    /// Set before the first call.
    state: Cell<*const State>,
    index: usize,
}

#[derive(Default)]
struct Interrupted(AtomicBool);

impl Interrupt for Interrupted {
    fn interrupt(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Interrupted {
    fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Instance {
    pub(crate) fn new(code: &Arc<Loaded>, imports: Arc<Imports>) -> Result<Self> {
        // SAFETY: creating objects; a null statistics context is allowed.
        let (executor, store, import_module) = unsafe {
            (
                Owned::new(ffi::WasmEdge_ExecutorCreate(code.config(), std::ptr::null_mut()))?,
                Owned::new(ffi::WasmEdge_StoreCreate())?,
                Owned::new(ffi::WasmEdge_ModuleInstanceCreate(*Name::new(meter::IMPORTS)))?,
            )
        };
        let count = imports.types().len();
        let hosts: Box<[Host]> = (0..=count).map(|index| Host { state: Cell::new(std::ptr::null()), index }).collect();
        for (host, import) in hosts.iter().zip(imports.types()) {
            add_function(&import_module, host, &import.ty, call_host)?;
        }
        add_function(&import_module, &hosts[count], &FuncType { params: Vec::new(), results: Vec::new() }, check)?;

        let mut module = std::ptr::null_mut();
        // SAFETY: all objects are valid, and the imports outlive the module instance made here.
        raw::check(unsafe {
            ffi::WasmEdge_ExecutorRegisterImport(executor.as_ptr(), store.as_ptr(), import_module.as_ptr())
        })
        .and_then(|()| {
            // SAFETY: as above.
            raw::check(unsafe {
                ffi::WasmEdge_ExecutorInstantiate(executor.as_ptr(), &raw mut module, store.as_ptr(), code.module())
            })
        })
        .map_err(not_instantiated)?;
        let module = Owned::new(module)?;
        // SAFETY: the state keeps both alive.
        let guest = unsafe { Guest::new(executor.as_ptr(), module.as_ptr()) };
        let (Some(stack), Some(fuel)) = (guest.global(meter::STACK), guest.global(meter::FUEL)) else {
            return Err(Error::new(Kind::Internal, "a module for WasmEdge was not rewritten"));
        };
        let native = if code.is_native() { Some(Native::new()?) } else { None };
        let state = NonNull::from(Box::leak(Box::new(State {
            guest,
            stack,
            fuel,
            _module: module,
            _import_module: import_module,
            hosts,
            _store: store,
            _executor: executor,
            _code: code.clone(),
            imports,
            nested: Cell::new(0),
            interrupted: Arc::default(),
            native,
        })));
        let instance = Instance(Handle(state));
        for host in &instance.0.state().hosts {
            host.state.set(state.as_ptr());
        }
        Ok(instance)
    }
}

impl Native {
    fn new() -> Result<Self> {
        let stack = GuestStack::new()
            .map_err(|error| Error::new(Kind::Engine, "no memory for a guest's stack").with_source(error))?;
        Ok(Native { limit: stack.limit(), stack: RefCell::new(stack) })
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        // SAFETY: made from a box in `new`; no call is running, and the host functions go with the state.
        drop(unsafe { Box::from_raw(self.0.0.as_ptr()) });
    }
}

fn not_instantiated(code: raw::Code) -> Error {
    let kind = match code {
        ffi::WasmEdge_ErrCode_DataSegDoesNotFit
        | ffi::WasmEdge_ErrCode_ElemSegDoesNotFit
        | ffi::WasmEdge_ErrCode_MemoryOutOfBounds
        | ffi::WasmEdge_ErrCode_TableOutOfBounds => Kind::Trap,
        _ => Kind::Engine,
    };
    Error::new(kind, format!("the module cannot be instantiated: {}", raw::message(code)))
}

/// The signature of a host function.
type Entry = unsafe extern "C" fn(
    *mut c_void,
    *mut c_void,
    *const ffi::WasmEdge_CallingFrameContext,
    *const ffi::WasmEdge_Value,
    u32,
    *mut ffi::WasmEdge_Value,
    u32,
) -> ffi::WasmEdge_Result;

fn add_function(
    module: &Owned<ffi::WasmEdge_ModuleInstanceContext>,
    host: &Host,
    ty: &FuncType,
    entry: Entry,
) -> Result<()> {
    let ty = raw::function_type(ty)?;
    let data = (&raw const *host).cast_mut().cast();
    // SAFETY: `host` is boxed and dropped after the module instance, which takes over the function.
    unsafe {
        let function =
            ffi::WasmEdge_FunctionInstanceCreateBinding(ty.as_ptr(), Some(entry), std::ptr::null_mut(), data, 0);
        if function.is_null() {
            return Err(Error::new(Kind::Engine, "WasmEdge could not make a host function"));
        }
        ffi::WasmEdge_ModuleInstanceAddFunction(module.as_ptr(), *Name::new(&host.index.to_string()), function);
    }
    Ok(())
}

/// Every imported function. Panics of the host stop in [`Imports::call`].
unsafe extern "C" fn call_host(
    _binding: *mut c_void,
    data: *mut c_void,
    _frame: *const ffi::WasmEdge_CallingFrameContext,
    params: *const ffi::WasmEdge_Value,
    params_len: u32,
    results: *mut ffi::WasmEdge_Value,
    results_len: u32,
) -> ffi::WasmEdge_Result {
    // SAFETY: `data` is the function's `Host`, which lives as long as the instance that calls it.
    let host = unsafe { &*data.cast::<Host>() };
    // SAFETY: set by `Instance::new`, which runs no guest code.
    let state = unsafe { &*host.state.get() };
    let outcome = raw::with_scratch(0u64, params_len.max(results_len) as usize, |slots| {
        // SAFETY: the engine passes as many values as it says.
        unsafe { raw::read_params(slots, params, params_len) };
        let mut caller = Handle(NonNull::from(state));
        as_guest(false, || state.imports.call(host.index, &mut caller, slots))?;
        // SAFETY: as above.
        unsafe { raw::write_results(slots, results, results_len) };
        Ok(())
    });
    let code = match outcome {
        Err(wharf_core::Halt) => raw::HALT,
        Ok(()) if state.interrupted.is_set() => raw::INTERRUPTED,
        Ok(()) => 0,
    };
    ffi::WasmEdge_Result { Code: code }
}

/// What a guest calls when one of its counters has run out: see [`meter`].
unsafe extern "C" fn check(
    _binding: *mut c_void,
    data: *mut c_void,
    _frame: *const ffi::WasmEdge_CallingFrameContext,
    _params: *const ffi::WasmEdge_Value,
    _params_len: u32,
    _results: *mut ffi::WasmEdge_Value,
    _results_len: u32,
) -> ffi::WasmEdge_Result {
    // SAFETY: as in `call_host`.
    let state = unsafe { &*(*data.cast::<Host>()).state.get() };
    let code = if state.interrupted.is_set() {
        raw::INTERRUPTED
    } else if state.left() < 0 {
        raw::STACK_OVERFLOW
    } else {
        state.set_left(state.left());
        state.fuel.set(FUEL as u64);
        0
    };
    ffi::WasmEdge_Result { Code: code }
}

impl State {
    /// What is left of the stack: measured, or counted where nothing can be measured.
    fn left(&self) -> i32 {
        match &self.native {
            Some(native) => GuestStack::left(native.limit),
            None => self.counted(),
        }
    }

    /// What is left of the stack by the guest's own count.
    fn counted(&self) -> i32 {
        self.stack.value().unwrap_or(0) as i32
    }

    fn set_left(&self, left: i32) {
        self.stack.set(u64::from(left.cast_unsigned()));
    }

    /// Calls an export, with its own frames below those that are there.
    fn call(&self, export: &str, slots: &mut [u64]) -> Result<(), raw::Code> {
        if self.interrupted.is_set() {
            return Err(raw::INTERRUPTED);
        }
        let nested = self.nested.get();
        if nested >= MAX_NESTED {
            return Err(raw::STACK_OVERFLOW);
        }
        self.nested.set(nested + 1);
        // After a trap the count is wrong, and the host function may let its caller run on.
        let before = self.counted();
        let result = match &self.native {
            Some(native) if nested == 0 => native.stack.borrow_mut().run(|| self.enter(native, export, slots)),
            Some(native) => self.enter(native, export, slots),
            None => {
                if nested == 0 {
                    self.set_left(INTERPRETER_STACK);
                }
                self.guest.call(export, slots)
            }
        };
        self.set_left(before);
        self.nested.set(nested);
        result
    }

    /// Calls an export of a compiled guest, on its stack.
    fn enter(&self, native: &Native, export: &str, slots: &mut [u64]) -> Result<(), raw::Code> {
        let left = GuestStack::left(native.limit);
        if left < 0 {
            return Err(raw::STACK_OVERFLOW);
        }
        self.set_left(left);
        as_guest(true, || self.guest.call(export, slots))
    }
}

impl Handle {
    fn state(&self) -> &State {
        // SAFETY: the instance lives as long as any handle is used, and only shared references to its state are made.
        unsafe { self.0.as_ref() }
    }
}

impl Caller for Handle {
    fn memory(&mut self) -> Option<&mut [u8]> {
        // SAFETY: the guest does not run while its caller is borrowed, and core holds one slice at a time.
        unsafe { self.state().guest.memory() }
    }

    fn call(&mut self, export: &str, slots: &mut [u64]) -> Result<(), Trap> {
        self.state().call(export, slots).map_err(raw::trap)
    }

    fn global(&mut self, export: &str) -> Option<u64> {
        self.state().guest.global(export)?.value()
    }

    fn set_global(&mut self, export: &str, value: u64) -> bool {
        self.state().guest.global(export).is_some_and(|global| global.set(value))
    }
}

impl Caller for Instance {
    fn memory(&mut self) -> Option<&mut [u8]> {
        self.0.memory()
    }

    fn call(&mut self, export: &str, slots: &mut [u64]) -> Result<(), Trap> {
        self.0.call(export, slots)
    }

    fn global(&mut self, export: &str) -> Option<u64> {
        self.0.global(export)
    }

    fn set_global(&mut self, export: &str, value: u64) -> bool {
        self.0.set_global(export, value)
    }
}

impl wharf_core::Instance for Instance {
    fn interrupt(&self) -> Arc<dyn Interrupt> {
        self.0.state().interrupted.clone()
    }
}
