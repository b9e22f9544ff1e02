//! Guests that serve, and who asks them: a handler is called, a server of the guest's own is connected to.

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use wharf_core::abi::wasi02::http::Reply;
use wharf_core::grants::Network;
use wharf_core::http::{Body, HttpError, HttpErrorKind};
use wharf_core::{GuestConfig, HostedGuest, Kind, Run, Stop, io};

use crate::case::{CaseResult, Unmet};
use crate::prebuilt::LONG;

/// The host that requests are for.
pub(in crate::cases) const ASKED: &str = "front.example";

/// A request for [`ASKED`].
pub(in crate::cases) fn request(method: &str, target: &str, body: impl Into<Bytes>) -> CaseResult<Request<Body>> {
    let body = Full::new(body.into()).map_err(|never| match never {}).boxed_unsync();
    Request::builder().method(method).uri(target).header("host", ASKED).body(body).map_err(Unmet::harness)
}

/// What answers.
pub(in crate::cases) enum Front<F: Fn() -> CaseResult<GuestConfig>> {
    /// A handler, which gets an instance for each request, started with this.
    Handler(Arc<dyn HostedGuest>, F, Mutex<Vec<JoinHandle<Result<(), Stop>>>>),
    /// A guest that serves at this address.
    Server(Running, SocketAddr),
}

impl<F: Fn() -> CaseResult<GuestConfig>> Front<F> {
    /// A handler whose instances are started with what `config` gives.
    pub(in crate::cases) fn handler(guest: Arc<dyn HostedGuest>, config: F) -> Self {
        Front::Handler(guest, config, Mutex::default())
    }

    /// Sends a request, and returns once the head of the response is there.
    pub(in crate::cases) fn ask(&self, request: Request<Body>) -> CaseResult<Response<Body>> {
        match self {
            Front::Handler(guest, config, threads) => {
                let (reply, answer) = Reply::channel();
                let (guest, config) = (guest.clone(), config()?);
                let thread = thread::spawn(move || guest.start(config)?.handle(request, reply));
                threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
                match wait(answer)? {
                    Ok(Ok(response)) => Ok(response),
                    Ok(Err(code)) => Err(Unmet::failed(format!("the answer is the error {code:?}"))),
                    Err(_) => {
                        self.finish()?;
                        Err(Unmet::failed("the handler ended without an answer"))
                    }
                }
            }
            Front::Server(_, address) => ask_over_a_connection(*address, request),
        }
    }

    /// Sends a request and reads the whole response.
    pub(in crate::cases) fn answer(&self, request: Request<Body>) -> CaseResult<Answer> {
        read(self.ask(request)?)
    }

    /// Waits until the handlers have ended, none of them by a trap or an exit. A server goes on.
    pub(in crate::cases) fn finish(&self) -> CaseResult {
        self.join().into_iter().try_for_each(|ended| Ok(ended?))
    }

    /// The same, but a handler may exit: one that can end a message in no other way, so that it looks broken.
    pub(in crate::cases) fn finish_or_exit(&self) -> CaseResult {
        self.join().into_iter().filter(|ended| !matches!(ended, Err(Stop::Exit(_)))).try_for_each(|ended| Ok(ended?))
    }

    fn join(&self) -> Vec<Result<(), Stop>> {
        let Front::Handler(_, _, threads) = self else { return Vec::new() };
        let threads = std::mem::take(&mut *threads.lock().unwrap_or_else(PoisonError::into_inner));
        let ended = |thread: JoinHandle<_>| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        threads.into_iter().map(ended).collect()
    }
}

/// A response that has been read: the error is what its body broke off with.
pub(in crate::cases) struct Answer {
    pub(in crate::cases) status: u16,
    pub(in crate::cases) headers: HeaderMap,
    pub(in crate::cases) body: Vec<u8>,
    pub(in crate::cases) end: Result<(), HttpError>,
}

impl Answer {
    /// Status and body, if it did not break off.
    pub(in crate::cases) fn whole(self) -> CaseResult<(u16, Vec<u8>)> {
        match self.end {
            Ok(()) => Ok((self.status, self.body)),
            Err(error) => Err(Unmet::failed(format!("the response breaks off: {}", wharf_core::chain(&error)))),
        }
    }
}

fn read(response: Response<Body>) -> CaseResult<Answer> {
    let (head, mut incoming) = response.into_parts();
    let mut body = Vec::new();
    let end = loop {
        match piece(&mut incoming)? {
            None => break Ok(()),
            Some(Ok(piece)) => body.extend(piece),
            Some(Err(error)) => break Err(error),
        }
    };
    Ok(Answer { status: head.status.as_u16(), headers: head.headers, body, end })
}

/// The next piece of a body.
pub(in crate::cases) fn piece(body: &mut Body) -> CaseResult<Option<Result<Bytes, HttpError>>> {
    loop {
        match wait(body.frame())? {
            None => return Ok(None),
            Some(Err(error)) => return Ok(Some(Err(error))),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(Ok(data)));
                }
            }
        }
    }
}

fn wait<T>(future: impl Future<Output = T>) -> CaseResult<T> {
    let value = Run::default().wait_until(future, Some(Instant::now() + LONG))?;
    value.ok_or_else(|| Unmet::failed(format!("no answer came within {LONG:?}")))
}

fn ask_over_a_connection(address: SocketAddr, request: Request<Body>) -> CaseResult<Response<Body>> {
    let exchange = io().spawn(async move {
        let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|error| error.to_string())?;
        tokio::spawn(connection);
        sender.send_request(request).await.map_err(|error| error.to_string())
    });
    let response = wait(exchange)?.map_err(Unmet::harness)?;
    let response = response.map_err(|error| Unmet::failed(format!("the guest does not answer: {error}")))?;
    let broken = |error: hyper::Error| HttpError::new(HttpErrorKind::ConnectionClosed, error.to_string());
    Ok(response.map(|body| body.map_err(broken).boxed_unsync()))
}

/// A guest that runs in a thread of its own, until it ends or this is dropped.
pub(in crate::cases) struct Running {
    cancel: CancellationToken,
    thread: Option<JoinHandle<wharf_core::Result<i32>>>,
}

impl Running {
    /// Starts it.
    pub(in crate::cases) fn start(guest: Arc<dyn HostedGuest>, config: GuestConfig) -> Self {
        let cancel = config.cancel.clone();
        Running { cancel, thread: Some(thread::spawn(move || guest.run(config, None))) }
    }

    /// Waits for its exit code.
    pub(in crate::cases) fn code(mut self) -> CaseResult<i32> {
        Ok(self.end()??)
    }

    /// Ends it. It must not have ended by itself.
    pub(in crate::cases) fn stop(mut self) -> CaseResult {
        self.cancel.cancel();
        match self.end()? {
            Err(error) if error.kind() == Kind::Cancelled => Ok(()),
            Err(error) => Err(error.into()),
            Ok(code) => Err(Unmet::failed(format!("the server ended by itself, with {code}"))),
        }
    }

    fn end(&mut self) -> CaseResult<wharf_core::Result<i32>> {
        let thread = self.thread.take().ok_or_else(|| Unmet::harness("the guest has ended already"))?;
        thread.join().map_err(|_| Unmet::harness("the guest's thread panicked"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.cancel.cancel();
        if let Some(thread) = self.thread.take() {
            // How it ended was of no interest to who dropped it.
            let _ended = thread.join();
        }
    }
}

/// A network with a listener for the guest, at descriptor 3, and its address.
pub(in crate::cases) fn granted() -> CaseResult<(Network, SocketAddr)> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(Unmet::harness)?;
    let address = listener.local_addr().map_err(Unmet::harness)?;
    Ok((Network::new().listener(listener)?, address))
}
