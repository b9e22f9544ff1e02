//! Answers of the servers, as far as they have come.

use anyhow::{Context, bail};
use httparse::Status;

/// A whole answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// How many bytes its body has, without what frames chunks.
    pub(crate) body: u64,
}

/// The answer that `bytes` are, once they are a whole one.
///
/// # Errors
/// If they are not an HTTP/1.1 response, do not say where its body ends, or go on behind it.
pub(crate) fn whole(bytes: &[u8]) -> anyhow::Result<Option<Answer>> {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut head = httparse::Response::new(&mut fields);
    let Status::Complete(length) = head.parse(bytes).context("the answer is not HTTP/1.1")? else { return Ok(None) };
    let field = |name: &str| head.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name));
    let rest = &bytes[length..];
    let (body, end) = if let Some(field) = field("content-length") {
        let length = std::str::from_utf8(field.value).ok().and_then(|text| text.trim().parse().ok());
        let length: usize = length.context("the answer's content-length is not a number")?;
        (length as u64, (rest.len() >= length).then_some(length))
    } else if field("transfer-encoding").is_some_and(|field| field.value.eq_ignore_ascii_case(b"chunked")) {
        chunks(rest)?
    } else {
        bail!("the answer does not say where it ends");
    };
    let Some(end) = end else { return Ok(None) };
    if end != rest.len() {
        bail!("{} bytes follow the answer", rest.len() - end);
    }
    Ok(Some(Answer { status: head.code.unwrap_or_default(), body }))
}

/// How many bytes are in these chunks, and where they end, if they do.
fn chunks(bytes: &[u8]) -> anyhow::Result<(u64, Option<usize>)> {
    let (mut body, mut at) = (0, 0);
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        let size = httparse::parse_chunk_size(rest).ok().context("the answer has a chunk without a size")?;
        let Status::Complete((line, size)) = size else { return Ok((body, None)) };
        if size == 0 {
            // Trailers, if any, end with an empty line.
            let rest = &bytes[at + line..];
            let trailers =
                if rest.starts_with(b"\r\n") { Some(0) } else { rest.windows(4).position(|end| end == b"\r\n\r\n") };
            let end = if rest.starts_with(b"\r\n") { 2 } else { 4 };
            return Ok((body, trailers.map(|length| at + line + length + end)));
        }
        body += size;
        at = usize::try_from(size)
            .ok()
            .and_then(|size| at.checked_add(line + 2)?.checked_add(size))
            .context("a chunk is too long")?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_whole_or_not_yet() {
        let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        for (answer, body) in [
            ("HTTP/1.1 200 OK\r\n".to_owned(), None),
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na".to_owned(), None),
            ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nab".to_owned(), Some(2)),
            ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_owned(), Some(0)),
            (format!("{chunked}1\r\na\r\n"), None),
            (format!("{chunked}1\r\na\r\n0\r\n"), None),
            // What looks like the last chunk, within one.
            (format!("{chunked}7\r\na0\r\n\r\n"), None),
            (format!("{chunked}5\r\n0\r\n\r\n\r\n0\r\n\r\n"), Some(5)),
            (format!("{chunked}1\r\na\r\n0\r\n\r\n"), Some(1)),
            (format!("{chunked}1\r\na\r\n0\r\nx: y\r\n"), None),
            (format!("{chunked}1\r\na\r\n0\r\nx: y\r\n\r\n"), Some(1)),
        ] {
            let expected = body.map(|body| Answer { status: 200, body });
            assert_eq!(whole(answer.as_bytes()).unwrap(), expected, "{answer:?}");
        }
        assert_eq!(whole(b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n").unwrap().unwrap().status, 500);
    }

    #[test]
    fn what_is_no_answer_is_told() {
        for (bytes, reason) in [
            ("SSH-2.0-x\r\n\r\n", "not HTTP/1.1"),
            ("HTTP/1.1 200 OK\r\n\r\n", "does not say where it ends"),
            ("HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n", "not a number"),
            ("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nab", "1 bytes follow"),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nx\r\n", "without a size"),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffff\r\n", "too long"),
        ] {
            let error = whole(bytes.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(reason), "{bytes:?}: {error}");
        }
    }
}
