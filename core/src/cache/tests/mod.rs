//! What is kept, and when it is not used.

mod directory;
mod processes;

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::entry::{DIGEST, HEAD};
use super::*;
use crate::error::chain;

fn key(kind: &str, parts: &[&[u8]]) -> CacheKey {
    CacheKey::new(kind, parts).unwrap()
}

fn thing(name: &str) -> CacheKey {
    key("thing", &[name.as_bytes()])
}

fn bounded(directory: &Path, size: u64) -> CodeCache {
    CodeCache::with_options(directory, CacheOptions { size, ..CacheOptions::default() }).unwrap()
}

fn path(cache: &CodeCache, key: &CacheKey) -> PathBuf {
    cache.directory().join(&key.file)
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Whether tests can make files another user's.
fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A user that is neither root nor the one who runs the tests.
fn another() -> u32 {
    rustix::process::geteuid().as_raw() + 4242
}

/// Has the file belong to another user than the one who is trusted from then on, be it that root gives it away, or that
/// who is not root is taken for another.
fn alienate(path: &Path, trust: &mut Trust) {
    if is_root() {
        std::os::unix::fs::chown(path, Some(another()), None).unwrap();
    } else {
        *trust = Trust::of(another());
    }
}

/// Has the file look as if it was used last so long ago.
fn age(path: &Path, age: Duration) {
    File::open(path).unwrap().set_modified(SystemTime::now() - age).unwrap();
}

const HOUR: Duration = Duration::from_secs(60 * 60);

#[test]
fn every_part_of_a_key_counts() {
    let one = key("thing", &[b"ab", b"c"]);
    assert_eq!(one, key("thing", &[b"ab", b"c"]));
    for other in [
        key("other", &[b"ab", b"c"]),
        key("thing", &[b"a", b"bc"]),
        key("thing", &[b"ab", b"d"]),
        key("thing", &[b"ab", b"c", b""]),
    ] {
        assert_ne!(one, other);
    }
}

/// Or else a kind could lead out of the directory that was checked, or to files that are neither listed nor removed.
#[test]
fn a_kind_is_a_plain_word() {
    for kind in ["", "../escape", "a/b", "/tmp/a", ".", "a.b", "a b", "a\0", "\u{e4}", "unfinished", &"a".repeat(65)] {
        let message = format!("{kind:?} is not a valid kind");
        let refused = [
            CacheKey::new(kind, &[]).unwrap_err(),
            CodeKey::new(kind, &[]).unwrap_err(),
            CacheKey::of_guest(kind, &[]).unwrap_err(),
        ];
        for error in refused {
            assert!(error.kind() == Kind::Config && error.to_string().starts_with(&message), "{error}");
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let cache = CodeCache::open(directory.path()).unwrap();
    let kinds = ["a", "-", "unfinished-", "Wasm_Engine-2", &"a".repeat(64)];
    for kind in kinds {
        cache.put(&key(kind, &[]), b"content").unwrap();
    }
    let mut listed: Vec<_> = cache.entries().unwrap().into_iter().map(|entry| entry.kind).collect();
    listed.sort();
    let mut kinds = kinds.map(str::to_owned);
    kinds.sort();
    assert_eq!(listed, kinds);
}

#[test]
fn what_is_kept_is_found_under_its_key_only() {
    let directory = tempfile::tempdir().unwrap();
    let cache = CodeCache::open(directory.path()).unwrap();
    let [one, two] = [b"1", b"2"].map(|version| key("thing", &[version, b"made of this"]));
    assert_eq!(cache.get(&one), None);
    cache.put(&one, b"content").unwrap();
    assert_eq!(cache.get(&one).as_deref(), Some(&b"content"[..]));
    assert_eq!(cache.get(&two), None, "another version");
    // An entry that is moved to where another is looked for is not taken for it.
    fs::rename(path(&cache, &one), path(&cache, &two)).unwrap();
    assert_eq!((cache.get(&one), cache.get(&two)), (None, None));
    cache.put(&two, b"").unwrap();
    assert_eq!(cache.get(&two).as_deref(), Some(&b""[..]));
}

#[test]
fn what_is_no_entry_is_not_used() {
    let directory = tempfile::tempdir().unwrap();
    let cache = CodeCache::open(directory.path()).unwrap();
    let key = thing("made of this");
    let path = path(&cache, &key);
    cache.put(&key, b"content").unwrap();
    let good = fs::read(&path).unwrap();
    for at in 0..good.len() {
        let mut flipped = good.clone();
        flipped[at] ^= 1;
        fs::write(&path, &flipped).unwrap();
        assert_eq!(cache.get(&key), None, "byte {at} is another");
        fs::write(&path, &good[..at]).unwrap();
        assert_eq!(cache.get(&key), None, "it ends at byte {at}");
    }
    fs::write(&path, [&good[..], b"x"].concat()).unwrap();
    assert_eq!(cache.get(&key), None, "it has a byte more");
    // As large as no memory is, and none of it on the disk.
    File::create(&path).unwrap().set_len(1 << 40).unwrap();
    assert_eq!(cache.get(&key), None, "it is too large");
    fs::remove_file(&path).unwrap();
    // Nobody ever writes to it: who waited for that would wait for ever.
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    assert_eq!(cache.get(&key), None, "it is a pipe");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert_eq!(cache.get(&key), None, "it is a directory");
    cache.put(&key, b"anew").unwrap();
    assert_eq!(cache.get(&key).as_deref(), Some(&b"anew"[..]));
    // What somebody has put into one is theirs.
    fs::remove_file(&path).unwrap();
    fs::create_dir_all(path.join("theirs")).unwrap();
    let error = chain(&cache.put(&key, b"again").unwrap_err());
    assert!(error.contains(&format!("`{}` in it is a directory with something in it", key.file)), "{error}");
    let other = thing("other");
    cache.put(&other, b"").unwrap();
    assert_eq!(chain(&cache.clear().unwrap_err()), error);
    assert!(path.join("theirs").exists() && cache.get(&other).is_none());
    fs::remove_dir(path.join("theirs")).unwrap();
    assert_eq!(cache.clear().unwrap().entries, 1);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

/// What it links to may be whole, and even kept under this key: who made the link is not who wrote it.
#[test]
fn a_link_is_not_followed_and_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let [cache, other] = [&directory, &elsewhere].map(|directory| CodeCache::open(directory.path()).unwrap());
    let key = thing("made of this");
    other.put(&key, b"content").unwrap();
    symlink(path(&other, &key), path(&cache, &key)).unwrap();
    assert_eq!(cache.get(&key), None);
    cache.put(&key, b"other content").unwrap();
    assert!(fs::symlink_metadata(path(&cache, &key)).unwrap().is_file());
    assert_eq!(cache.get(&key).as_deref(), Some(&b"other content"[..]));
    assert_eq!(other.get(&key).as_deref(), Some(&b"content"[..]), "what it linked to is as it was");
}

#[test]
fn what_others_may_have_written_is_not_used_and_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let mut cache = CodeCache::open(directory.path()).unwrap();
    let key = thing("made of this");
    for mode in [0o620, 0o602, 0o666] {
        cache.put(&key, b"content").unwrap();
        assert!(cache.get(&key).is_some());
        set_mode(&path(&cache, &key), mode);
        assert_eq!(cache.get(&key), None, "with the mode {mode:o}");
    }
    for mode in [0o600, 0o644] {
        set_mode(&path(&cache, &key), mode);
        assert!(cache.get(&key).is_some(), "others may read it: its mode is {mode:o}");
    }
    alienate(&path(&cache, &key), &mut cache.directory.trust);
    assert_eq!(cache.get(&key), None, "it belongs to another");
    cache.directory.trust = Trust::of_process();
    cache.put(&key, b"anew").unwrap();
    assert_eq!(cache.get(&key).as_deref(), Some(&b"anew"[..]));
}

#[test]
fn what_was_used_longest_ago_goes_first() {
    let directory = tempfile::tempdir().unwrap();
    let content = [0; 100];
    // Room for three.
    let cache = bounded(directory.path(), 3 * (100 + HEAD as u64));
    let keys = ["0", "1", "2", "3", "4"].map(thing);
    let kept = || keys.each_ref().map(|key| path(&cache, key).exists());
    for (hours, key) in (1..).zip(&keys[..3]) {
        cache.put(key, &content).unwrap();
        age(&path(&cache, key), 10 * HOUR - hours * HOUR);
    }
    assert_eq!(kept(), [true, true, true, false, false], "all of them are as much as is allowed");
    assert!(cache.get(&keys[0]).is_some());
    cache.put(&keys[3], &content).unwrap();
    assert_eq!(kept(), [true, false, true, true, false], "the first was used since");
    // Small ones take the place of no more than they need.
    cache.put(&keys[4], b"").unwrap();
    assert_eq!(kept(), [true, false, false, true, true]);
    let list: Vec<_> = cache.entries().unwrap().into_iter().map(|entry| (entry.kind, entry.bytes)).collect();
    let entry = |bytes: u64| ("thing".to_owned(), bytes + HEAD as u64);
    assert_eq!(list, [entry(0), entry(100), entry(100)]);
}

/// A clock that was wrong once must not keep anything for ever.
#[test]
fn a_time_to_come_is_as_wrong_as_it_is_far() {
    let directory = tempfile::tempdir().unwrap();
    let cache = bounded(directory.path(), 2 * HEAD as u64);
    let [ahead, recent, new] = ["ahead", "recent", "new"].map(thing);
    cache.put(&ahead, b"").unwrap();
    cache.put(&recent, b"").unwrap();
    File::open(path(&cache, &ahead)).unwrap().set_modified(SystemTime::now() + 1000 * HOUR).unwrap();
    age(&path(&cache, &recent), HOUR);
    cache.put(&new, b"").unwrap();
    assert_eq!((cache.get(&ahead), cache.get(&recent)), (None, Some(Bytes::new())));
}

#[test]
fn what_is_larger_than_all_may_be_is_not_kept() {
    let directory = tempfile::tempdir().unwrap();
    let cache = bounded(directory.path(), 100);
    let (small, large) = (thing("small"), thing("large"));
    cache.put(&small, b"content").unwrap();
    let error = cache.put(&large, &[0; 101 - HEAD]).unwrap_err();
    assert_eq!(error.kind(), Kind::Limit);
    assert!(error.to_string().contains("`cache-size`"), "{error}");
    assert_eq!(cache.get(&large), None);
    assert!(cache.get(&small).is_some(), "nothing has to go for it");
    cache.put(&large, &[0; 100 - HEAD]).unwrap();
    assert_eq!((cache.get(&small), cache.get(&large).is_some()), (None, true), "this is just as much as all may have");
}

#[test]
fn what_a_write_left_that_did_not_end_goes_with_the_next() {
    let directory = tempfile::tempdir().unwrap();
    let cache = bounded(directory.path(), 150 + HEAD as u64 + 10);
    let [one, two] = ["1", "2"].map(thing);
    let left = directory.path().join("unfinished-0123456789abcdef.wharf");
    cache.put(&one, b"").unwrap();
    fs::write(&left, [0; 150]).unwrap();
    let writer = File::open(&left).unwrap();
    writer.lock().unwrap();
    let list = cache.entries().unwrap();
    assert_eq!(list.iter().map(|entry| &*entry.kind).collect::<Vec<_>>(), ["unfinished", "thing"]);
    cache.put(&two, b"").unwrap();
    assert!(left.exists(), "somebody writes it");
    assert_eq!((cache.get(&one), cache.get(&two).is_some()), (None, true), "it takes as much as an entry");
    drop(writer);
    cache.put(&one, b"").unwrap();
    assert!(!left.exists());
    assert!(cache.get(&one).is_some() && cache.get(&two).is_some());
}

/// Or else it would take the place of all others.
#[test]
fn what_a_write_left_that_is_larger_than_all_may_be_is_not_in_the_way() {
    let directory = tempfile::tempdir().unwrap();
    let cache = bounded(directory.path(), 200);
    let left = directory.path().join("unfinished-0123456789abcdef.wharf");
    fs::write(&left, [0; 1000]).unwrap();
    cache.put(&thing("one"), b"").unwrap();
    assert!(cache.get(&thing("one")).is_some() && !left.exists());
    fs::write(&left, [0; 1000]).unwrap();
    assert_eq!(cache.clear().unwrap().entries, 2);
}

/// One that is locked by nobody may be so because nothing can be locked, or not yet.
#[test]
fn what_nobody_has_written_to_goes_after_an_hour() {
    let directory = tempfile::tempdir().unwrap();
    let cache = CodeCache::open(directory.path()).unwrap();
    let left = directory.path().join("unfinished-0123456789abcdef.wharf");
    File::create(&left).unwrap();
    cache.put(&thing("one"), b"").unwrap();
    assert!(left.exists());
    age(&left, 2 * HOUR);
    cache.put(&thing("one"), b"").unwrap();
    assert!(!left.exists());
}

#[test]
fn clearing_leaves_what_is_not_the_caches() {
    let directory = tempfile::tempdir().unwrap();
    let cache = CodeCache::open(directory.path()).unwrap();
    let digest = "0".repeat(2 * DIGEST);
    let others = [
        "go.lock".to_owned(),
        "thing.wharf".to_owned(),
        format!("thing-{digest}.bin"),
        format!("-{digest}.wharf"),
        format!("a thing-{digest}.wharf"),
        format!("unfinished-{digest}.wharf"),
        format!("thing-{}.wharf", digest.replace('0', "A")),
        format!("thing-{digest}"),
        "unfinished-0123.wharf".to_owned(),
        "unfinished-0123456789abcdef.wharf".to_owned(),
    ];
    for other in &others {
        fs::write(directory.path().join(other), "not an entry").unwrap();
    }
    let writer = File::open(directory.path().join(others.last().unwrap())).unwrap();
    writer.lock().unwrap();
    for key in ["1", "2"].map(thing) {
        cache.put(&key, b"content").unwrap();
    }
    let abandoned = directory.path().join("unfinished-fedcba9876543210.wharf");
    fs::write(&abandoned, [0; 10]).unwrap();
    let cleared = cache.clear().unwrap();
    assert_eq!((cleared.entries, cleared.bytes), (3, 2 * (7 + HEAD as u64) + 10));
    for other in &others {
        assert!(directory.path().join(other).exists(), "{other}");
    }
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), others.len());
    assert_eq!(cache.clear().unwrap(), Cleared::default());
}

#[test]
fn an_entry_says_what_it_is_of() {
    let directory = tempfile::tempdir().unwrap();
    let with = |label: Option<&str>| {
        let label = label.map(str::to_owned);
        CodeCache::with_options(directory.path(), CacheOptions { label, ..CacheOptions::default() }).unwrap()
    };
    let long = "\u{fc}".repeat(200);
    for (label, listed) in
        [(None, None), (Some(""), None), (Some("guest.wasm"), Some("guest.wasm")), (Some(&*long), Some(&long[..254]))]
    {
        let (cache, key) = (with(label), thing("one"));
        cache.put(&key, b"content").unwrap();
        assert_eq!(cache.get(&key).as_deref(), Some(&b"content"[..]), "{label:?}");
        let entries = with(None).entries().unwrap();
        assert_eq!(entries.iter().map(|entry| entry.label.as_deref()).collect::<Vec<_>>(), [listed], "{label:?}");
        assert_eq!(entries[0].bytes, fs::metadata(path(&cache, &key)).unwrap().len());
        assert_eq!(with(None).get(&key).as_deref(), Some(&b"content"[..]), "whatever it is called: {label:?}");
    }
    // The label is bound to the content, and one that is cut short is none.
    let cache = with(Some("guest.wasm"));
    cache.put(&thing("one"), b"content").unwrap();
    let file = path(&cache, &thing("one"));
    let whole = fs::read(&file).unwrap();
    let at = whole.windows(5).position(|window| window == b"guest").unwrap();
    let other = [&whole[..at], b"GUEST", &whole[at + 5..]].concat();
    for damaged in [&other[..], &whole[..at + 3], &whole[..at], &whole[..at - 1], b""] {
        fs::write(&file, damaged).unwrap();
        assert_eq!(cache.entries().unwrap().len(), 1);
        assert_eq!(cache.get(&thing("one")), None);
    }
}
