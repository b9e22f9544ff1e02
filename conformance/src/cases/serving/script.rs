//! A guest that does what the path of each request says, and what has to come of it.
//!
//! A path is `/`, and steps of two characters, a letter and a digit: one guest, compiled once, ends in every way. What
//! a client is to see of it is decided by [`Progress`], as on every host.

use http::{Method, StatusCode, Version};
use wharf_core::message::{Content, GuestEnd, Progress, Verdict};

use crate::cases::wasihttp::handler::handler;

/// How long the loop of [`Step::Spin`] may run, and everything before it.
pub(super) const TIME: std::time::Duration = std::time::Duration::from_millis(1500);

/// What the bodies are made of.
const LETTER: u8 = b'b';

/// One step of a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Announces a content-length.
    Announce(u8),
    /// Sets status 204 or 304.
    Status(u16),
    /// Asks for the body, and sets the response.
    Respond,
    /// Sets the response and asks for no body.
    RespondBodiless,
    /// Writes this many bytes and flushes them.
    Flush(u8),
    /// Writes this many bytes.
    Write(u8),
    /// Waits so long that it is still to come when it is looked at, however busy the machine.
    Wait,
    Finish,
    Drop,
    Trap,
    /// Exits, well or not.
    Exit(u8),
    /// Runs until its time is over.
    Spin,
}

/// The path that asks for these steps.
pub(super) fn path(steps: &[Step]) -> String {
    let step = |step: &Step| match step {
        Step::Announce(length) => format!("L{length}"),
        Step::Status(204) => "S1".to_owned(),
        Step::Status(_) => "S2".to_owned(),
        Step::Respond => "o0".to_owned(),
        Step::RespondBodiless => "O0".to_owned(),
        Step::Flush(count) => format!("w{count}"),
        Step::Write(count) => format!("u{count}"),
        Step::Wait => "p0".to_owned(),
        Step::Finish => "f0".to_owned(),
        Step::Drop => "d0".to_owned(),
        Step::Trap => "t0".to_owned(),
        Step::Exit(code) => format!("x{code}"),
        Step::Spin => "l0".to_owned(),
    };
    format!("/{}", steps.iter().map(step).collect::<String>())
}

/// The guest.
pub(super) fn guest() -> String {
    let step = |letter: char, does: &str| {
        format!("(if (i32.eq (i32.load8_u (local.get $input)) (i32.const {})) (then {does}))", u32::from(letter))
    };
    let argument = "(i32.sub (i32.load8_u offset=1 (local.get $input)) (i32.const 48))";
    let response = r#"
        (local.set $response (call $"[constructor]outgoing-response" (global.get $fields)))
        (drop (call $"[method]outgoing-response.set-status-code" (local.get $response) (global.get $status)))"#;
    let drop_stream = r#"(call $"[resource-drop]output-stream" (local.get $stream))"#;
    let steps = [
        step(
            'L',
            r#"(i32.store8 (i32.const 0x240) (i32.load8_u offset=1 (local.get $input)))
            (call $"[method]fields.append" (global.get $fields)
                (i32.const 0x220) (i32.const 14) (i32.const 0x240) (i32.const 1) (i32.const 0x100))"#,
        ),
        step(
            'S',
            &format!("(global.set $status (select (i32.const 204) (i32.const 304) (i32.eq {argument} (i32.const 1))))"),
        ),
        step(
            'o',
            &format!(
                r#"{response}
                (call $"[method]outgoing-response.body" (local.get $response) (i32.const 0x100))
                (local.set $body (i32.load (i32.const 0x104)))
                (call $set (local.get $out) (local.get $response))
                (call $"[method]outgoing-body.write" (local.get $body) (i32.const 0x100))
                (local.set $stream (i32.load (i32.const 0x104)))"#
            ),
        ),
        step('O', &format!("{response} (call $set (local.get $out) (local.get $response))")),
        step(
            'w',
            &format!(
                r#"(call $"[method]output-stream.blocking-write-and-flush"
                    (local.get $stream) (i32.const 0x600) {argument} (i32.const 0x100))"#
            ),
        ),
        // A stream that broke has no room, and is not written to. One that is full, as none of wharf's own is here, is waited for.
        step(
            'u',
            &format!(
                r#"(call $"[method]output-stream.check-write" (local.get $stream) (i32.const 0x100))
                (if (i64.eqz (i64.load (i32.const 0x108))) (then
                    (if (i32.eqz (i32.load8_u (i32.const 0x100))) (then
                        (local.set $count (call $"[method]output-stream.subscribe" (local.get $stream)))
                        (call $"[method]pollable.block" (local.get $count))
                        (call $"[resource-drop]pollable" (local.get $count))
                        (call $"[method]output-stream.check-write" (local.get $stream) (i32.const 0x100))))))
                (if (i32.eqz (i32.load8_u (i32.const 0x100))) (then
                    (call $"[method]output-stream.write"
                        (local.get $stream) (i32.const 0x600) {argument} (i32.const 0x100))))"#
            ),
        ),
        step(
            'p',
            r#"(local.set $count (call $"subscribe-duration" (i64.const 20000000)))
            (call $"[method]pollable.block" (local.get $count))
            (call $"[resource-drop]pollable" (local.get $count))"#,
        ),
        step(
            'f',
            &format!(
                r#"{drop_stream}
                (call $"[static]outgoing-body.finish" (local.get $body) (i32.const 0) (i32.const 0) (i32.const 0x180))"#
            ),
        ),
        step('d', &format!(r#"{drop_stream} (call $"[resource-drop]outgoing-body" (local.get $body))"#)),
        step('t', "(unreachable)"),
        step('x', &format!(r#"(call $"exit" {argument})"#)),
        step('l', "(loop $forever (br $forever))"),
    ];
    let run = format!(
        r#"(memory.fill (i32.const 0x600) (i32.const {LETTER}) (i32.const 16))
        (global.set $status (i32.const 200))
        (global.set $fields (call $"[constructor]fields"))
        (call $"[method]incoming-request.path-with-query" (local.get $request) (i32.const 0x140))
        (local.set $input (i32.add (i32.load (i32.const 0x144)) (i32.const 1)))
        (global.set $end (i32.add (i32.load (i32.const 0x144)) (i32.load (i32.const 0x148))))
        (block $done (loop $next
            (br_if $done (i32.ge_u (local.get $input) (global.get $end)))
            {}
            (local.set $input (i32.add (local.get $input) (i32.const 2)))
            (br $next)))"#,
        steps.concat()
    );
    let globals = "(global $status (mut i32) (i32.const 0)) (global $fields (mut i32) (i32.const 0))
        (global $end (mut i32) (i32.const 0))";
    let module = handler(&[&run]);
    let at = module.rfind("(func (export \"wasi:http/incoming-handler").unwrap_or_default();
    format!("{}{globals}{}", &module[..at], &module[at..])
}

/// What a client has to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expected {
    /// This response, whole.
    Whole(u16, Vec<u8>),
    /// The head of this one and so much of its body, and then a break.
    Broken(u16, Vec<u8>),
}

/// How far a guest is, and what was sent meanwhile.
struct Model {
    progress: Progress,
    announced: Option<u8>,
    status: u16,
    flushed: u64,
    /// How the guest ended its part in the message, once it has.
    end: Option<GuestEnd>,
    responded: bool,
}

/// What comes of these steps on a host where what was written is flushed by that, or is not.
pub(super) fn expected(steps: &[Step], method: &Method, flushes_at_once: bool) -> Expected {
    let content = Content::Open;
    let progress = Progress { content, written: 0, head_sent: false };
    let mut model = Model { progress, announced: None, status: 200, flushed: 0, end: None, responded: false };
    for step in steps {
        model.step(*step, method, flushes_at_once);
    }
    let end = model.end.unwrap_or(GuestEnd::Returned);
    let written = |count: u64| vec![LETTER; count as usize];
    let has_content = model.progress.content != Content::None;
    match model.progress.verdict(end) {
        Verdict::Whole => Expected::Whole(model.status, written(if has_content { model.progress.written } else { 0 })),
        Verdict::Replaced(status) => Expected::Whole(status.as_u16(), Vec::new()),
        Verdict::Broken => Expected::Broken(model.status, written(model.progress.sendable(model.flushed))),
    }
}

impl Model {
    fn step(&mut self, step: Step, method: &Method, flushes_at_once: bool) {
        if self.end.is_some() {
            return;
        }
        match step {
            Step::Announce(length) => self.announced = Some(length),
            Step::Status(status) => self.status = status,
            Step::Respond | Step::RespondBodiless => {
                self.responded = true;
                let bodiless = [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].iter().any(|no| *no == self.status);
                self.progress.content = if method == Method::HEAD || bodiless {
                    Content::None
                } else {
                    self.announced.map_or(Content::Open, |length| Content::Length(length.into()))
                };
                // Without a body there is nothing left to do for the guest.
                self.end = (step == Step::RespondBodiless).then_some(GuestEnd::Finished);
            }
            Step::Flush(count) | Step::Write(count) => {
                self.progress.written += u64::from(count);
                if self.announced.is_some_and(|length| self.progress.written > u64::from(length)) {
                    self.end = Some(GuestEnd::Dropped);
                    return;
                }
                if flushes_at_once || step == Step::Flush(count) {
                    self.flush();
                }
            }
            Step::Wait => self.flush(),
            Step::Finish => self.end = Some(GuestEnd::Finished),
            Step::Drop => self.end = Some(GuestEnd::Dropped),
            Step::Trap => self.end = Some(GuestEnd::Trapped),
            Step::Exit(_) => self.end = Some(GuestEnd::Exited),
            Step::Spin => self.end = Some(GuestEnd::TimedOut),
        }
    }

    fn flush(&mut self) {
        if self.responded {
            self.flushed = self.progress.written;
            self.progress.head_sent |= self.progress.head_may_leave();
        }
    }
}

/// A request for these steps.
pub(super) fn request(steps: &[Step], method: &Method, version: Version, last: bool) -> String {
    let (protocol, close) = match version {
        Version::HTTP_10 => ("HTTP/1.0", ""),
        _ => ("HTTP/1.1", if last { "connection: close\r\n" } else { "" }),
    };
    format!("{method} {} {protocol}\r\nhost: a\r\n{close}\r\n", path(steps))
}
