//! `rust-fetch URL [METHOD [BODY]] [NAME:VALUE]...` sends one request and prints the status, the headers by name, and the
//! body as it comes.
//!
//! Each further URL begins a request of its own, with what follows it. All are under way at the same time, and their
//! responses are printed in the order of the requests.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::{Context, Result};
use wharf_guest::Body;
use wharf_guest::http::{Request, header};

const NAME: &str = env!("CARGO_PKG_NAME");

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.is_empty() {
        eprintln!("usage: {NAME} URL [METHOD [BODY]] [NAME:VALUE]...");
        return ExitCode::from(2);
    }
    match fetch(&args, &mut io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{NAME}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn fetch(args: &[String], out: &mut impl Write) -> Result<()> {
    // All of them are read before the first is sent.
    let requests: Vec<Request<Body>> = parts(args).map(request).collect::<Result<_>>()?;
    let under_way: Vec<_> = requests.into_iter().map(wharf_guest::start).collect();
    for (sending, args) in under_way.into_iter().zip(parts(args)) {
        let url = &args[0];
        let mut response = sending.wait().with_context(|| format!("cannot fetch {url}"))?;
        writeln!(out, "{}", response.status().as_u16())?;
        let mut headers: Vec<_> = response.headers().iter().filter(|(name, _)| *name != header::DATE).collect();
        headers.sort_by_key(|(name, _)| name.as_str());
        for (name, value) in headers {
            write!(out, "{name}: ")?;
            out.write_all(value.as_bytes())?;
            writeln!(out)?;
        }
        writeln!(out)?;
        io::copy(response.body_mut(), out).with_context(|| format!("{url} broke off"))?;
    }
    Ok(())
}

fn is_url(arg: &str) -> bool {
    arg.starts_with("http://") || arg.starts_with("https://")
}

/// The arguments of each request. The first one's URL is whatever comes first, and a body may look like a URL.
fn parts(args: &[String]) -> impl Iterator<Item = &[String]> {
    let mut rest = args;
    std::iter::from_fn(move || {
        let mut methods = 0;
        let next = rest.iter().skip(1).position(|arg| {
            let is_body = methods == 1;
            if is_body || !arg.contains(':') {
                methods += 1;
            }
            !is_body && is_url(arg)
        });
        let (part, behind) = rest.split_at(next.map_or(rest.len(), |at| at + 1));
        rest = behind;
        (!part.is_empty()).then_some(part)
    })
}

/// What follows the method is the body, whatever it holds.
fn request(args: &[String]) -> Result<Request<Body>> {
    let mut request = Request::get(&args[0]);
    let (mut body, mut plain) = (Body::empty(), 0);
    for arg in &args[1..] {
        match arg.split_once(':') {
            Some((name, value)) if plain != 1 => request = request.header(name, value),
            _ if plain == 0 => {
                request = request.method(arg.as_str());
                plain = 1;
            }
            _ => {
                body = arg.clone().into();
                plain = 2;
            }
        }
    }
    request.body(body).with_context(|| format!("cannot ask for {}", args[0]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use wharf_guest::http::Response;
    use wharf_guest::mock;

    fn fetched(args: &[&str]) -> String {
        let _installed = mock::install(|request| {
            let sent = |name| request.headers().get_all(name).iter().map(|value| value.to_str().unwrap()).collect();
            let twice: Vec<&str> = sent("x-twice");
            let text = format!("{} {} {}\n", request.method(), request.uri().path(), twice.join("|"));
            let body = [text.as_bytes(), request.body()].concat();
            Response::builder().status(201).header("x-b", "b").header("x-a", "a:1").body(body).unwrap().into()
        });
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let mut out = Vec::new();
        fetch(&args, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn arguments_make_a_request() {
        let args = ["http://a.example/1", "x-twice:1", "PUT", "a: body", "x-twice:2:3"];
        assert_eq!(fetched(&args), "201\nx-a: a:1\nx-b: b\n\nPUT /1 1|2:3\na: body");
    }

    #[test]
    fn responses_are_printed_in_the_order_of_the_urls() {
        let args = ["http://a.example/1", "POST", "http://a.body/", "https://b.example/2", "x-twice:3"];
        let head = "201\nx-a: a:1\nx-b: b\n\n";
        assert_eq!(fetched(&args), format!("{head}POST /1 \nhttp://a.body/{head}GET /2 3\n"));
    }
}
