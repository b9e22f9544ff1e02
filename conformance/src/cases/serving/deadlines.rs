//! Clients that do not go on, over HTTP/1.1 and over HTTP/2 without TLS: none keeps a connection, a place or an answer.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::task::JoinHandle;
use wharf_core::{Run, io};
use wharf_server::ServerOptions;

use super::guests::{OWN, SHORT, SPIN, guest, serve};
use crate::case::{Case, CaseResult, Unmet};
use crate::cases::wasihttp::handler::{FINISH, HELLO, RESPOND};
use crate::context::Context;
use crate::origin::PATIENCE;
use crate::served::{End, Served, Setup};
use crate::{check, check_eq};

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("serving/deadlines/http11-heads", "RFC 9112, section 9.5", heads),
    Case::must("serving/deadlines/http2-idle", "RFC 9113, section 9.1", idle),
    Case::must("serving/deadlines/http2-stalled", "RFC 9113, section 5.2", stalled),
    Case::must("serving/leaving/http2", "RFC 9113, section 5.4", leaving),
];

/// How long a client may take; a case waits far longer.
const SOON: Duration = Duration::from_millis(200);

/// Writes 4 MiB, or as much as is taken.
const LONG: &str = r#"
    (local.set $count (i32.const 1024))
    (loop $more
        (call $"[method]output-stream.blocking-write-and-flush"
            (local.get $stream) (i32.const 0x200) (i32.const 4096) (i32.const 0x100))
        (if (i32.load8_u (i32.const 0x100)) (then (return)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br_if $more (local.get $count)))"#;

fn served(context: &Context, steps: &[&str], change: impl FnOnce(&mut ServerOptions)) -> CaseResult<Served> {
    let mut setup = Setup::default();
    change(&mut setup.server);
    Served::start(context, &guest(steps), setup)
}

/// What this gives, or that it gave nothing for a long time.
fn within<T: Send + 'static>(what: &str, future: impl Future<Output = T> + Send + 'static) -> CaseResult<T> {
    let waited = io().spawn(async move { tokio::time::timeout(PATIENCE, future).await });
    Run::default().wait(waited)?.map_err(Unmet::harness)?.map_err(|_| Unmet::failed(what))
}

type Sender = SendRequest<Empty<Bytes>>;

/// A connection of HTTP/2 whose client answers pings, and does nothing else of its own accord.
fn connect(served: &Served) -> CaseResult<(Sender, JoinHandle<hyper::Result<()>>)> {
    let address = served.address();
    within("there is no connection of HTTP/2", async move {
        let stream = tokio::net::TcpStream::connect(address).await.map_err(Unmet::harness)?;
        let mut builder = Builder::new(TokioExecutor::new());
        builder.initial_stream_window_size(1 << 16).initial_connection_window_size(1 << 20);
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(Unmet::harness)?;
        Ok((sender, tokio::spawn(connection)))
    })?
}

fn request(method: &str) -> CaseResult<Request<Empty<Bytes>>> {
    Request::builder().method(method).uri("http://a/").body(Empty::new()).map_err(Unmet::harness)
}

/// The status of a request of this method, and how long its body is.
fn ask(sender: &mut Sender, method: &str) -> CaseResult<(u16, usize)> {
    let answer = sender.send_request(request(method)?);
    within("no answer comes over HTTP/2", async move {
        let response = answer.await.map_err(|error| Unmet::failed(format!("{error:?}")))?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.map_err(|error| Unmet::failed(format!("{error:?}")))?;
        Ok((status, body.to_bytes().len()))
    })?
}

/// Wherever a client stops, it is let go; and it is answered if its head is whole.
fn heads(context: &Context) -> CaseResult {
    let served = served(context, &[RESPOND, HELLO, FINISH], |options| options.header_timeout = SOON)?;
    for said in [&b""[..], b"PRI * HT", b"GET / HTTP/1.1\r\nhost: a", OWN] {
        let shown = String::from_utf8_lossy(said);
        let wire = served.exchange(said)?;
        check_eq!(wire.status() == Some(200), said == OWN, "whether {shown:?} is answered: {:?}", wire.text());
        check!(wire.end != End::StillOpen, "the connection stays open after {shown:?}");
    }
    Ok(())
}

/// As many connections as there may be ask nothing, some before a request and some behind one; somebody else is served.
fn idle(context: &Context) -> CaseResult {
    const MANY: usize = 64;
    let served = served(context, &[RESPOND, HELLO, FINISH], |options| {
        options.idle_timeout = SOON;
        options.max_connections = MANY;
    })?;
    let mut idle = Vec::new();
    for number in 0..MANY {
        let (mut sender, connection) = connect(&served)?;
        if number % 2 == 0 {
            check_eq!(ask(&mut sender, "GET")?, (200, 5), "the answer on connection {number}");
        }
        idle.push((sender, connection));
    }
    check_eq!(served.exchange(SHORT)?.status(), Some(200), "the status for a client behind {MANY} idle ones");
    for (sender, connection) in idle {
        // It is told, and ends in good order.
        let ended = within("a connection without streams stays", connection)?.map_err(Unmet::harness)?;
        ended.map_err(|error| Unmet::failed(format!("an idle connection breaks: {error:?}")))?;
        drop(sender);
    }
    Ok(())
}

/// A stream whose client takes nothing is reset; another of the same connection goes on.
fn stalled(context: &Context) -> CaseResult {
    let served = served(context, &[RESPOND, LONG, FINISH], |options| options.stall_timeout = SOON)?;
    let (mut sender, connection) = connect(&served)?;
    let answer = sender.send_request(request("GET")?);
    let mut body = within("no answer comes", answer)?
        .map_err(|error| Unmet::failed(format!("the answer is {error:?}")))?
        .into_body();
    check_eq!(ask(&mut sender, "DELETE")?, (200, 5), "the answer to a request beside it");
    std::thread::sleep(4 * SOON);
    let (got, end) = within("the stream goes on for ever", async move {
        let mut got = 0;
        loop {
            match body.frame().await {
                Some(Ok(frame)) => got += frame.data_ref().map_or(0, Bytes::len),
                Some(Err(error)) => return (got, Some(error)),
                None => return (got, None),
            }
        }
    })?;
    check!(end.is_some() && got < 4 << 20, "{got} bytes came, and then {end:?}");
    check_eq!(ask(&mut sender, "DELETE")?, (200, 5), "the answer to a request after it");
    connection.abort();
    Ok(())
}

/// A stream that is reset, or whose connection ends, frees the place of its request while the guest runs.
fn leaving(context: &Context) -> CaseResult {
    for how in ["resets its stream", "closes its connection"] {
        let served = serve(context, &guest(&[SPIN]), &[], 1)?;
        let address = served.address();
        let asked = within("there is no connection of HTTP/2", async move {
            let stream = tokio::net::TcpStream::connect(address).await.map_err(Unmet::harness)?;
            let (mut sender, connection) = h2::client::handshake(stream).await.map_err(Unmet::harness)?;
            let connection = tokio::spawn(connection);
            let request = Request::get("http://a/").body(()).map_err(Unmet::harness)?;
            let (answer, body) = sender.send_request(request, true).map_err(Unmet::harness)?;
            Ok::<_, Unmet>((answer, body, connection))
        })?;
        let (answer, mut body, connection) = asked?;
        let becomes = |status: u16| -> CaseResult<bool> {
            for _ in 0..1000 {
                if served.exchange(SHORT)?.status() == Some(status) {
                    return Ok(true);
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            Ok(false)
        };
        check!(becomes(503)?, "a client that {how}: its guest does not run");
        if how == "resets its stream" {
            body.send_reset(h2::Reason::CANCEL);
        } else {
            connection.abort();
        }
        check!(becomes(200)?, "a client that {how} keeps its place");
        drop((answer, body));
    }
    Ok(())
}
