//! Origins on this machine that do what a test says, byte by byte.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use wharf_http::{HttpError, HttpErrorKind, Incoming, Limits, Outbound, Outgoing, Policy, PolicyBuilder};

use crate::{Builder, Sends};

/// What an origin does after it has answered.
#[derive(PartialEq, Eq)]
pub(crate) enum Then {
    Keep,
    Close,
}

/// An HTTP/1.1 origin that speaks raw TCP, a thread for each connection.
pub(crate) struct Origin {
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Origin {
    /// Answers each request, given as head and body, through `respond`.
    pub(crate) fn new(respond: impl Fn(&str, &mut TcpStream) -> Then + Send + Sync + 'static) -> Origin {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let origin = Origin { address, connections: connections.clone(), requests: requests.clone() };
        let respond = Arc::new(respond);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                connections.fetch_add(1, Ordering::SeqCst);
                let (respond, requests) = (respond.clone(), requests.clone());
                std::thread::spawn(move || serve(stream, &*respond, &requests));
            }
        });
        origin
    }

    /// Gives every request the same answer and keeps the connection.
    pub(crate) fn answering(answer: impl Into<Vec<u8>>) -> Origin {
        let answer = answer.into();
        Origin::new(move |_, stream| {
            _ = stream.write_all(&answer);
            Then::Keep
        })
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// The requests so far, head and body as they came.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

fn serve(stream: TcpStream, respond: &dyn Fn(&str, &mut TcpStream) -> Then, requests: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    while let Some(request) = read_request(&mut reader) {
        requests.lock().unwrap().push(request.clone());
        if respond(&request, &mut stream) == Then::Close {
            return;
        }
    }
}

fn read_request(reader: &mut BufReader<TcpStream>) -> Option<String> {
    let mut request = String::new();
    let (mut length, mut chunked) = (0, false);
    loop {
        let start = request.len();
        if reader.read_line(&mut request).ok()? == 0 {
            return None;
        }
        let line = request[start..].trim_end().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.parse().unwrap();
        }
        chunked |= line == "transfer-encoding: chunked";
        if line.is_empty() {
            break;
        }
    }
    let mut body = Vec::new();
    if chunked {
        loop {
            let mut size = String::new();
            reader.read_line(&mut size).ok()?;
            let size = usize::from_str_radix(size.trim(), 16).ok()?;
            let mut chunk = vec![0; size + 2];
            reader.read_exact(&mut chunk).ok()?;
            body.extend(&chunk[..size]);
            if size == 0 {
                break;
            }
        }
    } else {
        body.resize(length, 0);
        reader.read_exact(&mut body).ok()?;
    }
    request.push_str(&String::from_utf8_lossy(&body));
    Some(request)
}

/// Sends `total` bytes as fast as they are taken and counts them.
pub(crate) fn flooding(total: u64) -> (Origin, Arc<AtomicU64>) {
    let sent = Arc::new(AtomicU64::new(0));
    let counter = sent.clone();
    let origin = Origin::new(move |_, stream| {
        _ = write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {total}\r\n\r\n");
        let block = vec![b'x'; 64 << 10];
        let mut left = total;
        while left > 0 {
            let length = left.min(block.len() as u64);
            if stream.write_all(&block[..length as usize]).is_err() {
                return Then::Close;
            }
            counter.fetch_add(length, Ordering::SeqCst);
            left -= length;
        }
        Then::Keep
    });
    (origin, sent)
}

/// A complete answer.
pub(crate) fn answer(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())
}

pub(crate) fn allowing(origins: &[&Origin]) -> PolicyBuilder {
    origins.iter().fold(Policy::builder(), |builder, origin| builder.allow(&origin.url("")).unwrap())
}

pub(crate) fn outbound(policy: PolicyBuilder) -> Outbound {
    outbound_with(policy, Limits::default())
}

pub(crate) fn outbound_with(policy: PolicyBuilder, limits: Limits) -> Outbound {
    outbound_of(policy, limits, |sends| sends)
}

/// An outbound whose transport is set up by `change`.
pub(crate) fn outbound_of(policy: PolicyBuilder, limits: Limits, change: impl FnOnce(Builder) -> Builder) -> Outbound {
    Outbound::new(policy.build(), limits, |policy, _| {
        change(Sends::builder(policy)).build().map(|transport| Arc::new(transport) as _)
    })
    .unwrap()
}

pub(crate) fn get(url: &str) -> Request<Outgoing> {
    Request::get(url).body(Outgoing::empty()).unwrap()
}

/// Waits on this thread, whatever it is.
pub(crate) fn wait<T>(future: impl Future<Output = T>) -> T {
    futures_executor::block_on(future)
}

pub(crate) fn send(outbound: &Outbound, request: Request<Outgoing>) -> Result<Response<Incoming>, HttpError> {
    wait(outbound.send(request))
}

/// Sends, follows redirects, and reads everything.
pub(crate) fn follow(outbound: &Outbound, request: Request<Outgoing>) -> Result<Response<String>, HttpError> {
    whole(wait(outbound.follow(request))?)
}

/// The kind of the error that a request ends with before its response.
pub(crate) fn refused(outbound: &Outbound, request: Request<Outgoing>) -> HttpErrorKind {
    send(outbound, request).expect_err("no error").kind()
}

pub(crate) fn read(body: &mut Incoming) -> Result<Vec<u8>, HttpError> {
    let mut whole = Vec::new();
    while let Some(chunk) = wait(body.chunk()) {
        let chunk: Bytes = chunk?;
        assert!(!chunk.is_empty());
        whole.extend(chunk);
    }
    Ok(whole)
}

/// Sends and reads everything.
pub(crate) fn fetch(outbound: &Outbound, request: Request<Outgoing>) -> Result<Response<String>, HttpError> {
    whole(send(outbound, request)?)
}

fn whole(response: Response<Incoming>) -> Result<Response<String>, HttpError> {
    let (head, mut body) = response.into_parts();
    let body = String::from_utf8(read(&mut body)?).unwrap();
    Ok(Response::from_parts(head, body))
}
