//! `wasi:logging`, which Wasmtime has no host for: as on wharf's own host, a message is a line of the guest's standard
//! error.

use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Lift, Linker};
use wharf_core::abi::wasi02::log_line;

use crate::state::State;

/// `wasi:logging/logging.level`.
#[derive(Debug, Clone, Copy, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
#[expect(dead_code, reason = "they are made by lifting")]
enum Level {
    #[component(name = "trace")]
    Trace,
    #[component(name = "debug")]
    Debug,
    #[component(name = "info")]
    Info,
    #[component(name = "warn")]
    Warn,
    #[component(name = "error")]
    Error,
    #[component(name = "critical")]
    Critical,
}

/// Adds `wasi:logging/logging` to what a component may import, without a version and as the draft.
pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    for name in ["wasi:logging/logging", "wasi:logging/logging@0.1.0-draft"] {
        linker.instance(name)?.func_wrap_async(
            "log",
            |store: StoreContextMut<'_, State>, (level, context, message): (Level, String, String)| {
                let stderr = store.data().stderr.clone();
                Box::new(async move {
                    let line = log_line(level, &context, &message);
                    if let Err(error) = stderr.write(line.into()).await {
                        tracing::debug!("a guest's log message could not be written: {error}");
                    }
                    Ok(())
                })
            },
        )?;
    }
    Ok(())
}
