//! The cache of compiled code: used where it can be, and never trusted.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use wharf_core::{CodeCache, Guest, GuestConfig, LoadOptions};

use crate::case::{Case, CaseResult, Unmet};
use crate::cases::needs::COMPILED_CODE;
use crate::context::Context;
use crate::seam::assemble;
use crate::{check, check_eq};

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("guest/cache/stores-and-loads", "CodeCache", stores_and_loads).needs(&[COMPILED_CODE]),
    Case::must("guest/cache/damaged-entry", "CodeCache", damaged_entry).needs(&[COMPILED_CODE]),
    Case::must("guest/cache/entry-of-another-module", "CodeCache", swapped_entries).needs(&[COMPILED_CODE]),
    Case::must("guest/cache/directory-gone", "CodeCache", directory_gone),
];

fn wat(answer: u32) -> String {
    format!(r#"(module (memory (export "memory") 1) (func (export "answer") (result i32) (i32.const {answer})))"#)
}

/// Loads a guest through the cache and checks that it is the right one.
fn answers(context: &Context, directory: &Path, answer: u32) -> CaseResult {
    let cache = Arc::new(CodeCache::open(directory)?);
    let options = LoadOptions { cache: Some(cache), ..LoadOptions::default() };
    let guest = Guest::load(&**context.backend(), &assemble(&wat(answer))?, &options)?;
    check_eq!(guest.start(GuestConfig::default())?.call("answer", &[])?, [u64::from(answer)], "the guest's answer");
    Ok(())
}

fn directory() -> CaseResult<tempfile::TempDir> {
    tempfile::tempdir().map_err(Unmet::harness)
}

fn entries(directory: &Path) -> CaseResult<Vec<PathBuf>> {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(directory)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect())
        .map_err(Unmet::harness)?;
    entries.retain(|path| path.is_file());
    entries.sort();
    Ok(entries)
}

fn stores_and_loads(context: &Context) -> CaseResult {
    let directory = directory()?;
    for _ in 0..3 {
        answers(context, directory.path(), 42)?;
        check_eq!(entries(directory.path())?.len(), 1, "the count of entries for one module");
    }
    answers(context, directory.path(), 43)?;
    check_eq!(entries(directory.path())?.len(), 2, "the count of entries for two modules");
    answers(context, directory.path(), 42)
}

/// Bytes that were changed on the disk must not be run: they would run as the host's own code.
fn damaged_entry(context: &Context) -> CaseResult {
    let directory = directory()?;
    answers(context, directory.path(), 42)?;
    let entry = entries(directory.path())?.pop().ok_or_else(|| Unmet::failed("nothing was stored"))?;
    let good = std::fs::read(&entry).map_err(Unmet::harness)?;
    let middle = good.len() / 2;
    let mut flipped = good.clone();
    flipped[middle] ^= 0xff;
    let damages = [Vec::new(), good[..middle].to_vec(), flipped, vec![0; good.len()], [&good[..], b"x"].concat()];
    for damage in damages {
        std::fs::write(&entry, &damage).map_err(Unmet::harness)?;
        answers(context, directory.path(), 42)
            .map_err(|unmet| unmet.context(format_args!("with a damaged entry of {} bytes", damage.len())))?;
    }
    Ok(())
}

fn swapped_entries(context: &Context) -> CaseResult {
    let directory = directory()?;
    answers(context, directory.path(), 42)?;
    answers(context, directory.path(), 43)?;
    let [one, two] =
        entries(directory.path())?.try_into().map_err(|_| Unmet::failed("two modules did not make two entries"))?;
    let read = |path: &PathBuf| std::fs::read(path).map_err(Unmet::harness);
    let (first, second) = (read(&one)?, read(&two)?);
    check!(first != second, "two modules have the same compiled code");
    std::fs::write(&one, second).map_err(Unmet::harness)?;
    std::fs::write(&two, first).map_err(Unmet::harness)?;
    answers(context, directory.path(), 42)
        .and_then(|()| answers(context, directory.path(), 43))
        .map_err(|unmet| unmet.context("with two entries that changed places"))
}

/// A cache that cannot be written is no reason not to run.
fn directory_gone(context: &Context) -> CaseResult {
    let directory = directory()?;
    let cache = Arc::new(CodeCache::open(directory.path())?);
    directory.close().map_err(Unmet::harness)?;
    let options = LoadOptions { cache: Some(cache), ..LoadOptions::default() };
    let guest = Guest::load(&**context.backend(), &assemble(&wat(7))?, &options)?;
    check_eq!(guest.start(GuestConfig::default())?.call("answer", &[])?, [7], "the guest's answer");
    Ok(())
}
