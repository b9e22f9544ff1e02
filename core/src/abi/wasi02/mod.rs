//! WASI 0.2, as lowered core functions: what a component's core module imports, by the canonical ABI.
//!
//! A function is imported from its interface with a version, `wasi:http/types@0.2.3`, under the name that bindings give
//! it, `[method]fields.append`. Every release 0.2.x is served by the same functions, whose names and core signatures a
//! test compares with the WIT files in `core/wit`, in both directions.
//!
//! What holds for every function:
//! - A guest that breaks a rule of the canonical ABI or of a function, with an invalid pointer, string, handle or case,
//!   or by dropping a resource that still has children, ends with a trap that names the function and the rule.
//! - A guest's allocator may not call back into these functions.
//! - Every wait ends with the guest's [`Run`].
//! - Handles, arguments and buffers are bounded.

pub(crate) mod adapted;
pub(crate) mod canon;
pub(crate) mod cli;
pub(crate) mod clocks;
mod filesystem;
pub mod http;
pub(crate) mod io;
mod logging;
pub(crate) mod options;
mod sockets;
pub(crate) mod table;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Instant;

use self::canon::{Again, Cx, Fault, Outcome, Own, Resources};
pub use self::logging::log_line;
use self::options::Options;
use self::table::{Resource, Table};
use wharf_grants::{Directory, InputStream, OutputStream, Stream, WasiConfig};

use crate::abi::composed::{Composed, Handles};
use crate::abi::concurrent::Concurrent;
use crate::budget::Budget;
use crate::error::{Error, Kind};
use crate::http::{Limits, Outbound};
use crate::run::Run;
use crate::stop::Stop;
use crate::types::{Caller, FuncType};

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
        host.call((self.interface, self.name), options, caller, slots, self.call)
    }
}

/// Every function of WASI 0.2.
pub fn functions() -> impl Iterator<Item = &'static Function> {
    [io::FUNCTIONS, clocks::FUNCTIONS, cli::FUNCTIONS, http::FUNCTIONS, filesystem::FUNCTIONS, sockets::FUNCTIONS]
        .into_iter()
        .chain([logging::FUNCTIONS])
        .flatten()
}

/// One guest's state.
pub(crate) struct State {
    pub(crate) table: Table,
    pub(crate) run: Run,
    /// What the guest may have the host keep.
    pub(crate) budget: Budget,
    /// The handles of each component, where the guest is composed of several; else a handle is an index of the table.
    pub(crate) handles: Option<Handles>,
    pub(crate) outbound: Option<Outbound>,
    /// How large the header fields of one `fields` may be, in bytes.
    pub(crate) header_bytes: u64,
    /// Whether the guest is in a post-return function.
    returning: bool,
    /// Whether the request that the guest answers is a HEAD, to which no body is sent.
    pub(crate) answers_head: bool,
    /// Whether it has left a request unanswered, a message unfinished, or handles of a request open.
    pub(crate) untidy: bool,
    pub(crate) start: Instant,
    /// What `insecure-seed` gives, once it was asked for.
    pub(crate) seed: Option<(u64, u64)>,
    pub(crate) args: Arc<Vec<String>>,
    pub(crate) env: Arc<Vec<String>>,
    directories: Arc<Vec<Directory>>,
    pub(crate) stdin: Arc<InputStream>,
    pub(crate) stdout: Arc<OutputStream>,
    pub(crate) stderr: Arc<OutputStream>,
    adapted: adapted::Adapted,
    /// Its task, and what that waits for.
    pub(crate) concurrent: Concurrent,
}

impl State {
    /// Drops a handle that one component lent another: the resource stays. False if this is anything else.
    fn only_returns_a_borrow(&mut self, options: &Options, slots: &[u64]) -> bool {
        let Some(handles) = &mut self.handles else { return false };
        let handle = slots.first().copied().unwrap_or_default() as u32;
        handles.is_borrow(options.instance, handle) && handles.drop(options.instance, handle).is_ok()
    }
}

/// One guest's use of WASI 0.2, and of what its embedder offers. Clones share the same state.
#[derive(Clone)]
pub(crate) struct Host {
    state: Arc<Mutex<State>>,
    composed: Option<Arc<Composed>>,
    /// The resources of the embedder.
    offered: Arc<Resources>,
    /// What the guest may have the host keep, to be asked within a call as well.
    budget: Budget,
}

impl Host {
    /// The state of a guest that is granted `config` and `outbound`, whose waits end with `run`, and that may be
    /// composed of several components, which may have handles of the resources `offered`. What it has open is charged to
    /// `budget`.
    pub(crate) fn new(
        config: &WasiConfig,
        outbound: Option<Outbound>,
        run: Run,
        composed: Option<Arc<Composed>>,
        offered: Arc<Resources>,
        budget: Budget,
    ) -> Self {
        let granted = config.granted();
        let state = State {
            table: Table::new(budget.clone()),
            run,
            handles: composed.clone().map(|plan| Handles::new(plan, offered.clone(), &budget)),
            budget: budget.clone(),
            header_bytes: header_bytes(outbound.as_ref()),
            outbound,
            returning: false,
            answers_head: false,
            untidy: false,
            start: Instant::now(),
            seed: None,
            args: granted.args.clone(),
            env: granted.env.clone(),
            directories: granted.directories.clone(),
            stdin: Arc::new(InputStream::new(granted.stdin.clone())),
            stdout: Arc::new(OutputStream::new(granted.stdout.clone(), Stream::Stdout)),
            stderr: Arc::new(OutputStream::new(granted.stderr.clone(), Stream::Stderr)),
            adapted: adapted::Adapted::default(),
            concurrent: Concurrent::default(),
        };
        Host { state: Arc::new(Mutex::new(state)), composed, offered, budget }
    }

    /// Calls the lowered function `name` of `interface` for the guest behind `caller`.
    ///
    /// # Errors
    /// The [`Stop`] that ends the guest: of [`Kind::Trap`] if it broke a rule, which names the function.
    pub(crate) fn call(
        &self,
        (interface, name): (&str, &str),
        options: &Options,
        caller: &mut dyn Caller,
        slots: &mut [u64],
        call: impl FnOnce(&mut Cx<'_>, &mut [u64]) -> Outcome,
    ) -> Result<(), Stop> {
        self.may_leave(options.instance, caller)?;
        let mut again = None;
        self.locked((interface, name), |state| {
            if name.starts_with("[resource-drop]") && state.only_returns_a_borrow(options, slots) {
                return Ok(());
            }
            unless_again(call(&mut Cx::new(state, caller, options), slots), &mut again)
        })?;
        while let Some(then) = again.take() {
            self.turn(caller)?;
            self.locked((interface, name), |state| {
                unless_again(then.go_on(&mut Cx::new(state, caller, options), slots), &mut again)
            })?;
        }
        Ok(())
    }

    /// Does something with the guest's state in a call of the function `name` of `interface`.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub(crate) fn locked<T>(
        &self,
        (interface, name): (&str, &str),
        action: impl FnOnce(&mut State) -> Outcome<T>,
    ) -> Result<T, Stop> {
        self.locked_or(action, |rule| {
            Error::new(Kind::Trap, format!("the guest broke a rule of {interface}#{name}: {rule}")).into()
        })
    }

    /// Does something with the guest's state. If the guest breaks a rule, it ends as `broken` says.
    pub(crate) fn locked_or<T>(
        &self,
        action: impl FnOnce(&mut State) -> Outcome<T>,
        broken: impl FnOnce(Cow<'static, str>) -> Stop,
    ) -> Result<T, Stop> {
        let outcome = match self.state.try_lock() {
            Ok(state) if state.returning => {
                canon::rule("it was called by a post-return function, which may not call anything")
            }
            Ok(mut state) => action(&mut state),
            Err(TryLockError::WouldBlock) => canon::rule("it was called by the guest's allocator, within another call"),
            Err(TryLockError::Poisoned(_)) => canon::rule("an earlier host function of this guest panicked"),
        };
        outcome.map_err(|fault| match fault {
            Fault::Stop(stop) => stop,
            Fault::Rule(rule) => broken(rule),
            Fault::Again(_) => waits(),
        })
    }

    /// Refuses a call by a component instance that may not call out: from its allocator, or where the values that it
    /// returned are still being read.
    pub(crate) fn may_leave(&self, instance: u32, caller: &mut dyn Caller) -> Result<(), Stop> {
        let flag = self.composed.as_ref().and_then(|composed| composed.may_leave(instance));
        match flag.and_then(|flag| caller.global(flag)) {
            Some(value) if value & 1 == 0 => {
                let message = "a component of the guest made a call from its allocator or its post-return function";
                Err(Error::new(Kind::Trap, message).into())
            }
            _ => Ok(()),
        }
    }

    /// Says whether the guest is in the post-return function of `export`, from where it may call nothing.
    pub(crate) fn returning(&self, returning: bool, export: &str, guest: &mut dyn Caller) {
        self.lock().returning = returning;
        if let Some(instance) = self.composed.as_ref().and_then(|composed| composed.exporter(export)) {
            self.set_may_leave(instance, !returning, guest);
        }
    }

    /// Says whether a component instance may call out.
    pub(crate) fn set_may_leave(&self, instance: u32, may: bool, caller: &mut dyn Caller) {
        if let Some(flag) = self.composed.as_ref().and_then(|composed| composed.may_leave(instance)) {
            caller.set_global(flag, may.into());
        }
    }

    /// [`may_leave`](Self::may_leave), for the instance of a handle table.
    pub(crate) fn leaves(&self, table: u32, caller: &mut dyn Caller) -> Result<(), Stop> {
        match self.composed.as_ref().and_then(|composed| composed.instance_of(table)) {
            Some(instance) => self.may_leave(instance, caller),
            None => Ok(()),
        }
    }

    /// What an adapter between components means that stops the guest with this code.
    pub(crate) fn trap_reason(&self, code: u32) -> String {
        let composed = self.composed.as_ref();
        composed.map_or_else(|| "it is not composed of several".to_owned(), |composed| composed.trap_reason(code))
    }

    /// Does something with the handles of a composed guest's components.
    pub(crate) fn handles<T>(&self, action: impl FnOnce(&mut Handles) -> Outcome<T>) -> Result<T, Stop> {
        let outcome = match self.state.try_lock() {
            Ok(mut state) => match &mut state.handles {
                Some(handles) => action(handles),
                None => canon::rule("the guest is not composed of several components"),
            },
            Err(_) => canon::rule("a handle was passed by the guest's allocator, within another call"),
        };
        outcome.map_err(|fault| match fault {
            Fault::Stop(stop) => stop,
            Fault::Rule(rule) => {
                Error::new(Kind::Trap, format!("a component of the guest broke a rule of handles: {rule}")).into()
            }
            Fault::Again(_) => waits(),
        })
    }

    /// How the guest's components belong together, if it is composed of several.
    pub(crate) fn composed(&self) -> Option<&Arc<Composed>> {
        self.composed.as_ref()
    }

    /// Goes on with what `config` and `outbound` grant. Handles stay as they are, and standard streams that the guest
    /// has open lead elsewhere.
    pub(crate) fn reset_for(&self, config: &WasiConfig, outbound: Option<Outbound>) {
        let granted = config.granted();
        let mut state = self.lock();
        state.header_bytes = header_bytes(outbound.as_ref());
        state.outbound = outbound;
        state.args = granted.args.clone();
        state.env = granted.env.clone();
        state.directories = granted.directories.clone();
        state.stdin.replace(granted.stdin.clone());
        state.stdout.replace(granted.stdout.clone());
        state.stderr.replace(granted.stderr.clone());
    }

    /// Closes what belongs to messages, as when the guest has answered a request, and lets go of its grants: a body it
    /// did not finish breaks its message off.
    pub(crate) fn recycle(&self) {
        let mut state = self.lock();
        state.outbound = None;
        state.table.close_family(http::is_resource);
    }

    /// Whether the guest has left a request unanswered, given a message up, or left handles open that belong to a
    /// request, as those of an embedder's resources do: the next one would meet what is left of this one.
    pub(crate) fn is_untidy(&self) -> bool {
        let state = self.lock();
        state.untidy || state.table.has_offered()
    }

    /// What the guest may have the host keep.
    pub(crate) fn budget(&self) -> &Budget {
        &self.budget
    }

    /// How many handles the guest has open.
    pub(crate) fn open_handles(&self) -> usize {
        self.lock().table.len()
    }

    /// Closes everything the guest has open, as when it has ended: a body it did not finish breaks its message off.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.concurrent = Concurrent::default();
        state.table.clear();
        let composed = self.composed.clone();
        state.handles = composed.map(|plan| Handles::new(plan, self.offered.clone(), &state.budget));
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps how a call goes on that another task has its turn before.
fn unless_again(outcome: Outcome, again: &mut Option<Again>) -> Outcome {
    match outcome {
        Err(Fault::Again(then)) => {
            *again = Some(then);
            Ok(())
        }
        other => other,
    }
}

fn waits() -> Stop {
    Error::new(Kind::Internal, "something waits for another task that may not").into()
}

/// How large header fields may be that a guest has. One that sends nothing still has those of its answers.
fn header_bytes(outbound: Option<&Outbound>) -> u64 {
    outbound.map_or_else(|| Limits::default().kept_header_bytes(), |outbound| outbound.limits().kept_header_bytes())
}

/// `[resource-drop]`: what a resource holds goes with it.
pub(crate) fn drop_resource<T: Resource>(_: &mut Cx<'_>, resource: Own<T>) -> Outcome {
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
                    params.push($crate::types::ValType::I32);
                } else {
                    <$result as Type>::flat(&mut results);
                }
                $crate::types::FuncType { params, results }
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
