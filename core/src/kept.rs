//! What is known of a prepared module that is in the cache, or is to be.

use std::fmt;

use bytes::Bytes;

use crate::cache::CacheKey;
use crate::trusted::TrustedCode;

/// As what a prepared module is kept.
pub(crate) struct Kept {
    pub(crate) key: CacheKey,
    /// The engine that the key is for.
    pub(crate) engine: String,
    /// The module without what only an engine reads.
    pub(crate) outline: Bytes,
    /// Whether it is in the cache already, and its code with it, if the engine has any to give.
    pub(crate) found: bool,
    pub(crate) code: Option<TrustedCode<'static>>,
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").field("engine", &self.engine).field("code", &self.code).finish_non_exhaustive()
    }
}
