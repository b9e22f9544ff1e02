//! Processes that are let down, killed, or not alone. They run this file's own tests, in a directory that is given.

use std::process::{Child, Command, Output, Stdio};

use super::*;

/// The directory that a test uses in a process of its own.
const DIRECTORY: &str = "WHARF_TEST_CACHE";

/// The directory that was given, or one for this test alone.
fn given() -> (PathBuf, Option<tempfile::TempDir>) {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        return (directory.into(), None);
    }
    let own = tempfile::tempdir().unwrap();
    (own.path().to_owned(), Some(own))
}

/// Starts a test of this file in a process of its own, by a shell that does `first` before.
fn start(first: &str, test: &str, directory: &Path) -> Child {
    let (_, module) = module_path!().split_once("::").unwrap();
    Command::new("sh")
        .args(["-c", &format!(r#"{first}; exec "$0" "$@""#)])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &format!("{module}::{test}"), "--nocapture"])
        .env(DIRECTORY, directory)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// What it printed, if it ran a test: a name that has changed would run none.
fn ran(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let printed = text(&output.stdout) + &text(&output.stderr);
    assert!(printed.contains("running 1 test"), "{printed}");
    printed
}

fn unfinished(directory: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("unfinished-")).collect()
}

const LARGE: usize = 4 << 20;

#[test]
fn a_large_entry_is_kept() {
    let (directory, _own) = given();
    let cache = CodeCache::open(&directory).unwrap();
    let content = vec![7; LARGE];
    if let Err(error) = cache.put(&thing("large"), &content) {
        panic!("it is not kept: {}", chain(&error));
    }
    assert_eq!(cache.get(&thing("large")).as_deref(), Some(&content[..]));
}

/// The system lets nobody write a larger file, and says so as it does of a full disk: in the middle of a write.
#[test]
fn a_full_disk_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let cache = CodeCache::open(directory.path()).unwrap();
    cache.put(&thing("large"), b"what was there").unwrap();
    let output =
        start("trap '' XFSZ; ulimit -f 64", "a_large_entry_is_kept", directory.path()).wait_with_output().unwrap();
    let printed = ran(&output);
    assert!(!output.status.success(), "{printed}");
    assert!(
        printed.contains("it is not kept: the cache directory") && printed.contains("cannot be written"),
        "{printed}"
    );
    assert_eq!(unfinished(directory.path()), Vec::<PathBuf>::new());
    assert_eq!(cache.get(&thing("large")).as_deref(), Some(&b"what was there"[..]));
}

/// Killed by the system in the middle of a write, always at the same place of it.
#[test]
fn what_is_cut_off_in_the_middle_of_a_write_is_not_used() {
    let directory = tempfile::tempdir().unwrap();
    let cache = CodeCache::open(directory.path()).unwrap();
    cache.put(&thing("large"), b"what was there").unwrap();
    let output =
        start("ulimit -c 0; ulimit -f 64", "a_large_entry_is_kept", directory.path()).wait_with_output().unwrap();
    let printed = ran(&output);
    assert_eq!(output.status.code(), None, "a signal ended it: {printed}");
    left_over(&cache);
    assert_eq!(cache.get(&thing("large")).as_deref(), Some(&b"what was there"[..]));
}

#[test]
fn many_rounds() {
    let (directory, own) = given();
    let content = |name: usize| vec![name as u8; 1000 + name];
    // Room for half of them.
    let cache = bounded(&directory, 3 * 1070);
    // Who was given a directory is ended from outside, or goes on for long enough to meet another.
    for round in 0..if own.is_some() { 50 } else { 2000 } {
        let name = round * 7 % 6;
        let key = thing(&name.to_string());
        match cache.get(&key) {
            Some(found) => assert_eq!(found, content(name)),
            None => cache.put(&key, &content(name)).unwrap(),
        }
        if round % 100 == 0 {
            cache.clear().unwrap();
        }
        cache.entries().unwrap();
    }
}

#[test]
fn two_processes_use_it_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let children = [(); 2].map(|()| start(":", "many_rounds", directory.path()));
    for child in children {
        let output = child.wait_with_output().unwrap();
        let printed = ran(&output);
        assert!(output.status.success(), "{printed}");
    }
    assert_eq!(unfinished(directory.path()), Vec::<PathBuf>::new());
    let entries = bounded(directory.path(), 0).entries().unwrap();
    assert!((1..=3).contains(&entries.len()), "{entries:?}");
}

/// Writes until it is killed, if a directory was given.
#[test]
fn writes_without_end() {
    let (directory, own) = given();
    let cache = CodeCache::open(&directory).unwrap();
    for round in 0_u64.. {
        cache.put(&thing("large"), &vec![round as u8; LARGE]).unwrap();
        if own.is_some() && round == 2 {
            break;
        }
    }
}

/// Killed by somebody, wherever its writes happen to be.
#[test]
fn a_killed_process_leaves_what_is_not_used() {
    let directory = tempfile::tempdir().unwrap();
    let cache = CodeCache::open(directory.path()).unwrap();
    // It hardly does anything but write: one of the first leaves something.
    for attempt in 0.. {
        let mut child = start(":", "writes_without_end", directory.path());
        while unfinished(directory.path()).is_empty() && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        let output = child.wait_with_output().unwrap();
        let printed = ran(&output);
        assert_eq!(output.status.code(), None, "a signal ended it: {printed}");
        if let Some(content) = cache.get(&thing("large")) {
            assert!(content.len() == LARGE && content.iter().all(|byte| *byte == content[0]));
        }
        match unfinished(directory.path()).first() {
            Some(left) if fs::metadata(left).unwrap().len() > 0 => break,
            // There was nothing in it yet, not even its lock: it takes no space, and stays for an hour.
            Some(left) => fs::remove_file(left).unwrap(),
            None => {}
        }
        assert!(attempt < 100, "no write was ever under way");
    }
    left_over(&cache);
}

/// There is one file that was not written to its end. It goes with the next write.
fn left_over(cache: &CodeCache) {
    let left = unfinished(cache.directory());
    assert_eq!(left.len(), 1, "{left:?}");
    assert!(fs::metadata(&left[0]).unwrap().len() < (LARGE + HEAD) as u64, "it is cut off");
    let small = thing("small");
    cache.put(&small, b"").unwrap();
    assert!(!left[0].exists());
}
