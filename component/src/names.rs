//! Keeps the names of functions, so that a backtrace of the flattened module says where it was.

use wasm_encoder::{NameMap, NameSection};
use wasmparser::{BinaryReader, Name, NameSectionReader};

use crate::error::Result;
use crate::layout::Layout;
use crate::link::{Func, Linked};
use crate::naming::count;
use crate::plan::Plan;

/// The name section of the flattened module. Names are for people: what cannot be read is left out.
pub(crate) fn section(linked: &Linked<'_>, layout: &Layout, plan: &Plan) -> Result<NameSection> {
    let mut map = NameMap::new();
    for (import, index) in plan.imports.iter().zip(0..) {
        map.append(index, &format!("{}#{}", import.module, import.name));
    }
    for number in 0..linked.instances.len() {
        let module = linked.module(number)?;
        let Some((bytes, offset)) = module.names else { continue };
        let mut names = vec![None; module.bodies.len()];
        for subsection in NameSectionReader::new(BinaryReader::new(bytes, offset)) {
            let Ok(Name::Function(functions)) = subsection else { continue };
            for naming in functions.into_iter().map_while(|naming| naming.ok()) {
                let body = naming.index.checked_sub(module.imported_functions);
                if let Some(slot) = body.and_then(|body| names.get_mut(body as usize)) {
                    *slot = Some(naming.name);
                }
            }
        }
        for (name, body) in names.iter().zip(0..count(module.bodies.len())?) {
            if let (Some(name), Ok(index)) = (name, layout.function(Func::Defined { instance: number, body })) {
                map.append(index, name);
            }
        }
    }
    let mut section = NameSection::new();
    section.functions(&map);
    Ok(section)
}
