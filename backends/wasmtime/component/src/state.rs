//! What a store holds for one guest, and the limits on what it holds.

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use wasmtime::component::ResourceTable;
use wasmtime::{ResourceLimiter, StoreLimits, StoreLimitsBuilder};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::p2::body::{HostOutgoingBody, StreamContext};
use wasmtime_wasi_http::p2::types::HostResponseOutparam;
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};
use wharf_core::http::{Limits, Outbound};
use wharf_core::{Budget, Charge, LoadOptions};

use crate::hooks::Hooks;
use crate::stdio::Writes;

/// How many handles a guest may have open; as on wharf's own host, or fewer where its memory is small.
const HANDLES: u64 = 4096;
/// How many handles a guest may have open at least.
const FEW_HANDLES: u64 = 64;
/// How much the arguments of one call may take at least and at most, in bytes. A handle may keep one string of each.
const ARGUMENTS: (u64, u64) = (256 << 10, 16 << 20);
/// How many times as much memory a guest may have.
const ARGUMENT_SHARE: u64 = 256;
/// What an element of a table takes.
const ELEMENT: u64 = 16;
/// How many core instances, memories and tables a component may make.
const PARTS: usize = 1000;

/// How much the arguments of one call may take, for a guest that may have so much memory.
pub(crate) fn arguments(max_memory: u64) -> usize {
    (max_memory / ARGUMENT_SHARE).clamp(ARGUMENTS.0, ARGUMENTS.1) as usize
}

/// One guest's state.
pub(crate) struct State {
    table: ResourceTable,
    wasi: WasiCtx,
    pub(crate) stderr: Writes,
    http: WasiHttpCtx,
    hooks: Hooks,
    pub(crate) room: Room,
    ended: CancellationToken,
}

impl State {
    /// Bodies of 0.3 are streams of the guest's, in no table: they are `guarded` instead.
    pub(crate) fn new(wasi: WasiCtx, stderr: Writes, outbound: Option<Outbound>, room: Room, guarded: bool) -> Self {
        let mut table = ResourceTable::new();
        let default = || Limits::default().kept_header_bytes();
        let field_bytes = outbound.as_ref().map_or_else(default, |outbound| outbound.limits().kept_header_bytes());
        // Each handle may stand for that much, which Wasmtime's host bounds one by one.
        let handles = room.budget.limit() / field_bytes.max(1);
        table.set_max_capacity(handles.clamp(FEW_HANDLES, HANDLES) as usize);
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(usize::try_from(field_bytes).unwrap_or(usize::MAX));
        let ended = CancellationToken::new();
        let hooks = Hooks::new(outbound, guarded.then(|| ended.clone()));
        State { table, wasi, stderr, http, hooks, room, ended }
    }

    /// How many handles the guest has open.
    pub(crate) fn handles(&mut self) -> usize {
        self.table.iter_mut().count()
    }

    /// As [`Hooks::passing`].
    pub(crate) fn passing(&mut self) -> mpsc::Receiver<()> {
        self.hooks.passing()
    }

    /// Ends the wait for a response that the guest did not set.
    pub(crate) fn close_outparams(&mut self) {
        for entry in self.table.iter_mut() {
            if let Some(outparam) = entry.downcast_mut::<HostResponseOutparam>() {
                outparam.send = Box::new(|_| ());
            }
        }
    }

    /// Lets every body that the guest has not finished break off. Without this Wasmtime would end them like whole ones.
    pub(crate) fn break_off(&mut self) {
        self.ended.cancel();
        for entry in self.table.iter_mut() {
            if let Some(body) = entry.downcast_mut::<HostOutgoingBody>() {
                let (nothing, _) = HostOutgoingBody::new(StreamContext::Response, None, 1, 1);
                std::mem::replace(body, nothing).abort();
            }
        }
    }
}

impl Drop for State {
    fn drop(&mut self) {
        self.break_off();
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.hooks }
    }
}

/// What a guest's memories and tables may grow to, all together.
pub(crate) struct Room {
    budget: Budget,
    charge: Charge,
    parts: StoreLimits,
}

impl Room {
    pub(crate) fn new(options: &LoadOptions) -> Self {
        let elements = usize::try_from(options.max_table_elements).unwrap_or(usize::MAX);
        let parts =
            StoreLimitsBuilder::new().table_elements(elements).instances(PARTS).memories(PARTS).tables(PARTS).build();
        let budget = Budget::within(options.max_memory, options.total_memory.clone());
        Room { charge: budget.nothing(), budget, parts }
    }

    pub(crate) fn budget(&self) -> &Budget {
        &self.budget
    }
}

impl ResourceLimiter for Room {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let fits = maximum.is_none_or(|maximum| desired <= maximum);
        Ok(fits && self.charge.grow(desired.saturating_sub(current) as u64).is_ok())
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let fits = self.parts.table_growing(current, desired, maximum)?;
        Ok(fits && self.charge.grow(desired.saturating_sub(current) as u64 * ELEMENT).is_ok())
    }

    fn instances(&self) -> usize {
        self.parts.instances()
    }

    fn tables(&self) -> usize {
        self.parts.tables()
    }

    fn memories(&self) -> usize {
        self.parts.memories()
    }
}
