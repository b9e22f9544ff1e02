//! What is done by path, and to directories.

use super::*;

#[test]
fn opening() {
    let mut files = files();
    assert_eq!(files.open("none", 0, READ), Err(ErrorCode::NoEntry));
    assert_eq!(files.open("file", DIRECTORY, READ), Err(ErrorCode::NotDirectory));
    assert!(files.open("dir", DIRECTORY, READ).is_ok());
    assert_eq!(files.open("file", CREATE | EXCLUSIVE, WRITE), Err(ErrorCode::Exist));
    for flag in [CREATE, EXCLUSIVE, TRUNCATE] {
        assert_eq!(files.open("dir", DIRECTORY | flag, READ), Err(ErrorCode::Invalid), "{flag}");
    }
    assert!(files.open("file", CREATE, WRITE).is_ok());
    assert_eq!(files.text("file"), "0123456789", "creating what is there leaves it");
    assert!(files.open("file", EXCLUSIVE, READ).is_ok(), "exclusive says nothing without create");
    assert!(files.open("new", CREATE | EXCLUSIVE, WRITE).is_ok());
    assert!(files.on_host("new").unwrap().is_file());
    let created = files.open("made", CREATE, 0).unwrap();
    assert_eq!(files.flags(created), READ | WRITE, "what is created may be written");
    assert!(files.open("file", TRUNCATE, WRITE).is_ok());
    assert_eq!(files.text("file"), "");
    let file = files.open("file", 0, READ).unwrap();
    assert_eq!(files.open_below(file, "x", 0, 0, READ), Err(ErrorCode::NotDirectory));
    assert_eq!(files.open("../x", 0, READ), Err(ErrorCode::NotPermitted));
}

#[test]
fn symbolic_links_are_followed_where_that_is_asked_for() {
    let mut files = files();
    assert!(files.open("link", 0, READ).is_ok());
    assert_eq!(files.open_below(files.root, "link", 0, 0, READ), Err(ErrorCode::Loop));
    assert_eq!(files.stat_at("link", 0).unwrap().kind, DescriptorType::SymbolicLink as u8);
    assert_eq!(files.stat_at("link", FOLLOW).unwrap().kind, DescriptorType::RegularFile as u8);
    let [ptr, len] = files.path("link");
    let hashes = [0, FOLLOW].map(|flags| files.hash("descriptor.metadata-hash-at", &[flags, ptr, len], files.root));
    let file = files.open("file", 0, READ).unwrap();
    let hash = files.hash("descriptor.metadata-hash", &[], file).unwrap();
    assert_eq!(hashes[1], Ok(hash));
    assert_ne!(hashes[0].unwrap(), hash);
    assert_eq!(files.readlink("link").unwrap(), b"file");
    assert_eq!(files.readlink("file"), Err(ErrorCode::Invalid));
}

#[test]
fn times_are_set_by_path() {
    let mut files = files();
    let set_at = "descriptor.set-times-at";
    let [ptr, len] = files.path("link");
    assert_eq!(files.does(set_at, files.root, &[&[FOLLOW, ptr, len], &at(1, 2)[..], &at(3, 4)].concat()), Ok(()));
    let stat = files.stat_at("file", 0).unwrap();
    assert_eq!((stat.accessed, stat.modified), (Some((1, 2)), Some((3, 4))));
    assert_ne!(files.stat_at("link", 0).unwrap().modified, Some((3, 4)));
    let [ptr, len] = files.path("link");
    assert_eq!(files.does(set_at, files.root, &[&[0, ptr, len], &NO_CHANGE[..], &at(5, 6)].concat()), Ok(()));
    assert_eq!(files.stat_at("link", 0).unwrap().modified, Some((5, 6)));
    assert_eq!(files.stat_at("file", 0).unwrap().modified, Some((3, 4)));
}

#[test]
fn paths_are_made_and_removed() {
    let mut files = files();
    assert_eq!(files.path_does("descriptor.create-directory-at", "new"), Ok(()));
    assert!(files.on_host("new").unwrap().is_dir());
    assert_eq!(files.path_does("descriptor.create-directory-at", "new"), Err(ErrorCode::Exist));
    assert_eq!(files.path_does("descriptor.remove-directory-at", "file"), Err(ErrorCode::NotDirectory));
    assert_eq!(files.path_does("descriptor.remove-directory-at", "new/"), Ok(()));
    assert!(files.on_host("new").is_none());
    fs::write(files.host.path().join("dir/full"), "").unwrap();
    assert_eq!(files.path_does("descriptor.remove-directory-at", "dir"), Err(ErrorCode::NotEmpty));
    assert_eq!(files.path_does("descriptor.unlink-file-at", "dir"), Err(ErrorCode::IsDirectory));
    assert_eq!(files.path_does("descriptor.unlink-file-at", "link"), Ok(()));
    assert!(files.on_host("link").is_none() && files.on_host("file").is_some());
    assert_eq!(files.path_does("descriptor.unlink-file-at", "file"), Ok(()));
    assert!(files.on_host("file").is_none());
}

#[test]
fn paths_are_linked_and_renamed() {
    let mut files = files();
    let dir = files.open("dir", 0, READ).unwrap();
    let (old, new) = (files.path("file"), files.path("new"));
    let link = |flags: u64| [vec![flags], old.to_vec(), vec![dir], new.to_vec()].concat();
    assert_eq!(files.does("descriptor.link-at", files.root, &link(FOLLOW)), Err(ErrorCode::Invalid));
    assert!(files.on_host("dir/new").is_none());
    assert_eq!(files.does("descriptor.link-at", files.root, &link(0)), Ok(()));
    assert_eq!(files.on_host("dir/new").unwrap().ino(), files.on_host("file").unwrap().ino());
    let (old, new) = (files.path("file"), files.path("renamed"));
    let args = [&old[..], &[dir], &new].concat();
    assert_eq!(files.does("descriptor.rename-at", files.root, &args), Ok(()));
    assert!(files.on_host("file").is_none());
    assert_eq!(files.text("dir/renamed"), "0123456789");
    let (target, path) = (files.path("dir/renamed"), files.path("to"));
    let args = [target, path].concat();
    assert_eq!(files.does("descriptor.symlink-at", files.root, &args), Ok(()));
    assert_eq!(files.text("to"), "0123456789");
    assert!(files.on_host("to").unwrap().is_symlink());
}

#[test]
fn a_directory_that_is_to_be_read_only_is_not_changed() {
    let mut files = read_only();
    let file = files.open("file", 0, READ).unwrap();
    let root = files.root;
    for (open, flags) in [(0, WRITE), (0, MUTATE), (CREATE, READ), (TRUNCATE, READ)] {
        assert_eq!(files.open("file", open, flags), Err(ErrorCode::ReadOnly), "{open} {flags}");
    }
    for method in ["create-directory-at", "remove-directory-at", "unlink-file-at"] {
        assert_eq!(files.path_does(&format!("descriptor.{method}"), "dir"), Err(ErrorCode::ReadOnly), "{method}");
    }
    let times = [at(1, 0), at(1, 0)].concat();
    assert_eq!(files.does("descriptor.set-times", file, &times), Err(ErrorCode::ReadOnly));
    let (old, new) = (files.path("file"), files.path("new"));
    for (method, args) in [
        ("set-times-at", [&[0], &old[..], &times].concat()),
        ("link-at", [&[0], &old[..], &[root], &new].concat()),
        ("rename-at", [&old[..], &[root], &new].concat()),
        ("symlink-at", [old, new].concat()),
    ] {
        assert_eq!(files.does(&format!("descriptor.{method}"), root, &args), Err(ErrorCode::ReadOnly), "{method}");
    }
    let names: Vec<_> = fs::read_dir(files.host.path()).unwrap().collect();
    assert_eq!(names.len(), 3);
    let dir = files.open("dir", 0, READ).unwrap();
    assert_eq!(files.flags(dir), READ);
    assert_eq!(files.open_below(dir, "x", 0, CREATE, WRITE), Err(ErrorCode::ReadOnly), "nor what is below it");
}

#[test]
fn the_longest_path() {
    let mut files = files();
    assert!(files.stat_at(&"./".repeat(2047), 0).is_ok());
    let longer = "./".repeat(2049);
    assert_eq!(files.stat_at(&longer, 0), Err(ErrorCode::NameTooLong));
    assert_eq!(files.open(&longer, 0, READ), Err(ErrorCode::NameTooLong));
    for method in ["create-directory-at", "remove-directory-at", "unlink-file-at"] {
        let method = format!("descriptor.{method}");
        assert_eq!(files.path_does(&method, &longer), Err(ErrorCode::NameTooLong), "{method}");
    }
}

#[test]
fn listing() {
    let mut files = files();
    let at = files.method("descriptor.read-directory", 4, files.root, &[]).unwrap();
    let stream = files.guest.u32(at).into();
    let mut entries = Vec::new();
    // An option of a record: its case, and a type and a name.
    while let at = files.method("directory-entry-stream.read-directory-entry", 4, stream, &[]).unwrap()
        && files.guest.get(at, 1)[0] == 1
    {
        let name = String::from_utf8(files.guest.string(at + 8)).unwrap();
        entries.push((name, files.guest.get(at + 4, 1)[0]));
        assert!(entries.len() < 10);
    }
    entries.sort();
    let expected = [
        ("dir", DescriptorType::Directory),
        ("file", DescriptorType::RegularFile),
        ("link", DescriptorType::SymbolicLink),
    ];
    assert_eq!(entries, expected.map(|(name, kind)| (name.to_owned(), kind as u8)));
    let file = files.open("file", 0, READ).unwrap();
    assert_eq!(files.method("descriptor.read-directory", 4, file, &[]), Err(ErrorCode::NotDirectory));
}

#[test]
fn a_name_that_is_not_utf_8_is_an_illegal_byte_sequence() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let mut files = files();
    let name = OsStr::from_bytes(b"\xff");
    let dir = files.open("dir", 0, READ).unwrap();
    fs::write(files.host.path().join("dir").join(name), "").unwrap();
    symlink(name, files.host.path().join("odd")).unwrap();
    let at = files.method("descriptor.read-directory", 4, dir, &[]).unwrap();
    let stream = files.guest.u32(at).into();
    let next = "directory-entry-stream.read-directory-entry";
    assert_eq!(files.method(next, 4, stream, &[]), Err(ErrorCode::IllegalByteSequence));
    assert_eq!(files.readlink("odd"), Err(ErrorCode::IllegalByteSequence));
}
