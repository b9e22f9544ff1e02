//! Values that pass through streams and futures from one component of a guest to another: from memory to memory, by their
//! types in the plan.

use wharf_plan::{Passing, Type};

use super::plan::Composed;
use crate::abi::concurrent::{self, Element};
use crate::abi::wasi02::State;
use crate::abi::wasi02::canon::{Cx, Lift, Lower, Outcome, rule};
use crate::abi::wasi02::options::Options;
use crate::types::Caller;

/// How deep the types of values may nest, as those of a component's functions do.
const MAX_DEPTH: usize = 100;

/// How many bytes of plain values are copied at once.
const PIECE: u32 = 64 << 10;

/// How many values, or pieces, are copied until time limits are looked at.
const STEPS: u32 = 256;

/// Where values lie, by what type of the plan's, and how they are passed there.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) ty: Option<u32>,
    pub(crate) ptr: u32,
    pub(crate) options: &'a Options,
}

impl<'a> Place<'a> {
    fn at(self, ty: u32, offset: u32) -> Self {
        Place { ty: Some(ty), ptr: self.ptr.wrapping_add(offset), options: self.options }
    }
}

/// Copies `count` values that lie behind each other. Both places are within their memories.
pub(crate) fn copy(
    state: &mut State,
    caller: &mut dyn Caller,
    (from, to): (Place<'_>, Place<'_>),
    count: u32,
) -> Outcome {
    let Some(handles) = &state.handles else { return rule("a component may pass only numbers to itself") };
    let composed = handles.composed().clone();
    let (Some(from_type), Some(to_type)) = (from.ty, to.ty) else { return Ok(()) };
    let mut copying = Copying { composed: &composed, state, caller, depth: 0, steps: 0 };
    copying.list((from, to), (from_type, to_type), count)
}

struct Copying<'a> {
    composed: &'a Composed,
    state: &'a mut State,
    caller: &'a mut dyn Caller,
    depth: usize,
    steps: u32,
}

type Both<'a> = (Place<'a>, Place<'a>);

fn different<T>() -> Outcome<T> {
    rule("both ends are of different types")
}

impl Copying<'_> {
    /// Ends the guest when its time is over: lists may be the same memory many times.
    fn go_on(&mut self, steps: u32) -> Outcome {
        self.steps += steps;
        if self.steps < STEPS {
            return Ok(());
        }
        self.steps = 0;
        self.state.run.over().map_or(Ok(()), |stop| Err(stop.into()))
    }

    fn layout(&self, ty: Option<u32>) -> Element {
        ty.and_then(|ty| self.composed.layouts().get(ty as usize)).copied().unwrap_or_default()
    }

    fn cx<'c>(&'c mut self, place: Place<'c>) -> Cx<'c> {
        Cx::new(self.state, self.caller, place.options)
    }

    fn list(&mut self, (from, to): Both<'_>, (from_type, to_type): (u32, u32), count: u32) -> Outcome {
        let (source, target) = (self.layout(Some(from_type)), self.layout(Some(to_type)));
        if (source.size, source.align) != (target.size, target.align) {
            return different();
        }
        if source.plain {
            return self.bytes((from, to), count.saturating_mul(source.size));
        }
        for at in 0..count {
            let offset = at.wrapping_mul(source.size);
            self.value((from.at(from_type, offset), to.at(to_type, offset)))?;
        }
        Ok(())
    }

    fn bytes(&mut self, (from, to): Both<'_>, len: u32) -> Outcome {
        let mut done = 0;
        while done < len {
            self.go_on(1)?;
            let piece = (len - done).min(PIECE);
            let bytes = self.cx(from).memory()?.slice(from.ptr.wrapping_add(done), piece)?.to_vec();
            self.cx(to).write(to.ptr.wrapping_add(done), &bytes)?;
            done += piece;
        }
        Ok(())
    }

    /// By way of the host's own type.
    fn through<T: Lift + Lower>(&mut self, (from, to): Both<'_>) -> Outcome {
        let value = T::load(&mut self.cx(from), from.ptr)?;
        value.store(&mut self.cx(to), to.ptr)
    }

    fn value(&mut self, both: Both<'_>) -> Outcome {
        if self.depth >= MAX_DEPTH {
            return rule(format!("a value nests deeper than {MAX_DEPTH} levels"));
        }
        self.go_on(1)?;
        self.depth += 1;
        let copied = self.value_at(both);
        self.depth -= 1;
        copied
    }

    fn value_at(&mut self, (from, to): Both<'_>) -> Outcome {
        let plan = &self.composed.plan;
        let ty = |place: Place<'_>| place.ty.and_then(|ty| plan.types.get(ty as usize));
        let (Some(source), Some(target)) = (ty(from), ty(to)) else { return different() };
        let both = (from, to);
        match (source, target) {
            (Type::Bool, Type::Bool) => self.through::<bool>(both),
            (Type::S8 | Type::U8, Type::S8 | Type::U8) => self.through::<u8>(both),
            (Type::S16 | Type::U16, Type::S16 | Type::U16) => self.through::<u16>(both),
            (Type::S32 | Type::U32 | Type::F32, Type::S32 | Type::U32 | Type::F32) => self.through::<u32>(both),
            (Type::S64 | Type::U64 | Type::F64, Type::S64 | Type::U64 | Type::F64) => self.through::<u64>(both),
            (Type::Char, Type::Char) => self.through::<char>(both),
            (Type::String, Type::String) => {
                self.go_on(STEPS)?;
                self.through::<String>(both)
            }
            (Type::List { element: source }, Type::List { element: target }) => self.listed(both, (*source, *target)),
            (Type::Record { fields: source }, Type::Record { fields: target }) => {
                self.fields(both, source.iter().map(|(_, ty)| *ty), target.iter().map(|(_, ty)| *ty))
            }
            (Type::Tuple { types: source }, Type::Tuple { types: target }) => {
                self.fields(both, source.iter().copied(), target.iter().copied())
            }
            (Type::Variant { cases: source }, Type::Variant { cases: target }) => {
                let cases = |cases: &[(String, Option<u32>)]| cases.iter().map(|(_, ty)| *ty).collect::<Vec<_>>();
                self.variant(both, &cases(source), &cases(target))
            }
            (Type::Option { some: source }, Type::Option { some: target }) => {
                self.variant(both, &[None, Some(*source)], &[None, Some(*target)])
            }
            (Type::Result { ok, err }, Type::Result { ok: target_ok, err: target_err }) => {
                self.variant(both, &[*ok, *err], &[*target_ok, *target_err])
            }
            (Type::Enum { names: source }, Type::Enum { names: target }) => {
                self.variant(both, &vec![None; source.len()], &vec![None; target.len()])
            }
            (Type::Flags { names }, Type::Flags { names: target }) if names.len() == target.len() => {
                match names.len() {
                    0..=8 => self.through::<u8>(both),
                    9..=16 => self.through::<u16>(both),
                    _ => self.through::<u32>(both),
                }
            }
            (Type::Own { table: source }, Type::Own { table: target }) => {
                self.handle(both, |state, handle| match &mut state.handles {
                    Some(handles) => handles.transfer_own(handle, *source, *target),
                    None => different(),
                })
            }
            (Type::Stream { table: source }, Type::Stream { table: target }) => {
                self.end(both, Passing::Stream, *source, *target)
            }
            (Type::Future { table: source }, Type::Future { table: target }) => {
                self.end(both, Passing::Future, *source, *target)
            }
            _ => different(),
        }
    }

    fn handle(&mut self, (from, to): Both<'_>, pass: impl FnOnce(&mut State, u32) -> Outcome<u32>) -> Outcome {
        let handle = u32::load(&mut self.cx(from), from.ptr)?;
        let passed = pass(self.state, handle)?;
        passed.store(&mut self.cx(to), to.ptr)
    }

    fn end(&mut self, both: Both<'_>, of: Passing, source: u32, target: u32) -> Outcome {
        let (source, target) = (self.composed.owner(of, source), self.composed.owner(of, target));
        let (Some(source), Some(target)) = (source, target) else { return different() };
        self.handle(both, |state, handle| concurrent::transfer(state, handle, of, source, target))
    }

    fn listed(&mut self, (from, to): Both<'_>, (source, target): (u32, u32)) -> Outcome {
        let layout = self.layout(Some(source));
        let mut cx = self.cx(from);
        let (ptr, len) = (u32::load(&mut cx, from.ptr)?, u32::load(&mut cx, from.ptr.wrapping_add(4))?);
        let Some(bytes) = len.checked_mul(layout.size) else { return rule("a list is longer than the guest's memory") };
        if !ptr.is_multiple_of(layout.align) {
            return rule(format!("the list at {ptr:#x} is not aligned to {}", layout.align));
        }
        if cx.memory()?.slice(ptr, bytes).is_err() {
            return rule(format!("the list of {len} values at {ptr:#x} is not within the guest's memory"));
        }
        let mut cx = self.cx(to);
        let place = cx.realloc(layout.align, bytes)?;
        place.store(&mut cx, to.ptr)?;
        len.store(&mut cx, to.ptr.wrapping_add(4))?;
        let from = Place { ptr, ..from };
        self.list((from, Place { ptr: place, ..to }), (source, target), len)
    }

    fn fields(
        &mut self,
        (from, to): Both<'_>,
        source: impl ExactSizeIterator<Item = u32>,
        target: impl ExactSizeIterator<Item = u32>,
    ) -> Outcome {
        if source.len() != target.len() {
            return different();
        }
        let mut offset = 0_u32;
        for (source, target) in source.zip(target) {
            let layout = self.layout(Some(source));
            offset = offset.checked_next_multiple_of(layout.align).unwrap_or(u32::MAX);
            self.value((from.at(source, offset), to.at(target, offset)))?;
            offset = offset.saturating_add(layout.size);
        }
        Ok(())
    }

    fn variant(&mut self, (from, to): Both<'_>, source: &[Option<u32>], target: &[Option<u32>]) -> Outcome {
        if source.len() != target.len() {
            return different();
        }
        let mut cx = self.cx(from);
        let (case, tag) = match source.len() {
            0..=0x100 => (u8::load(&mut cx, from.ptr)?.into(), 1),
            0x101..=0x1_0000 => (u16::load(&mut cx, from.ptr)?.into(), 2),
            _ => (u32::load(&mut cx, from.ptr)?, 4),
        };
        let (Some(payload), Some(target_payload)) = (source.get(case as usize), target.get(case as usize)) else {
            return rule(format!("{case} is not a case of a variant of {} cases", source.len()));
        };
        self.bytes((from, to), tag)?;
        let align = source.iter().map(|ty| self.layout(*ty).align).max().unwrap_or(1);
        let offset = tag.next_multiple_of(align);
        match (payload, target_payload) {
            (Some(payload), Some(target)) => self.value((from.at(*payload, offset), to.at(*target, offset))),
            (None, None) => Ok(()),
            _ => different(),
        }
    }
}
