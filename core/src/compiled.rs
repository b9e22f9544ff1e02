//! Compiled code that is kept between loads.

use std::sync::Arc;

use crate::backend::{Backend, Module};
use crate::cache::{CodeCache, CodeKey};
use crate::error::{Error, Kind, Result, chain};
use crate::prepare::Prepared;

/// The sources that rewrite modules: part of the key of compiled code.
const REWRITES: &str = env!("WHARF_CORE_REWRITES");

impl CodeKey {
    fn of(backend: &dyn Backend, prepared: &Prepared) -> Self {
        let info = backend.info();
        let (version, code) = (info.engine_version.as_bytes(), info.code_key.as_bytes());
        Self::new(info.name, &[version, code, REWRITES.as_bytes(), prepared.wasm()])
    }
}

impl CodeCache {
    /// Loads the module's code from the cache, or compiles it and stores the code.
    ///
    /// A cache that cannot be written is logged and costs a compilation, nothing more.
    ///
    /// # Errors
    /// What [`Backend::compile`] reports.
    pub(crate) fn compile(&self, backend: &dyn Backend, prepared: &Prepared) -> Result<Arc<dyn Module>> {
        let key = CodeKey::of(backend, prepared);
        if let Some(code) = self.code(&key) {
            match backend.load(prepared, code) {
                Ok(module) => return Ok(module),
                Err(error) => tracing::warn!(%error, "cached code was rejected; compiling again"),
            }
        }
        let module = backend.compile(prepared)?;
        match module.serialize() {
            Ok(Some(code)) => {
                if let Err(error) = self.put_trusted(&key, &code) {
                    tracing::warn!("compiled code is not kept: {}", chain(&error));
                }
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "the engine could not serialize its code"),
        }
        Ok(module)
    }

    /// Compiles the module, unless its code is in the cache, and sees to it that it is: to prepare the cache.
    ///
    /// # Errors
    /// What [`Backend::compile`] and [`put`](Self::put) report; [`Kind::Unsupported`] if the backend has no code of
    /// this module to give.
    pub fn fill(&self, backend: &dyn Backend, prepared: &Prepared) -> Result<()> {
        let name = backend.info().name;
        let key = CodeKey::of(backend, prepared);
        if self.code(&key).is_some() {
            return Ok(());
        }
        let module = backend.compile(prepared)?;
        let Some(code) = module.serialize()? else {
            let message = format!("the backend {name} has no compiled code for this module: there is nothing to keep");
            return Err(Error::new(Kind::Unsupported, message));
        };
        self.put_trusted(&key, &code)
    }
}
