//! The host functions of one instance, as an adapter sees them: a list of signatures, and one entry point.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Error, Kind};
use crate::growth::{self, Growth};
use crate::meter::Hosts;
use crate::seam::{Caller, FuncType};

/// One function that a module imports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// The import's module name.
    pub module: String,
    /// The import's field name.
    pub name: String,
    /// Its signature, as the guest declares it.
    pub ty: FuncType,
}

/// What ends a guest: its own exit, or an error.
///
/// It is an error, so that `?` passes it on:
///
/// ```
/// use wharf_core::Session;
///
/// fn answer(session: &mut Session) -> Result<u64, Box<dyn std::error::Error>> {
///     let results = session.call("answer", &[])?;
///     Ok(results[0])
/// }
/// ```
#[derive(Debug, thiserror::Error)]
pub enum Stop {
    /// The guest asked to exit with this status.
    #[error("the guest exited with status {0}")]
    Exit(i32),
    /// The host ends it: deadline, cancellation, limit, a broken rule. Prints as the error does, and has its source.
    #[error(transparent)]
    Error(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Stop::Error(error)
    }
}

/// [`Stop::Exit`] as an error: what an embedder of an engine finds when the guest asked to exit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the guest exited with status {0}")]
pub struct Exit(pub i32);

/// Tells the adapter to trap. Why is kept in [`Imports`], since not every engine can carry a host's error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a host function stopped the guest")]
pub struct Halt;

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

/// The imports of one instance: their signatures, in the module's import order, and the code behind them.
pub struct Imports {
    types: Arc<[Import]>,
    behind: Behind,
}

/// The code behind an [`Imports`].
enum Behind {
    Calls {
        calls: Box<dyn Calls>,
        stopped: Mutex<Option<Stop>>,
        /// What the guest's memories and tables take.
        growth: Growth,
        /// The import by which it asks for more, if it does.
        guard: Option<usize>,
    },
    /// Another [`Imports`], which also has the reason for a halt, and the check of a metered guest.
    Meter(Hosts),
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
        Imports { types, behind: Behind::Calls { calls: Box::new(calls), stopped: Mutex::new(None), growth, guard } }
    }

    /// The imports of a metered guest.
    pub(crate) fn metered(types: Arc<[Import]>, hosts: Hosts) -> Self {
        Imports { types, behind: Behind::Meter(hosts) }
    }

    /// The imported functions, in the module's import order.
    pub fn types(&self) -> &[Import] {
        &self.types
    }

    /// Runs host function `index`: the one thing an adapter's trampoline does.
    ///
    /// A panic in the host function does not cross the engine's frames: it ends the guest with
    /// [`Kind::Internal`].
    ///
    /// # Errors
    /// [`Halt`]: trap now; the guest must not run on.
    pub fn call(&self, index: usize, caller: &mut dyn Caller, slots: &mut [u64]) -> Result<(), Halt> {
        let (calls, stopped) = match &self.behind {
            Behind::Calls { growth, guard, .. } if *guard == Some(index) => {
                growth.ask(slots);
                return Ok(());
            }
            Behind::Calls { calls, stopped, .. } => (calls, stopped),
            Behind::Meter(hosts) => return hosts.call(index, caller, slots),
        };
        let result = catch_unwind(AssertUnwindSafe(|| calls.call(index, caller, slots)));
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
        match &self.behind {
            Behind::Calls { stopped, .. } => stopped.lock().unwrap_or_else(PoisonError::into_inner).take(),
            Behind::Meter(hosts) => hosts.imports.take_stop(),
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
    use crate::chain;

    fn exits() -> Result<(), Stop> {
        Err(Stop::Exit(3))
    }

    fn fails() -> Result<(), Error> {
        Err(Error::new(Kind::Denied, "not allowed").with_source("because"))
    }

    /// Passes on either, as a host function of an embedder's does.
    fn stops(exit: bool) -> Result<(), Stop> {
        if exit {
            exits()?
        } else {
            fails()?
        }
        Ok(())
    }

    #[test]
    fn a_stop_is_passed_on_as_any_error() {
        fn boxed(exit: bool) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
            stops(exit)?;
            Ok(())
        }
        fn any(exit: bool) -> anyhow::Result<()> {
            stops(exit)?;
            Ok(())
        }
        for (exit, says) in [(true, "the guest exited with status 3"), (false, "not allowed: because")] {
            assert_eq!(chain(&*boxed(exit).unwrap_err()), says);
            assert_eq!(format!("{:#}", any(exit).unwrap_err()), says);
        }
        let stop = any(true).unwrap_err().downcast::<Stop>().unwrap();
        assert!(matches!(stop, Stop::Exit(3)));
    }
}
