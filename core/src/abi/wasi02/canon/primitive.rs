//! Numbers, booleans, handles.

use std::marker::PhantomData;

use super::super::table::Resource;
use super::{Cx, Flat, Lift, Lower, NotAResource, Outcome, Resources, Type, WitType, rule};
use crate::types::ValType;

/// A number as a slot holds it.
pub(crate) trait Number: Copy + Send + 'static {
    /// From a slot, whose bits above the number's own are not part of it.
    fn of_slot(slot: u64) -> Self;

    /// Into a slot: extended to 32 bits by its sign, if it has one, and beyond by zeros.
    fn to_slot(self) -> u64;
}

macro_rules! integers {
    ($($ty:ty, $core:ty;)*) => {$(
        impl Number for $ty {
            fn of_slot(slot: u64) -> Self {
                slot as $ty
            }

            fn to_slot(self) -> u64 {
                self as $core as u64
            }
        }
    )*};
}

integers! {
    u8, u32;
    i8, u32;
    u16, u32;
    i16, u32;
    u32, u32;
    i32, u32;
    u64, u64;
    i64, u64;
}

impl Number for f32 {
    fn of_slot(slot: u64) -> Self {
        f32::from_bits(slot as u32)
    }

    fn to_slot(self) -> u64 {
        self.to_bits().into()
    }
}

impl Number for f64 {
    fn of_slot(slot: u64) -> Self {
        f64::from_bits(slot)
    }

    fn to_slot(self) -> u64 {
        self.to_bits()
    }
}

macro_rules! numbers {
    ($($ty:ty, $wit:ident, $size:literal, $core:ident;)*) => {$(
        impl Type for $ty {
            const SIZE: u32 = $size;
            const ALIGN: u32 = $size;
            const FLAT: usize = 1;
            const REALLOC: bool = false;

            fn flat(out: &mut Vec<ValType>) {
                out.push(ValType::$core);
            }

            fn wit(_: &Resources) -> Result<WitType, NotAResource> {
                Ok(WitType::$wit)
            }
        }

        impl Lift for $ty {
            fn lift(_: &mut Cx<'_>, flat: &mut Flat<'_>) -> Outcome<Self> {
                flat.next().map(<$ty as Number>::of_slot)
            }

            fn load(cx: &mut Cx<'_>, ptr: u32) -> Outcome<Self> {
                Ok(<$ty>::from_le_bytes(cx.memory()?.array(ptr)?))
            }

            fn load_list(cx: &mut Cx<'_>, ptr: u32, len: u32) -> Outcome<Vec<Self>> {
                cx.spend(u64::from(len) * $size)?;
                let memory = cx.memory()?;
                let bytes = memory.slice(ptr, len.saturating_mul($size))?;
                Ok(bytes.as_chunks().0.iter().map(|bytes| <$ty>::from_le_bytes(*bytes)).collect())
            }
        }

        impl Lower for $ty {
            fn lower(self, _: &mut Cx<'_>, flat: &mut Flat<'_>) -> Outcome {
                flat.put(self.to_slot())
            }

            fn store(self, cx: &mut Cx<'_>, ptr: u32) -> Outcome {
                cx.write(ptr, &self.to_le_bytes())
            }

            fn store_list(list: Vec<Self>, cx: &mut Cx<'_>, ptr: u32) -> Outcome {
                let mut memory = cx.memory()?;
                let to = memory.slice_mut(ptr, (list.len() as u32).saturating_mul($size))?;
                for (to, value) in to.as_chunks_mut().0.iter_mut().zip(list) {
                    *to = value.to_le_bytes();
                }
                Ok(())
            }
        }
    )*};
}

numbers! {
    u8, U8, 1, I32;
    i8, S8, 1, I32;
    u16, U16, 2, I32;
    i16, S16, 2, I32;
    u32, U32, 4, I32;
    i32, S32, 4, I32;
    u64, U64, 8, I64;
    i64, S64, 8, I64;
    f32, F32, 4, F32;
    f64, F64, 8, F64;
}

impl Type for char {
    const SIZE: u32 = 4;
    const ALIGN: u32 = 4;
    const FLAT: usize = 1;
    const REALLOC: bool = false;

    fn flat(out: &mut Vec<ValType>) {
        out.push(ValType::I32);
    }

    fn wit(_: &Resources) -> Result<WitType, NotAResource> {
        Ok(WitType::Char)
    }
}

impl Lift for char {
    fn lift(cx: &mut Cx<'_>, flat: &mut Flat<'_>) -> Outcome<Self> {
        character(u32::lift(cx, flat)?)
    }

    fn load(cx: &mut Cx<'_>, ptr: u32) -> Outcome<Self> {
        character(u32::load(cx, ptr)?)
    }
}

fn character(number: u32) -> Outcome<char> {
    char::from_u32(number).map_or_else(|| rule(format!("{number:#x} is not a valid `char`")), Ok)
}

impl Lower for char {
    fn lower(self, _: &mut Cx<'_>, flat: &mut Flat<'_>) -> Outcome {
        flat.put(u32::from(self).into())
    }

    fn store(self, cx: &mut Cx<'_>, ptr: u32) -> Outcome {
        u32::from(self).store(cx, ptr)
    }
}

impl Type for bool {
    const SIZE: u32 = 1;
    const ALIGN: u32 = 1;
    const FLAT: usize = 1;
    const REALLOC: bool = false;

    fn flat(out: &mut Vec<ValType>) {
        out.push(ValType::I32);
    }

    fn wit(_: &Resources) -> Result<WitType, NotAResource> {
        Ok(WitType::Bool)
    }
}

impl Lift for bool {
    fn lift(_: &mut Cx<'_>, flat: &mut Flat<'_>) -> Outcome<Self> {
        flat.next().map(|bits| bits as u32 != 0)
    }

    fn load(cx: &mut Cx<'_>, ptr: u32) -> Outcome<Self> {
        u8::load(cx, ptr).map(|byte| byte != 0)
    }
}

impl Lower for bool {
    fn lower(self, _: &mut Cx<'_>, flat: &mut Flat<'_>) -> Outcome {
        flat.put(self.into())
    }

    fn store(self, cx: &mut Cx<'_>, ptr: u32) -> Outcome {
        u8::from(self).store(cx, ptr)
    }
}

impl Type for () {
    const SIZE: u32 = 0;
    const ALIGN: u32 = 1;
    const FLAT: usize = 0;
    const REALLOC: bool = false;

    fn flat(_: &mut Vec<ValType>) {}

    fn wit(_: &Resources) -> Result<WitType, NotAResource> {
        Ok(WitType::Nothing)
    }
}

impl Lift for () {
    fn lift(_: &mut Cx<'_>, _: &mut Flat<'_>) -> Outcome<Self> {
        Ok(())
    }

    fn load(_: &mut Cx<'_>, _: u32) -> Outcome<Self> {
        Ok(())
    }
}

impl Lower for () {
    fn lower(self, _: &mut Cx<'_>, _: &mut Flat<'_>) -> Outcome {
        Ok(())
    }

    fn store(self, _: &mut Cx<'_>, _: u32) -> Outcome {
        Ok(())
    }
}

/// A resource that the guest gives away: its handle is closed when it is lifted.
pub(crate) struct Own<T>(pub(crate) T);

/// A resource that the guest lends for the call. Nothing can close it meanwhile: the guest does not run, and its
/// allocator may not call the host.
pub(crate) struct Borrow<T>(u32, PhantomData<fn() -> T>);

/// A handle that was opened for the guest, on its way there.
pub(crate) struct Handle<T>(u32, PhantomData<fn() -> T>);

impl<T> Handle<T> {
    pub(crate) fn new(index: u32) -> Self {
        Handle(index, PhantomData)
    }
}

impl<T> Clone for Borrow<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Borrow<T> {}

impl<T> Borrow<T> {
    pub(crate) fn index(self) -> u32 {
        self.0
    }
}

macro_rules! handles {
    ($($name:ident $wit:ident)*) => {$(
        impl<T: Resource> Type for $name<T> {
            const SIZE: u32 = 4;
            const ALIGN: u32 = 4;
            const FLAT: usize = 1;
            const REALLOC: bool = false;

            fn flat(out: &mut Vec<ValType>) {
                out.push(ValType::I32);
            }

            fn wit(resources: &Resources) -> Result<WitType, NotAResource> {
                T::wit(resources).map(WitType::$wit)
            }
        }
    )*};
}

handles!(Own Own Borrow Borrow Handle Own);

impl<T: Resource> Lift for Own<T> {
    fn lift(cx: &mut Cx<'_>, flat: &mut Flat<'_>) -> Outcome<Self> {
        let handle = u32::lift(cx, flat)?;
        own(cx, handle)
    }

    fn load(cx: &mut Cx<'_>, ptr: u32) -> Outcome<Self> {
        let handle = u32::load(cx, ptr)?;
        own(cx, handle)
    }
}

fn own<T: Resource>(cx: &mut Cx<'_>, handle: u32) -> Outcome<Own<T>> {
    let index = cx.take(handle)?;
    cx.state.table.take(index).map(Own)
}

impl<T: Resource> Lift for Borrow<T> {
    fn lift(cx: &mut Cx<'_>, flat: &mut Flat<'_>) -> Outcome<Self> {
        let handle = u32::lift(cx, flat)?;
        borrow(cx, handle)
    }

    fn load(cx: &mut Cx<'_>, ptr: u32) -> Outcome<Self> {
        let handle = u32::load(cx, ptr)?;
        borrow(cx, handle)
    }
}

fn borrow<T: Resource>(cx: &mut Cx<'_>, handle: u32) -> Outcome<Borrow<T>> {
    let index = cx.look(handle)?;
    cx.state.table.get::<T>(index).map(|_| Borrow(index, PhantomData))
}

impl<T: Resource> Lower for Handle<T> {
    fn lower(self, cx: &mut Cx<'_>, flat: &mut Flat<'_>) -> Outcome {
        cx.give::<T>(self.0)?.lower(cx, flat)
    }

    fn store(self, cx: &mut Cx<'_>, ptr: u32) -> Outcome {
        cx.give::<T>(self.0)?.store(cx, ptr)
    }
}
