//! What a component may have at most, and what the result may need.

/// Bounds on a component, and what the engine that is to run it can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlattenOptions {
    /// Size of the component, in bytes.
    pub max_component_bytes: u64,
    /// How deep components may be nested; one that holds no other has depth 1.
    pub max_nesting: u32,
    /// Instances, of components and of core modules, counted as often as they are instantiated.
    pub max_instances: u32,
    /// Size of the core modules, in bytes, counted as often as they are instantiated. The result has about this size.
    pub max_module_bytes: u64,
    /// Whether the engine gives a module several memories, which composed components need.
    pub multi_memory: bool,
    /// Whether functions keep their names, for backtraces. Costs the names' size.
    pub keep_names: bool,
    /// Whether a published adapter for preview 1 stays in, though it was recognised: its functions then run as code of the
    /// guest's, which takes longer, instead of the host's that do the same.
    pub keep_adapter: bool,
}

impl Default for FlattenOptions {
    /// 256 MiB, 16 levels, 1000 instances, 512 MiB; several memories; no names; no adapter that
    /// was recognised.
    fn default() -> Self {
        FlattenOptions {
            max_component_bytes: 256 << 20,
            max_nesting: 16,
            max_instances: 1000,
            max_module_bytes: 512 << 20,
            multi_memory: true,
            keep_names: false,
            keep_adapter: false,
        }
    }
}

impl FlattenOptions {
    /// Names what flattening of this [`revision`](crate::revision) makes of a component with these options: with the component,
    /// all that decides which module it becomes. Who keeps modules for others to find keeps them under both.
    pub fn shape(&self, revision: &str) -> String {
        format!("component {revision} {self:?}")
    }
}
