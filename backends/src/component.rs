//! What a runtime knows of components: nothing without the feature `component`, by which they are refused.

#[cfg(feature = "component")]
pub(crate) use self::with::{is_component, prepare, wasi03};
#[cfg(not(feature = "component"))]
pub(crate) use self::without::{is_component, prepare, wasi03};

#[cfg(feature = "component")]
mod with {
    use wharf_component::FlattenError;
    pub(crate) use wharf_component::{is_component, wasi03};
    use wharf_core::{Backend, Capability, LoadOptions, Prepared, Result};

    use crate::flat::{self, refused};

    /// Flattens a component and makes the module ready to be compiled.
    pub(crate) fn prepare(backend: &dyn Backend, component: &[u8], options: &LoadOptions) -> Result<Prepared> {
        let prepared = flat::prepare(backend, component, options)?;
        let memories = prepared.memories();
        if memories > 1 && !backend.info().can(Capability::MultiMemory) {
            return Err(refused(&FlattenError::NeedsMultiMemory { memories }));
        }
        Ok(prepared)
    }
}

#[cfg(not(feature = "component"))]
mod without {
    use wharf_core::{Backend, LoadOptions, Prepared, Result};

    pub(crate) fn is_component(_: &[u8]) -> bool {
        false
    }

    pub(crate) fn wasi03(_: &[u8]) -> Option<String> {
        None
    }

    /// Core refuses it.
    pub(crate) fn prepare(_: &dyn Backend, component: &[u8], options: &LoadOptions) -> Result<Prepared> {
        Prepared::new(component, options)
    }
}
