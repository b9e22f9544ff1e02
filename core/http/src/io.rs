//! The threads that drive wharf's own I/O.

use std::sync::{Mutex, OnceLock, PoisonError};

use tokio::runtime::{Builder, Handle, Runtime};

/// Why the threads of [`io`] did not start.
#[derive(Debug, thiserror::Error)]
#[error("wharf's I/O threads cannot be started; let the process have more descriptors and threads")]
pub struct IoThreadsError(#[from] std::io::Error);

impl IoThreadsError {
    /// What the system says.
    pub fn into_source(self) -> std::io::Error {
        self.0
    }
}

/// The runtime that drives wharf's own I/O. Guests never run on it. [`start_io`] starts it, or else its first use does.
///
/// # Panics
/// If it is not started yet, and the process has no descriptors or threads left.
pub fn io() -> Handle {
    start_io().unwrap_or_else(|error| panic!("{error}: {}", error.0))
}

/// Starts the threads of [`io`], unless they run already.
///
/// # Errors
/// [`IoThreadsError`] if the process has no descriptors or threads left.
pub fn start_io() -> Result<Handle, IoThreadsError> {
    static IO: OnceLock<Runtime> = OnceLock::new();
    static STARTING: Mutex<()> = Mutex::new(());
    if let Some(io) = IO.get() {
        return Ok(io.handle().clone());
    }
    let _starting = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(io) = IO.get() {
        return Ok(io.handle().clone());
    }
    let built = Builder::new_multi_thread().worker_threads(2).thread_name("wharf-io").enable_all().build()?;
    Ok(IO.get_or_init(|| built).handle().clone())
}
