//! What ends a guest.

use crate::error::Error;

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

/// Tells the adapter to trap. Why is kept in [`Imports`](crate::Imports), since not every engine can carry a host's error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a host function stopped the guest")]
pub struct Halt;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Kind, chain};

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
