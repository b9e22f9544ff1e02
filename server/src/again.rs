//! A request that can be handed to a second instance, where the first could not answer it.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Request};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use wharf_core::http::{Body, HttpError};

/// The request, once the instance that it was lent to has ended.
pub(crate) struct Again {
    head: Parts,
    body: Arc<Mutex<Option<Body>>>,
}

impl Again {
    /// The request to lend, and what keeps it.
    pub(crate) fn keep(request: Request<Body>) -> (Request<Body>, Self) {
        let (head, body) = request.into_parts();
        let body = Arc::new(Mutex::new(Some(body)));
        let lent = Lent { kept: Arc::clone(&body), body: None }.boxed_unsync();
        (Request::from_parts(head.clone(), lent), Again { head, body })
    }

    /// The request, if a second instance may have it: nothing of its body was read, and doing it once more harms nobody,
    /// by its method (RFC 9110, section 9.2.2) or since the first one has sent nothing on.
    pub(crate) fn request(self, has_sent: bool) -> Option<Request<Body>> {
        if has_sent && !is_idempotent(&self.head.method) {
            return None;
        }
        let body = lock(&self.body).take()?;
        Some(Request::from_parts(self.head, body))
    }
}

fn is_idempotent(method: &Method) -> bool {
    method.is_safe() || matches!(*method, Method::PUT | Method::DELETE)
}

fn lock(body: &Mutex<Option<Body>>) -> MutexGuard<'_, Option<Body>> {
    body.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A body that is kept until it is read.
struct Lent {
    kept: Arc<Mutex<Option<Body>>>,
    body: Option<Body>,
}

impl http_body::Body for Lent {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        if self.body.is_none() {
            let mut kept = lock(&self.kept);
            // Without content it can be read as often as one likes.
            if kept.as_ref().is_some_and(|body| body.is_end_stream()) {
                return Poll::Ready(None);
            }
            let body = kept.take();
            drop(kept);
            self.body = body;
        }
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.body {
            Some(body) => body.is_end_stream(),
            None => lock(&self.kept).as_ref().is_none_or(|body| body.is_end_stream()),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            Some(body) => body.size_hint(),
            None => lock(&self.kept).as_ref().map_or_else(|| SizeHint::with_exact(0), |body| body.size_hint()),
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body::Body as _;
    use http_body_util::Full;

    use super::*;

    fn kept(method: Method, body: &'static str) -> (Request<Body>, Again) {
        let body = Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed_unsync();
        let mut request = Request::new(body);
        *request.method_mut() = method;
        request.headers_mut().insert("x-kept", http::HeaderValue::from_static("1"));
        Again::keep(request)
    }

    async fn text(request: Request<Body>) -> String {
        assert_eq!(request.headers()["x-kept"], "1");
        String::from_utf8(request.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
    }

    #[tokio::test]
    async fn a_request_is_kept_until_its_body_is_read() {
        let (lent, again) = kept(Method::POST, "all of it");
        assert_eq!((lent.body().size_hint().exact(), lent.body().is_end_stream()), (Some(9), false));
        drop(lent);
        assert_eq!(text(again.request(false).unwrap()).await, "all of it");

        let (lent, again) = kept(Method::POST, "all of it");
        assert_eq!(text(lent).await, "all of it");
        assert!(again.request(false).is_none());

        let (mut lent, again) = kept(Method::GET, "all of it");
        assert!(lent.body_mut().frame().await.is_some());
        assert!(again.request(false).is_none(), "a part of it is gone");
    }

    #[tokio::test]
    async fn no_body_is_read_as_often_as_one_likes() {
        let (lent, again) = kept(Method::GET, "");
        assert!(lent.body().is_end_stream());
        assert_eq!(text(lent).await, "");
        assert_eq!(text(again.request(true).unwrap()).await, "");
    }

    #[test]
    fn what_may_have_had_an_effect_is_not_done_twice() {
        for (method, after_sending) in [
            (Method::GET, true),
            (Method::HEAD, true),
            (Method::OPTIONS, true),
            (Method::PUT, true),
            (Method::DELETE, true),
            (Method::POST, false),
            (Method::PATCH, false),
            (Method::CONNECT, false),
        ] {
            let may = |has_sent| kept(method.clone(), "x").1.request(has_sent).is_some();
            assert_eq!((may(false), may(true)), (true, after_sending), "{method}");
        }
    }
}
