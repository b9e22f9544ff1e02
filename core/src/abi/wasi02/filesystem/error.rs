//! `wasi:filesystem/types.error-code`, and what of the host's errors each code is.

use std::io;

use rustix::io::Errno as Os;

use crate::abi::wasi02::canon::variant;

variant! {
    /// `wasi:filesystem/types.error-code`.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) enum ErrorCode as "error-code" {
        Access, WouldBlock, Already, BadDescriptor, Busy, Deadlock, Quota, Exist, FileTooLarge, IllegalByteSequence,
        InProgress, Interrupted, Invalid, Io, IsDirectory, Loop, TooManyLinks, MessageSize, NameTooLong, NoDevice,
        NoEntry, NoLock, InsufficientMemory, InsufficientSpace, NotDirectory, NotEmpty, NotRecoverable, Unsupported,
        NoTty, NoSuchDevice, Overflow, NotPermitted, Pipe, ReadOnly, InvalidSeek, TextFileBusy, CrossDevice,
    }
}

impl From<io::Error> for ErrorCode {
    fn from(error: io::Error) -> Self {
        match Os::from_io_error(&error) {
            Some(os) => ErrorCode::from(os),
            None => match error.kind() {
                // What cap-std refuses has no number of the host's.
                io::ErrorKind::PermissionDenied => ErrorCode::NotPermitted,
                io::ErrorKind::NotFound => ErrorCode::NoEntry,
                io::ErrorKind::AlreadyExists => ErrorCode::Exist,
                io::ErrorKind::InvalidInput => ErrorCode::Invalid,
                io::ErrorKind::InvalidData => ErrorCode::IllegalByteSequence,
                io::ErrorKind::NotADirectory => ErrorCode::NotDirectory,
                io::ErrorKind::IsADirectory => ErrorCode::IsDirectory,
                io::ErrorKind::StorageFull => ErrorCode::InsufficientSpace,
                io::ErrorKind::BrokenPipe => ErrorCode::Pipe,
                io::ErrorKind::WouldBlock => ErrorCode::WouldBlock,
                io::ErrorKind::Interrupted => ErrorCode::Interrupted,
                io::ErrorKind::OutOfMemory => ErrorCode::InsufficientMemory,
                io::ErrorKind::Unsupported => ErrorCode::Unsupported,
                _ => ErrorCode::Io,
            },
        }
    }
}

impl From<Os> for ErrorCode {
    fn from(os: Os) -> Self {
        match os {
            Os::ACCESS => ErrorCode::Access,
            Os::AGAIN => ErrorCode::WouldBlock,
            Os::BADF => ErrorCode::BadDescriptor,
            Os::BUSY => ErrorCode::Busy,
            Os::DQUOT => ErrorCode::Quota,
            Os::EXIST => ErrorCode::Exist,
            Os::FBIG => ErrorCode::FileTooLarge,
            Os::ILSEQ => ErrorCode::IllegalByteSequence,
            Os::INTR => ErrorCode::Interrupted,
            Os::INVAL => ErrorCode::Invalid,
            Os::ISDIR => ErrorCode::IsDirectory,
            Os::LOOP => ErrorCode::Loop,
            Os::MLINK => ErrorCode::TooManyLinks,
            Os::NAMETOOLONG => ErrorCode::NameTooLong,
            Os::NODEV => ErrorCode::NoDevice,
            Os::NOENT => ErrorCode::NoEntry,
            Os::NOMEM => ErrorCode::InsufficientMemory,
            Os::NOSPC => ErrorCode::InsufficientSpace,
            Os::NOTDIR => ErrorCode::NotDirectory,
            Os::NOTEMPTY => ErrorCode::NotEmpty,
            Os::NOTSUP | Os::NOSYS => ErrorCode::Unsupported,
            Os::NXIO => ErrorCode::NoSuchDevice,
            Os::OVERFLOW => ErrorCode::Overflow,
            Os::PERM => ErrorCode::NotPermitted,
            Os::PIPE => ErrorCode::Pipe,
            Os::ROFS => ErrorCode::ReadOnly,
            Os::SPIPE => ErrorCode::InvalidSeek,
            Os::TXTBSY => ErrorCode::TextFileBusy,
            Os::XDEV => ErrorCode::CrossDevice,
            _ => ErrorCode::Io,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The WIT text names the error of POSIX that each code is like.
    #[test]
    fn each_error_of_the_system_is_the_code_of_its_name() {
        use ErrorCode as E;
        for (os, code) in [
            (Os::ACCESS, E::Access),
            (Os::AGAIN, E::WouldBlock),
            (Os::BADF, E::BadDescriptor),
            (Os::BUSY, E::Busy),
            (Os::DQUOT, E::Quota),
            (Os::EXIST, E::Exist),
            (Os::FBIG, E::FileTooLarge),
            (Os::ILSEQ, E::IllegalByteSequence),
            (Os::INTR, E::Interrupted),
            (Os::INVAL, E::Invalid),
            (Os::IO, E::Io),
            (Os::ISDIR, E::IsDirectory),
            (Os::LOOP, E::Loop),
            (Os::MLINK, E::TooManyLinks),
            (Os::NAMETOOLONG, E::NameTooLong),
            (Os::NODEV, E::NoDevice),
            (Os::NOENT, E::NoEntry),
            (Os::NOMEM, E::InsufficientMemory),
            (Os::NOSPC, E::InsufficientSpace),
            (Os::NOTDIR, E::NotDirectory),
            (Os::NOTEMPTY, E::NotEmpty),
            (Os::NOTSUP, E::Unsupported),
            (Os::NOSYS, E::Unsupported),
            (Os::NXIO, E::NoSuchDevice),
            (Os::OVERFLOW, E::Overflow),
            (Os::PERM, E::NotPermitted),
            (Os::PIPE, E::Pipe),
            (Os::ROFS, E::ReadOnly),
            (Os::SPIPE, E::InvalidSeek),
            (Os::TXTBSY, E::TextFileBusy),
            (Os::XDEV, E::CrossDevice),
            (Os::CHILD, E::Io),
        ] {
            assert_eq!(ErrorCode::from(io::Error::from(os)), code, "{os:?}");
        }
    }

    #[test]
    fn an_error_without_a_number_of_the_systems_is_the_code_of_its_kind() {
        use ErrorCode as E;
        for (kind, code) in [
            (io::ErrorKind::PermissionDenied, E::NotPermitted),
            (io::ErrorKind::NotFound, E::NoEntry),
            (io::ErrorKind::AlreadyExists, E::Exist),
            (io::ErrorKind::InvalidInput, E::Invalid),
            (io::ErrorKind::InvalidData, E::IllegalByteSequence),
            (io::ErrorKind::NotADirectory, E::NotDirectory),
            (io::ErrorKind::IsADirectory, E::IsDirectory),
            (io::ErrorKind::StorageFull, E::InsufficientSpace),
            (io::ErrorKind::BrokenPipe, E::Pipe),
            (io::ErrorKind::WouldBlock, E::WouldBlock),
            (io::ErrorKind::Interrupted, E::Interrupted),
            (io::ErrorKind::OutOfMemory, E::InsufficientMemory),
            (io::ErrorKind::Unsupported, E::Unsupported),
            (io::ErrorKind::Other, E::Io),
        ] {
            assert_eq!(ErrorCode::from(io::Error::from(kind)), code, "{kind:?}");
        }
    }
}
