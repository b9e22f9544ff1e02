//! Error numbers, and how a function of this ABI fails.

use std::io;

use rustix::io::Errno as Os;

use crate::imports::Stop;
use crate::memory::MemoryError;

/// The error numbers this implementation answers with. Each name is the WITX name; a test compares the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub(in crate::abi) enum Errno {
    Success = 0,
    Acces = 2,
    Again = 6,
    Badf = 8,
    Busy = 10,
    Dquot = 19,
    Exist = 20,
    Fault = 21,
    Fbig = 22,
    Ilseq = 25,
    Intr = 27,
    Inval = 28,
    Io = 29,
    Isdir = 31,
    Loop = 32,
    Mfile = 33,
    Mlink = 34,
    Nametoolong = 37,
    Nfile = 41,
    Nodev = 43,
    Noent = 44,
    Nomem = 48,
    Nospc = 51,
    Notdir = 54,
    Notempty = 55,
    Notsock = 57,
    Notsup = 58,
    Nxio = 60,
    Overflow = 61,
    Perm = 63,
    Pipe = 64,
    Rofs = 69,
    Spipe = 70,
    Txtbsy = 74,
    Xdev = 75,
    Notcapable = 76,
}

/// Why a function did not succeed.
#[derive(Debug)]
pub(in crate::abi) enum Fail {
    /// The guest gets this number and runs on.
    Errno(Errno),
    /// The guest ends.
    Stop(Stop),
}

/// What a function of this ABI returns inside core.
pub(in crate::abi) type Outcome<T = ()> = Result<T, Fail>;

impl From<Errno> for Fail {
    fn from(errno: Errno) -> Self {
        Fail::Errno(errno)
    }
}

impl From<Stop> for Fail {
    fn from(stop: Stop) -> Self {
        Fail::Stop(stop)
    }
}

impl From<MemoryError> for Fail {
    fn from(_: MemoryError) -> Self {
        Fail::Errno(Errno::Fault)
    }
}

impl From<io::Error> for Fail {
    fn from(error: io::Error) -> Self {
        Fail::Errno(Errno::from(&error))
    }
}

impl From<rustix::io::Errno> for Fail {
    fn from(error: rustix::io::Errno) -> Self {
        Fail::from(io::Error::from(error))
    }
}

impl From<&io::Error> for Errno {
    fn from(error: &io::Error) -> Self {
        match error.raw_os_error() {
            Some(code) => from_os(Os::from_raw_os_error(code)),
            // Without a number it comes from cap-std, whose "permission denied" means a path that leaves its directory.
            None => match error.kind() {
                io::ErrorKind::NotFound => Errno::Noent,
                io::ErrorKind::PermissionDenied => Errno::Perm,
                io::ErrorKind::AlreadyExists => Errno::Exist,
                io::ErrorKind::InvalidInput => Errno::Inval,
                io::ErrorKind::WouldBlock => Errno::Again,
                io::ErrorKind::Interrupted => Errno::Intr,
                io::ErrorKind::BrokenPipe => Errno::Pipe,
                io::ErrorKind::OutOfMemory => Errno::Nomem,
                io::ErrorKind::Unsupported => Errno::Notsup,
                _ => Errno::Io,
            },
        }
    }
}

fn from_os(code: Os) -> Errno {
    const TABLE: &[(Os, Errno)] = &[
        (Os::ACCESS, Errno::Acces),
        (Os::AGAIN, Errno::Again),
        (Os::BADF, Errno::Badf),
        (Os::BUSY, Errno::Busy),
        (Os::DQUOT, Errno::Dquot),
        (Os::EXIST, Errno::Exist),
        (Os::FBIG, Errno::Fbig),
        (Os::ILSEQ, Errno::Ilseq),
        (Os::INTR, Errno::Intr),
        (Os::INVAL, Errno::Inval),
        (Os::ISDIR, Errno::Isdir),
        (Os::LOOP, Errno::Loop),
        (Os::MFILE, Errno::Mfile),
        (Os::MLINK, Errno::Mlink),
        (Os::NAMETOOLONG, Errno::Nametoolong),
        (Os::NFILE, Errno::Nfile),
        (Os::NODEV, Errno::Nodev),
        (Os::NOENT, Errno::Noent),
        (Os::NOMEM, Errno::Nomem),
        (Os::NOSPC, Errno::Nospc),
        (Os::NOTDIR, Errno::Notdir),
        (Os::NOTEMPTY, Errno::Notempty),
        (Os::NOTSUP, Errno::Notsup),
        (Os::OPNOTSUPP, Errno::Notsup),
        (Os::NXIO, Errno::Nxio),
        (Os::OVERFLOW, Errno::Overflow),
        (Os::PERM, Errno::Perm),
        (Os::PIPE, Errno::Pipe),
        (Os::ROFS, Errno::Rofs),
        (Os::SPIPE, Errno::Spipe),
        (Os::TXTBSY, Errno::Txtbsy),
        (Os::XDEV, Errno::Xdev),
    ];
    TABLE.iter().find(|(os, _)| *os == code).map_or(Errno::Io, |(_, errno)| *errno)
}
