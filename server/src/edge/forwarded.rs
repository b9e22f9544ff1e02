//! What a proxy says of the connection that it took a request from.

use http::header::{FORWARDED, HeaderMap};

/// The `proto` of the last element of Forwarded, which the nearest proxy has added (RFC 7239, sections 4 and 5.4); `None`
/// if it says none.
///
/// # Errors
/// If the field is not valid there.
pub(super) fn proto(headers: &HeaderMap) -> Result<Option<String>, ()> {
    let Some(last) = headers.get_all(FORWARDED).iter().next_back() else { return Ok(None) };
    let last = last.to_str().map_err(|_| ())?;
    let element = split(last, ',')?.pop().unwrap_or_default();
    let mut found = None;
    for pair in split(element, ';')? {
        let Some((name, value)) = pair.split_once('=') else {
            if pair.trim().is_empty() { continue } else { return Err(()) }
        };
        if name.trim().eq_ignore_ascii_case("proto") {
            let value = value.trim();
            let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
            if found.replace(value.to_ascii_lowercase()).is_some() {
                return Err(());
            }
        }
    }
    Ok(found)
}

/// The parts of `text` between separators that stand in no quoted string (RFC 9110, section 5.6.4).
///
/// # Errors
/// If a quoted string does not end.
fn split(text: &str, separator: char) -> Result<Vec<&str>, ()> {
    let (mut parts, mut start, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (at, char) in text.char_indices() {
        match char {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if char == separator && !quoted => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    if quoted { Err(()) } else { Ok(parts) }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_nearest_proxy_has_the_last_word() {
        let proto = |lines: &[&'static str]| {
            let lines = lines.iter().map(|line| (FORWARDED, HeaderValue::from_static(line)));
            proto(&lines.collect())
        };
        for (lines, expected) in [
            (&[][..], None),
            (&["for=192.0.2.1"][..], None),
            (&["for=192.0.2.1;proto=https"], Some("https")),
            (&["proto=https, for=\"[::1]\" ; Proto=\"HTTP\""], Some("http")),
            (&["proto=https", "proto=http"], Some("http")),
            (&["proto=https, for=x"], None),
            (&["proto=http;host=\"a, proto=https; \\\" b\""], Some("http")),
        ] {
            assert_eq!(proto(lines), Ok(expected.map(str::to_owned)), "{lines:?}");
        }
        for bad in ["proto=http;proto=https", "proto=\"http", "proto"] {
            assert_eq!(proto(&[bad]), Err(()), "{bad}");
        }
    }
}
