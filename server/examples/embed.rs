//! A `wasi:http` guest in a program of one's own: handed a request on the calling thread, without any runtime, and mounted
//! in a hyper server as a tower service, as it would be in axum or beside other services. Offline; it ends by itself.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use wharf_core::abi::wasi02::http::Reply;
use wharf_core::http::Body;
use wharf_core::{Guest, GuestConfig, LoadOptions};
use wharf_server::{Handler, HandlerOptions, Reuse};
use wharf_wasmtime::Wasmtime;

type Failed = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failed> {
    let backend = Wasmtime::new()?;
    let guest = Arc::new(Guest::load(&backend, &wharf_guests::HELLO_HTTP.wasm()?, &LoadOptions::default())?);

    let greeting = synchronous(&guest)?;
    print!("on this thread: {greeting}");
    if greeting != "hello from /sync\n" {
        return Err("the guest said something else".into());
    }

    let greeting = tokio::runtime::Runtime::new()?.block_on(asynchronous(guest))?;
    print!("mounted in hyper: {greeting}");
    if greeting != "hello from /async\n" {
        return Err("the guest said something else".into());
    }
    Ok(())
}

/// What a guest is granted: nothing, for ten seconds.
fn config() -> GuestConfig {
    GuestConfig { timeout: Some(Duration::from_secs(10)), ..GuestConfig::default() }
}

fn request(path: &str) -> Result<Request<Empty<Bytes>>, http::Error> {
    Request::get(path).header("host", "example.com").body(Empty::new())
}

/// The guest's thread is this one. The response comes while it runs, and its body as it writes it, so that another thread
/// has to take them.
fn synchronous(guest: &Guest) -> Result<String, Failed> {
    let (reply, response) = Reply::channel();
    let taking = thread::spawn(move || -> Result<String, Failed> {
        let response: Response<Body> = response.blocking_recv()?.map_err(|code| format!("{code:?}"))?;
        // A future that needs no runtime of its own can be waited for as core waits.
        let body = wharf_core::Run::default().wait(response.into_body().collect())??;
        Ok(String::from_utf8(body.to_bytes().to_vec())?)
    });
    let request = request("/sync")?.map(|body| body.map_err(|never| match never {}).boxed_unsync());
    guest.start(config())?.handle(request, reply)?;
    taking.join().map_err(|_| "the thread that takes the response failed")?
}

/// Instances are kept and used again; the requests come by HTTP.
async fn asynchronous(guest: Arc<Guest>) -> Result<String, Failed> {
    let mut options = HandlerOptions::default();
    options.max_reuse = Reuse::times(1000);
    let handler = Handler::new(guest, options, |_| Ok(config()))?;

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // In axum: Router::new().fallback_service(handler)
            let service = TowerToHyperService::new(handler.clone());
            let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::spawn(async move {
                if let Err(error) = connection.await {
                    eprintln!("a connection failed: {error}");
                }
            });
        }
    });

    let stream = TokioIo::new(TcpStream::connect(address).await?);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
    tokio::spawn(connection);
    let response = sender.send_request(request("/async")?).await?;
    Ok(String::from_utf8(response.into_body().collect().await?.to_bytes().to_vec())?)
}
