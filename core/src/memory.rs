//! Checked access to a guest's memory: the one place where a guest's pointers and lengths are checked.
//!
//! Pointers and lengths are the guest's `i32`s taken as unsigned. A range is checked as a whole before a byte of it
//! is touched, and its end is computed without wrapping.

use crate::error::{Error, Kind};
use crate::types::Caller;

/// Why a range of guest memory cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MemoryError {
    /// The guest exports no memory.
    #[error("the guest exports no memory")]
    Missing,
    /// The range does not lie within the memory.
    #[error("the range is not within the guest's memory")]
    OutOfBounds,
}

/// What a guest points to is not there: [`Kind::Trap`].
impl From<MemoryError> for Error {
    fn from(error: MemoryError) -> Self {
        Error::new(Kind::Trap, error.to_string())
    }
}

/// A guest's memory during one host call.
pub struct Memory<'a>(&'a mut [u8]);

impl<'a> Memory<'a> {
    /// The memory that the guest behind `caller` exports.
    ///
    /// # Errors
    /// [`MemoryError::Missing`] if it exports none.
    pub fn of(caller: &'a mut dyn Caller) -> Result<Self, MemoryError> {
        caller.memory().map(Memory).ok_or(MemoryError::Missing)
    }

    /// The memory that the guest behind `caller` exports as `export`.
    ///
    /// # Errors
    /// [`MemoryError::Missing`] if it exports no such memory.
    pub fn named(caller: &'a mut dyn Caller, export: &str) -> Result<Self, MemoryError> {
        caller.memory_named(export).map(Memory).ok_or(MemoryError::Missing)
    }

    /// Wraps bytes that are a guest's memory.
    pub fn new(bytes: &'a mut [u8]) -> Self {
        Memory(bytes)
    }

    /// The memory's size in bytes.
    pub fn size(&self) -> usize {
        self.0.len()
    }

    /// `len` bytes from `ptr`.
    ///
    /// # Errors
    /// [`MemoryError::OutOfBounds`].
    pub fn slice(&self, ptr: u32, len: u32) -> Result<&[u8], MemoryError> {
        let start = ptr as usize;
        let end = start.checked_add(len as usize).ok_or(MemoryError::OutOfBounds)?;
        self.0.get(start..end).ok_or(MemoryError::OutOfBounds)
    }

    /// `len` bytes from `ptr`, to be written.
    ///
    /// # Errors
    /// [`MemoryError::OutOfBounds`].
    pub fn slice_mut(&mut self, ptr: u32, len: u32) -> Result<&mut [u8], MemoryError> {
        let start = ptr as usize;
        let end = start.checked_add(len as usize).ok_or(MemoryError::OutOfBounds)?;
        self.0.get_mut(start..end).ok_or(MemoryError::OutOfBounds)
    }

    /// Copies `bytes` to `ptr`.
    ///
    /// # Errors
    /// [`MemoryError::OutOfBounds`]; then nothing was written.
    pub fn write(&mut self, ptr: u32, bytes: &[u8]) -> Result<(), MemoryError> {
        let len = u32::try_from(bytes.len()).map_err(|_| MemoryError::OutOfBounds)?;
        self.slice_mut(ptr, len)?.copy_from_slice(bytes);
        Ok(())
    }

    /// Reads `N` bytes from `ptr`, for `from_le_bytes`.
    ///
    /// # Errors
    /// [`MemoryError::OutOfBounds`].
    pub fn array<const N: usize>(&self, ptr: u32) -> Result<[u8; N], MemoryError> {
        let end = (ptr as usize).checked_add(N).ok_or(MemoryError::OutOfBounds)?;
        let bytes = self.0.get(ptr as usize..end).ok_or(MemoryError::OutOfBounds)?;
        Ok(bytes.try_into().expect("the range is N bytes"))
    }

    /// Reads a little-endian `u32`. No alignment is required.
    ///
    /// # Errors
    /// [`MemoryError::OutOfBounds`].
    pub fn read_u32(&self, ptr: u32) -> Result<u32, MemoryError> {
        self.array(ptr).map(u32::from_le_bytes)
    }

    /// Reads a little-endian `u64`. No alignment is required.
    ///
    /// # Errors
    /// [`MemoryError::OutOfBounds`].
    pub fn read_u64(&self, ptr: u32) -> Result<u64, MemoryError> {
        self.array(ptr).map(u64::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_lies_within_the_memory_or_is_refused_as_a_whole() {
        let mut bytes = *b"0123456789";
        let mut memory = Memory::new(&mut bytes);
        assert_eq!(memory.size(), 10);
        assert_eq!(memory.slice(8, 2), Ok(&b"89"[..]));
        assert_eq!(memory.slice(10, 0), Ok(&b""[..]), "nothing, at the very end");
        assert_eq!(memory.array(6), Ok(*b"6789"));
        for (ptr, len) in [(9, 2), (10, 1), (11, 0), (0, 11), (u32::MAX, 1), (1, u32::MAX), (u32::MAX, u32::MAX)] {
            assert_eq!(memory.slice(ptr, len), Err(MemoryError::OutOfBounds), "{ptr} {len}");
            assert_eq!(memory.slice_mut(ptr, len), Err(MemoryError::OutOfBounds), "{ptr} {len}");
        }
        for ptr in [7, 10, u32::MAX - 2, u32::MAX] {
            assert_eq!(memory.read_u32(ptr), Err(MemoryError::OutOfBounds), "{ptr}");
            assert_eq!(memory.write(ptr, b"abcd"), Err(MemoryError::OutOfBounds), "{ptr}");
        }
        assert_eq!(memory.slice(0, 10), Ok(&b"0123456789"[..]), "nothing was written");
        assert_eq!(memory.write(8, b"ab"), Ok(()));
        assert_eq!(memory.slice(0, 10), Ok(&b"01234567ab"[..]));
    }

    #[test]
    fn numbers_are_little_endian_and_need_no_alignment() {
        let mut bytes = [0xff, 1, 2, 3, 4, 5, 6, 7, 8];
        let memory = Memory::new(&mut bytes);
        assert_eq!(memory.read_u32(1), Ok(0x0403_0201));
        assert_eq!(memory.read_u64(1), Ok(0x0807_0605_0403_0201));
    }
}
