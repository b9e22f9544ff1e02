//! Strings from one memory to another, from one encoding to another, as the adapters between components ask for it.
//!
//! An adapter has checked where strings lie; a module may bring adapters of its own, so it is checked again here.

use wharf_plan::Transcoding;

use crate::memory::Memory;
use crate::types::Caller;

/// The longest string that is not charged to the guest, in bytes.
const UNCHARGED: u64 = 64 << 10;

/// Set in the length of a `latin1+utf16` string that is UTF-16.
const UTF16_TAG: u32 = 1 << 31;

type Broken<T> = Result<T, String>;

/// One copy between two memories, which are exports of these names.
pub(super) struct Transcode<'a> {
    pub(super) transcoding: Transcoding,
    pub(super) from: &'a str,
    pub(super) to: &'a str,
}

impl Transcode<'_> {
    /// How many bytes a unit of the source has.
    fn unit(&self) -> u32 {
        use Transcoding as T;
        match self.transcoding {
            T::Utf16ToUtf16
            | T::Utf16ToUtf8
            | T::Utf16ToCompactProbablyUtf16
            | T::Utf16ToLatin1
            | T::Utf16ToCompactUtf16 => 2,
            _ => 1,
        }
    }

    /// What the host has of the string while it does it, at most: as it came, and as it goes in up to three encodings on
    /// the way. Short ones are not counted: there is one at a time.
    pub(super) fn cost(&self, slots: &[u64]) -> u64 {
        let slot = |at: usize| u64::from(slots.get(at).copied().unwrap_or_default() as u32);
        let done = match self.transcoding {
            Transcoding::Utf8ToCompactUtf16 | Transcoding::Utf16ToCompactUtf16 => slot(4),
            _ => 0,
        };
        let bytes = slot(1) * u64::from(self.unit()) + done;
        if bytes <= UNCHARGED { 0 } else { 6 * bytes }
    }

    /// Does it. The parameters are the source's pointer and units, the destination's pointer and, where there are more,
    /// its units, and a flag or a count.
    pub(super) fn run(&self, caller: &mut dyn Caller, slots: &mut [u64]) -> Broken<()> {
        let slot = |at: usize| slots.get(at).copied().unwrap_or_default() as u32;
        let (ptr, units, to, room, extra) = (slot(0), slot(1), slot(2), slot(3), slot(4));
        let source = read(caller, self.from, ptr, units.checked_mul(self.unit()).ok_or_else(outside)?)?;
        let results = self.convert(caller, &source, to, room, extra)?;
        for (slot, result) in slots.iter_mut().zip(results) {
            *slot = result.into();
        }
        Ok(())
    }

    fn convert(&self, caller: &mut dyn Caller, source: &[u8], to: u32, room: u32, extra: u32) -> Broken<Vec<u32>> {
        use Transcoding as T;
        let mut put = |bytes: &[u8]| write(caller, self.to, to, bytes);
        match self.transcoding {
            T::Utf8ToUtf8 => put(utf8(source)?.as_bytes()).map(|()| vec![]),
            T::Utf16ToUtf16 => put(&utf16_bytes(&utf16(source)?)).map(|()| vec![]),
            T::Latin1ToLatin1 => put(source).map(|()| vec![]),
            T::Latin1ToUtf16 => put(&inflate(source)).map(|()| vec![]),
            T::Utf8ToUtf16 => {
                let bytes = utf16_bytes(utf8(source)?);
                put(&bytes)?;
                Ok(vec![count(bytes.len() / 2)])
            }
            T::Utf16ToUtf8 => {
                let text = utf16(source)?;
                let (read, out) = narrow(text.chars(), room, extra != 0, char::len_utf16);
                put(out.as_bytes())?;
                Ok(vec![read, count(out.len())])
            }
            T::Latin1ToUtf8 => {
                let (read, out) = narrow(source.iter().map(|byte| char::from(*byte)), room, extra != 0, |_| 1);
                put(out.as_bytes())?;
                Ok(vec![read, count(out.len())])
            }
            T::Utf16ToCompactProbablyUtf16 => {
                let text = utf16(source)?;
                match latin1(&text) {
                    Some(bytes) => {
                        put(&bytes)?;
                        Ok(vec![count(bytes.len())])
                    }
                    None => {
                        put(source)?;
                        Ok(vec![count(source.len() / 2) | UTF16_TAG])
                    }
                }
            }
            T::Utf8ToLatin1 => {
                let text = utf8(source)?;
                let prefix: Vec<char> = text.chars().take_while(|c| u32::from(*c) < 0x100).collect();
                put(&prefix.iter().map(|c| *c as u8).collect::<Vec<_>>())?;
                Ok(vec![count(prefix.iter().map(|c| c.len_utf8()).sum()), count(prefix.len())])
            }
            T::Utf16ToLatin1 => {
                let prefix = units(source).take_while(|unit| *unit < 0x100).map(|unit| unit as u8).collect::<Vec<_>>();
                put(&prefix)?;
                Ok(vec![count(prefix.len()); 2])
            }
            T::Utf8ToCompactUtf16 => self.widen(caller, &utf16_bytes(utf8(source)?), to, room, extra),
            T::Utf16ToCompactUtf16 => self.widen(caller, &utf16_bytes(&utf16(source)?), to, room, extra),
        }
    }

    /// Makes UTF-16 of the `done` bytes of Latin-1 at `to`, and puts `rest` behind them.
    fn widen(&self, caller: &mut dyn Caller, rest: &[u8], to: u32, room: u32, done: u32) -> Broken<Vec<u32>> {
        let mut bytes = inflate(&read(caller, self.to, to, done)?);
        bytes.extend_from_slice(rest);
        if bytes.len() as u64 > u64::from(room) * 2 {
            return Err(outside());
        }
        write(caller, self.to, to, &bytes)?;
        Ok(vec![count(bytes.len() / 2)])
    }
}

fn outside() -> String {
    "it passed a string that is not within its memory".to_owned()
}

fn read(caller: &mut dyn Caller, memory: &str, ptr: u32, len: u32) -> Broken<Vec<u8>> {
    let memory = Memory::named(caller, memory).map_err(|error| error.to_string())?;
    memory.slice(ptr, len).map(<[u8]>::to_vec).map_err(|_| outside())
}

fn write(caller: &mut dyn Caller, memory: &str, ptr: u32, bytes: &[u8]) -> Broken<()> {
    let mut memory = Memory::named(caller, memory).map_err(|error| error.to_string())?;
    memory.write(ptr, bytes).map_err(|_| outside())
}

/// A count of units, which are in a memory of 32 bits.
fn count(units: usize) -> u32 {
    u32::try_from(units).unwrap_or(u32::MAX)
}

fn utf8(bytes: &[u8]) -> Broken<&str> {
    std::str::from_utf8(bytes).map_err(|error| format!("it passed a string that is not UTF-8: {error}"))
}

fn units(bytes: &[u8]) -> impl Iterator<Item = u16> {
    bytes.as_chunks().0.iter().map(|unit| u16::from_le_bytes(*unit))
}

fn utf16(bytes: &[u8]) -> Broken<String> {
    char::decode_utf16(units(bytes))
        .collect::<Result<String, _>>()
        .map_err(|error| format!("it passed a string that is not UTF-16: {error}"))
}

fn utf16_bytes(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

fn inflate(latin1: &[u8]) -> Vec<u8> {
    latin1.iter().flat_map(|byte| [*byte, 0]).collect()
}

fn latin1(text: &str) -> Option<Vec<u8>> {
    text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect()
}

/// As much of `chars` as has room in UTF-8; the first pass stops at what is not ASCII. Gives how many units of the
/// source that was, and the text.
fn narrow(chars: impl Iterator<Item = char>, room: u32, first: bool, units: impl Fn(char) -> usize) -> (u32, String) {
    let (mut read, mut out) = (0, String::new());
    for c in chars {
        if first && !c.is_ascii() || out.len() + c.len_utf8() > room as usize {
            break;
        }
        out.push(c);
        read += units(c);
    }
    (count(read), out)
}
