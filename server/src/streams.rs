//! The streams of an HTTP/2 connection: when there has been none for long, and which are not taken.
//!
//! hyper hands each stream to an [`Executor`]; this one counts them, and ends one whose client gives no window for the
//! response: a body that has given a frame is asked for the next one once that is on its way.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use hyper::rt::Executor;
use tokio::sync::watch;
use tokio::time::{sleep, sleep_until, timeout};

/// How much of a response is handed over at once, in bytes: what is handed over waits in memory, for as long as the
/// connection lasts, for a client that takes the rest of it only. As much as a frame that every client accepts holds
/// (RFC 9113, section 4.2).
const PIECE: usize = 16 << 10;

tokio::task_local! {
    /// What is known of the stream that is being worked on.
    static TAKEN: Arc<Taken>;
}

/// Runs the streams of one connection.
#[derive(Clone)]
pub(crate) struct Streams {
    open: watch::Sender<usize>,
    patience: Duration,
}

impl Streams {
    /// Streams none of whose response may be taken for so long.
    pub(crate) fn new(patience: Duration) -> Self {
        Streams { open: watch::Sender::new(0), patience }
    }

    /// Waits until no stream has been open for so long.
    pub(crate) async fn idle(&self, limit: Duration) {
        let mut open = self.open.subscribe();
        loop {
            // The sender is here: neither of these fails.
            if *open.borrow_and_update() > 0 {
                _ = open.changed().await;
            } else if timeout(limit, open.changed()).await.is_err() {
                return;
            }
        }
    }

    /// Has `response` watched over, within the stream that it answers.
    pub(crate) fn watch<B>(response: Response<B>) -> Response<Watched<B>> {
        let taken = TAKEN.try_with(Arc::clone).unwrap_or_default();
        taken.set(Some(Instant::now()));
        response.map(|body| Watched { body, rest: Bytes::new(), taken })
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let open = Open::new(&self.open);
        let (taken, patience) = (Arc::<Taken>::default(), self.patience);
        let stream = TAKEN.scope(Arc::clone(&taken), stream);
        tokio::spawn(async move {
            let _open = open;
            tokio::select! {
                biased;
                () = stream => {}
                // Dropped, it is reset.
                () = taken.stalls(patience) => tracing::debug!("a client took none of a response for {patience:?}"),
            }
        });
    }
}

/// Counted as open for as long as it lives.
struct Open(watch::Sender<usize>);

impl Open {
    fn new(open: &watch::Sender<usize>) -> Self {
        open.send_modify(|open| *open += 1);
        Open(open.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.send_modify(|open| *open -= 1);
    }
}

/// Since when a stream waits for its client to take what it was given; `None` while it waits for the guest.
#[derive(Default)]
struct Taken(Mutex<Option<Instant>>);

impl Taken {
    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, since: Option<Instant>) {
        *self.lock() = since;
    }

    /// Waits until the client has taken nothing for so long.
    async fn stalls(&self, patience: Duration) {
        loop {
            let since = *self.lock();
            match since.map(|since| since.checked_add(patience)) {
                Some(Some(end)) if end <= Instant::now() => return,
                Some(Some(end)) => sleep_until(end.into()).await,
                // If it begins to wait for the client meanwhile, it has waited for less when this ends.
                _ => sleep(patience).await,
            }
        }
    }
}

/// A body of which it is known when it is asked for more.
pub(crate) struct Watched<B> {
    body: B,
    /// What is left of a frame that was given in part.
    rest: Bytes,
    taken: Arc<Taken>,
}

impl<B: Body<Data = Bytes> + Unpin> Body for Watched<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let mut polled = if self.rest.is_empty() {
            Pin::new(&mut self.body).poll_frame(context)
        } else {
            Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.rest)))))
        };
        if let Poll::Ready(Some(Ok(frame))) = &mut polled
            && let Some(data) = frame.data_mut().filter(|data| data.len() > PIECE)
        {
            self.rest = data.split_off(PIECE);
        }
        self.taken.set(polled.is_ready().then(Instant::now));
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, mut hint) = (self.rest.len() as u64, self.body.size_hint());
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint.set_lower(hint.lower().saturating_add(rest));
        hint
    }
}
