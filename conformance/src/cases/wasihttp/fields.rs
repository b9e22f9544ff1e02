//! `wasi:http/types.fields`.

use wharf_core::GuestConfig;

use super::probe::{RET, Wasi02};
use crate::case::{Case, CaseResult};
use crate::check_eq;
use crate::context::Context;

const WIT: &str = "wasi:http/types@0.2.12: fields";

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("wasihttp/fields/order-and-casing-stay", WIT, order),
    Case::must("wasihttp/fields/names-are-case-insensitive", WIT, insensitive),
    Case::must("wasihttp/fields/invalid-names-are-absent", WIT, absent),
    Case::must("wasihttp/fields/set-replaces-and-nothing-removes", WIT, set),
    Case::must("wasihttp/fields/syntax-errors", WIT, syntax),
    Case::must("wasihttp/fields/forbidden-names", WIT, forbidden),
    Case::must("wasihttp/fields/immutable", WIT, immutable),
    Case::must("wasihttp/fields/errors-in-order", WIT, errors_in_order),
    Case::must("wasihttp/fields/clone-is-mutable-and-apart", WIT, clone),
    Case::must("wasihttp/fields/from-list", WIT, from_list),
    Case::must("wasihttp/fields/values-are-bytes", WIT, bytes),
];

const INVALID_SYNTAX: Option<u8> = Some(0);
const FORBIDDEN: Option<u8> = Some(1);
const IMMUTABLE: Option<u8> = Some(2);

fn probe(context: &Context) -> CaseResult<Wasi02> {
    Wasi02::http(context, GuestConfig::default())
}

fn pairs(entries: &[(&str, &str)]) -> Vec<(String, String)> {
    entries.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn order(context: &Context) -> CaseResult {
    let mut probe = probe(context)?;
    let entries = [("X-One", "1"), ("accept", ""), ("x-ONE", "2"), ("ETag", "3")];
    let fields = probe.fields(&entries)?;
    check_eq!(probe.entries(fields)?, pairs(&entries), "the entries");
    Ok(())
}

fn insensitive(context: &Context) -> CaseResult {
    let mut probe = probe(context)?;
    let fields = probe.fields(&[("X-One", "1"), ("other", "0"), ("x-ONE", "2")])?;
    let [ptr, len] = probe.bytes("x-oNe")?;
    check_eq!(probe.call("[method]fields.has", &[fields, ptr, len])?, 1, "`has` in another case");
    let [ptr, len] = probe.bytes("X-ONE")?;
    probe.case("[method]fields.get", &[fields, ptr, len])?;
    check_eq!(probe.word(4)?, 2, "the count of values");
    let list = probe.word(0)?;
    check_eq!((probe.string_at(list)?, probe.string_at(list + 8)?), (b"1".to_vec(), b"2".to_vec()), "the values");
    let [ptr, len] = probe.bytes("x-one")?;
    check_eq!(probe.changes("[method]fields.delete", &[fields, ptr, len])?, None, "the error of `delete`");
    check_eq!(probe.entries(fields)?, pairs(&[("other", "0")]), "what is left");
    Ok(())
}

fn absent(context: &Context) -> CaseResult {
    let mut probe = probe(context)?;
    let fields = probe.fields(&[("a", "1")])?;
    for name in ["", "a b", "a:", "\u{e9}", "b"] {
        let [ptr, len] = probe.bytes(name)?;
        check_eq!(probe.call("[method]fields.has", &[fields, ptr, len])?, 0, "`has` of {name:?}");
        let [ptr, len] = probe.bytes(name)?;
        probe.case("[method]fields.get", &[fields, ptr, len])?;
        check_eq!(probe.word(4)?, 0, "the count of values of {name:?}");
    }
    Ok(())
}

/// Calls `set` with these values.
fn set_values(probe: &mut Wasi02, fields: u64, name: &str, values: &[&str]) -> CaseResult<Option<u8>> {
    let mut list = Vec::new();
    for value in values {
        for word in probe.bytes(value)? {
            list.extend((word as u32).to_le_bytes());
        }
    }
    let ([name, name_len], [list, _]) = (probe.bytes(name)?, probe.bytes(list)?);
    probe.changes("[method]fields.set", &[fields, name, name_len, list, values.len() as u64])
}

fn set(context: &Context) -> CaseResult {
    let mut probe = probe(context)?;
    let fields = probe.fields(&[("a", "1"), ("b", "2"), ("A", "3")])?;
    check_eq!(set_values(&mut probe, fields, "a", &["x", "y"])?, None, "the error of `set`");
    check_eq!(probe.entries(fields)?, pairs(&[("a", "x"), ("a", "y"), ("b", "2")]), "after `set`");
    check_eq!(set_values(&mut probe, fields, "A", &[])?, None, "the error of `set` to nothing");
    check_eq!(probe.entries(fields)?, pairs(&[("b", "2")]), "after `set` to nothing");
    Ok(())
}

fn syntax(context: &Context) -> CaseResult {
    let mut probe = probe(context)?;
    let fields = probe.fields(&[])?;
    for (name, value) in
        [("", "v"), ("a b", "v"), ("a\n", "v"), ("\u{e9}", "v"), ("a", "v\n"), ("a", "v\r\nb: c"), ("a", "\0")]
    {
        check_eq!(probe.append(fields, name, value)?, INVALID_SYNTAX, "the error of {name:?}: {value:?}");
    }
    let [ptr, len] = probe.bytes("a b")?;
    check_eq!(probe.changes("[method]fields.delete", &[fields, ptr, len])?, INVALID_SYNTAX, "the error of `delete`");
    check_eq!(probe.entries(fields)?, [], "the entries");
    Ok(())
}

const HOPS: [&str; 9] = [
    "Connection",
    "Keep-Alive",
    "Proxy-Authenticate",
    "Proxy-Authorization",
    "Proxy-Connection",
    "Transfer-Encoding",
    "Upgrade",
    "HTTP2-Settings",
    "Host",
];

fn forbidden(context: &Context) -> CaseResult {
    let mut probe = probe(context)?;
    let fields = probe.fields(&[])?;
    for name in HOPS {
        check_eq!(probe.append(fields, name, "v")?, FORBIDDEN, "the error of {name}");
        check_eq!(
            set_values(&mut probe, fields, &name.to_lowercase(), &["v"])?,
            FORBIDDEN,
            "the error of setting {name}"
        );
    }
    Ok(())
}

/// A request's headers are immutable once it has them.
fn frozen(probe: &mut Wasi02) -> CaseResult<(u64, u64)> {
    let fields = probe.fields(&[("a", "1")])?;
    let request = probe.call("[constructor]outgoing-request", &[fields])?;
    Ok((request, probe.call("[method]outgoing-request.headers", &[request])?))
}

fn immutable(context: &Context) -> CaseResult {
    let mut probe = probe(context)?;
    let (request, headers) = frozen(&mut probe)?;
    check_eq!(probe.append(headers, "b", "2")?, IMMUTABLE, "the error of `append`");
    check_eq!(set_values(&mut probe, headers, "a", &["2"])?, IMMUTABLE, "the error of `set`");
    let [ptr, len] = probe.bytes("a")?;
    check_eq!(probe.changes("[method]fields.delete", &[headers, ptr, len])?, IMMUTABLE, "the error of `delete`");
    check_eq!(probe.entries(headers)?, pairs(&[("a", "1")]), "the entries");
    probe.traps("[resource-drop]outgoing-request", &[request], "child")
}

fn errors_in_order(context: &Context) -> CaseResult {
    let mut probe = probe(context)?;
    let (_, headers) = frozen(&mut probe)?;
    for (name, value, error) in
        [("a b", "v", INVALID_SYNTAX), ("Host", "v\n", INVALID_SYNTAX), ("Host", "v", FORBIDDEN), ("a", "v", IMMUTABLE)]
    {
        check_eq!(probe.append(headers, name, value)?, error, "the error of {name:?}: {value:?} on immutable fields");
    }
    Ok(())
}

fn clone(context: &Context) -> CaseResult {
    let mut probe = probe(context)?;
    let (_, headers) = frozen(&mut probe)?;
    let clone = probe.call("[method]fields.clone", &[headers])?;
    check_eq!(probe.append(clone, "b", "2")?, None, "the error of `append` to the clone");
    check_eq!(probe.entries(clone)?, pairs(&[("a", "1"), ("b", "2")]), "the clone");
    check_eq!(probe.entries(headers)?, pairs(&[("a", "1")]), "the original");
    Ok(())
}

fn from_list(context: &Context) -> CaseResult {
    let mut probe = probe(context)?;
    for (name, value, error) in
        [("A", "1", None), ("a b", "1", INVALID_SYNTAX), ("a", "\n", INVALID_SYNTAX), ("upgrade", "1", FORBIDDEN)]
    {
        let mut list = Vec::new();
        for part in [name, value] {
            for word in probe.bytes(part)? {
                list.extend((word as u32).to_le_bytes());
            }
        }
        let [list, _] = probe.bytes(list)?;
        let failed = probe.case("[static]fields.from-list", &[list, 1])? != 0;
        check_eq!(failed.then_some(probe.byte(4)?), error, "the error of {name:?}: {value:?}");
        if !failed {
            let fields = probe.word(4)?.into();
            check_eq!(probe.entries(fields)?, pairs(&[(name, value)]), "the entries");
        }
    }
    Ok(())
}

fn bytes(context: &Context) -> CaseResult {
    let mut probe = probe(context)?;
    let fields = probe.fields(&[])?;
    let ([name, name_len], [value, value_len]) = (probe.bytes("a")?, probe.bytes([0xff, 0x80, b'\t'])?);
    let answer = probe.changes("[method]fields.append", &[fields, name, name_len, value, value_len])?;
    check_eq!(answer, None, "the error of a value that is not UTF-8");
    probe.case("[method]fields.entries", &[fields])?;
    let list = probe.probe.u32_at(RET)?;
    check_eq!(probe.string_at(list + 8)?, [0xff, 0x80, b'\t'], "the value");
    Ok(())
}
