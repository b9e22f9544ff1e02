//! What the proxy leaves as it is: redirects and cookies, which a login is made of, ranges, and what has no body.

use http::HeaderValue;
use http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, COOKIE, ETAG, HeaderName, LOCATION, SET_COOKIE};

use super::Example;
use super::proxy::{end, front};
use crate::case::{CaseResult, Unmet};
use crate::cases::guest::front::{Answer, request};
use crate::check_eq;
use crate::context::Context;
use crate::origin::{Body, Origin, Received, Reply};

/// A page that a login leads to, at another origin for all that the proxy knows.
const HOME: &str = "https://app.example/home?from=login#top";

/// Asks for a login, takes one, and knows by its cookie who has logged in.
fn members(request: &Received) -> Reply {
    match (request.method.as_str(), request.header("cookie")) {
        ("POST", Some("form=1")) if request.body == b"name=ada" => Reply::redirect(302, HOME)
            .header("set-cookie", "session=7; HttpOnly")
            .header("set-cookie", "form=; Max-Age=0"),
        ("GET", Some("theme=dark; session=7")) => Reply::ok("welcome, ada"),
        ("GET", None) if request.target == "/login" => Reply::ok("who are you?").header("set-cookie", "form=1"),
        _ => Reply::redirect(303, "/login").header("set-cookie", "session=; Max-Age=0").header("set-cookie", "b=2"),
    }
}

/// A redirect is the client's to follow, and what it sets the client's to keep.
pub(super) fn login(context: &Context, example: &Example) -> CaseResult {
    let origin = Origin::http(members)?;
    let (allowed, base) = ([&origin], origin.base());
    let front = front(context, example, &allowed, &base)?;
    let ask = |method, target, cookie: Option<&'static str>, body: &'static str| {
        let mut request = request(method, target, body)?;
        if let Some(cookie) = cookie {
            request.headers_mut().insert(COOKIE, HeaderValue::from_static(cookie));
        }
        front.answer(request)
    };

    let turned_away = ask("GET", "/home", None, "")?;
    check_eq!(turned_away.status, 303, "the status of a page for members only");
    check_eq!(values(&turned_away, &LOCATION), ["/login"], "where it sends who has not logged in");
    check_eq!(values(&turned_away, &SET_COOKIE), ["session=; Max-Age=0", "b=2"], "the cookies of a redirect");

    let form = ask("GET", "/login", None, "")?;
    check_eq!(values(&form, &SET_COOKIE), ["form=1"], "the cookie of the form");
    check_eq!(form.whole()?, (200, b"who are you?".to_vec()), "the form");

    let taken = ask("POST", "/login", Some("form=1"), "name=ada")?;
    check_eq!(taken.status, 302, "the status of a login");
    check_eq!(values(&taken, &LOCATION), [HOME], "where it leads");
    check_eq!(values(&taken, &SET_COOKIE), ["session=7; HttpOnly", "form=; Max-Age=0"], "the cookies of a login");
    check_eq!(taken.whole()?.1, b"", "the body of a redirect");

    let home = ask("GET", "/home", Some("theme=dark; session=7"), "")?.whole()?;
    check_eq!(home, (200, b"welcome, ada".to_vec()), "the page for who has logged in");
    let asked: Vec<_> = origin.requests().into_iter().map(|request| (request.method, request.target)).collect();
    let expected = [("GET", "/home"), ("GET", "/login"), ("POST", "/login"), ("GET", "/home")];
    check_eq!(
        asked,
        expected.map(|(method, target)| (method.to_owned(), target.to_owned())),
        "what the origin is asked"
    );
    end(front)
}

/// A file that has not changed, a part of it, and what a HEAD says of the whole.
fn file(request: &Received) -> Reply {
    let reply = |status| Reply::status(status).header("etag", "\"v1\"").header("accept-ranges", "bytes");
    match (request.method.as_str(), request.header("range"), request.header("if-none-match")) {
        ("HEAD", ..) => reply(200).header("content-length", "123456"),
        (_, Some("bytes=2-5"), _) if request.header("if-range") == Some("\"v1\"") => {
            reply(206).header("content-range", "bytes 2-5/123456").body(Body::Full("part".into()))
        }
        (_, Some(_), _) => reply(416).header("content-range", "bytes */123456"),
        (_, _, Some("\"v1\"")) => reply(304),
        _ => reply(204),
    }
}

/// Statuses, and the fields that say what a body is or would be.
pub(super) fn unchanged(context: &Context, example: &Example) -> CaseResult {
    let origin = Origin::http(file)?;
    let (allowed, base) = ([&origin], origin.base());
    let front = front(context, example, &allowed, &base)?;
    let ask = |method, fields: &[(&'static str, &'static str)]| {
        let mut request = request(method, "/file", "")?;
        for (name, value) in fields {
            request.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let answer = front.answer(request)?;
        check_eq!(values(&answer, &ETAG), ["\"v1\""], "the tag of the answer to {method} with {fields:?}");
        check_eq!(values(&answer, &ACCEPT_RANGES), ["bytes"], "what of it can be asked for");
        Ok::<_, Unmet>(answer)
    };

    let part = ask("GET", &[("range", "bytes=2-5"), ("if-range", "\"v1\"")])?;
    check_eq!(values(&part, &CONTENT_RANGE), ["bytes 2-5/123456"], "which part it is");
    check_eq!(part.whole()?, (206, b"part".to_vec()), "a part");
    let outside = ask("GET", &[("range", "bytes=999999-")])?;
    check_eq!(values(&outside, &CONTENT_RANGE), ["bytes */123456"], "what there is instead");
    check_eq!(outside.whole()?, (416, Vec::new()), "a part that there is not");

    let head = ask("HEAD", &[])?;
    check_eq!(values(&head, &CONTENT_LENGTH), ["123456"], "the length that a HEAD tells");
    check_eq!(head.whole()?, (200, Vec::new()), "the answer to a HEAD");
    check_eq!(ask("GET", &[("if-none-match", "\"v1\"")])?.whole()?, (304, Vec::new()), "what has not changed");
    check_eq!(ask("GET", &[])?.whole()?, (204, Vec::new()), "an answer without content");
    end(front)
}

/// The values of a field, in the order they came.
fn values(answer: &Answer, name: &HeaderName) -> Vec<String> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    answer.headers.get_all(name).iter().map(text).collect()
}
