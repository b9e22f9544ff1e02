//! Preview 1 as Wasmtime's published adapters have it, for components whose adapter was left out when they were flattened.
//!
//! An adapter does each function of preview 1 by functions of WASI 0.2. What it answers differs here and there from
//! [`preview1`](crate::abi::preview1): one write uses one buffer, an exit code is 0 or 1, a pointer that leaves the memory
//! ends the guest. And what it shows is what the component imports: guests of `wasi:http/proxy` have no arguments and no
//! environment. So these functions work on the state of WASI 0.2, as the adapter would, and are not those of preview 1.
//!
//! A test runs random calls with the adapter left out and kept, and compares them. The same is everything a guest can tell
//! but these, which it cannot rely on:
//! - the adapter takes memory of the guest's, from the guest's allocator, and while that runs it has no answers;
//! - the adapter ends a guest whose arguments or environment are too large for that memory;
//! - where the adapter traps it writes a line of its own source to standard error before.

use wharf_plan::AdapterVariant;

use super::canon::{Outcome, limit};
use super::clocks::{MAX_RANDOM, fill};
use super::filesystem::ErrorCode;
use super::io::{End, MAX_FLUSHED, OutputStream};
use super::{Host, State, cli};
use crate::abi::Function;
use crate::error::{Error, Kind};
use crate::memory::Memory;
use crate::stop::Stop;
use crate::types::{Caller, ValType};

use bytes::Bytes;

/// The functions that stand in for those of an adapter of this variant.
pub(crate) fn functions(variant: AdapterVariant) -> &'static [Function<Host>] {
    static OF_PROXY: &[Function<Host>] = &table::<true>();
    static OF_OTHERS: &[Function<Host>] = &table::<false>();
    match variant {
        AdapterVariant::Proxy => OF_PROXY,
        AdapterVariant::Command | AdapterVariant::Reactor => OF_OTHERS,
    }
}

const TWO: &[ValType] = &[ValType::I32; 2];
const ERRNO: &[ValType] = &[ValType::I32];

/// The functions, as guests of `wasi:http/proxy` have them or as others do.
const fn table<const PROXY: bool>() -> [Function<Host>; 10] {
    use ValType::{I32, I64};
    [
        Function { name: "args_get", params: TWO, results: ERRNO, call: args_get::<PROXY> },
        Function { name: "args_sizes_get", params: TWO, results: ERRNO, call: args_sizes_get::<PROXY> },
        Function { name: "clock_res_get", params: TWO, results: ERRNO, call: clock_res_get },
        Function { name: "clock_time_get", params: &[I32, I64, I32], results: ERRNO, call: clock_time_get },
        Function { name: "environ_get", params: TWO, results: ERRNO, call: environ_get::<PROXY> },
        Function { name: "environ_sizes_get", params: TWO, results: ERRNO, call: environ_sizes_get::<PROXY> },
        Function { name: "fd_write", params: &[I32; 4], results: ERRNO, call: fd_write::<PROXY> },
        Function { name: "proc_exit", params: &[I32], results: &[], call: proc_exit::<PROXY> },
        Function { name: "random_get", params: TWO, results: ERRNO, call: random_get },
        Function { name: "sched_yield", params: &[], results: ERRNO, call: |_, _, slots| answer(slots, SUCCESS) },
    ]
}

/// What these functions answer, by the numbers of preview 1.
type Errno = u16;

const SUCCESS: Errno = 0;
const BADF: Errno = 8;
const IO: Errno = 29;

fn answer(slots: &mut [u64], errno: Errno) -> Result<(), Stop> {
    match slots.first_mut() {
        Some(slot) => *slot = errno.into(),
        None => return Err(Error::new(Kind::Internal, "a function got no slot for its result").into()),
    }
    Ok(())
}

/// The parameters, as the `i32`s that they are.
fn params<const N: usize>(slots: &[u64]) -> [u32; N] {
    std::array::from_fn(|at| slots.get(at).copied().unwrap_or_default() as u32)
}

/// Does what the adapter would do by calling the host: nothing may be called from an allocator or a post-return function.
fn by_host(
    host: &Host,
    name: &str,
    caller: &mut dyn Caller,
    slots: &mut [u64],
    call: impl FnOnce(&mut State, &mut Memory<'_>) -> Outcome<Errno>,
) -> Result<(), Stop> {
    host.locked((crate::abi::preview1::MODULE, name), |state| {
        let errno = call(state, &mut Memory::of(caller)?)?;
        Ok(answer(slots, errno)?)
    })
}

/// Writes numbers to a guest that is told nothing of them: the adapter asks nobody.
fn zeroes(caller: &mut dyn Caller, slots: &mut [u64]) -> Result<(), Stop> {
    let trapped = |error| Stop::from(Error::from(error));
    for pointer in params::<2>(slots) {
        Memory::of(caller).map_err(trapped)?.write(pointer, &[0; 4]).map_err(trapped)?;
    }
    answer(slots, SUCCESS)
}

fn args_sizes_get<const PROXY: bool>(host: &Host, caller: &mut dyn Caller, slots: &mut [u64]) -> Result<(), Stop> {
    if PROXY {
        return zeroes(caller, slots);
    }
    let out = params(slots);
    by_host(host, "args_sizes_get", caller, slots, |state, memory| sizes(memory, &state.args, out))
}

fn environ_sizes_get<const PROXY: bool>(host: &Host, caller: &mut dyn Caller, slots: &mut [u64]) -> Result<(), Stop> {
    if PROXY {
        return zeroes(caller, slots);
    }
    let out = params(slots);
    by_host(host, "environ_sizes_get", caller, slots, |state, memory| sizes(memory, &state.env, out))
}

/// How many strings, and how many bytes with a NUL after each. What is granted is bounded.
fn sizes(memory: &mut Memory<'_>, strings: &[String], [count, size]: [u32; 2]) -> Outcome<Errno> {
    memory.write(count, &(strings.len() as u32).to_le_bytes())?;
    let bytes: usize = strings.iter().map(|string| string.len() + 1).sum();
    memory.write(size, &(bytes as u32).to_le_bytes())?;
    Ok(SUCCESS)
}

fn args_get<const PROXY: bool>(host: &Host, caller: &mut dyn Caller, slots: &mut [u64]) -> Result<(), Stop> {
    if PROXY {
        return answer(slots, SUCCESS);
    }
    let out = params(slots);
    by_host(host, "args_get", caller, slots, |state, memory| {
        strings(memory, state.args.iter().map(|argument| (argument.as_str(), None)), out)
    })
}

fn environ_get<const PROXY: bool>(host: &Host, caller: &mut dyn Caller, slots: &mut [u64]) -> Result<(), Stop> {
    if PROXY {
        return answer(slots, SUCCESS);
    }
    let out = params(slots);
    by_host(host, "environ_get", caller, slots, |state, memory| {
        let pairs = state.env.iter().map(|entry| entry.split_once('=').unwrap_or((entry, "")));
        strings(memory, pairs.map(|(name, value)| (name, Some(value))), out)
    })
}

/// All the parts of the strings, then the pointer to each string and the byte behind each of its parts: whoever has them
/// overlap can tell the order.
fn strings<'s>(
    memory: &mut Memory<'_>,
    strings: impl Iterator<Item = (&'s str, Option<&'s str>)> + Clone,
    [pointers, buffer]: [u32; 2],
) -> Outcome<Errno> {
    let behind = |at: u32, part: &str| at.wrapping_add(part.len() as u32);
    let mut at = buffer;
    for (first, second) in strings.clone() {
        memory.write(at, first.as_bytes())?;
        at = behind(at, first).wrapping_add(1);
        if let Some(second) = second {
            memory.write(at, second.as_bytes())?;
            at = behind(at, second).wrapping_add(1);
        }
    }
    let (mut pointer, mut at) = (pointers, buffer);
    for (first, second) in strings {
        memory.write(pointer, &at.to_le_bytes())?;
        pointer = pointer.wrapping_add(4);
        at = behind(at, first);
        if let Some(second) = second {
            memory.write(at, b"=")?;
            at = behind(at.wrapping_add(1), second);
        }
        memory.write(at, &[0])?;
        at = at.wrapping_add(1);
    }
    Ok(SUCCESS)
}

const REALTIME: u32 = 0;
const MONOTONIC: u32 = 1;

/// Both clocks count nanoseconds.
fn clock_res_get(host: &Host, caller: &mut dyn Caller, slots: &mut [u64]) -> Result<(), Stop> {
    let [clock, resolution] = params(slots);
    if clock != REALTIME && clock != MONOTONIC {
        return answer(slots, BADF);
    }
    by_host(host, "clock_res_get", caller, slots, |_, memory| {
        memory.write(resolution, &1_u64.to_le_bytes())?;
        Ok(SUCCESS)
    })
}

fn clock_time_get(host: &Host, caller: &mut dyn Caller, slots: &mut [u64]) -> Result<(), Stop> {
    let [clock, _precision, time] = params(slots);
    if clock != REALTIME && clock != MONOTONIC {
        return answer(slots, BADF);
    }
    by_host(host, "clock_time_get", caller, slots, |state, memory| {
        let since = match clock {
            REALTIME => std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default(),
            _ => state.start.elapsed(),
        };
        memory.write(time, &u64::try_from(since.as_nanos()).unwrap_or(u64::MAX).to_le_bytes())?;
        Ok(SUCCESS)
    })
}

/// How much is filled between two looks at the guest's time.
const CHUNK: usize = 1 << 20;

fn random_get(host: &Host, caller: &mut dyn Caller, slots: &mut [u64]) -> Result<(), Stop> {
    let [buffer, len] = params(slots);
    by_host(host, "random_get", caller, slots, |state, memory| {
        if u64::from(len) > MAX_RANDOM {
            return limit(format!("{len} random bytes were requested at once; at most {MAX_RANDOM} are allowed"));
        }
        for chunk in memory.slice_mut(buffer, len)?.chunks_mut(CHUNK) {
            if let Some(stop) = state.run.over() {
                return Err(stop.into());
            }
            fill(chunk)?;
        }
        Ok(SUCCESS)
    })
}

fn proc_exit<const PROXY: bool>(host: &Host, _: &mut dyn Caller, slots: &mut [u64]) -> Result<(), Stop> {
    if PROXY {
        let message =
            "the guest called proc_exit, which no guest of wasi:http/proxy can: its request ends when it returns";
        return Err(Error::new(Kind::Trap, message).into());
    }
    let [code] = params(slots);
    host.locked((crate::abi::preview1::MODULE, "proc_exit"), |_| Err(Stop::Exit(i32::from(code != 0)).into()))
}

/// Writes the first buffer that is not empty.
fn fd_write<const PROXY: bool>(host: &Host, caller: &mut dyn Caller, slots: &mut [u64]) -> Result<(), Stop> {
    let [fd, mut buffers, mut count, written] = params(slots);
    by_host(host, "fd_write", caller, slots, |state, memory| {
        while count > 1 && memory.read_u32(buffers.wrapping_add(4))? == 0 {
            buffers = buffers.wrapping_add(8);
            count -= 1;
            if let (0, Some(stop)) = (count % 0x1_0000, state.run.over()) {
                return Err(stop.into());
            }
        }
        if count == 0 {
            memory.write(written, &[0; 4])?;
            return Ok(SUCCESS);
        }
        let (buffer, len) = (memory.read_u32(buffers)?, memory.read_u32(buffers.wrapping_add(4))?);
        let (stream, open) = match fd {
            1 => (&state.stdout, &mut state.adapted.stdout),
            2 => (&state.stderr, &mut state.adapted.stderr),
            // Directories are neither read nor written, and nothing else is open that `fd_write` comes alone with.
            _ => return Ok(BADF),
        };
        let stream = open.get_or_insert_with(|| cli::output(stream.clone()));
        let mut done = 0;
        loop {
            let part = (len - done).min(MAX_FLUSHED as u32);
            let bytes = Bytes::copy_from_slice(memory.slice(buffer.wrapping_add(done), part)?);
            match stream.room().and_then(|_| stream.write(&state.run, bytes)) {
                Ok(()) => done += part,
                Err(End::Closed) => return Ok(IO),
                Err(End::Failed(error)) if !PROXY => return Ok(error.filesystem.map_or(IO, errno)),
                Err(End::Failed(_)) => return Ok(IO),
                Err(End::Stop(stop)) => return Err(stop.into()),
            }
            if done == len {
                break;
            }
        }
        memory.write(written, &len.to_le_bytes())?;
        Ok(SUCCESS)
    })
}

/// The standard streams of a guest whose adapter was left out, each once it was written to.
#[derive(Default)]
pub(super) struct Adapted {
    stdout: Option<OutputStream>,
    stderr: Option<OutputStream>,
}

/// The number of preview 1 that adapters make of an error.
fn errno(code: ErrorCode) -> Errno {
    match code {
        ErrorCode::Access => 2,
        ErrorCode::WouldBlock => 6,
        ErrorCode::Already => 7,
        ErrorCode::BadDescriptor => BADF,
        ErrorCode::Busy => 10,
        ErrorCode::Deadlock => 16,
        ErrorCode::Quota => 19,
        ErrorCode::Exist => 20,
        ErrorCode::FileTooLarge => 22,
        ErrorCode::IllegalByteSequence => 25,
        ErrorCode::InProgress => 26,
        ErrorCode::Interrupted => 27,
        ErrorCode::Invalid => 28,
        ErrorCode::Io => IO,
        ErrorCode::IsDirectory => 31,
        ErrorCode::Loop => 32,
        ErrorCode::TooManyLinks => 34,
        ErrorCode::MessageSize => 35,
        ErrorCode::NameTooLong => 37,
        ErrorCode::NoDevice => 43,
        ErrorCode::NoEntry => 44,
        ErrorCode::NoLock => 46,
        ErrorCode::InsufficientMemory => 48,
        ErrorCode::InsufficientSpace => 51,
        ErrorCode::NotDirectory => 54,
        ErrorCode::NotEmpty => 55,
        ErrorCode::NotRecoverable => 56,
        ErrorCode::Unsupported => 58,
        ErrorCode::NoTty => 59,
        ErrorCode::NoSuchDevice => 60,
        ErrorCode::Overflow => 61,
        ErrorCode::NotPermitted => 63,
        ErrorCode::Pipe => 64,
        ErrorCode::ReadOnly => 69,
        ErrorCode::InvalidSeek => 70,
        ErrorCode::TextFileBusy => 74,
        ErrorCode::CrossDevice => 75,
    }
}
