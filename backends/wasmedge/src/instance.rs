//! Instances, and the stack that compiled guests run on.

use std::mem::MaybeUninit;
use std::ptr;
use std::sync::Arc;

use corosensei::stack::DefaultStack;
use wasmedge_sdk::ImportObject;
use wasmedge_sys::ffi;
use wharf_core::meter::NATIVE_STACK;
use wharf_core::{Caller, Error, Imports, Kind, Result, Trap, TrapCode};

use crate::backend::Loaded;
use crate::guest::{Guest, Host, host_function};
use crate::raw::{self, Code, Owned};

/// Room for the signal handlers, of which WasmEdge's walks the stack.
const SIGNAL_STACK: usize = 64 << 10;

/// An instance. Fields are dropped in this order: the guest, what it imports, what runs it, what it was made from.
pub(crate) struct Instance {
    guest: Guest,
    /// Of a compiled guest.
    stack: Option<GuestStack>,
    _module: Owned<ffi::WasmEdge_ModuleInstanceContext>,
    /// With the indices that its functions pass on to `_imports`.
    _hosts: ImportObject<Box<[usize]>>,
    _imports: Arc<Imports>,
    _store: Owned<ffi::WasmEdge_StoreContext>,
    _executor: Owned<ffi::WasmEdge_ExecutorContext>,
    _code: Arc<Loaded>,
}

// SAFETY: the instance is used by one thread at a time, and no engine object is bound to a thread.
unsafe impl Send for Instance {}

impl Host<usize> for Imports {
    fn call(&self, index: &usize, guest: &mut Guest, slots: &mut [u64]) -> Result<(), Code> {
        self.call(*index, guest, slots).map_err(|_| raw::HALT)
    }
}

/// Makes what a guest imports. The names are the meter's: the same module's for all.
fn hosts(imports: &Arc<Imports>) -> Result<ImportObject<Box<[usize]>>> {
    let module = imports.types().first().map_or("", |import| import.module.as_str());
    let indices: Box<[usize]> = (0..imports.types().len()).collect();
    let mut object = ImportObject::create(module, Box::new(indices)).map_err(|error| {
        Error::new(Kind::Engine, "WasmEdge cannot make the imports of an instance").with_source(error)
    })?;
    for (index, import) in imports.types().iter().enumerate() {
        let data = ptr::from_ref(&object.get_host_data()[index]);
        // SAFETY: the instance keeps the imports longer than the object, which drops the indices after the functions.
        let function = unsafe { host_function(&import.ty, Arc::as_ptr(imports), data)? };
        object.add_func(&import.name, function);
    }
    Ok(object)
}

impl Instance {
    pub(crate) fn new(code: &Arc<Loaded>, imports: Arc<Imports>) -> Result<Self> {
        // SAFETY: creating objects; a null statistics context is allowed.
        let (executor, store) = unsafe {
            let executor = ffi::WasmEdge_ExecutorCreate(code.config(), ptr::null_mut());
            let executor = Owned::new(executor, ffi::WasmEdge_ExecutorDelete)?;
            (executor, Owned::new(ffi::WasmEdge_StoreCreate(), ffi::WasmEdge_StoreDelete)?)
        };
        let hosts = hosts(&imports)?;
        let mut module = ptr::null_mut();
        // SAFETY: all objects are valid, and the imports outlive the module instance made here.
        let instantiated = unsafe {
            let (executor, store) = (executor.as_ptr(), store.as_ptr());
            raw::check(ffi::WasmEdge_ExecutorRegisterImport(executor, store, hosts.as_raw())).and_then(|()| {
                raw::check(ffi::WasmEdge_ExecutorInstantiate(executor, &raw mut module, store, code.module()))
            })
        };
        instantiated.map_err(|code| {
            let trap = raw::trap(code);
            let in_bounds = !matches!(trap.code, TrapCode::MemoryOutOfBounds | TrapCode::TableOutOfBounds);
            let kind = if in_bounds { Kind::Engine } else { Kind::Trap };
            Error::new(kind, "the module cannot be instantiated").with_source(trap)
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
            _hosts: hosts,
            _imports: imports,
            _store: store,
            _executor: executor,
            _code: Arc::clone(code),
        })
    }
}

impl Caller for Instance {
    fn memory(&mut self) -> Option<&mut [u8]> {
        self.guest.memory()
    }

    fn memory_named(&mut self, export: &str) -> Option<&mut [u8]> {
        self.guest.memory_named(export)
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
        let mut old = libc::stack_t { ss_sp: ptr::null_mut(), ss_flags: libc::SS_DISABLE, ss_size: 0 };
        // SAFETY: `new` is memory that outlives this guard or its owner, and the thread is not in a handler.
        unsafe { libc::sigaltstack(&raw const new, &raw mut old) };
        SignalStack(old)
    }
}

impl Drop for SignalStack {
    fn drop(&mut self) {
        // SAFETY: the stack that the thread had before.
        unsafe { libc::sigaltstack(&raw const self.0, ptr::null_mut()) };
    }
}
