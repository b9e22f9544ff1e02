//! Compiled code, and who vouches for it.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;

/// Code that an engine compiled, which an engine may execute as it stands.
///
/// Compiled code is native code: whoever writes it can do whatever this process can. So it has a type of its own, which
/// only core's cache and an `unsafe fn` make, and [`Backend::load`](crate::Backend::load) takes nothing else:
///
/// ```compile_fail,E0308
/// # use wharf_core::{Backend, Prepared};
/// fn forge(backend: &dyn Backend, prepared: &Prepared, bytes: &[u8]) {
///     let _ = backend.load(prepared, bytes);
/// }
/// ```
///
/// Safe code cannot make one from bytes, neither with a constructor,
///
/// ```compile_fail,E0133
/// # use wharf_core::TrustedCode;
/// fn forge(bytes: &[u8]) -> TrustedCode<'_> {
///     TrustedCode::new(bytes)
/// }
/// ```
///
/// nor with a literal,
///
/// ```compile_fail,E0423
/// # use wharf_core::TrustedCode;
/// fn forge(bytes: &[u8]) -> TrustedCode<'_> {
///     TrustedCode(bytes.into())
/// }
/// ```
///
/// nor by a conversion,
///
/// ```compile_fail,E0277
/// # use wharf_core::TrustedCode;
/// fn forge(bytes: &[u8]) -> TrustedCode<'_> {
///     bytes.into()
/// }
/// ```
///
/// nor by having the cache keep bytes that no engine made:
///
/// ```compile_fail,E0308
/// # use wharf_core::{CodeCache, CodeKey};
/// fn forge(cache: &CodeCache, key: &CodeKey, bytes: &[u8]) {
///     let _ = unsafe { cache.put_code(key, bytes) };
/// }
/// ```
#[derive(Clone)]
pub struct TrustedCode<'a>(Held<'a>);

/// Whose the bytes are.
#[derive(Clone)]
enum Held<'a> {
    Given(Cow<'a, [u8]>),
    /// Part of what the cache has read.
    Kept(Bytes),
}

impl<'a> TrustedCode<'a> {
    /// Vouches for code.
    ///
    /// # Safety
    /// `code` is what an engine wrote when it compiled a module, complete and unchanged, and it only ever reaches the
    /// same version of that engine with the same [`BackendInfo::code_key`](crate::BackendInfo::code_key), for that
    /// module.
    #[expect(unsafe_code, reason = "that bytes are code which may be executed cannot be checked, only promised")]
    pub unsafe fn new(code: impl Into<Cow<'a, [u8]>>) -> Self {
        TrustedCode(Held::Given(code.into()))
    }

    /// The same for a part of an entry of the cache.
    ///
    /// # Safety
    /// As for [`new`](Self::new).
    #[expect(unsafe_code, reason = "as above")]
    pub(crate) unsafe fn kept(code: Bytes) -> Self {
        TrustedCode(Held::Kept(code))
    }

    /// The code, as the engine wrote it.
    pub fn bytes(&self) -> &[u8] {
        match &self.0 {
            Held::Given(code) => code,
            Held::Kept(code) => code,
        }
    }
}

/// How much it is, and none of it.
impl fmt::Debug for TrustedCode<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TrustedCode({} bytes)", self.bytes().len())
    }
}
