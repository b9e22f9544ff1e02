//! Clients that send their body once they are asked for it.

use std::future::poll_fn;
use std::io::{Read, Write};

use bytes::Bytes;
use http::Request;
use tokio::net::TcpStream;
use wharf_core::{Run, io};

use crate::case::{Case, CaseResult, Unmet};
use crate::cases::wasihttp::handler::{FINISH, HELLO, RESPOND, handler};
use crate::check_eq;
use crate::context::Context;
use crate::origin::PATIENCE;
use crate::served::{Served, Setup, read_to_end};

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("serving/exchange/body-is-asked-for", "RFC 9110, section 10.1.1", http1),
    Case::must("serving/exchange/body-is-asked-for-over-http2", "RFC 9110, section 10.1.1", http2),
];

/// Reads the body before it answers.
const READ: &str = r#"
    (call $"[method]incoming-request.consume" (local.get $request) (i32.const 0x140))
    (call $"[method]incoming-body.stream" (i32.load (i32.const 0x144)) (i32.const 0x140))
    (call $"[method]input-stream.blocking-read" (i32.load (i32.const 0x144)) (i64.const 16) (i32.const 0x140))
    (if (i32.ne (i32.load (i32.const 0x148)) (i32.const 3)) (then (unreachable)))"#;

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
