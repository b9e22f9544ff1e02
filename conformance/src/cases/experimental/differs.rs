//! Where wharf differs from the published host on purpose. Each difference is one that guests gain by.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use wharf_core::http::Redirects;
use wharf_core::{GuestConfig, Kind, Stop};

use super::answers;
use super::code::{
    INVALID_ENCODING, INVALID_HANDLE, MEMORY_ACCESS, NOT_ALLOWED, NOT_UTF8, REQUEST_FAILED, SUCCESS, TOO_MANY_SESSIONS,
};
use crate::case::{Case, CaseResult, Unmet};
use crate::context::Context;
use crate::origin::{Body, Gate, Origin, Reply, Step};
use crate::probe::{HttpProbe, Req, ReqArgs, at};
use crate::{check, check_eq};

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("experimental/differs/body-read-of-bad-handle", "wharf differs: no panic", bad_handle),
    Case::must("experimental/differs/header-line-without-colon", "wharf differs: no panic", no_colon),
    Case::must("experimental/differs/repeated-headers-are-all-sent", "wharf differs: repeated headers", repeated),
    Case::must("experimental/differs/tab-in-response-header", "wharf differs: odd response headers", tab),
    Case::must("experimental/differs/latin1-in-response-header", "wharf differs: odd response headers", latin1),
    Case::must("experimental/differs/utf8-in-response-header", "wharf differs: odd response headers", utf8),
    Case::must("experimental/differs/port-is-checked", "wharf differs: entries are origins", port_is_checked),
    Case::must("experimental/differs/scheme-is-checked", "wharf differs: entries are origins", scheme_is_checked),
    Case::must("experimental/differs/bad-entry-is-refused-early", "wharf differs: entries are origins", bad_entry),
    Case::must("experimental/differs/wildcard", "wharf differs: entries are origins", wildcard),
    Case::must("experimental/differs/redirect-to-denied-origin", "wharf differs: redirects", redirect_denied),
    Case::must("experimental/differs/redirect-followed", "wharf differs: redirects", redirect_followed),
    Case::must("experimental/differs/redirect-handed-over", "wharf differs: redirects", redirect_manual),
    Case::must("experimental/differs/handles-are-per-instance", "wharf differs: handles", per_instance),
    Case::must("experimental/differs/freed-with-the-instance", "wharf differs: handles", freed_with_instance),
    Case::must("experimental/differs/no-lock-over-io", "wharf differs: locks", no_lock),
    Case::must("experimental/differs/limit-zero-is-none", "wharf differs: limits", limit_zero),
    Case::must("experimental/differs/returns-at-the-head", "wharf differs: streaming", returns_at_head),
    Case::must("experimental/differs/body-is-capped", "wharf differs: streaming", body_capped),
    Case::must("experimental/differs/first-byte-timeout", "wharf differs: timeouts", first_byte_timeout),
    Case::must("experimental/differs/between-bytes-timeout", "wharf differs: timeouts", between_bytes_timeout),
    Case::must("experimental/differs/run-deadline-ends-a-wait", "wharf differs: timeouts", run_deadline),
    Case::must("experimental/differs/cancel-ends-a-wait", "wharf differs: timeouts", cancel),
    Case::must("experimental/differs/same-inside-async-hosts", "wharf differs: timeouts", inside_async),
    Case::must("experimental/differs/connections-are-pooled", "wharf differs: pooling", pooled),
    Case::must("experimental/differs/bad-handle-out-leaks-nothing", "wharf differs: leaks", no_leak),
];

fn bad_handle(context: &Context) -> CaseResult {
    let mut probe = HttpProbe::start(context, GuestConfig::default())?;
    answers(probe.read(99, 10)?.0, INVALID_HANDLE, "`body_read` of a handle never given")
}

fn no_colon(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::status(200))?;
    let mut probe = context.http_probe(&origin)?;
    for lines in ["nocolon", "x-a:1\nnocolon\nx-b:2\n", "nocolon\r\n"] {
        answers(
            probe.req(&Req::get(&origin.url("/")).headers(lines))?,
            INVALID_ENCODING,
            &format!("`req` with {lines:?}"),
        )?;
    }
    check_eq!(origin.requests().len(), 0, "requests that reached the origin");
    Ok(())
}

fn repeated(context: &Context) -> CaseResult {
    let origin = Origin::raw(Step::exchange("200 OK", &[], ""))?;
    context.http_probe(&origin)?.open(&Req::get(&origin.url("/")).headers("x-a:1\nx-b:9\nX-A:2\nx-a:3\n"))?;
    check_eq!(origin.request()?.all("x-a"), [b"1", b"2", b"3"], "the values of a repeated header, in order");
    Ok(())
}

/// A response with this header line among others: the whole list can be read, and so can the others.
fn odd_header(context: &Context, line: &[u8]) -> CaseResult<(Origin, HttpProbe, Vec<String>)> {
    let answer = [b"HTTP/1.1 200 OK\r\nx-before: 1\r\n", line, b"\r\nx-after: 2\r\ncontent-length: 0\r\n\r\n"].concat();
    let origin = Origin::raw(vec![Step::ReadRequest, Step::Send(answer)])?;
    let mut probe = context.http_probe(&origin)?;
    let (_, handle) = probe.open(&Req::get(&origin.url("/")))?;
    let lines = probe.lines(handle)?;
    for right in ["x-before:1", "x-after:2"] {
        check!(lines.iter().any(|line| line == right), "{right:?} is missing beside an odd header: {lines:?}");
    }
    check_eq!(probe.header(handle, b"x-after", 10)?, (SUCCESS, b"2".to_vec()), "a header beside an odd one");
    Ok((origin, probe, lines))
}

fn tab(context: &Context) -> CaseResult {
    let (_origin, mut probe, lines) = odd_header(context, b"x-odd: a\tb")?;
    check!(lines.contains(&"x-odd:a\tb".to_owned()), "the value with a TAB is missing: {lines:?}");
    check_eq!(probe.header(0, b"x-odd", 10)?, (SUCCESS, b"a\tb".to_vec()), "a value with a TAB");
    Ok(())
}

fn latin1(context: &Context) -> CaseResult {
    let (_origin, mut probe, _) = odd_header(context, b"x-odd: caf\xe9")?;
    let (code, value) = probe.header(0, b"x-odd", 10)?;
    match code {
        // Whatever it is turned into, it has to be text.
        SUCCESS if std::str::from_utf8(&value).is_ok() => Ok(()),
        NOT_UTF8 => Ok(()),
        _ => Err(Unmet::failed(format!("`header_get` of a Latin-1 value answered {code} with {value:?}"))),
    }
}

fn utf8(context: &Context) -> CaseResult {
    let (_origin, mut probe, lines) = odd_header(context, "x-odd: café".as_bytes())?;
    check!(lines.contains(&"x-odd:café".to_owned()), "the UTF-8 value is missing: {lines:?}");
    check_eq!(probe.header(0, b"x-odd", 10)?, (SUCCESS, "café".as_bytes().to_vec()), "a value in UTF-8");
    Ok(())
}

fn port_is_checked(context: &Context) -> CaseResult {
    let (allowed, other) = (Origin::replying(Reply::ok("yes"))?, Origin::replying(Reply::ok("no"))?);
    let mut probe = context.http_probe(&allowed)?;
    answers(probe.req(&Req::get(&other.url("/")))?, NOT_ALLOWED, "`req` to another port of an allowed host")?;
    check_eq!(other.accepted(), 0, "connections to that port");
    Ok(())
}

fn scheme_is_checked(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::ok("yes"))?;
    let mut probe = context.net().allow(&format!("https://{}", origin.authority())).http_probe()?;
    answers(probe.req(&Req::get(&origin.url("/")))?, NOT_ALLOWED, "`req` over http where https is allowed")?;
    check_eq!(origin.accepted(), 0, "connections");
    Ok(())
}

fn bad_entry(context: &Context) -> CaseResult {
    for entry in
        ["", "http://", "http://host/path", "ftp://host", "http://user@host", "host:port", "*", "http://*", "a b"]
    {
        let refused = context.net().allow(entry).outbound();
        check!(refused.is_err(), "the entry {entry:?} was accepted");
    }
    Ok(())
}

fn wildcard(context: &Context) -> CaseResult {
    let origin = Origin::http(|request| Reply::ok(request.authority.clone()))?;
    let port = origin.port();
    let mut probe = context
        .net()
        .allow(&format!("http://*.example.test:{port}"))
        .policy(|policy| Ok(policy.allow_private_addresses(true)))
        .name("a.example.test", &[origin.address().ip()])
        .name("b.a.example.test", &[origin.address().ip()])
        .name("example.test", &[origin.address().ip()])
        .name("badexample.test", &[origin.address().ip()])
        .http_probe()?;
    for host in ["a.example.test", "b.a.example.test", "A.EXAMPLE.test"] {
        let url = format!("http://{host}:{port}/");
        let (_, handle) = probe.open(&Req::get(&url))?;
        let right = format!("{}:{port}", host.to_ascii_lowercase());
        check_eq!(probe.read_all(handle)?, right.as_bytes(), "the host header");
    }
    for host in ["example.test", "badexample.test"] {
        let code = probe.req(&Req::get(&format!("http://{host}:{port}/")))?;
        answers(code, NOT_ALLOWED, &format!("`req` to {host} under a wildcard"))?;
    }
    Ok(())
}

fn redirect_denied(context: &Context) -> CaseResult {
    let secret = Origin::replying(Reply::ok("secret"))?;
    let target = secret.url("/");
    let origin = Origin::http(move |_| Reply::redirect(302, &target))?;
    let mut probe = context.http_probe(&origin)?;
    answers(probe.req(&Req::get(&origin.url("/")))?, NOT_ALLOWED, "`req` that is redirected to a denied origin")?;
    check_eq!(origin.requests().len(), 1, "requests to the allowed origin");
    check_eq!(secret.accepted(), 0, "connections to the denied origin");
    Ok(())
}

fn redirect_followed(context: &Context) -> CaseResult {
    let origin = Origin::http(|request| match request.target.as_str() {
        "/" => Reply::redirect(302, "/there"),
        _ => Reply::ok("arrived"),
    })?;
    let mut probe = context.net().allow(&origin.base()).redirects(Redirects::Follow(3)).http_probe()?;
    let (status, handle) = probe.open(&Req::get(&origin.url("/")))?;
    check_eq!(status, 200, "the status after a redirect");
    check_eq!(probe.read_all(handle)?, b"arrived", "the body after a redirect");
    Ok(())
}

fn redirect_manual(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::redirect(302, "http://elsewhere.test/"))?;
    let mut probe = context.net().allow(&origin.base()).redirects(Redirects::Manual).http_probe()?;
    let (status, handle) = probe.open(&Req::get(&origin.url("/")))?;
    check_eq!(status, 302, "the status");
    let right = b"http://elsewhere.test/".to_vec();
    check_eq!(probe.header(handle, b"location", 100)?, (SUCCESS, right), "the location");
    Ok(())
}

fn per_instance(context: &Context) -> CaseResult {
    let origin = Origin::http(|request| Reply::ok(request.target.clone()))?;
    let outbound = context.net().allow(&origin.base()).outbound()?;
    let guest = context.guest(&HttpProbe::wat().text())?;
    let start = || -> CaseResult<HttpProbe> {
        let config = GuestConfig { outbound: Some(outbound.for_guest()), ..GuestConfig::default() };
        Ok(HttpProbe { probe: crate::probe::Probe { session: guest.start(config)? } })
    };
    let (mut one, mut two) = (start()?, start()?);
    check_eq!(one.open(&Req::get(&origin.url("/one")))?.1, 0, "the first instance's first handle");
    answers(two.read(0, 10)?.0, INVALID_HANDLE, "`body_read` in another instance of a handle it was not given")?;
    answers(two.close(0)?, SUCCESS, "`close` in another instance")?;
    check_eq!(two.open(&Req::get(&origin.url("/two")))?.1, 0, "the second instance's first handle");
    check_eq!(one.read_all(0)?, b"/one", "the first instance's body");
    check_eq!(two.read_all(0)?, b"/two", "the second instance's body");
    Ok(())
}

fn freed_with_instance(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::ok("").body(Body::Endless))?;
    let mut probe = context.http_probe(&origin)?;
    for _ in 0..3 {
        probe.open(&Req::get(&origin.url("/")))?;
    }
    check_eq!(origin.open(), 3, "connections open");
    drop(probe);
    check!(
        origin.wait_until(|origin| origin.open() == 0),
        "{} connections are open after the instance is gone",
        origin.open()
    );
    Ok(())
}

/// One guest that waits for its origin keeps no other from reaching another one.
fn no_lock(context: &Context) -> CaseResult {
    let gate = Gate::new();
    let slow = Origin::replying(Reply::ok("slow").once(gate.clone()))?;
    let fast = Origin::replying(Reply::ok("fast"))?;
    let outbound = context.net().allow(&slow.base()).allow(&fast.base()).outbound()?;
    let start =
        || HttpProbe::start(context, GuestConfig { outbound: Some(outbound.clone()), ..GuestConfig::default() });
    let (mut waiting, mut busy) = (start()?, start()?);
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| waiting.open(&Req::get(&slow.url("/"))));
        let result = (|| -> CaseResult {
            check!(slow.wait_until(|slow| slow.requests().len() == 1), "the slow request did not arrive");
            for _ in 0..10 {
                let (_, handle) = busy.open(&Req::get(&fast.url("/")))?;
                check_eq!(busy.read_all(handle)?, b"fast", "the fast origin's body");
                busy.close(handle)?;
            }
            Ok(())
        })();
        gate.open();
        let waited = waiter.join().unwrap_or_else(|_| Err(Unmet::failed("the waiting guest panicked")));
        result?;
        check_eq!(waited?.0, 200, "the slow origin's status");
        Ok(())
    })
}

fn limit_zero(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::ok("x"))?;
    let net = || context.net().allow(&origin.base());
    let mut none_open = net().limits(|limits| limits.open_responses = 0).http_probe()?;
    answers(none_open.req(&Req::get(&origin.url("/")))?, TOO_MANY_SESSIONS, "`req` where 0 responses may be open")?;
    let mut none_sent = net().limits(|limits| limits.in_flight_requests = 0).http_probe()?;
    let code = none_sent.req(&Req::get(&origin.url("/")))?;
    check!(code != SUCCESS, "`req` where 0 requests may be in flight answered 0");
    check_eq!(origin.accepted(), 0, "connections to the origin");
    Ok(())
}

fn returns_at_head(context: &Context) -> CaseResult {
    let gate = Gate::new();
    let body = Body::Gated(Bytes::from_static(b"first "), gate.clone(), Bytes::from_static(b"rest"));
    let origin = Origin::replying(Reply::ok("").header("x-a", "1").body(body))?;
    let mut probe = context.http_probe(&origin)?;
    // The rest of the body comes only once the gate is open: a host that waits for it would wait here.
    let before = Instant::now();
    let (status, handle) = probe.open(&Req::get(&origin.url("/")))?;
    check!(
        before.elapsed() < Duration::from_secs(5),
        "`req` took {:?} where the body was not complete",
        before.elapsed()
    );
    check_eq!(status, 200, "the status");
    check_eq!(probe.header(handle, b"x-a", 10)?.1, b"1", "a header, before the body is complete");
    check_eq!(probe.read(handle, 100)?, (SUCCESS, b"first ".to_vec()), "the part of the body that is there");
    check!(before.elapsed() < Duration::from_secs(5), "the first part took {:?}", before.elapsed());
    gate.open();
    check_eq!(probe.read_all(handle)?, b"rest", "the rest of the body");
    Ok(())
}

fn body_capped(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::ok("").body(Body::Endless))?;
    let mut probe =
        context.net().allow(&origin.base()).limits(|limits| limits.response_body_bytes = 100_000).http_probe()?;
    let (_, handle) = probe.open(&Req::get(&origin.url("/")))?;
    let mut total = 0;
    loop {
        match probe.read(handle, at::BUFFER_LEN)? {
            (SUCCESS, bytes) => {
                check!(!bytes.is_empty(), "a body that was cut off ended like a whole one, after {total} bytes");
                total += bytes.len();
                check!(total <= 100_000, "{total} bytes were read where 100000 are allowed");
            }
            (code, _) => return answers(code, REQUEST_FAILED, "`body_read` beyond the cap"),
        }
    }
}

/// A call that ends by a timeout of 200 ms must take that long, and not much longer.
fn took_its_time(before: Instant) -> CaseResult {
    let took = before.elapsed();
    check!(took >= Duration::from_millis(190), "a timeout of 200 ms passed in {took:?}");
    check!(took < Duration::from_secs(3), "a timeout of 200 ms passed in {took:?}");
    Ok(())
}

const SHORT: Duration = Duration::from_millis(200);

fn first_byte_timeout(context: &Context) -> CaseResult {
    let origin = Origin::raw(vec![Step::ReadRequest, Step::Hold])?;
    let mut probe =
        context.net().allow(&origin.base()).limits(|limits| limits.first_byte_timeout = SHORT).http_probe()?;
    let before = Instant::now();
    answers(probe.req(&Req::get(&origin.url("/")))?, REQUEST_FAILED, "`req` to an origin that never answers")?;
    took_its_time(before)
}

fn between_bytes_timeout(context: &Context) -> CaseResult {
    let origin = Origin::raw(vec![
        Step::ReadRequest,
        Step::text("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"),
        Step::Hold,
    ])?;
    let mut probe =
        context.net().allow(&origin.base()).limits(|limits| limits.between_bytes_timeout = SHORT).http_probe()?;
    let (_, handle) = probe.open(&Req::get(&origin.url("/")))?;
    check_eq!(probe.read(handle, 100)?, (SUCCESS, b"half".to_vec()), "the first half");
    let before = Instant::now();
    answers(probe.read(handle, 100)?.0, REQUEST_FAILED, "`body_read` of a body that pauses for good")?;
    check!(before.elapsed() < Duration::from_secs(3), "a timeout of 200 ms passed in {:?}", before.elapsed());
    Ok(())
}

/// Starts a probe whose `req` waits for good, and gives how the guest was ended.
fn ended(context: &Context, prepare: impl FnOnce(&mut GuestConfig)) -> CaseResult<(Kind, Duration)> {
    let origin = Origin::raw(vec![Step::ReadRequest, Step::Hold])?;
    let mut config = context.net().allow(&origin.base()).config()?;
    prepare(&mut config);
    let before = Instant::now();
    let mut probe = HttpProbe::start(context, config)?;
    let url = origin.url("/");
    let args = probe.lay_out(&Req::get(&url))?;
    let ReqArgs { url, method, headers, body, status_out, handle_out } = args;
    let arguments =
        [url.0, url.1, method.0, method.1, headers.0, headers.1, body.0, body.1, status_out, handle_out].map(u64::from);
    match probe.probe.try_call("req", &arguments) {
        Err(Stop::Error(error)) => Ok((error.kind(), before.elapsed())),
        other => Err(Unmet::failed(format!("a guest that waits for good ended with {other:?}"))),
    }
}

fn run_deadline(context: &Context) -> CaseResult {
    if !context.backend().info().capabilities.contains(&wharf_core::Capability::Interrupt) {
        return Err(Unmet::Skipped("an engine that cannot be interrupted takes no time limit".to_owned()));
    }
    let (kind, took) = ended(context, |config| config.timeout = Some(SHORT))?;
    check_eq!(kind, Kind::Timeout, "the kind of the end");
    check!(took >= Duration::from_millis(190) && took < Duration::from_secs(3), "a limit of 200 ms took {took:?}");
    Ok(())
}

fn cancel(context: &Context) -> CaseResult {
    let mut canceller = None;
    let (kind, took) = ended(context, |config| {
        let token = config.cancel.clone();
        canceller = Some(std::thread::spawn(move || {
            std::thread::sleep(SHORT);
            token.cancel();
        }));
    })?;
    if let Some(canceller) = canceller {
        canceller.join().map_err(|_| Unmet::failed("cancelling panicked"))?;
    }
    check_eq!(kind, Kind::Cancelled, "the kind of the end");
    check!(took < Duration::from_secs(3), "cancelling after 200 ms took {took:?}");
    Ok(())
}

/// The same answers from a thread of a multi-thread tokio and from the only thread of a current-thread tokio.
fn inside_async(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::ok("async"))?;
    let outbound = Arc::new(context.net().allow(&origin.base()).outbound()?);
    let exchange = || -> CaseResult {
        let config = GuestConfig { outbound: Some(outbound.for_guest()), ..GuestConfig::default() };
        let mut probe = HttpProbe::start(context, config)?;
        let (_, handle) = probe.open(&Req::get(&origin.url("/")))?;
        check_eq!(probe.read_all(handle)?, b"async", "the body");
        Ok(())
    };
    let current = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Unmet::harness)?;
    current.block_on(async { exchange() }).map_err(|unmet| unmet.context("on a current-thread tokio"))?;
    let multi =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().map_err(Unmet::harness)?;
    multi.block_on(async { exchange() }).map_err(|unmet| unmet.context("on a multi-thread tokio"))
}

fn pooled(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::ok("again"))?;
    let mut probe = context.http_probe(&origin)?;
    for _ in 0..10 {
        let (_, handle) = probe.open(&Req::get(&origin.url("/")))?;
        probe.read_all(handle)?;
        probe.close(handle)?;
        // The connection goes back to the pool a moment after the guest has read the end.
        std::thread::sleep(Duration::from_millis(20));
    }
    check_eq!(origin.requests().len(), 10, "requests received");
    check!(origin.accepted() <= 2, "ten requests in a row took {} connections", origin.accepted());
    Ok(())
}

fn no_leak(context: &Context) -> CaseResult {
    let origin = Origin::replying(Reply::ok("").body(Body::Endless))?;
    let mut probe = context.net().allow(&origin.base()).limits(|limits| limits.open_responses = 2).http_probe()?;
    let url = origin.url("/");
    for _ in 0..5 {
        let mut args = probe.lay_out(&Req::get(&url))?;
        args.handle_out = 0xffff_fffe;
        answers(probe.call_req(&args)?, MEMORY_ACCESS, "`req` with handle_out out of bounds")?;
        check_eq!(probe.probe.session.open_responses(), 0, "responses open after it");
    }
    check_eq!(probe.open(&Req::get(&url))?.1, 0, "the first handle afterwards");
    check!(
        origin.wait_until(|origin| origin.open() == 1),
        "{} connections are open where one response is",
        origin.open()
    );
    Ok(())
}
