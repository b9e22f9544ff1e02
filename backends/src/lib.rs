//! HTTP for WebAssembly guests, the same on every engine: wharf's core and its backends, in one crate.
//!
//! [`Runtime`] turns bytes into a [`Program`]: a core module or a component of any toolchain, on the backend of a name. What
//! a guest may do lies in [`core`], what an engine can do lies in its adapter; this crate re-exports both.
//!
//! # Picking a backend
//! A backend is a value, and picking one is an argument:
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use wharf::core::grants::{Output, WasiConfig};
//! use wharf::core::http::{Limits, Outbound, Policy};
//! use wharf::core::GuestConfig;
//!
//! let name = std::env::args().nth(1).unwrap_or_else(|| wharf::DEFAULT.to_owned());
//! let runtime = wharf::Runtime::builder().backend(name).build()?;
//! let program = runtime.load(&std::fs::read("guest.wasm")?)?;
//!
//! let policy = Policy::builder().allow("https://example.com")?.build();
//! let config = GuestConfig {
//!     wasi: WasiConfig::new().arg("guest.wasm")?.stdout(Output::Inherit),
//!     outbound: Some(Outbound::with_defaults(policy, Limits::default())?),
//!     ..GuestConfig::default()
//! };
//! let exit_code = program.run(config, None)?;
//! # Ok(())
//! # }
//! ```
//!
//! Nothing in wharf picks a backend by looking at which features happen to be on. Cargo unites the features that all
//! crates of a build ask for, so code that did would change its engine when somebody else's dependency does. Features
//! here only say which engines are compiled in, are additive, and change no behaviour: [`backend`] for a name that is
//! not compiled in fails and says so, whatever else is there, and [`DEFAULT`] is one name, not the first one found.
//!
//! # Features
//! - `component` (on by default): components, flattened into core modules, on every backend.
//! - `server` (on by default): [`server`], which answers requests with a guest.
//! - `reqwest`: [`reqwest`], which sends guests' requests with the client library of that name.
//! - `wasmtime` (on by default): [Wasmtime](https://wasmtime.dev), as `wasmtime`.
//! - `wasmtime-component`: Wasmtime's own component model as a second host for components; it runs those of WASI 0.3 too.
//! - `wasmer`: [Wasmer](https://wasmer.io), as `wasmer`.
//! - `wasmedge`: [WasmEdge](https://wasmedge.org), as `wasmedge`; it links libwasmedge, which `setup/wasmedge.sh` finds
//!   or fetches.
//!
//! An adapter's own crate has more than its name gives: settings of the engine, and the functions that add wharf's
//! imports to an embedder's own linker, store or import objects.

#![forbid(unsafe_code)]

mod component;
#[cfg(feature = "component")]
mod flat;
#[cfg(all(test, feature = "component", feature = "server"))]
mod loading;
mod program;
mod runtime;

use wharf_core::{Backend, Error, Kind, Result};

pub use self::program::Program;
pub use self::runtime::{ComponentHost, PreparedProgram, Runtime, RuntimeBuilder};
pub use wharf_core as core;
#[cfg(feature = "reqwest")]
pub use wharf_http_reqwest as reqwest;
#[cfg(feature = "server")]
pub use wharf_server as server;
#[cfg(feature = "wasmedge")]
pub use wharf_wasmedge as wasmedge;
#[cfg(feature = "wasmer")]
pub use wharf_wasmer as wasmer;
#[cfg(feature = "wasmtime")]
pub use wharf_wasmtime as wasmtime;
#[cfg(feature = "wasmtime-component")]
pub use wharf_wasmtime_component as wasmtime_component;

/// Every backend that wharf has, compiled in or not, in the order they are printed.
pub const KNOWN: [&str; 3] = ["wasmtime", "wasmer", "wasmedge"];

/// The backend for whoever has no preference. It is the same whatever is compiled in.
pub const DEFAULT: &str = KNOWN[0];

/// The backends that are compiled in, in the order of [`KNOWN`].
pub fn backends() -> impl Iterator<Item = &'static str> {
    KNOWN.into_iter().filter(|name| is_compiled_in(name))
}

/// Whether the backend of this name is compiled in.
pub fn is_compiled_in(name: &str) -> bool {
    let features = [cfg!(feature = "wasmtime"), cfg!(feature = "wasmer"), cfg!(feature = "wasmedge")];
    KNOWN.into_iter().zip(features).any(|(known, there)| known == name && there)
}

/// Makes the backend of this name, as its own crate makes it by default.
///
/// # Errors
/// [`Kind::Config`] if there is no such backend, [`Kind::Unsupported`] if it is not compiled in; both say which are.
/// Else what the adapter reports.
pub fn backend(name: &str) -> Result<Box<dyn Backend>> {
    match name {
        #[cfg(feature = "wasmtime")]
        "wasmtime" => Ok(Box::new(wasmtime::Wasmtime::new()?)),
        #[cfg(feature = "wasmer")]
        "wasmer" => Ok(Box::new(wasmer::Wasmer::new()?)),
        #[cfg(feature = "wasmedge")]
        "wasmedge" => Ok(Box::new(wasmedge::WasmEdge::new(wasmedge::Mode::default())?)),
        name => Err(missing(name)),
    }
}

/// Why there is no backend of this name, and what to do.
fn missing(name: &str) -> Error {
    let compiled: Vec<&str> = backends().collect();
    let compiled = match compiled.as_slice() {
        [] => "no backend is compiled in".to_owned(),
        names => format!("compiled in: {}", names.join(", ")),
    };
    if KNOWN.contains(&name) {
        let message = format!("the backend `{name}` is not compiled in; build with `--features {name}` ({compiled})");
        return Error::new(Kind::Unsupported, message);
    }
    let found = if name.is_empty() {
        "the name of a backend is empty".to_owned()
    } else {
        format!("there is no backend `{name}`")
    };
    Error::new(Kind::Config, format!("{found}; {compiled}; wharf has {}, each a feature of its name", KNOWN.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_answers_to_its_name() {
        for name in backends() {
            assert_eq!(backend(name).unwrap().info().name, name);
        }
    }

    #[test]
    fn what_is_compiled_in_follows_the_features() {
        assert_eq!(backends().any(|name| name == "wasmtime"), cfg!(feature = "wasmtime"));
        assert_eq!(backends().any(|name| name == "wasmer"), cfg!(feature = "wasmer"));
        assert_eq!(backends().any(|name| name == "wasmedge"), cfg!(feature = "wasmedge"));
    }

    #[test]
    fn a_known_backend_that_is_not_compiled_in_says_how_to_get_it() {
        for name in KNOWN.into_iter().filter(|name| !is_compiled_in(name)) {
            let error = backend(name).err().expect("it is not compiled in");
            assert_eq!(error.kind(), Kind::Unsupported);
            assert!(error.to_string().contains(&format!("--features {name}")), "{error}");
        }
    }

    #[test]
    fn an_unknown_backend_is_answered_with_those_there_are() {
        let error = backend("wasmtimes").err().expect("there is none");
        assert_eq!(error.kind(), Kind::Config);
        for name in KNOWN {
            assert!(error.to_string().contains(name), "{error}");
        }
    }
}
