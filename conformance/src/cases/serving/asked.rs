//! Clients that send their body once they are asked for it.

use std::future::poll_fn;
use std::io::{Read, Write};

use bytes::Bytes;
use http::Request;
use tokio::net::TcpStream;
use wharf_core::{GuestConfig, Run, io};

use super::guests::{fetch, guest};
use crate::case::{Case, CaseResult, Unmet};
use crate::cases::wasihttp::handler::{FINISH, HELLO, RESPOND, handler};
use crate::context::Context;
use crate::origin::{Origin, PATIENCE, Step};
use crate::prebuilt::LONG;
use crate::served::{Served, Setup, read_to_end};
use crate::{check, check_eq};

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("serving/exchange/body-is-asked-for", "RFC 9110, section 10.1.1", http1),
    Case::must("serving/exchange/body-is-asked-for-over-http2", "RFC 9110, section 10.1.1", http2),
    Case::must("serving/exchange/body-ends-after-the-answer", "RFC 9112, section 6.3", after),
];

/// Reads the body before it answers.
const READ: &str = r#"
    (call $"[method]incoming-request.consume" (local.get $request) (i32.const 0x140))
    (call $"[method]incoming-body.stream" (i32.load (i32.const 0x144)) (i32.const 0x140))
    (call $"[method]input-stream.blocking-read" (i32.load (i32.const 0x144)) (i64.const 16) (i32.const 0x140))
    (if (i32.ne (i32.load (i32.const 0x148)) (i32.const 3)) (then (unreachable)))"#;

/// Reads the body to its end, which has to be a good one.
const READ_ALL: &str = r#"
    (call $"[method]incoming-request.consume" (local.get $request) (i32.const 0x140))
    (call $"[method]incoming-body.stream" (i32.load (i32.const 0x144)) (i32.const 0x140))
    (local.set $input (i32.load (i32.const 0x144)))
    (loop $more
        (call $"[method]input-stream.blocking-read" (local.get $input) (i64.const 16) (i32.const 0x140))
        (br_if $more (i32.eqz (i32.load8_u (i32.const 0x140)))))
    (if (i32.eqz (i32.load8_u (i32.const 0x144))) (then (unreachable)))"#;

fn served(context: &Context, reads: bool) -> CaseResult<Served> {
    let read = if reads { READ } else { "" };
    Served::start(context, &handler(&[read, RESPOND, HELLO, FINISH]), Setup::default())
}

fn http1(context: &Context) -> CaseResult {
    let served = served(context, true)?;
    let mut stream = served.connect()?;
    let head = b"POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-Continue\r\nconnection: close\r\ncontent-length: 3\r\n\r\n";
    stream.write_all(head).map_err(Unmet::harness)?;
    let mut told = [0; 25];
    stream.read_exact(&mut told).map_err(|error| Unmet::failed(format!("the body is not asked for: {error}")))?;
    check_eq!(String::from_utf8_lossy(&told), "HTTP/1.1 100 Continue\r\n\r\n", "what comes before the body is sent");
    stream.write_all(b"abc").map_err(Unmet::harness)?;
    check_eq!(read_to_end(&mut stream).status(), Some(200), "the status");
    Ok(())
}

/// The answer is there first, and the connection is kept: the body ends all the same with its last byte or chunk, whether it
/// comes at once or later, and the next request is answered.
fn after(context: &Context) -> CaseResult {
    for (head, first, last) in [
        ("content-length: 9", "first", "last"),
        ("transfer-encoding: chunked", "5\r\nfirst\r\n", "4\r\nlast\r\n0\r\n\r\n"),
        ("transfer-encoding: chunked", "5\r\nfirst\r\n", "4\r\nlast\r\n0\r\nx-sum: 9\r\n\r\n"),
    ] {
        for at_once in [true, false] {
            let origin = Origin::raw([Step::ReadRequest, Step::Hold])?;
            let mut setup = Setup::default();
            setup.server.header_timeout = LONG;
            let outbound = context.net().allow(&origin.base()).outbound()?;
            setup.config = Box::new(move |_| {
                Ok(GuestConfig { outbound: Some(outbound.clone()), timeout: Some(LONG), ..GuestConfig::default() })
            });
            let served =
                Served::start(context, &guest(&[RESPOND, HELLO, FINISH, READ_ALL, &fetch(origin.address())]), setup)?;
            let mut stream = served.connect()?;
            let body = if at_once { [first, last].concat() } else { first.to_owned() };
            let mut sent = format!("GET / HTTP/1.1\r\nhost: a\r\n{head}\r\n\r\n{body}");
            for opening in [true, false] {
                stream.write_all(sent.as_bytes()).map_err(Unmet::harness)?;
                answer(&mut stream).map_err(|unmet| unmet.context(head))?;
                if opening && !at_once {
                    stream.write_all(last.as_bytes()).map_err(Unmet::harness)?;
                }
                let ended = origin.wait_until(|origin| origin.requests().len() == 1);
                check!(ended, "{head}, at once: {at_once}: the body does not end");
                sent = "DELETE / HTTP/1.1\r\nhost: a\r\n\r\n".to_owned();
            }
        }
    }
    Ok(())
}

/// Reads an answer in chunks.
fn answer(stream: &mut std::net::TcpStream) -> CaseResult {
    let mut seen = Vec::new();
    while !seen.ends_with(b"0\r\n\r\n") {
        let mut buffer = [0; 256];
        let read = stream.read(&mut buffer).map_err(Unmet::harness)?;
        check!(read > 0, "the answer breaks off: {:?}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&buffer[..read]);
    }
    Ok(())
}

/// A guest that answers without the body has nobody asked for it.
fn http2(context: &Context) -> CaseResult {
    for reads in [true, false] {
        let served = served(context, reads)?;
        let server = served.address();
        let exchange = async move {
            let stream = TcpStream::connect(server).await.map_err(|error| error.to_string())?;
            let (mut sender, connection) = h2::client::handshake(stream).await.map_err(|error| error.to_string())?;
            tokio::spawn(connection);
            let request = Request::post("http://a/").header("expect", "100-continue").header("content-length", "3");
            let request = request.body(()).map_err(|error| error.to_string())?;
            let (mut response, mut body) = sender.send_request(request, false).map_err(|error| error.to_string())?;
            let told = poll_fn(|context| response.poll_informational(context)).await;
            let told = told.transpose().map_err(|error| error.to_string())?.map(|told| told.status().as_u16());
            if told.is_some() {
                body.send_data(Bytes::from_static(b"abc"), true).map_err(|error| error.to_string())?;
            }
            let status = response.await.map_err(|error| error.to_string())?.status().as_u16();
            Ok::<_, String>((told, status))
        };
        let exchange = io().spawn(async move { tokio::time::timeout(PATIENCE, exchange).await });
        let exchange = Run::default().wait(exchange)?.map_err(Unmet::harness)?;
        let answer = exchange.map_err(|_| Unmet::failed("the body is not asked for"))?.map_err(Unmet::failed)?;
        check_eq!(answer, (reads.then_some(100), 200), "what comes before the body, and the status");
    }
    Ok(())
}
