//! The capabilities that cases need, each with its negative twin: what a backend without it has to do instead.

use std::time::{Duration, Instant};

use wharf_core::{Capability, GuestConfig, Kind, Stop};

use crate::bare::assemble;
use crate::case::{CaseResult, Need, Unmet};
use crate::check;
use crate::context::Context;

/// A guest can be interrupted. A backend that cannot must refuse to run one under a time limit.
pub const INTERRUPT: Need = Need { capability: Capability::Interrupt, twin: refuses_a_time_limit };

/// Compiled code can be stored. A backend that cannot gives none, and takes none.
pub const COMPILED_CODE: Need = Need { capability: Capability::CompiledCode, twin: has_no_code };

/// A guest can have several memories. A backend that has but one must refuse such a guest.
pub const MULTI_MEMORY: Need = Need { capability: Capability::MultiMemory, twin: refuses_two_memories };

/// How soon a backend has to say that it cannot.
const PROMPTLY: Duration = Duration::from_secs(2);

fn refuses_a_time_limit(context: &Context) -> CaseResult {
    let guest = context.guest(r#"(module (memory (export "memory") 1) (func (export "_start")))"#)?;
    let before = Instant::now();
    let config = GuestConfig { timeout: Some(Duration::from_secs(60)), ..GuestConfig::default() };
    let refused = match guest.start(config) {
        Err(Stop::Error(error)) if error.kind() == Kind::Unsupported => Ok(()),
        Err(other) => Err(Unmet::failed(format!("a time limit is refused with {other:?}, not with kind Unsupported"))),
        Ok(_) => Err(Unmet::failed("a time limit is accepted by an engine that cannot keep it")),
    };
    check!(before.elapsed() < PROMPTLY, "refusing a time limit took {:?}", before.elapsed());
    refused
}

fn refuses_two_memories(context: &Context) -> CaseResult {
    let before = Instant::now();
    let wasm = assemble("(module (memory 1) (memory 1))")?;
    match context.load(&wasm) {
        Err(error) if error.kind() == Kind::Unsupported => {}
        Err(error) => return Err(Unmet::failed(format!("two memories are refused with {error}, not as unsupported"))),
        Ok(_) => return Err(Unmet::failed("two memories are accepted for an engine that has but one")),
    }
    check!(before.elapsed() < PROMPTLY, "refusing two memories took {:?}", before.elapsed());
    Ok(())
}

/// Nothing else makes code that it could load.
fn has_no_code(context: &Context) -> CaseResult {
    let before = Instant::now();
    let compiled = context.compile(r#"(module (func (export "f")))"#)?;
    check!(compiled.module().serialize()?.is_none(), "an engine without compiled code gives some");
    check!(before.elapsed() < PROMPTLY, "saying so took {:?}", before.elapsed());
    Ok(())
}
