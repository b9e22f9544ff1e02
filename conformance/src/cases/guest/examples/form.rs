//! `form URL [NAME=VALUE]...`.

use super::Example;
use crate::case::CaseResult;
use crate::check_eq;
use crate::context::Context;
use crate::origin::{Body, Origin, Reply};

pub(super) fn form(context: &Context, example: &Example) -> CaseResult {
    let origin = Origin::http(|request| match request.target.as_str() {
        "/long" => Reply::ok("").body(Body::Filler(2 << 20)),
        _ => Reply::status(201).body(Body::Full([b"got ", &request.body[..]].concat().into())),
    })?;
    let args = [&origin.url("/form"), "z b=1&2=3", "c=\u{fc}\n", "none", "d=", "a=*~=-._", "c=+%"];
    let ended = example.run(context, Some(&origin), &args)?;
    let body = "z+b=1%262%3D3&c=%C3%BC%0A&none=&d=&a=*~%3D-._&c=%2B%25";
    // Both forms of these two are right.
    let plain = |text: &str| text.replace("%2A", "*").replace("%7E", "~");
    example.printed(
        &crate::prebuilt::Ended { out: plain(&ended.out), ..ended },
        &format!("201\ngot {body}\n"),
        "the answer to a form",
    )?;
    let request = origin.request()?;
    check_eq!(request.method, "POST", "the method of a form");
    check_eq!(request.all("content-type"), [b"application/x-www-form-urlencoded"], "its types");
    let length = request.body.len().to_string();
    check_eq!(request.all("content-length"), [length.as_bytes()], "its lengths");

    let long = example.run(context, Some(&origin), &[&origin.url("/long"), "a=b"])?;
    example.failed(&long, "", "", "an answer that is too long")?;
    example.fails_well(context, str::is_empty)
}
