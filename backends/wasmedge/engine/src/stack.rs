//! The stack that compiled guests run on.

use std::mem::MaybeUninit;
use std::ptr;
use std::sync::{Mutex, PoisonError};

use corosensei::stack::DefaultStack;

use crate::error::Error;

/// Room for the signal handlers, of which WasmEdge's walks the stack.
const SIGNAL_STACK: usize = 64 << 10;

/// How many stacks that are not used wait for another guest. Few: the pages that a guest used of one stay in memory.
const KEPT: usize = 8;

static KEPT_STACKS: Mutex<Vec<Stack>> = Mutex::new(Vec::new());

/// A stack for compiled guests, and one for signal handlers meanwhile. Only the pages that were used take memory.
pub(crate) struct Stack {
    size: usize,
    stack: DefaultStack,
    signals: Box<[MaybeUninit<u8>]>,
}

impl Stack {
    /// A stack of `size` bytes: one that was given back, or a new one, which takes the system a while to make.
    pub(crate) fn take(size: usize) -> Result<Self, Error> {
        let mut kept = KEPT_STACKS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(fit) = kept.iter().rposition(|stack| stack.size == size) {
            return Ok(kept.swap_remove(fit));
        }
        drop(kept);
        let stack = DefaultStack::new(size).map_err(Error::system("cannot allocate a guest's stack"))?;
        Ok(Stack { size, stack, signals: Box::new_uninit_slice(SIGNAL_STACK) })
    }

    /// Keeps it for another guest, if few are kept.
    pub(crate) fn give_back(self) {
        let mut kept = KEPT_STACKS.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT {
            kept.push(self);
        }
    }

    /// Runs `f`, which enters a guest, on this stack.
    pub(crate) fn run<R>(&mut self, f: impl FnOnce() -> R) -> R {
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
