//! Connects the parts of a composed component: handles that are passed from one to another, calls between them, and
//! strings that are copied from one memory to another.
//!
//! `wharf-component` makes one module of such a component and imports these functions from [`MODULE`]. The module's
//! plan, [`Composed`], says what their numbers mean. Each component instance has handles of its own, so that no part of
//! a guest reaches what another holds.

mod handles;
mod plan;
mod transcode;

pub(crate) use self::handles::Handles;
pub(crate) use self::plan::Composed;
use self::transcode::Transcode;
use crate::abi::wasi02::Host;
use crate::error::{Error, Kind};
use crate::stop::Stop;
use crate::types::{Caller, FuncType, ValType};

/// The module name of these functions.
pub(crate) const MODULE: &str = "wharf:component/intrinsics";

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Intrinsic {
    /// A handle of a resource that the guest itself defines, in this table of the plan.
    New(u32),
    Rep(u32),
    Drop(u32),
    TransferOwn,
    TransferBorrow,
    Enter,
    Exit,
    Trap,
    Transcode(Transcode),
}

impl Intrinsic {
    /// The function of that name, and its type.
    pub(crate) fn parse(name: &str) -> Option<(Self, FuncType)> {
        let ty = |params: usize, results: usize| FuncType {
            params: vec![ValType::I32; params],
            results: vec![ValType::I32; results],
        };
        let table = |prefix: &str| name.strip_prefix(prefix)?.parse::<u32>().ok();
        if let Some(table) = table("[resource-new]") {
            return Some((Intrinsic::New(table), ty(1, 1)));
        }
        if let Some(table) = table("[resource-rep]") {
            return Some((Intrinsic::Rep(table), ty(1, 1)));
        }
        if let Some(table) = table("[resource-drop]") {
            return Some((Intrinsic::Drop(table), ty(1, 0)));
        }
        if let Some(transcode) = name.strip_prefix("transcode-") {
            let transcode = Transcode::parse(transcode)?;
            let (params, results) = transcode.slots();
            return Some((Intrinsic::Transcode(transcode), ty(params, results)));
        }
        Some(match name {
            "resource-transfer-own" => (Intrinsic::TransferOwn, ty(3, 1)),
            "resource-transfer-borrow" => (Intrinsic::TransferBorrow, ty(3, 1)),
            "enter-sync-call" => (Intrinsic::Enter, ty(3, 0)),
            "exit-sync-call" => (Intrinsic::Exit, ty(0, 0)),
            "trap" => (Intrinsic::Trap, ty(1, 0)),
            _ => return None,
        })
    }

    /// The handle table it is about.
    pub(crate) fn table(&self) -> Option<u32> {
        match self {
            Intrinsic::New(table) | Intrinsic::Rep(table) | Intrinsic::Drop(table) => Some(*table),
            _ => None,
        }
    }

    /// The memories it works on, by their exports.
    pub(crate) fn memories(&self) -> Option<[&str; 2]> {
        match self {
            Intrinsic::Transcode(transcode) => Some(transcode.memories()),
            _ => None,
        }
    }

    /// Runs it for the guest behind `caller`.
    pub(crate) fn call(&self, host: &Host, caller: &mut dyn Caller, slots: &mut [u64]) -> Result<(), Stop> {
        let slot = |at: usize| slots.get(at).copied().unwrap_or_default() as u32;
        let (first, second, third) = (slot(0), slot(1), slot(2));
        let result = match self {
            Intrinsic::Transcode(transcode) => {
                let _charge = host.budget().charge(transcode.cost(slots))?;
                return transcode.run(caller, slots).map_err(broken);
            }
            Intrinsic::Trap => return Err(broken(reason(first))),
            Intrinsic::New(table) => {
                host.leaves(*table, caller)?;
                host.handles(|handles| handles.new_resource(*table, first))?
            }
            Intrinsic::Rep(table) => host.handles(|handles| handles.representation(*table, first))?,
            Intrinsic::Drop(table) => {
                host.leaves(*table, caller)?;
                let ended = host.handles(|handles| handles.drop_resource(*table, first))?;
                if let Some((destructor, representation)) = ended {
                    caller.call(&destructor, &mut [representation.into()]).map_err(|trap| {
                        let message = format!("the guest trapped in the destructor `{destructor}`");
                        Stop::from(Error::new(Kind::Trap, message).with_source(trap))
                    })?;
                }
                return Ok(());
            }
            Intrinsic::TransferOwn => host.handles(|handles| handles.transfer_own(first, second, third))?,
            Intrinsic::TransferBorrow => host.handles(|handles| handles.transfer_borrow(first, second, third))?,
            Intrinsic::Enter => return host.handles(Handles::enter),
            Intrinsic::Exit => return host.handles(Handles::exit),
        };
        if let Some(slot) = slots.first_mut() {
            *slot = result.into();
        }
        Ok(())
    }
}

/// Ends the guest for what one of its components does to another.
fn broken(rule: impl Into<String>) -> Stop {
    Error::new(Kind::Trap, format!("one component of the guest broke a rule in a call to another: {}", rule.into()))
        .into()
}

/// What the number of a trap means that an adapter between two components raises, as `wasmtime-environ` counts them.
fn reason(code: u32) -> String {
    match code {
        17 => "it called a component that is already being called".to_owned(),
        23 => "it made a call from its allocator or its post-return function".to_owned(),
        25 => "it passed a number that is not a valid `char`".to_owned(),
        30 => "it passed a string that is not within its memory".to_owned(),
        31 => "it passed a list that is not within its memory".to_owned(),
        32 => "it passed a case that its type does not have".to_owned(),
        33 => "it passed a pointer that is not aligned".to_owned(),
        other => format!("trap {other} of an adapter"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read() {
        assert_eq!(Intrinsic::parse("[resource-new]3").unwrap().0, Intrinsic::New(3));
        assert_eq!(Intrinsic::parse("enter-sync-call").unwrap().1.params.len(), 3);
        let (transcode, ty) = Intrinsic::parse("transcode-utf16-to-utf8;from=memory;to=memory_1").unwrap();
        assert_eq!(transcode.memories(), Some(["memory", "memory_1"]));
        assert_eq!((ty.params.len(), ty.results.len()), (5, 2));
        for bad in ["", "[resource-new]x", "transcode-utf32-to-utf8;from=a;to=b", "transcode-utf8-to-utf8", "trap;x"] {
            assert!(Intrinsic::parse(bad).is_none(), "{bad}");
        }
    }
}
