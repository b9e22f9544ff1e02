//! The guests that wharf's suite and demonstration run, compiled.
//!
//! Sources are in `guests/LANGUAGE/NAME`; `setup/build-guests.sh` compiles them. Small ones are committed in
//! `guests/prebuilt` with their digests, so that running the suite on them needs no wasm toolchain. CI compiles the
//! others, checks that the committed ones are of the sources that are there, and runs the suite on all of them, through
//! [`DIRECTORY_VARIABLE`]. Every guest is run by a case of the suite, or the suite does not compile; a case whose guest is
//! not there is skipped. A test with a guest that is not committed is marked `#[ignore]`, with the reason; CI runs these
//! too. The SDK of Rust is in `guests/rust/sdk`, within the workspace of the guests on it.

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
    /// The language it is written in: the directory that its source directory is in.
    pub language: &'static str,
    /// The committed module, if it is small enough to be committed.
    committed: Option<&'static [u8]>,
}

/// A guest whose module is committed.
macro_rules! committed {
    ($language:literal, $name:literal) => {
        PrebuiltGuest {
            name: $name,
            language: $language,
            committed: Some(include_bytes!(concat!("../prebuilt/", $name, ".wasm"))),
        }
    };
}

/// A guest whose module is too large to be committed.
macro_rules! built {
    ($language:literal, $name:literal) => {
        PrebuiltGuest { name: $name, language: $language, committed: None }
    };
}

/// `fetch [--count] URL [METHOD [BODY]] [NAME:VALUE]...`: a command on the published `wasi-experimental-http` crate.
pub const FETCH: PrebuiltGuest = committed!("rust", "fetch");

/// A reactor on the published crate: `get`, `post`, `headers`, `long_header`, `concurrent`, `large`, `whole`, `denied`.
pub const PUBLISHED: PrebuiltGuest = committed!("rust", "published");

/// `serve|poll ADDR COUNT` and `send|ask HOST:PORT TEXT`: a command on the published `wasmedge_wasi_socket` crate.
pub const ECHO_WASMEDGE: PrebuiltGuest = committed!("rust", "echo-wasmedge");

/// `listener COUNT [FILE]`: a server on Rust's standard library, whose listener is open already.
pub const LISTENER: PrebuiltGuest = committed!("rust", "listener");

/// `hello-hyper ADDR`: an HTTP server on the published `hyper_wasi` and `tokio_wasi` crates.
pub const HELLO_HYPER: PrebuiltGuest = committed!("rust", "hello-hyper");

/// `hello-wasmedge ADDR`: an HTTP server on the published `wasmedge_wasi_socket` crate.
pub const HELLO_WASMEDGE: PrebuiltGuest = committed!("rust", "hello-wasmedge");

/// An HTTP server on Rust's standard library, whose listener is open already.
pub const HELLO_STD: PrebuiltGuest = committed!("rust", "hello-std");

/// `fetch-http-req URL [BODY]`: a command on the published `wasmedge_http_req` crate.
pub const FETCH_HTTP_REQ: PrebuiltGuest = committed!("rust", "fetch-http-req");

/// `fetch-reqwest URL [BODY]`: a command on the published `reqwest_wasi` and `tokio_wasi` crates.
pub const FETCH_REQWEST: PrebuiltGuest = built!("rust", "fetch-reqwest");

/// A `wasi:http` handler, as its bindings leave it: a core module. Its paths are `/echo`, `/fetch?URL`, `/trap`,
/// `/unfinished`, `/silent` and `/spin`; it greets any other.
pub const HELLO_HTTP: PrebuiltGuest = committed!("rust", "hello-http");

/// Its export `greet` gets the `name` and sets the `greeting` of `my:kv/store@1.0.0`, which an embedder offers: a core
/// module, as its bindings leave it.
pub const GREET_KV: PrebuiltGuest = committed!("rust", "greet-kv");

/// An HTTP server on Go's standard library, whose listener is open already.
pub const HELLO_GO: PrebuiltGuest = built!("go", "hello-go");

/// An HTTP server in C on `poll(2)`, whose listener is open already.
pub const HELLO_POLL: PrebuiltGuest = committed!("c", "hello-poll");

/// `http-js fetch|form|download URL ...`: a component in JavaScript, made by componentize-js, and a `wasi:http` handler
/// too. That is a proxy where `UPSTREAM` is set; else its paths are `/echo`, `/fetch?URL` and `/send?URL`, and it greets any
/// other.
pub const HTTP_JS: PrebuiltGuest = built!("javascript", "http-js");

/// The same in Python, made by componentize-py.
pub const HTTP_PY: PrebuiltGuest = built!("python", "http-py");

/// `as-fetch URL [METHOD [BODY]] [NAME:VALUE]...` in AssemblyScript: what [`FETCH`] does, on wharf's own package.
pub const AS_FETCH: PrebuiltGuest = committed!("assemblyscript", "as-fetch");

/// `as-form URL [NAME=VALUE]...` in AssemblyScript: posts a form.
pub const AS_FORM: PrebuiltGuest = committed!("assemblyscript", "as-form");

/// `as-download URL` in AssemblyScript: prints the length and the CRC-32 of a body of any size.
pub const AS_DOWNLOAD: PrebuiltGuest = committed!("assemblyscript", "as-download");

/// `c-fetch URL [METHOD [BODY]] [NAME:VALUE]...` in C: what [`FETCH`] does, on wharf's own SDK.
pub const C_FETCH: PrebuiltGuest = committed!("c", "c-fetch");

/// `c-form URL [NAME=VALUE]...` in C: posts a form.
pub const C_FORM: PrebuiltGuest = committed!("c", "c-form");

/// `c-download URL` in C: prints the length and the CRC-32 of a body of any size.
pub const C_DOWNLOAD: PrebuiltGuest = committed!("c", "c-download");

/// `rust-fetch URL [METHOD [BODY]] [NAME:VALUE]...` on the SDK, for `wasi_experimental_http`: what [`FETCH`] does. Further
/// URLs are fetched at the same time.
pub const RUST_FETCH: PrebuiltGuest = built!("rust", "rust-fetch");

/// The same source, built for `wasi:http`.
pub const RUST_FETCH_HTTP: PrebuiltGuest = built!("rust", "rust-fetch-http");

/// `rust-form URL [NAME=VALUE]...` on the SDK, for `wasi_experimental_http`: posts a form.
pub const RUST_FORM: PrebuiltGuest = built!("rust", "rust-form");

/// The same source, built for `wasi:http`.
pub const RUST_FORM_HTTP: PrebuiltGuest = built!("rust", "rust-form-http");

/// `rust-download URL [FILE]` on the SDK, for `wasi_experimental_http`: prints the length and the CRC-32 of a body of any
/// size.
pub const RUST_DOWNLOAD: PrebuiltGuest = built!("rust", "rust-download");

/// The same source, built for `wasi:http`.
pub const RUST_DOWNLOAD_HTTP: PrebuiltGuest = built!("rust", "rust-download-http");

/// A `wasi:http` handler on the SDK, which passes requests on to the origin that `UPSTREAM` names.
pub const RUST_PROXY: PrebuiltGuest = built!("rust", "rust-proxy");

/// The same source, built for `wasi:http` 0.3.
pub const RUST_PROXY_03: PrebuiltGuest = built!("rust", "rust-proxy-03");

/// The source of [`PUBLISHED`], unchanged, on the SDK instead of the published crate.
pub const RUST_COMPAT: PrebuiltGuest = built!("rust", "rust-compat");

/// A `wasi:http` handler on the `wstd` crate, as a core module. Its paths are `/echo`, `/fetch?URL` and `/send?URL`; it
/// greets any other.
pub const HTTP_WSTD: PrebuiltGuest = committed!("rust", "http-wstd");

/// The same on the `waki` crate.
pub const HTTP_WAKI: PrebuiltGuest = committed!("rust", "http-waki");

/// A `wasi:http` service of WASI 0.3, as its bindings leave it. Its paths are `/echo`, `/fetch?URL`, `/trap`, `/error` and
/// `/spin`; it greets any other.
pub const HELLO_SERVICE: PrebuiltGuest = committed!("rust", "hello-service");

/// A `wasi:http` service of WASI 0.3 in Rust, as its bindings leave it. Its paths are `/echo`, `/fetch?URL` and `/send?URL`,
/// trailers included; it greets any other.
pub const SERVICE_RUST: PrebuiltGuest = committed!("rust", "service-rust");

/// The same in Python, made by componentize-py.
pub const SERVICE_PY: PrebuiltGuest = built!("python", "service-py");

/// A `wasi:http` middleware of WASI 0.3, as its bindings leave it: says in a field `server-timing` how long the handler behind
/// it took.
pub const TIMING_MIDDLEWARE: PrebuiltGuest = committed!("rust", "timing-middleware");

/// `go-http fetch|form|download|proxy URL ...` in Go, on wharf's own SDK and `net/http`: what the guests of these names
/// do in other languages; and a reverse proxy, whose listener is open already.
pub const GO_HTTP: PrebuiltGuest = built!("go", "go-http");

/// Every guest.
pub const ALL: &[PrebuiltGuest] = &[
    FETCH,
    PUBLISHED,
    ECHO_WASMEDGE,
    LISTENER,
    HELLO_HYPER,
    HELLO_WASMEDGE,
    HELLO_STD,
    FETCH_HTTP_REQ,
    FETCH_REQWEST,
    HELLO_HTTP,
    GREET_KV,
    HELLO_GO,
    HELLO_POLL,
    HTTP_JS,
    HTTP_PY,
    AS_FETCH,
    AS_FORM,
    AS_DOWNLOAD,
    C_FETCH,
    C_FORM,
    C_DOWNLOAD,
    RUST_FETCH,
    RUST_FETCH_HTTP,
    RUST_FORM,
    RUST_FORM_HTTP,
    RUST_DOWNLOAD,
    RUST_DOWNLOAD_HTTP,
    RUST_PROXY,
    RUST_PROXY_03,
    RUST_COMPAT,
    HTTP_WSTD,
    HTTP_WAKI,
    HELLO_SERVICE,
    SERVICE_RUST,
    SERVICE_PY,
    TIMING_MIDDLEWARE,
    GO_HTTP,
];

impl PrebuiltGuest {
    /// The module: the committed one, or the one in the directory that [`DIRECTORY_VARIABLE`] names.
    ///
    /// # Errors
    /// If that variable is set and the directory does not hold this guest: the committed one would be a silent stand-in.
    /// If it is not set and the guest is not committed.
    pub fn wasm(&self) -> io::Result<Cow<'static, [u8]>> {
        let Some(directory) = std::env::var_os(DIRECTORY_VARIABLE) else {
            return self.committed.map(Cow::Borrowed).ok_or_else(|| {
                let (name, language) = (self.name, self.language);
                let text = format!(
                    "the guest `{name}` is not committed: build it with `setup/build-guests.sh DIRECTORY {language}` \
                     and set {DIRECTORY_VARIABLE}"
                );
                io::Error::new(io::ErrorKind::NotFound, text)
            });
        };
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
            .filter_map(|guest| {
                let digest = Sha256::digest(guest.committed?);
                let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
                Some(format!("{hex}  {}.wasm", guest.name))
            })
            .collect();
        assert_eq!(manifest, found.iter().map(String::as_str).collect());
    }

    #[test]
    fn every_source_has_a_guest() {
        let directory = |path: &Path| -> Vec<String> {
            let entries = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap());
            let directories = entries.filter(|entry| entry.file_type().unwrap().is_dir());
            directories.map(|entry| entry.file_name().into_string().unwrap()).collect()
        };
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let no_language = ["prebuilt", "sdk", "src", "templates"];
        let languages = directory(root).into_iter().filter(|name| !no_language.contains(&name.as_str()));
        let sources: BTreeSet<(String, String)> = languages
            .flat_map(|language| {
                // The SDK of Rust is within the workspace of its guests.
                let guests = directory(&root.join(&language)).into_iter().filter(|name| name != "sdk");
                guests.map(move |name| (language.clone(), name))
            })
            .collect();
        let listed: BTreeSet<_> = ALL.iter().map(|guest| (guest.language.to_owned(), guest.name.to_owned())).collect();
        assert_eq!(sources, listed);
        assert_eq!(listed.iter().map(|(_, name)| name).collect::<BTreeSet<_>>().len(), ALL.len(), "names are unique");
    }
}
