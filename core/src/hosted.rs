//! A loaded guest, whichever host it runs on: wharf's own, or the one that an engine brings for components.

use std::sync::Arc;

use crate::abi::wasi02::http::Reply;
use crate::budget::Budget;
use crate::error::{Error, Kind, Result};
use crate::guest::door::Door;
use crate::guest::{Guest, GuestConfig, Session, one_at_a_time};
use crate::http::Body;
use crate::stop::Stop;

/// A guest, loaded, to be started any number of times.
///
/// [`Guest`] is one, on wharf's own host. An engine with a component model of its own may have another, which keeps the
/// same policy, limits and deadlines: what serves and runs guests works with either.
pub trait HostedGuest: Send + Sync {
    /// Whether it answers requests.
    fn is_handler(&self) -> bool;

    /// Whether its instances can work on several requests at a time, by [`HostedSession::handle_together`].
    fn answers_together(&self) -> bool {
        false
    }

    /// Makes an instance. The configuration's time limit runs from here.
    ///
    /// # Errors
    /// As [`Guest::start`].
    fn start(&self, config: GuestConfig) -> Result<Box<dyn HostedSession>, Stop>;

    /// Runs it as a command and returns its exit code.
    ///
    /// # Errors
    /// As [`Guest::run`].
    fn run(&self, config: GuestConfig, invoke: Option<&str>) -> Result<i32>;
}

impl dyn HostedGuest {
    /// [`run`](HostedGuest::run) for an async host: on a thread of tokio's blocking pool, since an engine occupies the
    /// thread it runs on.
    ///
    /// # Cancel safety
    /// Dropping the future ends the guest.
    ///
    /// # Errors
    /// As `run`.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn run_async(self: Arc<Self>, mut config: GuestConfig, invoke: Option<String>) -> Result<i32> {
        config.cancel = config.cancel.child_token();
        let cancel_on_drop = config.cancel.clone().drop_guard();
        let ended = tokio::task::spawn_blocking(move || self.run(config, invoke.as_deref())).await;
        cancel_on_drop.disarm();
        ended.unwrap_or_else(|error| {
            Err(Error::new(Kind::Internal, "the thread that ran the guest failed").with_source(error))
        })
    }
}

/// One instance of a [`HostedGuest`].
pub trait HostedSession: Send {
    /// Calls an exported function of integers: each parameter takes a slot, and so does the result.
    ///
    /// # Errors
    /// As [`Session::call`].
    fn call(&mut self, export: &str, params: &[u64]) -> Result<Vec<u64>, Stop>;

    /// Hands it a request and returns when its handler does.
    ///
    /// # Errors
    /// As [`Session::handle`].
    fn handle(&mut self, request: http::Request<Body>, reply: Reply) -> Result<(), Stop>;

    /// Works on the requests that come in by `door`, several at a time, until there are none.
    ///
    /// # Errors
    /// As [`Session::handle_together`].
    fn handle_together(&mut self, door: &Door) -> Result<(), Stop> {
        _ = door;
        Err(one_at_a_time().into())
    }

    /// Ends its work on a request. Returns whether it can be used again, with another configuration; false for a host
    /// whose instances serve one request each.
    fn recycle(&mut self) -> bool {
        false
    }

    /// Whether it may be used again with `config`, as [`Session::may_reset_for`] says.
    fn may_reset_for(&self, config: &GuestConfig) -> bool {
        _ = config;
        false
    }

    /// Continues with another configuration.
    ///
    /// # Errors
    /// As [`Session::reset_for`].
    fn reset_for(&mut self, config: GuestConfig) -> Result<()> {
        _ = config;
        Err(Error::new(Kind::Config, "an instance of this host serves one request; start a new one"))
    }

    /// Its memory; `None` if it has none that is accessible: a component's memory is private.
    fn memory(&mut self) -> Option<&mut [u8]> {
        None
    }

    /// Reads its memory; `None` if the range is not in it, or it has none that can be read.
    fn read_memory(&mut self, at: u32, len: u32) -> Option<Vec<u8>> {
        let at = at as usize;
        Some(self.memory()?.get(at..at.checked_add(len as usize)?)?.to_vec())
    }

    /// Writes its memory; `None` as in [`read_memory`](Self::read_memory).
    fn write_memory(&mut self, at: u32, bytes: &[u8]) -> Option<()> {
        let at = at as usize;
        self.memory()?.get_mut(at..at.checked_add(bytes.len())?)?.copy_from_slice(bytes);
        Some(())
    }

    /// How many handles of WASI 0.2 it has open.
    fn open_handles(&mut self) -> usize;

    /// Whether it has sent a request of its own since it was started or last continued, or may have.
    fn has_sent_requests(&self) -> bool {
        true
    }

    /// The memory it uses: its memories, its tables, and what the host keeps for it.
    fn budget(&self) -> Budget;
}

impl<S: HostedSession + ?Sized> HostedSession for Box<S> {
    fn call(&mut self, export: &str, params: &[u64]) -> Result<Vec<u64>, Stop> {
        (**self).call(export, params)
    }

    fn handle(&mut self, request: http::Request<Body>, reply: Reply) -> Result<(), Stop> {
        (**self).handle(request, reply)
    }

    fn handle_together(&mut self, door: &Door) -> Result<(), Stop> {
        (**self).handle_together(door)
    }

    fn recycle(&mut self) -> bool {
        (**self).recycle()
    }

    fn may_reset_for(&self, config: &GuestConfig) -> bool {
        (**self).may_reset_for(config)
    }

    fn reset_for(&mut self, config: GuestConfig) -> Result<()> {
        (**self).reset_for(config)
    }

    fn memory(&mut self) -> Option<&mut [u8]> {
        (**self).memory()
    }

    fn read_memory(&mut self, at: u32, len: u32) -> Option<Vec<u8>> {
        (**self).read_memory(at, len)
    }

    fn write_memory(&mut self, at: u32, bytes: &[u8]) -> Option<()> {
        (**self).write_memory(at, bytes)
    }

    fn open_handles(&mut self) -> usize {
        (**self).open_handles()
    }

    fn has_sent_requests(&self) -> bool {
        (**self).has_sent_requests()
    }

    fn budget(&self) -> Budget {
        (**self).budget()
    }
}

impl HostedGuest for Guest {
    fn is_handler(&self) -> bool {
        Guest::is_handler(self)
    }

    fn answers_together(&self) -> bool {
        Guest::answers_together(self)
    }

    fn start(&self, config: GuestConfig) -> Result<Box<dyn HostedSession>, Stop> {
        Ok(Box::new(Guest::start(self, config)?))
    }

    fn run(&self, config: GuestConfig, invoke: Option<&str>) -> Result<i32> {
        Guest::run(self, config, invoke)
    }
}

impl HostedSession for Session {
    fn call(&mut self, export: &str, params: &[u64]) -> Result<Vec<u64>, Stop> {
        Session::call(self, export, params)
    }

    fn handle(&mut self, request: http::Request<Body>, reply: Reply) -> Result<(), Stop> {
        Session::handle(self, request, reply)
    }

    fn handle_together(&mut self, door: &Door) -> Result<(), Stop> {
        Session::handle_together(self, door)
    }

    fn recycle(&mut self) -> bool {
        Session::recycle(self)
    }

    fn may_reset_for(&self, config: &GuestConfig) -> bool {
        Session::may_reset_for(self, config)
    }

    fn reset_for(&mut self, config: GuestConfig) -> Result<()> {
        Session::reset_for(self, config)
    }

    fn memory(&mut self) -> Option<&mut [u8]> {
        Session::memory(self)
    }

    fn open_handles(&mut self) -> usize {
        Session::open_handles(self)
    }

    fn has_sent_requests(&self) -> bool {
        Session::has_sent_requests(self)
    }

    fn budget(&self) -> Budget {
        Session::budget(self).clone()
    }
}

/// The error for a guest that is to answer requests but exports no handler.
pub fn no_handler() -> Error {
    let message = "the guest exports no `wasi:http/incoming-handler@0.2` and no `wasi:http/handler@0.3`, so it cannot serve; \
                   `wharf run` is for guests that are started as a command";
    Error::new(Kind::Guest, message)
}
