//! `rust-form URL [NAME=VALUE]...` posts a form and prints the status and what the origin answers.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::{Context, Result};
use wharf_guest::http::{Request, header};

const NAME: &str = env!("CARGO_PKG_NAME");

/// The longest answer that is printed, in bytes.
const LONGEST: u64 = 1 << 20;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let Some(url) = args.next() else {
        eprintln!("usage: {NAME} URL [NAME=VALUE]...");
        return ExitCode::from(2);
    };
    match post(&url, args, &mut io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{NAME}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn post(url: &str, fields: impl Iterator<Item = String>, out: &mut impl Write) -> Result<()> {
    let mut form = form_urlencoded::Serializer::new(String::new());
    for field in fields {
        let (name, value) = field.split_once('=').unwrap_or((&field, ""));
        form.append_pair(name, value);
    }
    let request = Request::post(url)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(form.finish())
        .with_context(|| format!("cannot post to {url}"))?;
    let response = wharf_guest::send(request).with_context(|| format!("cannot post to {url}"))?;
    let (head, body) = response.into_parts();
    let answer = wharf_guest::block_on(body.collect(LONGEST)).with_context(|| format!("the answer of {url}"))?;
    writeln!(out, "{}", head.status.as_u16())?;
    out.write_all(&answer)?;
    writeln!(out)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use wharf_guest::http::Response;
    use wharf_guest::mock;

    #[test]
    fn fields_are_encoded() {
        let _installed = mock::install(|request| {
            assert_eq!(request.method(), "POST");
            assert_eq!(request.headers()[header::CONTENT_TYPE], "application/x-www-form-urlencoded");
            Response::new(request.into_body()).into()
        });
        let mut out = Vec::new();
        let fields = ["name=Ada Lovelace", "note=1+1=2 & more", "empty"].map(str::to_owned);
        post("http://forms.example/", fields.into_iter(), &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "200\nname=Ada+Lovelace&note=1%2B1%3D2+%26+more&empty=\n");
    }

    #[test]
    fn an_answer_that_is_too_long_is_not_printed() {
        let _installed = mock::install(|_| Response::new(vec![b'x'; (LONGEST + 1) as usize]).into());
        let mut out = Vec::new();
        let error = post("http://forms.example/", std::iter::empty(), &mut out).unwrap_err();
        assert_eq!(format!("{error:#}"), "the answer of http://forms.example/: a limit was reached");
        assert_eq!(out, b"");
    }
}
