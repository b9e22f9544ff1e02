//! Compares the code with the WITX file.

use std::collections::BTreeMap;
use std::rc::Rc;

use witx::{Document, Id, Layout, Type};

use crate::abi::preview1::errno::Errno;
use crate::abi::preview1::types::{
    Dirent, Event, FD_ALL, FD_APPEND, FD_DSYNC, FD_NONBLOCK, FD_RSYNC, FD_SYNC, Fdstat, Filestat, Filetype, O_ALL,
    O_CREAT, O_DIRECTORY, O_EXCL, O_TRUNC, SET_ALL, SET_ATIM, SET_ATIM_NOW, SET_MTIM, SET_MTIM_NOW, SYMLINK_FOLLOW,
};
use crate::abi::preview1::{FUNCTIONS, MODULE, poll, rights};
use crate::types::ValType;

pub(super) fn document() -> Document {
    witx::parse(include_str!("../../../../abi/wasi_snapshot_preview1.witx")).unwrap()
}

fn val_types(types: &[witx::WasmType]) -> Vec<ValType> {
    types
        .iter()
        .map(|ty| match ty {
            witx::WasmType::I32 => ValType::I32,
            witx::WasmType::I64 => ValType::I64,
            witx::WasmType::F32 => ValType::F32,
            witx::WasmType::F64 => ValType::F64,
        })
        .collect()
}

#[test]
fn the_functions_are_those_of_the_file() {
    let document = document();
    let module = document.module(&Id::new(MODULE)).unwrap();
    let declared = module.funcs().map(|func| {
        let (params, results) = func.wasm_signature();
        (func.name.as_str().to_owned(), (val_types(&params), val_types(&results)))
    });
    let present = FUNCTIONS
        .iter()
        .map(|function| (function.name.to_owned(), (function.params.to_vec(), function.results.to_vec())));
    assert_eq!(declared.collect::<BTreeMap<_, _>>(), present.collect::<BTreeMap<_, _>>());
    assert_eq!(FUNCTIONS.len(), 46);
}

fn named(document: &Document, name: &str) -> Rc<Type> {
    document.typename(&Id::new(name)).unwrap().type_().clone()
}

/// The number of case `case` of the enumeration `name`.
fn number(document: &Document, name: &str, case: &str) -> u64 {
    let Type::Variant(variant) = &*named(document, name) else { panic!("{name} is not an enumeration") };
    variant.cases.iter().position(|each| each.name.as_str() == case).unwrap_or_else(|| panic!("{name}: {case}")) as u64
}

/// The flags `name`, in order.
fn flags(document: &Document, name: &str) -> Vec<String> {
    let Type::Record(record) = &*named(document, name) else { panic!("{name} is not a record") };
    record.members.iter().map(|member| member.name.as_str().to_owned()).collect()
}

#[test]
fn error_numbers_are_those_of_the_file() {
    let document = document();
    let all = [
        Errno::Success,
        Errno::Acces,
        Errno::Addrinuse,
        Errno::Addrnotavail,
        Errno::Afnosupport,
        Errno::Already,
        Errno::Connaborted,
        Errno::Connrefused,
        Errno::Connreset,
        Errno::Destaddrreq,
        Errno::Hostunreach,
        Errno::Inprogress,
        Errno::Isconn,
        Errno::Msgsize,
        Errno::Netdown,
        Errno::Netreset,
        Errno::Netunreach,
        Errno::Nobufs,
        Errno::Noprotoopt,
        Errno::Notconn,
        Errno::Timedout,
        Errno::Again,
        Errno::Badf,
        Errno::Busy,
        Errno::Dquot,
        Errno::Exist,
        Errno::Fault,
        Errno::Fbig,
        Errno::Ilseq,
        Errno::Intr,
        Errno::Inval,
        Errno::Io,
        Errno::Isdir,
        Errno::Loop,
        Errno::Mfile,
        Errno::Mlink,
        Errno::Nametoolong,
        Errno::Nfile,
        Errno::Nodev,
        Errno::Noent,
        Errno::Nomem,
        Errno::Nospc,
        Errno::Notdir,
        Errno::Notempty,
        Errno::Notsock,
        Errno::Notsup,
        Errno::Nxio,
        Errno::Overflow,
        Errno::Perm,
        Errno::Pipe,
        Errno::Rofs,
        Errno::Spipe,
        Errno::Txtbsy,
        Errno::Xdev,
        Errno::Notcapable,
    ];
    for errno in all {
        let name = format!("{errno:?}").to_lowercase();
        assert_eq!(number(&document, "errno", &name), errno as u64, "{name}");
    }
}

#[test]
fn kinds_of_files_are_those_of_the_file() {
    let document = document();
    for (kind, name) in [
        (Filetype::Unknown, "unknown"),
        (Filetype::BlockDevice, "block_device"),
        (Filetype::CharacterDevice, "character_device"),
        (Filetype::Directory, "directory"),
        (Filetype::RegularFile, "regular_file"),
        (Filetype::SocketDgram, "socket_dgram"),
        (Filetype::SocketStream, "socket_stream"),
        (Filetype::SymbolicLink, "symbolic_link"),
    ] {
        assert_eq!(number(&document, "filetype", name), kind as u64, "{name}");
    }
}

#[test]
fn flags_are_those_of_the_file() {
    let document = document();
    let numbered = |name: &str, values: &[u32], all: u32| {
        let declared = flags(&document, name);
        assert_eq!(declared.len(), values.len(), "{name}");
        assert_eq!(values, (0..values.len()).map(|bit| 1 << bit).collect::<Vec<u32>>(), "{name}");
        assert_eq!(values.iter().sum::<u32>(), all, "{name}");
        declared.join(" ")
    };
    let fdflags = numbered("fdflags", &[FD_APPEND, FD_DSYNC, FD_NONBLOCK, FD_RSYNC, FD_SYNC], FD_ALL);
    assert_eq!(fdflags, "append dsync nonblock rsync sync");
    let oflags = numbered("oflags", &[O_CREAT, O_DIRECTORY, O_EXCL, O_TRUNC], O_ALL);
    assert_eq!(oflags, "creat directory excl trunc");
    let fstflags = numbered("fstflags", &[SET_ATIM, SET_ATIM_NOW, SET_MTIM, SET_MTIM_NOW], SET_ALL);
    assert_eq!(fstflags, "atim atim_now mtim mtim_now");
    assert_eq!(numbered("lookupflags", &[SYMLINK_FOLLOW], 1), "symlink_follow");
}

#[test]
fn rights_are_those_of_the_file() {
    let declared = flags(&document(), "rights");
    let ours = [
        ("fd_datasync", rights::FD_DATASYNC),
        ("fd_read", rights::FD_READ),
        ("fd_seek", rights::FD_SEEK),
        ("fd_fdstat_set_flags", rights::FD_FDSTAT_SET_FLAGS),
        ("fd_sync", rights::FD_SYNC),
        ("fd_tell", rights::FD_TELL),
        ("fd_write", rights::FD_WRITE),
        ("fd_advise", rights::FD_ADVISE),
        ("fd_allocate", rights::FD_ALLOCATE),
        ("path_create_directory", rights::PATH_CREATE_DIRECTORY),
        ("path_create_file", rights::PATH_CREATE_FILE),
        ("path_link_source", rights::PATH_LINK_SOURCE),
        ("path_link_target", rights::PATH_LINK_TARGET),
        ("path_open", rights::PATH_OPEN),
        ("fd_readdir", rights::FD_READDIR),
        ("path_readlink", rights::PATH_READLINK),
        ("path_rename_source", rights::PATH_RENAME_SOURCE),
        ("path_rename_target", rights::PATH_RENAME_TARGET),
        ("path_filestat_get", rights::PATH_FILESTAT_GET),
        ("path_filestat_set_size", rights::PATH_FILESTAT_SET_SIZE),
        ("path_filestat_set_times", rights::PATH_FILESTAT_SET_TIMES),
        ("fd_filestat_get", rights::FD_FILESTAT_GET),
        ("fd_filestat_set_size", rights::FD_FILESTAT_SET_SIZE),
        ("fd_filestat_set_times", rights::FD_FILESTAT_SET_TIMES),
        ("path_symlink", rights::PATH_SYMLINK),
        ("path_remove_directory", rights::PATH_REMOVE_DIRECTORY),
        ("path_unlink_file", rights::PATH_UNLINK_FILE),
        ("poll_fd_readwrite", rights::POLL_FD_READWRITE),
    ];
    for (name, right) in ours {
        let bit = declared.iter().position(|each| each == name).unwrap_or_else(|| panic!("{name}"));
        assert_eq!(right, 1 << bit, "{name}");
    }
}

/// The bytes of each member of the record `name` in `bytes`, as a number.
fn members(name: &str, bytes: &[u8]) -> BTreeMap<String, u64> {
    let document = document();
    let Type::Record(record) = &*named(&document, name) else { panic!("{name} is not a record") };
    assert_eq!(record.mem_size_align().size, bytes.len(), "{name}");
    record
        .member_layout()
        .iter()
        .map(|layout| {
            let mut value = [0; 8];
            let size = layout.member.tref.mem_size_align().size.min(8);
            value[..size].copy_from_slice(&bytes[layout.offset..][..size]);
            (layout.member.name.as_str().to_owned(), u64::from_le_bytes(value))
        })
        .collect()
}

fn expected(members: &[(&str, u64)]) -> BTreeMap<String, u64> {
    members.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
}

#[test]
fn records_lie_as_in_the_file() {
    let filestat = Filestat {
        dev: 11,
        ino: 12,
        filetype: Filetype::SymbolicLink,
        nlink: 13,
        size: 14,
        atim: 15,
        mtim: 16,
        ctim: 17,
    };
    let layout = [
        ("dev", 11),
        ("ino", 12),
        ("filetype", 7),
        ("nlink", 13),
        ("size", 14),
        ("atim", 15),
        ("mtim", 16),
        ("ctim", 17),
    ];
    assert_eq!(members("filestat", &filestat.encode()), expected(&layout));

    let fdstat = Fdstat { filetype: Filetype::Directory, flags: FD_ALL, base: 21, inheriting: 22 };
    let layout = [("fs_filetype", 3), ("fs_flags", 31), ("fs_rights_base", 21), ("fs_rights_inheriting", 22)];
    assert_eq!(members("fdstat", &fdstat.encode()), expected(&layout));

    let dirent = Dirent { next: 31, ino: 32, name_len: 33, filetype: Filetype::RegularFile };
    let layout = [("d_next", 31), ("d_ino", 32), ("d_namlen", 33), ("d_type", 4)];
    assert_eq!(members("dirent", &dirent.encode()), expected(&layout));

    let event = Event { userdata: 41, kind: 2, nbytes: 42, hangup: true };
    let layout = [("userdata", 41), ("error", 0), ("type", 2), ("fd_readwrite", 42)];
    let bytes = event.encode();
    assert_eq!(members("event", &bytes), expected(&layout));
    assert_eq!(members("event_fd_readwrite", &bytes[16..]), expected(&[("nbytes", 42), ("flags", 1)]));
}

#[test]
fn a_subscription_lies_as_in_the_file() {
    let document = document();
    let Type::Record(subscription) = &*named(&document, "subscription") else { panic!() };
    assert_eq!(subscription.mem_size_align().size, poll::SUBSCRIPTION_SIZE as usize);
    let offsets = subscription.member_layout().iter().map(|layout| layout.offset).collect::<Vec<_>>();
    assert_eq!(offsets, [0, 8]);
    let Type::Variant(union) = &*named(&document, "subscription_u") else { panic!() };
    assert_eq!(union.payload_offset(), 8);
    let Type::Record(clock) = &*named(&document, "subscription_clock") else { panic!() };
    let offsets = clock.member_layout().iter().map(|layout| layout.offset).collect::<Vec<_>>();
    assert_eq!(offsets, [0, 8, 16, 24]);
}
