//! Follows a request and its answer for the access log.

use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Version};
use http_body::{Body, Frame, SizeHint};
use wharf_core::message::Content;

use crate::access::{Entry, Log};
use crate::breaks::Wire;

/// Follows one request on behalf of the log, if there is one.
pub(crate) struct Passage {
    entry: Option<Entry>,
    wire: Wire,
    /// Whether its method is HEAD: then its answer has no body.
    head: bool,
    http2: bool,
}

impl Passage {
    /// A request that came in on the connection of `wire`.
    pub(crate) fn new<B>(log: Option<&Log>, peer: SocketAddr, request: &Request<B>, wire: &Wire) -> Self {
        let entry = log.map(|log| Entry::new(log, peer, request));
        let (head, http2) = (request.method() == Method::HEAD, request.version() == Version::HTTP_2);
        Passage { entry, wire: wire.clone(), head, http2 }
    }

    /// The head of its answer goes to the connection.
    pub(crate) fn answered(&mut self, status: StatusCode) {
        if let Some(entry) = &mut self.entry {
            entry.answered(status);
        }
    }

    /// So many bytes of the answer's body go to the connection.
    pub(crate) fn passed(&mut self, bytes: usize) {
        if let Some(entry) = &mut self.entry {
            entry.passed(bytes);
        }
    }

    /// All of the answer went to the connection; it is complete once that is written.
    pub(crate) fn ended(&mut self) {
        if let Some(entry) = self.entry.take() {
            self.wire.when_written(entry, self.http2);
        }
    }

    /// Waits until what went to the connection is written, or never will be.
    pub(crate) async fn written(&self) {
        self.wire.written(self.http2).await;
    }

    /// Follows an answer that goes to a connection of HTTP/1, which takes its body frame by frame.
    pub(crate) fn follow<B: Body>(mut self, response: Response<B>) -> Response<Followed<B>> {
        self.answered(response.status());
        let bodiless = Content::of_response(self.head, response.status(), None) == Content::None;
        if bodiless || response.body().is_end_stream() {
            self.ended();
        }
        response.map(|body| Followed { body, passage: self })
    }
}

/// A body that is followed to its end, or until it is given up.
pub(crate) struct Followed<B> {
    body: B,
    passage: Passage,
}

impl<B: Body<Data = Bytes> + Unpin> Body for Followed<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        let ended = match &frame {
            Poll::Pending | Poll::Ready(Some(Err(_))) => false,
            Poll::Ready(None) => true,
            Poll::Ready(Some(Ok(frame))) => {
                self.passage.passed(frame.data_ref().map_or(0, Bytes::len));
                frame.is_trailers() || self.body.is_end_stream()
            }
        };
        if ended {
            self.passage.ended();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::task::Waker;

    use http_body_util::Full;

    use super::*;

    type Lines = Arc<Mutex<Vec<(Option<StatusCode>, u64, bool)>>>;

    /// An answer whose body was taken to its end, on a connection that has not written it.
    fn sent(wire: &Wire) -> Lines {
        let lines = Lines::default();
        let told = lines.clone();
        let log: Log =
            Arc::new(move |access| told.lock().unwrap().push((access.status, access.bytes, access.complete)));
        let passage = Passage::new(Some(&log), ([127, 0, 0, 1], 1).into(), &Request::new(()), wire);
        let mut body = passage.follow(Response::new(Full::new(Bytes::from_static(b"answer")))).into_body();
        let frame = Pin::new(&mut body).poll_frame(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(frame, Poll::Ready(Some(Ok(_)))));
        lines
    }

    #[test]
    fn an_answer_is_complete_once_it_is_written() {
        let wire = Wire::default();
        wire.flushed();
        let lines = sent(&wire);
        assert!(lines.lock().unwrap().is_empty(), "it waits for its connection");
        wire.flushed();
        assert_eq!(*lines.lock().unwrap(), [(Some(StatusCode::OK), 6, true)]);
    }

    #[test]
    fn what_a_connection_has_not_written_is_not_complete() {
        let wire = Wire::default();
        let lines = sent(&wire);
        wire.close();
        assert_eq!(*lines.lock().unwrap(), [(Some(StatusCode::OK), 6, false)]);
        // What ends later is not written either.
        assert_eq!(*sent(&wire).lock().unwrap(), [(Some(StatusCode::OK), 6, false)]);
    }
}
