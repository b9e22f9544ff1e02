//! `preview1/bounds/...`: every function of core's table with pointers and lengths that leave the memory, and with
//! descriptors that are not open. Each answers an error number, and neither memory nor files have changed.
//!
//! Which of core's functions have a case is checked when this file is compiled: none can be left out.

use tempfile::TempDir;
use wharf_core::ValType;
use wharf_core::abi::preview1::FUNCTIONS;
use wharf_core::grants::WasiConfig;

use super::host;
use super::probe::{DIR, Errno, READ, WRITE, WasiProbe, at, range};
use crate::case::{Case, CaseResult, Unmet};
use crate::context::Context;
use crate::{check, check_eq};

/// An argument of a good call, by what it means.
#[derive(Debug, Clone, Copy)]
enum Arg {
    /// Where something lies, or is to be put: of at least two bytes.
    Ptr(u32),
    /// How much, of bytes or of records that lie at the pointer before it.
    Len(u32),
    /// How much room there is for what may be less: a larger number is no lie.
    Room(u32),
    /// A descriptor.
    Fd(u32),
    /// Anything else.
    Val(u64),
}

use Arg::{Fd, Len, Ptr, Room, Val};

impl Arg {
    fn value(self) -> u64 {
        match self {
            Ptr(value) | Len(value) | Room(value) | Fd(value) => value.into(),
            Val(value) => value,
        }
    }
}

/// Arguments with which a function does what it is for, and what it answers then.
struct Good {
    args: Vec<Arg>,
    answer: Errno,
}

fn good(args: impl Into<Vec<Arg>>) -> Good {
    Good { args: args.into(), answer: Errno::SUCCESS }
}

fn answering(answer: Errno, args: impl Into<Vec<Arg>>) -> Good {
    Good { args: args.into(), answer }
}

/// A case for each function: its id, and the arguments.
macro_rules! bounds {
    ($($id:literal => $good:expr,)*) => {
        /// The cases of this file.
        pub(super) const CASES: &[Case] = &[$(
            Case::must(
                concat!("preview1/bounds/", $id),
                concat!("wasi_snapshot_preview1: ", $id, ", out of bounds"),
                |context| bounds(context, $id, &$good),
            )
        ),*];

        const _: () = {
            let ids = [$($id),*];
            let mut index = 0;
            while index < FUNCTIONS.len() {
                let name = FUNCTIONS[index].name;
                assert!(same(name, "proc_exit") || found(name, &ids), "a function of preview 1 has no case here");
                index += 1;
            }
            assert!(ids.len() == FUNCTIONS.len() - 1, "there is a case here for a name that preview 1 lacks");
        };
    };
}

const FILE: u32 = 4;
const GRANTED: u32 = DIR as u32;
const OUT: Arg = Ptr(at::OUT);
const OUT_2: Arg = Ptr(at::OUT_2);
const DATA: Arg = Ptr(at::DATA);
/// Two buffers, as [`fixture`] lays them out.
const IOVS: [Arg; 2] = [Ptr(at::LIST), Len(2)];
/// The names of what is in the granted directory, and of what is not yet.
const NAME: [Arg; 2] = [Ptr(at::PATH), Len(4)];
const DIR_NAME: [Arg; 2] = [Ptr(at::PATH + 0x10), Len(3)];
const LINK_NAME: [Arg; 2] = [Ptr(at::PATH + 0x20), Len(4)];
const NEW_NAME: [Arg; 2] = [Ptr(at::PATH_2), Len(3)];
const SUBSCRIPTION: Arg = Ptr(at::PATH + 0x40);

bounds! {
    "args-get" => good([DATA, Ptr(at::DATA + 256)]),
    "args-sizes-get" => good([OUT, OUT_2]),
    "environ-get" => good([DATA, Ptr(at::DATA + 256)]),
    "environ-sizes-get" => good([OUT, OUT_2]),
    "clock-res-get" => good([Val(0), OUT]),
    "clock-time-get" => good([Val(1), Val(0), OUT]),
    "fd-advise" => good([Fd(FILE), Val(0), Val(16), Val(3)]),
    "fd-allocate" => answering(Errno::NOTSUP, [Fd(FILE), Val(0), Val(16)]),
    "fd-close" => good([Fd(FILE)]),
    "fd-datasync" => good([Fd(FILE)]),
    "fd-fdstat-get" => good([Fd(FILE), OUT]),
    "fd-fdstat-set-flags" => good([Fd(FILE), Val(4)]),
    "fd-fdstat-set-rights" => good([Fd(FILE), Val(READ), Val(0)]),
    "fd-filestat-get" => good([Fd(FILE), OUT]),
    "fd-filestat-set-size" => good([Fd(FILE), Val(5)]),
    "fd-filestat-set-times" => good([Fd(FILE), Val(1), Val(2), Val(5)]),
    "fd-pread" => good([Fd(FILE), IOVS[0], IOVS[1], Val(3), OUT]),
    "fd-prestat-get" => good([Fd(GRANTED), OUT]),
    "fd-prestat-dir-name" => good([Fd(GRANTED), DATA, Room(8)]),
    "fd-pwrite" => good([Fd(FILE), IOVS[0], IOVS[1], Val(3), OUT]),
    "fd-read" => good([Fd(FILE), IOVS[0], IOVS[1], OUT]),
    "fd-readdir" => good([Fd(GRANTED), DATA, Len(512), Val(0), OUT]),
    "fd-renumber" => good([Fd(FILE), Fd(GRANTED)]),
    "fd-seek" => good([Fd(FILE), Val(7), Val(0), OUT]),
    "fd-sync" => good([Fd(FILE)]),
    "fd-tell" => good([Fd(FILE), OUT]),
    "fd-write" => good([Fd(FILE), IOVS[0], IOVS[1], OUT]),
    "path-create-directory" => good([Fd(GRANTED), NEW_NAME[0], NEW_NAME[1]]),
    "path-filestat-get" => good([Fd(GRANTED), Val(1), NAME[0], NAME[1], OUT]),
    "path-filestat-set-times" => good([Fd(GRANTED), Val(1), NAME[0], NAME[1], Val(1), Val(2), Val(5)]),
    "path-link" => good([Fd(GRANTED), Val(0), NAME[0], NAME[1], Fd(GRANTED), NEW_NAME[0], NEW_NAME[1]]),
    "path-open" => {
        good([Fd(GRANTED), Val(1), NAME[0], NAME[1], Val(0), Val(READ), Val(0), Val(0), OUT])
    },
    "path-readlink" => good([Fd(GRANTED), LINK_NAME[0], LINK_NAME[1], DATA, Len(64), OUT]),
    "path-remove-directory" => good([Fd(GRANTED), DIR_NAME[0], DIR_NAME[1]]),
    "path-rename" => good([Fd(GRANTED), NAME[0], NAME[1], Fd(GRANTED), NEW_NAME[0], NEW_NAME[1]]),
    "path-symlink" => good([NAME[0], NAME[1], Fd(GRANTED), NEW_NAME[0], NEW_NAME[1]]),
    "path-unlink-file" => good([Fd(GRANTED), NAME[0], NAME[1]]),
    "poll-oneoff" => good([SUBSCRIPTION, DATA, Len(1), OUT]),
    "proc-raise" => answering(Errno::NOTSUP, [Val(6)]),
    "sched-yield" => good([]),
    "random-get" => good([DATA, Len(64)]),
    "sock-accept" => answering(Errno::NOTSOCK, [Fd(FILE), Val(0), OUT]),
    "sock-recv" => answering(Errno::NOTSOCK, [Fd(FILE), IOVS[0], IOVS[1], Val(0), OUT, OUT_2]),
    "sock-send" => answering(Errno::NOTSOCK, [Fd(FILE), IOVS[0], IOVS[1], Val(0), OUT]),
    "sock-shutdown" => answering(Errno::NOTSOCK, [Fd(FILE), Val(1)]),
}

/// Whether two names are the same, when `_` and `-` are.
const fn same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let mut index = 0;
    while index < one.len() && index < other.len() {
        let alike = one[index] == other[index] || one[index] == b'_' && other[index] == b'-';
        if !alike {
            return false;
        }
        index += 1;
    }
    one.len() == other.len()
}

const fn found(name: &str, ids: &[&str]) -> bool {
    let mut index = 0;
    while index < ids.len() {
        if same(name, ids[index]) {
            return true;
        }
        index += 1;
    }
    false
}

/// A probe with all that the good calls name: arguments, a variable, a granted directory and a file open in it.
fn fixture(context: &Context) -> CaseResult<(WasiProbe, TempDir)> {
    let directory = host::directory()?;
    host::put(directory.path().join("file"), "0123456789abcdef")?;
    host::make_directory(directory.path().join("dir"))?;
    host::link("file", directory.path().join("link"))?;
    let config = WasiConfig::new().args(["guest", "x"])?.env("KEY", "value")?.preopen(directory.path(), "/granted")?;
    let mut probe = WasiProbe::start(context, config)?;
    check_eq!(probe.open("file", 0, READ | WRITE)?, u64::from(FILE), "the file's descriptor");
    lay_out(&mut probe)?;
    Ok((probe, directory))
}

fn lay_out(probe: &mut WasiProbe) -> CaseResult {
    probe.probe.canary()?;
    probe.iovecs(&[(at::DATA, 4), (at::DATA + 16, 4)])?;
    probe.probe.put(at::PATH, b"file")?;
    probe.probe.put(at::PATH + 0x10, b"dir")?;
    probe.probe.put(at::PATH + 0x20, b"link")?;
    // A clock that has rung already.
    probe.probe.put(at::PATH + 0x40, &[0; 48])?;
    probe.probe.put(at::PATH_2, b"new")
}

/// Pointers of which no two bytes lie in the memory.
const POINTERS: [u32; 7] = [at::END - 1, at::END, at::END + 1, 0x7fff_ffff, 0x8000_0000, 0xffff_fff0, 0xffff_ffff];
/// Lengths that no memory of one page has, some of which wrap around when multiplied by the size of a record.
const LENGTHS: [u32; 7] = [at::END + 1, 0x0555_5556, 0x1000_0000, 0x2000_0000, 0x7fff_ffff, 0xffff_fff0, 0xffff_ffff];
/// Descriptors that are not open.
const DESCRIPTORS: [u32; 6] = [FILE + 1, 1000, 0x7fff_ffff, 0x8000_0000, 0xffff_fff0, 0xffff_ffff];

fn bounds(context: &Context, id: &str, good: &Good) -> CaseResult {
    let name = id.replace('-', "_");
    let function = FUNCTIONS.iter().find(|function| function.name == name);
    let function = function.ok_or_else(|| Unmet::harness(format!("core has no function {name}")))?;
    check_eq!(good.args.len(), function.params.len(), "the number of arguments in the case");
    let (mut probe, directory) = fixture(context)?;
    let before = host::listing(directory.path())?;
    for (index, arg) in good.args.iter().enumerate() {
        let bad: &[u32] = match arg {
            Ptr(_) => &POINTERS,
            Len(_) => &LENGTHS,
            Fd(_) => &DESCRIPTORS,
            Room(_) | Val(_) => &[],
        };
        check!(bad.is_empty() || function.params[index] == ValType::I32, "argument {index} is not an i32");
        for bad in bad {
            let mut args: Vec<u64> = good.args.iter().map(|arg| arg.value()).collect();
            args[index] = u64::from(*bad);
            let errno = probe.call(&name, &args, &[])?;
            let right: &[Errno] = match arg {
                Ptr(_) => &[Errno::FAULT],
                Fd(_) => &[Errno::BADF],
                // A count may be refused before it is found to leave the memory.
                _ => &[Errno::FAULT, Errno::INVAL],
            };
            check!(right.contains(&errno), "{name} with argument {index} of {bad:#x} answers {errno:?}, not {right:?}");
            check_eq!(host::listing(directory.path())?, before, "the files after {name} with argument {index} bad");
        }
    }
    probe.fails("fd_close", &[u64::from(FILE) + 1], Errno::BADF)?;
    // Bad were only the arguments that were spoilt: with good ones the function does what it is for.
    let args: Vec<u64> = good.args.iter().map(|arg| arg.value()).collect();
    let anywhere = [range(at::OUT, 64), range(at::OUT_2, 64), range(at::DATA, at::DATA_LEN)];
    check_eq!(probe.call(&name, &args, &anywhere)?, good.answer, "what {name}{args:?} answers");
    Ok(())
}
