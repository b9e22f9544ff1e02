//! Headers as `wasi_experimental_http` has them: a line `name:value` each, ended by a line feed.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{Error, ErrorKind, Result};

/// The headers of a request, for the host.
pub(crate) fn encode(headers: &HeaderMap) -> Result<String> {
    let mut text = String::new();
    for (name, value) in headers {
        // The ABI's text is UTF-8. Neither names nor values hold line feeds: their types see to it.
        let value = std::str::from_utf8(value.as_bytes()).map_err(|error| {
            let what = format!("the value of the header `{name}` is not UTF-8, which wasi_experimental_http asks for");
            Error::new(ErrorKind::Invalid).with_source(format!("{what}: {error}"))
        })?;
        for part in [name.as_str(), ":", value, "\n"] {
            text.push_str(part);
        }
    }
    Ok(text)
}

/// The headers of a response, from the host.
pub(crate) fn decode(text: &[u8]) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for line in text.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            continue;
        }
        let header = line.iter().position(|byte| *byte == b':').and_then(|colon| {
            let name = HeaderName::from_bytes(&line[..colon]).ok()?;
            Some((name, HeaderValue::from_bytes(&line[colon + 1..]).ok()?))
        });
        let Some((name, value)) = header else {
            let line = String::from_utf8_lossy(line);
            return Err(Error::new(ErrorKind::Internal).with_source(format!("`{line}` is not a header")));
        };
        headers.append(name, value);
    }
    Ok(headers)
}
