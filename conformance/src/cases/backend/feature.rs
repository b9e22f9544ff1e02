//! The portable feature set, WebAssembly 2.0: what core promises a guest on every engine, and what it refuses.

use wharf_core::{Kind, LoadOptions, Prepared, TrapCode};

use crate::bare::{assemble, no_host};
use crate::case::{Case, CaseResult, Unmet};
use crate::cases::needs::MULTI_MEMORY;
use crate::check_eq;
use crate::context::Context;

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("backend/feature/sign-extension", "WebAssembly 2.0: sign extension", sign_extension),
    Case::must("backend/feature/saturating-conversion", "WebAssembly 2.0: saturating conversion", saturating),
    Case::must("backend/feature/bulk-memory", "WebAssembly 2.0: bulk memory", bulk_memory),
    Case::must("backend/feature/block-parameters", "WebAssembly 2.0: multi-value", block_parameters),
    Case::must("backend/feature/reference-types", "WebAssembly 2.0: reference types", reference_types),
    Case::must("backend/feature/vectors", "WebAssembly 2.0: vectors", vectors),
    Case::must("backend/feature/big-module", "backend interface: Backend::compile", big_module),
    Case::must("backend/feature/threads-refused", "the portable set: WebAssembly 2.0", |_| {
        refused("(module (memory 1 1 shared))")
    }),
    Case::must("backend/feature/memory64-refused", "the portable set: WebAssembly 2.0", |_| {
        refused("(module (memory i64 1))")
    }),
    Case::must("backend/feature/two-memories", "WebAssembly 3.0: multiple memories", two_memories)
        .needs(&[MULTI_MEMORY]),
    Case::must("backend/feature/imported-memory-refused", "a guest imports functions only", |_| {
        refused(r#"(module (import "env" "memory" (memory 1)))"#)
    }),
];

fn sign_extension(context: &Context) -> CaseResult {
    let wat = r#"(module (func (export "go") (param i32) (result i32) (i32.extend8_s (local.get 0))))"#;
    check_eq!(context.live(wat)?.call1("go", &[0x80])?, 0xffff_ff80, "0x80 extended from eight bits");
    Ok(())
}

fn saturating(context: &Context) -> CaseResult {
    let wat = r#"(module (func (export "go") (param f64) (result i32) (i32.trunc_sat_f64_s (local.get 0))))"#;
    let mut live = context.live(wat)?;
    for (float, right) in [(f64::NAN, 0), (1e30, 0x7fff_ffff), (-1e30, 0x8000_0000), (-1.5, 0xffff_ffff)] {
        check_eq!(live.call1("go", &[float.to_bits()])?, right, "{float} converted");
    }
    Ok(())
}

fn bulk_memory(context: &Context) -> CaseResult {
    let mut live = context.live(
        r#"(module (memory (export "memory") 1) (data $d "hello")
             (func (export "go")
               (memory.init $d (i32.const 0) (i32.const 0) (i32.const 5)) (data.drop $d)
               (memory.copy (i32.const 2) (i32.const 0) (i32.const 5))
               (memory.fill (i32.const 7) (i32.const 0x21) (i32.const 2))))"#,
    )?;
    live.call("go", &[], 0)?;
    check_eq!(&live.memory()?[..10], b"hehello!!\0", "memory after init, copy over itself, and fill");
    Ok(())
}

fn block_parameters(context: &Context) -> CaseResult {
    let wat = r#"(module (func (export "go") (param i32) (result i32)
        (i32.const 3) (local.get 0)
        (block (param i32 i32) (result i32 i32) (i32.const 1) (i32.add))
        (i32.mul)))"#;
    check_eq!(context.live(wat)?.call1("go", &[4])?, 15, "a block with two parameters and two results");
    Ok(())
}

fn reference_types(context: &Context) -> CaseResult {
    let wat = r#"(module (type $t (func (result i32)))
        (table $a 2 funcref) (table $b 2 funcref) (elem declare func $f) (func $f (result i32) (i32.const 9))
        (func (export "go") (result i32 i32)
          (table.set $b (i32.const 1) (ref.func $f))
          (call_indirect $b (type $t) (i32.const 1)) (ref.is_null (table.get $a (i32.const 1)))))"#;
    check_eq!(context.live(wat)?.call("go", &[], 2)?, [9, 1], "a function reference set in a second table");
    Ok(())
}

fn vectors(context: &Context) -> CaseResult {
    let wat = r#"(module (func (export "go") (param i32) (result i32)
        (i32x4.extract_lane 2 (i32x4.mul (i32x4.splat (local.get 0)) (v128.const i32x4 1 2 3 4)))))"#;
    check_eq!(context.live(wat)?.call1("go", &[14])?, 42, "the third lane of a product");
    Ok(())
}

fn big_module(context: &Context) -> CaseResult {
    let mut wat = String::from("(module (func $f0 (param i32) (result i32) (local.get 0))");
    for index in 1..=3000 {
        let before = index - 1;
        wat.push_str(&format!(
            "(func $f{index} (param i32) (result i32) (i32.add (i32.const 1) (local.get 0)) drop \
             (i32.add (i32.const {index}) (local.get 0)) (i32.const {before}) i32.sub)"
        ));
    }
    wat.push_str(r#"(func (export "go") (param i32) (result i32) (call $f3000 (call $f1 (local.get 0)))))"#);
    check_eq!(context.live(&wat)?.call1("go", &[40])?, 42, "two of three thousand functions");
    Ok(())
}

/// A module of one copies from it to the other; the host finds each by the name it is exported under.
fn two_memories(context: &Context) -> CaseResult {
    let mut live = context.live(
        r#"(module (memory $a (export "memory") 1 1) (memory $b (export "second") 2 2)
             (data (memory $a) (i32.const 8) "first") (data (memory $b) (i32.const 65536) "second")
             (func (export "go") (result i32 i32)
               (memory.copy $b $a (i32.const 0x10008) (i32.const 8) (i32.const 5))
               (i32.store8 $a (i32.const 8) (i32.const 0x21))
               (memory.size $a) (memory.size $b))
             (func (export "beyond") (drop (i32.load8_u $a (i32.const 0x10000)))))"#,
    )?;
    check_eq!(live.call("go", &[], 2)?, [1, 2], "the pages of both");
    check_eq!(&live.memory()?[8..13], b"!irst", "the first memory");
    let none = || Unmet::failed("the instance exports `second`, and the backend finds none");
    let second = live.instance.memory_named("second").ok_or_else(none)?;
    check_eq!(&second[0x10000..0x1000d], b"second\0\0first", "the second memory");
    live.traps("beyond", &[], TrapCode::MemoryOutOfBounds)?;
    // A guest may have them as well; no memory grows beyond the limit, and what they take together is its budget's to say.
    let text = "(module (memory 1) (memory 1))";
    context.guest(text)?;
    let options = LoadOptions { max_memory: 2 << 16, ..LoadOptions::default() };
    let unbounded = r#"(module (memory (export "memory") 1) (memory $b 1)
        (func (export "go") (result i32 i32) (memory.grow (i32.const 2)) (memory.grow $b (i32.const 2))))"#;
    let mut live = context.compile_with(unbounded, &options)?.instantiate(no_host())?;
    check_eq!(live.call("go", &[], 2)?, [0xffff_ffff; 2], "the answers of growing beyond the limit");
    Ok(())
}

fn refused(wat: &str) -> CaseResult {
    match Prepared::new(&assemble(wat)?, &LoadOptions::default()) {
        Err(error) if error.kind() == Kind::Unsupported => Ok(()),
        Err(error) => Err(Unmet::failed(format!("expected kind Unsupported, saw {:?}: {error}", error.kind()))),
        Ok(_) => Err(Unmet::failed("a module outside the portable set was accepted")),
    }
}
