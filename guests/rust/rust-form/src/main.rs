//! `rust-form URL NAME=VALUE...` posts a form and prints the status and the body of the response.

use std::io::{self, Write};

use anyhow::{Context, Result, bail};
use wharf_guest::http::{Request, header};

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let Some(url) = args.next() else { bail!("usage: rust-form URL NAME=VALUE...") };
    post(&url, args, &mut io::stdout().lock())
}

fn post(url: &str, fields: impl Iterator<Item = String>, out: &mut impl Write) -> Result<()> {
    let mut form = form_urlencoded::Serializer::new(String::new());
    for field in fields {
        let (name, value) = field.split_once('=').with_context(|| format!("`{field}` is not NAME=VALUE"))?;
        form.append_pair(name, value);
    }
    let request = Request::post(url)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(form.finish())
        .with_context(|| format!("`{url}`"))?;
    let mut response = wharf_guest::send(request).with_context(|| format!("cannot post to {url}"))?;
    writeln!(out, "{}", response.status())?;
    io::copy(response.body_mut(), out)?;
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
        let fields = ["name=Ada Lovelace", "note=1+1=2 & more"].map(str::to_owned);
        post("http://forms.example/", fields.into_iter(), &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "200 OK\nname=Ada+Lovelace&note=1%2B1%3D2+%26+more");
    }

    #[test]
    fn a_field_without_a_value_is_refused() {
        let refused = post("http://forms.example/", ["name".to_owned()].into_iter(), &mut Vec::new()).unwrap_err();
        assert_eq!(refused.to_string(), "`name` is not NAME=VALUE");
    }
}
