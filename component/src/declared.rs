//! Walks the types a component declares, before anything else reads them.
//!
//! Two things about them take down the process that reads on, so they are refused here:
//! - wasmparser reads types nested in types by recursion, without a bound: a few kilobytes overflow the stack. Only the
//!   types of components and instances nest in that way; value types refer to each other by index.
//! - The component model compares names regardless of case, wasmtime-environ's adapters with regard to it. A record
//!   whose fields differ from those of its counterpart in case only makes them panic, twice, which aborts.

use std::collections::HashMap;

use wasmparser::{
    BinaryReader, ComponentAlias, ComponentDefinedType, ComponentExternName, ComponentImport, ComponentType,
    ComponentTypeRef, CoreType,
};

use crate::error::{Feature, FlattenError, Result, unsupported};

/// How deep the types of components and instances may nest. Component tools stay below five.
const MAX_DEPTH: usize = 32;

/// The names that types of a component consist of.
#[derive(Default)]
pub(crate) struct Declared<'a> {
    /// The names of a type, by its kind and the same names in lower case.
    names: HashMap<(&'static str, Vec<String>), Vec<&'a str>>,
}

/// What is open while walking: how many declarations are still to come, and of which kind.
struct Open {
    left: u32,
    of_component: bool,
}

impl<'a> Declared<'a> {
    /// Walks one section of types. What is malformed ends the walk: validation reports it.
    pub(crate) fn walk(&mut self, bytes: &'a [u8], offset: usize) -> Result<()> {
        let mut reader = BinaryReader::new(bytes, offset);
        let Ok(types) = reader.read_var_u32() else { return Ok(()) };
        for _ in 0..types {
            let mut open = Vec::new();
            if self.ty(&mut reader, &mut open)?.is_none() {
                return Ok(());
            }
            while let Some(innermost) = open.last_mut() {
                if innermost.left == 0 {
                    open.pop();
                    continue;
                }
                innermost.left -= 1;
                let of_component = innermost.of_component;
                if self.declaration(&mut reader, of_component, &mut open)?.is_none() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Reads a type up to its first declaration, if it has any. `None` if it is malformed.
    fn ty(&mut self, reader: &mut BinaryReader<'a>, open: &mut Vec<Open>) -> Result<Option<()>> {
        let mut ahead = reader.clone();
        let of_component = match ahead.read_u8() {
            Ok(0x41) => true,
            Ok(0x42) => false,
            Ok(_) => {
                let Ok(ty) = reader.read::<ComponentType<'a>>() else { return Ok(None) };
                return self.value_type(&ty).map(Some);
            }
            Err(_) => return Ok(None),
        };
        *reader = ahead;
        let Ok(left) = reader.read_var_u32() else { return Ok(None) };
        open.push(Open { left, of_component });
        if open.len() > MAX_DEPTH {
            let (found, limit) = (open.len() as u64, MAX_DEPTH as u64);
            return Err(FlattenError::Limit { what: "levels of nested types", found, limit }.into());
        }
        Ok(Some(()))
    }

    fn declaration(
        &mut self,
        reader: &mut BinaryReader<'a>,
        of_component: bool,
        open: &mut Vec<Open>,
    ) -> Result<Option<()>> {
        let read = match reader.read_u8() {
            Ok(0x00) => reader.read::<CoreType<'_>>().map(drop),
            Ok(0x01) => return self.ty(reader, open),
            Ok(0x02) => reader.read::<ComponentAlias<'_>>().map(drop),
            Ok(0x03) if of_component => reader.read::<ComponentImport<'_>>().map(drop),
            Ok(0x04) => {
                reader.read::<ComponentExternName<'_>>().and_then(|_| reader.read::<ComponentTypeRef>()).map(drop)
            }
            _ => return Ok(None),
        };
        Ok(read.ok())
    }

    fn value_type(&mut self, ty: &ComponentType<'a>) -> Result<()> {
        let (kind, names): (_, Vec<&'a str>) = match ty {
            ComponentType::Defined(ComponentDefinedType::Record(fields)) => {
                ("record", fields.iter().map(|(name, _)| *name).collect())
            }
            ComponentType::Defined(ComponentDefinedType::Variant(cases)) => {
                ("variant", cases.iter().map(|case| case.name).collect())
            }
            ComponentType::Defined(ComponentDefinedType::Flags(names)) => ("flags", names.to_vec()),
            ComponentType::Defined(ComponentDefinedType::Enum(names)) => ("enum", names.to_vec()),
            _ => return Ok(()),
        };
        let lower = names.iter().map(|name| name.to_ascii_lowercase()).collect();
        let known = self.names.entry((kind, lower)).or_insert_with(|| names.clone());
        if *known == names {
            return Ok(());
        }
        let names = names.join(", ");
        Err(unsupported(Feature::Other, format!("two types `{kind} {{{names}}}` whose names differ only in case")))
    }
}
