//! `wasi_experimental_http`, releases 0.3.0 to 0.10.0: five functions over raw pointers.
//!
//! The functions and their signatures are those of `core/abi/wasi_experimental_http.witx`. A guest's arguments are
//! read in a fixed order, and the first fault found decides the code returned, as compiled guests expect.
//!
//! Where this host differs from the published one on purpose (it streams, it sends repeated headers, it re-checks
//! redirects, it never panics), the difference is a case of the conformance suite.

mod code;
mod headers;
mod sessions;

use std::sync::Arc;

use ::http::{Method, Request};
use bytes::Bytes;

pub use self::code::ErrorCode;
use self::sessions::Sessions;
use super::Function;
use crate::budget::{Budget, Exceeded, allocation};
use crate::http::{Outbound, Outgoing, Target};
use crate::memory::{Memory, MemoryError};
use crate::run::Run;
use crate::stop::Stop;
use crate::types::Caller;
use crate::types::ValType::I32;

/// The module name that guests import the functions from.
pub const MODULE: &str = "wasi_experimental_http";

/// The functions, each as `core/abi/wasi_experimental_http.witx` declares it.
pub static FUNCTIONS: &[Function<Http>] = &[
    Function {
        name: "req",
        params: &[I32; 10],
        results: &[I32],
        call: |http, caller, slots| answer(http, caller, slots, req),
    },
    Function {
        name: "close",
        params: &[I32],
        results: &[I32],
        call: |http, caller, slots| answer(http, caller, slots, close),
    },
    Function {
        name: "header_get",
        params: &[I32; 6],
        results: &[I32],
        call: |http, caller, slots| answer(http, caller, slots, header_get),
    },
    Function {
        name: "headers_get_all",
        params: &[I32; 4],
        results: &[I32],
        call: |http, caller, slots| answer(http, caller, slots, headers_get_all),
    },
    Function {
        name: "header_get_all",
        params: &[I32; 4],
        results: &[I32],
        call: |http, caller, slots| answer(http, caller, slots, headers_get_all),
    },
    Function {
        name: "body_read",
        params: &[I32; 4],
        results: &[I32],
        call: |http, caller, slots| answer(http, caller, slots, body_read),
    },
];

/// One guest's use of the ABI: what it may reach, and the responses it has open.
///
/// Clones share the same state. Dropping the last one closes every response.
#[derive(Clone)]
pub struct Http(Arc<Inner>);

struct Inner {
    outbound: Option<Outbound>,
    run: Run,
    sessions: Sessions,
    budget: Budget,
}

impl Http {
    /// State for one guest, whose requests go through `outbound` and whose waits end with `run`.
    ///
    /// The guest may hold `outbound.limits().open_responses` responses at a time.
    pub fn new(outbound: Outbound, run: Run) -> Self {
        let limit = outbound.limits().open_responses;
        Http(Arc::new(Inner {
            outbound: Some(outbound),
            run,
            sessions: Sessions::new(limit),
            budget: Budget::unlimited(),
        }))
    }

    /// Charges what the host keeps for the guest to `budget`. To be called before a response is open.
    #[must_use]
    pub fn bounded(self, budget: &Budget) -> Self {
        let Inner { outbound, run, sessions, .. } = &*self.0;
        let sessions = Sessions::new(sessions.limit());
        Http(Arc::new(Inner { outbound: outbound.clone(), run: run.clone(), sessions, budget: budget.clone() }))
    }

    /// State for a guest that may reach nothing: every request answers
    /// [`DestinationNotAllowed`](ErrorCode::DestinationNotAllowed).
    pub fn deny_all(run: Run) -> Self {
        Http(Arc::new(Inner { outbound: None, run, sessions: Sessions::new(1), budget: Budget::unlimited() }))
    }

    /// How many responses the guest holds open.
    pub fn open_responses(&self) -> usize {
        self.0.sessions.open()
    }
}

/// What the host has of a response beside its headers: what it reads ahead, and its part of a connection.
const READ_AHEAD: u64 = 96 << 10;

/// What a header takes in a map beyond its name and value.
const HEADER: u64 = 160;

/// How a call ends other than with success.
enum Fault {
    /// With a code that the guest gets.
    Code(ErrorCode),
    /// With the end of the guest.
    Stop(Stop),
}

impl From<ErrorCode> for Fault {
    fn from(code: ErrorCode) -> Self {
        Fault::Code(code)
    }
}

impl From<Stop> for Fault {
    fn from(stop: Stop) -> Self {
        Fault::Stop(stop)
    }
}

type Call = fn(&Inner, &mut dyn Caller, &[u64]) -> Result<(), Fault>;

/// Runs a function and leaves its code in the result slot.
fn answer(http: &Http, caller: &mut dyn Caller, slots: &mut [u64], call: Call) -> Result<(), Stop> {
    let code = match call(&http.0, caller, slots) {
        Ok(()) => ErrorCode::Success,
        Err(Fault::Code(code)) => code,
        Err(Fault::Stop(stop)) => return Err(stop),
    };
    slots[0] = u64::from(code as u32);
    Ok(())
}

/// Argument `index`: an `i32` taken as unsigned.
fn arg(slots: &[u64], index: usize) -> u32 {
    slots[index] as u32
}

fn memory(caller: &mut dyn Caller) -> Result<Memory<'_>, ErrorCode> {
    Memory::of(caller).map_err(|_| ErrorCode::MemoryNotFound)
}

/// A range that is read: leaving the memory is "buffer too small".
fn read<'a>(memory: &'a Memory<'_>, ptr: u32, len: u32) -> Result<&'a [u8], ErrorCode> {
    memory.slice(ptr, len).map_err(|_| ErrorCode::BufferTooSmall)
}

fn read_str<'a>(memory: &'a Memory<'_>, ptr: u32, len: u32) -> Result<&'a str, ErrorCode> {
    std::str::from_utf8(read(memory, ptr, len)?).map_err(|_| ErrorCode::NotUtf8)
}

/// A range that is written: leaving the memory is "memory access".
fn written(result: Result<(), MemoryError>) -> Result<(), ErrorCode> {
    result.map_err(|_| ErrorCode::MemoryAccess)
}

/// `req(url, method, headers, body, *status: u16, *handle: u32)`.
///
/// Checks in order: memory, open responses, URL, allow-list, method, body, headers; then sends; then writes the
/// status and the handle.
fn req(http: &Inner, caller: &mut dyn Caller, slots: &[u64]) -> Result<(), Fault> {
    let memory_view = memory(caller)?;
    http.sessions.check_room()?;

    let url = read_str(&memory_view, arg(slots, 0), arg(slots, 1))?;
    let target = Target::parse(url).map_err(|error| {
        tracing::debug!(%error, "the guest's URL cannot be used");
        ErrorCode::InvalidUrl
    })?;
    let outbound = match &http.outbound {
        Some(outbound) => outbound,
        None => {
            tracing::warn!("denied a request to {}: no origin is allowed", target.origin());
            return Err(ErrorCode::DestinationNotAllowed.into());
        }
    };
    outbound.check(&target).map_err(|error| code::of(&error))?;

    let method = read_str(&memory_view, arg(slots, 2), arg(slots, 3))?;
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| ErrorCode::InvalidMethod)?;
    let body = read(&memory_view, arg(slots, 6), arg(slots, 7))?;
    if body.len() as u64 > outbound.limits().request_body_bytes {
        tracing::warn!(
            "refused a request body of {} bytes: at most {} are allowed",
            body.len(),
            outbound.limits().request_body_bytes
        );
        return Err(ErrorCode::RequestFailed.into());
    }
    let lines = read_str(&memory_view, arg(slots, 4), arg(slots, 5))?;
    let refused = |exceeded: Exceeded| {
        tracing::warn!("refused a request: {exceeded}");
        ErrorCode::RequestFailed
    };
    // Of the text, of the map that is made of it, and of what the response will be.
    let mut charge = http.budget.charge(allocation(body.len()) + 2 * allocation(lines.len())).map_err(refused)?;
    let headers = headers::parse(lines).ok_or(ErrorCode::InvalidEncoding)?;
    charge.grow(READ_AHEAD + headers.len() as u64 * HEADER).map_err(refused)?;

    let mut request = Request::new(Outgoing::from(Bytes::copy_from_slice(body)));
    *request.method_mut() = method;
    *request.uri_mut() = target.uri().map_err(|error| code::of(&error))?;
    *request.headers_mut() = headers;

    let response = http.run.wait(outbound.follow(request))?.map_err(|error| code::of(&error))?;
    let status = response.status().as_u16();

    let mut memory_view = memory(caller)?;
    written(memory_view.write(arg(slots, 8), &status.to_le_bytes()))?;
    let handle_out = arg(slots, 9);
    // The range is checked before a handle is taken, so that a bad pointer leaks no response.
    written(memory_view.slice_mut(handle_out, 4).map(|_| ()))?;
    let kept = response.headers().iter().map(|(name, value)| HEADER + (name.as_str().len() + value.len()) as u64);
    charge.resize(READ_AHEAD + kept.sum::<u64>()).map_err(refused)?;
    let handle = http.sessions.insert(response, charge)?;
    written(memory_view.write(handle_out, &handle.to_le_bytes()))?;
    Ok(())
}

/// `close(handle)`: forgets the response; an unknown handle is not an error.
fn close(http: &Inner, _: &mut dyn Caller, slots: &[u64]) -> Result<(), Fault> {
    http.sessions.remove(arg(slots, 0));
    Ok(())
}

/// `header_get(handle, name, value_buf, *written: u32)`: the first value of the header.
fn header_get(http: &Inner, caller: &mut dyn Caller, slots: &[u64]) -> Result<(), Fault> {
    let mut memory = memory(caller)?;
    let all = http.sessions.headers(arg(slots, 0))?;
    let name = read_str(&memory, arg(slots, 1), arg(slots, 2))?;
    let value = all.get(name).ok_or(ErrorCode::HeaderNotFound)?;
    let value = headers::text(value);
    fill(&mut memory, value.as_bytes(), arg(slots, 3), arg(slots, 4), arg(slots, 5))
}

/// `headers_get_all(handle, buf, *written: u32)`.
fn headers_get_all(http: &Inner, caller: &mut dyn Caller, slots: &[u64]) -> Result<(), Fault> {
    let mut memory = memory(caller)?;
    let lines = headers::format(&*http.sessions.headers(arg(slots, 0))?);
    fill(&mut memory, lines.as_bytes(), arg(slots, 1), arg(slots, 2), arg(slots, 3))
}

/// Writes all of `bytes`, or nothing where the buffer is too small; then the count.
fn fill(memory: &mut Memory<'_>, bytes: &[u8], ptr: u32, len: u32, written_out: u32) -> Result<(), Fault> {
    if bytes.len() > len as usize {
        return Err(ErrorCode::BufferTooSmall.into());
    }
    written(memory.write(ptr, bytes))?;
    written(memory.write(written_out, &(bytes.len() as u32).to_le_bytes()))?;
    Ok(())
}

/// `body_read(handle, buf, *written: u32)`: the next bytes, at most as many as the buffer holds.
///
/// Bytes are taken from the response only once they are in the guest's memory, so a bad pointer loses none.
fn body_read(http: &Inner, caller: &mut dyn Caller, slots: &[u64]) -> Result<(), Fault> {
    let (handle, buf, len, written_out) = (arg(slots, 0), arg(slots, 1), arg(slots, 2), arg(slots, 3));
    memory(caller)?;
    let chunk = if len == 0 {
        http.sessions.headers(handle)?;
        Bytes::new()
    } else {
        http.sessions.next_chunk(handle, &http.run)?
    };
    let count = chunk.len().min(len as usize);
    let mut memory = memory(caller)?;
    written(memory.write(buf, &chunk[..count]))?;
    written(memory.write(written_out, &(count as u32).to_le_bytes()))?;
    http.sessions.consume(handle, count);
    Ok(())
}

#[cfg(test)]
mod tests;
