//! Connects the parts of a composed component: handles that are passed from one to another, calls between them, and
//! strings that are copied from one memory to another.
//!
//! `wharf-component` makes one module of such a component and imports an [`Intrinsic`] for each of these things. The module's
//! plan, [`Composed`], says what their numbers mean. Each component instance has handles of its own, so that no part of
//! a guest reaches what another holds.

mod calls;
mod declared;
mod handles;
mod plan;
#[cfg(test)]
mod tests;
mod transcode;
mod values;

use wharf_plan::{CoreType, Intrinsic, Passing};

use self::calls::Callee;
pub(crate) use self::calls::{Answer, Call};
pub(crate) use self::declared::Declared;
pub(crate) use self::handles::{Handles, Of};
pub(crate) use self::plan::Composed;
use self::transcode::Transcode;
pub(crate) use self::values::{Place, copy};
use crate::abi::wasi02::Host;
use crate::error::{Error, Kind};
use crate::stop::Stop;
use crate::types::{Caller, FuncType, ValType};

/// The type of a function that connects components.
pub(crate) fn ty(intrinsic: &Intrinsic) -> FuncType {
    let (params, results) = intrinsic.signature();
    let types = |types: Vec<CoreType>| {
        types.into_iter().map(|ty| match ty {
            CoreType::I32 => ValType::I32,
            CoreType::I64 => ValType::I64,
            CoreType::F32 => ValType::F32,
            CoreType::F64 => ValType::F64,
        })
    };
    FuncType { params: types(params).collect(), results: types(results).collect() }
}

/// Runs `intrinsic` for the guest behind `caller`.
pub(crate) fn call(intrinsic: &Intrinsic, host: &Host, caller: &mut dyn Caller, slots: &mut [u64]) -> Result<(), Stop> {
    let slot = |at: usize| slots.get(at).copied().unwrap_or_default() as u32;
    let (first, second, third) = (slot(0), slot(1), slot(2));
    let result = match intrinsic {
        Intrinsic::Transcode { transcoding, from, to } => {
            let transcode = Transcode { transcoding: *transcoding, from, to };
            let _charge = host.budget().charge(transcode.cost(slots))?;
            return transcode.run(caller, slots).map_err(broken);
        }
        Intrinsic::Trap => return Err(broken(host.trap_reason(first))),
        Intrinsic::ResourceNew(table) => {
            host.leaves(*table, caller)?;
            host.handles(|handles| handles.new_resource(*table, first))?
        }
        Intrinsic::ResourceRep(table) => host.handles(|handles| handles.representation(*table, first))?,
        Intrinsic::ResourceDrop(table) => {
            host.leaves(*table, caller)?;
            let ended = host.handles(|handles| handles.drop_resource(*table, first))?;
            return ended.map_or(Ok(()), |ended| host.destroy(&ended, caller));
        }
        Intrinsic::TransferOwn => host.handles(|handles| handles.transfer_own(first, second, third))?,
        Intrinsic::TransferBorrow => host.handles(|handles| handles.transfer_borrow(first, second, third))?,
        Intrinsic::EnterSyncCall => return host.enter_sync(caller),
        Intrinsic::ExitSyncCall => return host.exit_sync(caller),
        Intrinsic::PrepareCall { memory, .. } => return host.prepare(memory.as_deref(), caller, slots),
        Intrinsic::StartAndWait { callback, .. } => {
            let callee = Callee { callback: callback.as_deref(), post_return: None };
            return host.start_and_wait(&callee, caller, slots);
        }
        Intrinsic::Start { callback, post_return } => {
            let callee = Callee { callback: callback.as_deref(), post_return: post_return.as_deref() };
            return host.start_call(&callee, caller, slots);
        }
        Intrinsic::StreamTransfer => host.transfer(Passing::Stream, first, second, third)?,
        Intrinsic::FutureTransfer => host.transfer(Passing::Future, first, second, third)?,
    };
    if let Some(slot) = slots.first_mut() {
        *slot = result.into();
    }
    Ok(())
}

/// Ends the guest for what one of its components does to another.
fn broken(rule: impl Into<String>) -> Stop {
    Error::new(Kind::Trap, format!("one component of the guest broke a rule in a call to another: {}", rule.into()))
        .into()
}
