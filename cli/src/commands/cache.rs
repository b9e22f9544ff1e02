//! `wharf cache`, and where the other commands keep what they compile.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anstyle::Style;
use anyhow::Context;
use bytesize::ByteSize;
use etcetera::BaseStrategy;
use serde::Serialize;
use wharf::core::{CacheEntry, CacheOptions, CodeCache, chain};

use crate::args::{CacheArgs, CacheCommand, CacheDirArgs, CacheListArgs, CacheSizeArgs, Format};
use crate::output::{HEADING, Table, printable};
use crate::{exit, output};

pub(crate) fn cache(command: &CacheCommand) -> anyhow::Result<u8> {
    match command {
        CacheCommand::List(args) => list(args)?,
        CacheCommand::Clear(args) => clear(args)?,
    }
    Ok(exit::SUCCESS)
}

/// The cache that the guest of this file is loaded with, if any.
pub(super) fn open(args: &CacheArgs, guest: &Path) -> anyhow::Result<Option<Arc<CodeCache>>> {
    if args.no_cache {
        return Ok(None);
    }
    let label = guest.file_name().map(|name| name.to_string_lossy().into_owned());
    let options = CacheOptions { label, ..options(&args.cache) };
    if let Some(directory) = &args.cache.dir.cache_dir {
        return Ok(Some(Arc::new(CodeCache::with_options(directory, options).context("--cache-dir")?)));
    }
    // Nobody asked for this one, so that a machine without it only runs slower.
    let Some(directory) = own_directory() else {
        tracing::info!("compiled code is not kept: the user has no home directory");
        return Ok(None);
    };
    match CodeCache::with_options(&directory, options) {
        Ok(cache) => Ok(Some(Arc::new(cache))),
        Err(error) => {
            tracing::warn!("compiled code is not kept: {}", chain(&error));
            Ok(None)
        }
    }
}

/// Where compiled code is kept unless another directory is named: one that has nothing else in it.
fn own_directory() -> Option<PathBuf> {
    let user = etcetera::base_strategy::choose_native_strategy().ok()?;
    Some(user.cache_dir().join("wharf/code"))
}

fn options(args: &CacheSizeArgs) -> CacheOptions {
    CacheOptions { size: args.cache_size.as_u64(), ..CacheOptions::default() }
}

/// The directory that is meant, whether it is there or not.
fn directory(args: &CacheDirArgs) -> anyhow::Result<PathBuf> {
    let missing = "there is no directory for compiled code; name one with --cache-dir";
    args.cache_dir.clone().or_else(own_directory).context(missing)
}

/// What is kept, as `--format json` prints it.
#[derive(Serialize)]
struct Listed {
    directory: String,
    /// How many bytes all entries have together.
    bytes: u64,
    /// How many they may have.
    size: u64,
    entries: Vec<ListedEntry>,
}

#[derive(Serialize)]
struct ListedEntry {
    kind: String,
    /// The file name of the guest, if it was named.
    guest: Option<String>,
    bytes: u64,
    /// A time as in RFC 3339, in UTC.
    last_used: String,
}

fn list(args: &CacheListArgs) -> anyhow::Result<()> {
    let directory = directory(&args.cache.dir)?;
    let options = options(&args.cache);
    let size = options.size;
    let cache = CodeCache::existing(&directory, options)?;
    if cache.is_none() && args.output.format == Format::Human {
        return missing(&directory, "no code is kept there");
    }
    let entries = cache.map_or_else(|| Ok(Vec::new()), |cache| cache.entries())?;
    let directory = directory.display().to_string();
    let bytes = entries.iter().map(|entry| entry.bytes).sum();
    match args.output.format {
        Format::Json => {
            let entries = entries.into_iter().map(listed).collect();
            output::print_json(&Listed { directory, bytes, size, entries })
        }
        Format::Human => {
            let mut text = table(&entries, SystemTime::now());
            let (bytes, size) = (ByteSize(bytes), ByteSize(size));
            writeln!(text, "{} of {bytes}, at most {size}, in `{}`", counted(entries.len()), printable(&directory))?;
            output::print(&text)
        }
    }
}

fn listed(entry: CacheEntry) -> ListedEntry {
    ListedEntry { kind: entry.kind, guest: entry.label, bytes: entry.bytes, last_used: rfc3339(entry.last_used) }
}

/// The last second that RFC 3339 can say, of the year 9999.
const LAST: Duration = Duration::from_secs(253_402_300_799);

/// The time, or the nearest one that can be said so: a file may have any.
fn rfc3339(time: SystemTime) -> String {
    let first = SystemTime::UNIX_EPOCH;
    humantime::format_rfc3339_seconds(time.clamp(first, first + LAST)).to_string()
}

fn table(entries: &[CacheEntry], now: SystemTime) -> String {
    let mut table = Table::default();
    if !entries.is_empty() {
        table.row(["KIND", "GUEST", "SIZE", "LAST USED"].map(|heading| (heading.to_owned(), HEADING)));
    }
    for entry in entries {
        let ago = now.duration_since(entry.last_used).map_or_else(|_| "in the future".to_owned(), ago);
        let kind = printable(&entry.kind).into_owned();
        let guest = printable(entry.label.as_deref().unwrap_or("-")).into_owned();
        table.row([kind, guest, ByteSize(entry.bytes).to_string(), ago].map(|cell| (cell, Style::new())));
    }
    table.render(0)
}

/// How long ago something was, in the largest unit that it has one of.
fn ago(time: Duration) -> String {
    let seconds = time.as_secs();
    let unit = [86_400, 3600, 60].into_iter().find(|unit| seconds >= *unit).unwrap_or(1);
    format!("{} ago", humantime::format_duration(Duration::from_secs(seconds - seconds % unit)))
}

fn counted(entries: usize) -> String {
    format!("{entries} {}", if entries == 1 { "entry" } else { "entries" })
}

fn clear(args: &CacheDirArgs) -> anyhow::Result<()> {
    let directory = directory(args)?;
    let Some(cache) = CodeCache::existing(&directory, CacheOptions::default())? else {
        return missing(&directory, "nothing was removed");
    };
    let cleared = cache.clear()?;
    let count = counted(usize::try_from(cleared.entries)?);
    output::print(&format!("removed {count} of {} bytes\n", cleared.bytes))
}

/// Says that the directory is not there, so that a mistyped one is noticed, and what that means.
fn missing(directory: &Path, result: &str) -> anyhow::Result<()> {
    let directory = directory.display().to_string();
    output::print(&format!("there is no directory `{}`: {result}\n", printable(&directory)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_one_unit() {
        for (seconds, text) in [
            (0, "0s ago"),
            (59, "59s ago"),
            (60, "1m ago"),
            (3599, "59m ago"),
            (3600, "1h ago"),
            (86_399, "23h ago"),
            (86_400, "1day ago"),
            (300_000, "3days ago"),
        ] {
            assert_eq!(ago(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn any_time_can_be_said() {
        let first = SystemTime::UNIX_EPOCH;
        for (time, text) in [
            (first - Duration::from_secs(1), "1970-01-01T00:00:00Z"),
            (first + Duration::from_secs(951_782_400), "2000-02-29T00:00:00Z"),
            (first + LAST, "9999-12-31T23:59:59Z"),
            (first + LAST + Duration::from_secs(1), "9999-12-31T23:59:59Z"),
            (first + Duration::from_secs(u64::MAX >> 1), "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(rfc3339(time), text);
        }
    }

    #[test]
    fn entries_are_counted_in_english() {
        assert_eq!([0, 1, 2].map(counted), ["0 entries", "1 entry", "2 entries"]);
    }
}
