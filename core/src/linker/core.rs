//! Functions for core modules: numbers in, numbers out, and the guest's memory.

use std::ops::Deref;

use http::Extensions;

use super::{BoxError, HostCall};
use crate::abi::wasi02::canon::Number;
use crate::memory::{Memory, MemoryError};
use crate::run::Run;
use crate::stop::Stop;
use crate::types::{Caller, FuncType, ValType};

/// A call of a function that the embedder offers to core modules.
pub struct CoreCall<'a> {
    call: HostCall<'a>,
    caller: &'a mut dyn Caller,
}

impl CoreCall<'_> {
    /// The memory that the guest exports as `memory`, as it is now. Every range of it is checked.
    ///
    /// # Errors
    /// [`MemoryError::Missing`] if it exports none.
    pub fn memory(&mut self) -> Result<Memory<'_>, MemoryError> {
        Memory::of(self.caller)
    }
}

impl<'a> Deref for CoreCall<'a> {
    type Target = HostCall<'a>;

    fn deref(&self) -> &HostCall<'a> {
        &self.call
    }
}

/// Numbers that a core function takes or returns: `i32`, `u32`, `i64`, `u64`, `f32`, `f64`, a tuple of up to 16 of them, or
/// `()`.
pub trait CoreValues: sealed::Values {}

mod sealed {
    use super::ValType;

    pub trait Values: Sized + 'static {
        /// The core types, in order.
        fn types(out: &mut Vec<ValType>);

        /// Takes the values out of slots.
        fn of_slots(slots: &mut impl Iterator<Item = u64>) -> Self;

        /// Puts the values into slots.
        fn to_slots<'a>(self, slots: &mut impl Iterator<Item = &'a mut u64>);
    }
}

macro_rules! numbers {
    ($($ty:ident $core:ident)*) => {$(
        impl CoreValues for $ty {}

        impl sealed::Values for $ty {
            fn types(out: &mut Vec<ValType>) {
                out.push(ValType::$core);
            }

            fn of_slots(slots: &mut impl Iterator<Item = u64>) -> Self {
                Number::of_slot(slots.next().unwrap_or_default())
            }

            fn to_slots<'a>(self, slots: &mut impl Iterator<Item = &'a mut u64>) {
                if let Some(slot) = slots.next() {
                    *slot = self.to_slot();
                }
            }
        }
    )*};
}

numbers!(i32 I32 u32 I32 i64 I64 u64 I64 f32 F32 f64 F64);

macro_rules! tuples {
    ($(($($name:ident)*))*) => {$(
        impl<$($name: CoreValues),*> CoreValues for ($($name,)*) {}

        #[allow(non_snake_case, unused_variables, clippy::unused_unit, reason = "each type parameter names its value, and () has none")]
        impl<$($name: CoreValues),*> sealed::Values for ($($name,)*) {
            fn types(out: &mut Vec<ValType>) {
                $($name::types(out);)*
            }

            fn of_slots(slots: &mut impl Iterator<Item = u64>) -> Self {
                ($($name::of_slots(slots),)*)
            }

            fn to_slots<'a>(self, slots: &mut impl Iterator<Item = &'a mut u64>) {
                let ($($name,)*) = self;
                $($name.to_slots(slots);)*
            }
        }
    )*};
}

tuples! { () }
crate::abi::for_tuples!(tuples);

/// What a core function does with a call.
type Lowered = dyn Fn(&mut CoreCall<'_>, &mut [u64]) -> Result<(), Stop> + Send + Sync;

/// A function for core modules.
pub(crate) struct CoreFunction {
    pub(crate) ty: FuncType,
    call: Box<Lowered>,
}

impl CoreFunction {
    /// What `function` does, which errors call `what`.
    pub(super) fn new<P: CoreValues, R: CoreValues, E: Into<BoxError>>(
        what: String,
        function: impl Fn(&mut CoreCall<'_>, P) -> Result<R, E> + Send + Sync + 'static,
    ) -> Self {
        let (mut params, mut results) = (Vec::new(), Vec::new());
        P::types(&mut params);
        R::types(&mut results);
        let call = move |call: &mut CoreCall<'_>, slots: &mut [u64]| {
            let params = P::of_slots(&mut slots.iter().copied());
            let result = function(call, params).map_err(|error| call.failed(&what, error.into()))?;
            result.to_slots(&mut slots.iter_mut());
            Ok(())
        };
        CoreFunction { ty: FuncType { params, results }, call: Box::new(call) }
    }

    /// Does what the function does, for the guest behind `caller`, which was started with `data`.
    pub(crate) fn call(
        &self,
        caller: &mut dyn Caller,
        data: &Extensions,
        run: &Run,
        slots: &mut [u64],
    ) -> Result<(), Stop> {
        (self.call)(&mut CoreCall { call: HostCall::new(data, run), caller }, slots)
    }
}
