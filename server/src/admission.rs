//! How many requests are worked on and how many wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Lets in so many requests at a time and lets so many more wait, each for so long.
pub(crate) struct Admission {
    places: Arc<Semaphore>,
    /// How many places there are.
    all: u32,
    waiting: AtomicUsize,
    max_waiting: usize,
    patience: Duration,
}

impl Admission {
    pub(crate) fn new(places: usize, max_waiting: usize, patience: Duration) -> Self {
        // Nobody has as many threads.
        let all = u32::try_from(places).unwrap_or(u32::MAX);
        let places = Arc::new(Semaphore::new((all as usize).min(Semaphore::MAX_PERMITS)));
        Admission { places, all, waiting: AtomicUsize::new(0), max_waiting, patience }
    }

    /// A place, to be held as long as the request takes; `None` if it is full.
    pub(crate) async fn enter(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(place) = self.places.clone().try_acquire_owned() {
            return Some(place);
        }
        let _waiting = Waiting::join(&self.waiting, self.max_waiting)?;
        tokio::time::timeout(self.patience, self.places.clone().acquire_owned()).await.ok()?.ok()
    }

    /// Waits until nothing is worked on.
    pub(crate) async fn empty(&self) {
        // The semaphore is never closed.
        _ = self.places.acquire_many(self.all).await;
    }
}

/// Counted as waiting for as long as it lives.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn join(count: &'a AtomicUsize, limit: usize) -> Option<Self> {
        let joined =
            count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| (count < limit).then_some(count + 1));
        joined.ok().map(|_| Waiting(count))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn places_are_given_out_and_given_back() {
        let admission = Admission::new(1, 1, Duration::from_secs(10));
        let first = admission.enter().await.expect("an empty house");
        let (second, third) = tokio::join!(admission.enter(), async {
            let third = admission.enter().await;
            drop(first);
            third
        });
        assert!(second.is_some(), "the one that waited");
        assert!(third.is_none(), "one more than may wait");
    }

    #[tokio::test]
    async fn nobody_waits_for_ever() {
        let admission = Admission::new(1, 1, Duration::from_millis(20));
        let _first = admission.enter().await.expect("an empty house");
        assert!(admission.enter().await.is_none());
        assert_eq!(admission.waiting.load(Ordering::Relaxed), 0);
    }
}
