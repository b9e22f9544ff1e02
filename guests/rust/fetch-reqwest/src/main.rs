//! `fetch-reqwest URL [BODY]` requests a URL with the published `reqwest_wasi` and `tokio_wasi` crates, and prints the
//! status and the body. With a BODY it is a POST.

use std::error::Error;
use std::io::{self, Write};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let request = match &args[..] {
        [url] => reqwest::Client::new().get(url),
        [url, body] => reqwest::Client::new().post(url).body(body.clone()),
        _ => return Err("usage: fetch-reqwest URL [BODY]".into()),
    };
    let response = request.send().await?;
    println!("{}", response.status().as_u16());
    Ok(io::stdout().write_all(&response.bytes().await?)?)
}
