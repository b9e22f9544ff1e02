//! The canonical ABI: how values of WIT types cross between a guest's memory and the host.
//!
//! A Rust type implements [`Type`] once, by a macro for records, variants, enumerations and flags, and from that come
//! its layout, its flattening, its lifting and its lowering; the signature of every host function is computed from the
//! types of its parameters and result, and a test compares it with the WIT files.
//!
//! The guest's pointers are checked as the specification orders: alignment, then bounds, then what the bytes say.
//! What breaks a rule is a trap that names the function and the rule.

mod compound;
mod offered;
mod primitive;
mod string;
mod wit;

use std::borrow::Cow;
use std::sync::Arc;

use super::State;
use super::options::Options;
use super::table::Resource;
use crate::budget::{Charge, Exceeded};
use crate::error::{Error, Kind};
use crate::memory::{Memory, MemoryError};
use crate::run::Run;
use crate::stop::Stop;
use crate::types::{Caller, Trap, TrapCode, ValType};

pub(crate) use self::offered::Shared;
pub use self::offered::{Borrow as SharedBorrow, Own as SharedOwn};
pub(crate) use self::primitive::{Borrow, Handle, Number, Own};
pub(crate) use self::wit::ResourceName;
pub(crate) use self::wit::WitFunction;
pub use self::wit::{NotAResource, Resources, WitType, kebab};
pub(crate) use crate::{flags, record, variant};

/// The most bytes that the arguments of one call may take on the host.
const MAX_ARGUMENTS: u64 = 128 << 20;

/// How much of them is not charged to the guest: there is one call at a time, and most take next to nothing.
const UNCHARGED: u64 = 128 << 10;

/// How a call ends the guest.
#[derive(Debug)]
pub enum Fault {
    /// A rule was broken: a trap that names the function and the rule.
    Rule(Cow<'static, str>),
    /// Anything else.
    Stop(Stop),
    /// The call is not over: another task of the guest has its turn first.
    #[doc(hidden)]
    Again(Again),
}

type Then = Box<dyn FnOnce(&mut Cx<'_>, &mut [u64]) -> Outcome + Send>;

/// How a call of the guest's goes on once another of its tasks has had its turn, which no host function may do itself: the
/// guest's state is locked then.
pub struct Again(Then);

impl std::fmt::Debug for Again {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Again")
    }
}

impl Again {
    /// Goes on.
    pub(crate) fn go_on(self, cx: &mut Cx<'_>, slots: &mut [u64]) -> Outcome {
        (self.0)(cx, slots)
    }
}

/// Lets another task of the guest have its turn, and goes on with this call then.
pub(crate) fn again<T>(then: impl FnOnce(&mut Cx<'_>, &mut [u64]) -> Outcome + Send + 'static) -> Outcome<T> {
    Err(Fault::Again(Again(Box::new(then))))
}

/// What a host function of this ABI returns inside core.
pub type Outcome<T = ()> = Result<T, Fault>;

impl From<Stop> for Fault {
    fn from(stop: Stop) -> Self {
        Fault::Stop(stop)
    }
}

impl From<Exceeded> for Fault {
    fn from(exceeded: Exceeded) -> Self {
        Fault::Stop(exceeded.into())
    }
}

impl From<MemoryError> for Fault {
    fn from(error: MemoryError) -> Self {
        Fault::Rule(error.to_string().into())
    }
}

/// Ends the guest for breaking a rule.
pub fn rule<T>(message: impl Into<Cow<'static, str>>) -> Outcome<T> {
    Err(Fault::Rule(message.into()))
}

/// Ends the guest for wanting more than it may have.
pub(crate) fn limit<T>(message: impl Into<String>) -> Outcome<T> {
    Err(Fault::Stop(Error::new(Kind::Limit, message).into()))
}

/// One call of a host function: the guest behind it, its options, and what its arguments take.
pub struct Cx<'a> {
    pub(crate) state: &'a mut State,
    pub(crate) caller: &'a mut dyn Caller,
    options: &'a Options,
    arguments: u64,
    /// What of that is charged until the call ends.
    charge: Option<Charge>,
}

impl<'a> Cx<'a> {
    pub(crate) fn new(state: &'a mut State, caller: &'a mut dyn Caller, options: &'a Options) -> Self {
        Cx { state, caller, options, arguments: 0, charge: None }
    }

    /// The component instance that calls.
    pub(crate) fn instance(&self) -> u32 {
        self.options.instance
    }

    /// The guest's time.
    pub(crate) fn run(&self) -> Run {
        self.state.run.clone()
    }

    pub(crate) fn memory(&mut self) -> Outcome<Memory<'_>> {
        Ok(Memory::named(self.caller, &self.options.memory)?)
    }

    /// The memory that the guest exports by this name.
    pub(crate) fn memory_of(&mut self, export: &str) -> Outcome<Memory<'_>> {
        Ok(Memory::named(self.caller, export)?)
    }

    /// The call's options, to be kept beyond it.
    pub(crate) fn shared_options(&self) -> Arc<Options> {
        Arc::new(self.options.clone())
    }

    pub(crate) fn write(&mut self, ptr: u32, bytes: &[u8]) -> Outcome {
        Ok(self.memory()?.write(ptr, bytes)?)
    }

    /// Counts bytes that the host has until the call ends.
    pub(crate) fn spend(&mut self, bytes: u64) -> Outcome {
        self.arguments = self.arguments.saturating_add(bytes);
        if self.arguments > MAX_ARGUMENTS {
            return limit(format!("the arguments of one call take more than {MAX_ARGUMENTS} bytes"));
        }
        if let charged @ 1.. = self.arguments.saturating_sub(UNCHARGED) {
            self.charge.get_or_insert_with(|| self.state.budget.nothing()).resize(charged)?;
        }
        Ok(())
    }

    /// Room for `size` bytes in the guest, from its own allocator.
    pub(crate) fn realloc(&mut self, align: u32, size: u32) -> Outcome<u32> {
        let mut slots = [0, 0, u64::from(align), u64::from(size)];
        let options = self.options;
        let realloc = &options.realloc;
        self.may_leave(0);
        self.caller.call(realloc, &mut slots).map_err(|trap| stop_for(self.state, realloc, trap))?;
        self.may_leave(1);
        let ptr = slots[0] as u32;
        if !ptr.is_multiple_of(align) {
            return rule(format!("`{realloc}` returned {ptr:#x}, which is not aligned to {align}"));
        }
        if self.memory()?.slice(ptr, size).is_err() {
            return rule(format!(
                "`{realloc}` returned {size} bytes at {ptr:#x}, which are not within the guest's memory"
            ));
        }
        Ok(ptr)
    }

    /// Says whether the component instance that calls may call out, where others could be called.
    fn may_leave(&mut self, value: u64) {
        let instance = self.options.instance;
        if let Some(flag) = self.state.handles.as_ref().and_then(|handles| handles.may_leave(instance)) {
            self.caller.set_global(flag, value);
        }
    }

    /// What the guest's `handle` stands for in the table.
    pub(crate) fn look(&mut self, handle: u32) -> Outcome<u32> {
        match &mut self.state.handles {
            Some(handles) => handles.look(self.options.instance, handle),
            None => Ok(handle),
        }
    }

    /// The same for a handle that the guest gives away.
    pub(crate) fn take(&mut self, handle: u32) -> Outcome<u32> {
        match &mut self.state.handles {
            Some(handles) => handles.take(self.options.instance, handle),
            None => Ok(handle),
        }
    }

    /// A handle of the guest's for what stands at `index` of the table.
    pub(crate) fn give<T: Resource>(&mut self, index: u32) -> Outcome<u32> {
        match &mut self.state.handles {
            Some(handles) => handles.give(self.options.instance, T::of(), index),
            None => Ok(index),
        }
    }

    /// Opens a handle.
    pub(crate) fn push<T: Resource>(&mut self, value: T) -> Outcome<Handle<T>> {
        self.state.table.push(value, None).map(Handle::new)
    }

    /// Opens a handle that `parent` has to outlive.
    pub(crate) fn push_child<T: Resource, P>(&mut self, value: T, parent: Borrow<P>) -> Outcome<Handle<T>> {
        self.state.table.push(value, Some(parent.index())).map(Handle::new)
    }

    /// What a borrowed handle stands for.
    pub(crate) fn get<T: Resource>(&mut self, handle: Borrow<T>) -> Outcome<&mut T> {
        self.state.table.get(handle.index())
    }
}

/// What a trap in the guest's allocator means. If a host function stopped the guest, that reason was kept first.
fn stop_for(state: &State, realloc: &str, trap: Trap) -> Fault {
    let over = (trap.code == TrapCode::Interrupted).then(|| state.run.over()).flatten();
    Fault::Stop(over.unwrap_or_else(|| {
        Error::new(Kind::Trap, format!("the guest trapped in `{realloc}`")).with_source(trap).into()
    }))
}

fn few() -> Fault {
    Fault::Stop(Error::new(Kind::Internal, "a host function got fewer slots than it has parameters").into())
}

/// The slots of a call, taken or filled one by one.
pub struct Flat<'a> {
    slots: &'a mut [u64],
    at: usize,
}

impl<'a> Flat<'a> {
    pub(crate) fn new(slots: &'a mut [u64]) -> Self {
        Flat { slots, at: 0 }
    }

    fn slot(&mut self) -> Outcome<&mut u64> {
        self.at += 1;
        self.slots.get_mut(self.at - 1).ok_or_else(few)
    }

    /// The next `len` slots, which a variant's payload may use up to.
    pub fn part(&mut self, len: usize) -> Outcome<Flat<'_>> {
        let from = self.at;
        self.at += len;
        match self.slots.get_mut(from..self.at) {
            Some(slots) => Ok(Flat::new(slots)),
            None => Err(few()),
        }
    }

    /// Takes the next slot.
    pub(crate) fn next(&mut self) -> Outcome<u64> {
        self.slot().copied()
    }

    /// Fills the next slot.
    pub(crate) fn put(&mut self, value: u64) -> Outcome {
        *self.slot()? = value;
        Ok(())
    }
}

/// The next multiple of `align`, a power of two.
pub const fn align_to(offset: u32, align: u32) -> u32 {
    offset.wrapping_add(align - 1) & !(align - 1)
}

/// The larger one.
pub const fn max(a: u32, b: u32) -> u32 {
    if a > b { a } else { b }
}

/// The larger one.
pub const fn max_flat(a: usize, b: usize) -> usize {
    if a > b { a } else { b }
}

/// A WIT type in Rust: its layout in memory and its flattening.
///
/// Numbers, `bool`, `char`, `String`, `Vec`, `Bytes`, `Option`, `Result`, tuples and resources are; records, variants,
/// enumerations and flags of your own become one by [`record!`](crate::record), [`variant!`](crate::variant) and
/// [`flags!`](crate::flags).
pub trait Type {
    /// Bytes in memory.
    #[doc(hidden)]
    const SIZE: u32;
    /// Alignment in memory.
    #[doc(hidden)]
    const ALIGN: u32;
    /// How many core values it flattens to.
    #[doc(hidden)]
    const FLAT: usize;
    /// Whether lowering it needs the guest's allocator, since something of it lies in memory.
    #[doc(hidden)]
    const REALLOC: bool;

    /// The core types it flattens to.
    #[doc(hidden)]
    fn flat(out: &mut Vec<ValType>);

    /// What WIT calls it, where `resources` are those of an embedder.
    #[doc(hidden)]
    fn wit(resources: &Resources) -> Result<WitType, NotAResource>;
}

/// A WIT type that a guest can pass to the host.
pub trait Lift: Type + Sized {
    /// Takes it from core values.
    #[doc(hidden)]
    fn lift(cx: &mut Cx<'_>, flat: &mut Flat<'_>) -> Outcome<Self>;

    /// Reads it from memory, at an aligned address.
    #[doc(hidden)]
    fn load(cx: &mut Cx<'_>, ptr: u32) -> Outcome<Self>;

    /// Reads `len` of them. The range was checked.
    #[doc(hidden)]
    fn load_list(cx: &mut Cx<'_>, ptr: u32, len: u32) -> Outcome<Vec<Self>> {
        cx.spend(u64::from(len).saturating_mul(std::mem::size_of::<Self>() as u64))?;
        (0..len).map(|at| Self::load(cx, ptr.wrapping_add(at.wrapping_mul(Self::SIZE)))).collect()
    }
}

/// A WIT type that the host can pass to a guest.
pub trait Lower: Type + Sized {
    /// Leaves it in core values.
    #[doc(hidden)]
    fn lower(self, cx: &mut Cx<'_>, flat: &mut Flat<'_>) -> Outcome;

    /// Writes it to memory, at an aligned address.
    #[doc(hidden)]
    fn store(self, cx: &mut Cx<'_>, ptr: u32) -> Outcome;

    /// Writes all of `list`. The range was checked.
    #[doc(hidden)]
    fn store_list(list: Vec<Self>, cx: &mut Cx<'_>, ptr: u32) -> Outcome {
        let mut at = ptr;
        for value in list {
            value.store(cx, at)?;
            at = at.wrapping_add(Self::SIZE);
        }
        Ok(())
    }
}

/// Flattens the payloads of a variant on top of each other.
pub fn join(out: &mut Vec<ValType>, cases: &[fn(&mut Vec<ValType>)]) {
    let from = out.len();
    let mut payload = Vec::new();
    for flat in cases {
        payload.clear();
        flat(&mut payload);
        for (at, ty) in payload.iter().enumerate() {
            match out.get_mut(from + at) {
                None => out.push(*ty),
                Some(joined) if joined == ty => {}
                Some(joined @ (ValType::I32 | ValType::F32)) if matches!(ty, ValType::I32 | ValType::F32) => {
                    *joined = ValType::I32;
                }
                Some(joined) => *joined = ValType::I64,
            }
        }
    }
}

/// The most core values that parameters are passed in; more lie in memory.
const MAX_FLAT_PARAMS: usize = 16;

/// The most of a call that is lowered asynchronously.
pub(crate) const MAX_FLAT_ASYNC_PARAMS: usize = 4;

/// How many slots the parameters take that are the fields of `P`.
pub(crate) const fn passed<P: Type>() -> usize {
    passed_in::<P>(MAX_FLAT_PARAMS)
}

/// The same where at most `most` core values are passed.
pub(crate) const fn passed_in<P: Type>(most: usize) -> usize {
    if P::FLAT > most { 1 } else { P::FLAT }
}

/// Takes the parameters that are the fields of `P` from their slots or, where those are too many, from memory.
pub(crate) fn lift<P: Lift>(cx: &mut Cx<'_>, slots: &mut [u64]) -> Outcome<P> {
    lift_in(cx, slots, MAX_FLAT_PARAMS)
}

/// The same where at most `most` core values are passed.
pub(crate) fn lift_in<P: Lift>(cx: &mut Cx<'_>, slots: &mut [u64], most: usize) -> Outcome<P> {
    if P::FLAT <= most {
        return P::lift(cx, &mut Flat::new(slots));
    }
    let ptr = slots.first().copied().unwrap_or_default() as u32;
    check_place::<P>(cx, "parameters", ptr)?;
    P::load(cx, ptr)
}

/// Refuses a pointer of the guest's to where a `T` is to lie: alignment first, then bounds.
fn check_place<T: Type>(cx: &mut Cx<'_>, what: &str, ptr: u32) -> Outcome {
    if !ptr.is_multiple_of(T::ALIGN) {
        return rule(format!("the pointer {ptr:#x} for the {what} is not aligned to {}", T::ALIGN));
    }
    if cx.memory()?.slice(ptr, T::SIZE).is_err() {
        return rule(format!("the {} bytes at {ptr:#x} for the {what} are not within the guest's memory", T::SIZE));
    }
    Ok(())
}

/// Leaves the result of a function in its slot or, where that is too small, in memory at `ptr`.
pub(crate) fn finish<T: Lower>(value: T, cx: &mut Cx<'_>, slots: &mut [u64], params: usize) -> Outcome {
    if T::FLAT <= 1 {
        return value.lower(cx, &mut Flat::new(slots));
    }
    let ptr = slots.get(params).copied().unwrap_or_default() as u32;
    store_result(value, cx, ptr)
}

/// Leaves a result in memory at `ptr`, which the guest says.
pub(crate) fn store_result<T: Lower>(value: T, cx: &mut Cx<'_>, ptr: u32) -> Outcome {
    check_place::<T>(cx, "result", ptr)?;
    value.store(cx, ptr)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `CanonicalABI.md`, flattening of variants: what two cases put in one place is of the type that holds either.
    #[test]
    fn payloads_are_joined() {
        use ValType::*;
        type Case = fn(&mut Vec<ValType>);
        let joined = |cases: &[Case]| {
            let mut out = vec![I32];
            join(&mut out, cases);
            out[1..].to_vec()
        };
        let (i32, i64): (Case, Case) = (|out| out.push(I32), |out| out.push(I64));
        let (f32, f64): (Case, Case) = (|out| out.push(F32), |out| out.push(F64));
        let none: Case = |_| {};
        let two: Case = |out| out.extend([I64, F64]);
        for (cases, expected) in [
            (&[none, none][..], &[][..]),
            (&[none, f32], &[F32]),
            (&[f32, f32], &[F32]),
            (&[f64, f64, f64], &[F64]),
            (&[i32, f32], &[I32]),
            (&[f32, i32], &[I32]),
            (&[i32, i64], &[I64]),
            (&[f64, f32], &[I64]),
            (&[f32, f64], &[I64]),
            (&[i64, f64], &[I64]),
            (&[i32, two], &[I64, F64]),
            (&[two, f64, two], &[I64, F64]),
        ] {
            assert_eq!(joined(cases), expected);
        }
    }

    #[test]
    fn numbers_and_characters_are_one_core_value_each() {
        let mut out = Vec::new();
        let flattened: [fn(&mut Vec<ValType>); 5] = [u8::flat, char::flat, i64::flat, f32::flat, f64::flat];
        flattened.iter().for_each(|flat| flat(&mut out));
        assert_eq!(out, [ValType::I32, ValType::I32, ValType::I64, ValType::F32, ValType::F64]);
        assert_eq!((1.5_f32.to_slot(), f32::of_slot(0xffff_ffff_3fc0_0000)), (0x3fc0_0000, 1.5));
        assert_eq!((1.5_f64.to_slot(), f64::of_slot(0x3ff8 << 48)), (0x3ff8 << 48, 1.5));
        assert_eq!(((-1_i8).to_slot(), i8::of_slot(0xff)), (0xffff_ffff, -1));
    }

    #[test]
    fn addresses_are_aligned_upwards() {
        for (offset, align, aligned) in [(0, 8, 0), (1, 8, 8), (7, 8, 8), (8, 8, 8), (9, 1, 9), (3, 2, 4), (5, 4, 8)] {
            assert_eq!(align_to(offset, align), aligned, "{offset} {align}");
        }
        assert_eq!((max(1, 2), max(2, 1), max(3, 3)), (2, 2, 3));
        assert_eq!((max_flat(1, 2), max_flat(2, 1), max_flat(3, 3)), (2, 2, 3));
    }
}
