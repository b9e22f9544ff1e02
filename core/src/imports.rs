//! The host functions of one instance, as an adapter sees them: a list of signatures, and one entry point.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Error, Kind};
use crate::growth::{self, Growth};
use crate::stop::{Halt, Stop};
use crate::types::{Caller, Import};

/// Implements the host functions of an [`Imports`], by index.
pub trait Calls: Send + Sync {
    /// Runs host function `index` for the guest behind `caller`.
    ///
    /// `slots` holds the parameters and receives the results; it is as long as the longer of the two.
    ///
    /// # Errors
    /// A [`Stop`] ends the guest.
    fn call(&self, index: usize, caller: &mut dyn Caller, slots: &mut [u64]) -> Result<(), Stop>;
}

/// What is called in the place of other imports, which have the reason for a halt.
pub(crate) trait Outer: Send + Sync {
    /// Does what [`Imports::call`] does.
    fn call(&self, index: usize, caller: &mut dyn Caller, slots: &mut [u64]) -> Result<(), Halt>;

    /// Does what [`Imports::take_stop`] does.
    fn take_stop(&self) -> Option<Stop>;
}

/// The imports of one instance: their signatures, in the module's import order, and the code behind them.
pub struct Imports {
    types: Arc<[Import]>,
    callee: Callee,
}

/// What runs when an import is called.
enum Callee {
    Calls {
        calls: Box<dyn Calls>,
        stopped: Mutex<Option<Stop>>,
        /// What the guest's memories and tables take.
        growth: Growth,
        /// The import by which it asks for more, if it does.
        guard: Option<usize>,
    },
    /// Another [`Imports`].
    Outer(Box<dyn Outer>),
}

impl Imports {
    /// Joins signatures, in import order, to the functions with the same indices. What the guest's memories and tables
    /// take together is not bounded.
    pub fn new(types: Arc<[Import]>, calls: impl Calls + 'static) -> Self {
        Self::bounded(types, calls, Growth::default())
    }

    /// The same for a guest whose memories and tables are charged.
    pub(crate) fn bounded(types: Arc<[Import]>, calls: impl Calls + 'static, growth: Growth) -> Self {
        let guard = types.len().checked_sub(1).filter(|last| types[*last] == growth::import());
        Imports { types, callee: Callee::Calls { calls: Box::new(calls), stopped: Mutex::new(None), growth, guard } }
    }

    /// Imports that are called through others.
    pub(crate) fn around(types: Arc<[Import]>, outer: impl Outer + 'static) -> Self {
        Imports { types, callee: Callee::Outer(Box::new(outer)) }
    }

    /// The imported functions, in the module's import order.
    pub fn types(&self) -> &[Import] {
        &self.types
    }

    /// The same, to be shared.
    pub(crate) fn shared_types(&self) -> Arc<[Import]> {
        Arc::clone(&self.types)
    }

    /// Runs host function `index`: the one thing an adapter's trampoline does.
    ///
    /// A panic in the host function does not cross the engine's frames: it ends the guest with
    /// [`Kind::Internal`].
    ///
    /// # Errors
    /// [`Halt`]: trap now; the guest must not run on.
    pub fn call(&self, index: usize, caller: &mut dyn Caller, slots: &mut [u64]) -> Result<(), Halt> {
        let (calls, stopped) = match &self.callee {
            Callee::Calls { growth, guard, .. } if *guard == Some(index) => {
                growth.ask(slots);
                return Ok(());
            }
            Callee::Calls { calls, stopped, .. } => (calls, stopped),
            Callee::Outer(outer) => return outer.call(index, caller, slots),
        };
        let result = if index < self.types.len() {
            catch_unwind(AssertUnwindSafe(|| calls.call(index, caller, slots)))
        } else {
            let imports = self.types.len();
            let message =
                format!("host function #{index} was called by the code of another guest: this one has {imports}");
            Ok(Err(Stop::Error(Error::new(Kind::Engine, message))))
        };
        let stop = match result {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(stop)) => stop,
            Err(panic) => Stop::Error(Error::new(
                Kind::Internal,
                format!("host function {} panicked: {}", self.describe(index), panic_text(&*panic)),
            )),
        };
        // The first reason stands: a later one comes from unwinding frames that the first already ended.
        stopped.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(stop);
        Err(Halt)
    }

    /// Takes the reason for the last [`Halt`], if a host function gave one.
    pub fn take_stop(&self) -> Option<Stop> {
        match &self.callee {
            Callee::Calls { stopped, .. } => stopped.lock().unwrap_or_else(PoisonError::into_inner).take(),
            Callee::Outer(outer) => outer.take_stop(),
        }
    }

    fn describe(&self, index: usize) -> String {
        self.types
            .get(index)
            .map_or_else(|| format!("#{index}"), |import| format!("{}::{}", import.module, import.name))
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{FuncType, Trap, ValType};

    struct One;

    impl Calls for One {
        fn call(&self, index: usize, _: &mut dyn Caller, slots: &mut [u64]) -> Result<(), Stop> {
            [7].get(index).map(|answer| slots[0] = *answer).ok_or(Stop::Exit(1))
        }
    }

    struct Nobody;

    impl Caller for Nobody {
        fn memory(&mut self) -> Option<&mut [u8]> {
            None
        }

        fn call(&mut self, export: &str, _: &mut [u64]) -> Result<(), Trap> {
            Err(Trap::no_function(export))
        }

        fn global(&mut self, _: &str) -> Option<u64> {
            None
        }

        fn set_global(&mut self, _: &str, _: u64) -> bool {
            false
        }
    }

    /// An engine that is given the code of another guest calls what that one imports.
    #[test]
    fn a_function_that_is_not_imported_is_an_error() {
        let ty = FuncType { params: Vec::new(), results: vec![ValType::I64] };
        let import = Import { module: "a".to_owned(), name: "b".to_owned(), ty };
        let imports = Imports::new(Arc::from([import]), One);
        let (mut caller, mut slots) = (Nobody, [0]);
        assert!(imports.call(0, &mut caller, &mut slots).is_ok() && slots == [7]);
        assert!(imports.call(1, &mut caller, &mut slots).is_err());
        let Some(Stop::Error(error)) = imports.take_stop() else { panic!("there is no error") };
        assert_eq!(error.kind(), Kind::Engine, "{error}");
    }
}
