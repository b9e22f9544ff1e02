//! Reading and writing.
//!
//! Files are read into and written from the guest's memory in place. They are opened without blocking, which means
//! nothing to a regular file, so that a named pipe or a device cannot hold a guest beyond its deadline: core waits in
//! its stead, unless the guest set `nonblock`.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::time::Duration;

use cap_std::fs::FileExt;

use wharf_grants::{InputStream, OutputStream};

use crate::abi::preview1::Wasi;
use crate::abi::preview1::errno::{Errno, Fail, Outcome};
use crate::abi::preview1::fds::{Fd, Object};
use crate::abi::preview1::rights;
use crate::abi::preview1::sock::transport;
use crate::abi::preview1::types::{Iovec, iovecs};
use crate::memory::Memory;

/// How much of a file is read or written between two looks at the guest's time.
const FILE_CHUNK: u32 = 1 << 20;

/// How much is handed to an output stream at once.
const STREAM_CHUNK: u32 = 64 << 10;

/// How often a pipe or a device that has nothing to read, or no room, is tried again.
const RETRY: Duration = Duration::from_millis(5);

pub(super) fn read(wasi: &Wasi, memory: &mut Memory<'_>, fd: u32, iovs: u32, iovs_len: u32, nread: u32) -> Outcome {
    let fd = wasi.fds.with(fd, rights::FD_READ)?;
    let iovecs = iovecs(memory, iovs, iovs_len)?;
    memory.slice(nread, 4)?;
    let wait = fd.waits();
    let total = match &fd.object {
        Object::Input(stream) => read_stream(wasi, memory, stream, &iovecs, wait)?,
        Object::File(file) => transfer(&iovecs, FILE_CHUNK, |part, _| {
            let buffer = memory.slice_mut(part.ptr, part.len)?;
            retry(wasi, wait, || (&file.file).read(buffer))
        })?,
        Object::Socket(socket) => transport::receive_some(wasi, memory, socket, &iovecs, wait)?,
        Object::Output(_) | Object::Dir(_) => return Err(Errno::Badf.into()),
    };
    memory.write(nread, &total.to_le_bytes())?;
    Ok(())
}

pub(super) fn write(wasi: &Wasi, memory: &mut Memory<'_>, fd: u32, iovs: u32, iovs_len: u32, nwritten: u32) -> Outcome {
    let fd = wasi.fds.with(fd, rights::FD_WRITE)?;
    let iovecs = iovecs(memory, iovs, iovs_len)?;
    memory.slice(nwritten, 4)?;
    let wait = fd.waits();
    let total = match &fd.object {
        Object::Output(stream) => write_stream(wasi, memory, stream, &iovecs)?,
        Object::File(file) => transfer(&iovecs, FILE_CHUNK, |part, _| {
            let bytes = memory.slice(part.ptr, part.len)?;
            retry(wasi, wait, || (&file.file).write(bytes))
        })?,
        Object::Socket(socket) => transport::send(wasi, memory, socket, &iovecs, None, wait)?,
        Object::Input(_) | Object::Dir(_) => return Err(Errno::Badf.into()),
    };
    memory.write(nwritten, &total.to_le_bytes())?;
    Ok(())
}

pub(super) fn pread(
    wasi: &Wasi,
    memory: &mut Memory<'_>,
    fd: u32,
    iovs: u32,
    iovs_len: u32,
    offset: u64,
    nread: u32,
) -> Outcome {
    let fd = wasi.fds.get(fd)?;
    let file = fd.seekable()?;
    fd.require(rights::FD_READ)?;
    fd.require(rights::FD_SEEK)?;
    let iovecs = iovecs(memory, iovs, iovs_len)?;
    memory.slice(nread, 4)?;
    let total = transfer(&iovecs, FILE_CHUNK, |part, done| {
        let at = offset.checked_add(done.into()).ok_or(Errno::Inval)?;
        let buffer = memory.slice_mut(part.ptr, part.len)?;
        retry(wasi, false, || file.file.read_at(buffer, at))
    })?;
    memory.write(nread, &total.to_le_bytes())?;
    Ok(())
}

/// As on Linux, the offset does not count for a file that was opened to append.
pub(super) fn pwrite(
    wasi: &Wasi,
    memory: &mut Memory<'_>,
    fd: u32,
    iovs: u32,
    iovs_len: u32,
    offset: u64,
    nwritten: u32,
) -> Outcome {
    let fd = wasi.fds.get(fd)?;
    let file = fd.seekable()?;
    fd.require(rights::FD_WRITE)?;
    fd.require(rights::FD_SEEK)?;
    let iovecs = iovecs(memory, iovs, iovs_len)?;
    memory.slice(nwritten, 4)?;
    let total = transfer(&iovecs, FILE_CHUNK, |part, done| {
        let at = offset.checked_add(done.into()).ok_or(Errno::Inval)?;
        let bytes = memory.slice(part.ptr, part.len)?;
        retry(wasi, false, || file.file.write_at(bytes, at))
    })?;
    memory.write(nwritten, &total.to_le_bytes())?;
    Ok(())
}

pub(super) fn seek(wasi: &Wasi, memory: &mut Memory<'_>, fd: u32, offset: i64, whence: u32, position: u32) -> Outcome {
    let fd = wasi.fds.get(fd)?;
    let file = fd.seekable()?;
    // To ask for the position is less than to change it.
    if offset == 0 && whence == 1 {
        may_tell(&fd)?;
    } else {
        fd.require(rights::FD_SEEK)?;
    }
    let to = match whence {
        0 => SeekFrom::Start(u64::try_from(offset).map_err(|_| Errno::Inval)?),
        1 => SeekFrom::Current(offset),
        2 => SeekFrom::End(offset),
        _ => return Err(Errno::Inval.into()),
    };
    memory.slice(position, 8)?;
    let at = (&file.file).seek(to)?;
    memory.write(position, &at.to_le_bytes())?;
    Ok(())
}

pub(super) fn tell(wasi: &Wasi, memory: &mut Memory<'_>, fd: u32, position: u32) -> Outcome {
    let fd = wasi.fds.get(fd)?;
    let file = fd.seekable()?;
    may_tell(&fd)?;
    memory.slice(position, 8)?;
    let at = (&file.file).stream_position()?;
    memory.write(position, &at.to_le_bytes())?;
    Ok(())
}

/// Refuses what has no right to ask for the position: the right to change it includes that.
fn may_tell(fd: &Fd) -> Outcome {
    fd.require(rights::FD_TELL).or_else(|_| fd.require(rights::FD_SEEK))
}

/// Runs `step` over the buffers in parts of at most `chunk` bytes, until one is not used up. `step` gets a part and
/// how much was done before it, and says how much of it is done.
///
/// An error after some bytes is kept back, as POSIX specifies: the guest gets the count, and the error if it tries on.
pub(super) fn transfer(
    iovecs: &[Iovec],
    chunk: u32,
    mut step: impl FnMut(Iovec, u32) -> Outcome<usize>,
) -> Outcome<u32> {
    // A count has to fit the result.
    iovecs.iter().try_fold(0u32, |sum, iovec| sum.checked_add(iovec.len)).ok_or(Errno::Inval)?;
    let mut total = 0;
    for iovec in iovecs {
        let mut done = 0;
        while done < iovec.len {
            let part = Iovec { ptr: iovec.ptr + done, len: (iovec.len - done).min(chunk) };
            match step(part, total) {
                Ok(count) => {
                    // No more than was asked for, so it fits.
                    let count = (count as u32).min(part.len);
                    total += count;
                    done += count;
                    if count < part.len {
                        return Ok(total);
                    }
                }
                Err(Fail::Errno(_)) if total > 0 => return Ok(total),
                Err(fail) => return Err(fail),
            }
        }
    }
    Ok(total)
}

/// Does `action` until the host is ready for it, or once if not to `wait`.
fn retry(wasi: &Wasi, wait: bool, mut action: impl FnMut() -> io::Result<usize>) -> Outcome<usize> {
    loop {
        wasi.alive()?;
        match action() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if wait && error.kind() == io::ErrorKind::WouldBlock => wasi.run.sleep(RETRY)?,
            done => return Ok(done?),
        }
    }
}

/// Reads what is there; waits only if that is nothing.
fn read_stream(
    wasi: &Wasi,
    memory: &mut Memory<'_>,
    stream: &InputStream,
    iovecs: &[Iovec],
    wait: bool,
) -> Outcome<u32> {
    transfer(iovecs, FILE_CHUNK, |part, done| {
        // What comes after some input, be it the end or an error, is for the next read.
        if done > 0 && stream.available().unwrap_or(0) == 0 {
            return Ok(0);
        }
        let buffer = memory.slice_mut(part.ptr, part.len)?;
        loop {
            wasi.alive()?;
            if let Some(count) = stream.take(buffer)? {
                return Ok(count);
            }
            if !wait {
                stream.ask()?;
                return Err(Errno::Again.into());
            }
            wasi.run.wait(stream.ready())??;
        }
    })
}

fn write_stream(wasi: &Wasi, memory: &Memory<'_>, stream: &OutputStream, iovecs: &[Iovec]) -> Outcome<u32> {
    transfer(iovecs, STREAM_CHUNK, |part, _| {
        wasi.alive()?;
        wasi.run.wait(stream.write(memory.slice(part.ptr, part.len)?))??;
        Ok(part.len as usize)
    })
}
