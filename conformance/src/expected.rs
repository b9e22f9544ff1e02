//! Failures we know of. Each carries why, where it is tracked and the words it fails with; anything else is red.

/// A case known to fail on a backend.
#[derive(Debug, Clone, Copy)]
pub struct Expected {
    /// The backend's name, as in the report's column.
    pub backend: &'static str,
    /// The case's id.
    pub id: &'static str,
    /// Why it fails.
    pub reason: &'static str,
    /// Where that is tracked.
    pub link: &'static str,
    /// Text the failure's message must contain; another message is a failure of its own.
    pub message: &'static str,
}

/// The column of wasmtime's own component model.
pub const NATIVE: &str = "wasmtime-native";

/// The failures known on the backends that wharf ships.
pub const EXPECTED: &[Expected] = &[];
