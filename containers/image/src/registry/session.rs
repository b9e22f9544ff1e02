//! Requests to one registry, about one repository.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, LOCATION, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use tokio::task::JoinSet;
use url::Url;
use wharf_http::sending::deadline;
use wharf_http::{HttpError, HttpErrorKind, Incoming, Outgoing};

use super::authorization::Who;
use super::body;
use super::place::{Place, shown};
use super::sending::Parts;
use crate::digest::Digest;
use crate::error::ImageError;
use crate::limits::MAX_DOCUMENT;
use crate::manifest::{Descriptor, media};
use crate::reference::Reference;
use crate::registry::ClientOptions;

/// How we are called.
const AGENT: &str = concat!("wharf/", env!("CARGO_PKG_VERSION"));

/// How many times a registry may send us elsewhere for one request.
const MAX_REDIRECTS: usize = 5;

/// The manifests that can be read here.
const MANIFESTS: [&str; 4] = [media::INDEX, media::MANIFEST, media::DOCKER_INDEX, media::DOCKER_MANIFEST];

/// What a request is, beside where it goes.
#[derive(Clone)]
pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) accept: Option<HeaderValue>,
    pub(super) content_type: Option<HeaderValue>,
    pub(super) body: Bytes,
    /// What is asked for, for messages: `the manifest 1.0 of example.com/app`.
    pub(super) what: String,
}

impl Asked {
    pub(super) fn get(what: String) -> Self {
        Asked { method: Method::GET, accept: None, content_type: None, body: Bytes::new(), what }
    }
}

pub(super) struct Session {
    pub(super) place: Place,
    pub(super) registry: String,
    pub(super) repository: String,
    /// What the repository is asked to allow: `pull` or `pull,push`.
    pub(super) actions: &'static str,
    pub(super) who: Who,
    /// What lets us in, once the registry has said what it wants.
    pub(super) authorization: Option<HeaderValue>,
    pub(super) max_guest_bytes: u64,
    timeout: Duration,
    pause: Duration,
    pub(super) ends: Instant,
}

impl Session {
    pub(super) fn open(
        options: &ClientOptions,
        reference: &Reference,
        actions: &'static str,
    ) -> Result<Self, ImageError> {
        let place = Place::of(options, reference)?;
        let registry = reference.registry().to_owned();
        let path = place.base.path();
        let repository = path.trim_start_matches("/v2/").trim_end_matches('/').to_owned();
        Ok(Session {
            place,
            registry,
            repository,
            actions,
            who: Who::Unasked(options.credentials.clone()),
            authorization: None,
            max_guest_bytes: options.max_guest_bytes,
            timeout: options.timeout,
            pause: options.pause,
            ends: deadline(options.timeout).into_std(),
        })
    }

    /// A manifest or an index, by its tag or digest, with the digest that it has.
    pub(super) async fn manifest(&mut self, name: &str) -> Result<(Bytes, Digest), ImageError> {
        let what = format!("the manifest {name} of {}/{}", self.registry, self.repository);
        let url = self.url(&format!("manifests/{name}"))?;
        let accept = HeaderValue::try_from(MANIFESTS.join(", ")).ok();
        let response = self.send(url, Asked { accept, ..Asked::get(what.clone()) }).await?;
        let response = self.expect(&what, response, &[StatusCode::OK]).await?;
        let said = response.headers().get("docker-content-digest").and_then(|value| value.to_str().ok());
        let said = said.and_then(|value| value.parse().ok());
        let content = body::read(response, &what, MAX_DOCUMENT, None, self.broken(&what)).await?;
        let found = Digest::of(&content);
        let asked = name.parse().ok();
        for expected in [asked, said].into_iter().flatten() {
            if expected != found {
                return Err(ImageError::Mismatch { what, expected, found });
            }
        }
        Ok((content, found))
    }

    /// The content of a blob of at most `limit` bytes, which is what the descriptor says.
    pub(super) async fn blob(&mut self, kind: &str, blob: &Descriptor, limit: u64) -> Result<Bytes, ImageError> {
        let what = format!("the {kind} {} of {}/{}", blob.digest, self.registry, self.repository);
        if blob.size > limit {
            return Err(ImageError::TooLarge { what, limit });
        }
        let url = self.url(&format!("blobs/{}", blob.digest))?;
        let response = self.send(url, Asked::get(what.clone())).await?;
        let response = self.expect(&what, response, &[StatusCode::OK]).await?;
        let content = body::read(response, &what, limit, Some(blob.size), self.broken(&what)).await?;
        let found = Digest::of(&content);
        if found != blob.digest {
            return Err(ImageError::Mismatch { what, expected: blob.digest, found });
        }
        Ok(content)
    }

    /// Something of the repository.
    pub(super) fn url(&self, rest: &str) -> Result<Url, ImageError> {
        // A digest has a colon, which must not be taken for the end of a scheme.
        self.place.base.join(&format!("./{rest}")).map_err(|_| ImageError::Answer {
            what: format!("{rest} of {}", self.registry),
            reason: "its URL is not valid".to_owned(),
        })
    }

    /// Sends a request, with what lets us in, and asks for that if the registry wants it. What is asked for elsewhere is
    /// fetched there.
    pub(super) async fn send(&mut self, mut url: Url, asked: Asked) -> Result<Response<Incoming>, ImageError> {
        let mut admitted = false;
        for _ in 0..=MAX_REDIRECTS {
            let mut response = self.once(&url, &asked).await?;
            if response.status() == StatusCode::UNAUTHORIZED && self.place.is_here(&url) && !admitted {
                admitted = true;
                self.authorize(response.headers(), &asked.what).await?;
                response = self.once(&url, &asked).await?;
            }
            let redirected = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
            if !redirected || !matches!(asked.method, Method::GET | Method::HEAD) {
                return Ok(response);
            }
            url = location(&url, response.headers(), &asked.what)?;
        }
        let reason = format!("it leads on for more than {MAX_REDIRECTS} times");
        Err(ImageError::Elsewhere { registry: self.registry.clone(), url: shown(&url), reason })
    }

    /// Sends one request. The registry alone gets what lets us in.
    async fn once(&mut self, url: &Url, asked: &Asked) -> Result<Response<Incoming>, ImageError> {
        let authorization = self.authorization.clone().filter(|_| self.place.is_here(url));
        self.request(url, asked, authorization).await
    }

    /// Sends one request with this authorization, wherever it goes.
    pub(super) async fn request(
        &mut self,
        url: &Url,
        asked: &Asked,
        authorization: Option<HeaderValue>,
    ) -> Result<Response<Incoming>, ImageError> {
        let outbound = self.place.outbound(url)?;
        let invalid = || ImageError::Answer { what: asked.what.clone(), reason: "its URL is not valid".to_owned() };
        let mut request = Request::builder().method(&asked.method).uri(url.as_str());
        request = request.header(USER_AGENT, AGENT);
        for (name, value) in
            [(ACCEPT, &asked.accept), (CONTENT_TYPE, &asked.content_type), (AUTHORIZATION, &authorization)]
        {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        if !matches!(asked.method, Method::GET | Method::HEAD) {
            request = request.header(CONTENT_LENGTH, asked.body.len());
        }
        let mut timeouts = outbound.limits().timeouts();
        timeouts.total = Some(self.left()?);
        timeouts.first_byte = self.pause;
        let sent = if asked.method != Method::PUT {
            let request = request.body(Outgoing::Bytes(asked.body.clone())).map_err(|_| invalid())?;
            outbound.send_with(request, timeouts).await
        } else {
            // What the system has taken of it may still be on its way, and the registry looks at the whole before it answers.
            timeouts.first_byte = Duration::MAX;
            let (body, taken) = Parts::of(asked.body.clone());
            let request = request.body(Outgoing::Stream(body.boxed_unsync())).map_err(|_| invalid())?;
            let sending = outbound.send_with(request, timeouts);
            // It ends when this is dropped.
            let mut stalled = JoinSet::new();
            stalled.spawn_on(taken.stalled(self.pause), &wharf_http::io());
            tokio::select! {
                sent = sending => sent,
                _ = stalled.join_next() => return Err(self.slow(&asked.what)),
            }
        };
        sent.map_err(|error| match error.kind() {
            HttpErrorKind::AddressProhibited if !self.place.is_here(url) => {
                self.place.elsewhere(url, "its address is not one that it may lead to")
            }
            _ => self.broken(&asked.what)(error),
        })
    }

    /// What it means that a request for `what` failed, or its answer.
    pub(super) fn broken<'a>(&'a self, what: &'a str) -> impl Fn(HttpError) -> ImageError + 'a {
        move |error| match error.kind() {
            HttpErrorKind::TotalTimeout => self.late(),
            HttpErrorKind::FirstByteTimeout | HttpErrorKind::BetweenBytesTimeout => self.slow(what),
            _ => ImageError::Http { what: what.to_owned(), source: Box::new(error) },
        }
    }

    /// Refuses an answer that has another status, with what the registry says of it.
    pub(super) async fn expect(
        &self,
        what: &str,
        response: Response<Incoming>,
        expected: &[StatusCode],
    ) -> Result<Response<Incoming>, ImageError> {
        let status = response.status();
        if expected.contains(&status) {
            return Ok(response);
        }
        let said = body::complaint(response).await;
        Err(match status {
            StatusCode::UNAUTHORIZED => self.unauthorized(what, said),
            StatusCode::FORBIDDEN => self.forbidden(what, said),
            StatusCode::NOT_FOUND => ImageError::Missing { what: what.to_owned(), said },
            status => ImageError::Status { what: what.to_owned(), status: status.as_u16(), said },
        })
    }

    /// How much time is left.
    pub(super) fn left(&self) -> Result<Duration, ImageError> {
        let left = self.ends.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(self.late()) } else { Ok(left) }
    }

    fn slow(&self, what: &str) -> ImageError {
        ImageError::Slow { what: what.to_owned(), limit: self.pause }
    }

    fn late(&self) -> ImageError {
        ImageError::Late { registry: self.registry.clone(), limit: self.timeout }
    }
}

/// Where an answer leads.
pub(super) fn location(from: &Url, headers: &HeaderMap, what: &str) -> Result<Url, ImageError> {
    let found = headers.get(LOCATION).and_then(|value| value.to_str().ok()).and_then(|text| from.join(text).ok());
    found.ok_or_else(|| ImageError::Answer {
        what: what.to_owned(),
        reason: "it leads elsewhere, and does not say validly where".to_owned(),
    })
}
