//! How a guest is stopped: its code looks at a flag where it could otherwise run on for long.
//!
//! The flag is a global that [`Checks`] adds to the module. Another thread sets it; the guest reads it on entry to
//! every function, at the head of every loop and before every bulk operation, and traps.
//!
//! Wasmer's own interrupt (feature `experimental-host-interrupt` of 7.3) is not used. Its `SIGUSR1` handler discards
//! whatever runs on the guest's stack, also the engine's own code around a host call with a lock it holds: a guest
//! that calls host functions in a loop and is interrupted then aborts the process. It also misses a guest that is
//! just being entered, and takes that signal away from the embedder.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use wasmer::sys::wasmparser::{BlockType, Operator};
use wasmer::sys::{FunctionMiddleware, MiddlewareError, MiddlewareReaderState, ModuleMiddleware};
use wasmer::{AsStoreMut, GlobalInit, GlobalType, LocalFunctionIndex, ModuleInfo, Mutability, Type};
use wharf_core::Interrupt;

/// The flag's value once an interruption was asked for.
const ASKED: u32 = 1;
/// The flag's value once the guest has seen it: what tells this trap from the guest's own `unreachable`.
const SEEN: u32 = 2;

/// Adds the flag and the checks while a module is compiled. One for each module.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    flag: OnceLock<u32>,
}

impl ModuleMiddleware for Checks {
    fn generate_function_middleware<'a>(&self, _: LocalFunctionIndex) -> Box<dyn FunctionMiddleware<'a> + 'a> {
        let flag = *self.flag.get().expect("the engine transforms a module before its functions");
        Box::new(FunctionChecks { flag, entered: false })
    }

    fn transform_module_info(&self, module: &mut ModuleInfo) -> Result<(), MiddlewareError> {
        let flag = module.globals.push(GlobalType::new(Type::I32, Mutability::Var));
        module.global_initializers.push(GlobalInit::I32Const(0));
        self.flag.set(flag.as_u32()).map_err(|_| MiddlewareError::new("checks", "one module for each engine"))
    }
}

#[derive(Debug)]
struct FunctionChecks {
    flag: u32,
    entered: bool,
}

impl<'a> FunctionMiddleware<'a> for FunctionChecks {
    fn feed(&mut self, op: Operator<'a>, state: &mut MiddlewareReaderState<'a>) -> Result<(), MiddlewareError> {
        use Operator as Op;
        // One bulk operation takes at most as long as the memory or table is large; a row of them has no such bound.
        let bulk = matches!(
            op,
            Op::MemoryCopy { .. }
                | Op::MemoryFill { .. }
                | Op::MemoryInit { .. }
                | Op::MemoryGrow { .. }
                | Op::TableCopy { .. }
                | Op::TableFill { .. }
                | Op::TableInit { .. }
                | Op::TableGrow { .. }
        );
        if bulk || !self.entered {
            self.check(state);
            self.entered = true;
        }
        let head = matches!(op, Op::Loop { .. });
        state.push_operator(op);
        if head {
            self.check(state);
        }
        Ok(())
    }
}

impl FunctionChecks {
    /// Traps if the flag is set.
    ///
    /// The compiler takes the guest's global for one that only the guest writes, so it would read it once before a
    /// loop. It may not where a path to the check passes a fence: hence the second look. That path is only taken
    /// by a guest that is about to end.
    fn check(&self, state: &mut MiddlewareReaderState<'_>) {
        use Operator as Op;
        let (global_index, blockty) = (self.flag, BlockType::Empty);
        state.extend(&[
            Op::GlobalGet { global_index },
            Op::If { blockty },
            Op::AtomicFence,
            Op::GlobalGet { global_index },
            Op::If { blockty },
            Op::I32Const { value: SEEN as i32 },
            Op::GlobalSet { global_index },
            Op::Unreachable,
            Op::End,
            Op::End,
        ]);
    }
}

/// One instance's flag, set from any thread.
#[derive(Debug, Default)]
pub(crate) struct Flag {
    asked: AtomicBool,
    /// The address of the guest's global while the instance lives.
    global: Mutex<Option<Global>>,
}

#[derive(Debug)]
struct Global(*mut u32);

// SAFETY: it is only read and written atomically, and only while the instance lives, which `Flag` keeps to.
unsafe impl Send for Global {}

impl Flag {
    /// Joins the flag to the one guest in `store`, compiled with [`Checks`].
    pub(crate) fn attach(&self, store: &mut impl AsStoreMut) {
        // The store has the globals of that guest's module, of which `Checks` added the last.
        let last = store.objects_mut().as_sys().iter_globals().last();
        *self.lock() = last.map(|global| Global(global.vmglobal().as_ptr().cast()));
    }

    /// Parts them, before the instance ends.
    pub(crate) fn detach(&self) {
        *self.lock() = None;
    }

    /// Whether an interruption was asked for.
    pub(crate) fn asked(&self) -> bool {
        self.asked.load(Ordering::Acquire)
    }

    /// Whether the guest has trapped on the flag.
    pub(crate) fn seen(&self) -> bool {
        self.with_global(|flag| flag.load(Ordering::Acquire) == SEEN).unwrap_or(false)
    }

    fn with_global<T>(&self, look: impl FnOnce(&AtomicU32) -> T) -> Option<T> {
        // SAFETY: the address is that of an aligned global of the instance, which ends after `detach`, for which the
        // lock is held here. The guest's own accesses are single aligned ones of 32 bits.
        self.lock().as_ref().map(|global| look(unsafe { AtomicU32::from_ptr(global.0) }))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Global>> {
        self.global.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Interrupt for Flag {
    fn interrupt(&self) {
        self.asked.store(true, Ordering::Release);
        self.with_global(|flag| flag.compare_exchange(0, ASKED, Ordering::AcqRel, Ordering::Relaxed).ok());
    }
}
