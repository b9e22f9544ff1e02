//! The guests of `guests/`, on the backend under test: what they are started with, and what came of it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use wharf_component::{FlattenError, FlattenOptions, flatten, is_component, revision};
use wharf_core::grants::{Capture, Output};
use wharf_core::{Capability, CodeCache, Error, Guest, GuestConfig, HostedGuest, Kind, LoadOptions, Prepared};
use wharf_guests::{DIRECTORY_VARIABLE, PrebuiltGuest};
use wit_component::ComponentEncoder;

use crate::case::{CaseResult, Unmet};
use crate::context::Context;

/// Longer than anything takes that such a guest does, interpreted, on a machine that does other things.
pub(crate) const LONG: Duration = Duration::from_secs(300);

/// The most that is kept of a guest's output.
const OUTPUT: usize = 4 << 20;

/// What the name of an asynchronous export of a core module begins with.
const LIFTED: &[u8] = b"[async-lift]";

/// Names a directory to keep the compiled guests of `guests/` in, for the next run. Without it, each run compiles them.
pub const CACHE_VARIABLE: &str = "WHARF_CONFORMANCE_CACHE";

/// If set, guests that are components keep their adapters for preview 1, published ones too.
pub const KEEP_ADAPTER_VARIABLE: &str = "WHARF_CONFORMANCE_KEEP_ADAPTER";

/// How a guest ended, and what it printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// What a guest prints, while it runs.
#[derive(Clone)]
pub(crate) struct Printed {
    pub(crate) out: Capture,
    pub(crate) err: Capture,
}

impl Context {
    /// A guest of `guests/` whose memory is so many bytes at most; a component is flattened first.
    ///
    /// # Errors
    /// As [`read`], and [`Unmet::Failed`] if it does not load.
    pub(crate) fn prebuilt(&self, guest: PrebuiltGuest, max_memory: u64) -> CaseResult<Arc<dyn HostedGuest>> {
        self.subject().shared(&format!("{} in {max_memory} bytes", guest.name), || {
            let options = LoadOptions { max_memory, cache: cache()?, ..LoadOptions::default() };
            let (backend, wasm) = (&**self.backend(), read(guest)?);
            if !is_component(&wasm) {
                return Ok(Arc::new(Guest::load(backend, &wasm, &options)?));
            }
            // Not by `wharf::Runtime`, though with its options, so that a cache serves both: whoever runs the suite is not to
            // link the engines that the facade was built with.
            let keep_adapter = std::env::var_os(KEEP_ADAPTER_VARIABLE).is_some();
            let flattening = FlattenOptions { keep_names: true, keep_adapter, ..FlattenOptions::default() };
            let shape = flattening.shape(&revision());
            let prepared = Prepared::with_cache(backend, &[shape.as_bytes(), &wasm], &options, || {
                let refused = |error: FlattenError| {
                    Error::new(Kind::Unsupported, format!("{} is not flattened: {error}", guest.name))
                };
                Ok(flatten(&wasm, &flattening).map_err(refused)?.wasm.into())
            })?;
            Ok(Arc::new(Guest::from_prepared(backend, &prepared, &options)?))
        })
    }

    /// Makes a guest's program known by its name and arguments and catches what it prints. It may run for as long as
    /// anything may, if the engine can interrupt it.
    pub(crate) fn program(&self, name: &str, args: &[&str], config: GuestConfig) -> CaseResult<(GuestConfig, Printed)> {
        let printed = Printed { out: Capture::new(OUTPUT), err: Capture::new(OUTPUT) };
        let wasi = config
            .wasi
            .arg(format!("{name}.wasm"))?
            .args(args.iter().copied())?
            .stdout(Output::Capture(printed.out.clone()))
            .stderr(Output::Capture(printed.err.clone()));
        let timeout = self.backend().info().can(Capability::Interrupt).then_some(LONG);
        Ok((GuestConfig { wasi, timeout, ..config }, printed))
    }
}

fn cache() -> CaseResult<Option<Arc<CodeCache>>> {
    let directory = std::env::var_os(CACHE_VARIABLE);
    directory.map(|directory| CodeCache::open(Path::new(&directory)).map(Arc::new)).transpose().map_err(Unmet::harness)
}

/// The guest's bytes. Of a core module of WASI 0.3, what its toolchain makes of it for other targets: a component.
///
/// # Errors
/// [`Unmet::Skipped`] if it is not committed and nobody built it, [`Unmet::Harness`] if it is not where it should be.
pub(crate) fn read(guest: PrebuiltGuest) -> CaseResult<Vec<u8>> {
    match guest.wasm() {
        Ok(wasm) if wasm.windows(LIFTED.len()).any(|bytes| bytes == LIFTED) && !is_component(&wasm) => {
            component_of(&wasm)
        }
        Ok(wasm) => Ok(wasm.into_owned()),
        Err(error) if std::env::var_os(DIRECTORY_VARIABLE).is_none() => Err(Unmet::Skipped(error.to_string())),
        Err(error) => Err(Unmet::harness(error)),
    }
}

/// What a toolchain that makes components does with a core module for WASI 0.3: the bindings in it say what it is to be.
///
/// # Errors
/// [`Unmet::Harness`] if it has none, or they are of another module.
pub fn component_of(core: &[u8]) -> CaseResult<Vec<u8>> {
    let adapter = wasi_preview1_component_adapter_provider::WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER;
    ComponentEncoder::default()
        .module(core)
        .and_then(|encoder| encoder.adapter("wasi_snapshot_preview1", adapter))
        .and_then(|mut encoder| encoder.encode())
        .map_err(|error| Unmet::harness(format!("the guest is not encoded as a component: {error:#}")))
}

impl Printed {
    /// With the exit code, how the guest ended.
    pub(crate) fn ended(&self, code: i32) -> Ended {
        let text = |capture: &Capture| String::from_utf8_lossy(&capture.contents()).into_owned();
        Ended { code, out: text(&self.out), err: text(&self.err) }
    }
}

/// Runs a guest to its end.
///
/// # Errors
/// [`Unmet`] if it traps, or takes too long.
pub(crate) fn run(
    context: &Context,
    guest: PrebuiltGuest,
    max_memory: u64,
    args: &[&str],
    config: GuestConfig,
) -> CaseResult<Ended> {
    let loaded = context.prebuilt(guest, max_memory)?;
    let (config, printed) = context.program(guest.name, args, config)?;
    match loaded.run(config, None) {
        Ok(code) => Ok(printed.ended(code)),
        Err(error) => {
            let printed = printed.ended(1);
            Err(Unmet::from(error).context(format_args!("{} {args:?} printed {:?}", guest.name, printed.err)))
        }
    }
}
