//! What compiled guests need of the process: a stack of their own, and fault signals shared with other engines.
//!
//! # Signals
//! Compiled code finds an access outside of the memory by the fault it causes. WasmEdge installs its signal handlers when
//! the first thread of the process enters compiled code, without a look at whose handlers were there, and resets the
//! signals to their defaults when the last one leaves. With another engine in the process, that engine's next
//! fault would kill it. So [`share_signals`] lets one thread enter compiled code and stay there, which makes
//! WasmEdge's handlers final, and puts a handler over them that asks who runs: a WasmEdge guest's fault goes to WasmEdge,
//! any other to the handlers that were there before. (It also spares every call six system calls.)
//!
//! That first entry is also the first compilation, with which LLVM takes over a dozen more signals, among them the
//! `SIGILL` that other engines trap with and the `SIGINT` of the embedder. These are given back.

use std::cell::Cell;
use std::io;
use std::mem::MaybeUninit;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use corosensei::stack::{DefaultStack, Stack as _};
use libc::{c_int, c_void, siginfo_t};
use wharf_core::{Backend, Caller, Calls, Error, FuncType, Import, Imports, Kind, Result, Stop};

use crate::meter::{MAX_NATIVE_FRAME, NATIVE_SCALE};

/// What a guest's frames may take.
const GUEST: usize = 2 << 20;
/// What is left below them: for host functions, which run on the same stack, and for what the counted frames were short
/// of the real ones when the counter ran out.
const RESERVE: usize = (1 << 20) + (NATIVE_SCALE as usize - 1) * GUEST + MAX_NATIVE_FRAME as usize;
/// Room for the handlers, of which WasmEdge's walks the stack.
const SIGNAL_STACK: usize = 64 << 10;

/// A stack for compiled guests. Only the pages that are used take memory.
pub(crate) struct GuestStack {
    stack: DefaultStack,
    /// The lowest address that guest frames may reach.
    limit: usize,
    signals: Box<[MaybeUninit<u8>]>,
}

impl GuestStack {
    pub(crate) fn new() -> io::Result<Self> {
        let stack = DefaultStack::new(GUEST + RESERVE)?;
        let limit = stack.base().get() - GUEST;
        Ok(GuestStack { stack, limit, signals: Box::new_uninit_slice(SIGNAL_STACK) })
    }

    /// What guest frames may still take below the caller's; negative if they are too many. On this stack only.
    pub(crate) fn left(limit: usize) -> i32 {
        let here = 0u8;
        let here = (&raw const here).addr();
        i32::try_from(here.wrapping_sub(limit).cast_signed()).unwrap_or(i32::MIN)
    }

    /// The lowest address that guest frames may reach, for [`left`](Self::left).
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// Runs `f`, which enters a guest, on this stack.
    pub(crate) fn run<R>(&mut self, f: impl FnOnce() -> R) -> R {
        let _signals = SignalStack::set(&mut self.signals);
        corosensei::on_stack(&mut self.stack, f)
    }
}

/// The thread's stack for signal handlers, replaced while this lives.
struct SignalStack(libc::stack_t);

impl SignalStack {
    fn set(memory: &mut [MaybeUninit<u8>]) -> Self {
        let new = libc::stack_t { ss_sp: memory.as_mut_ptr().cast(), ss_flags: 0, ss_size: memory.len() };
        let mut old = libc::stack_t { ss_sp: std::ptr::null_mut(), ss_flags: libc::SS_DISABLE, ss_size: 0 };
        // SAFETY: `new` is memory that outlives the guard, and the thread is not in a handler.
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

thread_local! {
    /// Whether this thread runs compiled code, and not a host function called by it.
    static IN_GUEST: Cell<bool> = const { Cell::new(false) };
}

/// Runs `f` as guest code or as host code, for the signal handler to know.
pub(crate) fn as_guest<R>(guest: bool, f: impl FnOnce() -> R) -> R {
    let before = IN_GUEST.replace(guest);
    let result = f();
    IN_GUEST.set(before);
    result
}

/// The signals of WasmEdge's own handlers.
const SIGNALS: [c_int; 3] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE];
/// The further signals for which LLVM, once for the process, installs handlers that end it when it compiles at first.
const LLVM_SIGNALS: [c_int; 12] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGTERM,
    libc::SIGQUIT,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGILL,
    libc::SIGTRAP,
    libc::SIGABRT,
    libc::SIGSYS,
    libc::SIGXCPU,
    libc::SIGXFSZ,
];
static OTHERS: OnceLock<[libc::sigaction; 3]> = OnceLock::new();
static WASMEDGES: OnceLock<[libc::sigaction; 3]> = OnceLock::new();

/// Makes WasmEdge's fault handlers final and shares the signals with whoever had them. Once in a process.
pub(crate) fn share_signals(backend: &dyn Backend) -> Result<()> {
    static DONE: Mutex<bool> = Mutex::new(false);
    let mut done = DONE.lock().unwrap_or_else(PoisonError::into_inner);
    if *done {
        return Ok(());
    }
    OTHERS.get_or_init(|| SIGNALS.map(current));
    let before_llvm = LLVM_SIGNALS.map(current);
    stay_in_guest(backend)?;
    WASMEDGES.get_or_init(|| SIGNALS.map(current));
    for (signal, action) in LLVM_SIGNALS.iter().zip(&before_llvm) {
        install(*signal, action)?;
    }
    for signal in SIGNALS {
        // SAFETY: all zeroes is a valid action.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = handle as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        install(signal, &action)?;
    }
    *done = true;
    Ok(())
}

fn install(signal: c_int, action: &libc::sigaction) -> Result<()> {
    // SAFETY: the action was in force before, or is `handle`, which only does what a handler may.
    match unsafe { libc::sigaction(signal, &raw const *action, std::ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(failed().with_source(io::Error::last_os_error())),
    }
}

fn failed() -> Error {
    Error::new(Kind::Engine, "cannot prepare the process for code compiled by WasmEdge")
}

fn current(signal: c_int) -> libc::sigaction {
    // SAFETY: all zeroes is a valid action; the call overwrites it.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, std::ptr::null(), &raw mut action);
        action
    }
}

unsafe extern "C" fn handle(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let owner = if IN_GUEST.get() { WASMEDGES.get() } else { OTHERS.get() };
    let index = SIGNALS.iter().position(|known| *known == signal);
    let action = owner.zip(index).and_then(|(actions, index)| actions.get(index));
    match action {
        Some(action) if action.sa_sigaction == libc::SIG_IGN => {}
        Some(action) if action.sa_sigaction != libc::SIG_DFL => {
            // SAFETY: this was the handler of this signal; its flags tell its signature.
            unsafe {
                if action.sa_flags & libc::SA_SIGINFO != 0 {
                    let handler: unsafe extern "C" fn(c_int, *mut siginfo_t, *mut c_void) =
                        std::mem::transmute(action.sa_sigaction);
                    handler(signal, info, context);
                } else {
                    let handler: unsafe extern "C" fn(c_int) = std::mem::transmute(action.sa_sigaction);
                    handler(signal);
                }
            }
        }
        _ => {
            // Nobody's: the fault happens again on return, and then ends the process as it should.
            // SAFETY: all zeroes is the default action.
            unsafe {
                let default: libc::sigaction = std::mem::zeroed();
                libc::sigaction(signal, &raw const default, std::ptr::null_mut());
            }
        }
    }
}

/// A module that calls its only import.
fn calling_module() -> Vec<u8> {
    use wasm_encoder::*;
    let mut types = TypeSection::new();
    types.ty().function([], []);
    let mut imports = ImportSection::new();
    imports.import("", "", EntityType::Function(0));
    let mut functions = FunctionSection::new();
    functions.function(0);
    let mut exports = ExportSection::new();
    exports.export("run", ExportKind::Func, 1);
    let mut code = CodeSection::new();
    let mut body = Function::new([]);
    body.instruction(&Instruction::Call(0)).instruction(&Instruction::End);
    code.function(&body);
    let mut module = Module::new();
    module.section(&types).section(&imports).section(&functions).section(&exports).section(&code);
    module.finish()
}

/// A host function that says it was reached and never returns.
struct Stay(Mutex<mpsc::Sender<()>>);

impl Calls for Stay {
    fn call(&self, _index: usize, _caller: &mut dyn Caller, _slots: &mut [u64]) -> Result<(), Stop> {
        let _sent = self.0.lock().unwrap_or_else(PoisonError::into_inner).send(());
        loop {
            thread::park();
        }
    }
}

/// Starts a thread that enters compiled code for good; returns when it has.
fn stay_in_guest(backend: &dyn Backend) -> Result<()> {
    let (reached, wait) = mpsc::channel();
    let ty = FuncType { params: Vec::new(), results: Vec::new() };
    let import = Import { module: String::new(), name: String::new(), ty };
    let imports = Imports::new(Arc::from([import]), Stay(Mutex::new(reached)));
    let mut instance = backend.compile(&calling_module())?.instantiate(Arc::new(imports))?;
    thread::Builder::new()
        .name("wharf-wasmedge".to_owned())
        .stack_size(256 << 10)
        .spawn(move || instance.call("run", &mut []))
        .map_err(|error| failed().with_source(error))?;
    wait.recv_timeout(Duration::from_secs(60)).map_err(|error| failed().with_source(error))
}
