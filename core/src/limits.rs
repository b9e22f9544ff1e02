//! What a module may be and grow to, and how it is loaded.

use std::sync::Arc;

use crate::cache::CodeCache;

/// How a module is loaded.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// The most bytes a module file may have.
    pub max_module_bytes: u64,
    /// The most bytes a guest's memory may grow to; `memory.grow` beyond it answers -1 to the guest.
    pub max_memory: u64,
    /// The most elements a guest's table may grow to.
    pub max_table_elements: u64,
    /// Where compiled code is kept between loads; `None` compiles each time.
    pub cache: Option<Arc<CodeCache>>,
}

impl Default for LoadOptions {
    /// A file of 256 MiB, a memory of 4 GiB (all that 32-bit pointers reach), tables of a million elements, no cache.
    fn default() -> Self {
        LoadOptions { max_module_bytes: 256 << 20, max_memory: 4 << 30, max_table_elements: 1 << 20, cache: None }
    }
}
