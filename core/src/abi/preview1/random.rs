//! Randomness.

use crate::abi::preview1::Wasi;
use crate::abi::preview1::errno::{Errno, Outcome};
use crate::memory::Memory;

/// How much is filled between two looks at the guest's time.
const CHUNK: usize = 1 << 20;

/// Fills the buffer from the host's secure source, in place.
pub(super) fn get(wasi: &Wasi, memory: &mut Memory<'_>, buf: u32, buf_len: u32) -> Outcome {
    for chunk in memory.slice_mut(buf, buf_len)?.chunks_mut(CHUNK) {
        wasi.alive()?;
        getrandom::fill(chunk).map_err(|_| Errno::Io)?;
    }
    Ok(())
}
