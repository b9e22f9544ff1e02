//! The functions of `wasi_experimental_http`, from the host.

use std::future::Future;
use std::pin::Pin;

use http::{Request, Response};

use super::experimental::{self, Abi};
use crate::{Body, Result, Timeouts};

pub(crate) fn start(
    request: Request<Body>,
    timeouts: Timeouts,
) -> Pin<Box<dyn Future<Output = Result<Response<Body>>>>> {
    experimental::start(Host, request, timeouts)
}

/// Nothing of this ABI is waited for: its functions block.
pub(crate) fn wait() {
    panic!("a future waits for something that nothing will bring: wasi_experimental_http has nothing to wait for");
}

#[link(wasm_import_module = "wasi_experimental_http")]
unsafe extern "C" {
    fn req(
        url: *const u8,
        url_len: usize,
        method: *const u8,
        method_len: usize,
        headers: *const u8,
        headers_len: usize,
        body: *const u8,
        body_len: usize,
        status: *mut u16,
        handle: *mut u32,
    ) -> u32;
    fn close(handle: u32) -> u32;
    fn headers_get_all(handle: u32, buffer: *mut u8, buffer_len: usize, written: *mut usize) -> u32;
    fn body_read(handle: u32, buffer: *mut u8, buffer_len: usize, written: *mut usize) -> u32;
}

/// The host of this guest.
#[derive(Clone, Copy)]
struct Host;

impl Abi for Host {
    fn req(self, url: &str, method: &str, headers: &str, body: &[u8]) -> Result<(u16, u32), u32> {
        let (mut status, mut handle) = (0, 0);
        // SAFETY: the host reads the four ranges, which are borrowed for the call, and writes two bytes and four.
        let code = unsafe {
            req(
                url.as_ptr(),
                url.len(),
                method.as_ptr(),
                method.len(),
                headers.as_ptr(),
                headers.len(),
                body.as_ptr(),
                body.len(),
                &raw mut status,
                &raw mut handle,
            )
        };
        succeeded(code, (status, handle))
    }

    fn close(self, handle: u32) {
        // SAFETY: nothing of this guest's memory is involved.
        // A response that the host does not know is as closed as can be.
        let _ = unsafe { close(handle) };
    }

    fn headers_get_all(self, handle: u32, buffer: &mut [u8]) -> Result<usize, u32> {
        let mut written = 0;
        // SAFETY: the host writes to the buffer, which is borrowed for the call, and four bytes.
        let code = unsafe { headers_get_all(handle, buffer.as_mut_ptr(), buffer.len(), &raw mut written) };
        succeeded(code, written)
    }

    fn body_read(self, handle: u32, buffer: &mut [u8]) -> Result<usize, u32> {
        let mut written = 0;
        // SAFETY: the host writes to the buffer, which is borrowed for the call, and four bytes.
        let code = unsafe { body_read(handle, buffer.as_mut_ptr(), buffer.len(), &raw mut written) };
        succeeded(code, written)
    }
}

fn succeeded<T>(code: u32, value: T) -> Result<T, u32> {
    if code == 0 { Ok(value) } else { Err(code) }
}
