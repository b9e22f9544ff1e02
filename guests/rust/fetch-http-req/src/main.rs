//! `fetch-http-req URL [BODY]` requests a URL with the published `wasmedge_http_req` crate, and prints the status and the
//! body. With a BODY it is a POST.

use std::error::Error;
use std::io::{self, Write};

use wasmedge_http_req::request;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let mut answer = Vec::new();
    let response = match &args[..] {
        [url] => request::get(url, &mut answer)?,
        [url, body] => request::post(url, body.as_bytes(), &mut answer)?,
        _ => return Err("usage: fetch-http-req URL [BODY]".into()),
    };
    println!("{}", u16::from(response.status_code()));
    Ok(io::stdout().write_all(&answer)?)
}
