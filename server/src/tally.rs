//! What happens often is told once a second, with how often it happened.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// Counts one kind of event.
#[derive(Default, Clone)]
pub(crate) struct Tally(Arc<AtomicU64>);

impl Tally {
    /// Counts one more. If it is the first since the last line, `tell` gets the number a second later.
    pub(crate) fn add(&self, tell: impl FnOnce(u64) + Send + 'static) {
        if self.0.fetch_add(1, Ordering::Relaxed) == 0 {
            let count = Arc::clone(&self.0);
            tokio::spawn(async move {
                tokio::time::sleep(SECOND).await;
                tell(count.swap(0, Ordering::Relaxed));
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;

    #[tokio::test]
    async fn many_are_told_at_once() {
        let (tally, (told, mut hears)) = (Tally::default(), unbounded_channel());
        for round in [3, 2] {
            for _ in 0..round {
                let told = told.clone();
                tally.add(move |count| told.send(count).unwrap());
            }
            assert_eq!(hears.recv().await, Some(round));
        }
        assert!(hears.try_recv().is_err());
    }
}
