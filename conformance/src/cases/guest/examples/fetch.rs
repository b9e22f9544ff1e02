//! `fetch URL [METHOD [BODY]] [NAME:VALUE]...`.

use super::Example;
use crate::case::CaseResult;
use crate::context::Context;
use crate::origin::{Body, Origin, Received, Reply};
use crate::{check, check_eq};

/// Answers with everything that it was sent, and with every sort of header.
fn answer(request: &Received) -> Reply {
    let sent = |name| request.all(name).into_iter().map(String::from_utf8_lossy).collect::<Vec<_>>().join("|");
    let text = format!("{} {} [{}] [{}] ", request.method, request.target, sent("x-twice"), sent("x-time"));
    Reply::status(207)
        .header("x-twice", "2")
        .header("x-time", "12:30:45")
        .header("Set-Cookie", "a=1; path=/")
        .header("x-empty", "")
        .header("set-cookie", "b=2")
        .header("x-twice", "1: b")
        .body(Body::Full([text.as_bytes(), &request.body].concat().into()))
}

/// What is printed of an answer with this body.
fn printed(body: &str, joins: bool) -> String {
    let twice = if joins { "x-twice: 2, 1: b" } else { "x-twice: 2\nx-twice: 1: b" };
    let cookies = "set-cookie: a=1; path=/\nset-cookie: b=2";
    format!("207\ncontent-length: {}\n{cookies}\nx-empty: \nx-time: 12:30:45\n{twice}\n\n{body}", body.len())
}

pub(super) fn fetch(context: &Context, example: &Example) -> CaseResult {
    let origin = Origin::http(answer)?;
    let joins = example.traits.joins;
    let twice = if joins { "1, 2:3" } else { "1|2:3" };
    let url = origin.url("/path?q=%20");
    let everything = format!("PROPFIND /path?q=%20 [{twice}] [01:02] a body: \u{fc}\n");
    let requests: [(&[&str], &str); 5] = [
        (&[], "GET /path?q=%20 [] [] "),
        (&["PROPFIND", "a body: \u{fc}\n", "x-twice:1", "x-time:01:02", "x-twice:2:3"], &everything),
        (&["x-time:03", "DELETE"], "DELETE /path?q=%20 [] [03] "),
        (&["PUT", "http://looks.like/a-url"], "PUT /path?q=%20 [] [] http://looks.like/a-url"),
        (&["POST", "", "x-time:04"], "POST /path?q=%20 [] [04] "),
    ];
    for (args, body) in requests {
        let ended = example.run(context, Some(&origin), &[&[url.as_str()], args].concat())?;
        example.printed(&ended, &printed(body, joins), &format!("the answer to {args:?}"))?;
    }

    let sent = origin.requests().len();
    let invalid = example.run(context, Some(&origin), &[&url, "GET", "", "a:b\nc:d"])?;
    example.failed(&invalid, "", "", "a header with a line end")?;
    check_eq!(origin.requests().len() - sent, 0, "the count of requests with a header that cannot be sent");
    example.fails_well(context, |out| out.starts_with("200\n") && out.ends_with("\n\nsome"))?;

    let unknown = example.run(context, Some(&origin), &["no URL at all"])?;
    check!(unknown.code == 1 && unknown.out.is_empty(), "something that is not a URL ended with {unknown:?}");
    Ok(())
}
