//! WASI 0.2, as lowered core functions: what a component's core module imports, by the canonical ABI.
//!
//! A function is imported from its interface with a version, `wasi:http/types@0.2.3`, under the name that bindings give
//! it, `[method]fields.append`. Every release 0.2.x is served by the same functions, whose names and core signatures a
//! test compares with the WIT files in `core/wit`, in both directions.
//!
//! What holds for every function:
//! - A guest that breaks a rule of the canonical ABI or of a function, by a pointer, a string, a handle, a case that
//!   there is none of, or by dropping what still has children, ends with a trap that names the function and the rule.
//! - A guest's allocator may not call back into these functions.
//! - Every wait ends with the guest's [`Run`].
//! - Handles, arguments and buffers are bounded.

mod canon;
mod cli;
mod clocks;
mod filesystem;
pub mod http;
mod io;
pub(crate) mod options;
mod sockets;
mod table;

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Instant;

use self::canon::{Cx, Fault, Outcome, Own};
use self::options::Options;
use self::table::{Resource, Table};
use crate::abi::preview1::WasiConfig;
use crate::abi::preview1::config::Preopen;
use crate::abi::preview1::stdio::{InputStream, OutputStream, Stream};
use crate::error::{Error, Kind};
use crate::http::Outbound;
use crate::imports::Stop;
use crate::run::Run;
use crate::seam::{Caller, FuncType};

/// A host function of WASI 0.2.
pub struct Function {
    /// The interface it belongs to, without a version.
    pub interface: &'static str,
    /// The name a guest imports it by, without canonical options.
    pub name: &'static str,
    /// Whether it needs an allocator of the guest's.
    pub needs_realloc: bool,
    ty: fn() -> FuncType,
    call: fn(&mut Cx<'_>, &mut [u64]) -> Outcome,
}

impl Function {
    /// The core signature it is lowered to.
    pub fn ty(&self) -> FuncType {
        (self.ty)()
    }

    pub(crate) fn call(
        &self,
        host: &Host,
        options: &Options,
        caller: &mut dyn Caller,
        slots: &mut [u64],
    ) -> Result<(), Stop> {
        let outcome = match host.0.try_lock() {
            Ok(mut state) => (self.call)(&mut Cx::new(&mut state, caller, options), slots),
            Err(TryLockError::WouldBlock) => canon::rule("it was called by the guest's allocator, within another call"),
            Err(TryLockError::Poisoned(_)) => canon::rule("an earlier host function of this guest broke down"),
        };
        outcome.map_err(|fault| match fault {
            Fault::Stop(stop) => stop,
            Fault::Rule(rule) => {
                let message = format!("the guest broke a rule of {}#{}: {rule}", self.interface, self.name);
                Error::new(Kind::Trap, message).into()
            }
        })
    }
}

/// Every function of WASI 0.2.
pub fn functions() -> impl Iterator<Item = &'static Function> {
    [io::FUNCTIONS, clocks::FUNCTIONS, cli::FUNCTIONS, http::FUNCTIONS, filesystem::FUNCTIONS, sockets::FUNCTIONS]
        .into_iter()
        .flatten()
}

/// One guest's state.
pub(crate) struct State {
    pub(crate) table: Table,
    pub(crate) run: Run,
    outbound: Option<Outbound>,
    /// Whether the request that the guest answers is a HEAD, to which no body is sent.
    answers_head: bool,
    start: Instant,
    args: Arc<Vec<String>>,
    env: Arc<Vec<String>>,
    preopens: Arc<Vec<Preopen>>,
    stdin: Arc<InputStream>,
    stdout: Arc<OutputStream>,
    stderr: Arc<OutputStream>,
}

/// One guest's use of WASI 0.2. Clones share the same state.
#[derive(Clone)]
pub(crate) struct Host(Arc<Mutex<State>>);

impl Host {
    /// The state of a guest that is granted `config` and `outbound`, and whose waits end with `run`.
    pub(crate) fn new(config: &WasiConfig, outbound: Option<Outbound>, run: Run) -> Self {
        Host(Arc::new(Mutex::new(State {
            table: Table::new(),
            run,
            outbound,
            answers_head: false,
            start: Instant::now(),
            args: config.args.clone(),
            env: config.env.clone(),
            preopens: config.preopens.clone(),
            stdin: Arc::new(InputStream::new(config.stdin.clone())),
            stdout: Arc::new(OutputStream::new(config.stdout.clone(), Stream::Stdout)),
            stderr: Arc::new(OutputStream::new(config.stderr.clone(), Stream::Stderr)),
        })))
    }

    /// Goes on with what `config` and `outbound` grant. Handles stay as they are, and standard streams that the guest has
    /// open lead elsewhere.
    pub(crate) fn renew(&self, config: &WasiConfig, outbound: Option<Outbound>) {
        let mut state = self.lock();
        state.outbound = outbound;
        state.args = config.args.clone();
        state.env = config.env.clone();
        state.preopens = config.preopens.clone();
        state.stdin.renew(config.stdin.clone());
        state.stdout.renew(config.stdout.clone());
        state.stderr.renew(config.stderr.clone());
    }

    /// Closes what belongs to messages, as when the guest has answered a request, and lets go of its grants: a body it
    /// did not finish breaks its message off.
    pub(crate) fn rest(&self) {
        let mut state = self.lock();
        state.outbound = None;
        state.table.close_family(http::is_resource);
    }

    /// How many handles the guest has open.
    pub(crate) fn open_handles(&self) -> usize {
        self.lock().table.len()
    }

    /// Closes everything the guest has open, as when it has ended: a body it did not finish breaks its message off.
    pub(crate) fn close(&self) {
        self.lock().table.clear();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `[resource-drop]`: what a resource holds goes with it.
fn drop_resource<T: Resource>(_: &mut Cx<'_>, resource: Own<T>) -> Outcome {
    drop(resource.0);
    Ok(())
}

/// The table of some interfaces: name, parameters in order, result, and the Rust function that does it. The signature
/// and the marshalling are those of the types.
macro_rules! interfaces {
    ($interface:literal; $($rest:tt)*) => {
        $crate::abi::wasi02::interfaces!(@collect [] $interface; $($rest)*);
    };
    (@collect [$($done:tt)*] $old:literal; @ $interface:literal; $($rest:tt)*) => {
        $crate::abi::wasi02::interfaces!(@collect [$($done)*] $interface; $($rest)*);
    };
    (
        @collect [$($done:tt)*] $interface:literal;
        $name:literal($($param:ident: $ty:ty),* $(,)?) -> $result:ty => $call:path; $($rest:tt)*
    ) => {
        $crate::abi::wasi02::interfaces!(
            @collect [$($done)* ($interface, $name, [$($param: $ty),*], $result, $call)] $interface; $($rest)*
        );
    };
    (@collect [$(($interface:literal, $name:literal, [$($param:ident: $ty:ty),*], $result:ty, $call:path))*] $last:literal;) => {
        pub(super) static FUNCTIONS: &[$crate::abi::wasi02::Function] = &[$($crate::abi::wasi02::Function {
            interface: $interface,
            name: $name,
            needs_realloc: <$result as $crate::abi::wasi02::canon::Type>::REALLOC,
            ty: || {
                use $crate::abi::wasi02::canon::Type;
                let (mut params, mut results) = (Vec::new(), Vec::new());
                $(<$ty as Type>::flat(&mut params);)*
                if <$result as Type>::FLAT > 1 {
                    params.push($crate::seam::ValType::I32);
                } else {
                    <$result as Type>::flat(&mut results);
                }
                $crate::seam::FuncType { params, results }
            },
            call: |cx, slots| {
                use $crate::abi::wasi02::canon::{Flat, finish};
                const PARAMS: usize = 0 $(+ <$ty as $crate::abi::wasi02::canon::Type>::FLAT)*;
                // More would be passed in memory, which no function of WASI 0.2 needs.
                const { assert!(PARAMS <= 16) };
                let mut flat = Flat::new(slots);
                _ = &mut flat;
                $(let $param = <$ty as $crate::abi::wasi02::canon::Lift>::lift(cx, &mut flat)?;)*
                let result: $result = $call(cx $(, $param)*)?;
                finish(result, cx, slots, PARAMS)
            },
        }),*];
    };
}

use interfaces;
