//! `rust-fetch URL...` fetches URLs at the same time and prints each response: its status, its headers and its body.

use std::io::{self, Write};

use anyhow::{Context, Result};
use wharf_guest::http::{Request, header};

fn main() -> Result<()> {
    let urls: Vec<String> = std::env::args().skip(1).collect();
    anyhow::ensure!(!urls.is_empty(), "usage: rust-fetch URL...");
    fetch(&urls, &mut io::stdout().lock())
}

fn fetch(urls: &[String], out: &mut impl Write) -> Result<()> {
    let mut under_way = Vec::new();
    for url in urls {
        let request = Request::get(url).header(header::ACCEPT, "*/*").body(()).with_context(|| format!("`{url}`"))?;
        under_way.push(wharf_guest::start(request));
    }
    for (url, sending) in urls.iter().zip(under_way) {
        let mut response = sending.wait().with_context(|| format!("cannot fetch {url}"))?;
        writeln!(out, "{}", response.status())?;
        let mut headers: Vec<_> = response.headers().iter().filter(|(name, _)| *name != header::DATE).collect();
        headers.sort_by_key(|(name, _)| name.as_str());
        for (name, value) in headers {
            writeln!(out, "{name}: {}", String::from_utf8_lossy(value.as_bytes()))?;
        }
        writeln!(out)?;
        io::copy(response.body_mut(), out).with_context(|| format!("{url} broke off"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use wharf_guest::http::Response;
    use wharf_guest::mock;

    #[test]
    fn responses_are_printed_in_the_order_of_the_urls() {
        let _installed = mock::install(|request| {
            let path = request.uri().path().to_owned();
            Response::builder().status(201).header("x-path", &path).body(format!("this is {path}\n")).unwrap().into()
        });
        let mut out = Vec::new();
        fetch(&["http://a.example/1".to_owned(), "http://b.example/2".to_owned()], &mut out).unwrap();
        let expected = "201 Created\nx-path: /1\n\nthis is /1\n201 Created\nx-path: /2\n\nthis is /2\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
