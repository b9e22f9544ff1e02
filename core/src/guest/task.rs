//! Calls what is lifted asynchronously: a task, whose callback is called until it exits.

use std::sync::Arc;

use wharf_plan::{ASYNC_LIFT, CALLBACK, CONTEXT, CONTEXT_SLOTS};

use super::{Session, function};
use crate::abi::concurrent::{Code, Task, TaskKind};
use crate::abi::wasi02::http::Reply;
use crate::error::{Error, Kind};
use crate::http::Body;
use crate::inspect;
use crate::stop::Stop;
use crate::types::{Export, ExportType, ValType};

/// The export that requests are handed to.
#[derive(Clone)]
pub(super) enum Handler {
    Wasi02(Lifted),
    Wasi03(Lifted),
}

impl Handler {
    /// The one among these exports, if there is one; that of WASI 0.3 if there are both.
    pub(super) fn of(exports: &[Export]) -> crate::error::Result<Option<Self>> {
        if let Some(handler) = inspect::handler03(exports) {
            return Lifted::of(exports, handler).map(Handler::Wasi03).map(Some);
        }
        inspect::handler(exports).map(|handler| Lifted::of(exports, handler).map(Handler::Wasi02)).transpose()
    }
}

/// An export that the canonical ABI lifts, and its post-return function, by which a guest frees what it returned.
#[derive(Clone)]
pub(super) struct Lifted {
    pub(super) name: Arc<str>,
    pub(super) post_return: Option<Arc<str>>,
}

impl Lifted {
    /// The export `name`.
    ///
    /// # Errors
    /// [`Kind::Guest`] if there is no such function, or its post-return function does not take what it returns.
    pub(super) fn of(exports: &[Export], name: &str) -> crate::error::Result<Self> {
        let results = &function(exports, name)?.results;
        let post_return = format!("cabi_post_{name}");
        let post_return = exports.iter().find(|export| export.name == post_return);
        if let Some(export) = post_return
            && !matches!(&export.ty, ExportType::Function(ty) if ty.params == *results && ty.results.is_empty())
        {
            let message = format!("the export `{}` is not a function that takes what `{name}` returns", export.name);
            return Err(Error::new(Kind::Guest, message));
        }
        Ok(Lifted { name: name.into(), post_return: post_return.map(|export| export.name.as_str().into()) })
    }
}

impl Session {
    /// The same for a guest of WASI 0.3, which may go on after its response.
    pub(super) fn handle03(
        &mut self,
        handler: &Lifted,
        request: http::Request<Body>,
        reply: Reply,
    ) -> Result<(), Stop> {
        let Some(handle) = self.linked.host.begin03(request, &reply)? else { return Ok(()) };
        let mut slots = [handle];
        if handler.name.starts_with(ASYNC_LIFT) {
            self.run_task(&handler.name, &mut slots, TaskKind::Response(reply))?;
        } else {
            self.clear_context();
            self.answer_at_once(handler, &mut slots, reply)?;
            let finished = self.linked.host.finish_begun(&mut *self.instance);
            self.checked(finished)?;
        }
        self.linked.host.end03();
        Ok(())
    }

    /// Answers with what a handler returns that is lifted synchronously.
    pub(super) fn answer_at_once(&mut self, handler: &Lifted, slots: &mut [u64; 1], reply: Reply) -> Result<(), Stop> {
        self.enter(&handler.name, slots)?;
        let declared = self.declared.as_ref().and_then(|declared| declared.exported(&handler.name));
        let options = declared.map(|(_, options)| options).unwrap_or_default();
        let answered = self.linked.host.respond_from(slots[0] as u32, &options, &mut *self.instance, reply);
        self.checked(answered)?;
        self.returned(handler, slots)
    }

    /// Checks that an export that is lifted asynchronously, and its callback, have the types that they are to have.
    pub(super) fn check_callback(&self, export: &str, callback: &str) -> crate::error::Result<()> {
        let ty = function(&self.exports, callback)?;
        if ty.params != [ValType::I32; 3] || ty.results != [ValType::I32] {
            let message =
                format!("the export `{callback}` is not a callback: its type is {ty}, not (i32 x 3) -> (i32)");
            return Err(Error::new(Kind::Guest, message));
        }
        if function(&self.exports, export)?.results != [ValType::I32] {
            let message = format!("the export `{export}` does not answer what it waits for, by an i32");
            return Err(Error::new(Kind::Guest, message));
        }
        Ok(())
    }

    /// Calls an export that is lifted asynchronously, and its callback with what it waits for, until it exits. Gives what it
    /// has returned.
    pub(super) fn run_task(&mut self, export: &str, slots: &mut [u64], kind: TaskKind) -> Result<Vec<u64>, Stop> {
        let callback = format!("{CALLBACK}{export}");
        self.check_callback(export, &callback)?;
        let declared = self.declared.as_ref().and_then(|declared| declared.exported(export));
        self.linked.host.begin_task(Task::new(kind, declared))?;
        self.clear_context();
        self.enter(export, slots)?;
        let mut packed = slots.first().copied().unwrap_or_default() as u32;
        loop {
            let event = match Code::of(packed) {
                Some(Code::Exit) => break,
                Some(code) => self.linked.host.wait_between(code, &mut *self.instance),
                None => Err(self.linked.host.wrong_code(packed)),
            };
            let mut event = self.checked(event)?;
            self.enter(&callback, &mut event)?;
            packed = event[0] as u32;
        }
        let ended = self.linked.host.end_task(&mut *self.instance);
        Ok(self.checked(ended)?.0)
    }

    /// A task's context is nobody else's. It may wait.
    fn clear_context(&mut self) {
        self.linked.host.set_may_block(&mut *self.instance, true);
        for slot in 0..CONTEXT_SLOTS {
            self.instance.set_global(&format!("{CONTEXT}{slot}"), 0);
        }
    }

    /// Ends the guest if the host does between two of its calls.
    fn checked<T>(&mut self, outcome: Result<T, Stop>) -> Result<T, Stop> {
        outcome.map_err(|stop| {
            self.spent = true;
            self.linked.host.close();
            // Another task that had its turn may have been stopped in a call: the first reason stands.
            self.imports.take_stop().unwrap_or(stop)
        })
    }
}
