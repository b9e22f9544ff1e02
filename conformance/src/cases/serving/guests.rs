//! Guests that do one thing with a GET and another with every other request.

use std::net::SocketAddr;
use std::time::Duration;

use wharf_core::GuestConfig;

use crate::case::CaseResult;
use crate::cases::wasihttp::handler::{FINISH, HELLO, RESPOND, handler};
use crate::context::Context;
use crate::origin::Origin;
use crate::prebuilt::LONG;
use crate::served::{Served, Setup};

/// A request that the guests of this file answer at once, on a connection of its own.
pub(super) const SHORT: &[u8] = b"DELETE / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";

/// A request that they answer in their own way.
pub(super) const OWN: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

/// Runs for ever.
pub(super) const SPIN: &str = "(loop $spin (br $spin))";

/// The text of a guest that does this with a GET, and answers other requests with `hello`.
pub(super) fn guest(steps: &[&str]) -> String {
    let own = format!(
        r#"(call $"[method]incoming-request.method" (local.get $request) (i32.const 0x100))
        (if (i32.eqz (i32.load8_u (i32.const 0x100))) (then {} (return)))"#,
        steps.concat()
    );
    handler(&[&own, RESPOND, HELLO, FINISH])
}

/// Sends a request to this address, and waits until its response begins.
pub(super) fn fetch(origin: SocketAddr) -> String {
    let authority = origin.to_string();
    let put = |(at, byte): (usize, u8)| format!("(i32.store8 (i32.const {}) (i32.const {byte}))", 0x300 + at);
    let stored: String = authority.bytes().enumerate().map(put).collect();
    let length = authority.len();
    format!(
        r#"{stored}
        (local.set $input (call $"[constructor]outgoing-request" (call $"[constructor]fields")))
        (drop (call $"[method]outgoing-request.set-scheme"
            (local.get $input) (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 0)))
        (drop (call $"[method]outgoing-request.set-authority"
            (local.get $input) (i32.const 1) (i32.const 0x300) (i32.const {length})))
        (i32.store8 (i32.const 0x3f0) (i32.const 0x2f))
        (drop (call $"[method]outgoing-request.set-path-with-query"
            (local.get $input) (i32.const 1) (i32.const 0x3f0) (i32.const 1)))
        (call $"handle" (local.get $input) (i32.const 0) (i32.const 0) (i32.const 0x100))
        (if (i32.load8_u (i32.const 0x100)) (then (unreachable)))
        (call $"[method]pollable.block"
            (call $"[method]future-incoming-response.subscribe" (i32.load (i32.const 0x108))))"#
    )
}

/// Serves the guest of this text to as many at a time as `places` says, and lets two more wait, for a guest to put an end
/// to what it has answered; each request may take far longer than a case does.
pub(super) fn serve(context: &Context, text: &str, origins: &[&Origin], places: usize) -> CaseResult<Served> {
    let mut setup = Setup::default();
    setup.handler.max_concurrent = places;
    setup.handler.on_workers = true;
    setup.handler.max_waiting = 2;
    setup.handler.max_wait = Duration::from_millis(500);
    let mut net = context.net();
    for origin in origins {
        net = net.allow(&origin.base());
    }
    let outbound = net.outbound()?;
    setup.config = Box::new(move |_| {
        Ok(GuestConfig { outbound: Some(outbound.clone()), timeout: Some(LONG), ..GuestConfig::default() })
    });
    Served::start(context, text, setup)
}
