//! Compiled components, and their code between loads.
//!
//! The same cache as that of wharf's own host keeps it, by the same rules: an entry is bound to the component and to
//! everything of the engine that shapes code, and one that was changed is not used.

use std::hash::{DefaultHasher, Hash, Hasher};

use wasmtime::Engine;
use wasmtime::component::Component;
use wharf_core::{CacheKey, CodeCache, Error, Kind, Result, chain};

use crate::engine::engine_error;

/// Takes the component's code from the cache, or compiles it and keeps the code.
pub(crate) fn load(engine: &Engine, component: &[u8], cache: Option<&CodeCache>) -> Result<Component> {
    let Some(cache) = cache else { return compile(engine, component) };
    let key = key(engine, component);
    if let Some(code) = cache.get(&key) {
        match deserialize(engine, &code) {
            Ok(component) => return Ok(component),
            Err(error) => tracing::warn!(%error, "cached code was refused; compiling anew"),
        }
    }
    let compiled = compile(engine, component)?;
    if let Err(error) = serialize(&compiled).and_then(|code| cache.put(&key, &code)) {
        tracing::warn!("compiled code is not kept: {}", chain(&error));
    }
    Ok(compiled)
}

/// Compiles the component, unless its code is in the cache, and sees to it that it is.
pub(crate) fn fill(engine: &Engine, component: &[u8], cache: &CodeCache) -> Result<()> {
    let key = key(engine, component);
    if cache.get(&key).is_some() {
        return Ok(());
    }
    cache.put(&key, &serialize(&compile(engine, component)?)?)
}

fn key(engine: &Engine, component: &[u8]) -> CacheKey {
    let mut settings = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut settings);
    let version = wasmtime_environ::VERSION.as_bytes();
    CacheKey::new("wasmtime-native", &[version, &settings.finish().to_le_bytes(), component])
}

fn compile(engine: &Engine, component: &[u8]) -> Result<Component> {
    tracing::info!("wasmtime compiles the component");
    Component::from_binary(engine, component)
        .map_err(|error| Error::new(Kind::Guest, "wasmtime cannot compile the component").with_source(error))
}

fn serialize(component: &Component) -> Result<Vec<u8>> {
    component.serialize().map_err(|error| engine_error("wasmtime cannot serialize the compiled code", error))
}

#[expect(unsafe_code, reason = "code is native, and Wasmtime cannot tell its own from another's")]
fn deserialize(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: the cache gives only what `serialize` returned for the same key, and what it has checked to be unchanged.
    unsafe { Component::deserialize(engine, code) }
}
