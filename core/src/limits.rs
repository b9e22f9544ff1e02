//! What a module may be and grow to, and how it is loaded.

use std::sync::Arc;

use crate::budget::TotalMemory;
use crate::cache::CodeCache;
use crate::linker::Linker;

/// How a module is loaded.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// The most bytes a module file may have.
    pub max_module_bytes: u64,
    /// The most bytes the body of a function may have. A compiler's time and memory grow faster than a function does, and
    /// an engine that compiles in this process cannot be stopped: a MiB in one function takes seconds.
    pub max_function_bytes: u64,
    /// The most bytes that an instance may take: its memories, its tables, and what the host keeps for it, all together.
    /// `memory.grow` beyond it answers -1 to the guest; where an ABI has no error for it, the guest ends.
    pub max_memory: u64,
    /// What the instances of all guests that share it may take together.
    pub total_memory: Option<TotalMemory>,
    /// The most elements a guest's table may grow to.
    pub max_table_elements: u64,
    /// Where compiled code is kept between loads; `None` compiles each time.
    pub cache: Option<Arc<CodeCache>>,
    /// What the embedder offers to guests.
    pub linker: Linker,
    /// Whether a component keeps its adapter for preview 1, though it is a published one that core can stand in for.
    pub keep_adapter: bool,
}

impl Default for LoadOptions {
    /// A file of 256 MiB with functions of 1 MiB, 4 GiB of memory (all that 32-bit pointers reach) and no total, tables
    /// of a million elements, no cache, nothing of the embedder's, no adapter that core can stand in for.
    fn default() -> Self {
        LoadOptions {
            max_module_bytes: 256 << 20,
            max_function_bytes: 1 << 20,
            max_memory: 4 << 30,
            total_memory: None,
            max_table_elements: 1 << 20,
            cache: None,
            linker: Linker::new(),
            keep_adapter: false,
        }
    }
}
