//! A component as a module that any backend compiles: flattened, or as it was kept when it was flattened before.

use wharf_component::{FlattenError, FlattenOptions, Plan, flatten, revision};
use wharf_core::{CacheKey, CodeCache, Error, Kind, LoadOptions, Prepared, Result, chain};

/// Changes with this file, which says how modules are kept: those that were kept otherwise are not looked at.
const KEEPING: &str = env!("WHARF_FLAT_SOURCES");

/// Flattens and prepares a component. Its module is taken from the cache of `options` if it is there, and put there
/// otherwise; functions keep their names.
///
/// What comes from the cache is validated like any module: one that does not pass is as good as none.
pub(crate) fn prepare(component: &[u8], options: &LoadOptions) -> Result<Prepared> {
    prepare_with(&revision(), component, options).map(|(prepared, _)| prepared)
}

/// The same with flattening of this `revision`; says whether the module was kept already.
fn prepare_with(revision: &str, component: &[u8], options: &LoadOptions) -> Result<(Prepared, bool)> {
    // Whether the backend has multi-memory is for the caller to ask: the module is the same for all of them.
    let flattening = FlattenOptions { keep_names: true, ..FlattenOptions::default() };
    let Some(cache) = &options.cache else {
        let flattened = flatten(component, &flattening).map_err(|error| refused(&error))?;
        return Ok((Prepared::new(&flattened.wasm, options)?, false));
    };
    let key = key(revision, &flattening, component);
    if let Some(prepared) = kept(cache, &key, options) {
        tracing::info!("the component was flattened before");
        return Ok((prepared, true));
    }
    let module = flatten(component, &flattening).map_err(|error| refused(&error))?.wasm;
    tracing::info!("the component is flattened: {} bytes became {}", component.len(), module.len());
    let prepared = Prepared::new(&module, options)?;
    // Only what can be used is kept.
    if let Err(error) = cache.put(&key, &module) {
        tracing::warn!("the flattened component is not kept: {}", chain(&error));
    }
    Ok((prepared, false))
}

fn key(revision: &str, flattening: &FlattenOptions, component: &[u8]) -> CacheKey {
    let shaped = format!("{flattening:?}");
    CacheKey::new("flat", &[KEEPING.as_bytes(), revision.as_bytes(), shaped.as_bytes(), component])
}

fn kept(cache: &CodeCache, key: &CacheKey, options: &LoadOptions) -> Option<Prepared> {
    let module = cache.get(key)?;
    if let Err(error) = Plan::read(&module) {
        tracing::warn!("a kept module is not used: {}", chain(&error));
        return None;
    }
    match Prepared::new(&module, options) {
        Ok(prepared) => Some(prepared),
        Err(error) => {
            tracing::warn!("a kept module is not used: {}", chain(&error));
            None
        }
    }
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
    use std::path::{Path, PathBuf};
    use std::sync::Arc;

    use super::*;

    /// A component with one function.
    const COMPONENT: &str = r#"(component
        (core module $m (func (export "f") (result i32) i32.const 7))
        (core instance $i (instantiate $m))
        (func (export "f") (result u32) (canon lift (core func $i "f"))))"#;

    fn with_cache(directory: &Path) -> LoadOptions {
        let cache = Some(Arc::new(CodeCache::open(directory).unwrap()));
        LoadOptions { cache, ..LoadOptions::default() }
    }

    fn component(text: &str) -> Vec<u8> {
        wat::parse_str(text).unwrap()
    }

    fn entries(directory: &Path) -> Vec<PathBuf> {
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    /// Loads it, checks that it is the same module as ever, and says whether it was kept.
    fn load(revision: &str, options: &LoadOptions) -> bool {
        let (prepared, kept) = prepare_with(revision, &component(COMPONENT), options).unwrap();
        let (fresh, _) = prepare_with(revision, &component(COMPONENT), &LoadOptions::default()).unwrap();
        assert_eq!(prepared.wasm(), fresh.wasm());
        assert_eq!(prepared.exports(), fresh.exports());
        kept
    }

    #[test]
    fn a_component_is_flattened_once() {
        let directory = tempfile::tempdir().unwrap();
        let options = with_cache(directory.path());
        assert!(!load("1", &options));
        assert!(load("1", &options), "the second time");
        assert!(!load("2", &options), "another revision of flattening");
        assert!(load("1", &options) && load("2", &options), "each has its own");
        assert_eq!(entries(directory.path()).len(), 2);
        assert!(!load("1", &LoadOptions::default()), "without a cache");
        let other = component(&COMPONENT.replace("const 7", "const 8"));
        assert!(!prepare_with("1", &other, &options).unwrap().1, "another component");
        // Limits are the loader's own, and hold for what was kept too.
        let strict = LoadOptions { max_module_bytes: 20, ..options };
        prepare_with("1", &component(COMPONENT), &strict).unwrap_err();
    }

    #[test]
    fn a_damaged_entry_is_flattened_anew() {
        let directory = tempfile::tempdir().unwrap();
        let options = with_cache(directory.path());
        load("1", &options);
        let entry = entries(directory.path()).remove(0);
        let good = std::fs::read(&entry).unwrap();
        for damage in [vec![], good[..good.len() / 2].to_vec(), [&good[..], b"x"].concat(), {
            let mut flipped = good.clone();
            flipped[good.len() / 2] ^= 1;
            flipped
        }] {
            std::fs::write(&entry, damage).unwrap();
            assert!(!load("1", &options));
            assert!(load("1", &options), "it is kept again");
        }
    }

    /// Sealed as it should be, and still not what flattening makes: somebody else wrote it.
    #[test]
    fn a_foreign_entry_is_flattened_anew() {
        let directory = tempfile::tempdir().unwrap();
        let options = with_cache(directory.path());
        let cache = options.cache.as_deref().unwrap();
        let component = component(COMPONENT);
        let flattening = FlattenOptions { keep_names: true, ..FlattenOptions::default() };
        let key = key("1", &flattening, &component);
        let module = flatten(&component, &flattening).unwrap().wasm;
        let without_plan = wat::parse_str("(module)").unwrap();
        // A function section without code: the plan fits, and the module is none.
        let invalid = [&module[..], &[3, 2, 1, 0]].concat();
        for foreign in [&b"junk"[..], &[], &without_plan, &component, &module[..module.len() - 1], &invalid] {
            cache.put(&key, foreign).unwrap();
            assert!(!load("1", &options));
            assert!(load("1", &options), "it is kept again");
        }
    }
}
