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
