//! The origin of unit tests, which run natively: a function from requests to answers.
//!
//! ```
//! use wharf_guest::{Error, ErrorKind, mock};
//! use wharf_guest::http::{Request, Response};
//!
//! let _installed = mock::install(|request| match request.uri().host() {
//!     Some("api.example.com") => Response::new("seen").into(),
//!     _ => Error::new(ErrorKind::Denied).into(),
//! });
//! let response = wharf_guest::send(Request::get("https://api.example.com/").body(())?)?;
//! assert_eq!(response.status(), 200);
//! assert!(wharf_guest::send(Request::get("https://elsewhere.example/").body(())?).unwrap_err().is_denied());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};

use crate::{Body, Error, ErrorKind, IntoResponse, Result, Timeouts, block_on};

type Origin = Rc<RefCell<dyn FnMut(Request<Bytes>) -> Answer>>;

thread_local! {
    static ORIGIN: RefCell<Option<Origin>> = const { RefCell::new(None) };
}

/// Has `origin` answer the requests of this thread until what is returned is dropped; the one before it does so again then.
///
/// It sees a request as soon as it is started, with its whole body.
#[must_use = "the origin is gone when this is dropped"]
pub fn install(origin: impl FnMut(Request<Bytes>) -> Answer + 'static) -> Installed {
    Installed { before: ORIGIN.replace(Some(Rc::new(RefCell::new(origin)))), not_send: PhantomData }
}

/// An origin that is installed.
pub struct Installed {
    before: Option<Origin>,
    /// It belongs to its thread.
    not_send: PhantomData<*const ()>,
}

impl Drop for Installed {
    fn drop(&mut self) {
        ORIGIN.set(self.before.take());
    }
}

impl fmt::Debug for Installed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Installed").finish_non_exhaustive()
    }
}

/// How a request is answered.
#[derive(Debug)]
pub struct Answer {
    response: Result<Response<Body>>,
    takes: Duration,
}

impl Answer {
    /// The same, later. Nothing waits: a request whose [`Timeouts`] allow less fails at once.
    #[must_use]
    pub fn takes(mut self, takes: Duration) -> Self {
        self.takes = takes;
        self
    }
}

impl<B: Into<Body>> From<Response<B>> for Answer {
    fn from(response: Response<B>) -> Self {
        Answer { response: Ok(response.map(Into::into)), takes: Duration::ZERO }
    }
}

impl From<Error> for Answer {
    fn from(error: Error) -> Self {
        Answer { response: Err(error), takes: Duration::ZERO }
    }
}

/// Calls a handler as a host would: the response, with its whole body.
///
/// # Errors
/// Those of the body of the response.
pub fn call<F, O>(handler: F, request: Request<impl Into<Body>>) -> Result<Response<Bytes>>
where
    F: FnOnce(Request<Body>) -> O,
    O: Future,
    O::Output: IntoResponse,
{
    block_on(async {
        let (head, body) = handler(request.map(Into::into)).await.into_response().into_parts();
        Ok(Response::from_parts(head, body.collect(u64::MAX).await?))
    })
}

/// The origin sees the request now; whoever sent it waits a turn for the answer, as for a real one.
pub(crate) fn start(
    request: Request<Body>,
    timeouts: Timeouts,
) -> Pin<Box<dyn Future<Output = Result<Response<Body>>>>> {
    let answer = answer(request).and_then(|answer| {
        if [timeouts.first_byte, timeouts.total].into_iter().flatten().any(|most| answer.takes > most) {
            return Err(Error::new(ErrorKind::Timeout));
        }
        answer.response
    });
    Box::pin(async {
        let mut waited = false;
        std::future::poll_fn(|cx| {
            if std::mem::replace(&mut waited, true) {
                return std::task::Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            std::task::Poll::Pending
        })
        .await;
        answer
    })
}

fn answer(request: Request<Body>) -> Result<Answer> {
    let (head, body) = request.into_parts();
    let request = Request::from_parts(head, block_on(body.collect(u64::MAX))?);
    let Some(origin) = ORIGIN.with_borrow(Clone::clone) else {
        let hint =
            "no origin answers this thread: a native build has none but what `wharf_guest::mock::install` is given";
        return Err(Error::new(ErrorKind::Internal).with_source(hint));
    };
    let mut origin = origin.borrow_mut();
    Ok(origin(request))
}

/// Futures of other crates may be woken by another thread.
pub(crate) fn wait() {
    std::thread::park();
}
