//! The demonstration's guest that serves: `wharf serve` and requests to it, in one process.

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use wharf::core::grants::{Capture, Output, WasiConfig};
use wharf::core::http::{Limits, Outbound, Policy};
use wharf::core::{Backend, Guest, GuestConfig, LoadOptions};
use wharf_guests::HELLO_HTTP;
use wharf_server::{Handler, HandlerOptions, Server, ServerOptions};

use super::{OUTPUT_LIMIT, TIMEOUT, block, server};
use crate::console::Console;
use crate::output;
use crate::output::{HEADING, styled};
use crate::progress::Progress;

/// Serves with the guest, which may reach `origin` only, and asks it for a greeting, for what the origin says, and for
/// what another one says.
pub(super) fn demo(backend: &dyn Backend, console: Console, origin: &str) -> anyhow::Result<()> {
    let name = backend.info().name;
    let progress = Progress::start(console, &format!("compiling {}.wasm with {name}", HELLO_HTTP.name));
    let guest = Guest::load(backend, &HELLO_HTTP.wasm()?, &LoadOptions::default());
    drop(progress);
    let guest = Arc::new(guest.context("the guest of the demonstration")?);

    let printed = Capture::new(OUTPUT_LIMIT);
    let outbound = Outbound::with_defaults(Policy::builder().allow(origin)?.build(), Limits::default())?;
    let stdout = printed.clone();
    let handler = Handler::new(guest, HandlerOptions::default(), move |_| {
        Ok(GuestConfig {
            wasi: WasiConfig::new().stdout(Output::Capture(stdout.clone())),
            outbound: Some(outbound.clone()),
            timeout: Some(TIMEOUT),
            ..GuestConfig::default()
        })
    })?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let local = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = runtime.block_on(Server::bind(local, ServerOptions::default()))?;
    let (address, stop) = (server.address(), CancellationToken::new());
    let serving = runtime.spawn(server.run(handler, stop.clone()));

    let command = format!("$ wharf serve --backend {name} -a {origin} --addr {address} {}.wasm", HELLO_HTTP.name);
    output::print(&format!("\n{}\n    serving on http://{address}\n", styled(HEADING, command)))?;
    let (greet, fetch) = ("/wharf", format!("/fetch?{origin}/"));
    for (path, expected) in
        [(greet, "hello from /wharf"), (&fetch, server::GREETING), ("/fetch?http://example.com/", "HttpRequestDenied")]
    {
        let answer = runtime.block_on(async { tokio::time::timeout(TIMEOUT, get(address, path)).await? })?;
        let command = format!("$ curl -i 'http://{address}{path}'");
        let mut text = format!("\n{}\n", styled(HEADING, command));
        block(&mut text, "the guest answered", &answer);
        if path == greet {
            block(&mut text, "and printed", &String::from_utf8_lossy(&printed.contents()));
        }
        output::print(&text)?;
        if !answer.contains(expected) {
            bail!("the answer lacks {expected:?}");
        }
    }
    stop.cancel();
    runtime.block_on(serving).context("the server failed")?;
    Ok(())
}

/// Asks for `path` and returns the response as it is on the wire, more or less.
async fn get(address: SocketAddr, path: &str) -> anyhow::Result<String> {
    let stream = TokioIo::new(TcpStream::connect(address).await?);
    let (mut sender, connection) = http1::handshake(stream).await?;
    // Its end is the sender's.
    tokio::spawn(connection);
    let request = Request::get(path).header("host", address.to_string()).body(Empty::<Bytes>::new())?;
    let (head, body) = sender.send_request(request).await?.into_parts();
    let mut text = format!("{:?} {}\n", head.version, head.status);
    for (name, value) in &head.headers {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name}: {}", String::from_utf8_lossy(value.as_bytes()));
    }
    let body = Limited::new(body, OUTPUT_LIMIT).collect().await.map_err(|error| anyhow::anyhow!(error))?.to_bytes();
    text.push('\n');
    text.push_str(&String::from_utf8_lossy(&body));
    Ok(text)
}
