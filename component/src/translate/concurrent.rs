//! What a component has of the component model's concurrency.

use wasmtime_environ::EntityRef;
use wasmtime_environ::component as environ;
use wasmtime_environ::component::{
    RuntimeComponentInstanceIndex, Trampoline, TypeFutureTableIndex, TypeStreamTableIndex, UnsafeIntrinsic,
};

use super::Reader;
use crate::blueprint::{Blueprint, BuiltinOptions, Context, HostKind};
use crate::error::{Feature, Result, internal, unsupported};
use crate::plan::{Builtin, EndFunction, Passing, Payload};

/// The slot of a context that a function reads or writes.
pub(super) fn context(intrinsic: UnsafeIntrinsic) -> Result<Context> {
    Ok(match intrinsic {
        UnsafeIntrinsic::ContextGetI32_0 => Context::Get(0),
        UnsafeIntrinsic::ContextGetI32_1 => Context::Get(1),
        UnsafeIntrinsic::ContextSetI32_0 => Context::Set(0),
        UnsafeIntrinsic::ContextSetI32_1 => Context::Set(1),
        _ => return Err(internal("a component uses something that only Wasmtime has")),
    })
}

/// Refuses functions that would need a stack of their own.
pub(super) fn check(blueprint: &Blueprint) -> Result<()> {
    // A function that is lowered asynchronously has options of its own, which name no callback.
    let stackful = |at: usize| blueprint.options.get(at).is_some_and(|it| it.asynchronous && it.callback.is_none());
    match blueprint.exports.iter().find(|export| stackful(export.options)) {
        Some(export) => Err(unsupported(Feature::Stackful, format!("the function `{}`", export.function))),
        None => Ok(()),
    }
}

impl Reader<'_> {
    /// A function of the component model's concurrency.
    pub(super) fn concurrent(&mut self, trampoline: &Trampoline) -> Result<HostKind> {
        use Trampoline as T;
        let only = |instance: &RuntimeComponentInstanceIndex, asynchronous: bool| BuiltinOptions::Only {
            instance: instance.as_u32(),
            asynchronous,
        };
        let listed = |options: &environ::OptionsIndex| BuiltinOptions::Listed(options.index());
        let (builtin, options) = match trampoline {
            T::TaskReturn { results, options, .. } => {
                let types = self.types;
                let result = match &*types[*results].types {
                    [] => None,
                    [one] => Some(self.value(one)?),
                    _ => return Err(internal("a task has several results")),
                };
                self.blueprint.results.insert(results.as_u32(), result);
                (Builtin::TaskReturn { result }, listed(options))
            }
            T::TaskCancel { instance } => (Builtin::TaskCancel, only(instance, false)),
            T::WaitableSetNew { instance } => (Builtin::WaitableSetNew, only(instance, false)),
            T::WaitableSetWait { options, .. } => (Builtin::WaitableSetWait, listed(options)),
            T::WaitableSetPoll { options, .. } => (Builtin::WaitableSetPoll, listed(options)),
            T::WaitableSetDrop { instance } => (Builtin::WaitableSetDrop, only(instance, false)),
            T::WaitableJoin { instance } => (Builtin::WaitableJoin, only(instance, false)),
            T::SubtaskDrop { instance } => (Builtin::SubtaskDrop, only(instance, false)),
            T::SubtaskCancel { instance, async_ } => (Builtin::SubtaskCancel, only(instance, *async_)),
            T::BackpressureInc { instance } => (Builtin::BackpressureInc, only(instance, false)),
            T::BackpressureDec { instance } => (Builtin::BackpressureDec, only(instance, false)),
            T::ThreadYield { instance, .. } => (Builtin::Yield, only(instance, false)),
            T::StreamNew { instance, ty } => self.of_stream(*ty, EndFunction::New, only(instance, false))?,
            T::StreamRead { ty, options, .. } => self.of_stream(*ty, EndFunction::Read, listed(options))?,
            T::StreamWrite { ty, options, .. } => self.of_stream(*ty, EndFunction::Write, listed(options))?,
            T::StreamCancelRead { instance, ty, async_ } => {
                self.of_stream(*ty, EndFunction::CancelRead, only(instance, *async_))?
            }
            T::StreamCancelWrite { instance, ty, async_ } => {
                self.of_stream(*ty, EndFunction::CancelWrite, only(instance, *async_))?
            }
            T::StreamDropReadable { instance, ty } => {
                self.of_stream(*ty, EndFunction::DropReadable, only(instance, false))?
            }
            T::StreamDropWritable { instance, ty } => {
                self.of_stream(*ty, EndFunction::DropWritable, only(instance, false))?
            }
            T::FutureNew { instance, ty } => self.of_future(*ty, EndFunction::New, only(instance, false))?,
            T::FutureRead { ty, options, .. } => self.of_future(*ty, EndFunction::Read, listed(options))?,
            T::FutureWrite { ty, options, .. } => self.of_future(*ty, EndFunction::Write, listed(options))?,
            T::FutureCancelRead { instance, ty, async_ } => {
                self.of_future(*ty, EndFunction::CancelRead, only(instance, *async_))?
            }
            T::FutureCancelWrite { instance, ty, async_ } => {
                self.of_future(*ty, EndFunction::CancelWrite, only(instance, *async_))?
            }
            T::FutureDropReadable { instance, ty } => {
                self.of_future(*ty, EndFunction::DropReadable, only(instance, false))?
            }
            T::FutureDropWritable { instance, ty } => {
                self.of_future(*ty, EndFunction::DropWritable, only(instance, false))?
            }
            T::PrepareCall { memory } => return Ok(HostKind::PrepareCall { memory: memory.map(EntityRef::index) }),
            T::SyncStartCall { callback } => {
                return Ok(HostKind::StartAndWait { callback: callback.map(EntityRef::index) });
            }
            T::AsyncStartCall { callback, post_return } => {
                let (callback, post_return) = (callback.map(EntityRef::index), post_return.map(EntityRef::index));
                return Ok(HostKind::Start { callback, post_return });
            }
            T::StreamTransfer => return Ok(HostKind::StreamTransfer),
            T::FutureTransfer => return Ok(HostKind::FutureTransfer),
            other => return Err(refused(other)),
        };
        Ok(HostKind::Async { builtin, options })
    }

    fn of_stream(
        &mut self,
        table: TypeStreamTableIndex,
        what: EndFunction,
        options: BuiltinOptions,
    ) -> Result<(Builtin, BuiltinOptions)> {
        Ok((Builtin::End { of: Passing::Stream, table: self.stream(table)?, what }, options))
    }

    fn of_future(
        &mut self,
        table: TypeFutureTableIndex,
        what: EndFunction,
        options: BuiltinOptions,
    ) -> Result<(Builtin, BuiltinOptions)> {
        Ok((Builtin::End { of: Passing::Future, table: self.future(table)?, what }, options))
    }

    /// What the numbers mean by which adapters pass streams and futures on.
    pub(super) fn transferred(&mut self) -> Result<()> {
        let passes = |kind: &HostKind| matches!(kind, HostKind::StreamTransfer | HostKind::FutureTransfer);
        if !self.blueprint.hosts.iter().any(|host| passes(&host.kind)) {
            return Ok(());
        }
        for index in 0..self.stream_tables {
            let position = self.stream(TypeStreamTableIndex::new(index))?;
            self.blueprint.stream_tables.push(position);
        }
        for index in 0..self.future_tables {
            let position = self.future(TypeFutureTableIndex::new(index))?;
            self.blueprint.future_tables.push(position);
        }
        Ok(())
    }

    /// The position of a stream's type in the plan.
    pub(super) fn stream(&mut self, table: TypeStreamTableIndex) -> Result<u32> {
        let types = self.types;
        let table = &types[table];
        let ty = self.optional(types[table.ty].payload.as_ref())?;
        position(&mut self.blueprint.streams, Payload { instance: table.instance.as_u32(), ty })
    }

    /// The position of a future's type in the plan.
    pub(super) fn future(&mut self, table: TypeFutureTableIndex) -> Result<u32> {
        let types = self.types;
        let table = &types[table];
        let ty = self.optional(types[table.ty].payload.as_ref())?;
        position(&mut self.blueprint.futures, Payload { instance: table.instance.as_u32(), ty })
    }
}

/// Where the list has this type; it is added if it has not.
fn position(list: &mut Vec<Payload>, payload: Payload) -> Result<u32> {
    let known = list.iter().position(|known| *known == payload);
    let position = known.unwrap_or_else(|| {
        list.push(payload);
        list.len() - 1
    });
    u32::try_from(position).map_err(|_| internal("too many types of streams"))
}

fn refused(trampoline: &Trampoline) -> crate::error::Fault {
    use Trampoline as T;
    let feature = match trampoline {
        T::ErrorContextNew { .. }
        | T::ErrorContextDebugMessage { .. }
        | T::ErrorContextDrop { .. }
        | T::ErrorContextTransfer => Feature::ErrorContext,
        _ => Feature::ComponentThreads,
    };
    unsupported(feature, format!("the built-in function {}", trampoline.symbol_name()))
}
