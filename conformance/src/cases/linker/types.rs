//! Types of every kind: what a guest passes arrives, and what it gets back is the same, byte for byte where no pointer is.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use wharf_core::{GuestConfig, Kind, Linker, Result};

use super::probe::{ARGS, Probe, RET, STORE, Text};
use crate::case::{Case, CaseResult, Unmet};
use crate::context::Context;
use crate::{check, check_eq};

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("linker/types/numbers-in-memory", "CanonicalABI.md: load, store", numbers),
    Case::must("linker/types/numbers-by-themselves", "CanonicalABI.md: lift_flat, lower_flat", flat_numbers),
    Case::must("linker/types/strings-and-lists", "CanonicalABI.md: load_list, store_list", lists),
    Case::must("linker/types/variants", "CanonicalABI.md: lift_flat_variant", variants),
    Case::must("linker/types/flags", "CanonicalABI.md: flags", flags),
    Case::must("linker/types/many-parameters", "CanonicalABI.md: MAX_FLAT_PARAMS", many),
];

wharf_core::record! {
    #[derive(Debug, Clone, PartialEq)]
    struct Numbers {
        yes: bool,
        s8: i8,
        u8: u8,
        s16: i16,
        u16: u16,
        s32: i32,
        u32: u32,
        s64: i64,
        u64: u64,
        f32: f32,
        f64: f64,
        letter: char,
    }
}

const NUMBERS: &str = r#"(type $t (record (field "yes" bool) (field "s8" s8) (field "u8" u8) (field "s16" s16)
    (field "u16" u16) (field "s32" s32) (field "u32" u32) (field "s64" s64) (field "u64" u64) (field "f32" f32)
    (field "f64" f64) (field "letter" char)))
    (export "numbers" (type $numbers (eq $t)))"#;

/// What arrived, the last first.
type Seen<T> = Arc<Mutex<Vec<T>>>;

/// A linker whose function `echo` returns what it got, and what it got.
macro_rules! echo {
    ($ty:ty) => {{
        let (mut linker, seen) = (Linker::new(), Seen::<$ty>::default());
        let keeps = seen.clone();
        linker.func(STORE, "echo", move |_, (value,): ($ty,)| -> Result<$ty, String> {
            keeps.lock().map_err(|error| error.to_string())?.insert(0, value.clone());
            Ok(value)
        })?;
        (linker, seen)
    }};
}

fn last<T: Clone>(seen: &Seen<T>) -> CaseResult<T> {
    seen.lock().map_err(Unmet::harness)?.first().cloned().ok_or_else(|| Unmet::failed("nothing arrived"))
}

fn numbers(context: &Context) -> CaseResult {
    let (linker, seen) = echo!(Vec<Numbers>);
    let ty = r#"(param "n" (list $numbers)) (result (list $numbers))"#;
    let text = Text::new().ty(NUMBERS).func("echo", ty, "i32 i32 i32", "");
    let mut probe = Probe::start(context, &text, &linker, GuestConfig::default())?;
    let one = Numbers {
        yes: true,
        s8: -1,
        u8: 0xfe,
        s16: -2,
        u16: 0xfffd,
        s32: i32::MIN,
        u32: u32::MAX,
        s64: i64::MIN,
        u64: u64::MAX - 1,
        f32: -0.0,
        f64: 1e300,
        letter: '\u{10ffff}',
    };
    let bytes = |n: &Numbers| {
        let mut bytes = vec![u8::from(n.yes), n.s8 as u8, n.u8, 0];
        bytes.extend(n.s16.to_le_bytes());
        bytes.extend(n.u16.to_le_bytes());
        bytes.extend(n.s32.to_le_bytes());
        bytes.extend(n.u32.to_le_bytes());
        bytes.extend(n.s64.to_le_bytes());
        bytes.extend(n.u64.to_le_bytes());
        bytes.extend(n.f32.to_le_bytes());
        bytes.extend([0; 4]);
        bytes.extend(n.f64.to_le_bytes());
        bytes.extend(u32::from(n.letter).to_le_bytes());
        bytes.extend([0; 4]);
        bytes
    };
    let other = Numbers { yes: false, s8: 0x7f, letter: 'ß', f64: -0.5, ..one.clone() };
    let list = [bytes(&one), bytes(&other)].concat();
    let [ptr, len] = probe.put(ARGS, &list)?;
    check_eq!(len, 2 * 56, "the size of the records");
    probe.call("echo", &[ptr, 2, RET.into()])?;
    check_eq!(last(&seen)?, [one, other], "what arrived");
    check_eq!(probe.word(RET + 4)?, 2, "how many came back");
    let at = probe.word(RET)?;
    check_eq!(probe.get(at, list.len() as u32)?, list, "what came back");
    Ok(())
}

/// As core values: what lies above a small number's bits is not part of it, and what comes back is extended by its sign.
fn flat_numbers(context: &Context) -> CaseResult {
    let mut linker = Linker::new();
    linker.func(STORE, "s8", |_, (n,): (i8,)| -> Result<i8> { Ok(n) })?;
    linker.func(STORE, "u8", |_, (n,): (u8,)| -> Result<u8> { Ok(n) })?;
    linker.func(STORE, "s16", |_, (n,): (i16,)| -> Result<i16> { Ok(n) })?;
    linker.func(STORE, "u16", |_, (n,): (u16,)| -> Result<u16> { Ok(n) })?;
    linker.func(STORE, "s64", |_, (n,): (i64,)| -> Result<i64> { Ok(n.wrapping_neg()) })?;
    linker.func(STORE, "f32", |_, (n,): (f32,)| -> Result<f32> { Ok(n * 2.0) })?;
    linker.func(STORE, "f64", |_, (n,): (f64,)| -> Result<f64> { Ok(n * 2.0) })?;
    linker.func(STORE, "bool", |_, (n,): (bool,)| -> Result<bool> { Ok(n) })?;
    linker.func(STORE, "char", |_, (n,): (char,)| -> Result<char> { Ok(n) })?;
    let mut text = Text::new();
    for (ty, core) in [
        ("s8", "i32"),
        ("u8", "i32"),
        ("s16", "i32"),
        ("u16", "i32"),
        ("s64", "i64"),
        ("f32", "f32"),
        ("f64", "f64"),
        ("bool", "i32"),
        ("char", "i32"),
    ] {
        text = text.func(ty, &format!("(param \"n\" {ty}) (result {ty})"), core, core);
    }
    let start = || Probe::start(context, &text, &linker, GuestConfig::default());
    let mut probe = start()?;
    for (function, given, expected) in [
        ("s8", 0x1ff, 0xffff_ffff),
        ("s8", 0xf7f, 0x7f),
        ("u8", 0x1ff, 0xff),
        ("s16", 0x1_8000, 0xffff_8000),
        ("u16", 0x1_8000, 0x8000),
        ("s64", 1, u64::MAX),
        ("f32", 1.5_f32.to_bits().into(), 3.0_f32.to_bits().into()),
        ("f64", (-1.5_f64).to_bits(), (-3.0_f64).to_bits()),
        ("bool", 2, 1),
        ("bool", 0, 0),
        ("char", 0x1f600, 0x1f600),
    ] {
        check_eq!(probe.call(function, &[given])?, expected, "{function} of {given:#x}");
    }
    for wrong in [0xd800, 0xdfff, 0x11_0000, 0xffff_ffff] {
        start()?.ends("char", &[wrong], Kind::Trap, &["my:kv/store@1.0.0#char", "is not a valid `char`"])?;
    }
    Ok(())
}

fn lists(context: &Context) -> CaseResult {
    type Value = (Vec<String>, Bytes, Vec<u64>, Vec<(u8, String)>);
    let (linker, seen) = echo!(Value);
    let ty = "(tuple (list string) (list u8) (list u64) (list (tuple u8 string)))";
    let ty = format!("(param \"v\" {ty}) (result {ty})");
    let text = Text::new().func("echo", &ty, "i32 i32 i32 i32 i32 i32 i32 i32 i32", "");
    let mut probe = Probe::start(context, &text, &linker, GuestConfig::default())?;
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    probe.put(0x2000, "aß€".as_bytes())?;
    probe.put(ARGS, &words(&[0x2000, 6, 0x2000, 0, 0x2000, 1]))?;
    probe.put(0x1100, &[&7_u64.to_le_bytes()[..], &u64::MAX.to_le_bytes()].concat())?;
    probe.put(0x1200, &words(&[9, 0x2001, 2]))?;
    probe.call("echo", &[ARGS.into(), 3, 0x2003, 3, 0x1100, 2, 0x1200, 1, RET.into()])?;
    let expected: Value = (
        vec!["aß€".to_owned(), String::new(), "a".to_owned()],
        Bytes::from_static("€".as_bytes()),
        vec![7, u64::MAX],
        vec![(9, "ß".to_owned())],
    );
    check_eq!(last(&seen)?, expected, "what arrived");
    let strings = probe.word(RET)?;
    check_eq!(probe.word(RET + 4)?, 3, "how many strings came back");
    for (at, string) in (strings..).step_by(8).zip(&expected.0) {
        check_eq!(probe.bytes_at(at)?, string.as_bytes(), "a string");
    }
    check_eq!(probe.bytes_at(RET + 8)?, expected.1, "the bytes");
    let (numbers, pairs) = (probe.word(RET + 16)?, probe.word(RET + 24)?);
    check_eq!(probe.get(numbers, 16)?, probe.get(0x1100, 16)?, "the numbers");
    check_eq!((probe.get(pairs, 1)?, probe.bytes_at(pairs + 4)?), (vec![9], "ß".as_bytes().to_vec()), "the pair");
    // Lists of what has an alignment have to have it.
    probe.ends(
        "echo",
        &[ARGS.into(), 0, 0, 0, 0x1101, 1, 0, 0, RET.into()],
        Kind::Trap,
        &["a list is not aligned to 8"],
    )?;
    Ok(())
}

wharf_core::variant! {
    #[derive(Debug, Clone, PartialEq)]
    enum Shape as "shape" { Dot, Circle(radius: f32), Named(name: String), Pair(pair: (u8, u64)) }
}

wharf_core::variant! {
    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Colour as "colour" { Red, DarkGreen, Blue }
}

type Shapes = (Shape, Colour, Option<u16>, Result<u8, String>);

/// Each case of each kind, passed as core values that all cases share, and written to memory.
fn variants(context: &Context) -> CaseResult {
    let (linker, seen) = echo!(Shapes);
    let types = r#"(type $s (variant (case "dot") (case "circle" f32) (case "named" string) (case "pair" (tuple u8 u64))))
        (export "shape" (type $shape (eq $s)))
        (type $c (enum "red" "dark-green" "blue"))
        (export "colour" (type $colour (eq $c)))"#;
    let ty = "(tuple $shape $colour (option u16) (result u8 (error string)))";
    let ty = format!("(param \"v\" {ty}) (result {ty})");
    // The payloads of a shape: f32, i32 and i32 are an i32; i32 and i64 are an i64.
    let text = Text::new().ty(types).func("echo", &ty, "i32 i32 i64 i32 i32 i32 i32 i32 i32 i32", "");
    let start = || Probe::start(context, &text, &linker, GuestConfig::default());
    let mut probe = start()?;
    probe.put(ARGS, b"name")?;
    let (at, ret) = (u64::from(ARGS), u64::from(RET));
    let circle = 2.5_f32.to_bits();
    for (args, expected, written) in [
        ([0, 9, 9, 0, 0, 9, 0, 5, 9, ret], (Shape::Dot, Colour::Red, None, Ok(5)), vec![(0, 0), (24, 0), (26, 0)]),
        (
            [1, circle.into(), 0, 1, 1, 0x1_0007, 1, at, 2, ret],
            (Shape::Circle(2.5), Colour::DarkGreen, Some(7), Err("na".to_owned())),
            vec![(0, 1), (24, 1), (26, 1), (28, 7), (32, 1)],
        ),
        (
            [2, at, 4, 2, 1, 0xffff, 0, 0xff, 0, ret],
            (Shape::Named("name".to_owned()), Colour::Blue, Some(u16::MAX), Ok(255)),
            vec![(0, 2), (12, 4), (24, 2), (28, 255), (29, 255), (32, 0), (36, 255)],
        ),
        (
            [3, 0x107, 1 << 40, 0, 0, 0, 0, 0, 0, ret],
            (Shape::Pair((7, 1 << 40)), Colour::Red, None, Ok(0)),
            vec![(0, 3), (8, 7), (21, 1)],
        ),
    ] {
        probe.put(RET, &[0; 48])?;
        probe.call("echo", &args)?;
        check_eq!(last(&seen)?, expected, "what arrived");
        let back = probe.get(RET, 48)?;
        for (at, byte) in written {
            check_eq!(back[at], byte, "byte {at} of what came back of {expected:?}: {back:?}");
        }
    }
    check_eq!(probe.get(RET + 8, 1)?, [7], "the last payload");
    for (at, wrong, what) in [
        (0, 4, "`shape` has no case 4"),
        (3, 3, "`colour` has no case 3"),
        (4, 2, "`option` has no case 2"),
        (6, 0xffff_ffff, "`result` has no case"),
    ] {
        let mut args = [0, 0, 0, 0, 0, 0, 0, 0, 0, ret];
        args[at] = wrong;
        start()?.ends("echo", &args, Kind::Trap, &[what])?;
    }
    Ok(())
}

wharf_core::flags! { struct Access { READ, WRITE, LIST_KEYS } }
wharf_core::flags! { struct Nine { A, B, C, D, E, F, G, H, I } }
wharf_core::flags! {
    struct Most {
        F0, F1, F2, F3, F4, F5, F6, F7, F8, F9, F10, F11, F12, F13, F14, F15,
        F16, F17, F18, F19, F20, F21, F22, F23, F24, F25, F26, F27, F28, F29, F30, F31,
    }
}

fn flags(context: &Context) -> CaseResult {
    type Value = (Access, Nine, Most);
    let (linker, seen) = echo!(Value);
    let most: String = (0..32).map(|bit| format!("\"f{bit}\" ")).collect();
    let types = format!(
        r#"(type $a (flags "read" "write" "list-keys")) (export "access" (type $access (eq $a)))
        (type $n (flags "a" "b" "c" "d" "e" "f" "g" "h" "i")) (export "nine" (type $nine (eq $n)))
        (type $m (flags {most})) (export "most" (type $most (eq $m)))"#
    );
    let ty = r#"(param "v" (tuple $access $nine $most)) (result (tuple $access $nine $most))"#;
    let text = Text::new().ty(&types).func("echo", ty, "i32 i32 i32 i32", "");
    let mut probe = Probe::start(context, &text, &linker, GuestConfig::default())?;
    // Bits that stand for no flag are not there.
    probe.call("echo", &[0xfffd, 0xffff_ff00, 0x8000_0001, RET.into()])?;
    let (access, nine, most) = last(&seen)?;
    check!(access == Access::READ | Access::LIST_KEYS && !access.has(Access::WRITE), "the few are {access:?}");
    check!(nine == Nine::I, "the nine are {nine:?}");
    check!(most == Most::F0 | Most::F31 && most.has(Most::NONE), "the many are {most:?}");
    check_eq!(probe.get(RET, 8)?, [5, 0, 0, 1, 1, 0, 0, 0x80], "what came back");
    Ok(())
}

/// More than are passed as core values lie in memory, and so does the result.
fn many(context: &Context) -> CaseResult {
    let mut linker = Linker::new();
    linker.func(STORE, "join", |_, (a, b, c, n): (String, Numbers, String, (u8, u64))| -> Result<(String, u64)> {
        Ok((format!("{a}{}{c}", b.letter), n.1 + u64::from(n.0) + u64::from(b.u8)))
    })?;
    let ty = r#"(param "a" string) (param "b" $numbers) (param "c" string) (param "n" (tuple u8 u64))
        (result (tuple string u64))"#;
    let text = Text::new().ty(NUMBERS).func("join", ty, "i32 i32", "");
    let start = || Probe::start(context, &text, &linker, GuestConfig::default());
    let mut probe = start()?;
    probe.put(0x2000, "début fin".as_bytes())?;
    let mut params = vec![0; 88];
    for (at, word) in [(0, 0x2000_u32), (4, 6), (56, 'é' as u32), (64, 0x2007), (68, 3), (72, 200)] {
        params[at..at + 4].copy_from_slice(&word.to_le_bytes());
    }
    params[10] = 55;
    params[80..].copy_from_slice(&1000_u64.to_le_bytes());
    let [ptr, _] = probe.put(ARGS, &params)?;
    probe.call("join", &[ptr, RET.into()])?;
    check_eq!(String::from_utf8_lossy(&probe.bytes_at(RET)?), "débutéfin", "the string");
    check_eq!(probe.get(RET + 8, 8)?, 1255_u64.to_le_bytes(), "the sum");
    for (ptr, rule) in [
        (0x1004, "for the parameters is not aligned to 8"),
        (2 * 65536 - 80, "for the parameters are not within the guest's memory"),
        (0xffff_fff8, "for the parameters are not within the guest's memory"),
    ] {
        start()?.ends("join", &[ptr, RET.into()], Kind::Trap, &["#join", rule])?;
    }
    Ok(())
}
