//! The cache of compiled code: used where it can be, trusted as far as its owner, and bounded.
//!
//! A forged entry, other code with a digest made for it, cannot be told from a good one: whoever can write an entry can
//! make its digest too. That nobody else can write one is what keeps it out, and what [`others_entry`] and
//! [`linked_entry`] are about.

use std::fs::{self, File, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use wharf_core::{CacheOptions, CodeCache, Guest, GuestConfig, LoadOptions};

use crate::bare::assemble;
use crate::case::{Case, CaseResult, Unmet};
use crate::cases::needs::COMPILED_CODE;
use crate::context::Context;
use crate::{check, check_eq};

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("guest/cache/stores-and-loads", "CodeCache", stores_and_loads).needs(&[COMPILED_CODE]),
    Case::must("guest/cache/damaged-entry", "CodeCache", damaged_entry).needs(&[COMPILED_CODE]),
    Case::must("guest/cache/entry-of-another-module", "CodeCache", swapped_entries).needs(&[COMPILED_CODE]),
    Case::must("guest/cache/entry-of-others", "CodeCache", others_entry).needs(&[COMPILED_CODE]),
    Case::must("guest/cache/linked-entry", "CodeCache", linked_entry).needs(&[COMPILED_CODE]),
    Case::must("guest/cache/bounded", "CacheOptions", bounded).needs(&[COMPILED_CODE]),
    Case::must("guest/cache/unfinished-entry", "CacheOptions", unfinished_entry).needs(&[COMPILED_CODE]),
    Case::must("guest/cache/directory-gone", "CodeCache", directory_gone),
];

fn wat(answer: u32) -> String {
    format!(r#"(module (memory (export "memory") 1) (func (export "answer") (result i32) (i32.const {answer})))"#)
}

/// Loads a guest through the cache and checks that it is the right one.
fn answers(context: &Context, directory: &Path, answer: u32) -> CaseResult {
    answers_with(context, CodeCache::open(directory)?, answer)
}

fn answers_with(context: &Context, cache: CodeCache, answer: u32) -> CaseResult {
    let cache = Arc::new(cache);
    let options = LoadOptions { cache: Some(cache), ..LoadOptions::default() };
    let guest = Guest::load(&**context.backend(), &assemble(&wat(answer))?, &options)?;
    check_eq!(guest.start(GuestConfig::default())?.call("answer", &[])?, [u64::from(answer)], "the guest's answer");
    Ok(())
}

fn directory() -> CaseResult<tempfile::TempDir> {
    tempfile::tempdir().map_err(Unmet::harness)
}

fn entry(directory: &Path) -> CaseResult<PathBuf> {
    entries(directory)?.pop().ok_or_else(|| Unmet::failed("nothing was stored"))
}

fn entries(directory: &Path) -> CaseResult<Vec<PathBuf>> {
    let mut entries: Vec<PathBuf> = fs::read_dir(directory)
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
    let entry = entry(directory.path())?;
    let good = fs::read(&entry).map_err(Unmet::harness)?;
    let middle = good.len() / 2;
    let mut flipped = good.clone();
    flipped[middle] ^= 0xff;
    let damages = [Vec::new(), good[..middle].to_vec(), flipped, vec![0; good.len()], [&good[..], b"x"].concat()];
    for damage in damages {
        fs::write(&entry, &damage).map_err(Unmet::harness)?;
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
    let read = |path: &PathBuf| fs::read(path).map_err(Unmet::harness);
    let (first, second) = (read(&one)?, read(&two)?);
    check!(first != second, "two modules have the same compiled code");
    fs::write(&one, second).map_err(Unmet::harness)?;
    fs::write(&two, first).map_err(Unmet::harness)?;
    answers(context, directory.path(), 42)
        .and_then(|()| answers(context, directory.path(), 43))
        .map_err(|unmet| unmet.context("with two entries that changed places"))
}

/// What somebody else may have written must not be run, and does not stay.
///
/// Only root can make a file another's. Whoever else runs this has the owner checked by core's own tests alone, which
/// take another user for the one who is trusted.
fn others_entry(context: &Context) -> CaseResult {
    let directory = directory()?;
    answers(context, directory.path(), 42)?;
    let entry = entry(directory.path())?;
    for mode in [0o620, 0o602, 0o666] {
        fs::set_permissions(&entry, Permissions::from_mode(mode)).map_err(Unmet::harness)?;
        compiles_anew(context, &entry).map_err(|unmet| unmet.context(format_args!("with the mode {mode:o}")))?;
    }
    match chown(&entry, Some(65_534), None) {
        Ok(()) => compiles_anew(context, &entry).map_err(|unmet| unmet.context("with another owner")),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
        Err(error) => Err(Unmet::harness(error)),
    }
}

/// What lies behind a link may be whole, and anybody's.
fn linked_entry(context: &Context) -> CaseResult {
    let (directory, elsewhere) = (directory()?, directory()?);
    answers(context, directory.path(), 42)?;
    let entry = entry(directory.path())?;
    let moved = elsewhere.path().join("moved");
    fs::rename(&entry, &moved).map_err(Unmet::harness)?;
    symlink(&moved, &entry).map_err(Unmet::harness)?;
    let before = fs::read(&moved).map_err(Unmet::harness)?;
    compiles_anew(context, &entry)?;
    check!(fs::read(&moved).map_err(Unmet::harness)? == before, "what was linked to has changed");
    Ok(())
}

/// Checks that the guest answers by other code than the one entry there is, which is then replaced by a good one.
fn compiles_anew(context: &Context, entry: &Path) -> CaseResult {
    let look = || fs::symlink_metadata(entry).map_err(Unmet::harness);
    let before = look()?;
    let directory = entry.parent().ok_or_else(|| Unmet::harness("the entry is in no directory"))?;
    answers(context, directory, 42)?;
    let after = look()?;
    check!(after.is_file() && after.ino() != before.ino(), "the entry was used");
    check_eq!(after.mode() & 0o777, 0o600, "the mode of the new entry");
    check_eq!(after.uid(), fs::metadata(directory).map_err(Unmet::harness)?.uid(), "the owner of the new entry");
    answers(context, directory, 42)?;
    check_eq!(look()?.ino(), after.ino(), "the inode of the new entry, when it was used");
    Ok(())
}

/// What was used longest ago makes room, and what is larger than all room is not kept.
fn bounded(context: &Context) -> CaseResult {
    let directory = directory()?;
    let cache = |size| CodeCache::with_options(directory.path(), CacheOptions { size, ..CacheOptions::default() });
    let total = || -> CaseResult<u64> { Ok(cache(u64::MAX)?.entries()?.iter().map(|entry| entry.bytes).sum()) };
    answers_with(context, cache(u64::MAX)?, 1)?;
    let first = entry(directory.path())?;
    answers_with(context, cache(u64::MAX)?, 2)?;
    let second = entries(directory.path())?.into_iter().find(|entry| *entry != first);
    let second = second.ok_or_else(|| Unmet::failed("the second module was not stored"))?;
    let used = |path: &Path, ago| set_used(path, Duration::from_secs(ago));
    used(&first, 200)?;
    used(&second, 100)?;
    // The first is used again. The third is as large as any of them, so that one of the others has to go.
    answers_with(context, cache(u64::MAX)?, 1)?;
    let bound = total()? + 100;
    answers_with(context, cache(bound)?, 3)?;
    check!(total()? <= bound, "there are more than {bound} bytes");
    check!(first.exists() && !second.exists(), "what went is not what was used longest ago");
    let before = entries(directory.path())?;
    check_eq!(before.len(), 2, "the count of entries");
    answers_with(context, cache(100)?, 4)?;
    check_eq!(entries(directory.path())?, before, "the entries, with no room for another");
    Ok(())
}

/// What a process is writing is not in the way, and counts; what it left when it was killed goes.
fn unfinished_entry(context: &Context) -> CaseResult {
    let directory = directory()?;
    let left = directory.path().join("unfinished-0123456789abcdef.wharf");
    fs::write(&left, "half an entry").map_err(Unmet::harness)?;
    let writer = File::open(&left).map_err(Unmet::harness)?;
    writer.lock().map_err(Unmet::harness)?;
    answers(context, directory.path(), 1)?;
    check!(left.exists(), "what another process may be writing was removed");
    check_eq!(CodeCache::open(directory.path())?.entries()?.len(), 2, "the count of what is kept");
    drop(writer);
    answers(context, directory.path(), 2)?;
    check!(!left.exists(), "it is still there");
    check_eq!(entries(directory.path())?.len(), 2, "the count of entries");
    Ok(())
}

/// Has a file look as if it was used so long ago.
fn set_used(path: &Path, ago: Duration) -> CaseResult {
    let set = |file: File| file.set_modified(SystemTime::now() - ago);
    File::open(path).and_then(set).map_err(Unmet::harness)
}

/// A guest runs even if the cache cannot be written.
fn directory_gone(context: &Context) -> CaseResult {
    let directory = directory()?;
    let cache = Arc::new(CodeCache::open(directory.path())?);
    directory.close().map_err(Unmet::harness)?;
    let options = LoadOptions { cache: Some(cache), ..LoadOptions::default() };
    let guest = Guest::load(&**context.backend(), &assemble(&wat(7))?, &options)?;
    check_eq!(guest.start(GuestConfig::default())?.call("answer", &[])?, [7], "the guest's answer");
    Ok(())
}
