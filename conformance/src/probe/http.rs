//! A probe of `wasi_experimental_http`: the five functions and the alias, with memory laid out for them.

use std::ops::Range;

use wharf_core::GuestConfig;

use super::{Probe, Wat};
use crate::case::{CaseResult, Unmet};
use crate::context::Context;
use crate::{check, check_eq};

/// The module that guests import the ABI's functions from.
pub const MODULE: &str = "wasi_experimental_http";

/// Where [`HttpProbe`] puts things in the guest's memory, which has one page.
pub mod at {
    /// The URL; 4 KiB.
    pub const URL: u32 = 0x0100;
    /// The method.
    pub const METHOD: u32 = 0x1200;
    /// The header lines, or a header's name; 16 KiB.
    pub const HEADERS: u32 = 0x2000;
    /// The request's body; 16 KiB.
    pub const BODY: u32 = 0x6000;
    /// The status, two bytes.
    pub const STATUS: u32 = 0xb000;
    /// The handle, four bytes.
    pub const HANDLE: u32 = 0xb011;
    /// The count of bytes written, four bytes.
    pub const WRITTEN: u32 = 0xb023;
    /// A buffer for answers.
    pub const BUFFER: u32 = 0xc000;
    /// The size of that buffer: up to the end of the page.
    pub const BUFFER_LEN: u32 = 0x4000;
    /// The end of the memory.
    pub const END: u32 = 0x1_0000;
}

/// A request as a guest gives it.
#[derive(Debug, Clone, Copy)]
pub struct Req<'a> {
    /// The URL's bytes.
    pub url: &'a [u8],
    /// The method's bytes.
    pub method: &'a [u8],
    /// The header lines' bytes.
    pub headers: &'a [u8],
    /// The body.
    pub body: &'a [u8],
}

impl<'a> Req<'a> {
    /// GET, without headers or body.
    pub fn get(url: &'a str) -> Self {
        Req { url: url.as_bytes(), method: b"GET", headers: b"", body: b"" }
    }

    /// With another method.
    pub fn method(mut self, method: &'a str) -> Self {
        self.method = method.as_bytes();
        self
    }

    /// With these header lines.
    pub fn headers(mut self, headers: &'a str) -> Self {
        self.headers = headers.as_bytes();
        self
    }

    /// With this body.
    pub fn body(mut self, body: &'a [u8]) -> Self {
        self.body = body;
        self
    }
}

/// The arguments of `req`, which a case may spoil one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReqArgs {
    /// Pointer and length of the URL.
    pub url: (u32, u32),
    /// Pointer and length of the method.
    pub method: (u32, u32),
    /// Pointer and length of the header lines.
    pub headers: (u32, u32),
    /// Pointer and length of the body.
    pub body: (u32, u32),
    /// Where the status goes.
    pub status_out: u32,
    /// Where the handle goes.
    pub handle_out: u32,
}

/// A running probe of `wasi_experimental_http`.
pub struct HttpProbe {
    /// The probe.
    pub probe: Probe,
}

impl HttpProbe {
    /// The module's text, to which a case may add.
    pub fn wat() -> Wat {
        Self::imports(Wat::new())
    }

    /// Adds the ABI's imports, with a wrapper for each, to a module.
    pub fn imports(wat: Wat) -> Wat {
        [
            ("req", "i32 i32 i32 i32 i32 i32 i32 i32 i32 i32"),
            ("close", "i32"),
            ("header_get", "i32 i32 i32 i32 i32 i32"),
            ("headers_get_all", "i32 i32 i32 i32"),
            ("header_get_all", "i32 i32 i32 i32"),
            ("body_read", "i32 i32 i32 i32"),
        ]
        .into_iter()
        .fold(wat, |wat, (name, params)| wat.import(MODULE, name, params, "i32"))
    }

    /// Starts the probe.
    ///
    /// # Errors
    /// [`Unmet`] if it does not start.
    pub fn start(context: &Context, config: GuestConfig) -> CaseResult<Self> {
        Ok(HttpProbe { probe: context.probe(&Self::wat(), config)? })
    }

    /// Fills the memory with canaries, lays out a request in it, and gives the arguments for it.
    ///
    /// # Errors
    /// [`Unmet::Harness`] if the request is too large for the layout.
    pub fn lay_out(&mut self, req: &Req<'_>) -> CaseResult<ReqArgs> {
        self.probe.canary()?;
        let mut put = |at: u32, bytes: &[u8], end: u32| -> CaseResult<(u32, u32)> {
            check!(bytes.len() <= (end - at) as usize, "the case's request is too large for the probe");
            self.probe.put(at, bytes)?;
            Ok((at, u32::try_from(bytes.len()).map_err(Unmet::harness)?))
        };
        Ok(ReqArgs {
            url: put(at::URL, req.url, at::METHOD)?,
            method: put(at::METHOD, req.method, at::HEADERS)?,
            headers: put(at::HEADERS, req.headers, at::BODY)?,
            body: put(at::BODY, req.body, at::STATUS)?,
            status_out: at::STATUS,
            handle_out: at::HANDLE,
        })
    }

    /// Calls `req` with these arguments and gives its code. Nothing but the status and the handle may be written.
    ///
    /// # Errors
    /// [`Unmet::Failed`] if the guest was ended or another byte was written.
    pub fn call_req(&mut self, args: &ReqArgs) -> CaseResult<u32> {
        let ReqArgs { url, method, headers, body, status_out, handle_out } = *args;
        let outs = [range(status_out, 2), range(handle_out, 4)];
        self.call(
            "req",
            &[url.0, url.1, method.0, method.1, headers.0, headers.1, body.0, body.1, status_out, handle_out],
            &outs,
        )
    }

    /// Lays out a request, calls `req` and gives its code.
    ///
    /// # Errors
    /// As [`call_req`](Self::call_req).
    pub fn req(&mut self, req: &Req<'_>) -> CaseResult<u32> {
        let args = self.lay_out(req)?;
        self.call_req(&args)
    }

    /// Sends a request, which must succeed, and gives status and handle.
    ///
    /// # Errors
    /// [`Unmet::Failed`] if `req` answers another code than 0.
    pub fn open(&mut self, req: &Req<'_>) -> CaseResult<(u16, u32)> {
        let url = String::from_utf8_lossy(req.url).into_owned();
        check_eq!(self.req(req)?, 0, "the code of `req` for {url}");
        Ok((self.probe.u16_at(at::STATUS)?, self.probe.u32_at(at::HANDLE)?))
    }

    /// Closes a response.
    ///
    /// # Errors
    /// [`Unmet::Failed`] if the guest was ended or anything was written.
    pub fn close(&mut self, handle: u32) -> CaseResult<u32> {
        self.call("close", &[handle], &[])
    }

    /// Calls `header_get` for `name` with a buffer of `len` bytes; gives the code, and the value if it is 0.
    ///
    /// # Errors
    /// [`Unmet::Failed`] if the guest was ended or a byte outside of the answer was written.
    pub fn header(&mut self, handle: u32, name: &[u8], len: u32) -> CaseResult<(u32, Vec<u8>)> {
        self.probe.canary()?;
        self.probe.put(at::HEADERS, name)?;
        let name_len = u32::try_from(name.len()).map_err(Unmet::harness)?;
        self.fill("header_get", &[handle, at::HEADERS, name_len, at::BUFFER, len, at::WRITTEN], len)
    }

    /// Calls `headers_get_all` with a buffer of `len` bytes; gives the code, and the lines if it is 0.
    ///
    /// # Errors
    /// As [`header`](Self::header).
    pub fn headers(&mut self, handle: u32, len: u32) -> CaseResult<(u32, Vec<u8>)> {
        self.probe.canary()?;
        self.fill("headers_get_all", &[handle, at::BUFFER, len, at::WRITTEN], len)
    }

    /// All header lines, sorted.
    ///
    /// # Errors
    /// [`Unmet::Failed`] if `headers_get_all` fails or its answer is not lines of text.
    pub fn lines(&mut self, handle: u32) -> CaseResult<Vec<String>> {
        let (code, bytes) = self.headers(handle, at::BUFFER_LEN)?;
        check_eq!(code, 0, "the code of `headers_get_all`");
        let text = String::from_utf8(bytes).map_err(|_| Unmet::failed("`headers_get_all` wrote what is not UTF-8"))?;
        check!(text.is_empty() || text.ends_with('\n'), "the last header line does not end with a line feed: {text:?}");
        let mut lines: Vec<String> = text.split_terminator('\n').map(str::to_owned).collect();
        lines.sort();
        Ok(lines)
    }

    /// Calls `body_read` with a buffer of `len` bytes; gives the code, and the bytes if it is 0.
    ///
    /// # Errors
    /// As [`header`](Self::header).
    pub fn read(&mut self, handle: u32, len: u32) -> CaseResult<(u32, Vec<u8>)> {
        self.probe.canary()?;
        self.fill("body_read", &[handle, at::BUFFER, len, at::WRITTEN], len)
    }

    /// Reads a body to its end.
    ///
    /// # Errors
    /// [`Unmet::Failed`] if `body_read` fails.
    pub fn read_all(&mut self, handle: u32) -> CaseResult<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let (code, bytes) = self.read(handle, at::BUFFER_LEN)?;
            check_eq!(code, 0, "the code of `body_read` after {} bytes", body.len());
            if bytes.is_empty() {
                return Ok(body);
            }
            body.extend_from_slice(&bytes);
        }
    }

    /// Calls a function; only `allowed` may be written.
    ///
    /// # Errors
    /// [`Unmet::Failed`] if the guest was ended or another byte was written.
    pub fn call(&mut self, function: &str, arguments: &[u32], allowed: &[Range<u32>]) -> CaseResult<u32> {
        let before = self.probe.snapshot()?;
        let code = self.probe.call_i32(function, arguments)?;
        self.probe
            .only_wrote(&before, allowed)
            .map_err(|unmet| unmet.context(format_args!("{function} answered {code}")))?;
        Ok(code)
    }

    /// Calls a function that answers bytes in the buffer and their count; on failure it may write neither.
    fn fill(&mut self, function: &str, arguments: &[u32], len: u32) -> CaseResult<(u32, Vec<u8>)> {
        let before = self.probe.snapshot()?;
        let code = self.probe.call_i32(function, arguments)?;
        if code != 0 {
            self.probe
                .only_wrote(&before, &[])
                .map_err(|unmet| unmet.context(format_args!("{function} answered {code}")))?;
            return Ok((code, Vec::new()));
        }
        let written = self.probe.u32_at(at::WRITTEN)?;
        check!(written <= len, "{function} says it wrote {written} bytes into a buffer of {len}");
        self.probe.only_wrote(&before, &[range(at::BUFFER, written), range(at::WRITTEN, 4)])?;
        Ok((0, self.probe.bytes(at::BUFFER, written)?))
    }
}

/// `len` bytes from `start`, or what of them lies below 4 GiB.
fn range(start: u32, len: u32) -> Range<u32> {
    start..start.saturating_add(len)
}
