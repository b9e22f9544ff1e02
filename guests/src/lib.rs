//! The guests that wharf's suite and demonstration run, compiled.
//!
//! Sources are in `guests/rust`, one crate a guest; `setup/build-guests.sh` compiles them. The results are committed in
//! `guests/prebuilt` with their digests, so that running the suite needs no wasm toolchain. CI compiles them again and
//! runs the suite on the result, through [`DIRECTORY_VARIABLE`].

#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::io;
use std::path::Path;

/// Names a directory whose `NAME.wasm` files are used instead of the compiled-in ones.
pub const DIRECTORY_VARIABLE: &str = "WHARF_GUESTS_DIR";

/// A compiled guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrebuiltGuest {
    /// The guest's name: that of its source directory.
    pub name: &'static str,
    wasm: &'static [u8],
}

/// `fetch [--count] URL [METHOD [BODY]] [NAME:VALUE]...`: a command on the published `wasi-experimental-http` crate.
pub const FETCH: PrebuiltGuest = PrebuiltGuest { name: "fetch", wasm: include_bytes!("../prebuilt/fetch.wasm") };

/// A reactor on the published crate: `get`, `post`, `headers`, `long_header`, `concurrent`, `large`, `whole`, `denied`.
pub const PUBLISHED: PrebuiltGuest =
    PrebuiltGuest { name: "published", wasm: include_bytes!("../prebuilt/published.wasm") };

/// `serve|poll ADDR COUNT` and `send|ask HOST:PORT TEXT`: a command on the published `wasmedge_wasi_socket` crate.
pub const ECHO_WASMEDGE: PrebuiltGuest =
    PrebuiltGuest { name: "echo-wasmedge", wasm: include_bytes!("../prebuilt/echo-wasmedge.wasm") };

/// `listener COUNT [FILE]`: a server on Rust's standard library, whose listener is open already.
pub const LISTENER: PrebuiltGuest =
    PrebuiltGuest { name: "listener", wasm: include_bytes!("../prebuilt/listener.wasm") };

/// `hello-hyper ADDR`: an HTTP server on the published `hyper_wasi` and `tokio_wasi` crates.
pub const HELLO_HYPER: PrebuiltGuest =
    PrebuiltGuest { name: "hello-hyper", wasm: include_bytes!("../prebuilt/hello-hyper.wasm") };

/// A `wasi:http` handler, as its bindings leave it: a core module. Its paths are `/echo`, `/fetch?URL`, `/trap`,
/// `/unfinished`, `/silent` and `/spin`; it greets any other.
pub const HELLO_HTTP: PrebuiltGuest =
    PrebuiltGuest { name: "hello-http", wasm: include_bytes!("../prebuilt/hello-http.wasm") };

/// Every guest.
pub const ALL: &[PrebuiltGuest] = &[FETCH, PUBLISHED, ECHO_WASMEDGE, LISTENER, HELLO_HYPER, HELLO_HTTP];

impl PrebuiltGuest {
    /// The module: the committed one, or the one in the directory that [`DIRECTORY_VARIABLE`] names.
    ///
    /// # Errors
    /// If that variable is set and the directory does not hold this guest: the committed one would be a silent stand-in.
    pub fn wasm(&self) -> io::Result<Cow<'static, [u8]>> {
        let Some(directory) = std::env::var_os(DIRECTORY_VARIABLE) else { return Ok(Cow::Borrowed(self.wasm)) };
        let path = Path::new(&directory).join(self.name).with_extension("wasm");
        match std::fs::read(&path) {
            Ok(wasm) => Ok(Cow::Owned(wasm)),
            Err(error) => Err(io::Error::new(
                error.kind(),
                format!("{DIRECTORY_VARIABLE} is set, and the guest `{}` cannot be read: {error}", path.display()),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest, Sha256};
    use std::collections::BTreeSet;

    #[test]
    fn the_manifest_holds_the_digest_of_every_guest() {
        let manifest: BTreeSet<&str> = include_str!("../prebuilt/SHA256SUMS").lines().collect();
        let found: Vec<String> = ALL
            .iter()
            .map(|guest| {
                let hex: String = Sha256::digest(guest.wasm).iter().map(|byte| format!("{byte:02x}")).collect();
                format!("{hex}  {}.wasm", guest.name)
            })
            .collect();
        assert_eq!(manifest, found.iter().map(String::as_str).collect());
    }

    #[test]
    fn every_source_has_a_guest() {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("rust");
        let sources: BTreeSet<String> = std::fs::read_dir(sources)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        assert_eq!(sources, ALL.iter().map(|guest| guest.name.to_owned()).collect());
    }
}
