//! The WIT types of what a component imports, as the plan of its module has them: compared with what Rust functions say of
//! themselves.
//!
//! The plan may be a stranger's. Its types are only followed as far as a Rust type goes that they are compared with, or as
//! far as a message has room for them; and what a host function does with memory and handles follows from the Rust types
//! alone.

use std::fmt::Write;

use wharf_plan::{Function, ImportKind, Plan, PlanError, Resource, Type};

use crate::abi::wasi02::canon::{ResourceName, WitFunction, WitType};
use crate::abi::wasi02::options::Interface;
use crate::error::{Error, Kind, Result};

/// How long the text of a type may get, in bytes.
const MAX_TEXT: usize = 1000;

/// The types of what a module imports that was made of a component.
#[derive(Debug)]
pub(crate) struct Declared(Plan);

impl Declared {
    /// Reads the plan of `wasm`; `None` if it has none.
    ///
    /// # Errors
    /// [`Kind::Guest`] if it is not a valid plan, or does not fit the module.
    pub(crate) fn read(wasm: &[u8]) -> Result<Option<Self>> {
        match Plan::read(wasm) {
            Ok(plan) => Ok(Some(Declared(plan))),
            Err(PlanError::Missing) => Ok(None),
            Err(error) => {
                let message = "the types of what this component imports cannot be read; compile the component again";
                Err(Error::new(Kind::Guest, message).with_source(error))
            }
        }
    }

    fn function(&self, import: usize) -> Option<&Function> {
        match &self.0.imports.get(import)?.kind {
            ImportKind::Call { ty, .. } => self.0.functions.get(*ty as usize),
            _ => None,
        }
    }

    /// The type of import `import`, if it is not the one given, in WIT's notation. `None` if it is, or if the plan does not
    /// say.
    pub(crate) fn other_than(&self, import: usize, ty: &WitFunction) -> Option<String> {
        let function = self.function(import)?;
        let params = function.params.len() == ty.params.len()
            && function.params.iter().zip(&ty.params).all(|(param, ty)| self.is(param.ty, ty));
        (!params || !self.is_option(function.result, ty.result.clone().some().as_ref())).then(|| self.text(function))
    }

    fn is_option(&self, ty: Option<u32>, wanted: Option<&WitType>) -> bool {
        match (ty, wanted) {
            (Some(ty), Some(wanted)) => self.is(ty, wanted),
            (ty, wanted) => ty.is_none() && wanted.is_none(),
        }
    }

    /// Whether type `ty` of the plan is the one wanted. WIT compares names regardless of case.
    fn is(&self, ty: u32, wanted: &WitType) -> bool {
        let Some(ty) = self.0.types.get(ty as usize) else { return false };
        let same = |names: &[String], wanted: &[String]| {
            names.len() == wanted.len()
                && names.iter().zip(wanted).all(|(name, wanted)| name.eq_ignore_ascii_case(wanted))
        };
        match (ty, wanted) {
            (Type::Bool, WitType::Bool)
            | (Type::S8, WitType::S8)
            | (Type::U8, WitType::U8)
            | (Type::S16, WitType::S16)
            | (Type::U16, WitType::U16)
            | (Type::S32, WitType::S32)
            | (Type::U32, WitType::U32)
            | (Type::S64, WitType::S64)
            | (Type::U64, WitType::U64)
            | (Type::F32, WitType::F32)
            | (Type::F64, WitType::F64)
            | (Type::Char, WitType::Char)
            | (Type::String, WitType::String) => true,
            (Type::List { element }, WitType::List(wanted)) => self.is(*element, wanted),
            (Type::Option { some }, WitType::Option(wanted)) => self.is(*some, wanted),
            (Type::Record { fields }, WitType::Record(wanted)) => {
                fields.len() == wanted.len()
                    && fields.iter().zip(wanted).all(|((name, ty), (wanted_name, wanted))| {
                        name.eq_ignore_ascii_case(wanted_name) && self.is(*ty, wanted)
                    })
            }
            (Type::Variant { cases }, WitType::Variant(wanted)) => {
                cases.len() == wanted.len()
                    && cases.iter().zip(wanted).all(|((name, ty), (wanted_name, wanted))| {
                        name.eq_ignore_ascii_case(wanted_name) && self.is_option(*ty, wanted.as_ref())
                    })
            }
            // Rust has one word for both.
            (Type::Enum { names }, WitType::Variant(wanted)) => {
                names.len() == wanted.len()
                    && names
                        .iter()
                        .zip(wanted)
                        .all(|(name, (wanted_name, wanted))| name.eq_ignore_ascii_case(wanted_name) && wanted.is_none())
            }
            (Type::Tuple { types }, WitType::Tuple(wanted)) => {
                types.len() == wanted.len() && types.iter().zip(wanted).all(|(ty, wanted)| self.is(*ty, wanted))
            }
            (Type::Flags { names }, WitType::Flags(wanted)) => same(names, wanted),
            (Type::Result { ok, err }, WitType::Result(wanted_ok, wanted_err)) => {
                self.is_option(*ok, wanted_ok.as_deref()) && self.is_option(*err, wanted_err.as_deref())
            }
            (Type::Own { table }, WitType::Own(wanted)) | (Type::Borrow { table }, WitType::Borrow(wanted)) => {
                self.imported(*table).is_some_and(|(interface, name)| {
                    *wanted.name == *name && wanted.interface.serves(&Interface::of(interface))
                })
            }
            _ => false,
        }
    }

    /// The interface and the name of the imported resource that the handles of a table refer to.
    fn imported(&self, table: u32) -> Option<(&str, &str)> {
        match self.0.resources.get(self.0.handle_tables.get(table as usize)?.resource? as usize)? {
            Resource::Imported { interface, name } => Some((interface, name)),
            Resource::Defined { .. } => None,
        }
    }

    /// The type of a function in WIT's notation, cut where it gets long.
    fn text(&self, function: &Function) -> String {
        let mut text = String::from("func(");
        for (at, param) in function.params.iter().enumerate() {
            if text.len() >= MAX_TEXT {
                break;
            }
            let separator = if at > 0 { ", " } else { "" };
            _ = write!(text, "{separator}{}: ", param.name);
            self.write(&mut text, param.ty);
        }
        text.push(')');
        if let Some(result) = function.result {
            text.push_str(" -> ");
            self.write(&mut text, result);
        }
        if let Some((end, _)) = text.char_indices().find(|(at, _)| *at >= MAX_TEXT) {
            text.truncate(end);
            text.push_str("...");
        }
        text
    }

    /// Every level writes something, and none does once the text is too long: so this ends whatever the plan says.
    fn write(&self, text: &mut String, ty: u32) {
        if text.len() >= MAX_TEXT {
            return;
        }
        let names = |text: &mut String, what: &str, names: &[String]| {
            _ = write!(text, "{what} {{ {} }}", names.join(", "));
        };
        match self.0.types.get(ty as usize) {
            Some(Type::Bool) => text.push_str("bool"),
            Some(Type::S8) => text.push_str("s8"),
            Some(Type::U8) => text.push_str("u8"),
            Some(Type::S16) => text.push_str("s16"),
            Some(Type::U16) => text.push_str("u16"),
            Some(Type::S32) => text.push_str("s32"),
            Some(Type::U32) => text.push_str("u32"),
            Some(Type::S64) => text.push_str("s64"),
            Some(Type::U64) => text.push_str("u64"),
            Some(Type::F32) => text.push_str("f32"),
            Some(Type::F64) => text.push_str("f64"),
            Some(Type::Char) => text.push_str("char"),
            Some(Type::String) => text.push_str("string"),
            Some(Type::List { element }) => self.write_in(text, "list<", &[Some(*element)], ">"),
            Some(Type::Option { some }) => self.write_in(text, "option<", &[Some(*some)], ">"),
            Some(Type::Tuple { types }) => {
                let types: Vec<Option<u32>> = types.iter().copied().map(Some).collect();
                self.write_in(text, "tuple<", &types, ">");
            }
            Some(Type::Result { ok: None, err: None }) => text.push_str("result"),
            Some(Type::Result { ok, err: None }) => self.write_in(text, "result<", &[*ok], ">"),
            Some(Type::Result { ok, err }) => self.write_in(text, "result<", &[*ok, *err], ">"),
            Some(Type::Record { fields }) => {
                text.push_str("record { ");
                for (at, (name, ty)) in fields.iter().enumerate() {
                    if text.len() >= MAX_TEXT {
                        break;
                    }
                    let separator = if at > 0 { ", " } else { "" };
                    _ = write!(text, "{separator}{name}: ");
                    self.write(text, *ty);
                }
                text.push_str(" }");
            }
            Some(Type::Variant { cases }) => {
                text.push_str("variant { ");
                for (at, (name, ty)) in cases.iter().enumerate() {
                    if text.len() >= MAX_TEXT {
                        break;
                    }
                    let separator = if at > 0 { ", " } else { "" };
                    _ = write!(text, "{separator}{name}");
                    if ty.is_some() {
                        self.write_in(text, "(", &[*ty], ")");
                    }
                }
                text.push_str(" }");
            }
            Some(Type::Flags { names: flags }) => names(text, "flags", flags),
            Some(Type::Enum { names: cases }) => names(text, "enum", cases),
            Some(Type::Own { table }) => text.push_str(&self.resource(*table)),
            Some(Type::Borrow { table }) => _ = write!(text, "borrow<{}>", self.resource(*table)),
            None => text.push('?'),
        }
    }

    fn write_in(&self, text: &mut String, open: &str, types: &[Option<u32>], close: &str) {
        text.push_str(open);
        for (at, ty) in types.iter().enumerate() {
            if text.len() >= MAX_TEXT {
                break;
            }
            if at > 0 {
                text.push_str(", ");
            }
            match ty {
                Some(ty) => self.write(text, *ty),
                None => text.push('_'),
            }
        }
        text.push_str(close);
    }

    fn resource(&self, table: u32) -> String {
        match self.imported(table) {
            Some((interface, name)) => {
                ResourceName { interface: Interface::of(interface), name: name.into() }.to_string()
            }
            None => "a resource of the guest's own".to_owned(),
        }
    }
}
