//! A loaded guest, whatever it was and whichever host it runs on.

use std::fmt;
use std::sync::Arc;

use wharf_core::{GuestConfig, HostedGuest, HostedSession, Result, Stop};

/// A guest that is loaded, to be started any number of times. Clones share its code.
#[derive(Clone)]
pub struct Program(Arc<dyn HostedGuest>);

impl Program {
    pub(crate) fn new(guest: Arc<dyn HostedGuest>) -> Self {
        Program(guest)
    }

    /// Whether it answers requests: it exports `wasi:http/incoming-handler`, or `wasi:http/handler` of WASI 0.3.
    pub fn is_handler(&self) -> bool {
        self.0.is_handler()
    }

    /// Runs it as a command and returns its exit code, or calls the function `invoke`.
    ///
    /// # Errors
    /// As [`HostedGuest::run`].
    pub fn run(&self, config: GuestConfig, invoke: Option<&str>) -> Result<i32> {
        self.0.run(config, invoke)
    }

    /// The same without blocking the caller's thread.
    ///
    /// # Cancel safety
    /// Dropping the future ends the guest.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn run_async(&self, config: GuestConfig, invoke: Option<&str>) -> Result<i32> {
        Arc::clone(&self.0).run_async(config, invoke.map(str::to_owned)).await
    }

    /// Makes an instance, to call its functions or to hand it requests one after another.
    ///
    /// # Errors
    /// As [`HostedGuest::start`].
    pub fn start(&self, config: GuestConfig) -> Result<Box<dyn HostedSession>, Stop> {
        self.0.start(config)
    }

    /// What answers requests with it: a tower service, with an instance for each request, limits on how many at a time, and
    /// an end to the guest when its client leaves. See [`Handler::new`](wharf_server::Handler::new).
    ///
    /// # Errors
    /// Those of `Handler::new`.
    #[cfg(feature = "server")]
    pub fn handler(
        &self,
        options: wharf_server::HandlerOptions,
        config: impl Fn(Option<wharf_server::RequestHead<'_>>) -> Result<GuestConfig> + Send + Sync + 'static,
    ) -> Result<wharf_server::Handler> {
        wharf_server::Handler::new(Arc::clone(&self.0), options, config)
    }

    /// The guest by itself, for what takes one.
    pub fn guest(&self) -> &Arc<dyn HostedGuest> {
        &self.0
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program").field("is_handler", &self.is_handler()).finish_non_exhaustive()
    }
}
