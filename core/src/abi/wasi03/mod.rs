//! WASI 0.3, as lowered core functions, on the state, the policy and the rules of WASI 0.2.
//!
//! Every release 0.3.x is served by the same functions. What a function waits for is in `concurrent`. What differs from
//! WASI 0.2 is how values pass, not what they mean: the checks of fields, targets and lengths, error codes, timeouts, and
//! when a message is whole, are the same code.

mod cli;
mod clocks;
mod http;
#[cfg(test)]
mod tests;

use std::task::{Context, Poll};

pub(crate) use self::http::respond;
use super::concurrent::{PendingCall, call_async, call_sync};
use super::wasi02::Host;
use super::wasi02::canon::{Cx, Lift, Lower, MAX_FLAT_ASYNC_PARAMS, Outcome, Type, finish, lift_in, passed_in};
use super::wasi02::options::Options;
use crate::abi::concurrent::Place;
use crate::stop::Stop;
use crate::types::{Caller, FuncType, ValType};

/// The most core values that a call passes which waits.
const MAX_FLAT_PARAMS: usize = 16;

/// The state of a call that has returned before its caller goes on.
const RETURNED: u64 = 2;

/// A host function of WASI 0.3.
pub(crate) struct Function {
    /// The interface it belongs to, without a version.
    pub(crate) interface: &'static str,
    /// The name a guest imports it by, without canonical options.
    pub(crate) name: &'static str,
    /// Whether it needs an allocator of the guest's.
    pub(crate) needs_realloc: bool,
    ty: fn(bool) -> FuncType,
    call: fn(&mut Cx<'_>, &mut [u64], bool) -> Outcome,
}

impl Function {
    /// The core signature it is lowered to, asynchronously or not.
    pub(crate) fn ty(&self, asynchronous: bool) -> FuncType {
        (self.ty)(asynchronous)
    }

    pub(crate) fn call(
        &self,
        host: &Host,
        options: &Options,
        asynchronous: bool,
        caller: &mut dyn Caller,
        slots: &mut [u64],
    ) -> Result<(), Stop> {
        host.call((self.interface, self.name), options, caller, slots, |cx, slots| (self.call)(cx, slots, asynchronous))
    }
}

/// Every function of WASI 0.3 that this host has.
pub(crate) fn functions() -> impl Iterator<Item = &'static Function> {
    [cli::FUNCTIONS, clocks::FUNCTIONS, http::FUNCTIONS].into_iter().flatten()
}

/// What an asynchronous function gives: it is asked until it has a result.
type Later<R> = Box<dyn FnMut(&mut Cx<'_>, &mut Context<'_>) -> Outcome<Poll<R>> + Send>;

struct Calling<R>(Later<R>);

impl<R: Lower> PendingCall for Calling<R> {
    fn poll(&mut self, cx: &mut Cx<'_>, result: Place<'_>, context: &mut Context<'_>) -> Outcome<Poll<()>> {
        match (self.0)(cx, context)? {
            Poll::Pending => Ok(Poll::Pending),
            Poll::Ready(value) => result.put(value, cx).map(Poll::Ready),
        }
    }
}

/// The signature of a function with these parameters and this result.
fn ty<P: Type, R: Type>(asynchronous: bool) -> FuncType {
    let most = if asynchronous { MAX_FLAT_ASYNC_PARAMS } else { MAX_FLAT_PARAMS };
    let (mut params, mut results) = (Vec::new(), Vec::new());
    if P::FLAT > most {
        params.push(ValType::I32);
    } else {
        P::flat(&mut params);
    }
    if asynchronous {
        if R::FLAT > 0 {
            params.push(ValType::I32);
        }
        results.push(ValType::I32);
    } else if R::FLAT > 1 {
        params.push(ValType::I32);
    } else {
        R::flat(&mut results);
    }
    FuncType { params, results }
}

fn answer(slots: &mut [u64], state: u64) {
    if let Some(slot) = slots.first_mut() {
        *slot = state;
    }
}

fn result_place(slots: &[u64], at: usize) -> u32 {
    slots.get(at).copied().unwrap_or_default() as u32
}

/// Calls a function that has its result at once.
fn call_now<P: Lift, R: Lower>(
    cx: &mut Cx<'_>,
    slots: &mut [u64],
    asynchronous: bool,
    call: impl FnOnce(&mut Cx<'_>, P) -> Outcome<R>,
) -> Outcome {
    let most = if asynchronous { MAX_FLAT_ASYNC_PARAMS } else { MAX_FLAT_PARAMS };
    let params = lift_in::<P>(cx, slots, most)?;
    let result = call(cx, params)?;
    if !asynchronous {
        return finish(result, cx, slots, passed_in::<P>(most));
    }
    Place::Memory(result_place(slots, passed_in::<P>(most))).put(result, cx)?;
    answer(slots, RETURNED);
    Ok(())
}

/// Calls a function that may wait.
fn call_later<P: Lift, R: Lower + 'static>(
    cx: &mut Cx<'_>,
    slots: &mut [u64],
    asynchronous: bool,
    call: impl FnOnce(&mut Cx<'_>, P) -> Outcome<Later<R>>,
) -> Outcome {
    let most = if asynchronous { MAX_FLAT_ASYNC_PARAMS } else { MAX_FLAT_PARAMS };
    let params = lift_in::<P>(cx, slots, most)?;
    let pending = Box::new(Calling(call(cx, params)?));
    if !asynchronous {
        return call_sync(cx, pending, slots, passed_in::<P>(most));
    }
    let state = call_async(cx, pending, result_place(slots, passed_in::<P>(most)))?;
    answer(slots, state.into());
    Ok(())
}

/// The table of some interfaces: name, parameters in order, result, and the Rust function that does it; `async` before a
/// name for what may wait. The signature and the marshalling are those of the types.
macro_rules! interfaces {
    ($interface:literal; $($rest:tt)*) => {
        $crate::abi::wasi03::interfaces!(@collect [] $interface; $($rest)*);
    };
    (@collect [$($done:tt)*] $old:literal; @ $interface:literal; $($rest:tt)*) => {
        $crate::abi::wasi03::interfaces!(@collect [$($done)*] $interface; $($rest)*);
    };
    (
        @collect [$($done:tt)*] $interface:literal;
        async $name:literal($($param:ident: $ty:ty),* $(,)?) -> $result:ty => $call:path; $($rest:tt)*
    ) => {
        $crate::abi::wasi03::interfaces!(
            @collect [$($done)* (call_later, $interface, $name, [$($param: $ty),*], $result, $call)] $interface; $($rest)*
        );
    };
    (
        @collect [$($done:tt)*] $interface:literal;
        $name:literal($($param:ident: $ty:ty),* $(,)?) -> $result:ty => $call:path; $($rest:tt)*
    ) => {
        $crate::abi::wasi03::interfaces!(
            @collect [$($done)* (call_now, $interface, $name, [$($param: $ty),*], $result, $call)] $interface; $($rest)*
        );
    };
    (@collect [$((
        $how:ident, $interface:literal, $name:literal, [$($param:ident: $ty:ty),*], $result:ty, $call:path
    ))*] $last:literal;) => {
        pub(super) static FUNCTIONS: &[$crate::abi::wasi03::Function] = &[$($crate::abi::wasi03::Function {
            interface: $interface,
            name: $name,
            needs_realloc: <$result as $crate::abi::wasi02::canon::Type>::REALLOC,
            ty: $crate::abi::wasi03::ty::<($($ty,)*), $result>,
            call: |cx, slots, asynchronous| {
                $crate::abi::wasi03::$how::<($($ty,)*), $result>(cx, slots, asynchronous, |cx, ($($param,)*)| {
                    $call(cx $(, $param)*)
                })
            },
        }),*];
    };
}

use interfaces;
