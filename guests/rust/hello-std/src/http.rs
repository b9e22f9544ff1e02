//! The HTTP/1.1 of the servers that bring no library for it: this one, and `hello-wasmedge`.

use httparse::{Error, Header, Request, Status, EMPTY_HEADER};

/// The longest head and the longest body of a request, in bytes.
const MAX_HEAD: usize = 8 * 1024;
const MAX_BODY: usize = 64 * 1024;

/// A connection without its socket: bytes of requests go in, bytes of responses come out.
#[derive(Default)]
pub struct Connection {
    input: Vec<u8>,
    /// What is to be sent.
    pub output: Vec<u8>,
    /// Whether no request is taken any more: the connection ends once the output is sent.
    pub ended: bool,
}

impl Connection {
    /// Takes bytes that came, and answers each request that is whole. With `once`, the first is the last.
    pub fn take(&mut self, bytes: &[u8], once: bool) {
        self.input.extend_from_slice(bytes);
        while !self.ended {
            let (used, keep, status, body) = match parse(&self.input) {
                Ok(Some((used, keep, status, body))) => (used, keep && !once, status, body),
                Ok(None) => return,
                Err(status) => (self.input.len(), false, status, Vec::new()),
            };
            self.input.drain(..used);
            self.ended = !keep;
            let close = if self.ended { "connection: close\r\n" } else { "" };
            let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{close}\r\n", body.len());
            self.output.extend_from_slice(head.as_bytes());
            self.output.extend_from_slice(&body);
        }
    }
}

/// A request that is answered: how many bytes it took, whether another may follow, the status and the body.
type Answered = (usize, bool, &'static str, Vec<u8>);

/// Answers the first request, if it is whole; the error is a status.
fn parse(bytes: &[u8]) -> Result<Option<Answered>, &'static str> {
    let mut headers = [EMPTY_HEADER; 64];
    let mut request = Request::new(&mut headers);
    let head = match request.parse(bytes) {
        Ok(Status::Complete(head)) if head <= MAX_HEAD => head,
        Ok(Status::Partial) if bytes.len() < MAX_HEAD => return Ok(None),
        Ok(_) | Err(Error::TooManyHeaders) => return Err("431 Request Header Fields Too Large"),
        Err(_) => return Err("400 Bad Request"),
    };
    let (keep, len) = framing(request.version, request.headers)?;
    let Some(body) = bytes[head..].get(..len) else { return Ok(None) };
    let path = request.path.and_then(|path| path.split('?').next());
    let (status, body) = match (request.method, path) {
        (Some("GET"), Some("/")) => ("200 OK", b"POST a name to /hello\n".to_vec()),
        (Some("POST"), Some("/hello")) => ("200 OK", [b"Hello, ", body, b"!\n"].concat()),
        _ => ("404 Not Found", Vec::new()),
    };
    Ok(Some((head + len, keep, status, body)))
}

/// Whether the connection goes on, and how long the body is.
fn framing(version: Option<u8>, headers: &[Header<'_>]) -> Result<(bool, usize), &'static str> {
    let mut keep = version == Some(1);
    let mut len = None;
    for header in headers {
        if header.name.eq_ignore_ascii_case("transfer-encoding") {
            return Err("501 Not Implemented");
        } else if header.name.eq_ignore_ascii_case("connection") {
            keep &= !header.value.eq_ignore_ascii_case(b"close");
        } else if header.name.eq_ignore_ascii_case("content-length") {
            let text = std::str::from_utf8(header.value).unwrap_or_default();
            if len.is_some() || text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err("400 Bad Request");
            }
            // More digits than a number has are too many as well.
            let value = text.parse().ok().filter(|len| *len <= MAX_BODY);
            len = Some(value.ok_or("413 Payload Too Large")?);
        }
    }
    Ok((keep, len.unwrap_or(0)))
}
