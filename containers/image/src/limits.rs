//! What is read of an image at most, and so written.

/// The most bytes that a guest may have, and a compressed layer, unless it is said otherwise: what core loads.
pub(crate) const MAX_GUEST: u64 = 256 << 20;

/// The largest manifest, index or configuration: what registries have to take at least.
pub(crate) const MAX_DOCUMENT: u64 = 4 << 20;

/// The most bytes that the layers of an image may have together, and that they may have once they are decompressed.
pub(crate) const MAX_LAYER_BYTES: u64 = 4 << 30;
