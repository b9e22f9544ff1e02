//! `outbound/...`: what may be reached, how, and within which limits, whichever ABI asks.
//!
//! A case is a guest on the backend that sends a request, see [`HttpProbe`]. Its ABI has one code for most of what can
//! go wrong, so where the reason matters the same request is also sent through [`Outbound`] itself.

mod address;
mod broken;
mod connection;
mod framing;
mod header;
mod limit;
mod policy;
mod redirect;
mod target;
mod timeout;
mod tls;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request};
use wharf_core::abi::experimental::ErrorCode;
use wharf_core::http::{HttpError, HttpErrorKind, Outbound, Outgoing, Resolver};
use wharf_core::{GuestConfig, Run};

use crate::case::{Case, CaseResult, Unmet};
use crate::context::Context;
use crate::net::Net;
use crate::origin::Origin;
use crate::probe::{HttpProbe, Req, at};
use crate::{check, check_eq};

/// The cases of this area, a slice for each file.
pub const CASES: &[&[Case]] = &[
    policy::CASES,
    address::CASES,
    header::CASES,
    redirect::CASES,
    target::CASES,
    limit::CASES,
    timeout::CASES,
    tls::CASES,
    framing::CASES,
    broken::CASES,
    connection::CASES,
];

/// The most that is read of a body when only its end matters.
const MOST: usize = 64 << 20;

/// A guest, and what its requests go through.
struct Reach {
    probe: HttpProbe,
    outbound: Outbound,
}

impl Net<'_> {
    /// Starts a guest with this.
    fn reach(self, context: &Context) -> CaseResult<Reach> {
        let outbound = self.outbound()?;
        let config = GuestConfig { outbound: Some(outbound.for_guest()), ..GuestConfig::default() };
        Ok(Reach { probe: HttpProbe::start(context, config)?, outbound })
    }
}

impl Context {
    /// A guest that may reach `origin`, under wharf's defaults.
    fn reach(&self, origin: &Origin) -> CaseResult<Reach> {
        self.net().allow(&origin.base()).reach(self)
    }
}

impl Reach {
    /// The guest sends `req`, reads the whole response and closes it; gives status and body.
    fn send(&mut self, req: &Req<'_>) -> CaseResult<(u16, Vec<u8>)> {
        let (status, handle) = self.probe.open(req)?;
        let body = self.probe.read_all(handle)?;
        self.probe.close(handle)?;
        Ok((status, body))
    }

    /// The guest gets `url`, which must answer 200; gives the body.
    fn get(&mut self, url: &str) -> CaseResult<Vec<u8>> {
        let (status, body) = self.send(&Req::get(url))?;
        check_eq!(status, 200, "the status of {url}");
        Ok(body)
    }

    /// The guest sends `req`, which must fail with `code` and leave nothing open.
    fn fails(&mut self, req: &Req<'_>, code: ErrorCode) -> CaseResult {
        let url = String::from_utf8_lossy(req.url).into_owned();
        check_eq!(self.probe.req(req)?, code as u32, "the code of `req` for {url}");
        check_eq!(self.probe.probe.session.open_responses(), 0, "responses open after the failure");
        Ok(())
    }

    /// The guest may not go to `url`.
    fn denied(&mut self, url: &str) -> CaseResult {
        self.fails(&Req::get(url), ErrorCode::DestinationNotAllowed)
    }

    /// The guest sends `req`, which is answered; but its body must break off instead of ending. Gives what came before.
    fn breaks(&mut self, req: &Req<'_>) -> CaseResult<Vec<u8>> {
        let (_, handle) = self.probe.open(req)?;
        self.breaks_off(handle)
    }

    /// The body of an open response must break off instead of ending. Gives what came before, and closes it.
    fn breaks_off(&mut self, handle: u32) -> CaseResult<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            match self.probe.read(handle, at::BUFFER_LEN)? {
                (0, bytes) if bytes.is_empty() => {
                    return Err(Unmet::failed(format!(
                        "a body that broke off ended like a whole one, after {} bytes",
                        body.len()
                    )));
                }
                (0, bytes) => body.extend_from_slice(&bytes),
                (code, _) => {
                    check_eq!(code, ErrorCode::RequestFailed as u32, "the code of `body_read` of a broken body");
                    self.probe.close(handle)?;
                    return Ok(body);
                }
            }
            check!(body.len() <= MOST, "a body that should break off went on beyond {MOST} bytes");
        }
    }

    /// Why `req` fails, at its start or while its body is read, as [`Outbound`] tells it.
    fn reason(&self, req: &Req<'_>) -> CaseResult<HttpErrorKind> {
        self.reason_of(request(req)?)
    }

    /// [`reason`](Self::reason) of a request that no guest of this ABI can make.
    fn reason_of(&self, request: Request<Outgoing>) -> CaseResult<HttpErrorKind> {
        let exchange = async {
            let mut response = self.outbound.follow(request).await?;
            let mut total = 0;
            while let Some(chunk) = response.body_mut().chunk().await {
                total += chunk?.len();
                if total > MOST {
                    break;
                }
            }
            Ok::<_, HttpError>((response.status(), total))
        };
        match Run::default().wait(exchange)? {
            Err(error) => Ok(error.kind()),
            Ok((status, total)) => Err(Unmet::failed(format!(
                "a request that should fail was answered with {status} and a body of {total} bytes"
            ))),
        }
    }

    /// [`reason`](Self::reason), which must be `kind`.
    fn because(&self, req: &Req<'_>, kind: HttpErrorKind) -> CaseResult {
        check_eq!(self.reason(req)?, kind, "why {} fails", String::from_utf8_lossy(req.url));
        Ok(())
    }
}

/// A probe's request as core takes it.
fn request(req: &Req<'_>) -> CaseResult<Request<Outgoing>> {
    let mut request = Request::new(Outgoing::from(Bytes::copy_from_slice(req.body)));
    *request.method_mut() = http::Method::from_bytes(req.method).map_err(Unmet::harness)?;
    *request.uri_mut() = http::Uri::try_from(req.url).map_err(Unmet::harness)?;
    for line in req.headers.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let colon = line.iter().position(|byte| *byte == b':').ok_or_else(|| Unmet::harness("a line has no colon"))?;
        let name = HeaderName::from_bytes(&line[..colon]).map_err(Unmet::harness)?;
        let value = HeaderValue::from_bytes(&line[colon + 1..]).map_err(Unmet::harness)?;
        request.headers_mut().append(name, value);
    }
    Ok(request)
}

/// Answers each look-up with the next of its answers, and the last one from then on; keeps the names asked for.
struct Script {
    answers: Vec<Vec<IpAddr>>,
    asked: Mutex<Vec<String>>,
}

impl Script {
    fn new(answers: &[&[IpAddr]]) -> Arc<Self> {
        let answers = answers.iter().map(|answer| answer.to_vec()).collect();
        Arc::new(Script { answers, asked: Mutex::default() })
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait::async_trait]
impl Resolver for Script {
    async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, HttpError> {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = self.answers.get(asked.len()).or_else(|| self.answers.last()).cloned();
        asked.push(name.to_owned());
        answer.ok_or_else(|| HttpError::new(HttpErrorKind::DnsNotFound, "the case has no answer"))
    }
}

/// Reads an address that the case has as text.
fn ip(text: &str) -> CaseResult<IpAddr> {
    text.parse().map_err(|error| Unmet::harness(format!("{text}: {error}")))
}
