//! Waiting for the host: pollables of `wasi:io`, and the futures that wait for them.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use wasip2::clocks::monotonic_clock;
use wasip2::io::poll::{Pollable, poll};

use super::super::convert::nanoseconds;
use crate::{Error, ErrorKind, Result};

thread_local! {
    /// What futures wait for, and who is to be woken.
    static WAITING: RefCell<Vec<(Rc<Pollable>, Waker)>> = const { RefCell::new(Vec::new()) };
}

/// Waits for any of what futures wait for, and wakes those.
///
/// # Panics
/// If there is nothing: the guest would wait for ever.
pub(crate) fn wait() {
    let waiting: Vec<Rc<Pollable>> =
        WAITING.with_borrow(|all| all.iter().map(|(pollable, _)| pollable.clone()).collect());
    assert!(!waiting.is_empty(), "a future waits for something that nothing will bring: it is not of this crate");
    let ready = poll(&waiting.iter().map(|pollable| &**pollable).collect::<Vec<_>>());
    let wakers: Vec<Waker> = WAITING.with_borrow(|all| {
        let ready = ready.iter().filter_map(|index| waiting.get(*index as usize));
        ready
            .filter_map(|ready| all.iter().find(|(of, _)| Rc::ptr_eq(of, ready)))
            .map(|(_, waker)| waker.clone())
            .collect()
    });
    wakers.into_iter().for_each(Waker::wake);
}

/// Waits for the host to say that something is ready.
///
/// # Errors
/// If the deadline passes first.
pub(super) async fn ready(pollable: Pollable, deadline: Option<&Deadline>) -> Result<()> {
    let wanted = Ready(Rc::new(pollable));
    let late = deadline.map(|deadline| Ready(Rc::new(deadline.subscribe())));
    poll_fn(|cx| {
        if wanted.poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        match &late {
            Some(late) if late.poll(cx).is_ready() => Poll::Ready(Err(Error::new(ErrorKind::Timeout))),
            _ => Poll::Pending,
        }
    })
    .await
}

/// When a request must be over.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline(monotonic_clock::Instant);

impl Deadline {
    pub(super) fn after(duration: Duration) -> Self {
        Deadline(monotonic_clock::now().saturating_add(nanoseconds(duration)))
    }

    pub(super) fn passed(&self) -> bool {
        monotonic_clock::now() >= self.0
    }

    fn subscribe(&self) -> Pollable {
        monotonic_clock::subscribe_instant(self.0)
    }
}

/// One thing that is waited for. It is forgotten when this is dropped, before whatever it belongs to can be.
struct Ready(Rc<Pollable>);

impl Ready {
    fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        if self.0.ready() {
            return Poll::Ready(());
        }
        WAITING.with_borrow_mut(|all| match all.iter_mut().find(|(pollable, _)| Rc::ptr_eq(pollable, &self.0)) {
            Some((_, waker)) => waker.clone_from(cx.waker()),
            None => all.push((self.0.clone(), cx.waker().clone())),
        });
        Poll::Pending
    }
}

impl Drop for Ready {
    fn drop(&mut self) {
        WAITING.with_borrow_mut(|all| all.retain(|(pollable, _)| !Rc::ptr_eq(pollable, &self.0)));
    }
}
