//! What can be done by path, and that no path leads out of a granted directory.

use std::fs;
use std::os::unix::fs::symlink;

use super::*;
use crate::abi::preview1::types::{O_CREAT, O_DIRECTORY, O_EXCL, O_TRUNC};

/// A directory `granted` next to a directory `outside` with a file `secret`.
fn next_to_a_secret() -> (Guest, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let (granted, outside) = (dir.path().join("granted"), dir.path().join("outside"));
    fs::create_dir(&granted).unwrap();
    fs::create_dir(granted.join("sub")).unwrap();
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "secret").unwrap();
    symlink("../outside", granted.join("up")).unwrap();
    symlink("../../outside/secret", granted.join("sub/far")).unwrap();
    symlink(&outside, granted.join("absolute")).unwrap();
    symlink("/proc/self/cwd", granted.join("magic")).unwrap();
    let guest = Guest::new(WasiConfig::new().preopen(granted, "/").unwrap());
    (guest, dir)
}

#[test]
fn no_path_leads_out() {
    let (mut guest, dir) = next_to_a_secret();
    let secret = dir.path().join("outside/secret");
    let outside = [
        "../outside/secret",
        "sub/../../outside/secret",
        "./sub/.././../outside/secret",
        "up/secret",
        "sub/far",
        "absolute/secret",
        "magic/Cargo.toml",
        "/etc/passwd",
        "//etc/passwd",
        secret.to_str().unwrap(),
    ];
    for path in outside {
        let perm = Err(Errno::Perm as u16);
        assert_eq!(guest.open_as(DIR, path, 0, READ, 0), perm, "{path}");
        assert_eq!(guest.open_as(DIR, path, O_CREAT | O_TRUNC, WRITE, 0), perm, "{path}");
        let [ptr, len] = guest.path(path);
        guest.fails("path_filestat_get", &[DIR, 1, ptr, len, OUT.into()], Errno::Perm);
        guest.fails("path_filestat_set_times", &[DIR, 1, ptr, len, 0, 0, 5], Errno::Perm);
    }
    for path in ["../outside/new", "up/new", "absolute/new", "/new"] {
        guest.path_fails("path_create_directory", path, Errno::Perm);
        guest.path_fails("path_remove_directory", path, Errno::Perm);
        guest.path_fails("path_unlink_file", path, Errno::Perm);
        let ([ptr, len], [inside, inside_len]) = (guest.path(path), guest.path_2("sub"));
        guest.fails("path_rename", &[DIR, inside, inside_len, DIR, ptr, len], Errno::Perm);
        guest.fails("path_rename", &[DIR, ptr, len, DIR, inside, inside_len], Errno::Perm);
        guest.fails("path_link", &[DIR, 0, ptr, len, DIR, inside, inside_len], Errno::Perm);
        guest.fails("path_symlink", &[inside, inside_len, DIR, ptr, len], Errno::Perm);
        guest.fails("path_readlink", &[DIR, ptr, len, DATA.into(), 64, OUT.into()], Errno::Perm);
    }
    assert_eq!(fs::read(&secret).unwrap(), b"secret");
    assert_eq!(fs::read_dir(dir.path().join("outside")).unwrap().count(), 1);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
}

#[test]
fn a_directory_opened_within_leads_out_no_more_than_the_granted_one() {
    let (mut guest, _dir) = next_to_a_secret();
    let sub = guest.open("sub", O_DIRECTORY, READ);
    for path in ["..", "../sub", "far", "../../outside/secret"] {
        assert_eq!(guest.open_as(sub, path, 0, READ, 0), Err(Errno::Perm as u16), "{path}");
    }
}

#[test]
fn links_made_by_a_guest_are_not_followed_out() {
    let (mut guest, _dir) = next_to_a_secret();
    let ([target, target_len], [path, path_len]) = (guest.path("../outside/secret"), guest.path_2("mine"));
    guest.ok("path_symlink", &[target, target_len, DIR, path, path_len]);
    assert_eq!(guest.open_as(DIR, "mine", 0, READ, 0), Err(Errno::Perm as u16));
    let ([target, target_len], [path, path_len]) = (guest.path("/etc/passwd"), guest.path_2("root"));
    guest.fails("path_symlink", &[target, target_len, DIR, path, path_len], Errno::Perm);
}

#[test]
fn a_directory_granted_for_reading_cannot_be_changed() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "content").unwrap();
    fs::create_dir(dir.path().join("dir")).unwrap();
    let both = WasiConfig::new().preopen_read_only(dir.path(), "/ro").unwrap();
    let other = tempfile::tempdir().unwrap();
    fs::write(other.path().join("mine"), "").unwrap();
    let mut guest = Guest::new(both.preopen(other.path(), "/rw").unwrap());

    let fd = guest.open("file", 0, READ);
    assert_eq!(guest.read(fd, 16), b"content");
    guest.fails("fd_filestat_set_times", &[fd, 0, 0, 5], Errno::Perm);
    let sub = guest.open("dir", O_DIRECTORY, READ);
    for (dir, path) in [(DIR, "file"), (DIR, "new"), (sub, "new")] {
        let perm = Err(Errno::Perm as u16);
        assert_eq!(guest.open_as(dir, path, 0, WRITE, 0), perm);
        assert_eq!(guest.open_as(dir, path, O_CREAT, READ, 0), perm);
        assert_eq!(guest.open_as(dir, path, O_TRUNC, READ, 0), perm);
    }
    guest.path_fails("path_create_directory", "new", Errno::Perm);
    guest.path_fails("path_remove_directory", "dir", Errno::Perm);
    guest.path_fails("path_unlink_file", "file", Errno::Perm);
    let ([path, len], [path_2, len_2]) = (guest.path("file"), guest.path_2("mine"));
    guest.fails("path_filestat_set_times", &[DIR, 0, path, len, 0, 0, 5], Errno::Perm);
    guest.fails("path_symlink", &[path_2, len_2, DIR, path, len], Errno::Perm);
    const RW: u64 = DIR + 1;
    // Neither into it, nor out of it, where what is linked could be written to.
    for args in [[DIR, path, len, RW, path, len], [RW, path_2, len_2, DIR, path_2, len_2]] {
        guest.fails("path_rename", &args, Errno::Perm);
        let [from, from_path, from_len, to, to_path, to_len] = args;
        guest.fails("path_link", &[from, 0, from_path, from_len, to, to_path, to_len], Errno::Perm);
    }
    guest.fails("fd_filestat_set_times", &[DIR, 0, 0, 5], Errno::Perm);
    assert_eq!(fs::read(dir.path().join("file")).unwrap(), b"content");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
}

#[test]
fn files_are_created_truncated_and_not_created_twice() {
    let (mut guest, dir) = Guest::with_dir();
    assert_eq!(guest.open_as(DIR, "file", 0, READ, 0), Err(Errno::Noent as u16));
    let fd = guest.open("file", O_CREAT | O_EXCL, WRITE);
    guest.write(fd, b"content");
    assert_eq!(guest.open_as(DIR, "file", O_CREAT | O_EXCL, WRITE, 0), Err(Errno::Exist as u16));
    let fd = guest.open("file", O_CREAT, READ);
    assert_eq!(guest.read(fd, 16), b"content");
    guest.open("file", O_TRUNC, WRITE);
    assert_eq!(fs::read(dir.path().join("file")).unwrap(), b"");
    guest.open_as(DIR, "file", O_CREAT | O_TRUNC, WRITE, 1).unwrap();
}

#[test]
fn directories_are_made_opened_and_removed() {
    let (mut guest, dir) = Guest::with_dir();
    let [path, len] = guest.path("dir");
    guest.ok("path_create_directory", &[DIR, path, len]);
    guest.fails("path_create_directory", &[DIR, path, len], Errno::Exist);
    let sub = guest.open("dir", O_DIRECTORY, READ);
    guest.ok("fd_fdstat_get", &[sub, OUT.into()]);
    assert_eq!(guest.get(OUT, 1), [3]);
    assert_eq!(guest.open_as(DIR, "dir", 0, READ, 0), Ok(5), "without the flag too");
    assert_eq!(guest.open_as(DIR, "dir", 0, WRITE, 0), Err(Errno::Isdir as u16));
    let file = guest.open_as(sub, "file", O_CREAT, WRITE, 0).unwrap();
    assert!(dir.path().join("dir/file").is_file());
    assert_eq!(guest.open_as(DIR, "dir/file", O_DIRECTORY, READ, 0), Err(Errno::Notdir as u16));
    assert_eq!(guest.open_as(DIR, "dir", O_DIRECTORY | O_CREAT, READ, 0), Err(Errno::Inval as u16));
    assert_eq!(guest.open_as(file, "x", 0, READ, 0), Err(Errno::Notdir as u16));
    assert_eq!(guest.open_as(1, "x", 0, READ, 0), Err(Errno::Badf as u16));
    guest.path_fails("path_remove_directory", "dir", Errno::Notempty);
    guest.path_fails("path_remove_directory", "dir/file", Errno::Notdir);
    guest.path_fails("path_unlink_file", "dir", Errno::Isdir);
    let [path, len] = guest.path("dir/file");
    guest.ok("path_unlink_file", &[DIR, path, len]);
    let [path, len] = guest.path("dir");
    guest.ok("path_remove_directory", &[DIR, path, len]);
    assert!(!dir.path().join("dir").exists());
}

#[test]
fn links_are_made_read_and_followed_or_not() {
    let (mut guest, dir) = Guest::with_dir();
    fs::write(dir.path().join("file"), "content").unwrap();
    let ([target, target_len], [path, len]) = (guest.path("file"), guest.path_2("link"));
    guest.ok("path_symlink", &[target, target_len, DIR, path, len]);
    for (buffer, expected) in [(64, "file"), (4, "file"), (2, "fi"), (0, "")] {
        guest.put(DATA, &[0xee; 8]);
        guest.ok("path_readlink", &[DIR, path, len, DATA.into(), buffer, OUT.into()]);
        assert_eq!(guest.u32(OUT) as usize, expected.len());
        let rest = vec![0xee; 8 - expected.len()];
        assert_eq!(guest.get(DATA, 8), [expected.as_bytes(), &rest].concat());
    }
    for (flags, filetype) in [(0, 7), (1, 4)] {
        guest.ok("path_filestat_get", &[DIR, flags, path, len, OUT.into()]);
        assert_eq!(guest.get(OUT + 16, 1), [filetype]);
        guest.ok("path_filestat_set_times", &[DIR, flags, path, len, 5 + flags, 5 + flags, 5]);
    }
    guest.fails("path_filestat_get", &[DIR, 2, path, len, OUT.into()], Errno::Inval);
    let modified = |path: &str| {
        let metadata = fs::symlink_metadata(dir.path().join(path)).unwrap();
        metadata.modified().unwrap().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos()
    };
    assert_eq!((modified("link"), modified("file")), (5, 6));
    guest.fails("path_open", &[DIR, 0, path, len, 0, READ, 0, 0, OUT.into()], Errno::Loop);
    guest.fails("path_readlink", &[DIR, target, target_len, DATA.into(), 64, OUT.into()], Errno::Inval);

    let [new, new_len] = guest.path_2("hard");
    guest.fails("path_link", &[DIR, 1, target, target_len, DIR, new, new_len], Errno::Inval);
    guest.ok("path_link", &[DIR, 0, target, target_len, DIR, new, new_len]);
    guest.ok("path_filestat_get", &[DIR, 0, new, new_len, OUT.into()]);
    assert_eq!(guest.u64(OUT + 24), 2);
    let [newer, newer_len] = guest.path("newer");
    guest.ok("path_rename", &[DIR, new, new_len, DIR, newer, newer_len]);
    assert_eq!(fs::read(dir.path().join("newer")).unwrap(), b"content");
    assert!(!dir.path().join("hard").exists());
}

#[test]
fn odd_paths_are_an_errno() {
    let (mut guest, _dir) = Guest::with_dir();
    let long = "a".repeat(4097);
    for (path, errno) in [("", Errno::Noent), ("a\0b", Errno::Inval), (&*"a".repeat(300), Errno::Nametoolong)] {
        assert_eq!(guest.open_as(DIR, path, O_CREAT, WRITE, 0), Err(errno as u16), "{path:?}");
        guest.path_fails("path_create_directory", path, errno);
    }
    guest.put(DATA, long.as_bytes());
    guest.fails("path_create_directory", &[DIR, DATA.into(), 4097], Errno::Nametoolong);
    guest.put(PATH, b"\xff\xfe");
    guest.fails("path_create_directory", &[DIR, PATH.into(), 2], Errno::Ilseq);
    guest.fails("path_create_directory", &[DIR, PATH.into(), 0xffff_ffff], Errno::Fault);
    guest.fails("path_open", &[DIR, 0, PATH.into(), 1, 16, READ, 0, 0, OUT.into()], Errno::Ilseq);
    let [path, len] = guest.path("file");
    for bad in [[2, 0, 0], [0, 16, 0], [0, 0x1_0000, 0], [0, 0, 32], [0, 0, 0x8000_0000]] {
        let [flags, oflags, fdflags] = bad;
        guest.fails("path_open", &[DIR, flags, path, len, oflags, READ, 0, fdflags, OUT.into()], Errno::Inval);
    }
}

#[test]
fn a_file_with_a_slash_behind_it_is_not_removed() {
    let (mut guest, dir) = Guest::with_dir();
    fs::write(dir.path().join("file"), "").unwrap();
    guest.path_fails("path_unlink_file", "file/", Errno::Notdir);
    assert!(dir.path().join("file").exists());
}
