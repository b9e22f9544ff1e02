//! The WIT types of what a component imports, as the plan of its module has them: compared with what Rust functions say of
//! themselves.
//!
//! The plan may be a stranger's. Its types are only followed as far as a Rust type goes that they are compared with, or as
//! far as a message has room for them; and what a host function does with memory and handles follows from the Rust types
//! alone.

use std::fmt::Write;
use std::sync::Arc;

use wharf_plan::{Builtin, CanonicalOptions, Function, ImportKind, Payload, Plan, PlanError, Resource, Type};

use crate::abi::concurrent::{self, Element, Tables};
use crate::abi::wasi02::canon::{ResourceName, WitFunction, WitType};
use crate::abi::wasi02::options::{Encoding, Interface, Options};
use crate::error::{Error, Kind, Result};

/// How long the text of a type may get, in bytes.
const MAX_TEXT: usize = 1000;

/// The types of what a module imports that was made of a component.
#[derive(Debug)]
pub(crate) struct Declared(Plan, Tables);

/// The options as functions have them.
fn passing(options: &CanonicalOptions) -> Options {
    let default = Options::default();
    Options {
        instance: options.instance,
        memory: options.memory.as_deref().map_or(default.memory, Arc::from),
        realloc: options.realloc.as_deref().map_or(default.realloc, Arc::from),
        encoding: match options.encoding {
            wharf_plan::Encoding::Utf8 => Encoding::Utf8,
            wharf_plan::Encoding::Utf16 => Encoding::Utf16,
            wharf_plan::Encoding::CompactUtf16 => Encoding::CompactUtf16,
        },
    }
}

impl Declared {
    /// Reads the plan of `wasm`; `None` if it has none.
    ///
    /// # Errors
    /// [`Kind::Guest`] if it is not a valid plan, or does not fit the module.
    pub(crate) fn read(wasm: &[u8]) -> Result<Option<Self>> {
        match Plan::read(wasm) {
            Ok(plan) => {
                let tables = Tables::of(&plan);
                Ok(Some(Declared(plan, tables)))
            }
            Err(PlanError::Missing) => Ok(None),
            Err(error) => {
                let message = "the types of what this component imports cannot be read; compile the component again";
                Err(Error::new(Kind::Guest, message).with_source(error))
            }
        }
    }

    /// The function of the component model's concurrency that import `import` is.
    pub(crate) fn concurrent(&self, import: usize) -> Option<concurrent::Function> {
        let ImportKind::Async { builtin, options } = &self.0.imports.get(import)?.kind else { return None };
        let element = match builtin {
            Builtin::End { of, table, .. } => self.1.element(*of, *table),
            _ => Element::default(),
        };
        Some(concurrent::Function {
            builtin: *builtin,
            name: builtin.to_string(),
            options: Arc::new(passing(options)),
            asynchronous: options.asynchronous,
            element,
            names_memory: options.memory.is_some(),
        })
    }

    /// The type of the result of export `name`, and how it is passed.
    pub(crate) fn exported(&self, name: &str) -> Option<(Option<u32>, Arc<Options>)> {
        let export = self.0.exports.iter().find(|export| export.name == name)?;
        let result = self.0.functions.get(export.ty as usize)?.result;
        Some((result, Arc::new(passing(&export.options))))
    }

    /// Whether export `name` is an `async func`.
    pub(crate) fn may_wait(&self, name: &str) -> bool {
        let export = self.0.exports.iter().find(|export| export.name == name);
        export.and_then(|export| self.0.functions.get(export.ty as usize)).is_some_and(|ty| ty.asynchronous)
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

    fn is_payload(&self, tables: &[Payload], table: u32, wanted: Option<&WitType>) -> bool {
        tables.get(table as usize).is_some_and(|payload| self.is_option(payload.ty, wanted))
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
            (Type::Stream { table }, WitType::Stream(wanted)) => {
                self.is_payload(&self.0.streams, *table, wanted.as_deref())
            }
            (Type::Future { table }, WitType::Future(wanted)) => {
                self.is_payload(&self.0.futures, *table, wanted.as_deref())
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
            Some(Type::Stream { table }) => self.write_payload(text, "stream", &self.0.streams, *table),
            Some(Type::Future { table }) => self.write_payload(text, "future", &self.0.futures, *table),
            Some(Type::Own { table }) => text.push_str(&self.resource(*table)),
            Some(Type::Borrow { table }) => _ = write!(text, "borrow<{}>", self.resource(*table)),
            None => text.push('?'),
        }
    }

    fn write_payload(&self, text: &mut String, what: &str, tables: &[Payload], table: u32) {
        text.push_str(what);
        if let Some(ty) = tables.get(table as usize).and_then(|payload| payload.ty) {
            self.write_in(text, "<", &[Some(ty)], ">");
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

#[cfg(test)]
mod tests {
    use wharf_plan::{HandleTable, Import, Instance, PLAN_VERSION, Param};

    use super::*;

    /// The plan of a module that imports one function of this type.
    fn declared(types: Vec<Type>, params: &[u32], result: Option<u32>) -> Declared {
        let options = CanonicalOptions {
            instance: 0,
            memory: None,
            realloc: None,
            encoding: wharf_plan::Encoding::Utf8,
            post_return: None,
            asynchronous: false,
            callback: None,
        };
        let (interface, function) = ("my:kv/store@1.2.0".to_owned(), "f".to_owned());
        let kind = ImportKind::Call { interface: interface.clone(), function: function.clone(), ty: 0, options };
        let params = params.iter().enumerate().map(|(at, ty)| Param { name: format!("p{at}"), ty: *ty }).collect();
        let plan = Plan {
            version: PLAN_VERSION,
            imports: vec![Import { module: interface.clone(), name: function, kind }],
            exports: Vec::new(),
            memories: Vec::new(),
            memory_count: 0,
            tables: 0,
            start: false,
            instances: vec![Instance { may_leave: None }],
            resources: vec![
                Resource::Imported { interface, name: "bucket".to_owned() },
                Resource::Defined { instance: 0, destructor: None },
            ],
            handle_tables: [0, 1].map(|resource| HandleTable { instance: 0, resource: Some(resource) }).to_vec(),
            streams: Vec::new(),
            futures: Vec::new(),
            types,
            functions: vec![Function { params, result, asynchronous: false }],
            traps: Vec::new(),
            component_imports: Vec::new(),
            adapter: None,
            calls: None,
        };
        let tables = Tables::of(&plan);
        Declared(plan, tables)
    }

    fn names(names: [&str; 2]) -> Vec<String> {
        names.map(str::to_owned).to_vec()
    }

    fn bucket(interface: &str, name: &str) -> ResourceName {
        ResourceName { interface: Interface::of(interface), name: name.into() }
    }

    fn record(first: &str, second: &str) -> WitType {
        WitType::Record(vec![(first.to_owned(), WitType::String), (second.to_owned(), WitType::U32)])
    }

    /// Each type as the plan has it, as Rust has it, and as it is written.
    fn every_type() -> Vec<(Type, WitType, &'static str)> {
        use WitType as W;
        fn case<T>(name: &str, ty: T) -> (String, T) {
            (name.to_owned(), ty)
        }
        let (string, u32_) = (|| Some(Box::new(W::String)), || Some(Box::new(W::U32)));
        vec![
            (Type::Bool, W::Bool, "bool"),
            (Type::S8, W::S8, "s8"),
            (Type::U8, W::U8, "u8"),
            (Type::S16, W::S16, "s16"),
            (Type::U16, W::U16, "u16"),
            (Type::S32, W::S32, "s32"),
            (Type::U32, W::U32, "u32"),
            (Type::S64, W::S64, "s64"),
            (Type::U64, W::U64, "u64"),
            (Type::F32, W::F32, "f32"),
            (Type::F64, W::F64, "f64"),
            (Type::Char, W::Char, "char"),
            (Type::String, W::String, "string"),
            (Type::List { element: 12 }, W::List(Box::new(W::String)), "list<string>"),
            (Type::Option { some: 12 }, W::Option(Box::new(W::String)), "option<string>"),
            (Type::Tuple { types: vec![12, 6] }, W::Tuple(vec![W::String, W::U32]), "tuple<string, u32>"),
            (Type::Result { ok: None, err: None }, W::Result(None, None), "result"),
            (Type::Result { ok: Some(12), err: None }, W::Result(string(), None), "result<string>"),
            (Type::Result { ok: None, err: Some(6) }, W::Result(None, u32_()), "result<_, u32>"),
            (Type::Result { ok: Some(12), err: Some(6) }, W::Result(string(), u32_()), "result<string, u32>"),
            (
                Type::Record { fields: vec![case("key", 12), case("times-read", 6)] },
                record("key", "times-read"),
                "record { key: string, times-read: u32 }",
            ),
            (
                Type::Variant { cases: vec![case("none", None), case("some", Some(12))] },
                W::Variant(vec![case("none", None), case("some", Some(W::String))]),
                "variant { none, some(string) }",
            ),
            (
                Type::Enum { names: names(["no", "yes"]) },
                W::Variant(vec![case("no", None), case("yes", None)]),
                "enum { no, yes }",
            ),
            (
                Type::Flags { names: names(["read", "write"]) },
                W::Flags(names(["read", "write"])),
                "flags { read, write }",
            ),
            (Type::Own { table: 0 }, W::Own(bucket("my:kv/store@1.0.0", "bucket")), "my:kv/store@1.2.0.{bucket}"),
            (
                Type::Borrow { table: 0 },
                W::Borrow(bucket("my:kv/store@1.0.0", "bucket")),
                "borrow<my:kv/store@1.2.0.{bucket}>",
            ),
        ]
    }

    #[test]
    fn a_type_is_itself_and_no_other() {
        let types = every_type();
        let all: Vec<Type> = types.iter().map(|(ty, ..)| ty.clone()).collect();
        for (at, (_, _, text)) in types.iter().enumerate() {
            let ty = at as u32;
            let (param, result) = (declared(all.clone(), &[ty], None), declared(all.clone(), &[], Some(ty)));
            for (other, (_, wanted, _)) in types.iter().enumerate() {
                let taken = WitFunction { params: vec![wanted.clone()], result: WitType::Nothing };
                let given = WitFunction { params: Vec::new(), result: wanted.clone() };
                let same = other == at;
                assert_eq!(param.other_than(0, &taken), (!same).then(|| format!("func(p0: {text})")), "{wanted:?}");
                assert_eq!(result.other_than(0, &given), (!same).then(|| format!("func() -> {text}")), "{wanted:?}");
            }
            let none = WitFunction { params: Vec::new(), result: WitType::Nothing };
            assert!(param.other_than(0, &none).is_some() && result.other_than(0, &none).is_some(), "{text}");
            assert_eq!(param.other_than(1, &none), None, "there is no such import");
        }
    }

    #[test]
    fn names_and_numbers_of_parts_count_and_their_case_does_not() {
        let string = || (WitType::String, Type::String);
        let fields = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), 0)).collect();
        let is = |ty: Type, wanted: WitType| declared(vec![string().1, ty], &[], None).is(1, &wanted);
        let wanted =
            |names: &[&str]| WitType::Record(names.iter().map(|name| ((*name).to_owned(), WitType::String)).collect());
        assert!(is(Type::Record { fields: fields(&["a", "B"]) }, wanted(&["A", "b"])));
        assert!(!is(Type::Record { fields: fields(&["a", "b"]) }, wanted(&["a", "c"])));
        assert!(!is(Type::Record { fields: fields(&["a", "b"]) }, wanted(&["a"])));
        assert!(!is(Type::Record { fields: fields(&["a"]) }, wanted(&["a", "b"])));
        assert!(!is(Type::Flags { names: names(["a", "b"]) }, WitType::Flags(names(["a", "c"]))));
        assert!(!is(Type::Flags { names: names(["a", "b"]) }, WitType::Flags(vec!["a".to_owned()])));
        assert!(!is(Type::Tuple { types: vec![0] }, WitType::Tuple(vec![WitType::String; 2])));
        let cases = |names: &[&str]| WitType::Variant(names.iter().map(|name| ((*name).to_owned(), None)).collect());
        assert!(!is(Type::Enum { names: names(["a", "b"]) }, cases(&["a"])));
        assert!(!is(Type::Enum { names: names(["a", "b"]) }, cases(&["a", "c"])));
        assert!(!is(Type::Variant { cases: vec![("a".to_owned(), None)] }, cases(&["a", "b"])));
        assert!(!is(Type::Variant { cases: vec![("a".to_owned(), None)] }, cases(&["b"])));
    }

    #[test]
    fn a_resource_is_that_of_its_interface_and_name() {
        let own = |table| declared(vec![Type::Own { table }], &[0], None);
        let is = |wanted: ResourceName| own(0).is(0, &WitType::Own(wanted));
        assert!(is(bucket("my:kv/store@1.2.0", "bucket")));
        for (interface, name) in
            [("my:kv/store@2.0.0", "bucket"), ("my:kv/other@1.2.0", "bucket"), ("my:kv/store@1.2.0", "pail")]
        {
            assert!(!is(bucket(interface, name)), "{interface} {name}");
        }
        // What the component defines itself is nobody's to offer.
        assert!(!own(1).is(0, &WitType::Own(bucket("my:kv/store@1.2.0", "bucket"))));
        let none = WitFunction { params: Vec::new(), result: WitType::Nothing };
        assert_eq!(own(1).other_than(0, &none).as_deref(), Some("func(p0: a resource of the guest's own)"));
    }

    #[test]
    fn parameters_are_written_with_commas_between_them() {
        let nothing = WitFunction { params: Vec::new(), result: WitType::Nothing };
        let three = declared(vec![Type::U8, Type::String], &[0, 1, 0], Some(1));
        assert_eq!(three.other_than(0, &nothing).as_deref(), Some("func(p0: u8, p1: string, p2: u8) -> string"));
    }

    #[test]
    fn what_is_written_has_a_bound() {
        let fields = (0..500).map(|at| (format!("field-{at}"), 0)).collect();
        let long = declared(vec![Type::String, Type::Record { fields }], &[1, 1], None);
        let text = long.other_than(0, &WitFunction { params: Vec::new(), result: WitType::Nothing }).unwrap();
        assert!(text.starts_with("func(p0: record { field-0: string, field-1: string, "), "{text}");
        assert!(text.ends_with("...") && text.len() == MAX_TEXT + 3, "{} bytes: {text}", text.len());
        // As deep as types of types go, each twice as wide as the one inside it.
        let mut types = vec![Type::String];
        types.extend((0..60).map(|inner| Type::Tuple { types: vec![inner, inner] }));
        let deep = declared(types, &[60], None);
        let text = deep.other_than(0, &WitFunction { params: Vec::new(), result: WitType::Nothing }).unwrap();
        assert!(text.len() <= MAX_TEXT + 3, "{} bytes", text.len());
    }
}
