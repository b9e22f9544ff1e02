//! Fault signals, shared with other engines.
//!
//! Compiled code finds an access outside of the memory by the fault it causes. WasmEdge installs its signal handlers when
//! the first thread of the process enters compiled code, without a look at whose handlers were there, and resets the
//! signals to their defaults when the last one leaves. With another engine in the process, that engine's next
//! fault would kill it. So [`share`] lets one thread enter compiled code and stay there, which makes
//! WasmEdge's handlers final, and puts a handler over them that asks who runs: a WasmEdge guest's fault goes to WasmEdge,
//! any other to the handlers that were there before. (It also spares every call six system calls.)
//!
//! That first entry is also the first compilation, with which LLVM takes over a dozen more signals, among them the
//! `SIGILL` that other engines trap with and the `SIGINT` of the embedder. These are given back. What is compiled is
//! [`CALLING`], in this process wherever guests are compiled: that takes ten milliseconds, and can be trusted.

use std::cell::Cell;
use std::io;
use std::mem::{transmute, zeroed};
use std::sync::{Mutex, OnceLock, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use libc::{
    SA_ONSTACK, SA_SIGINFO, SIG_DFL, SIG_IGN, SIGABRT, SIGBUS, SIGFPE, SIGHUP, SIGILL, SIGINT, SIGQUIT, SIGSEGV,
    SIGSYS, SIGTERM, SIGTRAP, SIGUSR1, SIGUSR2, SIGXCPU, SIGXFSZ, c_int, c_void, siginfo_t,
};

use crate::compiler::Compiler;
use crate::engine::Native;
use crate::error::Error;
use crate::guest::{AsGuest, Guest, Host, imports};
use crate::raw::Failure;

/// The signals of WasmEdge's own handlers.
const FAULTS: [c_int; 3] = [SIGSEGV, SIGBUS, SIGFPE];
/// The further signals for which LLVM, once for the process, installs handlers that end it when it compiles at first.
const LLVMS: [c_int; 12] =
    [SIGHUP, SIGINT, SIGTERM, SIGQUIT, SIGUSR1, SIGUSR2, SIGILL, SIGTRAP, SIGABRT, SIGSYS, SIGXCPU, SIGXFSZ];

/// What is done at [`FAULTS`].
struct Faults {
    others: [libc::sigaction; 3],
    wasmedges: [libc::sigaction; 3],
}

/// Room for a guest that calls one host function.
const STAY_STACK: usize = 256 << 10;
const UNPREPARED: &str = "cannot prepare the process for code compiled by WasmEdge";

static SHARED: OnceLock<Faults> = OnceLock::new();

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

/// Makes WasmEdge's fault handlers final and shares the signals with whoever had them. Once in a process.
pub(crate) fn share(native: &Native) -> Result<(), Error> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    if SHARED.get().is_some() {
        return Ok(());
    }
    let (others, llvms) = (FAULTS.map(current), LLVMS.map(current));
    stay_in_guest(native)?;
    SHARED.get_or_init(|| Faults { others, wasmedges: FAULTS.map(current) });
    // SAFETY: all zeroes is a valid action.
    let mut ours: libc::sigaction = unsafe { zeroed() };
    ours.sa_sigaction = handle as *const () as usize;
    ours.sa_flags = SA_SIGINFO | SA_ONSTACK;
    let given_back = LLVMS.into_iter().zip(llvms);
    for (signal, action) in given_back.chain(FAULTS.into_iter().map(|signal| (signal, ours))) {
        // SAFETY: the action was in force before, or is `handle`, which only does what a handler may.
        if unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) } != 0 {
            return Err(Error::system(UNPREPARED)(io::Error::last_os_error()));
        }
    }
    Ok(())
}

fn current(signal: c_int) -> libc::sigaction {
    // SAFETY: all zeroes is a valid action; the call overwrites it.
    unsafe {
        let mut action: libc::sigaction = zeroed();
        libc::sigaction(signal, std::ptr::null(), &raw mut action);
        action
    }
}

unsafe extern "C" fn handle(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let owner = SHARED.get().map(|faults| if IN_GUEST.get() { &faults.wasmedges } else { &faults.others });
    let index = FAULTS.iter().position(|known| *known == signal);
    // A process sends with a code that is not positive; the kernel tells of a fault with one that is.
    // SAFETY: the system gives a handler the description of its signal.
    let sent = unsafe { (*info).si_code } <= 0;
    match owner.zip(index).map(|(actions, index)| actions[index]) {
        // A fault cannot be ignored: it would happen again on return, for ever.
        Some(action) if action.sa_sigaction == SIG_IGN && sent => {}
        // SAFETY: this was the handler of this signal, and its flags tell its signature.
        Some(action) if is_handler(&action) && action.sa_flags & SA_SIGINFO != 0 => unsafe {
            let handler: unsafe extern "C" fn(c_int, *mut siginfo_t, *mut c_void) = transmute(action.sa_sigaction);
            handler(signal, info, context);
        },
        // SAFETY: as above.
        Some(action) if is_handler(&action) => unsafe {
            let handler: unsafe extern "C" fn(c_int) = transmute(action.sa_sigaction);
            handler(signal);
        },
        // Nobody's: a fault happens again on return, and then ends the process as it should. What was sent is sent again,
        // to be delivered on return.
        // SAFETY: all zeroes is the default action, and a handler may call both functions.
        _ => unsafe {
            let default: libc::sigaction = zeroed();
            libc::sigaction(signal, &raw const default, std::ptr::null_mut());
            if sent {
                libc::raise(signal);
            }
        },
    }
}

fn is_handler(action: &libc::sigaction) -> bool {
    action.sa_sigaction != SIG_DFL && action.sa_sigaction != SIG_IGN
}

/// `(module (import "" "" (func)) (func (export "run") (call 0)))`
const CALLING: &[u8] = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x02\x05\x01\0\0\0\0\x03\x02\x01\0\
    \x07\x07\x01\x03run\0\x01\x0a\x06\x01\x04\0\x10\0\x0b";

/// A host function that says it was reached and never returns.
struct Stay(Mutex<mpsc::Sender<()>>);

impl Host for Stay {
    fn call(&self, _index: usize, _guest: &mut Guest<'_>, _slots: &mut [u64]) -> Result<(), Failure> {
        let _sent = self.0.lock().unwrap_or_else(PoisonError::into_inner).send(());
        loop {
            thread::park();
        }
    }
}

/// Starts a thread that enters compiled code for good; returns when it has.
fn stay_in_guest(native: &Native) -> Result<(), Error> {
    let (reached, wait) = mpsc::channel();
    let stay = imports("", [("", Vec::new(), Vec::new())], Stay(Mutex::new(reached)))?;
    let mut instance = native.load(&Compiler::in_process().compile(CALLING)?)?.instantiate(stay, STAY_STACK)?;
    let thread = thread::Builder::new().name("wasmedge-signals".to_owned()).stack_size(STAY_STACK);
    thread.spawn(move || instance.guest().call("run", &mut [])).map_err(Error::system(UNPREPARED))?;
    let late = |_| io::Error::new(io::ErrorKind::TimedOut, "compiled code does not run");
    wait.recv_timeout(Duration::from_secs(60)).map_err(late).map_err(Error::system(UNPREPARED))
}
