//! Strings, in the three encodings, and lists.

use bytes::Bytes;

use super::super::options::Encoding;
use super::{Cx, Flat, Lift, Lower, NotAResource, Outcome, Resources, Type, WitType, rule};
use crate::types::ValType;

/// The longest string or list, in bytes, that the canonical ABI passes.
const MAX_BYTES: u64 = (1 << 31) - 1;

/// Set in the length of a `latin1+utf16` string that is UTF-16.
const UTF16_TAG: u32 = 1 << 31;

impl Type for String {
    const SIZE: u32 = 8;
    const ALIGN: u32 = 4;
    const FLAT: usize = 2;
    const REALLOC: bool = true;

    fn flat(out: &mut Vec<ValType>) {
        out.extend([ValType::I32; 2]);
    }

    fn wit(_: &Resources) -> Result<WitType, NotAResource> {
        Ok(WitType::String)
    }
}

impl Lift for String {
    fn lift(cx: &mut Cx<'_>, flat: &mut Flat<'_>) -> Outcome<Self> {
        let (ptr, len) = (u32::lift(cx, flat)?, u32::lift(cx, flat)?);
        string(cx, ptr, len)
    }

    fn load(cx: &mut Cx<'_>, ptr: u32) -> Outcome<Self> {
        let (ptr, len) = (u32::load(cx, ptr)?, u32::load(cx, ptr.wrapping_add(4))?);
        string(cx, ptr, len)
    }
}

fn string(cx: &mut Cx<'_>, ptr: u32, len: u32) -> Outcome<String> {
    match cx.options.encoding {
        Encoding::Utf8 => match String::from_utf8(bytes(cx, ptr, len, 1)?) {
            Ok(string) => Ok(string),
            Err(error) => rule(format!("a string is not UTF-8: {}", error.utf8_error())),
        },
        Encoding::Utf16 => utf16(cx, ptr, len),
        Encoding::CompactUtf16 if len & UTF16_TAG != 0 => utf16(cx, ptr, len ^ UTF16_TAG),
        Encoding::CompactUtf16 => Ok(bytes(cx, ptr, len, 2)?.into_iter().map(char::from).collect()),
    }
}

fn utf16(cx: &mut Cx<'_>, ptr: u32, units: u32) -> Outcome<String> {
    let Some(len) = units.checked_mul(2) else { return rule("a string is longer than the guest's memory") };
    let bytes = bytes(cx, ptr, len, 2)?;
    let units = bytes.as_chunks().0.iter().map(|unit| u16::from_le_bytes(*unit));
    match char::decode_utf16(units).collect() {
        Ok(string) => Ok(string),
        Err(error) => rule(format!("a string is not UTF-16: {error}")),
    }
}

fn bytes(cx: &mut Cx<'_>, ptr: u32, len: u32, align: u32) -> Outcome<Vec<u8>> {
    check_range(cx, "string", ptr, u64::from(len), align)?;
    u8::load_list(cx, ptr, len)
}

/// Alignment first, then bounds.
fn check_range(cx: &mut Cx<'_>, what: &str, ptr: u32, len: u64, align: u32) -> Outcome {
    if !ptr.is_multiple_of(align) {
        return rule(format!("the pointer {ptr:#x} of a {what} is not aligned to {align}"));
    }
    let len = u32::try_from(len).ok();
    match len.map(|len| cx.memory().map(|memory| memory.slice(ptr, len).is_ok())).transpose()? {
        Some(true) => Ok(()),
        _ => rule(format!("a {what} at {ptr:#x} is not within the guest's memory")),
    }
}

impl Lower for String {
    fn lower(self, cx: &mut Cx<'_>, flat: &mut Flat<'_>) -> Outcome {
        let (ptr, len) = lower_string(&self, cx)?;
        flat.put(ptr.into())?;
        flat.put(len.into())
    }

    fn store(self, cx: &mut Cx<'_>, ptr: u32) -> Outcome {
        let (string, len) = lower_string(&self, cx)?;
        string.store(cx, ptr)?;
        len.store(cx, ptr.wrapping_add(4))
    }
}

fn lower_string(string: &str, cx: &mut Cx<'_>) -> Outcome<(u32, u32)> {
    let latin1 = || string.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect::<Option<Vec<u8>>>();
    let utf16 = || string.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    match cx.options.encoding {
        Encoding::Utf8 => Ok((place(cx, string.as_bytes(), 1)?, string.len() as u32)),
        Encoding::Utf16 => {
            let bytes = utf16();
            Ok((place(cx, &bytes, 2)?, bytes.len() as u32 / 2))
        }
        Encoding::CompactUtf16 => match latin1() {
            Some(bytes) => Ok((place(cx, &bytes, 2)?, bytes.len() as u32)),
            None => {
                let bytes = utf16();
                Ok((place(cx, &bytes, 2)?, UTF16_TAG | (bytes.len() as u32 / 2)))
            }
        },
    }
}

/// Copies `bytes` to where the guest's allocator puts them.
fn place(cx: &mut Cx<'_>, bytes: &[u8], align: u32) -> Outcome<u32> {
    let ptr = cx.realloc(align, length(bytes.len() as u64)?)?;
    cx.write(ptr, bytes)?;
    Ok(ptr)
}

fn length(bytes: u64) -> Outcome<u32> {
    if bytes > MAX_BYTES { rule("a result is longer than the canonical ABI can pass") } else { Ok(bytes as u32) }
}

impl<T: Type> Type for Vec<T> {
    const SIZE: u32 = 8;
    const ALIGN: u32 = 4;
    const FLAT: usize = 2;
    const REALLOC: bool = true;

    fn flat(out: &mut Vec<ValType>) {
        out.extend([ValType::I32; 2]);
    }

    fn wit(resources: &Resources) -> Result<WitType, NotAResource> {
        Ok(WitType::List(Box::new(T::wit(resources)?)))
    }
}

impl<T: Lift> Lift for Vec<T> {
    fn lift(cx: &mut Cx<'_>, flat: &mut Flat<'_>) -> Outcome<Self> {
        let (ptr, len) = (u32::lift(cx, flat)?, u32::lift(cx, flat)?);
        list(cx, ptr, len)
    }

    fn load(cx: &mut Cx<'_>, ptr: u32) -> Outcome<Self> {
        let (ptr, len) = (u32::load(cx, ptr)?, u32::load(cx, ptr.wrapping_add(4))?);
        list(cx, ptr, len)
    }
}

fn list<T: Lift>(cx: &mut Cx<'_>, ptr: u32, len: u32) -> Outcome<Vec<T>> {
    // A guest could have any number of what takes no room.
    const { assert!(T::SIZE > 0, "WIT has no lists of nothing") };
    check_range(cx, "list", ptr, u64::from(len) * u64::from(T::SIZE), T::ALIGN)?;
    T::load_list(cx, ptr, len)
}

impl<T: Lower> Lower for Vec<T> {
    fn lower(self, cx: &mut Cx<'_>, flat: &mut Flat<'_>) -> Outcome {
        let (ptr, len) = lower_list(self, cx)?;
        flat.put(ptr.into())?;
        flat.put(len.into())
    }

    fn store(self, cx: &mut Cx<'_>, ptr: u32) -> Outcome {
        let (list, len) = lower_list(self, cx)?;
        list.store(cx, ptr)?;
        len.store(cx, ptr.wrapping_add(4))
    }
}

fn lower_list<T: Lower>(list: Vec<T>, cx: &mut Cx<'_>) -> Outcome<(u32, u32)> {
    let size = length((list.len() as u64).saturating_mul(T::SIZE.into()))?;
    let len = list.len() as u32;
    let ptr = cx.realloc(T::ALIGN, size)?;
    T::store_list(list, cx, ptr)?;
    Ok((ptr, len))
}

/// A `list<u8>` that is not copied on the host.
impl Type for Bytes {
    const SIZE: u32 = 8;
    const ALIGN: u32 = 4;
    const FLAT: usize = 2;
    const REALLOC: bool = true;

    fn flat(out: &mut Vec<ValType>) {
        Vec::<u8>::flat(out);
    }

    fn wit(resources: &Resources) -> Result<WitType, NotAResource> {
        Vec::<u8>::wit(resources)
    }
}

impl Lift for Bytes {
    fn lift(cx: &mut Cx<'_>, flat: &mut Flat<'_>) -> Outcome<Self> {
        Vec::<u8>::lift(cx, flat).map(Bytes::from)
    }

    fn load(cx: &mut Cx<'_>, ptr: u32) -> Outcome<Self> {
        Vec::<u8>::load(cx, ptr).map(Bytes::from)
    }
}

impl Lower for Bytes {
    fn lower(self, cx: &mut Cx<'_>, flat: &mut Flat<'_>) -> Outcome {
        flat.put(place(cx, &self, 1)?.into())?;
        flat.put(self.len() as u64)
    }

    fn store(self, cx: &mut Cx<'_>, ptr: u32) -> Outcome {
        let at = place(cx, &self, 1)?;
        at.store(cx, ptr)?;
        (self.len() as u32).store(cx, ptr.wrapping_add(4))
    }
}
