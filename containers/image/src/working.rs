//! Work that takes long, on a thread of its own.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};

use tokio::sync::oneshot;

/// Whether nobody waits for the work any more. Who does it has to look, again and again.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Asks for the work to end.
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it has to end.
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What comes of `work`, on a thread called `name`. It may be awaited anywhere; who drops the future stops the work, and has
/// waited for its end.
pub(crate) async fn on_thread<T: Send + 'static>(
    name: &str,
    work: impl FnOnce(&Stop) -> T + Send + 'static,
) -> io::Result<T> {
    let stop = Stop::default();
    let (sender, done) = oneshot::channel();
    let seen = stop.clone();
    let thread = Builder::new().name(name.to_owned()).spawn(move || {
        // Nobody waits for it any more if it was stopped.
        let _ = sender.send(work(&seen));
    });
    let thread = thread.map_err(|error| io::Error::new(error.kind(), format!("no thread can be started: {error}")))?;
    let _stopped = Stopped { stop, thread: Some(thread) };
    done.await.map_err(|_| io::Error::other("a defect in wharf: what does it has panicked"))
}

/// Stops the work, and waits for that, when it is dropped.
struct Stopped {
    stop: Stop,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Stopped {
    fn drop(&mut self) {
        self.stop.set();
        if let Some(thread) = self.thread.take() {
            // Whether it panicked, who waits for it has seen.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::mpsc;
    use std::task::{Context, Waker};
    use std::time::{Duration, Instant};

    use futures_executor::block_on;

    use super::*;

    #[test]
    fn work_ends_with_the_future_that_waits_for_it() {
        let (sender, ended) = mpsc::channel();
        {
            let mut working = pin!(on_thread("wharf-test", move |stop| {
                let begun = Instant::now();
                while !stop.is_set() && begun.elapsed() < Duration::from_secs(20) {
                    std::thread::sleep(Duration::from_millis(1));
                }
                sender.send(stop.is_set()).unwrap();
            }));
            assert!(working.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
        assert_eq!(ended.try_recv(), Ok(true), "it was stopped, and waited for");
    }

    #[test]
    fn what_comes_of_it_is_given() {
        let name = block_on(on_thread("wharf-test", |_| std::thread::current().name().map(str::to_owned)));
        assert_eq!(name.unwrap().as_deref(), Some("wharf-test"));
        assert!(block_on(on_thread::<()>("wharf-test", |_| panic!("as the test wants it"))).is_err());
    }
}
