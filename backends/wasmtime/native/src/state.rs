//! What a store holds for one guest, and the limits on what it holds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use wasmtime::component::ResourceTable;
use wasmtime::{ResourceLimiter, StoreLimits, StoreLimitsBuilder};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::p2::body::{HostOutgoingBody, StreamContext};
use wasmtime_wasi_http::p2::types::HostResponseOutparam;
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};
use wharf_core::LoadOptions;
use wharf_core::http::Outbound;

use crate::hooks::Hooks;
use crate::stdio::Writes;

/// How many handles a guest may have open; as on wharf's own host.
const HANDLES: usize = 4096;
/// How many core instances, memories and tables a component may make.
const PARTS: usize = 1000;

/// One guest's state.
pub(crate) struct State {
    table: ResourceTable,
    wasi: WasiCtx,
    pub(crate) stderr: Writes,
    http: WasiHttpCtx,
    hooks: Hooks,
    pub(crate) room: Room,
    ended: Arc<AtomicBool>,
}

impl State {
    /// Bodies of 0.3 are streams of the guest's, in no table: they are `guarded` instead.
    pub(crate) fn new(wasi: WasiCtx, stderr: Writes, outbound: Option<Outbound>, room: Room, guarded: bool) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(HANDLES);
        let ended = Arc::new(AtomicBool::new(false));
        let hooks = Hooks::new(outbound, guarded.then(|| ended.clone()));
        State { table, wasi, stderr, http: WasiHttpCtx::new(), hooks, room, ended }
    }

    /// How many handles the guest has open.
    pub(crate) fn handles(&mut self) -> usize {
        self.table.iter_mut().count()
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
        self.ended.store(true, Ordering::SeqCst);
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

/// What a guest's memories and tables may grow to: the memories all together.
pub(crate) struct Room {
    memory: u64,
    used: u64,
    parts: StoreLimits,
}

impl Room {
    pub(crate) fn new(options: &LoadOptions) -> Self {
        let elements = usize::try_from(options.max_table_elements).unwrap_or(usize::MAX);
        let parts =
            StoreLimitsBuilder::new().table_elements(elements).instances(PARTS).memories(PARTS).tables(PARTS).build();
        Room { memory: options.max_memory, used: 0, parts }
    }
}

impl ResourceLimiter for Room {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let used = self.used.saturating_add(desired.saturating_sub(current) as u64);
        if used > self.memory || maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        self.used = used;
        Ok(true)
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        self.parts.table_growing(current, desired, maximum)
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
