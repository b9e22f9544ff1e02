//! A probe of preview 1: every function of core's table, with memory laid out for them.

use std::fmt;
use std::ops::Range;

use wharf_core::abi::preview1::{FUNCTIONS, MODULE};
use wharf_core::grants::WasiConfig;
use wharf_core::{GuestConfig, ValType};

use crate::case::{CaseResult, Unmet};
use crate::context::Context;
use crate::probe::{Probe, Wat};
use crate::{check, check_eq};

/// Where [`WasiProbe`] puts things in the guest's memory, which has one page.
pub(in crate::cases) mod at {
    /// A path; 4 KiB and a bit.
    pub(in crate::cases) const PATH: u32 = 0x0100;
    /// A second path; as much.
    pub(in crate::cases) const PATH_2: u32 = 0x1200;
    /// A list of buffers; room for 1024 and one.
    pub(in crate::cases) const LIST: u32 = 0x2300;
    /// A result; up to 64 bytes, and not aligned.
    pub(in crate::cases) const OUT: u32 = 0x4401;
    /// A second result.
    pub(in crate::cases) const OUT_2: u32 = 0x4481;
    /// Data that is read and written; up to the end of the page.
    pub(in crate::cases) const DATA: u32 = 0x8000;
    /// How much data there is room for.
    pub(in crate::cases) const DATA_LEN: u32 = END - DATA;
    /// The end of the memory.
    pub(in crate::cases) const END: u32 = 0x1_0000;
}

/// The first granted directory.
pub(in crate::cases) const DIR: u64 = 3;

/// The right to read, which makes `path_open` open for reading.
pub(in crate::cases) const READ: u64 = 1 << 1;
/// The right to write, which makes `path_open` open for writing.
pub(in crate::cases) const WRITE: u64 = 1 << 6;

/// `path_open`: create the file.
pub(in crate::cases) const CREAT: u32 = 1;
/// `path_open`: nothing but a directory.
pub(in crate::cases) const DIRECTORY: u32 = 2;
/// `path_open`: the file must be new.
pub(in crate::cases) const EXCL: u32 = 4;
/// `path_open`: empty the file.
pub(in crate::cases) const TRUNC: u32 = 8;

/// A descriptor's flag: every write goes to the end.
pub(in crate::cases) const APPEND: u32 = 1;
/// A descriptor's flag: answer rather than wait.
pub(in crate::cases) const NONBLOCK: u32 = 4;

/// An error number, shown by its name in the WITX file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::cases) struct Errno(pub(in crate::cases) u32);

impl Errno {
    pub(in crate::cases) const SUCCESS: Errno = Errno(0);
    pub(in crate::cases) const ACCES: Errno = Errno(2);
    pub(in crate::cases) const AFNOSUPPORT: Errno = Errno(5);
    pub(in crate::cases) const AGAIN: Errno = Errno(6);
    pub(in crate::cases) const BADF: Errno = Errno(8);
    pub(in crate::cases) const CONNREFUSED: Errno = Errno(14);
    pub(in crate::cases) const CONNRESET: Errno = Errno(15);
    pub(in crate::cases) const EXIST: Errno = Errno(20);
    pub(in crate::cases) const FAULT: Errno = Errno(21);
    pub(in crate::cases) const ILSEQ: Errno = Errno(25);
    pub(in crate::cases) const INPROGRESS: Errno = Errno(26);
    pub(in crate::cases) const INVAL: Errno = Errno(28);
    pub(in crate::cases) const ISDIR: Errno = Errno(31);
    pub(in crate::cases) const LOOP: Errno = Errno(32);
    pub(in crate::cases) const NAMETOOLONG: Errno = Errno(37);
    pub(in crate::cases) const NFILE: Errno = Errno(41);
    pub(in crate::cases) const NOENT: Errno = Errno(44);
    pub(in crate::cases) const NOMEM: Errno = Errno(48);
    pub(in crate::cases) const NOPROTOOPT: Errno = Errno(50);
    pub(in crate::cases) const NOTCONN: Errno = Errno(53);
    pub(in crate::cases) const NOTDIR: Errno = Errno(54);
    pub(in crate::cases) const NOTEMPTY: Errno = Errno(55);
    pub(in crate::cases) const NOTSOCK: Errno = Errno(57);
    pub(in crate::cases) const NOTSUP: Errno = Errno(58);
    pub(in crate::cases) const PERM: Errno = Errno(63);
    pub(in crate::cases) const PIPE: Errno = Errno(64);
    pub(in crate::cases) const SPIPE: Errno = Errno(70);
    pub(in crate::cases) const NOTCAPABLE: Errno = Errno(76);
    pub(in crate::cases) const AIBADFLAG: Errno = Errno(79);
    pub(in crate::cases) const AIFAMILY: Errno = Errno(81);
    pub(in crate::cases) const AIMEMORY: Errno = Errno(82);
    pub(in crate::cases) const AINONAME: Errno = Errno(84);
    pub(in crate::cases) const AISERVICE: Errno = Errno(85);
    pub(in crate::cases) const AISOCKTYPE: Errno = Errno(86);

    /// The names, in the order of the WITX file; then those that WasmEdge adds.
    const NAMES: [&str; 88] = [
        "success",
        "2big",
        "acces",
        "addrinuse",
        "addrnotavail",
        "afnosupport",
        "again",
        "already",
        "badf",
        "badmsg",
        "busy",
        "canceled",
        "child",
        "connaborted",
        "connrefused",
        "connreset",
        "deadlk",
        "destaddrreq",
        "dom",
        "dquot",
        "exist",
        "fault",
        "fbig",
        "hostunreach",
        "idrm",
        "ilseq",
        "inprogress",
        "intr",
        "inval",
        "io",
        "isconn",
        "isdir",
        "loop",
        "mfile",
        "mlink",
        "msgsize",
        "multihop",
        "nametoolong",
        "netdown",
        "netreset",
        "netunreach",
        "nfile",
        "nobufs",
        "nodev",
        "noent",
        "noexec",
        "nolck",
        "nolink",
        "nomem",
        "nomsg",
        "noprotoopt",
        "nospc",
        "nosys",
        "notconn",
        "notdir",
        "notempty",
        "notrecoverable",
        "notsock",
        "notsup",
        "notty",
        "nxio",
        "overflow",
        "ownerdead",
        "perm",
        "pipe",
        "proto",
        "protonosupport",
        "prototype",
        "range",
        "rofs",
        "spipe",
        "srch",
        "stale",
        "timedout",
        "txtbsy",
        "xdev",
        "notcapable",
        // WasmEdge's own.
        "aiaddrfamily",
        "aiagain",
        "aibadflag",
        "aifail",
        "aifamily",
        "aimemory",
        "ainodata",
        "ainoname",
        "aiservice",
        "aisocktype",
        "aisystem",
    ];
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::NAMES.get(self.0 as usize).copied().unwrap_or("undefined");
        write!(f, "{name} ({})", self.0)
    }
}

/// A running probe of preview 1.
pub(in crate::cases) struct WasiProbe {
    /// The probe.
    pub(in crate::cases) probe: Probe,
}

impl WasiProbe {
    /// A module that imports every function of preview 1, with a wrapper for each, to which a case may add.
    pub(in crate::cases) fn wat() -> Wat {
        FUNCTIONS.iter().fold(Wat::new(), |wat, function| {
            wat.import(MODULE, function.name, &types(function.params), &types(function.results))
        })
    }

    /// Starts the probe.
    pub(in crate::cases) fn start(context: &Context, wasi: WasiConfig) -> CaseResult<Self> {
        Self::start_with(context, GuestConfig { wasi, ..GuestConfig::default() })
    }

    /// A running probe of a module that imports more than preview 1.
    pub(in crate::cases) fn of(mut probe: Probe) -> CaseResult<Self> {
        probe.canary()?;
        Ok(WasiProbe { probe })
    }

    /// Starts the probe under a time limit, or with a token to cancel it.
    pub(in crate::cases) fn start_with(context: &Context, config: GuestConfig) -> CaseResult<Self> {
        Self::of(context.probe(&Self::wat(), config)?)
    }

    /// Calls a function and gives its error number; only `allowed` may be written.
    pub(in crate::cases) fn call(&mut self, function: &str, args: &[u64], allowed: &[Range<u32>]) -> CaseResult<Errno> {
        let before = self.probe.snapshot()?;
        let errno = self.unchecked(function, args)?;
        self.only_wrote(&before, allowed)
            .map_err(|unmet| unmet.context(format_args!("{function}{args:?} answered {errno:?}")))?;
        Ok(errno)
    }

    /// Calls a function, whose writes the case looks at itself.
    pub(in crate::cases) fn unchecked(&mut self, function: &str, args: &[u64]) -> CaseResult<Errno> {
        let results = self.probe.call(function, args)?;
        check_eq!(results.len(), 1, "the number of results of {function}");
        let errno =
            u32::try_from(results[0]).map_err(|_| Unmet::failed(format!("{function}: an i32 has high bits set")))?;
        check!(
            (errno as usize) < Errno::NAMES.len(),
            "{function}{args:?} answered {errno}, which is not an error number"
        );
        Ok(Errno(errno))
    }

    /// As [`Probe::only_wrote`], and quick if nothing was.
    fn only_wrote(&mut self, before: &[u8], allowed: &[Range<u32>]) -> CaseResult {
        if self.probe.memory()? == before { Ok(()) } else { self.probe.only_wrote(before, allowed) }
    }

    /// Calls a function, which must succeed; only `allowed` may be written.
    pub(in crate::cases) fn ok(&mut self, function: &str, args: &[u64], allowed: &[Range<u32>]) -> CaseResult {
        check_eq!(self.call(function, args, allowed)?, Errno::SUCCESS, "what {function}{args:?} answers");
        Ok(())
    }

    /// Calls a function, which must answer `errno` and write nothing.
    pub(in crate::cases) fn fails(&mut self, function: &str, args: &[u64], errno: Errno) -> CaseResult {
        check_eq!(self.call(function, args, &[])?, errno, "what {function}{args:?} answers");
        Ok(())
    }

    /// Puts a path in memory; its pointer and length are two arguments.
    pub(in crate::cases) fn path(&mut self, path: impl AsRef<[u8]>) -> CaseResult<[u64; 2]> {
        self.path_at(at::PATH, path.as_ref())
    }

    /// As [`path`](Self::path), for a function's second path.
    pub(in crate::cases) fn path_2(&mut self, path: impl AsRef<[u8]>) -> CaseResult<[u64; 2]> {
        self.path_at(at::PATH_2, path.as_ref())
    }

    fn path_at(&mut self, at: u32, path: &[u8]) -> CaseResult<[u64; 2]> {
        check!(path.len() <= 0x1100, "the case's path is too long for the probe");
        self.probe.put(at, path)?;
        Ok([at.into(), path.len() as u64])
    }

    /// Puts a list of buffers, each pointer and length, in memory; its pointer and count are two arguments.
    pub(in crate::cases) fn iovecs(&mut self, buffers: &[(u32, u32)]) -> CaseResult<[u64; 2]> {
        let list: Vec<u8> =
            buffers.iter().flat_map(|(ptr, len)| [ptr.to_le_bytes(), len.to_le_bytes()].concat()).collect();
        check!(list.len() <= (at::OUT - at::LIST) as usize, "the case's list of buffers is too long for the probe");
        self.probe.put(at::LIST, &list)?;
        Ok([at::LIST.into(), buffers.len() as u64])
    }

    /// Calls a function whose arguments are a directory and a path, and gives its error number.
    pub(in crate::cases) fn by_path(&mut self, function: &str, dir: u64, path: &str) -> CaseResult<Errno> {
        let [ptr, len] = self.path(path)?;
        self.call(function, &[dir, ptr, len], &[])
    }

    /// Calls `path_open`, following links, and gives the descriptor or the error number.
    pub(in crate::cases) fn open_as(
        &mut self,
        dir: u64,
        path: &str,
        oflags: u32,
        rights: u64,
        fdflags: u32,
    ) -> CaseResult<Result<u64, Errno>> {
        let [ptr, len] = self.path(path)?;
        let args = [dir, 1, ptr, len, oflags.into(), rights, rights, fdflags.into(), at::OUT.into()];
        let before = self.probe.snapshot()?;
        let errno = self.unchecked("path_open", &args)?;
        if errno != Errno::SUCCESS {
            self.only_wrote(&before, &[])
                .map_err(|unmet| unmet.context(format_args!("path_open of {path:?} answered {errno:?}")))?;
            return Ok(Err(errno));
        }
        self.only_wrote(&before, &[range(at::OUT, 4)])?;
        Ok(Ok(self.probe.u32_at(at::OUT)?.into()))
    }

    /// Opens a path below the first granted directory, which must succeed.
    pub(in crate::cases) fn open(&mut self, path: &str, oflags: u32, rights: u64) -> CaseResult<u64> {
        self.open_as(DIR, path, oflags, rights, 0)?
            .map_err(|errno| Unmet::failed(format!("path_open of {path:?} answered {errno:?}")))
    }

    /// Writes bytes with one buffer, which must succeed, and gives how many were written.
    pub(in crate::cases) fn write(&mut self, fd: u64, bytes: &[u8]) -> CaseResult<u32> {
        self.probe.put(at::DATA, bytes)?;
        let len = u32::try_from(bytes.len()).map_err(Unmet::harness)?;
        let [iovs, count] = self.iovecs(&[(at::DATA, len)])?;
        self.ok("fd_write", &[fd, iovs, count, at::OUT.into()], &[range(at::OUT, 4)])?;
        self.probe.u32_at(at::OUT)
    }

    /// Reads into one buffer of `len` bytes, which must succeed, and gives what was read.
    pub(in crate::cases) fn read(&mut self, fd: u64, len: u32) -> CaseResult<Vec<u8>> {
        let [iovs, count] = self.iovecs(&[(at::DATA, len)])?;
        self.fill("fd_read", &[fd, iovs, count, at::OUT.into()], len)
    }

    /// Calls a function that fills the data with at most `len` bytes and puts their count in `OUT`, which must succeed.
    pub(in crate::cases) fn fill(&mut self, function: &str, args: &[u64], len: u32) -> CaseResult<Vec<u8>> {
        let before = self.probe.snapshot()?;
        check_eq!(self.unchecked(function, args)?, Errno::SUCCESS, "what {function}{args:?} answers");
        let filled = self.probe.u32_at(at::OUT)?;
        check!(filled <= len, "{function} says it put {filled} bytes into buffers of {len}");
        self.only_wrote(&before, &[range(at::DATA, filled), range(at::OUT, 4)])?;
        self.probe.bytes(at::DATA, filled)
    }
}

/// `len` bytes from `start`.
pub(in crate::cases) fn range(start: u32, len: u32) -> Range<u32> {
    start..start.saturating_add(len)
}

/// Types as the text format has them.
pub(in crate::cases) fn types(types: &[ValType]) -> String {
    types.iter().map(|ty| ty.name()).collect::<Vec<_>>().join(" ")
}
