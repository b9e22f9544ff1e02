//! Headers as text: `name:value` lines, ended by `\n`.

use std::borrow::Cow;
use std::fmt::Write;

use http::{HeaderMap, HeaderName, HeaderValue};

/// Reads header lines: `\n` or `\r\n` ends one, the first colon splits it, nothing is trimmed, repeats are kept.
///
/// `None` if a line has no colon, or what is around it is not a valid name or value.
pub(super) fn parse(lines: &str) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for line in lines.lines().filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':')?;
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        let value = HeaderValue::from_str(value).ok()?;
        headers.try_append(name, value).ok()?;
    }
    Some(headers)
}

/// Writes all headers in the order they came, grouped by name.
pub(super) fn format(headers: &HeaderMap) -> String {
    headers.iter().fold(String::new(), |mut lines, (name, value)| {
        writeln!(lines, "{name}:{}", text(value)).expect("a String can be written to");
        lines
    })
}

/// A header's value as text: as it is where it is UTF-8, else read as Latin-1, so that every value has a text.
pub(super) fn text(value: &HeaderValue) -> Cow<'_, str> {
    match std::str::from_utf8(value.as_bytes()) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(value.as_bytes().iter().map(|byte| char::from(*byte)).collect()),
    }
}
