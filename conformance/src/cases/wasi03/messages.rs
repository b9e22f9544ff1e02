//! Messages of a handler: what of them is sent, what a guest is told of that, and what it cannot say.

use std::sync::Arc;
use std::time::Duration;

use wharf_core::{GuestConfig, HostedGuest};

use super::handler::{TEXT, handler};
use super::probe::load;
use crate::case::{Case, CaseResult, Unmet};
use crate::cases::guest::front::{Front, request};
use crate::context::Context;
use crate::origin::{Origin, Reply};
use crate::served::{Served, Setup};
use crate::{check, check_eq};

const TYPES: &str = "core/wit/0.3/http.wit: types";

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("wasi03/messages/trailers-are-sent", TYPES, trailers),
    Case::must("wasi03/messages/one-that-is-never-sent-is-not-sent", TYPES, |context| {
        says(
            context,
            r#"(call $make (call $fields))
            (call $response-drop (global.get $response))
            (call $wait (global.get $sent) (call $sent-read (global.get $sent) (i32.const 3072)))
            (call $say (i32.add (i32.const 48) (i32.load8_u (i32.const 3072))))"#,
            "1",
        )
    }),
    Case::must("wasi03/messages/nobody-has-to-wait-for-its-fate", TYPES, |context| {
        says(
            context,
            r#"(call $make (call $fields))
            (call $sent-drop (global.get $sent))
            (call $give (global.get $response))
            (call $write (i32.const 4096) (i32.const 5))
            (call $finish (i32.const 1024))"#,
            "hello",
        )
    }),
    Case::must("wasi03/messages/one-that-is-read-was-sent", TYPES, |context| {
        // It traps if it is told otherwise.
        says(
            context,
            r#"(call $make (call $fields))
            (call $give (global.get $response))
            (call $write (i32.const 4096) (i32.const 5))
            (call $finish (i32.const 1024))
            (call $wait (global.get $sent) (call $sent-read (global.get $sent) (i32.const 3072)))
            (if (i32.load8_u (i32.const 3072)) (then unreachable))"#,
            "hello",
        )
    }),
    Case::must("wasi03/messages/a-request-that-is-never-sent-is-not-sent", TYPES, |context| {
        says(
            context,
            r#"(call $request-drop (call $ask))
            (call $wait (global.get $sent) (call $sent-read (global.get $sent) (i32.const 3072)))
            (call $say (i32.add (i32.const 48) (i32.load8_u (i32.const 3072))))"#,
            "1",
        )
    }),
    Case::must("wasi03/messages/the-fate-of-what-is-at-hand-is-not-waited-for", TYPES, |context| {
        never_ends(
            context,
            r#"(call $make (call $fields))
            (call $wait (global.get $sent) (call $sent-read (global.get $sent) (i32.const 3072)))"#,
        )
    }),
    Case::must("wasi03/messages/trailers-are-not-waited-for-before-the-end-of-the-body", TYPES, |context| {
        never_ends(
            context,
            r#"(call $consume-request (local.get $request) (i32.wrap_i64 (call $res-new)) (i32.const 2048))
            (call $wait (i32.load (i32.const 2052))
                (call $trailers-read (i32.load (i32.const 2052)) (i32.const 3072)))"#,
        )
    }),
    Case::must("wasi03/messages/trailers-are-there-once-the-body-is-dropped", TYPES, |context| {
        says(
            context,
            r#"(local $trailers i32)
            (call $consume-request (local.get $request) (i32.wrap_i64 (call $res-new)) (i32.const 2048))
            (local.set $trailers (i32.load (i32.const 2052)))
            (call $body-drop (i32.load (i32.const 2048)))
            (call $wait (local.get $trailers) (call $trailers-read (local.get $trailers) (i32.const 3072)))
            ;; `ok(none)`
            (call $say (i32.add (i32.const 48)
                (i32.add (i32.load8_u (i32.const 3072)) (i32.load8_u (i32.const 3080)))))"#,
            "0",
        )
    }),
    Case::must("wasi03/messages/what-is-taken-apart-has-the-fate-of-another", TYPES, |context| {
        // The fate of the second is that of the first, which is sent after that was said.
        says(
            context,
            r#"(local $second i32)
            (call $make (call $fields))
            (local.set $second (global.get $sent))
            (call $take-apart)
            (call $give (global.get $response))
            (call $write (i32.const 4096) (i32.const 5))
            (call $finish (i32.const 1024))
            (call $wait (local.get $second) (call $sent-read (local.get $second) (i32.const 3072)))
            (if (i32.load8_u (i32.const 3072)) (then unreachable))"#,
            "hello",
        )
    }),
    Case::must("wasi03/messages/what-is-taken-apart-has-the-fate-that-the-guest-says", TYPES, |context| {
        says(
            context,
            r#"(local $ends i64)
            (local $fate i32)
            (local.set $ends (call $res-new))
            (call $make (call $fields))
            (local.set $fate (global.get $sent))
            (call $consume (global.get $response) (i32.wrap_i64 (local.get $ends)) (i32.const 2048))
            (i32.store8 (i32.const 3200) (i32.const 1))
            (drop (call $res-write (i32.wrap_i64 (i64.shr_u (local.get $ends) (i64.const 32))) (i32.const 3200)))
            (call $wait (local.get $fate) (call $sent-read (local.get $fate) (i32.const 3072)))
            (call $say (i32.add (i32.const 48) (i32.load8_u (i32.const 3072))))"#,
            "1",
        )
    }),
    Case::must(
        "wasi03/messages/options-that-are-read-back-are-not-changed",
        "core/wit/0.3/http.wit: get-options",
        |context| {
            says(
                context,
                r#"(call $get-options (call $ask-with (i32.const 1) (call $options)) (i32.const 3072))
            (if (i32.eqz (i32.load8_u (i32.const 3072))) (then unreachable))
            (call $set-connect (i32.load (i32.const 3076)) (i32.const 1) (i64.const 5) (i32.const 3072))
            ;; An error, whose case is the second.
            (call $say (i32.add (i32.const 48)
                (i32.add (i32.load8_u (i32.const 3072)) (i32.load8_u (i32.const 3076)))))"#,
                "2",
            )
        },
    ),
    Case::must("wasi03/messages/a-body-longer-than-it-says-is-broken-off", TYPES, |context| broken(context, "3", 5)),
    Case::must("wasi03/messages/a-body-shorter-than-it-says-is-broken-off", TYPES, |context| broken(context, "5", 3)),
    Case::must("wasi03/messages/no-body-is-shorter-than-it-says", TYPES, |context| broken(context, "1", 0)),
    Case::must("wasi03/messages/a-body-is-as-long-as-it-says", TYPES, |context| {
        says(context, &sized(5).replace("DIGIT", "53"), "hello")
    }),
    Case::must("wasi03/messages/a-name-of-a-field-is-a-token", TYPES, |context| {
        says(
            context,
            r#"(call $append (call $fields) (i32.const 4101) (i32.const 5) (i32.const 4096) (i32.const 5) (i32.const 3072))
            ;; An error, whose case is the first.
            (call $say (i32.add (i32.const 48)
                (i32.add (i32.load8_u (i32.const 3072)) (i32.load8_u (i32.const 3076)))))"#,
            "1",
        )
    }),
    Case::must("wasi03/messages/a-status-has-three-digits", TYPES, |context| {
        says(
            context,
            r#"(call $make (call $fields))
            (call $say (i32.add (i32.const 48) (i32.add
                (call $set-status (global.get $response) (i32.const 99))
                (i32.add (call $set-status (global.get $response) (i32.const 1000))
                    (call $set-status (global.get $response) (i32.const 418))))))"#,
            "2",
        )
    }),
    Case::must("wasi03/messages/a-path-has-no-space", TYPES, |context| {
        says(
            context,
            r#"(i32.store8 (i32.const 3200) (i32.const 32))
            (call $say (i32.add (i32.const 48)
                (call $set-path (call $ask) (i32.const 1) (i32.const 3200) (i32.const 1))))"#,
            "1",
        )
    }),
    Case::must("wasi03/messages/a-method-is-a-token", TYPES, |context| {
        says(
            context,
            r#"(call $say (i32.add (i32.const 48)
                (call $set-method (call $ask) (i32.const 9) (i32.const 4101) (i32.const 5))))"#,
            "1",
        )
    }),
    Case::must("wasi03/messages/the-scheme-is-told", TYPES, |context| {
        says(
            context,
            r#"(call $get-scheme (local.get $request) (i32.const 3072))
            (call $say (i32.add (i32.const 48) (i32.load8_u (i32.const 3072))))"#,
            "1",
        )
    }),
    Case::must("wasi03/messages/the-authority-is-told", TYPES, |context| {
        says(
            context,
            r#"(call $get-authority (local.get $request) (i32.const 3072))
            (call $make (call $fields))
            (call $give (global.get $response))
            (call $write (i32.load (i32.const 3076)) (i32.load (i32.const 3080)))
            (call $finish (i32.const 1024))"#,
            "front.example",
        )
    }),
    Case::must("wasi03/messages/fields-of-the-connection-are-the-host-s", TYPES, |context| {
        says(
            context,
            r#"(call $append (call $fields) (i32.const 4106) (i32.const 10) (i32.const 4096) (i32.const 5) (i32.const 3072))
            (call $say (i32.add (i32.const 48) (i32.add (i32.load8_u (i32.const 3072)) (i32.load8_u (i32.const 3076)))))"#,
            // An error, whose case is the second.
            "2",
        )
    }),
    Case::must("wasi03/messages/no-path-is-sent-as-the-root", TYPES, |context| {
        let (status, target, _) = sends(
            context,
            r#"(local.set $request (call $ask))
            (drop (call $set-scheme (local.get $request) (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 0)))
            (drop (call $set-authority (local.get $request) (i32.const 1) (i32.const 4096) (i32.const AUTHORITY)))
            (drop (call $trailers-write (global.get $trailers) (i32.const 1024)))
            (call $pass-on (local.get $request))"#,
        )?;
        check_eq!((status, &*target), (203, "/"), "the answer, and what the origin was asked for");
        Ok(())
    }),
    Case::must("wasi03/messages/what-is-passed-on-keeps-no-field-of-the-connection", TYPES, |context| {
        let (status, _, headers) = sends(
            context,
            r#"(drop (call $set-authority (local.get $request) (i32.const 1) (i32.const 4096) (i32.const AUTHORITY)))
            (call $pass-on (local.get $request))"#,
        )?;
        check_eq!(status, 203, "the answer");
        let has = |name: &str| headers.iter().filter(|known| known.eq_ignore_ascii_case(name)).count();
        check_eq!(
            (has("x-sent"), has("host"), has("x-hop"), has("keep-alive")),
            (1, 1, 0, 0),
            "the fields among {headers:?}"
        );
        Ok(())
    }),
];

fn guest(context: &Context, steps: &str, text: &str) -> CaseResult<Arc<dyn HostedGuest>> {
    let component = handler(steps, text)?;
    context.subject().shared(&format!("{steps}{text}"), || load(context, &component))
}

/// The handler's answer has this body.
fn says(context: &Context, steps: &str, expected: &str) -> CaseResult {
    let guest = guest(context, steps, "helloa/b/cconnection")?;
    let front =
        Front::handler(guest, || Ok(GuestConfig { timeout: Some(Duration::from_secs(10)), ..context.net().config()? }));
    let mut asked = request("GET", "/", "")?;
    asked.extensions_mut().insert(http::uri::Scheme::HTTPS);
    let (status, body) = front.answer(asked)?.whole()?;
    check_eq!((status, &*String::from_utf8_lossy(&body)), (200, expected), "the answer");
    front.finish()
}

/// A response that says how long it is, with so many bytes. The length's digit lies at 3200, and the body at 4096.
fn sized(len: u32) -> String {
    let steps = r#"(local $fields i32)
        (local.set $fields (call $fields))
        (i64.store (i32.const 3216) (i64.const 0x2d746e65746e6f63))
        (i64.store (i32.const 3224) (i64.const 0x6874676e656c))
        (i32.store8 (i32.const 3200) (i32.const DIGIT))
        (call $append (local.get $fields) (i32.const 3216) (i32.const 14) (i32.const 3200) (i32.const 1) (i32.const 3072))
        (if (i32.load8_u (i32.const 3072)) (then unreachable))
        (call $make (local.get $fields))
        (call $give (global.get $response))
        (call $write (i32.const 4096) (i32.const LEN))
        (call $finish (i32.const 1024))"#;
    steps.replace("LEN", &len.to_string())
}

/// A response that says it is as long as this digit is not whole with so many bytes.
fn broken(context: &Context, says: &str, len: u32) -> CaseResult {
    let steps = sized(len).replace("DIGIT", &says.bytes().next().unwrap_or_default().to_string());
    let front = Front::handler(guest(context, &steps, "hello")?, || {
        Ok(GuestConfig { timeout: Some(Duration::from_secs(10)), ..context.net().config()? })
    });
    match front.answer(request("GET", "/", "")?) {
        Ok(answer) => check!(answer.end.is_err(), "the response looks whole, with {} bytes", answer.body.len()),
        Err(Unmet::Failed(_)) => {}
        Err(other) => return Err(other),
    }
    Ok(())
}

/// The handler waits for what it would have to do itself: a trap that says so.
fn never_ends(context: &Context, steps: &str) -> CaseResult {
    let guest = guest(context, steps, "")?;
    let front =
        Front::handler(guest, || Ok(GuestConfig { timeout: Some(Duration::from_secs(1)), ..context.net().config()? }));
    match front.answer(request("GET", "/", "")?) {
        Err(Unmet::Failed(message)) => check!(message.contains("would never end"), "the error is `{message}`"),
        Err(other) => return Err(other),
        Ok(_) => return Err(Unmet::failed("the handler answers")),
    }
    Ok(())
}

/// What the handler's answer is, what an origin was asked for, and with which fields.
fn sends(context: &Context, steps: &str) -> CaseResult<(u16, String, Vec<String>)> {
    let origin = Origin::replying(Reply::status(203))?;
    let authority = origin.authority();
    let steps = steps.replace("AUTHORITY", &authority.len().to_string());
    // Each origin has a port of its own.
    let guest = load(context, &handler(&steps, &authority)?)?;
    let front = Front::handler(guest, || {
        let config = context.net().allow(&origin.base()).config()?;
        Ok(GuestConfig { timeout: Some(Duration::from_secs(10)), ..config })
    });
    let mut asked = request("GET", "/asked", "")?;
    for (name, value) in [("x-sent", "1"), ("x-hop", "1"), ("keep-alive", "1"), ("connection", "x-hop")] {
        asked.headers_mut().insert(name, http::HeaderValue::from_static(value));
    }
    let (status, _) = front.answer(asked)?.whole()?;
    front.finish()?;
    let seen = origin.request()?;
    check!(seen.header("host") == Some(&*authority), "the origin is told of {:?}", seen.header("host"));
    let headers = seen.headers.iter().map(|(name, _)| name.clone()).collect();
    Ok((status, seen.target.clone(), headers))
}

fn trailers(context: &Context) -> CaseResult {
    check_eq!(TEXT, 4096, "where the text lies");
    let steps = r#"(local.set $request (call $fields))
        (call $append (local.get $request) (i32.const 4096) (i32.const 7) (i32.const 4103) (i32.const 7) (i32.const 3072))
        (call $make (local.get $request))
        (call $give (global.get $response))
        (call $write (i32.const 4110) (i32.const 5))
        ;; `ok(some(fields))`
        (local.set $request (call $fields))
        (call $append (local.get $request) (i32.const 4103) (i32.const 7) (i32.const 4110) (i32.const 5) (i32.const 3072))
        (i32.store8 (i32.const 3208) (i32.const 1))
        (i32.store (i32.const 3212) (local.get $request))
        (call $finish (i32.const 3200))"#;
    let guest = guest(context, steps, "trailerx-afterhello")?;
    let served = Served::guest(guest, Setup::default())?;
    let wire =
        served.exchange(b"GET / HTTP/1.1\r\nhost: a.example\r\nte: trailers\r\nconnection: close, te\r\n\r\n")?;
    let text = wire.text();
    check_eq!(wire.status(), Some(200), "the status of {text:?}");
    check!(text.ends_with("5\r\nhello\r\n0\r\nx-after: hello\r\n\r\n"), "the body and trailers of {text:?}");
    Ok(())
}
