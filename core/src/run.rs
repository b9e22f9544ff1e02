//! How long a guest may run, and how core waits on its behalf.
//!
//! No engine can interrupt a blocked host function, so every wait of core goes through [`Run::wait`], which ends at the
//! run's deadline or when the embedder cancels. Waiting parks the calling thread and never enters a runtime: it works
//! from a plain thread, a multi-thread tokio and a current-thread tokio alike. On a thread whose other tasks must go on
//! meanwhile, another one takes them over first ([`on_worker`](crate::on_worker)). The I/O itself is driven by threads
//! of wharf's own ([`crate::io`]). Sockets of a guest are the exception: the guest's thread waits for them itself, in the
//! operating system ([`Run::wait_fds`]), so that no other thread has to wake up for each of their events.

use std::fmt;
use std::future::Future;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Kind};
use crate::stop::Stop;
use crate::worker;

/// After how long it is looked again at whether a guest's output is still under way.
const BUSY: Duration = Duration::from_millis(1);

/// One guest's time: its deadline and its cancel token. Clones share both.
#[derive(Debug, Clone, Default)]
pub struct Run(Arc<Mutex<Time>>);

#[derive(Default)]
struct Time {
    cancel: CancellationToken,
    deadline: Option<Instant>,
    kept: Vec<Weak<dyn Kept>>,
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kept = self.kept.len();
        f.debug_struct("Time").field("deadline", &self.deadline).field("kept", &kept).finish_non_exhaustive()
    }
}

/// What is kept back on a guest's behalf until it waits for something.
pub trait Kept: Send + Sync {
    /// The guest is about to wait.
    fn let_go(self: Arc<Self>);
}

impl Run {
    /// A run without a deadline, cancelled by `cancel`.
    pub fn new(cancel: CancellationToken) -> Self {
        Run(Arc::new(Mutex::new(Time { cancel, ..Time::default() })))
    }

    fn time(&self) -> MutexGuard<'_, Time> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts anew, with another deadline and token.
    pub(crate) fn reset(&self, deadline: Option<Instant>, cancel: CancellationToken) {
        *self.time() = Time { cancel, deadline, ..Time::default() };
    }

    /// Goes on with another deadline and token; what is kept stays kept.
    pub(crate) fn turn_to(&self, deadline: Option<Instant>, cancel: CancellationToken) {
        let mut time = self.time();
        (time.deadline, time.cancel) = (deadline, cancel);
    }

    /// Sets the moment at which the guest must have ended.
    pub fn set_deadline(&self, deadline: Option<Instant>) {
        self.time().deadline = deadline;
    }

    /// The moment at which the guest must have ended.
    pub fn deadline(&self) -> Option<Instant> {
        self.time().deadline
    }

    /// Ends every wait of this guest when it is cancelled.
    pub fn cancel_token(&self) -> CancellationToken {
        self.time().cancel.clone()
    }

    /// Why the run is over, if it is.
    pub fn over(&self) -> Option<Stop> {
        let time = self.time();
        if time.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            Some(Stop::Error(Error::new(Kind::Timeout, "the guest ran longer than its time limit")))
        } else if time.cancel.is_cancelled() {
            Some(Stop::Error(Error::new(Kind::Cancelled, "the run was cancelled")))
        } else {
            None
        }
    }

    /// Releases `kept` when the guest waits next, once.
    pub fn keep(&self, kept: Arc<impl Kept + 'static>) {
        let kept: Arc<dyn Kept> = kept;
        let mut time = self.time();
        if time.kept.len() == time.kept.capacity() {
            time.kept.retain(|kept| kept.strong_count() > 0);
        }
        time.kept.push(Arc::downgrade(&kept));
    }

    /// Releases what is kept for a guest that lets others go on, without waiting for them.
    pub(crate) fn yielded(&self) {
        self.let_go();
    }

    fn let_go(&self) {
        let kept = std::mem::take(&mut self.time().kept);
        kept.iter().filter_map(Weak::upgrade).for_each(Kept::let_go);
    }

    /// Waits for `future`, or until the run is over.
    ///
    /// # Errors
    /// The [`Stop`] that ends the guest.
    pub fn wait<T>(&self, future: impl Future<Output = T>) -> Result<T, Stop> {
        self.wait_until(future, None).map(|value| value.expect("without a limit of its own a wait ends with a value"))
    }

    /// The same for a future that drives a guest. While `busy`, it may wait for its own output, and lets go of nothing.
    ///
    /// # Errors
    /// The [`Stop`] that ends the guest.
    pub fn drive<T>(&self, future: impl Future<Output = T>, busy: impl Fn() -> bool) -> Result<T, Stop> {
        let driven = self.wait_unless(future, None, busy)?;
        Ok(driven.expect("without a limit of its own a wait ends with a value"))
    }

    /// Waits for `future` for at most `limit`; `None` means that `limit` passed first.
    ///
    /// # Errors
    /// The [`Stop`] that ends the guest.
    pub fn wait_until<T>(&self, future: impl Future<Output = T>, limit: Option<Instant>) -> Result<Option<T>, Stop> {
        self.wait_unless(future, limit, || false)
    }

    fn wait_unless<T>(
        &self,
        future: impl Future<Output = T>,
        limit: Option<Instant>,
        busy: impl Fn() -> bool,
    ) -> Result<Option<T>, Stop> {
        let unpark = Arc::new(Unpark { thread: std::thread::current(), woken: AtomicBool::new(false) });
        let waker = Waker::from(unpark.clone());
        let mut context = Context::from_waker(&waker);
        // Within a task of tokio's, its budget would make a ready future pending, and nobody would wake this thread.
        let mut future = pin!(tokio::task::coop::unconstrained(future));
        let cancel = self.cancel_token();
        let mut cancelled = pin!(tokio::task::coop::unconstrained(cancel.cancelled()));
        loop {
            // Before it is looked at: what woke this thread up is no reason not to let go of what comes of it.
            unpark.woken.store(false, Ordering::Release);
            if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
                return Ok(Some(value));
            }
            let _registered = Pin::new(&mut cancelled).as_mut().poll(&mut context);
            if let Some(stop) = self.over() {
                return Err(stop);
            }
            let now = Instant::now();
            if limit.is_some_and(|limit| limit <= now) {
                return Ok(None);
            }
            let mut again = None;
            // What was polled may have waited itself, by which the thread's token is gone: the flag decides.
            let woken = unpark.woken.load(Ordering::Acquire);
            if !woken {
                if busy() {
                    again = now.checked_add(BUSY);
                } else {
                    self.let_go();
                }
            }
            let end = [limit, self.deadline(), again].into_iter().flatten().min();
            worker::off_worker(|| match end {
                _ if woken => {}
                Some(end) => std::thread::park_timeout(end.saturating_duration_since(now)),
                None => std::thread::park(),
            });
        }
    }

    /// Sleeps for `duration`, or until the run is over.
    ///
    /// # Errors
    /// The [`Stop`] that ends the guest.
    pub fn sleep(&self, duration: Duration) -> Result<(), Stop> {
        match Instant::now().checked_add(duration) {
            Some(end) => self.wait_until(std::future::pending::<()>(), Some(end)).map(|_| ()),
            None => self.wait(std::future::pending::<()>()),
        }
    }
}

/// What a wait for descriptors ended with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Waited<T> {
    /// At least one descriptor is ready, as its flags say.
    Ready,
    /// The future is.
    Other(T),
    /// The limit passed first.
    Limit,
}

impl Run {
    /// Waits until one of `fds` is ready, or `other` is, or `limit` passes, or the run is over.
    ///
    /// # Errors
    /// The [`Stop`] that ends the guest; inside, what the operating system says to waiting for these descriptors.
    pub(crate) fn wait_fds<'a, T>(
        &self,
        wake_pipe: &'a Arc<WakePipe>,
        fds: &mut Vec<PollFd<'a>>,
        other: impl Future<Output = T>,
        limit: Option<Instant>,
    ) -> Result<io::Result<Waited<T>>, Stop> {
        let waker = Waker::from(wake_pipe.clone());
        let mut context = Context::from_waker(&waker);
        let mut other = pin!(tokio::task::coop::unconstrained(other));
        let cancel = self.cancel_token();
        let mut cancelled = pin!(tokio::task::coop::unconstrained(cancel.cancelled()));
        let wanted = fds.len();
        fds.push(PollFd::new(&wake_pipe.reader, PollFlags::IN));
        let end = loop {
            if let Poll::Ready(value) = other.as_mut().poll(&mut context) {
                break Ok(Ok(Waited::Other(value)));
            }
            let _registered = cancelled.as_mut().poll(&mut context);
            if let Some(stop) = self.over() {
                break Err(stop);
            }
            let now = Instant::now();
            if limit.is_some_and(|limit| limit <= now) {
                break Ok(Ok(Waited::Limit));
            }
            let end = [limit, self.deadline()].into_iter().flatten().min();
            self.let_go();
            // A time beyond what the system takes is as good as none.
            let timeout = end.and_then(|end| Timespec::try_from(end.saturating_duration_since(now)).ok());
            match worker::off_worker(|| poll(fds, timeout.as_ref())) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => break Ok(Err(error.into())),
            }
            if !fds[wanted].revents().is_empty() {
                wake_pipe.drain();
            }
            if fds[..wanted].iter().any(|fd| !fd.revents().is_empty()) {
                break Ok(Ok(Waited::Ready));
            }
        };
        fds.truncate(wanted);
        end
    }
}

/// Wakes a thread that waits for descriptors: a byte in it makes one more of them ready.
pub(crate) struct WakePipe {
    writer: UnixStream,
    reader: UnixStream,
}

impl WakePipe {
    /// # Errors
    /// If the process has no descriptors left.
    pub(crate) fn new() -> io::Result<Arc<Self>> {
        let (writer, reader) = UnixStream::pair()?;
        writer.set_nonblocking(true)?;
        reader.set_nonblocking(true)?;
        Ok(Arc::new(WakePipe { writer, reader }))
    }

    fn drain(&self) {
        let mut read = [0; 64];
        while matches!((&self.reader).read(&mut read), Ok(count) if count == read.len()) {}
    }
}

impl Wake for WakePipe {
    fn wake(self: Arc<Self>) {
        // If there is no room for one more byte, it is readable already.
        let _ = (&self.writer).write(&[0]);
    }
}

struct Unpark {
    thread: Thread,
    /// Whether there is something to look at before the thread parks.
    woken: AtomicBool,
}

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::http::{Limits, Outbound, Outgoing, Policy};

    /// Kept until the guest waits; wakes it up then.
    struct Flag(AtomicBool, Mutex<Option<Waker>>);

    impl Kept for Flag {
        fn let_go(self: Arc<Self>) {
            self.0.store(true, Ordering::Release);
            if let Some(waker) = self.1.lock().unwrap().take() {
                waker.wake();
            }
        }
    }

    #[test]
    fn what_is_kept_while_a_guest_waits_is_let_go_as_well() {
        let run = Run::default();
        run.set_deadline(Some(Instant::now() + Duration::from_secs(30)));
        let flag = Arc::new(Flag(AtomicBool::new(false), Mutex::default()));
        let mut polls = 0;
        let waited = run.wait(std::future::poll_fn(|context| {
            polls += 1;
            if polls == 1 {
                let waker = context.waker().clone();
                std::thread::spawn(move || {
                    std::thread::sleep(Duration::from_millis(20));
                    waker.wake();
                });
            } else if polls == 2 {
                *flag.1.lock().unwrap() = Some(context.waker().clone());
                run.keep(flag.clone());
            } else if flag.0.load(Ordering::Acquire) {
                return Poll::Ready(());
            }
            Poll::Pending
        }));
        assert!(waited.is_ok(), "{waited:?}");
    }

    #[test]
    fn a_deadline_ends_the_wait_for_a_silent_origin() {
        let origin = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", origin.local_addr().unwrap());
        let policy = Policy::builder().allow(&url).unwrap().build();
        let outbound = Outbound::with_defaults(policy, Limits::default()).unwrap();
        let run = Run::default();
        let start = Instant::now();
        run.set_deadline(Some(start + Duration::from_millis(200)));
        let request = http::Request::get(&url).body(Outgoing::empty()).unwrap();
        assert!(matches!(run.wait(outbound.send(request)), Err(Stop::Error(_))));
        assert!(start.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn a_wait_within_a_wait_takes_no_wake_away() {
        let run = Run::default();
        run.set_deadline(Some(Instant::now() + Duration::from_secs(20)));
        let once = || {
            let mut woken = false;
            std::future::poll_fn(move |context| {
                if std::mem::replace(&mut woken, true) {
                    return Poll::Ready(());
                }
                context.waker().wake_by_ref();
                Poll::Pending
            })
        };
        let mut outer = once();
        let waited = run.wait(std::future::poll_fn(|context| {
            let polled = Pin::new(&mut outer).poll(context);
            run.wait(once()).unwrap();
            run.sleep(Duration::from_millis(1)).unwrap();
            polled
        }));
        assert!(waited.is_ok(), "it waits on: {waited:?}");
    }
}
