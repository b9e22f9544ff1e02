//! The functions that connect composed components: what a flattened module imports from [`INTRINSICS_MODULE`].
//!
//! [`INTRINSICS_MODULE`]: crate::INTRINSICS_MODULE

use std::fmt;

use serde::{Deserialize, Serialize};

/// One of the functions. All parameters and results are of type `i32` where nothing else is said.
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
    /// Prepares a call that one of the functions starts which follow. Takes two of [`Calls::functions`], the one that passes
    /// parameters on and the one that passes a result on; the caller's instance and the callee's; the number of the result's
    /// type; whether the callee's type is `async`; how the callee encodes strings; and how many core values the result has, or
    /// [`ASYNC_WITH_RESULT`] or [`ASYNC_WITHOUT_RESULT`]. The call's own parameters follow, of these types.
    ///
    /// [`Calls::functions`]: crate::Calls::functions
    PrepareCall {
        /// The types of the call's own parameters.
        params: Vec<CoreType>,
        /// The export that is the callee's memory, if it has named one.
        memory: Option<String>,
    },
    /// Starts a call of an asynchronous function and waits for its result: takes the callee, one of [`Calls::functions`], and
    /// how many core values it takes.
    ///
    /// [`Calls::functions`]: crate::Calls::functions
    StartAndWait {
        /// The export that is called with the events that the callee waits for.
        callback: Option<String>,
        /// The type of what the call returns.
        result: Option<CoreType>,
    },
    /// Starts a call and returns its state, and a handle to wait for it with unless it has ended: takes the callee, one of
    /// [`Calls::functions`], how many core values it takes and returns, and flags, of which the lowest says that it is lifted
    /// asynchronously.
    ///
    /// [`Calls::functions`]: crate::Calls::functions
    Start {
        /// The export that is called with the events that the callee waits for.
        callback: Option<String>,
        /// The export that is called with the results when they have been read.
        post_return: Option<String>,
    },
    /// Moves the readable end of a stream: takes its handle, the number of its type, and the number of the type that it has
    /// where it goes to; returns the new handle.
    StreamTransfer,
    /// The same for a future.
    FutureTransfer,
}

/// How many core values the result of a call has that does not wait, if there is one.
pub const ASYNC_WITH_RESULT: u32 = u32::MAX - 1;

/// The same, if there is none.
pub const ASYNC_WITHOUT_RESULT: u32 = u32::MAX;

/// How many parameters of its own a function has that prepares a call.
pub const PREPARING: usize = 8;

/// A number type of WebAssembly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say all")]
pub enum CoreType {
    I32,
    I64,
    F32,
    F64,
}

impl CoreType {
    const ALL: [(CoreType, char); 4] =
        [(CoreType::I32, 'i'), (CoreType::I64, 'l'), (CoreType::F32, 'f'), (CoreType::F64, 'd')];

    /// The letter that stands for it in a name.
    fn letter(self) -> char {
        CoreType::ALL.into_iter().find(|(ty, _)| *ty == self).map_or('i', |(_, letter)| letter)
    }

    fn of(letter: char) -> Option<Self> {
        CoreType::ALL.into_iter().find(|(_, known)| *known == letter).map(|(ty, _)| ty)
    }
}

/// What follows a name: `;key=value`, of which each may be missing.
struct Options<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Options<'a> {
    fn read(text: &'a str, known: &[&str]) -> Option<Self> {
        let mut options = Vec::new();
        for part in text.split(';').skip(1) {
            let (key, value) = part.split_once('=')?;
            if !known.contains(&key) || options.iter().any(|(other, _)| *other == key) {
                return None;
            }
            options.push((key, value));
        }
        Some(Options(options))
    }

    fn get(&self, key: &str) -> Option<String> {
        self.0.iter().find(|(known, _)| *known == key).map(|(_, value)| (*value).to_owned())
    }

    fn write(f: &mut fmt::Formatter<'_>, key: &str, value: Option<&String>) -> fmt::Result {
        value.map_or(Ok(()), |value| write!(f, ";{key}={value}"))
    }
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
        let function = name.split(';').next()?;
        if let Some(transcoding) = function.strip_prefix("transcode-") {
            let transcoding = Transcoding::parse(transcoding)?;
            let options = Options::read(name, &["from", "to"])?;
            return Some(Intrinsic::Transcode { transcoding, from: options.get("from")?, to: options.get("to")? });
        }
        match function {
            "prepare-call" => {
                let options = Options::read(name, &["params", "memory"])?;
                let params = options.get("params").unwrap_or_default();
                let params = params.chars().map(CoreType::of).collect::<Option<_>>()?;
                return Some(Intrinsic::PrepareCall { params, memory: options.get("memory") });
            }
            "start-call-and-wait" => {
                let options = Options::read(name, &["callback", "result"])?;
                let result = match options.get("result") {
                    Some(result) => {
                        let mut letters = result.chars();
                        let ty = CoreType::of(letters.next()?)?;
                        letters.next().is_none().then_some(Some(ty))?
                    }
                    None => None,
                };
                return Some(Intrinsic::StartAndWait { callback: options.get("callback"), result });
            }
            "start-call" => {
                let options = Options::read(name, &["callback", "post-return"])?;
                let (callback, post_return) = (options.get("callback"), options.get("post-return"));
                return Some(Intrinsic::Start { callback, post_return });
            }
            _ => {}
        }
        Some(match name {
            "stream-transfer" => Intrinsic::StreamTransfer,
            "future-transfer" => Intrinsic::FutureTransfer,
            "resource-transfer-own" => Intrinsic::TransferOwn,
            "resource-transfer-borrow" => Intrinsic::TransferBorrow,
            "enter-sync-call" => Intrinsic::EnterSyncCall,
            "exit-sync-call" => Intrinsic::ExitSyncCall,
            "trap" => Intrinsic::Trap,
            _ => return None,
        })
    }

    /// The types of its parameters, and of its results.
    pub fn signature(&self) -> (Vec<CoreType>, Vec<CoreType>) {
        let (params, results) = match self {
            Intrinsic::PrepareCall { params, .. } => {
                let mut all = vec![CoreType::I32; PREPARING];
                all.extend(params);
                return (all, Vec::new());
            }
            Intrinsic::StartAndWait { result, .. } => {
                return (vec![CoreType::I32; 2], result.iter().copied().collect());
            }
            Intrinsic::Start { .. } => (4, 1),
            Intrinsic::ResourceNew(_) | Intrinsic::ResourceRep(_) => (1, 1),
            Intrinsic::ResourceDrop(_) | Intrinsic::Trap => (1, 0),
            Intrinsic::Transcode { transcoding, .. } => transcoding.arity(),
            Intrinsic::TransferOwn
            | Intrinsic::TransferBorrow
            | Intrinsic::StreamTransfer
            | Intrinsic::FutureTransfer => (3, 1),
            Intrinsic::EnterSyncCall => (3, 0),
            Intrinsic::ExitSyncCall => (0, 0),
        };
        (vec![CoreType::I32; params], vec![CoreType::I32; results])
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
                write!(f, "transcode-{}", transcoding.name())?;
                Options::write(f, "from", Some(from))?;
                Options::write(f, "to", Some(to))
            }
            Intrinsic::TransferOwn => f.write_str("resource-transfer-own"),
            Intrinsic::TransferBorrow => f.write_str("resource-transfer-borrow"),
            Intrinsic::EnterSyncCall => f.write_str("enter-sync-call"),
            Intrinsic::ExitSyncCall => f.write_str("exit-sync-call"),
            Intrinsic::Trap => f.write_str("trap"),
            Intrinsic::PrepareCall { params, memory } => {
                f.write_str("prepare-call")?;
                let letters: String = params.iter().map(|ty| ty.letter()).collect();
                Options::write(f, "params", Some(letters).filter(|letters| !letters.is_empty()).as_ref())?;
                Options::write(f, "memory", memory.as_ref())
            }
            Intrinsic::StartAndWait { callback, result } => {
                f.write_str("start-call-and-wait")?;
                Options::write(f, "callback", callback.as_ref())?;
                Options::write(f, "result", result.map(|ty| ty.letter().to_string()).as_ref())
            }
            Intrinsic::Start { callback, post_return } => {
                f.write_str("start-call")?;
                Options::write(f, "callback", callback.as_ref())?;
                Options::write(f, "post-return", post_return.as_ref())
            }
            Intrinsic::StreamTransfer => f.write_str("stream-transfer"),
            Intrinsic::FutureTransfer => f.write_str("future-transfer"),
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
    /// It called a function that may wait from one that may not.
    MayNotBlock,
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
            TrapReason::MayNotBlock => "it called a function that may wait from one that may not",
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
            Intrinsic::PrepareCall {
                params: vec![CoreType::I32, CoreType::I64, CoreType::F32, CoreType::F64],
                memory: Some("memory_1".to_owned()),
            },
            Intrinsic::PrepareCall { params: vec![], memory: None },
            Intrinsic::StartAndWait { callback: Some("$callback_0".to_owned()), result: Some(CoreType::F64) },
            Intrinsic::StartAndWait { callback: None, result: None },
            Intrinsic::Start { callback: Some("$callback_0".to_owned()), post_return: Some("x".to_owned()) },
            Intrinsic::Start { callback: None, post_return: None },
            Intrinsic::StreamTransfer,
            Intrinsic::FutureTransfer,
        ];
        for intrinsic in transcodings.into_iter().chain(others) {
            assert_eq!(Intrinsic::parse(&intrinsic.to_string()), Some(intrinsic));
        }
        for bad in [
            "",
            "[resource-new]x",
            "transcode-utf32-to-utf8;from=a;to=b",
            "transcode-utf8-to-utf8",
            "transcode-utf8-to-utf8;from=a;to=b;to=c",
            "trap;x",
            "prepare-call;params=ix",
            "prepare-call;memory=a;memory=b",
            "prepare-call;callback=a",
            "start-call;memory=a",
            "start-call-and-wait;result=",
            "start-call-and-wait;result=ii",
        ] {
            assert_eq!(Intrinsic::parse(bad), None, "{bad}");
        }
    }
}
