//! Resources of the embedder's: their handles, and what becomes of the values behind them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use wharf_core::linker::{Borrow, Own};
use wharf_core::{GuestConfig, Kind, Linker, LoadOptions, Result};

use super::probe::{Probe, STORE, Text, flat};
use crate::bare::assemble;
use crate::case::{Case, CaseResult};
use crate::context::Context;
use crate::{check, check_eq};

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("linker/resource/own-borrow-drop", "linker: resource", life),
    Case::must("linker/resource/given-away", "linker: resource", given_away),
    Case::must("linker/resource/dropped-with-the-guest", "linker: resource", ends),
    Case::must("linker/resource/forged-handles", "CanonicalABI.md: lift_borrow", forged),
    Case::must("linker/resource/of-another-type", "CanonicalABI.md: lift_borrow", other_type),
    Case::must("linker/resource/handles-count", "core: bytes kept for handles", budget),
    Case::must("linker/resource/open-ones-keep-an-instance-from-reuse", "Session::recycle", reuse),
    Case::must("linker/resource/between-components", "CanonicalABI.md: lift_borrow, lower_borrow", composed),
];

/// The resource: so many bytes, counted while they are there.
struct Bucket {
    size: u32,
    open: Arc<AtomicU32>,
}

impl Drop for Bucket {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Another one.
struct Key;

/// Buckets, and how many there are.
fn buckets() -> CaseResult<(Linker, Arc<AtomicU32>)> {
    let (mut linker, open) = (Linker::new(), Arc::new(AtomicU32::new(0)));
    linker.resource::<Bucket>(STORE, "bucket")?;
    let counter = open.clone();
    linker.func(STORE, "[constructor]bucket", move |_, (size,): (u32,)| -> Result<Own<Bucket>> {
        counter.fetch_add(1, Ordering::Relaxed);
        Ok(Own::new(Bucket { size, open: counter.clone() }))
    })?;
    linker.func(STORE, "[method]bucket.size", |_, (this,): (Borrow<Bucket>,)| -> Result<u32> { Ok(this.size) })?;
    linker.func(STORE, "[static]bucket.sum", |_, (all,): (Vec<Own<Bucket>>,)| -> Result<u32> {
        Ok(all.iter().map(|bucket| bucket.size).sum())
    })?;
    linker.resource::<Key>(STORE, "key")?;
    linker.func(STORE, "[constructor]key", |_, ()| -> Result<Own<Key>> { Ok(Own::new(Key)) })?;
    Ok((linker, open))
}

const BUCKET: &str = r#"(export "bucket" (type $bucket (sub resource)))"#;
const SIZE: &str = r#"(param "self" (borrow $bucket)) (result u32)"#;

fn text() -> Text {
    Text::new()
        .ty(BUCKET)
        .ty(r#"(export "key" (type $key (sub resource)))"#)
        .func("[constructor]bucket", r#"(param "size" u32) (result (own $bucket))"#, "i32", "i32")
        .func("[method]bucket.size", SIZE, "i32", "i32")
        .func("[static]bucket.sum", r#"(param "all" (list (own $bucket))) (result u32)"#, "i32 i32", "i32")
        .func("[constructor]key", "(result (own $key))", "", "i32")
        .drops("bucket")
        .drops("key")
}

fn start(context: &Context) -> CaseResult<(Probe, Arc<AtomicU32>)> {
    let (linker, open) = buckets()?;
    Ok((Probe::start(context, &text(), &linker, GuestConfig::default())?, open))
}

fn life(context: &Context) -> CaseResult {
    let (mut probe, open) = start(context)?;
    let (one, two) = (probe.call("[constructor]bucket", &[10])?, probe.call("[constructor]bucket", &[20])?);
    check!(one != two && one != 0 && two != 0, "the handles are {one} and {two}");
    check_eq!(open.load(Ordering::Relaxed), 2, "the values");
    check_eq!(probe.call("[method]bucket.size", &[two])?, 20, "the second's size");
    check_eq!(probe.call("[method]bucket.size", &[one])?, 10, "the first's size");
    probe.call("[resource-drop]bucket", &[one])?;
    check_eq!(open.load(Ordering::Relaxed), 1, "the values once one handle is dropped");
    check_eq!(probe.call("[method]bucket.size", &[two])?, 20, "the other's size");
    check_eq!(probe.0.open_handles(), 1, "the open handles");
    Ok(())
}

/// A list of handles that own: the host has them then, and the guest has not.
fn given_away(context: &Context) -> CaseResult {
    let (mut probe, open) = start(context)?;
    let (one, two) = (probe.call("[constructor]bucket", &[10])?, probe.call("[constructor]bucket", &[20])?);
    let list: Vec<u8> = [one, two].iter().flat_map(|handle| (*handle as u32).to_le_bytes()).collect();
    let [ptr, _] = probe.put(super::probe::ARGS, &list)?;
    check_eq!(probe.call("[static]bucket.sum", &[ptr, 2])?, 30, "the sum");
    check_eq!(open.load(Ordering::Relaxed), 0, "the values");
    probe.ends("[method]bucket.size", &[one], Kind::Trap, &["bucket.size", "is not an open handle"])?;
    Ok(())
}

fn ends(context: &Context) -> CaseResult {
    let (mut probe, open) = start(context)?;
    probe.call("[constructor]bucket", &[1])?;
    // A guest that traps has ended, though its instance is still there.
    probe.ends("[method]bucket.size", &[99], Kind::Trap, &[])?;
    check_eq!(open.load(Ordering::Relaxed), 0, "the values when the guest has trapped");
    let (mut probe, open) = start(context)?;
    probe.call("[constructor]bucket", &[1])?;
    drop(probe);
    check_eq!(open.load(Ordering::Relaxed), 0, "the values when the instance is gone");
    Ok(())
}

fn forged(context: &Context) -> CaseResult {
    for forged in [0, 2, 4096, 0x7fff_ffff, 0xffff_ffff] {
        for function in ["[method]bucket.size", "[resource-drop]bucket"] {
            let (mut probe, _) = start(context)?;
            check_eq!(probe.call("[constructor]bucket", &[1])?, 1, "the handle");
            probe.ends(function, &[forged], Kind::Trap, &[function, "is not an open handle"])?;
        }
    }
    // Once more what was dropped.
    let (mut probe, _) = start(context)?;
    let handle = probe.call("[constructor]bucket", &[1])?;
    probe.call("[resource-drop]bucket", &[handle])?;
    probe.ends("[resource-drop]bucket", &[handle], Kind::Trap, &["is not an open handle"])?;
    Ok(())
}

fn other_type(context: &Context) -> CaseResult {
    for function in ["[method]bucket.size", "[resource-drop]bucket"] {
        let (mut probe, _) = start(context)?;
        let key = probe.call("[constructor]key", &[])?;
        probe.ends(function, &[key], Kind::Trap, &[function, "Key`, not", "Bucket`"])?;
    }
    Ok(())
}

/// A guest that only ever opens handles ends at its limit, not the host.
fn budget(context: &Context) -> CaseResult {
    let (linker, open) = buckets()?;
    let options = LoadOptions { max_memory: 256 << 10, linker: linker.clone(), ..LoadOptions::default() };
    let guest = wharf_core::Guest::load(&**context.backend(), &flat(&text().of(STORE)?)?, &options)?;
    let mut probe = Probe(guest.start(GuestConfig::default())?);
    let mut opened = 0;
    let last = loop {
        match probe.try_call("[constructor]bucket", &[1]) {
            Ok(_) if opened < 10_000 => opened += 1,
            other => break other,
        }
    };
    super::probe::ended(last, Kind::Limit, &["max-memory"])?;
    check!((100..1000).contains(&opened), "{opened} handles were opened in 128 KiB");
    check_eq!(open.load(Ordering::Relaxed), 0, "the values that are left");
    Ok(())
}

/// What it may do by such a handle was granted for a request, and is not the next one's.
fn reuse(context: &Context) -> CaseResult {
    let (mut probe, _) = start(context)?;
    let bucket = probe.call("[constructor]bucket", &[1])?;
    probe.call("[resource-drop]bucket", &[bucket])?;
    check!(probe.0.recycle(), "an instance without handles cannot be used again");
    probe.0.reset_for(GuestConfig::default())?;
    probe.call("[constructor]bucket", &[1])?;
    check!(!probe.0.recycle(), "an instance with a handle is used again");
    Ok(())
}

/// One component makes a bucket and lends it to another, which asks for its size; then it gives it away.
fn composed(context: &Context) -> CaseResult {
    let (linker, open) = buckets()?;
    let component = assemble(&format!(
        r#"(component
            (import "{STORE}" (instance $i
                {BUCKET}
                (export "[constructor]bucket" (func (param "size" u32) (result (own $bucket))))
                (export "[method]bucket.size" (func {SIZE}))))
            (alias export $i "bucket" (type $bucket))
            (component $reader
                (import "bucket" (type $bucket (sub resource)))
                (import "size" (func $size (param "self" (borrow $bucket)) (result u32)))
                (core func $size (canon lower (func $size)))
                (core func $drop (canon resource.drop $bucket))
                (core module $m
                    (import "i" "size" (func $size (param i32) (result i32)))
                    (import "i" "drop" (func $drop (param i32)))
                    (func (export "read") (param i32) (result i32)
                        (call $size (local.get 0)) (call $drop (local.get 0)))
                    (func (export "keep") (param i32) (result i32) (call $size (local.get 0)))
                    (func (export "take") (param i32) (result i32)
                        (call $size (local.get 0)) (call $drop (local.get 0))))
                (core instance $m (instantiate $m
                    (with "i" (instance (export "size" (func $size)) (export "drop" (func $drop))))))
                (func (export "read") (param "b" (borrow $bucket)) (result u32) (canon lift (core func $m "read")))
                (func (export "keep") (param "b" (borrow $bucket)) (result u32) (canon lift (core func $m "keep")))
                (func (export "take") (param "b" (own $bucket)) (result u32) (canon lift (core func $m "take"))))
            (alias export $i "[method]bucket.size" (func $size))
            (alias export $i "[constructor]bucket" (func $new))
            (instance $reader (instantiate $reader (with "bucket" (type $bucket)) (with "size" (func $size))))
            (alias export $reader "read" (func $read))
            (alias export $reader "keep" (func $keep))
            (alias export $reader "take" (func $take))
            (component $maker
                (import "bucket" (type $bucket (sub resource)))
                (import "new" (func $new (param "size" u32) (result (own $bucket))))
                (import "read" (func $read (param "b" (borrow $bucket)) (result u32)))
                (import "keep" (func $keep (param "b" (borrow $bucket)) (result u32)))
                (import "take" (func $take (param "b" (own $bucket)) (result u32)))
                (core func $new (canon lower (func $new)))
                (core func $read (canon lower (func $read)))
                (core func $keep (canon lower (func $keep)))
                (core func $take (canon lower (func $take)))
                (core module $m
                    (import "i" "new" (func $new (param i32) (result i32)))
                    (import "i" "read" (func $read (param i32) (result i32)))
                    (import "i" "keep" (func $keep (param i32) (result i32)))
                    (import "i" "take" (func $take (param i32) (result i32)))
                    (func (export "lend-and-give") (param i32) (result i32)
                        (local $b i32)
                        (local.set $b (call $new (local.get 0)))
                        (i32.add (call $read (local.get $b)) (call $take (local.get $b))))
                    (func (export "lend-for-good") (param i32) (result i32)
                        (call $keep (call $new (local.get 0))))
                    (func (export "use-what-is-given") (param i32) (result i32)
                        (local $b i32)
                        (local.set $b (call $new (local.get 0)))
                        (drop (call $take (local.get $b)))
                        (call $read (local.get $b))))
                (core instance $m (instantiate $m (with "i" (instance
                    (export "new" (func $new)) (export "read" (func $read))
                    (export "keep" (func $keep)) (export "take" (func $take))))))
                (func (export "lend-and-give") (param "n" u32) (result u32)
                    (canon lift (core func $m "lend-and-give")))
                (func (export "lend-for-good") (param "n" u32) (result u32)
                    (canon lift (core func $m "lend-for-good")))
                (func (export "use-what-is-given") (param "n" u32) (result u32)
                    (canon lift (core func $m "use-what-is-given"))))
            (instance $maker (instantiate $maker
                (with "bucket" (type $bucket)) (with "new" (func $new)) (with "read" (func $read))
                (with "keep" (func $keep)) (with "take" (func $take))))
            (export "lend-and-give" (func $maker "lend-and-give"))
            (export "lend-for-good" (func $maker "lend-for-good"))
            (export "use-what-is-given" (func $maker "use-what-is-given")))"#
    ))?;
    let guest = context.load_component(&component, &linker)??;
    let mut session = guest.start(GuestConfig::default())?;
    check_eq!(session.call("lend-and-give", &[21])?, [42], "the sum");
    check_eq!(open.load(Ordering::Relaxed), 0, "the values");
    super::probe::ended(session.call("lend-for-good", &[1]), Kind::Trap, &["borrowed handles that were not dropped"])?;
    let mut session = guest.start(GuestConfig::default())?;
    super::probe::ended(session.call("use-what-is-given", &[1]), Kind::Trap, &["is not an open handle"])?;
    check_eq!(open.load(Ordering::Relaxed), 0, "the values when the guest has trapped");
    Ok(())
}
