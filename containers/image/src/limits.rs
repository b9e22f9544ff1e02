//! What is read of an image at most, and so written.

/// The most bytes that a guest may have, and a compressed layer, unless it is said otherwise: what core loads.
pub(crate) const MAX_GUEST: u64 = 256 << 20;

/// The largest manifest, index or configuration: what registries have to take at least.
pub(crate) const MAX_DOCUMENT: u64 = 4 << 20;
