//! Arguments, environment, and the guest's own process.

use crate::abi::preview1::Wasi;
use crate::abi::preview1::errno::{Errno, Outcome};
use crate::memory::Memory;
use crate::stop::Stop;

pub(super) fn args_get(wasi: &Wasi, memory: &mut Memory<'_>, argv: u32, argv_buf: u32) -> Outcome {
    write_strings(memory, &wasi.args, argv, argv_buf)
}

pub(super) fn args_sizes_get(wasi: &Wasi, memory: &mut Memory<'_>, count: u32, size: u32) -> Outcome {
    write_sizes(memory, &wasi.args, count, size)
}

pub(super) fn environ_get(wasi: &Wasi, memory: &mut Memory<'_>, environ: u32, environ_buf: u32) -> Outcome {
    write_strings(memory, &wasi.env, environ, environ_buf)
}

pub(super) fn environ_sizes_get(wasi: &Wasi, memory: &mut Memory<'_>, count: u32, size: u32) -> Outcome {
    write_sizes(memory, &wasi.env, count, size)
}

/// How many strings, and how many bytes with a NUL after each. The configuration keeps both small.
fn sizes(strings: &[String]) -> Outcome<(u32, u32)> {
    let size = strings.iter().map(|string| string.len() + 1).sum::<usize>();
    let count = u32::try_from(strings.len()).map_err(|_| Errno::Overflow)?;
    Ok((count, u32::try_from(size).map_err(|_| Errno::Overflow)?))
}

fn write_sizes(memory: &mut Memory<'_>, strings: &[String], count_out: u32, size_out: u32) -> Outcome {
    let (count, size) = sizes(strings)?;
    memory.slice(count_out, 4)?;
    memory.slice(size_out, 4)?;
    memory.write(count_out, &count.to_le_bytes())?;
    memory.write(size_out, &size.to_le_bytes())?;
    Ok(())
}

fn write_strings(memory: &mut Memory<'_>, strings: &[String], pointers: u32, buffer: u32) -> Outcome {
    let (count, size) = sizes(strings)?;
    memory.slice(pointers, count.checked_mul(4).ok_or(Errno::Overflow)?)?;
    memory.slice(buffer, size)?;
    let (mut pointer, mut at) = (pointers, buffer);
    for string in strings {
        memory.write(pointer, &at.to_le_bytes())?;
        memory.write(at, string.as_bytes())?;
        // The sizes were computed and the ranges checked above, so neither sum can wrap before its last use.
        at = at.wrapping_add(string.len() as u32);
        memory.write(at, &[0])?;
        at = at.wrapping_add(1);
        pointer = pointer.wrapping_add(4);
    }
    Ok(())
}

/// Ends the guest with `code`, whatever it is: which codes a host can report is the host's business.
pub(super) fn exit(_: &Wasi, _: &mut Memory<'_>, code: u32) -> Stop {
    Stop::Exit(code as i32)
}

/// Signals are not supported.
pub(super) fn raise(_: &Wasi, _: &mut Memory<'_>, signal: u32) -> Outcome {
    const SIGSYS: u32 = 30;
    if signal > SIGSYS { Err(Errno::Inval.into()) } else { Err(Errno::Notsup.into()) }
}

pub(super) fn sched_yield(wasi: &Wasi, _: &mut Memory<'_>) -> Outcome {
    wasi.alive()?;
    std::thread::yield_now();
    Ok(())
}
