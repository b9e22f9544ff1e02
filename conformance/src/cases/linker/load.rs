//! What is looked at when a guest is loaded: names, versions and types, those of both sides told where they differ.

use bytes::Bytes;
use wharf_core::linker::{Borrow, Lower, Own, Params};
use wharf_core::{Guest, Kind, Linker, Result, chain};

use super::probe::{STORE, Text, flat};
use crate::bare::assemble;
use crate::case::{Case, CaseResult, Unmet};
use crate::context::Context;
use crate::{check, check_eq};

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("linker/load/wrong-types", "bad input: a host function of another type", wrong_types),
    Case::must("linker/load/names-of-fields-and-cases", "bad input: a host function of another type", names),
    Case::must("linker/load/wrong-resources", "bad input: a host function of another type", wrong_resources),
    Case::must("linker/load/long-types-are-cut", "bad input: a host function of another type", long),
    Case::must("linker/load/core-signatures", "bad input: a host function of another type", core_signatures),
    Case::must("linker/load/nobody-offers-it", "bad input: unknown imports", unknown),
    Case::must("linker/load/compatible-versions", "linker: versions", versions),
];

fn refused(loaded: Result<Guest>, words: &[&str]) -> CaseResult {
    let Err(error) = loaded else { return Err(Unmet::failed("it was loaded")) };
    let text = chain(&error);
    check_eq!(error.kind(), Kind::Unsupported, "the kind of the error {text:?}");
    check!(!text.contains('\n'), "the error has several lines: {text:?}");
    for word in words {
        check!(text.contains(word), "the error does not say {word:?}: {text}");
    }
    Ok(())
}

/// A linker that offers one function, which is never called.
fn offering<P: Params, R: Lower + 'static>() -> CaseResult<Linker> {
    let mut linker = Linker::new();
    offer::<P, R>(&mut linker)?;
    Ok(linker)
}

fn offer<P: Params, R: Lower + 'static>(linker: &mut Linker) -> CaseResult {
    Ok(linker.func(STORE, "f", |_, _: P| -> Result<R, String> { Err("nobody calls it".to_owned()) })?)
}

/// A guest that imports `f` of this type, loaded beside `linker`: it must fit, or be refused with both types.
fn fits(context: &Context, guest: &str, core: (&str, &str), linker: &Linker, host: Option<&str>) -> CaseResult {
    let loaded = context.load_component(&Text::new().func("f", guest, core.0, core.1).of(STORE)?, linker)?;
    match host {
        None => loaded.map(drop).map_err(Unmet::from),
        Some(host) => refused(loaded, &["my:kv/store@1.0.0::f", "has another type", host]),
    }
    .map_err(|unmet| unmet.context(guest))
}

/// Types that are lowered alike are not the same.
fn wrong_types(context: &Context) -> CaseResult {
    let key = r#"(param "key" string)"#;
    let get = format!("{key} (result (option (list u8)))");
    let flat = ("i32 i32 i32", "");
    fits(context, &get, flat, &offering::<(String,), Option<Vec<u8>>>()?, None)?;
    fits(context, &get, flat, &offering::<(String,), Option<Bytes>>()?, None)?;
    let says =
        |host: &str| format!("the guest imports `func(key: string) -> option<list<u8>>`, the embedder offers `{host}`");
    for (linker, host) in [
        (offering::<(Vec<u8>,), Option<Vec<u8>>>()?, "func(list<u8>) -> option<list<u8>>"),
        (offering::<(String,), Option<String>>()?, "func(string) -> option<string>"),
        (offering::<(String,), Option<Vec<i8>>>()?, "func(string) -> option<list<s8>>"),
        (offering::<(String,), Result<Vec<u8>, ()>>()?, "func(string) -> result<list<u8>>"),
        (offering::<(u32, u32), Option<Vec<u8>>>()?, "func(u32, u32) -> option<list<u8>>"),
        (offering::<(), ()>()?, "func()"),
        (offering::<(String, u8), Option<Vec<u8>>>()?, "func(string, u8) -> option<list<u8>>"),
        (offering::<(String,), ()>()?, "func(string)"),
        (offering::<(String,), Option<(Vec<u8>,)>>()?, "func(string) -> option<tuple<list<u8>>>"),
    ] {
        fits(context, &get, flat, &linker, Some(&says(host)))?;
    }
    // Numbers of one core type.
    for (guest, linker, host) in [
        ("u8", offering::<(i8,), ()>()?, Some("`func(s8)`")),
        ("u32", offering::<(char,), ()>()?, Some("`func(char)`")),
        ("bool", offering::<(u8,), ()>()?, Some("`func(u8)`")),
        ("u16", offering::<(u32,), ()>()?, Some("`func(u32)`")),
        ("char", offering::<(char,), ()>()?, None),
        ("s16", offering::<(i16,), ()>()?, None),
    ] {
        fits(context, &format!("(param \"n\" {guest})"), ("i32", ""), &linker, host)?;
    }
    let results = r#"(result (result (error string)))"#;
    fits(context, results, ("i32", ""), &offering::<(), Result<(), String>>()?, None)?;
    let both = "the guest imports `func() -> result<_, string>`, the embedder offers `func() -> result<string>`";
    fits(context, results, ("i32", ""), &offering::<(), Result<String, ()>>()?, Some(both))
}

wharf_core::record! { struct Entry { key: String, times_read: u32 } }
wharf_core::record! { struct Renamed { name: String, times_read: u32 } }
wharf_core::record! { struct Swapped { times_read: u32, key: String } }
wharf_core::variant! { enum Kinds as "kinds" { Plain, Linked(to: String) } }
wharf_core::variant! { enum OtherKinds as "kinds" { Plain(of: String), Linked } }
wharf_core::variant! { enum Order as "order" { Up, DownWards } }
wharf_core::variant! { enum Reversed as "order" { DownWards, Up } }
wharf_core::flags! { struct Access { READ, WRITE_ALL } }
wharf_core::flags! { struct Fewer { READ } }

fn names(context: &Context) -> CaseResult {
    let with = |ty: &str, name: &str, core: &str| {
        let field = format!("(type $t {ty}) (export \"{name}\" (type $n (eq $t)))");
        Text::new().ty(&field).func("f", r#"(param "x" $n)"#, core, "").of(STORE)
    };
    let entry = with(r#"(record (field "key" string) (field "times-read" u32))"#, "entry", "i32 i32 i32")?;
    let kinds = with(r#"(variant (case "plain") (case "linked" string))"#, "kinds", "i32 i32 i32")?;
    let order = with(r#"(enum "up" "down-wards")"#, "order", "i32")?;
    let empty_variant = with(r#"(variant (case "up") (case "DOWN-wards"))"#, "order", "i32")?;
    let access = with(r#"(flags "read" "write-all")"#, "access", "i32")?;
    for (component, linker) in [
        (&entry, offering::<(Entry,), ()>()?),
        (&kinds, offering::<(Kinds,), ()>()?),
        (&order, offering::<(Order,), ()>()?),
        (&empty_variant, offering::<(Order,), ()>()?),
        (&access, offering::<(Access,), ()>()?),
    ] {
        context.load_component(component, &linker)??;
    }
    let record = "`func(x: record { key: string, times-read: u32 })`";
    let variant = "`func(x: variant { plain, linked(string) })`";
    for (component, linker, guest, host) in [
        (&entry, offering::<(Renamed,), ()>()?, record, "`func(record { name: string, times-read: u32 })`"),
        (&entry, offering::<(Swapped,), ()>()?, record, "`func(record { times-read: u32, key: string })`"),
        (&entry, offering::<((String, u32),), ()>()?, record, "`func(tuple<string, u32>)`"),
        (&kinds, offering::<(OtherKinds,), ()>()?, variant, "`func(variant { plain(string), linked })`"),
        (&kinds, offering::<(Option<String>,), ()>()?, variant, "`func(option<string>)`"),
        (
            &order,
            offering::<(Reversed,), ()>()?,
            "`func(x: enum { up, down-wards })`",
            "`func(enum { down-wards, up })`",
        ),
        (&access, offering::<(Fewer,), ()>()?, "`func(x: flags { read, write-all })`", "`func(flags { read })`"),
        (&access, offering::<(u8,), ()>()?, "`func(x: flags { read, write-all })`", "`func(u8)`"),
    ] {
        refused(context.load_component(component, &linker)?, &[guest, host])?;
    }
    Ok(())
}

struct Bucket;
struct Key;

fn wrong_resources(context: &Context) -> CaseResult {
    let resources = |at: &str| -> CaseResult<Linker> {
        let mut linker = Linker::new();
        linker.resource::<Bucket>(at, "bucket")?;
        linker.resource::<Key>(at, "key")?;
        Ok(linker)
    };
    let guest = Text::new().ty(r#"(export "bucket" (type $bucket (sub resource)))"#);
    let guest = guest.func("f", r#"(param "b" (borrow $bucket))"#, "i32", "").of(STORE)?;
    let mut linker = resources(STORE)?;
    offer::<(Borrow<Bucket>,), ()>(&mut linker)?;
    context.load_component(&guest, &linker)??;
    let ours = "`func(b: borrow<my:kv/store@1.0.0.{bucket}>)`";
    let mut linker = resources(STORE)?;
    offer::<(Own<Bucket>,), ()>(&mut linker)?;
    refused(context.load_component(&guest, &linker)?, &[ours, "`func(my:kv/store@1.0.0.{bucket})`"])?;
    let mut linker = resources(STORE)?;
    offer::<(Borrow<Key>,), ()>(&mut linker)?;
    refused(context.load_component(&guest, &linker)?, &[ours, "`func(borrow<my:kv/store@1.0.0.{key}>)`"])?;
    // Of the same name, in another interface.
    let mut linker = resources("my:other/store@1.0.0")?;
    offer::<(Borrow<Bucket>,), ()>(&mut linker)?;
    refused(context.load_component(&guest, &linker)?, &[ours, "`func(borrow<my:other/store@1.0.0.{bucket}>)`"])
}

/// A type that doubles with each line of the guest's text.
fn long(context: &Context) -> CaseResult {
    let mut text = Text::new().ty("(type $t0 (tuple u8 u8))");
    for level in 1..14 {
        text = text.ty(&format!("(type $t{level} (tuple $t{} $t{}))", level - 1, level - 1));
    }
    let component = text.func("f", r#"(param "x" (list $t13))"#, "i32 i32", "").of(STORE)?;
    let loaded = context.load_component(&component, &offering::<(Vec<u8>,), ()>()?)?;
    let Err(error) = loaded else { return Err(Unmet::failed("it was loaded")) };
    let text = chain(&error);
    check!(text.contains("list<tuple<tuple<") && text.contains("..."), "the type is not cut: {text}");
    check!(text.len() < 2000, "the error has {} bytes", text.len());
    check!(text.contains("`func(list<u8>)`"), "the error does not say the other type: {text}");
    Ok(())
}

fn core_signatures(context: &Context) -> CaseResult {
    let mut linker = Linker::new();
    linker.core_func("env", "log", |_, (_, _): (u32, u64)| -> Result<i32> { Ok(0) })?;
    let module = |params: &str, results: &str| {
        assemble(&format!(r#"(module (import "env" "log" (func (param {params}) (result {results}))))"#))
    };
    context.load_with(&module("i32 i64", "i32")?, &linker)?;
    for (params, results, guest) in [
        ("i32 i32", "i32", "(i32, i32) -> (i32)"),
        ("i32 i64", "", "(i32, i64) -> ()"),
        ("i32 i64", "f32", "(i32, i64) -> (f32)"),
        ("i32 i64 i32", "i32", "(i32, i64, i32) -> (i32)"),
    ] {
        let loaded = context.load_with(&module(params, results)?, &linker);
        refused(loaded, &["env::log", guest, "another signature", "(i32, i64) -> (i32)"])?;
    }
    // It is for core modules: a component's function has types that would not be compared.
    let mut linker = Linker::new();
    linker.core_func(STORE, "f", |_, (_, _): (u32, u32)| -> Result<()> { Ok(()) })?;
    let component = Text::new().func("f", r#"(param "key" string)"#, "i32 i32", "").of(STORE)?;
    refused(context.load_component(&component, &linker)?, &["my:kv/store@1.0.0::f", "unknown"])?;
    // A function of an interface that a core module imports otherwise than bindings would.
    let module =
        assemble(&format!(r#"(module (import "{STORE}" "f" (func (param i64))) (memory (export "memory") 1))"#))?;
    refused(context.load_with(&module, &offering::<(String,), ()>()?), &["(i64) -> ()", "(i32, i32) -> ()"])
}

fn unknown(context: &Context) -> CaseResult {
    let mut linker = offering::<(String,), ()>()?;
    linker.core_func("env", "write_log", |_, ()| -> Result<()> { Ok(()) })?;
    let component = Text::new().func("ff", r#"(param "key" string)"#, "i32 i32", "").of(STORE)?;
    let nearest = "did the guest mean my:kv/store@1.0.0::f?";
    refused(context.load_component(&component, &linker)?, &["my:kv/store@1.0.0::ff", "unknown", nearest])?;
    let module = assemble(r#"(module (import "env" "write-log" (func)) (import "env" "other" (func)))"#)?;
    let words = ["env::write-log", "did the guest mean env::write_log?", "env::other"];
    refused(context.load_with(&module, &linker), &words)?;
    // Nothing is offered: the same as ever.
    refused(context.load_with(&module, &Linker::new()), &["env::write-log", "unknown"])
}

fn versions(context: &Context) -> CaseResult {
    let linker = offering::<(String,), ()>()?;
    let text = Text::new().func("f", r#"(param "key" string)"#, "i32 i32", "");
    for version in ["1.0.0", "1.0.7", "1.2.0"] {
        context.load_component(&text.of(&format!("my:kv/store@{version}"))?, &linker)??;
    }
    for other in
        ["my:kv/store@2.0.0", "my:kv/store@0.1.0", "my:kv/store@1.0.0-rc.1", "my:kv/store", "my:kv/stores@1.0.0"]
    {
        let loaded = context.load_component(&text.of(other)?, &linker)?;
        refused(loaded, &[&format!("{other}::f"), "unknown", "did the guest mean my:kv/store@1.0.0::f?"])?;
    }
    // What is loaded has been flattened by no more than its own bytes.
    check!(flat(&text.of(STORE)?)? != flat(&text.of("my:kv/store@1.2.0")?)?, "two versions have one module");
    Ok(())
}
