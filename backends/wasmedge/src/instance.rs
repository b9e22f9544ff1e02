//! Instances, and the stack that compiled guests run on.

use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::sync::Arc;

use corosensei::stack::DefaultStack;
use wasmedge_sys::ffi;
use wharf_core::meter::NATIVE_STACK;
use wharf_core::{Caller, Error, Imports, Kind, Result, Trap, TrapCode};

use crate::backend::Loaded;
use crate::guest::{Guest, host_call, host_function};
use crate::raw::{self, Owned};

/// Room for the signal handlers, of which WasmEdge's walks the stack.
const SIGNAL_STACK: usize = 64 << 10;

/// An instance. Fields are dropped in this order: the guest, what it imports, what runs it, what it was made from.
pub(crate) struct Instance {
    guest: Guest,
    /// Of a compiled guest.
    stack: Option<GuestStack>,
    _module: Owned<ffi::WasmEdge_ModuleInstanceContext>,
    _import_module: Owned<ffi::WasmEdge_ModuleInstanceContext>,
    _hosts: Box<[Host]>,
    _store: Owned<ffi::WasmEdge_StoreContext>,
    _executor: Owned<ffi::WasmEdge_ExecutorContext>,
    _code: Arc<Loaded>,
}

// SAFETY: the instance is used by one thread at a time, and no engine object is bound to a thread.
unsafe impl Send for Instance {}

/// What the engine passes to a host function.
struct Host {
    imports: Arc<Imports>,
    index: usize,
}

impl Instance {
    pub(crate) fn new(code: &Arc<Loaded>, imports: &Arc<Imports>) -> Result<Self> {
        // The names are the meter's: the same module's for all.
        let module_name = imports.types().first().map_or("", |import| import.module.as_str());
        // SAFETY: creating objects; a null statistics context is allowed.
        let (executor, store, import_module) = unsafe {
            let executor = ffi::WasmEdge_ExecutorCreate(code.config(), std::ptr::null_mut());
            let import_module = ffi::WasmEdge_ModuleInstanceCreate(raw::name(module_name));
            (
                Owned::new(executor, ffi::WasmEdge_ExecutorDelete)?,
                Owned::new(ffi::WasmEdge_StoreCreate(), ffi::WasmEdge_StoreDelete)?,
                Owned::new(import_module, ffi::WasmEdge_ModuleInstanceDelete)?,
            )
        };
        let hosts = (0..imports.types().len()).map(|index| Host { imports: Arc::clone(imports), index });
        let hosts: Box<[Host]> = hosts.collect();
        for (host, import) in hosts.iter().zip(imports.types()) {
            let data = (&raw const *host).cast_mut().cast();
            // SAFETY: `host` is boxed and dropped after the module instance, which takes over the function.
            unsafe {
                let function = host_function(&import.ty, enter, std::ptr::null_mut(), data)?;
                ffi::WasmEdge_ModuleInstanceAddFunction(import_module.as_ptr(), raw::name(&import.name), function);
            }
        }
        let mut module = std::ptr::null_mut();
        // SAFETY: all objects are valid, and the imports outlive the module instance made here.
        let instantiated = unsafe {
            raw::check(ffi::WasmEdge_ExecutorRegisterImport(executor.as_ptr(), store.as_ptr(), import_module.as_ptr()))
                .and_then(|()| {
                    let (executor, store) = (executor.as_ptr(), store.as_ptr());
                    raw::check(ffi::WasmEdge_ExecutorInstantiate(executor, &raw mut module, store, code.module()))
                })
        };
        instantiated.map_err(|code| {
            let kind = match raw::trap(code).code {
                TrapCode::MemoryOutOfBounds | TrapCode::TableOutOfBounds => Kind::Trap,
                _ => Kind::Engine,
            };
            Error::new(kind, "the module cannot be instantiated").with_source(raw::trap(code))
        })?;
        // SAFETY: the instance keeps both alive.
        let (guest, module) = unsafe {
            let guest = Guest::new(executor.as_ptr(), module);
            (guest, Owned::new(module, ffi::WasmEdge_ModuleInstanceDelete)?)
        };
        Ok(Instance {
            guest,
            stack: if code.is_native() { Some(GuestStack::new()?) } else { None },
            _module: module,
            _import_module: import_module,
            _hosts: hosts,
            _store: store,
            _executor: executor,
            _code: Arc::clone(code),
        })
    }
}

/// Every imported function. Panics of the host stop in [`Imports::call`].
unsafe extern "C" fn enter(
    _this: *mut c_void,
    data: *mut c_void,
    frame: *const ffi::WasmEdge_CallingFrameContext,
    params: *const ffi::WasmEdge_Value,
    params_len: u32,
    results: *mut ffi::WasmEdge_Value,
    results_len: u32,
) -> ffi::WasmEdge_Result {
    // SAFETY: `data` is the function's `Host`, which lives as long as the instance that calls it.
    let host = unsafe { &*data.cast::<Host>() };
    // SAFETY: as the engine gave them.
    unsafe {
        host_call(frame, (params, params_len), (results, results_len), |guest, slots| {
            host.imports.call(host.index, guest, slots).map_err(|_| raw::HALT)
        })
    }
}

impl Caller for Instance {
    fn memory(&mut self) -> Option<&mut [u8]> {
        self.guest.memory()
    }

    fn call(&mut self, export: &str, slots: &mut [u64]) -> Result<(), Trap> {
        match &mut self.stack {
            Some(stack) => stack.run(|| self.guest.call(export, slots)),
            None => self.guest.call(export, slots),
        }
    }

    fn global(&mut self, export: &str) -> Option<u64> {
        self.guest.global(export)
    }

    fn set_global(&mut self, export: &str, value: u64) -> bool {
        self.guest.set_global(export, value)
    }
}

impl wharf_core::Instance for Instance {}

/// A stack for compiled guests, as large as the meter needs it, and one for signal handlers meanwhile. Only the pages
/// that are used take memory.
struct GuestStack {
    stack: DefaultStack,
    signals: Box<[MaybeUninit<u8>]>,
}

impl GuestStack {
    fn new() -> Result<Self> {
        let stack = DefaultStack::new(NATIVE_STACK)
            .map_err(|error| Error::new(Kind::Engine, "no memory for a guest's stack").with_source(error))?;
        Ok(GuestStack { stack, signals: Box::new_uninit_slice(SIGNAL_STACK) })
    }

    /// Runs `f`, which enters a guest, on this stack.
    fn run<R>(&mut self, f: impl FnOnce() -> R) -> R {
        let ss_sp = self.signals.as_mut_ptr().cast();
        let _before = SignalStack::set(libc::stack_t { ss_sp, ss_flags: 0, ss_size: SIGNAL_STACK });
        corosensei::on_stack(&mut self.stack, f)
    }
}

/// The stack for signal handlers that the thread had before; it is set again when this is dropped.
struct SignalStack(libc::stack_t);

impl SignalStack {
    fn set(new: libc::stack_t) -> Self {
        let mut old = libc::stack_t { ss_sp: std::ptr::null_mut(), ss_flags: libc::SS_DISABLE, ss_size: 0 };
        // SAFETY: `new` is memory that outlives this guard or its owner, and the thread is not in a handler.
        unsafe { libc::sigaltstack(&raw const new, &raw mut old) };
        SignalStack(old)
    }
}

impl Drop for SignalStack {
    fn drop(&mut self) {
        // SAFETY: the stack that the thread had before.
        unsafe { libc::sigaltstack(&raw const self.0, std::ptr::null_mut()) };
    }
}
