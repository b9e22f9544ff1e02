//! Which directories are used.

use std::error::Error as _;

use super::*;

/// What opening is refused with.
fn refused(path: &Path, trust: Trust) -> String {
    let error = Directory::open(path, trust, true).map(drop).unwrap_err();
    assert_eq!(error.kind(), Kind::Config, "{error}");
    chain(&error)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn it_is_made_for_its_owner_only_with_all_above_it() {
    let base = tempfile::tempdir().unwrap();
    let cache = base.path().join("a/b/c");
    assert!(CodeCache::existing(&cache, CacheOptions::default()).unwrap().is_none());
    assert!(!base.path().join("a").exists(), "who only looks makes nothing");
    CodeCache::open(&cache).unwrap().put(&thing("one"), b"").unwrap();
    for made in ["a", "a/b", "a/b/c"] {
        assert_eq!(mode(&base.path().join(made)), 0o700, "{made}");
    }
    let found = CodeCache::existing(&cache, CacheOptions::default()).unwrap().unwrap();
    assert!(found.get(&thing("one")).is_some());
    assert_eq!(found.directory(), cache);
}

#[test]
fn one_that_others_may_write_is_refused() {
    let base = tempfile::tempdir().unwrap();
    let cache = base.path().join("cache");
    CodeCache::open(&cache).unwrap();
    for mode in [0o770, 0o720, 0o702, 0o777, 0o1777] {
        set_mode(&cache, mode);
        let why = refused(&cache, Trust::of_process());
        let part =
            format!("the cache directory `{0}` may be written by others (its mode is {mode:04o})", cache.display());
        assert!(why.contains(&part) && why.contains("chmod go-w") != (mode == 0o1777), "{mode:o}: {why}");
        assert_eq!(why.contains(&format!("choose a directory in it, such as `{}/", cache.display())), mode == 0o1777);
    }
    for mode in [0o700, 0o755, 0o750] {
        set_mode(&cache, mode);
        CodeCache::open(&cache).unwrap();
    }
}

#[test]
fn one_below_what_others_may_write_is_refused() {
    let base = tempfile::tempdir().unwrap();
    let above = base.path().join("above");
    let cache = above.join("between/cache");
    CodeCache::open(&cache).unwrap();
    // Be the group the user's own: it may have others in it, and its right to write may be others' by a list.
    for mode in [0o777, 0o702, 0o770, 0o720] {
        set_mode(&above, mode);
        let why = refused(&cache, Trust::of_process());
        let part = format!("`{}`, above the cache directory `{}`, may be written", above.display(), cache.display());
        assert!(why.contains(&part) && why.contains(&format!("chmod go-w {}", above.display())), "{why}");
    }
    // Everybody may write to it, and nobody may exchange another's files, as in /tmp.
    set_mode(&above, 0o1777);
    CodeCache::open(&cache).unwrap();
}

#[test]
fn one_of_another_user_is_refused() {
    let base = tempfile::tempdir().unwrap();
    let cache = base.path().join("cache");
    CodeCache::open(&cache).unwrap();
    let mut trust = Trust::of_process();
    alienate(&cache, &mut trust);
    let why = refused(&cache, trust);
    assert!(why.contains("belongs to user") && why.contains("choose a directory of your own"), "{why}");
    if is_root() {
        assert!(why.starts_with(&format!("the cache directory `{}` belongs to user {}", cache.display(), another())));
    }
}

/// In a user namespace, whoever it does not map has the same number, which may be the process's own, too.
#[test]
fn a_number_that_stands_for_all_the_others_is_nobodys() {
    let base = tempfile::tempdir().unwrap();
    let cache = base.path().join("cache");
    let mut stranger = Trust::of_process();
    stranger.unmapped = Some(rustix::process::geteuid().as_raw());
    let key = thing("one");
    let mut opened = CodeCache::open(&cache).unwrap();
    opened.put(&key, b"content").unwrap();
    assert!(opened.get(&key).is_some());
    opened.directory.trust = stranger;
    assert_eq!(opened.get(&key), None);
    let why = refused(&cache, stranger);
    assert!(why.contains("(anybody outside of this user namespace): that user could"), "{why}");

    use super::super::directory::unmapped;
    for (map, overflow, stands) in [
        ("         0          0 4294967295\n", "65534", None),
        ("0 0 2147483648\n2147483648 2147483648 2147483647\n", "65534", None),
        ("         0       1000          1\n", "65534\n", Some(65_534)),
        ("65534 65534 1\n", "0\n", Some(0)),
        ("", "", Some(65_534)),
    ] {
        assert_eq!(unmapped(map, Some(overflow.to_owned())), stands, "{map}");
    }
}

#[test]
fn one_below_that_of_another_user_is_refused() {
    let base = tempfile::tempdir().unwrap();
    let above = base.path().join("above");
    let cache = above.join("cache");
    CodeCache::open(&cache).unwrap();
    let mut trust = Trust::of_process();
    alienate(&above, &mut trust);
    let why = refused(&cache, trust);
    assert!(why.contains("above the cache directory") && why.contains("belongs to user"), "{why}");
}

#[test]
fn links_are_followed_if_they_are_the_users() {
    let base = tempfile::tempdir().unwrap();
    let (real, link) = (base.path().join("real"), base.path().join("link"));
    fs::create_dir(&real).unwrap();
    for target in [&*real, Path::new("real"), Path::new("./real/../real")] {
        symlink(target, &link).unwrap();
        CodeCache::open(&link.join("cache")).unwrap().put(&thing("one"), b"").unwrap();
        assert!(CodeCache::open(&real.join("cache")).unwrap().get(&thing("one")).is_some());
        fs::remove_file(&link).unwrap();
    }
    // What it leads to counts, and what the link lies in.
    symlink(&real, &link).unwrap();
    set_mode(&real, 0o777);
    assert!(refused(&link, Trust::of_process()).contains("may be written by others"));
    set_mode(&real, 0o700);
    set_mode(base.path(), 0o777);
    assert!(refused(&link, Trust::of_process()).contains("above the cache directory"));
    set_mode(base.path(), 0o700);
    CodeCache::open(&link).unwrap();

    if is_root() {
        std::os::unix::fs::lchown(&link, Some(another()), None).unwrap();
        let why = refused(&link, Trust::of_process());
        assert!(why.contains(&format!("is a symbolic link of user {}", another())), "{why}");
    }
    let round = base.path().join("round");
    symlink(&round, &round).unwrap();
    assert!(refused(&round.join("cache"), Trust::of_process()).contains("cannot be opened"));
}

#[test]
fn what_is_no_directory_is_refused() {
    let base = tempfile::tempdir().unwrap();
    let file = base.path().join("file");
    fs::write(&file, "").unwrap();
    for path in [file.clone(), file.join("cache")] {
        let error = CodeCache::open(&path).unwrap_err();
        assert_eq!(error.kind(), Kind::Config);
        assert!(error.to_string().contains(&format!("`{}` cannot be opened", file.display())), "{error}");
        assert!(error.source().is_some());
    }
    assert_eq!(CodeCache::open(Path::new("")).unwrap_err().kind(), Kind::Config);
}

/// What has taken the directory's place since it was checked is not looked at.
#[test]
fn what_takes_its_place_is_not_used() {
    let base = tempfile::tempdir().unwrap();
    let [cache, moved, other] = ["cache", "moved", "other"].map(|name| base.path().join(name));
    let opened = CodeCache::open(&cache).unwrap();
    let key = thing("made of this");
    opened.put(&key, b"content").unwrap();
    CodeCache::open(&other).unwrap().put(&key, b"was kept under another key").unwrap();
    fs::rename(&cache, &moved).unwrap();
    symlink(&other, &cache).unwrap();
    assert_eq!(opened.get(&key).as_deref(), Some(&b"content"[..]));
    opened.put(&thing("new"), b"").unwrap();
    assert_eq!((fs::read_dir(&moved).unwrap().count(), fs::read_dir(&other).unwrap().count()), (2, 1));
    fs::remove_dir_all(&moved).unwrap();
    assert_eq!(opened.get(&key), None);
    assert_eq!(opened.put(&key, b"content").unwrap_err().kind(), Kind::Config);
    assert_eq!(opened.entries().unwrap(), []);
}
