//! A client that takes nothing for whole that is not: responses as RFC 9112, section 6.3, frames them.

use http::Method;

use crate::served::{End, Wire};

/// A response as a client sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
    /// Whether its end came, as its head says it would.
    pub(super) whole: bool,
    /// Whether nothing but the end of the connection ends it.
    pub(super) to_the_end: bool,
}

/// The responses to requests of these methods on one connection.
///
/// # Errors
/// Something that is not HTTP, or more than there were requests for.
pub(super) fn responses(wire: &Wire, methods: &[Method]) -> Result<Vec<Seen>, String> {
    let mut seen = Vec::new();
    let mut rest = &wire.bytes[..];
    for method in methods {
        if rest.is_empty() {
            break;
        }
        let (response, after) = response(rest, method, wire.end)?;
        rest = after;
        let last = !response.whole || response.to_the_end;
        seen.push(response);
        if last {
            break;
        }
    }
    if rest.is_empty() { Ok(seen) } else { Err(format!("bytes that belong to no response: {}", text(rest))) }
}

fn text(bytes: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(bytes))
}

fn response<'a>(bytes: &'a [u8], method: &Method, end: End) -> Result<(Seen, &'a [u8]), String> {
    let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Err(format!("a head without an end: {}", text(bytes)));
    };
    let head = std::str::from_utf8(&bytes[..at]).map_err(|error| error.to_string())?;
    let rest = &bytes[at + 4..];
    let (line, fields) = head.split_once("\r\n").unwrap_or((head, ""));
    let status: u16 = match line.strip_prefix("HTTP/1.").and_then(|line| line.get(2..5)?.parse().ok()) {
        Some(status) => status,
        None => return Err(format!("{line:?} is not a status line")),
    };
    let field = |wanted: &str| {
        let fields = fields.split("\r\n").filter_map(|field| field.split_once(": "));
        fields.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value)
    };
    let seen = |body: &[u8], whole, to_the_end| Seen { status, body: body.to_vec(), whole, to_the_end };
    if method == Method::HEAD || status == 204 || status == 304 {
        return Ok((seen(b"", true, false), rest));
    }
    if field("transfer-encoding").is_some() {
        let (body, after) = chunks(rest)?;
        return Ok((seen(&body, after.is_some(), false), after.unwrap_or_default()));
    }
    match field("content-length") {
        Some(length) => {
            let length: usize = length.parse().map_err(|_| format!("{length:?} is not a valid length"))?;
            let (body, after) = rest.split_at(length.min(rest.len()));
            Ok((seen(body, body.len() == length, false), after))
        }
        None => Ok((seen(rest, end == End::Closed, true), b"")),
    }
}

/// The data of a chunked body, and what follows its end, if that came.
fn chunks(mut bytes: &[u8]) -> Result<(Vec<u8>, Option<&[u8]>), String> {
    let mut body = Vec::new();
    loop {
        let Some(at) = bytes.windows(2).position(|two| two == b"\r\n") else { return Ok((body, None)) };
        let size = std::str::from_utf8(&bytes[..at]).ok().and_then(|size| usize::from_str_radix(size, 16).ok());
        let Some(size) = size else { return Err(format!("{} is not a chunk's size", text(&bytes[..at]))) };
        bytes = &bytes[at + 2..];
        let data = &bytes[..size.min(bytes.len())];
        body.extend_from_slice(data);
        bytes = &bytes[data.len()..];
        match bytes.get(..2) {
            Some(b"\r\n") => bytes = &bytes[2..],
            Some(other) => return Err(format!("{} follows a chunk", text(other))),
            None => return Ok((body, None)),
        }
        if size == 0 {
            return Ok((body, Some(bytes)));
        }
    }
}
