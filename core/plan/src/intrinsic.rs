//! The functions that connect composed components: what a flattened module imports from [`INTRINSICS_MODULE`].
//!
//! [`INTRINSICS_MODULE`]: crate::INTRINSICS_MODULE

use std::fmt;

use serde::{Deserialize, Serialize};

/// One of the functions. All parameters and results are of type `i32`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Intrinsic {
    /// `resource.new`: takes a representation, returns a handle. The table is one of [`Plan::handle_tables`].
    ///
    /// [`Plan::handle_tables`]: crate::Plan::handle_tables
    ResourceNew(u32),
    /// `resource.rep`: takes a handle, returns its representation.
    ResourceRep(u32),
    /// `resource.drop`, of a resource that a component defines: takes a handle.
    ResourceDrop(u32),
    /// Copies a string from one memory to another. What it takes and returns is in [`Transcoding`].
    Transcode {
        /// From which encoding to which.
        transcoding: Transcoding,
        /// The export that is the source memory.
        from: String,
        /// The export that is the destination memory.
        to: String,
    },
    /// Moves a handle: takes it, its table and the table it goes to, returns the new handle.
    TransferOwn,
    /// Lends a handle for the current call: takes it, its table and the table it goes to, returns the new handle.
    TransferBorrow,
    /// Begins a call from one component instance to another: takes the caller's instance, whether the callee is async
    /// (always 0), the callee's instance.
    EnterSyncCall,
    /// Ends such a call: borrows lent for it must have been dropped.
    ExitSyncCall,
    /// Stops the guest: takes a code of [`Plan::traps`](crate::Plan::traps).
    Trap,
}

impl Intrinsic {
    /// The function of this name, as its `Display` writes it.
    pub fn parse(name: &str) -> Option<Self> {
        let table = |prefix: &str| name.strip_prefix(prefix)?.parse::<u32>().ok();
        if let Some(table) = table("[resource-new]") {
            return Some(Intrinsic::ResourceNew(table));
        }
        if let Some(table) = table("[resource-rep]") {
            return Some(Intrinsic::ResourceRep(table));
        }
        if let Some(table) = table("[resource-drop]") {
            return Some(Intrinsic::ResourceDrop(table));
        }
        if let Some(transcode) = name.strip_prefix("transcode-") {
            let mut parts = transcode.split(';');
            let transcoding = Transcoding::parse(parts.next()?)?;
            let from = parts.next()?.strip_prefix("from=")?.to_owned();
            let to = parts.next()?.strip_prefix("to=")?.to_owned();
            return parts.next().is_none().then_some(Intrinsic::Transcode { transcoding, from, to });
        }
        Some(match name {
            "resource-transfer-own" => Intrinsic::TransferOwn,
            "resource-transfer-borrow" => Intrinsic::TransferBorrow,
            "enter-sync-call" => Intrinsic::EnterSyncCall,
            "exit-sync-call" => Intrinsic::ExitSyncCall,
            "trap" => Intrinsic::Trap,
            _ => return None,
        })
    }

    /// How many parameters and how many results it has.
    pub fn arity(&self) -> (usize, usize) {
        match self {
            Intrinsic::ResourceNew(_) | Intrinsic::ResourceRep(_) => (1, 1),
            Intrinsic::ResourceDrop(_) | Intrinsic::Trap => (1, 0),
            Intrinsic::Transcode { transcoding, .. } => transcoding.arity(),
            Intrinsic::TransferOwn | Intrinsic::TransferBorrow => (3, 1),
            Intrinsic::EnterSyncCall => (3, 0),
            Intrinsic::ExitSyncCall => (0, 0),
        }
    }

    /// The handle table it is about.
    pub fn table(&self) -> Option<u32> {
        match self {
            Intrinsic::ResourceNew(table) | Intrinsic::ResourceRep(table) | Intrinsic::ResourceDrop(table) => {
                Some(*table)
            }
            _ => None,
        }
    }
}

impl fmt::Display for Intrinsic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Intrinsic::ResourceNew(table) => write!(f, "[resource-new]{table}"),
            Intrinsic::ResourceRep(table) => write!(f, "[resource-rep]{table}"),
            Intrinsic::ResourceDrop(table) => write!(f, "[resource-drop]{table}"),
            Intrinsic::Transcode { transcoding, from, to } => {
                write!(f, "transcode-{};from={from};to={to}", transcoding.name())
            }
            Intrinsic::TransferOwn => f.write_str("resource-transfer-own"),
            Intrinsic::TransferBorrow => f.write_str("resource-transfer-borrow"),
            Intrinsic::EnterSyncCall => f.write_str("enter-sync-call"),
            Intrinsic::ExitSyncCall => f.write_str("exit-sync-call"),
            Intrinsic::Trap => f.write_str("trap"),
        }
    }
}

impl From<Intrinsic> for String {
    fn from(intrinsic: Intrinsic) -> Self {
        intrinsic.to_string()
    }
}

impl TryFrom<String> for Intrinsic {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        Intrinsic::parse(&name)
            .ok_or_else(|| format!("`{name}` is not the name of a function that connects components"))
    }
}

/// From which encoding a string goes to which, where pointers and lengths have been checked.
///
/// Each takes the source's pointer and length and the destination's pointer, in code units of their encodings; what more
/// it takes and returns is what an adapter of the component model needs to go on with a string that has another length
/// than it was thought to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say all")]
pub enum Transcoding {
    Utf8ToUtf8,
    Utf16ToUtf16,
    Latin1ToLatin1,
    Latin1ToUtf16,
    Utf8ToUtf16,
    Utf16ToUtf8,
    Latin1ToUtf8,
    Utf16ToCompactProbablyUtf16,
    Utf8ToLatin1,
    Utf16ToLatin1,
    Utf8ToCompactUtf16,
    Utf16ToCompactUtf16,
}

impl Transcoding {
    /// Every one.
    pub const ALL: [Transcoding; 12] = [
        Transcoding::Utf8ToUtf8,
        Transcoding::Utf16ToUtf16,
        Transcoding::Latin1ToLatin1,
        Transcoding::Latin1ToUtf16,
        Transcoding::Utf8ToUtf16,
        Transcoding::Utf16ToUtf8,
        Transcoding::Latin1ToUtf8,
        Transcoding::Utf16ToCompactProbablyUtf16,
        Transcoding::Utf8ToLatin1,
        Transcoding::Utf16ToLatin1,
        Transcoding::Utf8ToCompactUtf16,
        Transcoding::Utf16ToCompactUtf16,
    ];

    /// Its name in an import's name.
    pub fn name(self) -> &'static str {
        use Transcoding as T;
        match self {
            T::Utf8ToUtf8 => "utf8-to-utf8",
            T::Utf16ToUtf16 => "utf16-to-utf16",
            T::Latin1ToLatin1 => "latin1-to-latin1",
            T::Latin1ToUtf16 => "latin1-to-utf16",
            T::Utf8ToUtf16 => "utf8-to-utf16",
            T::Utf16ToUtf8 => "utf16-to-utf8",
            T::Latin1ToUtf8 => "latin1-to-utf8",
            T::Utf16ToCompactProbablyUtf16 => "utf16-to-compact-probably-utf16",
            T::Utf8ToLatin1 => "utf8-to-latin1",
            T::Utf16ToLatin1 => "utf16-to-latin1",
            T::Utf8ToCompactUtf16 => "utf8-to-compact-utf16",
            T::Utf16ToCompactUtf16 => "utf16-to-compact-utf16",
        }
    }

    /// The one of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Transcoding::ALL.into_iter().find(|transcoding| transcoding.name() == name)
    }

    fn arity(self) -> (usize, usize) {
        use Transcoding as T;
        match self {
            T::Utf8ToUtf8 | T::Utf16ToUtf16 | T::Latin1ToLatin1 | T::Latin1ToUtf16 => (3, 0),
            T::Utf8ToUtf16 | T::Utf16ToCompactProbablyUtf16 => (3, 1),
            T::Utf16ToUtf8 | T::Latin1ToUtf8 => (5, 2),
            T::Utf8ToLatin1 | T::Utf16ToLatin1 => (3, 2),
            T::Utf8ToCompactUtf16 | T::Utf16ToCompactUtf16 => (5, 1),
        }
    }
}

/// Why an adapter between two components stops the guest: what the one that called did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum TrapReason {
    /// It called a component instance that is being called already.
    Reentered,
    /// It made a call while it must not leave: from its allocator or a post-return function.
    MayNotLeave,
    /// It passed a number that is not a Unicode scalar value for a `char`.
    InvalidChar,
    /// It passed a string that does not lie within its memory.
    StringOutOfBounds,
    /// It passed a list that does not lie within its memory.
    ListOutOfBounds,
    /// It passed a case that its variant does not have.
    InvalidCase,
    /// It passed a pointer that is not aligned.
    Unaligned,
}

impl fmt::Display for TrapReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TrapReason::Reentered => "it called a component that is already being called",
            TrapReason::MayNotLeave => "it made a call from its allocator or its post-return function",
            TrapReason::InvalidChar => "it passed a number that is not a valid `char`",
            TrapReason::StringOutOfBounds => "it passed a string that is not within its memory",
            TrapReason::ListOutOfBounds => "it passed a list that is not within its memory",
            TrapReason::InvalidCase => "it passed a case that its type does not have",
            TrapReason::Unaligned => "it passed a pointer that is not aligned",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        let transcodings = Transcoding::ALL.map(|transcoding| {
            let (from, to) = ("memory".to_owned(), "memory_1".to_owned());
            Intrinsic::Transcode { transcoding, from, to }
        });
        let others = [
            Intrinsic::ResourceNew(3),
            Intrinsic::ResourceRep(0),
            Intrinsic::ResourceDrop(u32::MAX),
            Intrinsic::TransferOwn,
            Intrinsic::TransferBorrow,
            Intrinsic::EnterSyncCall,
            Intrinsic::ExitSyncCall,
            Intrinsic::Trap,
        ];
        for intrinsic in transcodings.into_iter().chain(others) {
            assert_eq!(Intrinsic::parse(&intrinsic.to_string()), Some(intrinsic));
        }
        for bad in ["", "[resource-new]x", "transcode-utf32-to-utf8;from=a;to=b", "transcode-utf8-to-utf8", "trap;x"] {
            assert_eq!(Intrinsic::parse(bad), None, "{bad}");
        }
    }
}
