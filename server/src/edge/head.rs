//! The head of a request of HTTP/1, as bytes: what a parser that is lenient would not show any more.

use http::{Method, StatusCode, Uri};

use super::refusal::Refusal;

/// How large a head may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// The request target, in bytes.
    pub(super) target: usize,
    /// All of the head, in bytes.
    pub(super) head: usize,
    /// How many fields there may be.
    pub(super) fields: usize,
}

/// What follows a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// So many bytes.
    Length(u64),
    /// Chunks, and a trailer section.
    Chunked,
}

pub(super) const TARGET_TOO_LONG: Refusal =
    Refusal::new(StatusCode::URI_TOO_LONG, "the request target is longer than this server allows");
pub(super) const HEAD_TOO_LARGE: Refusal = Refusal::new(
    StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
    "the header fields are larger, or more, than this server allows",
);
const LINE_END: Refusal = Refusal::bad("a line of the head does not end with CR LF, or there is a CR within one");
const REQUEST_LINE: Refusal =
    Refusal::bad("the request line is not a method, a target and a version with one space between them");

/// Where the head that `bytes` begins with ends, after the empty line; `None` if it is not complete. `seen` bytes were
/// looked at before. A bare LF ends a line here, so that the head is found which it makes invalid.
pub(super) fn end(bytes: &[u8], seen: usize) -> Option<usize> {
    let mut from = seen.saturating_sub(3);
    while let Some(at) = bytes[from..].iter().position(|byte| *byte == b'\n') {
        let next = from + at + 1;
        match &bytes[next..] {
            [b'\n', ..] => return Some(next + 1),
            [b'\r', b'\n', ..] => return Some(next + 2),
            _ => from = next,
        }
    }
    None
}

/// Whether more of a head that is not complete may come (RFC 9112, section 3; RFC 6585, section 5).
pub(super) fn may_go_on(bytes: &[u8], limits: &Limits) -> Result<(), Refusal> {
    if !bytes.contains(&b'\n') {
        match bytes.iter().position(|byte| *byte == b' ') {
            Some(space) if bytes.len() - space - 1 > limits.target + " HTTP/1.1\r".len() => {
                return Err(TARGET_TOO_LONG);
            }
            None if bytes.len() > limits.target => return Err(REQUEST_LINE),
            _ => {}
        }
    }
    if bytes.len() > limits.head { Err(HEAD_TOO_LARGE) } else { Ok(()) }
}

/// Checks a complete head and says what follows it. A later minor version of HTTP/1 is made 1.1, as which it is to be
/// processed (RFC 9110, section 6.2).
///
/// # Errors
/// Why it is refused.
pub(super) fn check(head: &mut [u8], limits: &Limits) -> Result<Framing, Refusal> {
    let bare = |at: usize| match head[at] {
        b'\n' => at == 0 || head[at - 1] != b'\r',
        b'\r' => head.get(at + 1) != Some(&b'\n'),
        _ => false,
    };
    if (0..head.len()).any(bare) {
        return Err(LINE_END);
    }
    let line_len = head.iter().position(|byte| *byte == b'\r').unwrap_or(head.len());
    let minor = request_line(&head[..line_len], limits)?;
    if head.len() > limits.head {
        return Err(HEAD_TOO_LARGE);
    }
    let framing = fields(&head[line_len + 2..], minor, limits)?;
    if minor > b'1' {
        head[line_len - 1] = b'1';
    }
    Ok(framing)
}

/// The minor version of a request line (RFC 9112, section 3).
fn request_line(line: &[u8], limits: &Limits) -> Result<u8, Refusal> {
    let mut parts = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(REQUEST_LINE);
    };
    let minor = match version {
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor] if minor.is_ascii_digit() => *minor,
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit() => {
            let reason = "this version of HTTP is not supported; use HTTP/1.1";
            return Err(Refusal::new(StatusCode::HTTP_VERSION_NOT_SUPPORTED, reason));
        }
        _ => return Err(REQUEST_LINE),
    };
    if Method::from_bytes(method).is_err() {
        return Err(Refusal::bad("the method is not a valid token"));
    }
    if target.len() > limits.target {
        return Err(TARGET_TOO_LONG);
    }
    // A fragment would vanish in `Uri`; it is not part of any form of a target (RFC 9112, section 3.2).
    if target.contains(&b'#') || Uri::try_from(target).is_err() {
        return Err(Refusal::bad(
            "the request target is not valid: characters that a URI cannot have must be percent-encoded",
        ));
    }
    Ok(minor)
}

/// What follows a head with these fields, each of which ends with CR LF, and an empty line (RFC 9112, sections 5 and
/// 6).
fn fields(mut rest: &[u8], minor: u8, limits: &Limits) -> Result<Framing, Refusal> {
    let (mut count, mut codings, mut length) = (0, None, None);
    while let Some(end) = rest.iter().position(|byte| *byte == b'\r').filter(|end| *end > 0) {
        let (line, after) = rest.split_at(end);
        rest = &after[2..];
        count += 1;
        if count > limits.fields {
            return Err(HEAD_TOO_LARGE);
        }
        let (name, value) = field(line)?;
        if name.eq_ignore_ascii_case(b"transfer-encoding") && codings.replace(value).is_some() {
            return Err(Refusal::bad("Transfer-Encoding appears more than once"));
        }
        if name.eq_ignore_ascii_case(b"content-length") && length.replace(value).is_some() {
            return Err(Refusal::bad("Content-Length appears more than once"));
        }
    }
    match (codings, length) {
        (Some(_), Some(_)) => Err(Refusal::bad("Transfer-Encoding and Content-Length contradict each other: send one")),
        (Some(_), None) if minor == b'0' => Err(Refusal::bad("HTTP/1.0 has no Transfer-Encoding")),
        (Some(codings), None) => transfer_codings(codings).map(|()| Framing::Chunked),
        (None, Some(length)) => content_length(length).map(Framing::Length),
        (None, None) => Ok(Framing::Length(0)),
    }
}

/// Name and value of a field line, without the whitespace around the value (RFC 9112, section 5; RFC 9110, section
/// 5.5).
fn field(line: &[u8]) -> Result<(&[u8], &[u8]), Refusal> {
    if line[0] == b' ' || line[0] == b'\t' {
        return Err(Refusal::bad("a line of the head begins with whitespace; fields may not be folded"));
    }
    let Some(colon) = line.iter().position(|byte| *byte == b':') else {
        return Err(Refusal::bad("a line of the head has no colon"));
    };
    let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
    let token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    if name.is_empty() || !name.iter().all(token) {
        return Err(Refusal::bad("the name of a field is not a valid token, or there is whitespace before its colon"));
    }
    if value.iter().any(|byte| *byte != b'\t' && byte.is_ascii_control()) {
        return Err(Refusal::bad("the value of a field has a control character"));
    }
    Ok((name, value))
}

/// Accepts `chunked` and nothing else (RFC 9112, sections 6.1 and 6.3).
fn transfer_codings(value: &[u8]) -> Result<(), Refusal> {
    if value.eq_ignore_ascii_case(b"chunked") {
        return Ok(());
    }
    let mut codings = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    let is_chunked = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
    if !codings.next_back().is_some_and(is_chunked) {
        return Err(Refusal::bad("the last transfer coding of a request must be chunked"));
    }
    let others: Vec<&[u8]> = codings.collect();
    if others.iter().any(|coding| coding.is_empty() || is_chunked(coding)) {
        return Err(Refusal::bad("the transfer codings are not valid: chunked appears twice, or an element is empty"));
    }
    Err(Refusal::new(StatusCode::NOT_IMPLEMENTED, "no transfer coding other than chunked is supported"))
}

/// A length, in digits (RFC 9110, section 8.6). A list, even of equal values, is refused as RFC 9112, section 6.3,
/// allows.
pub(super) fn content_length(value: &[u8]) -> Result<u64, Refusal> {
    let digits = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    // The two largest values mean something else in hyper.
    let length = digits.and_then(|digits| digits.parse().ok()).filter(|length| *length < u64::MAX - 1);
    length.ok_or(Refusal::bad("Content-Length is not a valid length"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { target: 100, head: 400, fields: 4 };

    fn status(head: &str) -> Result<Framing, u16> {
        let mut bytes = head.as_bytes().to_vec();
        assert_eq!(end(&bytes, 0), Some(bytes.len()), "{head:?}");
        check(&mut bytes, &LIMITS).map_err(|refusal| refusal.status().as_u16())
    }

    #[test]
    fn a_head_says_what_follows_it() {
        let with = |fields: &str| status(&format!("POST / HTTP/1.1\r\n{fields}\r\n"));
        assert_eq!(with(""), Ok(Framing::Length(0)));
        assert_eq!(with("content-length:  7\t\r\n"), Ok(Framing::Length(7)));
        assert_eq!(with("Transfer-Encoding: Chunked\r\n"), Ok(Framing::Chunked));
        for (fields, expected) in [
            ("transfer-encoding: gzip, chunked\r\n", 501),
            ("transfer-encoding: identity, chunked\r\n", 501),
            ("transfer-encoding: gzip\r\n", 400),
            ("transfer-encoding: chunked, gzip\r\n", 400),
            ("transfer-encoding: chunked, chunked\r\n", 400),
            ("transfer-encoding: chunked,\r\n", 400),
            ("transfer-encoding: , chunked\r\n", 400),
            ("transfer-encoding: chunked;x=1\r\n", 400),
            ("transfer-encoding:\r\n", 400),
            ("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n", 400),
            ("transfer-encoding: chunked\r\ncontent-length: 1\r\n", 400),
            ("content-length: 1\r\ncontent-length: 1\r\n", 400),
            ("content-length: 1, 1\r\n", 400),
            ("content-length: +1\r\n", 400),
            ("content-length:\r\n", 400),
            ("content-length: 18446744073709551616\r\n", 400),
            ("a: 1\n", 400),
            ("a: 1\r2\r\n", 400),
            ("a: 1\r\n b\r\n", 400),
            ("a : 1\r\n", 400),
            (": 1\r\n", 400),
            ("a\r\n", 400),
            ("a: \u{1}\r\n", 400),
            ("a: \0\r\n", 400),
            ("a:\r\nb:\r\nc:\r\nd:\r\ne:\r\n", 431),
        ] {
            assert_eq!(with(fields), Err(expected), "{fields:?}");
        }
    }

    #[test]
    fn request_lines_are_exact() {
        for (line, expected) in [
            ("GET / HTTP/1.0", Ok(Framing::Length(0))),
            ("GET / HTTP/1.9", Ok(Framing::Length(0))),
            ("GET / HTTP/2.0", Err(505)),
            ("GET / HTTP/0.9", Err(505)),
            ("GET / HTTP/11", Err(400)),
            ("GET / http/1.1", Err(400)),
            ("GET /", Err(400)),
            ("GET  / HTTP/1.1", Err(400)),
            ("GET / HTTP/1.1 ", Err(400)),
            ("GET\t/ HTTP/1.1", Err(400)),
            (" GET / HTTP/1.1", Err(400)),
            ("G(T / HTTP/1.1", Err(400)),
            ("GET /a#b HTTP/1.1", Err(400)),
            ("GET /<a> HTTP/1.1", Err(400)),
        ] {
            assert_eq!(status(&format!("{line}\r\n\r\n")), expected, "{line:?}");
        }
        let mut later = *b"GET / HTTP/1.9\r\n\r\n";
        assert!(check(&mut later, &LIMITS).is_ok());
        assert_eq!(&later, b"GET / HTTP/1.1\r\n\r\n");
        assert_eq!(status("POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n"), Err(400));
        assert_eq!(status(&format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(100))), Err(414));
        assert_eq!(status(&format!("GET / HTTP/1.1\r\na: {}\r\n\r\n", "a".repeat(400))), Err(431));
    }

    #[test]
    fn heads_that_do_not_end_are_refused_by_what_is_too_long() {
        let refused = |bytes: &str| may_go_on(bytes.as_bytes(), &LIMITS).map_err(|refusal| refusal.status().as_u16());
        assert_eq!(refused("GET /"), Ok(()));
        assert_eq!(refused(&format!("GET /{}", "a".repeat(200))), Err(414));
        assert_eq!(refused(&"G".repeat(200)), Err(400));
        assert_eq!(refused(&format!("GET / HTTP/1.1\r\na: {}", "a".repeat(400))), Err(431));
    }

    #[test]
    fn the_end_is_found_wherever_reading_paused() {
        let bytes = b"GET / HTTP/1.1\r\na: b\r\n\r\nmore";
        for seen in 0..24 {
            assert_eq!(end(&bytes[..seen], 0), None, "{seen}");
            assert_eq!(end(bytes, seen), Some(24), "{seen}");
        }
        assert_eq!(end(b"GET / HTTP/1.1\n\nmore", 0), Some(16));
    }
}
