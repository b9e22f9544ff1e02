//! WIT types as values: what a Rust type says of itself, to be compared with what a component says of its imports, and
//! told to people in WIT's own notation.

use std::any::TypeId;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::Arc;

use super::super::options::Interface;

/// A WIT type.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "WIT's own names")]
pub enum WitType {
    Bool,
    S8,
    U8,
    S16,
    U16,
    S32,
    U32,
    S64,
    U64,
    F32,
    F64,
    Char,
    String,
    List(Box<WitType>),
    Record(Vec<(String, WitType)>),
    Variant(Vec<(String, Option<WitType>)>),
    Tuple(Vec<WitType>),
    Flags(Vec<String>),
    Option(Box<WitType>),
    Result(Option<Box<WitType>>, Option<Box<WitType>>),
    Own(ResourceName),
    Borrow(ResourceName),
    Stream(Option<Box<WitType>>),
    Future(Option<Box<WitType>>),
    /// What `()` stands for: no value.
    Nothing,
}

impl WitType {
    /// The type, unless it is that of no value.
    pub fn some(self) -> Option<Self> {
        (self != WitType::Nothing).then_some(self)
    }
}

/// A resource: its interface, and its name there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceName {
    pub(crate) interface: Interface,
    pub(crate) name: Arc<str>,
}

/// The resources of an embedder: which Rust type stands for which.
#[derive(Debug, Clone, Default)]
pub struct Resources(HashMap<TypeId, ResourceName>);

/// A Rust type that stands for no resource.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` does not stand for a resource yet; call `Linker::resource` for it first")]
pub struct NotAResource(pub(crate) &'static str);

impl Resources {
    /// Has the type stand for a resource. Gives the one that it stands for already, if it does.
    pub(crate) fn insert(&mut self, id: TypeId, name: ResourceName) -> Option<ResourceName> {
        match self.0.entry(id) {
            Entry::Occupied(known) => Some(known.get().clone()),
            Entry::Vacant(free) => {
                free.insert(name);
                None
            }
        }
    }

    /// The resource that `T` stands for.
    pub(crate) fn name<T: 'static>(&self) -> Result<ResourceName, NotAResource> {
        self.0.get(&TypeId::of::<T>()).cloned().ok_or_else(|| NotAResource(std::any::type_name::<T>()))
    }

    /// Whether the type stands for the resource that a component calls `name`, of the interface `interface`.
    pub(crate) fn stands_for(&self, id: TypeId, interface: &str, name: &str) -> bool {
        self.0.get(&id).is_some_and(|known| *known.name == *name && known.interface.serves(&Interface::of(interface)))
    }
}

/// The name that WIT has for what Rust calls `name`: kebab case, whichever case Rust has it in.
pub fn kebab(name: &str) -> String {
    let name = name.strip_prefix("r#").unwrap_or(name);
    let constant = !name.contains(|c: char| c.is_ascii_lowercase());
    let mut kebab = String::new();
    for (at, c) in name.char_indices() {
        match c {
            '_' => kebab.push('-'),
            c => {
                if c.is_ascii_uppercase() && !constant && at > 0 && !kebab.ends_with('-') {
                    kebab.push('-');
                }
                kebab.push(c.to_ascii_lowercase());
            }
        }
    }
    kebab
}

/// The type of a function, as WIT writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WitFunction {
    pub(crate) params: Vec<WitType>,
    pub(crate) result: WitType,
}

/// Prints as `func(string) -> option<list<u8>>`. Rust's functions have no names for their parameters.
impl fmt::Display for WitFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("func(")?;
        list(f, &self.params, |f, ty| ty.fmt(f))?;
        f.write_str(")")?;
        match &self.result {
            WitType::Nothing => Ok(()),
            result => write!(f, " -> {result}"),
        }
    }
}

impl fmt::Display for WitType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WitType::Bool => f.write_str("bool"),
            WitType::S8 => f.write_str("s8"),
            WitType::U8 => f.write_str("u8"),
            WitType::S16 => f.write_str("s16"),
            WitType::U16 => f.write_str("u16"),
            WitType::S32 => f.write_str("s32"),
            WitType::U32 => f.write_str("u32"),
            WitType::S64 => f.write_str("s64"),
            WitType::U64 => f.write_str("u64"),
            WitType::F32 => f.write_str("f32"),
            WitType::F64 => f.write_str("f64"),
            WitType::Char => f.write_str("char"),
            WitType::String => f.write_str("string"),
            WitType::List(element) => write!(f, "list<{element}>"),
            WitType::Record(fields) => braced(f, "record", fields, |f, (name, ty)| write!(f, "{name}: {ty}")),
            WitType::Variant(cases) if cases.iter().all(|(_, ty)| ty.is_none()) => {
                braced(f, "enum", cases, |f, (name, _)| f.write_str(name))
            }
            WitType::Variant(cases) => braced(f, "variant", cases, |f, (name, ty)| match ty {
                Some(ty) => write!(f, "{name}({ty})"),
                None => f.write_str(name),
            }),
            WitType::Tuple(types) => {
                f.write_str("tuple<")?;
                list(f, types, |f, ty| ty.fmt(f))?;
                f.write_str(">")
            }
            WitType::Flags(names) => braced(f, "flags", names, |f, name| f.write_str(name)),
            WitType::Option(some) => write!(f, "option<{some}>"),
            WitType::Result(None, None) => f.write_str("result"),
            WitType::Result(Some(ok), None) => write!(f, "result<{ok}>"),
            WitType::Result(None, Some(error)) => write!(f, "result<_, {error}>"),
            WitType::Result(Some(ok), Some(error)) => write!(f, "result<{ok}, {error}>"),
            WitType::Own(resource) => resource.fmt(f),
            WitType::Borrow(resource) => write!(f, "borrow<{resource}>"),
            WitType::Stream(None) => f.write_str("stream"),
            WitType::Stream(Some(element)) => write!(f, "stream<{element}>"),
            WitType::Future(None) => f.write_str("future"),
            WitType::Future(Some(value)) => write!(f, "future<{value}>"),
            WitType::Nothing => f.write_str("_"),
        }
    }
}

/// Prints as what `use` takes from an interface: `my:kv/store@1.0.0.{bucket}`.
impl fmt::Display for ResourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{{{}}}", self.interface, self.name)
    }
}

fn braced<T>(
    f: &mut fmt::Formatter<'_>,
    what: &str,
    items: &[T],
    item: impl Fn(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    write!(f, "{what} {{ ")?;
    list(f, items, item)?;
    f.write_str(" }")
}

fn list<T>(
    f: &mut fmt::Formatter<'_>,
    items: &[T],
    item: impl Fn(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    for (at, one) in items.iter().enumerate() {
        if at > 0 {
            f.write_str(", ")?;
        }
        item(f, one)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_wit() {
        for (rust, wit) in [
            ("key", "key"),
            ("link_count", "link-count"),
            ("r#type", "type"),
            ("NotFound", "not-found"),
            ("HttpResponseHeaderSize", "http-response-header-size"),
            ("Utf8", "utf8"),
            ("IsA", "is-a"),
            ("READ", "read"),
            ("READ_ONLY", "read-only"),
            ("X", "x"),
        ] {
            assert_eq!(kebab(rust), wit, "{rust}");
        }
    }

    #[test]
    fn a_type_stands_for_one_resource_of_one_interface() {
        struct Bucket;
        let mut resources = Resources::default();
        let name = ResourceName { interface: Interface::of("my:kv/store@1.2.0"), name: "bucket".into() };
        assert!(resources.insert(TypeId::of::<Bucket>(), name).is_none());
        let stands = |interface, name| resources.stands_for(TypeId::of::<Bucket>(), interface, name);
        assert!(stands("my:kv/store@1.0.0", "bucket"));
        assert!(!stands("my:kv/store@1.0.0", "key") && !stands("my:kv/store@2.0.0", "bucket"));
        assert!(!resources.stands_for(TypeId::of::<u8>(), "my:kv/store@1.0.0", "bucket"));
    }
}
