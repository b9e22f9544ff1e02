//! Answers a request with a guest, a core module or a component, on each backend: `answer guest.wasm`.

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let wasm = std::fs::read(std::env::args().nth(1).ok_or("name a guest")?)?;
    for backend in wharf::backends() {
        let program = wharf::Runtime::builder().backend(backend).build()?.load(&wasm)?;
        let handler = program.handler(Default::default(), |_| Ok(Default::default()))?;
        let request = http::Request::get("http://example.com/").body(Empty::<Bytes>::new())?;
        let response = handler.handle(request).await;
        println!("{backend}: {}", response.status());
        println!("{}", String::from_utf8_lossy(&response.into_body().collect().await?.to_bytes()));
    }
    Ok(())
}
