//! Compiled components, and their code between loads.
//!
//! The same cache as that of wharf's own host keeps it, by the same rules: an entry is bound to the component and to
//! everything of the engine that shapes code, and one that was changed is not used.

use std::hash::{DefaultHasher, Hash, Hasher};

use wasmtime::Engine;
use wasmtime::component::Component;
use wharf_core::{CodeCache, CodeKey, Error, Kind, Result, TrustedCode, chain};

/// Takes the component's code from the cache, or compiles it and keeps the code.
pub(crate) fn load(engine: &Engine, component: &[u8], cache: Option<&CodeCache>) -> Result<Component> {
    let Some(cache) = cache else { return compile(engine, component) };
    let key = key(engine, component)?;
    if let Some(code) = cache.code(&key) {
        match deserialize(engine, &code) {
            Ok(component) => return Ok(component),
            Err(error) => tracing::warn!(%error, "cached code was rejected; compiling again"),
        }
    }
    let compiled = compile(engine, component)?;
    if let Err(error) = keep(cache, &key, &compiled) {
        tracing::warn!("compiled code is not kept: {}", chain(&error));
    }
    Ok(compiled)
}

/// Compiles the component, unless its code is in the cache, and sees to it that it is.
pub(crate) fn fill(engine: &Engine, component: &[u8], cache: &CodeCache) -> Result<()> {
    let key = key(engine, component)?;
    if cache.code(&key).is_some() {
        return Ok(());
    }
    keep(cache, &key, &compile(engine, component)?)
}

fn key(engine: &Engine, component: &[u8]) -> Result<CodeKey> {
    let mut settings = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut settings);
    let version = wasmtime_environ::VERSION.as_bytes();
    CodeKey::new("wasmtime-component", &[version, &settings.finish().to_le_bytes(), component])
}

fn compile(engine: &Engine, component: &[u8]) -> Result<Component> {
    tracing::info!("wasmtime compiles the component");
    Component::from_binary(engine, component)
        .map_err(|error| Error::new(Kind::Guest, "wasmtime cannot compile the component").with_source(error))
}

/// Keeps the code of the component that `key` names.
#[expect(unsafe_code, reason = "the cache cannot tell which engine made the code, and of what")]
fn keep(cache: &CodeCache, key: &CodeKey, component: &Component) -> Result<()> {
    let code = component.serialize();
    let code = code.map_err(|error| Error::engine("wasmtime cannot serialize the compiled code", error))?;
    // SAFETY: the engine has just written it, and both callers have compiled the component that the key names.
    unsafe { cache.put_code(key, &TrustedCode::new(code)) }
}

#[expect(unsafe_code, reason = "code is native, and Wasmtime cannot tell its own from another's")]
fn deserialize(engine: &Engine, code: &TrustedCode<'_>) -> wasmtime::Result<Component> {
    // SAFETY: that is what the type promises.
    unsafe { Component::deserialize(engine, code.bytes()) }
}
