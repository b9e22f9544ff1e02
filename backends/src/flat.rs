//! A component as a module that any backend compiles: flattened, or as it was kept when it was flattened before.

use wharf_component::{FlattenError, FlattenOptions, flatten, revision};
use wharf_core::{Backend, Error, Kind, LoadOptions, Prepared, Result};

/// Flattens and prepares a component for `backend`. What was made of it before is taken from the cache of `options`; functions
/// keep their names.
pub(crate) fn prepare(backend: &dyn Backend, component: &[u8], options: &LoadOptions) -> Result<Prepared> {
    prepare_with(&revision(), backend, component, options).map(|(prepared, _)| prepared)
}

/// The same with flattening of this `revision`; says whether it was kept already.
fn prepare_with(
    revision: &str,
    backend: &dyn Backend,
    component: &[u8],
    options: &LoadOptions,
) -> Result<(Prepared, bool)> {
    // Whether the backend has multi-memory is for the caller to ask: the module is the same for all of them.
    let flattening =
        FlattenOptions { keep_names: true, keep_adapter: options.keep_adapter, ..FlattenOptions::default() };
    let shape = flattening.shape(revision);
    let mut kept = true;
    let prepared = Prepared::with_cache(backend, &[shape.as_bytes(), component], options, || {
        kept = false;
        let module = flatten(component, &flattening).map_err(|error| refused(&error))?.wasm;
        tracing::info!("the component is flattened: {} bytes became {}", component.len(), module.len());
        Ok(module.into())
    })?;
    if kept {
        tracing::info!("the component was flattened before");
    }
    Ok((prepared, kept))
}

/// The same error as wharf has it.
pub(crate) fn refused(error: &FlattenError) -> Error {
    let kind = match error {
        FlattenError::NotAComponent { .. } | FlattenError::Invalid { .. } => Kind::Guest,
        FlattenError::Unsupported { .. } | FlattenError::NeedsMultiMemory { .. } => Kind::Unsupported,
        FlattenError::Limit { .. } => Kind::Limit,
        _ => Kind::Internal,
    };
    Error::new(kind, error.to_string())
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use wharf_core::{CodeCache, Guest, GuestConfig};

    use super::*;

    /// A component with one function.
    const COMPONENT: &str = r#"(component
        (core module $m (func (export "f") (result i32) i32.const 7))
        (core instance $i (instantiate $m))
        (func (export "f") (result u32) (canon lift (core func $i "f"))))"#;

    /// Two components, one of which calls the other.
    const COMPOSED: &str = r#"(component
        (component $inner
            (core module $m (func (export "f") (result i32) i32.const 7))
            (core instance $i (instantiate $m))
            (func (export "f") (result u32) (canon lift (core func $i "f"))))
        (component $outer
            (import "f" (func $f (result u32)))
            (core func $f (canon lower (func $f)))
            (core module $m (import "" "f" (func $f (result i32))) (func (export "f") (result i32) (call $f)))
            (core instance $i (instantiate $m (with "" (instance (export "f" (func $f))))))
            (func (export "f") (result u32) (canon lift (core func $i "f"))))
        (instance $inner (instantiate $inner))
        (instance $outer (instantiate $outer (with "f" (func $inner "f"))))
        (export "f" (func $outer "f")))"#;

    fn with_cache(directory: &Path) -> LoadOptions {
        let cache = Some(Arc::new(CodeCache::open(directory).unwrap()));
        LoadOptions { cache, ..LoadOptions::default() }
    }

    fn component(text: &str) -> Vec<u8> {
        wat::parse_str(text).unwrap()
    }

    /// Loads it, checks that it is the same module as ever, and says whether it was kept.
    fn load(revision: &str, backend: &dyn Backend, component: &[u8], options: &LoadOptions) -> bool {
        let (prepared, kept) = prepare_with(revision, backend, component, options).unwrap();
        let (fresh, _) = prepare_with(revision, backend, component, &LoadOptions::default()).unwrap();
        assert_eq!(prepared.wasm(), fresh.wasm());
        assert_eq!(prepared.exports(), fresh.exports());
        let guest = Guest::from_prepared(backend, &prepared, options).unwrap();
        assert_eq!(guest.start(GuestConfig::default()).unwrap().call("f", &[]).unwrap(), [7]);
        kept
    }

    #[test]
    fn a_component_is_flattened_once() {
        for backend in crate::backends().map(|name| crate::backend(name).unwrap()) {
            let directory = tempfile::tempdir().unwrap();
            let options = with_cache(directory.path());
            let load = |revision, options: &LoadOptions| load(revision, &*backend, &component(COMPONENT), options);
            assert!(!load("1", &options));
            assert!(load("1", &options), "the second time");
            assert!(!load("2", &options), "another revision of flattening");
            assert!(load("1", &options) && load("2", &options), "each has its own");
            assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 2);
            assert!(!load("1", &LoadOptions::default()), "without a cache");
            assert!(!load("1", &LoadOptions { keep_adapter: true, ..options.clone() }), "flattened in another way");
            for composed in [false, true] {
                assert_eq!(self::load("1", &*backend, &component(COMPOSED), &options), composed);
            }
            let other = component(&COMPONENT.replace("const 7", "const 8"));
            assert!(!prepare_with("1", &*backend, &other, &options).unwrap().1, "another component");
        }
    }
}
