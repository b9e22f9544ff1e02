//! The examples of `guests/README.md`: what each does is written there once, and held to here in every language.
//!
//! A new language is a row of [`languages`].

mod download;
mod fetch;
mod form;
mod javascript;
mod proxy;
mod rust;
mod unchanged;

use wharf_core::GuestConfig;
use wharf_guests::{
    AS_DOWNLOAD, AS_FETCH, AS_FORM, C_DOWNLOAD, C_FETCH, C_FORM, GO_HTTP, HTTP_JS, HTTP_PY, PrebuiltGuest,
    RUST_DOWNLOAD, RUST_DOWNLOAD_HTTP, RUST_FETCH, RUST_FETCH_HTTP, RUST_FORM, RUST_FORM_HTTP, RUST_PROXY,
    RUST_PROXY_03,
};

use self::download::download;
use self::fetch::fetch;
use self::form::form;
use self::proxy::proxy;
use self::unchanged::{login, unchanged};
use super::handlers;
use crate::case::{Case, CaseResult};
use crate::check;
use crate::check_eq;
use crate::context::Context;
use crate::origin::{Body, Origin, Reply};
use crate::prebuilt::{Ended, run};

/// What the contract leaves to the language.
#[derive(Clone, Copy)]
struct Traits {
    /// What the last line of stderr ends with where the destination is not allowed.
    denied: &'static str,
    /// The same where the body of a response breaks off.
    broken: &'static str,
    /// Whether its headers join the values of a name, `set-cookie` excepted.
    joins: bool,
    /// Whether its handler is a proxy only where `UPSTREAM` is set, and something else where it is not.
    other_without_upstream: bool,
    /// The memory that each of its guests gets, in bytes.
    memory: u64,
    /// The length of a download that has no room in that, in bytes.
    download: u64,
}

/// Guests that speak `wasi_experimental_http`.
const EXPERIMENTAL: Traits = Traits {
    denied: "the destination is not allowed (code 7)",
    broken: "the request failed (code 11)",
    joins: false,
    other_without_upstream: false,
    memory: 8 << 20,
    download: 24 << 20,
};

/// Guests that speak `wasi:http`, in a language that hands its error codes on.
const WASI_HTTP: Traits = Traits {
    denied: "the destination is not allowed (code HTTP-request-denied)",
    broken: "the request failed (code HTTP-response-incomplete)",
    ..EXPERIMENTAL
};

/// Its heap needs more room than its data, and a request's body is read into it.
const GO: Traits = Traits { memory: 24 << 20, ..EXPERIMENTAL };

/// Its `fetch` tells of no causes, and has the headers of browsers. The guest starts with 10 MiB.
const JAVASCRIPT: Traits = Traits {
    denied: "NetworkError when attempting to fetch resource",
    broken: "IO error reading from incoming response body",
    joins: true,
    other_without_upstream: true,
    memory: handlers::JAVASCRIPT_MEMORY,
    // WasmEdge takes 4 s for a MiB of this.
    download: 5 << 19,
};

/// The guest starts with 15.5 MiB.
const PYTHON: Traits =
    Traits { other_without_upstream: true, memory: handlers::PYTHON_MEMORY, download: 12 << 20, ..WASI_HTTP };

/// The cases of each language: the guest of each example it has, and the argument that chooses the example if the guest has
/// several.
macro_rules! languages {
    ($($language:literal: $traits:expr; $($example:ident = $guest:ident $([$first:literal])?),+;)+) => {
        /// The cases of every language.
        pub(super) const CASES: &[Case] = &[$($(
            Case::must(concat!("guest/examples/", $language, "/", stringify!($example)), "guests/README.md", |context| {
                $example(context, &Example { guest: $guest, first: &[$($first)?], traits: $traits })
            })
            .guests(&[$guest]),
        )+)+];
    };
}

languages! {
    "assemblyscript": EXPERIMENTAL; fetch = AS_FETCH, form = AS_FORM, download = AS_DOWNLOAD;
    "c": EXPERIMENTAL; fetch = C_FETCH, form = C_FORM, download = C_DOWNLOAD;
    "go": GO;
        fetch = GO_HTTP["fetch"], form = GO_HTTP["form"], download = GO_HTTP["download"], proxy = GO_HTTP["proxy"],
        login = GO_HTTP["proxy"], unchanged = GO_HTTP["proxy"];
    "javascript": JAVASCRIPT;
        fetch = HTTP_JS["fetch"], form = HTTP_JS["form"], download = HTTP_JS["download"], proxy = HTTP_JS,
        login = HTTP_JS, unchanged = HTTP_JS;
    "python": PYTHON;
        fetch = HTTP_PY["fetch"], form = HTTP_PY["form"], download = HTTP_PY["download"], proxy = HTTP_PY,
        login = HTTP_PY, unchanged = HTTP_PY;
    "rust": EXPERIMENTAL; fetch = RUST_FETCH, form = RUST_FORM, download = RUST_DOWNLOAD;
    "rust-wasi-http": WASI_HTTP;
        fetch = RUST_FETCH_HTTP, form = RUST_FORM_HTTP, download = RUST_DOWNLOAD_HTTP, proxy = RUST_PROXY,
        login = RUST_PROXY, unchanged = RUST_PROXY;
    "rust-wasi-03": WASI_HTTP; proxy = RUST_PROXY_03, login = RUST_PROXY_03, unchanged = RUST_PROXY_03;
}

/// What is particular to Rust, beside the contract.
pub(super) const RUST_ONLY: &[Case] = rust::CASES;

/// The same of JavaScript.
pub(super) const JAVASCRIPT_ONLY: &[Case] = javascript::CASES;

/// An example in a language.
struct Example {
    guest: PrebuiltGuest,
    /// The argument that chooses the example.
    first: &'static [&'static str],
    traits: Traits,
}

impl Example {
    /// Runs it with these arguments; it may reach what is allowed.
    fn run(&self, context: &Context, allowed: Option<&Origin>, args: &[&str]) -> CaseResult<Ended> {
        let net = allowed.iter().fold(context.net(), |net, origin| net.allow(&origin.base()));
        self.run_with(context, net.config()?, args)
    }

    fn run_with(&self, context: &Context, config: GuestConfig, args: &[&str]) -> CaseResult<Ended> {
        run(context, self.guest, self.traits.memory, &[self.first, args].concat(), config)
    }

    /// It ended well, and printed this.
    fn printed(&self, ended: &Ended, out: &str, what: &str) -> CaseResult {
        check_eq!(ended.out, out, "what {} prints of {what}; on stderr {:?}", self.guest.name, ended.err);
        check_eq!((ended.code, ended.err.as_str()), (0, ""), "its exit code and stderr");
        Ok(())
    }

    /// It failed, and its last line says so and ends with this.
    fn failed(&self, ended: &Ended, out: &str, end: &str, what: &str) -> CaseResult {
        let (name, last) = (self.guest.name, ended.err.lines().last().unwrap_or_default());
        check_eq!((ended.code, ended.out.as_str()), (1, out), "exit code and stdout of {what}; {:?}", ended.err);
        check!(
            last.starts_with(&format!("{name}: ")) && last.ends_with(end),
            "the last line of stderr of {what} does not begin with `{name}: ` and end with `{end}`: {:?}",
            ended.err
        );
        Ok(())
    }

    /// What all of them do that send a request: arguments are asked for, and failures told. `partly` is what is printed of a
    /// response whose body breaks off behind `some`: a beginning, or nothing.
    fn fails_well(&self, context: &Context, partly: impl Fn(&str) -> bool) -> CaseResult {
        let ended = self.run(context, None, &[])?;
        check_eq!((ended.code, ended.out.as_str()), (2, ""), "exit code and stdout without arguments; {:?}", ended.err);
        let usage = format!("usage: {} ", self.guest.name);
        check!(
            ended.err.starts_with(&usage),
            "stderr without arguments does not begin with {usage:?}: {:?}",
            ended.err
        );

        let origin = Origin::replying(Reply::ok("").body(Body::Broken("some".into())))?;
        let url = origin.url("/");
        let denied = self.run(context, None, &[&url])?;
        self.failed(&denied, "", self.traits.denied, "a request that is denied")?;
        check_eq!(origin.accepted(), 0, "the count of connections to an origin that is denied");

        let broken = self.run(context, Some(&origin), &[&url])?;
        check!(partly(&broken.out), "what is printed of a response that breaks off: {:?}", broken.out);
        self.failed(&broken, &broken.out, self.traits.broken, "a response that breaks off")
    }
}
