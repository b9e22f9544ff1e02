//! Error numbers, and how a function of this ABI fails.

use std::io;

use rustix::io::Errno as Os;

use crate::memory::MemoryError;
use crate::stop::Stop;

/// The error numbers this implementation answers with. Each name is the WITX name; a test compares the numbers. Those
/// above `notcapable` are WasmEdge's, for `sock_getaddrinfo`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub(in crate::abi) enum Errno {
    Success = 0,
    Acces = 2,
    Addrinuse = 3,
    Addrnotavail = 4,
    Afnosupport = 5,
    Again = 6,
    Already = 7,
    Badf = 8,
    Busy = 10,
    Connaborted = 13,
    Connrefused = 14,
    Connreset = 15,
    Destaddrreq = 17,
    Dquot = 19,
    Exist = 20,
    Fault = 21,
    Fbig = 22,
    Hostunreach = 23,
    Ilseq = 25,
    Inprogress = 26,
    Intr = 27,
    Inval = 28,
    Io = 29,
    Isconn = 30,
    Isdir = 31,
    Loop = 32,
    Mfile = 33,
    Mlink = 34,
    Msgsize = 35,
    Nametoolong = 37,
    Netdown = 38,
    Netreset = 39,
    Netunreach = 40,
    Nfile = 41,
    Nobufs = 42,
    Nodev = 43,
    Noent = 44,
    Nomem = 48,
    Noprotoopt = 50,
    Nospc = 51,
    Notconn = 53,
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
    Timedout = 73,
    Txtbsy = 74,
    Xdev = 75,
    Notcapable = 76,
    // From here on WasmEdge's own: what a look-up answers.
    Aiagain = 78,
    Aibadflag = 79,
    Aifail = 80,
    Aifamily = 81,
    Aimemory = 82,
    Ainoname = 84,
    Aiservice = 85,
    Aisocktype = 86,
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
                io::ErrorKind::IsADirectory => Errno::Isdir,
                io::ErrorKind::NotADirectory => Errno::Notdir,
                io::ErrorKind::StorageFull => Errno::Nospc,
                _ => Errno::Io,
            },
        }
    }
}

fn from_os(code: Os) -> Errno {
    const TABLE: &[(Os, Errno)] = &[
        (Os::ACCESS, Errno::Acces),
        (Os::ADDRINUSE, Errno::Addrinuse),
        (Os::ADDRNOTAVAIL, Errno::Addrnotavail),
        (Os::AFNOSUPPORT, Errno::Afnosupport),
        (Os::AGAIN, Errno::Again),
        (Os::ALREADY, Errno::Already),
        (Os::BADF, Errno::Badf),
        (Os::BUSY, Errno::Busy),
        (Os::CONNABORTED, Errno::Connaborted),
        (Os::CONNREFUSED, Errno::Connrefused),
        (Os::CONNRESET, Errno::Connreset),
        (Os::DESTADDRREQ, Errno::Destaddrreq),
        (Os::DQUOT, Errno::Dquot),
        (Os::EXIST, Errno::Exist),
        (Os::FBIG, Errno::Fbig),
        (Os::HOSTUNREACH, Errno::Hostunreach),
        (Os::ILSEQ, Errno::Ilseq),
        (Os::INPROGRESS, Errno::Inprogress),
        (Os::INTR, Errno::Intr),
        (Os::INVAL, Errno::Inval),
        (Os::ISCONN, Errno::Isconn),
        (Os::ISDIR, Errno::Isdir),
        (Os::LOOP, Errno::Loop),
        (Os::MFILE, Errno::Mfile),
        (Os::MLINK, Errno::Mlink),
        (Os::MSGSIZE, Errno::Msgsize),
        (Os::NAMETOOLONG, Errno::Nametoolong),
        (Os::NETDOWN, Errno::Netdown),
        (Os::NETRESET, Errno::Netreset),
        (Os::NETUNREACH, Errno::Netunreach),
        (Os::NFILE, Errno::Nfile),
        (Os::NOBUFS, Errno::Nobufs),
        (Os::NODEV, Errno::Nodev),
        (Os::NOENT, Errno::Noent),
        (Os::NOMEM, Errno::Nomem),
        (Os::NOPROTOOPT, Errno::Noprotoopt),
        (Os::NOSPC, Errno::Nospc),
        (Os::NOTCONN, Errno::Notconn),
        (Os::NOTDIR, Errno::Notdir),
        (Os::NOTEMPTY, Errno::Notempty),
        (Os::NOTSOCK, Errno::Notsock),
        (Os::NOTSUP, Errno::Notsup),
        (Os::NXIO, Errno::Nxio),
        (Os::OPNOTSUPP, Errno::Notsup),
        (Os::OVERFLOW, Errno::Overflow),
        (Os::PERM, Errno::Perm),
        (Os::PIPE, Errno::Pipe),
        (Os::ROFS, Errno::Rofs),
        (Os::SPIPE, Errno::Spipe),
        (Os::TIMEDOUT, Errno::Timedout),
        (Os::TXTBSY, Errno::Txtbsy),
        (Os::XDEV, Errno::Xdev),
    ];
    TABLE.iter().find(|(os, _)| *os == code).map_or(Errno::Io, |(_, errno)| *errno)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_without_a_number_of_the_systems_is_the_one_of_its_kind() {
        for (kind, errno) in [
            (io::ErrorKind::NotFound, Errno::Noent),
            (io::ErrorKind::PermissionDenied, Errno::Perm),
            (io::ErrorKind::AlreadyExists, Errno::Exist),
            (io::ErrorKind::InvalidInput, Errno::Inval),
            (io::ErrorKind::WouldBlock, Errno::Again),
            (io::ErrorKind::Interrupted, Errno::Intr),
            (io::ErrorKind::BrokenPipe, Errno::Pipe),
            (io::ErrorKind::OutOfMemory, Errno::Nomem),
            (io::ErrorKind::Unsupported, Errno::Notsup),
            (io::ErrorKind::IsADirectory, Errno::Isdir),
            (io::ErrorKind::NotADirectory, Errno::Notdir),
            (io::ErrorKind::StorageFull, Errno::Nospc),
            (io::ErrorKind::Other, Errno::Io),
        ] {
            assert_eq!(Errno::from(&io::Error::from(kind)) as u16, errno as u16, "{kind:?}");
        }
        for (os, errno) in [(Os::XDEV, Errno::Xdev), (Os::ACCESS, Errno::Acces), (Os::CHILD, Errno::Io)] {
            assert_eq!(Errno::from(&io::Error::from(os)) as u16, errno as u16, "{os:?}");
        }
    }
}
