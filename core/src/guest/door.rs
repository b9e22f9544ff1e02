//! The way into an instance that works on several requests at a time: whoever has a request leaves it there, and the
//! instance's thread takes it.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};
use std::time::Instant;

use tokio_util::sync::CancellationToken;

use super::GuestConfig;
use crate::abi::wasi02::http::Reply;
use crate::error::{Error, Kind};
use crate::http::Body;
use crate::stop::Stop;

/// Is told how the work on a request ended.
pub type Ended = Box<dyn FnOnce(Result<(), Stop>) + Send>;

/// A request that is to enter an instance in which others may be.
pub struct Entering {
    /// The request.
    pub request: http::Request<Body>,
    /// Where its response goes.
    pub reply: Reply,
    /// What it is granted. Its token ends the work on it, whatever the guest says to that.
    pub config: GuestConfig,
    /// When the work on it has to have ended: the configuration's time limit, from when the request was there.
    pub deadline: Option<Instant>,
    /// Cancelled when its client leaves: a guest that has not answered yet is asked to cancel its task; one that has goes on.
    pub left: CancellationToken,
    /// Is told how it ended.
    pub ended: Ended,
}

impl Entering {
    /// Says that nothing more will be done for it.
    pub fn end(self, ended: Result<(), Stop>) {
        let Entering { request, reply, ended: tell, .. } = self;
        drop((request, reply));
        tell(ended);
    }

    /// Why there is no use in it, if there is none any more.
    pub fn over(&self) -> Option<Stop> {
        if self.left.is_cancelled() || self.config.cancel.is_cancelled() {
            return Some(Error::new(Kind::Cancelled, "nothing waits for the answer any more").into());
        }
        self.deadline.filter(|deadline| *deadline <= Instant::now()).map(|_| timed_out())
    }
}

impl fmt::Debug for Entering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entering")
            .field("uri", self.request.uri())
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

/// What a request ends with whose time is over.
pub(crate) fn timed_out() -> Stop {
    Error::new(Kind::Timeout, "the guest ran longer than its time limit").into()
}

/// Takes a request that an instance has no use for.
type Elsewhere = Box<dyn Fn(Box<Entering>) + Send + Sync>;

/// The way into one instance, for as long as it works on requests without a pause.
///
/// [`HostedSession::handle_together`](crate::HostedSession::handle_together) takes requests from it. While the guest has
/// backpressure on, none enters: those that wait are given to `elsewhere`, and so are those that are left when the instance
/// ends.
pub struct Door {
    inner: Mutex<Inner>,
    /// How many may be inside at a time.
    at_once: u32,
    elsewhere: Elsewhere,
}

#[derive(Default)]
struct Inner {
    waiting: VecDeque<Box<Entering>>,
    /// How many are worked on.
    inside: u32,
    /// How many have entered.
    entered: u32,
    /// How many may yet.
    left: u32,
    closed: bool,
    /// Whether the instance's thread waits.
    parked: bool,
    waker: Option<Waker>,
    /// Whether the guest has backpressure on.
    backpressure: Arc<AtomicBool>,
}

impl Inner {
    fn is_refused(&self) -> bool {
        self.backpressure.load(Ordering::Acquire)
    }
}

impl Door {
    /// One through which `most` requests may pass, `at_once` of them at a time. Those that cannot be taken go to
    /// `elsewhere`, which must not block.
    pub fn new(at_once: u32, most: u32, elsewhere: impl Fn(Box<Entering>) + Send + Sync + 'static) -> Arc<Self> {
        let inner = Mutex::new(Inner { left: most, ..Inner::default() });
        Arc::new(Door { inner, at_once, elsewhere: Box::new(elsewhere) })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a request in, to enter as soon as it is its turn. It is given back if the instance is not to have it: it has
    /// had as many as it may, has enough at the moment, refuses new ones, or is about to end.
    ///
    /// # Errors
    /// The request.
    pub fn offer(&self, entering: Box<Entering>) -> Result<(), Box<Entering>> {
        let mut inner = self.lock();
        let busy = inner.inside as usize + inner.waiting.len() >= self.at_once as usize;
        if inner.closed || inner.left == 0 || busy || inner.is_refused() {
            return Err(entering);
        }
        inner.left -= 1;
        inner.waiting.push_back(entering);
        let waker = inner.waker.take();
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    /// Whether the instance waits for something, so that a request can enter at once.
    pub fn is_waiting(&self) -> bool {
        let inner = self.lock();
        inner.parked && inner.waiting.is_empty() && !inner.closed
    }

    /// How many requests are inside, or wait at the door.
    pub fn load(&self) -> usize {
        let inner = self.lock();
        inner.inside as usize + inner.waiting.len()
    }

    /// How many have entered.
    pub fn entered(&self) -> u32 {
        self.lock().entered
    }

    /// From now on it is this that says whether the guest has backpressure on.
    pub(crate) fn measure(&self, backpressure: Arc<AtomicBool>) {
        self.lock().backpressure = backpressure;
    }

    /// The next request, if one may enter. Nobody is in the instance if it is `empty`: then nobody could end the guest's
    /// backpressure.
    pub(crate) fn take(&self, empty: bool, context: &Context<'_>) -> Option<Box<Entering>> {
        loop {
            let mut inner = self.lock();
            inner.parked = false;
            let Some(next) = inner.waiting.pop_front() else {
                inner.waker = Some(context.waker().clone());
                return None;
            };
            let over = match next.over() {
                None if !inner.is_refused() => {
                    inner.inside += 1;
                    inner.entered += 1;
                    return Some(next);
                }
                over => over,
            };
            inner.left += 1;
            drop(inner);
            match over {
                Some(over) => next.end(Err(over)),
                None if empty => {
                    let message = "the guest has backpressure on and works on nothing, so no request can ever enter it";
                    next.end(Err(Error::new(Kind::Guest, message).into()));
                }
                None => (self.elsewhere)(next),
            }
        }
    }

    /// The instance's thread is about to wait.
    pub(crate) fn park(&self) {
        self.lock().parked = true;
    }

    /// A request is no longer inside.
    pub(crate) fn leave(&self) {
        self.lock().inside -= 1;
    }

    /// Lets nobody in any more if nobody waits there; says whether it is closed.
    pub(crate) fn close_if_empty(&self) -> bool {
        let mut inner = self.lock();
        inner.closed |= inner.waiting.is_empty();
        inner.closed
    }

    /// Lets nobody in any more. Who waits goes elsewhere.
    pub fn close(&self) {
        let mut inner = self.lock();
        inner.closed = true;
        let waiting = std::mem::take(&mut inner.waiting);
        drop(inner);
        waiting.into_iter().for_each(&self.elsewhere);
    }
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door").field("at_once", &self.at_once).field("load", &self.load()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use http_body_util::{BodyExt, Empty};

    use super::*;

    type Told = Receiver<Result<(), Stop>>;

    fn entering() -> (Box<Entering>, Told) {
        let body = Empty::new().map_err(|never: std::convert::Infallible| match never {}).boxed_unsync();
        let (tell, told) = channel();
        let entering = Entering {
            request: http::Request::new(body),
            reply: Reply::channel().0,
            config: GuestConfig::default(),
            deadline: None,
            left: CancellationToken::new(),
            ended: Box::new(move |ended| tell.send(ended).unwrap()),
        };
        (Box::new(entering), told)
    }

    /// A door, and what was sent elsewhere.
    fn door(at_once: u32, most: u32) -> (Arc<Door>, Receiver<Box<Entering>>) {
        let (sent, elsewhere) = channel();
        (Door::new(at_once, most, move |entering| sent.send(entering).unwrap()), elsewhere)
    }

    fn take(door: &Door, empty: bool) -> Option<Box<Entering>> {
        door.take(empty, &Context::from_waker(Waker::noop()))
    }

    fn kind(told: &Told) -> Option<Kind> {
        match told.try_recv() {
            Ok(Err(Stop::Error(error))) => Some(error.kind()),
            _ => None,
        }
    }

    #[test]
    fn no_more_pass_than_may() {
        let (door, _elsewhere) = door(2, 3);
        assert!(door.offer(entering().0).is_ok() && door.offer(entering().0).is_ok());
        assert!(door.offer(entering().0).is_err(), "two are there");
        assert!(take(&door, true).is_some() && take(&door, false).is_some() && take(&door, false).is_none());
        assert!(door.offer(entering().0).is_err(), "two are inside");
        door.leave();
        assert!(door.offer(entering().0).is_ok());
        assert!(take(&door, false).is_some());
        door.leave();
        assert!(door.offer(entering().0).is_err(), "three have passed");
        assert_eq!((door.entered(), door.load()), (3, 1));
    }

    #[test]
    fn who_left_while_it_waited_does_not_count() {
        let (door, _elsewhere) = door(1, 1);
        let (gone, told) = entering();
        gone.left.cancel();
        let (mut late, told_late) = entering();
        late.deadline = Some(Instant::now());
        for (entering, told, expected) in [(gone, told, Kind::Cancelled), (late, told_late, Kind::Timeout)] {
            assert!(door.offer(entering).is_ok());
            assert!(take(&door, true).is_none());
            assert_eq!(kind(&told), Some(expected));
        }
        assert!(door.offer(entering().0).is_ok(), "nobody has passed");
    }

    #[test]
    fn backpressure_sends_who_waits_elsewhere() {
        let (door, elsewhere) = door(4, 4);
        let backpressure = Arc::new(AtomicBool::new(false));
        door.measure(backpressure.clone());
        assert!(door.offer(entering().0).is_ok() && take(&door, true).is_some());
        assert!(door.offer(entering().0).is_ok());
        backpressure.store(true, Ordering::Release);
        assert!(door.offer(entering().0).is_err());
        assert!(take(&door, false).is_none());
        assert!(elsewhere.try_recv().is_ok());
        backpressure.store(false, Ordering::Release);
        assert!(door.offer(entering().0).is_ok());
        // Where nobody is inside, nobody could end it.
        backpressure.store(true, Ordering::Release);
        door.leave();
        let (refused, told) = entering();
        door.lock().waiting = VecDeque::from([refused]);
        assert!(take(&door, true).is_none());
        assert_eq!(kind(&told), Some(Kind::Guest));
        assert!(elsewhere.try_recv().is_err());
    }

    #[test]
    fn a_door_closes_behind_the_last() {
        let (door, elsewhere) = door(4, 4);
        assert!(door.offer(entering().0).is_ok());
        assert!(!door.close_if_empty(), "one waits");
        door.park();
        assert!(!door.is_waiting());
        door.close();
        assert!(elsewhere.try_recv().is_ok());
        assert!(door.offer(entering().0).is_err() && door.close_if_empty());
    }
}
