//! What holds for every function: it works, a bad pointer is `fault`, a bad descriptor is `badf`, and both change
//! nothing.

use std::collections::HashMap;
use std::fs;
use std::sync::LazyLock;

use tempfile::TempDir;
use witx::{BuiltinType, Id, InterfaceFunc, Type};

use super::witx_file::document;
use super::*;
use crate::abi::preview1::MODULE;

/// A directory with a file, a directory and a symbolic link, and the file open as 4.
fn guest() -> (Guest, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "0123456789abcdef").unwrap();
    fs::create_dir(dir.path().join("dir")).unwrap();
    std::os::unix::fs::symlink("file", dir.path().join("link")).unwrap();
    let config = WasiConfig::new().args(["a", "bc"]).unwrap().env("K", "v").unwrap();
    let mut guest = Guest::new(config.preopen(dir.path(), "/").unwrap());
    assert_eq!(guest.open("file", 0, READ | WRITE), 4);
    (guest, dir)
}

/// Arguments with which a function does what it is for, and what it answers.
fn good(guest: &mut Guest, name: &str) -> (Vec<u64>, Errno) {
    const FILE: u64 = 4;
    const OUT_2: u64 = OUT as u64 + 64;
    let out = u64::from(OUT);
    let data = u64::from(DATA);
    let [file, file_len] = guest.path("file");
    let [new, new_len] = guest.path_2("new");
    let [iovs, iovs_len] = guest.iovecs(&[(DATA, 4), (DATA + 16, 4)]);
    let args = match name {
        "args_get" | "environ_get" => vec![data, data + 256],
        "args_sizes_get" | "environ_sizes_get" => vec![out, OUT_2],
        "clock_res_get" => vec![0, out],
        "clock_time_get" => vec![1, 0, out],
        "fd_advise" => vec![FILE, 0, 16, 3],
        "fd_allocate" => return (vec![FILE, 0, 16], Errno::Notsup),
        "fd_close" | "fd_datasync" | "fd_sync" => vec![FILE],
        "fd_fdstat_get" | "fd_filestat_get" | "fd_tell" => vec![FILE, out],
        "fd_fdstat_set_flags" => vec![FILE, 4],
        "fd_fdstat_set_rights" => vec![FILE, READ, 0],
        "fd_filestat_set_size" => vec![FILE, 5],
        "fd_filestat_set_times" => vec![FILE, 1, 2, 5],
        "fd_pread" | "fd_pwrite" => vec![FILE, iovs, iovs_len, 3, out],
        "fd_prestat_get" => vec![DIR, out],
        "fd_prestat_dir_name" => vec![DIR, data, 1],
        "fd_read" | "fd_write" => vec![FILE, iovs, iovs_len, out],
        "fd_readdir" => vec![DIR, data, 512, 0, out],
        "fd_renumber" => vec![FILE, DIR],
        "fd_seek" => vec![FILE, 7, 0, out],
        "path_create_directory" => vec![DIR, new, new_len],
        "path_filestat_get" => vec![DIR, 1, file, file_len, out],
        "path_filestat_set_times" => vec![DIR, 1, file, file_len, 1, 2, 5],
        "path_link" => vec![DIR, 0, file, file_len, DIR, new, new_len],
        "path_open" => vec![DIR, 1, file, file_len, 0, READ, 0, 0, out],
        "path_readlink" => {
            let [link, link_len] = guest.path("link");
            vec![DIR, link, link_len, data, 64, out]
        }
        "path_remove_directory" => {
            let [dir, dir_len] = guest.path("dir");
            vec![DIR, dir, dir_len]
        }
        "path_rename" => vec![DIR, file, file_len, DIR, new, new_len],
        "path_symlink" => vec![file, file_len, DIR, new, new_len],
        "path_unlink_file" => vec![DIR, file, file_len],
        "poll_oneoff" => {
            guest.put(DATA, &[0; 48]);
            vec![data, data + 64, 1, out]
        }
        "proc_raise" => return (vec![6], Errno::Notsup),
        "sched_yield" => vec![],
        "random_get" => vec![data, 64],
        "sock_accept" => return (vec![FILE, 0, out], Errno::Notsock),
        "sock_recv" => return (vec![FILE, iovs, iovs_len, 0, out, OUT_2], Errno::Notsock),
        "sock_send" => return (vec![FILE, iovs, iovs_len, 0, out], Errno::Notsock),
        "sock_shutdown" => return (vec![FILE, 1], Errno::Notsock),
        other => panic!("no good use of {other} is known"),
    };
    (args, Errno::Success)
}

/// What the parameters of a function are, by the WITX file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Pointer,
    Fd,
    Other,
}

/// The kinds of every function's parameters. The file is read once: that takes longer than a thousand calls.
fn kinds(name: &str) -> &'static [Kind] {
    static KINDS: LazyLock<HashMap<&str, Vec<Kind>>> = LazyLock::new(|| {
        let module = document().module(&Id::new(MODULE)).unwrap();
        names().map(|name| (name, kinds_of(&module.func(&Id::new(name)).unwrap()))).collect()
    });
    &KINDS[name]
}

fn kinds_of(func: &InterfaceFunc) -> Vec<Kind> {
    let mut kinds = Vec::new();
    for param in &func.params {
        match &**param.tref.type_() {
            Type::Pointer(_) | Type::ConstPointer(_) => kinds.push(Kind::Pointer),
            Type::List(_) => kinds.extend([Kind::Pointer, Kind::Other]),
            Type::Handle(_) => kinds.push(Kind::Fd),
            Type::Builtin(BuiltinType::Char) => panic!("no parameter is a character"),
            _ => kinds.push(Kind::Other),
        }
    }
    // The rest are the addresses of results.
    kinds.resize(func.wasm_signature().0.len(), Kind::Pointer);
    kinds
}

fn names() -> impl Iterator<Item = &'static str> {
    FUNCTIONS.iter().map(|function| function.name).filter(|name| *name != "proc_exit")
}

/// What the directory holds: names, sizes, times.
fn state(dir: &TempDir) -> Vec<String> {
    let mut state = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let metadata = entry.metadata().unwrap();
            format!("{:?} {} {:?}", entry.file_name(), metadata.len(), metadata.modified().unwrap())
        })
        .collect::<Vec<_>>();
    state.sort();
    state
}

#[test]
fn every_function_does_what_it_is_for() {
    for name in names() {
        let (mut guest, _dir) = guest();
        let (args, errno) = good(&mut guest, name);
        guest.fails(name, &args, errno);
    }
}

#[test]
fn bits_above_an_i32_do_not_count() {
    for name in names() {
        let (mut guest, _dir) = guest();
        let (mut args, errno) = good(&mut guest, name);
        let function = FUNCTIONS.iter().find(|function| function.name == name).unwrap();
        for (arg, ty) in args.iter_mut().zip(function.params) {
            if *ty == crate::types::ValType::I32 {
                *arg |= 0xdead_beef << 32;
            }
        }
        guest.fails(name, &args, errno);
    }
}

#[test]
fn a_bad_pointer_is_fault_and_changes_nothing() {
    let mut tried = 0;
    for name in names() {
        for (at, kind) in kinds(name).iter().enumerate() {
            // The path of a granted directory is one byte long, so that it fits right up to the end.
            for bad in [MEMORY as u64, MEMORY as u64 + 1, 0x7fff_ffff, 0x8000_0000, 0xffff_fff0, 0xffff_ffff] {
                if *kind != Kind::Pointer {
                    continue;
                }
                let (mut guest, dir) = guest();
                let (mut args, _) = good(&mut guest, name);
                args[at] = bad;
                let (memory, before) = (guest.bytes().clone(), state(&dir));
                guest.fails(name, &args, Errno::Fault);
                assert_eq!(*guest.bytes(), memory, "{name}, argument {at}");
                assert_eq!(state(&dir), before, "{name}, argument {at}");
                guest.fails("fd_close", &[5], Errno::Badf);
                tried += 1;
            }
        }
    }
    assert!(tried > 300, "{tried}");
}

#[test]
fn a_bad_descriptor_is_badf_and_changes_nothing() {
    let mut tried = 0;
    for name in names() {
        for (at, kind) in kinds(name).iter().enumerate() {
            for bad in [5, 1000, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff] {
                if *kind != Kind::Fd {
                    continue;
                }
                let (mut guest, dir) = guest();
                let (mut args, _) = good(&mut guest, name);
                args[at] = bad;
                let (memory, before) = (guest.bytes().clone(), state(&dir));
                guest.fails(name, &args, Errno::Badf);
                assert_eq!(*guest.bytes(), memory, "{name}, argument {at}");
                assert_eq!(state(&dir), before, "{name}, argument {at}");
                tried += 1;
            }
        }
    }
    assert!(tried > 150, "{tried}");
}

/// What a function answers for a standard stream in place of a file or directory: it does what makes sense for a stream, and
/// says of the rest what POSIX says of a pipe, that it is no socket or directory, or that the stream was not opened for it.
fn for_stream(name: &str, stream: u64) -> Errno {
    match name {
        "fd_close" | "fd_fdstat_get" | "fd_fdstat_set_flags" | "fd_filestat_get" | "fd_renumber" => Errno::Success,
        "fd_read" if stream == 0 => Errno::Success,
        "fd_write" if stream != 0 => Errno::Success,
        // The right to read, which standard input has.
        "fd_fdstat_set_rights" if stream == 0 => Errno::Success,
        "fd_fdstat_set_rights" | "fd_sync" | "fd_datasync" | "fd_filestat_set_times" => Errno::Notcapable,
        "fd_seek" | "fd_tell" | "fd_pread" | "fd_pwrite" => Errno::Spipe,
        "fd_prestat_dir_name" => Errno::Notdir,
        name if name.starts_with("sock_") => Errno::Notsock,
        _ => Errno::Badf,
    }
}

#[test]
fn a_stream_in_place_of_a_file_is_an_errno_and_changes_nothing() {
    for name in names().filter(|name| kinds(name).contains(&Kind::Fd)) {
        for stream in 0..3 {
            let (mut guest, dir) = guest();
            let (mut args, _) = good(&mut guest, name);
            for (arg, kind) in args.iter_mut().zip(kinds(name)) {
                if *kind == Kind::Fd {
                    *arg = stream;
                }
            }
            let before = state(&dir);
            guest.fails(name, &args, for_stream(name, stream));
            assert_eq!(state(&dir), before, "{name}, stream {stream}");
        }
    }
}

#[test]
fn without_a_memory_only_what_needs_none_works() {
    for name in names() {
        let (mut guest, _dir) = guest();
        let (args, errno) = good(&mut guest, name);
        let needs = kinds(name).contains(&Kind::Pointer);
        guest.memory = Memory(None);
        guest.fails(name, &args, if needs { Errno::Fault } else { errno });
    }
}

#[test]
fn exit_ends_the_guest_with_any_code() {
    let (mut guest, _dir) = guest();
    for code in [0, 1, 125, 126, 0xffff_ffff] {
        match guest.try_call("proc_exit", &[code]) {
            Err(Stop::Exit(exit)) => assert_eq!(exit as u32, code as u32),
            other => panic!("{other:?}"),
        }
    }
}
