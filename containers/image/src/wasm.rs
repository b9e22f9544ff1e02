//! What a guest says of itself.

use wasmparser::{Encoding, Parser, Payload};

use crate::error::ImageError;
use crate::manifest::WasmComponent;

/// The first bytes of every module and component.
pub(crate) const MAGIC: &[u8] = b"\0asm";

/// What `wasm` imports and exports if it is a component, `None` if it is a module. It is not validated.
pub(crate) fn component(name: &str, wasm: &[u8]) -> Result<Option<WasmComponent>, ImageError> {
    let wrong = |source: Option<wasmparser::BinaryReaderError>| ImageError::NotWasm {
        name: name.to_owned(),
        source: source.map(Into::into),
    };
    if !wasm.starts_with(MAGIC) {
        return Err(wrong(None));
    }
    let (mut found, mut depth, mut core) = (WasmComponent::default(), 0_usize, false);
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.map_err(|error| wrong(Some(error)))? {
            Payload::Version { encoding: Encoding::Module, .. } if depth == 0 => core = true,
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(imports) if depth == 0 => {
                for import in imports {
                    found.imports.push(import.map_err(|error| wrong(Some(error)))?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(exports) if depth == 0 => {
                for export in exports {
                    found.exports.push(export.map_err(|error| wrong(Some(error)))?.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    Ok((!core).then_some(found))
}
