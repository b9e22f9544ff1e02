//! What a guest may take and be: one budget for all its memories and tables, and functions of a bounded size.

use wharf_core::{Guest, GuestConfig, Kind, LoadOptions, Session, TotalMemory};

use crate::bare::assemble;
use crate::case::{Case, CaseResult, Unmet};
use crate::cases::needs::MULTI_MEMORY;
use crate::context::Context;
use crate::{check, check_eq};

const MEMORY: &str = "LoadOptions::max_memory";

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("guest/limit/memories-share-one-budget", MEMORY, memories).needs(&[MULTI_MEMORY]),
    Case::must("guest/limit/memories-start-above-it-together", MEMORY, start_above).needs(&[MULTI_MEMORY]),
    Case::must("guest/limit/many-tables", MEMORY, tables),
    Case::must("guest/limit/growth-is-charged-and-given-back", MEMORY, growth),
    Case::must("guest/limit/total-of-all-instances", "LoadOptions::total_memory", total),
    Case::must("guest/limit/share-of-the-total", "TotalMemory::shared", share),
    Case::must("guest/limit/function-too-large", "LoadOptions::max_function_bytes", function),
    Case::must("guest/limit/export-with-the-empty-name-is-run", "Guest::run", empty_name),
];

const PAGE: u64 = 65_536;
const NO: u64 = 0xffff_ffff;

fn load(context: &Context, text: &str, options: &LoadOptions) -> CaseResult<wharf_core::Result<Guest>> {
    Ok(Guest::load(&**context.backend(), &assemble(text)?, options))
}

fn within(pages: u64) -> LoadOptions {
    LoadOptions { max_memory: pages * PAGE, ..LoadOptions::default() }
}

fn start(context: &Context, text: &str, options: &LoadOptions) -> CaseResult<Session> {
    Ok(load(context, text, options)??.start(GuestConfig::default())?)
}

fn call(session: &mut Session, name: &str, argument: u64) -> CaseResult<u64> {
    Ok(session.call(name, &[argument])?.first().copied().unwrap_or_default())
}

/// Refused at its limit, with these words.
fn limited(loaded: wharf_core::Result<Guest>, words: &str) -> CaseResult {
    match loaded.map(drop) {
        Err(error) if error.kind() == Kind::Limit && error.to_string().contains(words) => Ok(()),
        other => Err(Unmet::failed(format!("expected an error of kind Limit about {words}, saw {other:?}"))),
    }
}

const TWO: &str = r#"(module (memory $a 1) (memory $b 1)
    (func (export "a") (param i32) (result i32) (memory.grow $a (local.get 0)))
    (func (export "b") (param i32) (result i32) (memory.grow $b (local.get 0))))"#;

fn memories(context: &Context) -> CaseResult {
    let mut session = start(context, TWO, &within(10))?;
    check_eq!(call(&mut session, "a", 7)?, 1, "the first memory grows by seven of the eight pages that are left");
    check_eq!(call(&mut session, "b", 2)?, NO, "the second by two more");
    check_eq!(call(&mut session, "b", 1)?, 1, "the second by one");
    check_eq!(call(&mut session, "a", 1)?, NO, "nothing is left");
    check_eq!(call(&mut session, "a", 0)?, 8, "the size of the first");
    Ok(())
}

fn start_above(context: &Context) -> CaseResult {
    limited(load(context, "(module (memory 3) (memory 3))", &within(5))?, "max-memory")?;
    load(context, "(module (memory 3) (memory 3))", &within(6))??;
    Ok(())
}

/// A hundred tables are as many as a module may have.
fn tables(context: &Context) -> CaseResult {
    let tables: String = (0..90).map(|at| format!("(table $t{at} 1 funcref)")).collect();
    let grow = (0..90).map(|at| {
        let one = format!("(table.grow $t{at} (ref.null func) (local.get 0))");
        format!("(local.set 1 (i32.add (local.get 1) (i32.ne (i32.const -1) {one})))")
    });
    let text = format!(
        "(module {tables} (func (export \"grow\") (param i32) (result i32) (local i32) {} (local.get 1)))",
        grow.collect::<String>()
    );
    let mut session = start(context, &text, &within(64))?;
    let grown = call(&mut session, "grow", 100_000)?;
    // An element takes 8 bytes on one engine, 16 on another, and is charged the same on all.
    check_eq!(grown, 2, "how many tables grew by 100,000 elements of 16 bytes within 4 MiB");
    check!(session.budget().used() <= 64 * PAGE, "{} bytes are charged", session.budget().used());
    Ok(())
}

const ONE: &str = r#"(module (memory (export "memory") 1 20)
    (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0))))"#;

fn growth(context: &Context) -> CaseResult {
    let mut session = start(context, ONE, &within(10))?;
    let budget = session.budget().clone();
    check_eq!(budget.used(), PAGE, "what is charged at first");
    check_eq!(call(&mut session, "grow", 10)?, NO, "growing beyond the limit");
    check_eq!(call(&mut session, "grow", 4)?, 1, "growing within it");
    check_eq!(session.memory().map(|memory| memory.len() as u64), Some(5 * PAGE), "the memory's size");
    check_eq!(budget.used(), 5 * PAGE, "what is charged then");
    drop(session);
    check_eq!(budget.used(), 0, "what is charged once the instance is gone");
    Ok(())
}

fn total(context: &Context) -> CaseResult {
    let total = TotalMemory::new(64 * PAGE);
    let options = LoadOptions { total_memory: Some(total.clone()), ..within(60) };
    let guest = load(context, ONE, &options)??;
    let mut first = guest.start(GuestConfig::default())?;
    check_eq!(call(&mut first, "grow", 19)?, 1, "the first instance grows");
    let large = load(context, "(module (memory 50))", &options)??;
    match large.start(GuestConfig::default()).map(drop) {
        Err(wharf_core::Stop::Error(error)) if wharf_core::chain(&error).contains("max-total-memory") => {}
        other => return Err(Unmet::failed(format!("another instance beyond the total: {other:?}"))),
    }
    drop(first);
    check_eq!(total.used(), 0, "what is taken once the instance is gone");
    large.start(GuestConfig::default())?;
    Ok(())
}

/// What was compiled to take more is bounded when it runs.
fn share(context: &Context) -> CaseResult {
    let options = LoadOptions { total_memory: Some(TotalMemory::shared(64 * PAGE, 8 * PAGE)), ..within(60) };
    let guest = load(context, ONE, &options)??;
    for _ in 0..2 {
        let mut session = guest.start(GuestConfig::default())?;
        check_eq!(call(&mut session, "grow", 8)?, NO, "growing beyond its share");
        check_eq!(call(&mut session, "grow", 7)?, 1, "growing within it");
    }
    match load(context, "(module (memory 9))", &options)??.start(GuestConfig::default()).map(drop) {
        Err(wharf_core::Stop::Error(error)) if wharf_core::chain(&error).contains("`max-memory`") => Ok(()),
        other => Err(Unmet::failed(format!("an instance that begins beyond its share: {other:?}"))),
    }
}

fn function(context: &Context) -> CaseResult {
    let body = "(nop)".repeat(5000);
    let text = format!(
        "(module (import \"wasi_snapshot_preview1\" \"sched_yield\" (func (result i32))) (memory (export \"memory\") 1) (func) (func {body}))"
    );
    let options = |max_function_bytes| LoadOptions { max_function_bytes, ..LoadOptions::default() };
    limited(load(context, &text, &options(4000))?, "function 2 of the module has 5002 bytes")?;
    load(context, &text, &options(5002))??;
    Ok(())
}

fn empty_name(context: &Context) -> CaseResult {
    let text = r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (memory (export "memory") 1) (func (export "") (call $exit (i32.const 7))))"#;
    let guest = load(context, text, &LoadOptions::default())??;
    check_eq!(guest.run(GuestConfig::default(), None)?, 7, "the exit code of the function with the empty name");
    check_eq!(guest.run(GuestConfig::default(), Some(""))?, 7, "the same, when it is named");
    Ok(())
}
