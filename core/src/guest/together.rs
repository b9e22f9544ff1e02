//! Several requests in one instance at a time: a task each, whose turn it is one after another, on one thread.
//!
//! What is particular to a request goes with its turn: its deadline, its grants, its context. A guest that computes beyond
//! the deadline of the request whose turn it is takes all others with it, as one that traps does. One that waits beyond it
//! loses that request only, but gets no new ones, since it may hold what is left of that.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::Context;
use std::time::Instant;

use http::Method;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use wharf_plan::{ASYNC_LIFT, CALLBACK, CONTEXT, CONTEXT_SLOTS};

use super::door::{Door, Ended, Entering, timed_out};
use super::task::{Handler, Lifted};
use super::{GuestConfig, Session};
use crate::abi::concurrent::{Code, Delivered, Event, Idle, Task, TaskKind};
use crate::abi::wasi02::canon::Outcome;
use crate::error::{Error, Kind, chain};
use crate::http::Outbound;
use crate::stop::Stop;
use crate::watch::Watchdog;
use crate::worker;

/// A request that is worked on.
struct Live {
    number: u64,
    /// What it waits for; none if its task has exited.
    waits: Option<Code>,
    /// While it is not its turn.
    task: Option<Task>,
    context: [u64; CONTEXT_SLOTS as usize],
    answers_head: bool,
    config: GuestConfig,
    outbound: Option<Outbound>,
    deadline: Option<Instant>,
    /// Whether its client is there no more, and what tells that.
    gone: bool,
    left: Leaving,
    stopped: Leaving,
    ended: Ended,
}

/// A token, and what wakes up whoever waits when it is cancelled.
struct Leaving {
    token: CancellationToken,
    cancelled: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
}

impl Leaving {
    fn new(token: CancellationToken) -> Self {
        Leaving { token, cancelled: None }
    }

    fn is_cancelled(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Wakes whoever waits when it is cancelled. Returns whether it is.
    fn watch(&mut self, context: &mut Context<'_>) -> bool {
        let token = &self.token;
        let cancelled = self.cancelled.get_or_insert_with(|| Box::pin(token.clone().cancelled_owned()));
        token.is_cancelled() || cancelled.as_mut().poll(context).is_ready()
    }
}

impl Live {
    /// Why nothing more is done for it, if it is over.
    fn over(&self, now: Instant) -> Option<Stop> {
        if self.stopped.is_cancelled() {
            return Some(Error::new(Kind::Cancelled, "the run was cancelled").into());
        }
        self.deadline.filter(|deadline| *deadline <= now).map(|_| timed_out())
    }

    /// Has whoever waits woken up when somebody leaves. Returns whether somebody has.
    fn watch(&mut self, context: &mut Context<'_>) -> bool {
        self.stopped.watch(context) || (!self.gone && self.left.watch(context))
    }

    /// The event that its callback is to be called with, if there is one.
    fn event(&mut self, turn: &mut Idle<'_>) -> Outcome<Option<Delivered>> {
        self.gone |= self.left.is_cancelled();
        let found = match self.waits {
            None => return Ok(None),
            Some(Code::Wait(set)) => turn.next_event(set)?,
            Some(Code::Yield | Code::Exit) => Some((Event::None, 0, 0)),
        };
        let unasked = |(event, ..): &Delivered| *event == Event::None;
        if found.as_ref().is_none_or(unasked) && self.gone && self.task.as_mut().is_some_and(Task::ask_to_cancel) {
            return Ok(Some((Event::Cancelled, 0, 0)));
        }
        Ok(found)
    }
}

/// What can be done next.
enum Next {
    /// A request enters.
    Enter(Box<Entering>),
    /// The callback of the request at this place is called.
    Resume(usize, Delivered),
    /// The request at this place is over.
    Over(usize, Result<(), Stop>),
    /// Nobody is inside, and nobody waits at the door.
    Nobody,
}

/// The requests of one instance, the one that has waited longest for its turn first.
struct Together<'a> {
    session: &'a mut Session,
    door: &'a Door,
    handler: Lifted,
    callback: String,
    slots: [String; CONTEXT_SLOTS as usize],
    lives: VecDeque<Live>,
    /// The number of the next.
    next: u64,
    /// Whose grants the instance has.
    turn: Option<u64>,
    /// Whether a request was given up that the guest may still have something of.
    retired: bool,
    /// Cancelled by nobody.
    never: CancellationToken,
}

impl Session {
    /// Works on the requests that come in by `door`, several at a time, until there are none.
    ///
    /// # Errors
    /// What ended the instance, and with it all requests that it worked on, each of which has been told.
    /// [`Kind::Config`] if the guest cannot: [`Guest::answers_together`](crate::Guest::answers_together).
    pub fn handle_together(&mut self, door: &Door) -> Result<(), Stop> {
        let Some(Handler::Wasi03(handler)) = self.handler.clone().filter(|_| self.together) else {
            return Err(one_at_a_time().into());
        };
        self.check_unspent()?;
        door.measure(self.linked.host.backpressure());
        let callback = format!("{CALLBACK}{}", handler.name);
        let is_task = handler.name.starts_with(ASYNC_LIFT);
        if is_task {
            self.check_callback(&handler.name, &callback)?;
        }
        let mut together = Together {
            session: self,
            door,
            handler,
            callback,
            slots: std::array::from_fn(|slot| format!("{CONTEXT}{slot}")),
            lives: VecDeque::new(),
            next: 1,
            turn: None,
            retired: false,
            never: CancellationToken::new(),
        };
        let ended = together.work(is_task);
        let (lives, retired) = (std::mem::take(&mut together.lives), together.retired);
        self.spent |= ended.is_err() || retired;
        if let Err(stop) = &ended {
            self.linked.host.close();
            let now = Instant::now();
            for live in lives {
                door.leave();
                let over = live.over(now).unwrap_or_else(|| with_the_instance(stop));
                (live.ended)(Err(over));
            }
        } else {
            self.linked.host.end03();
        }
        door.close();
        ended
    }

    /// Has the instance interrupted when the time of its run, as it is now, is over.
    fn watch_anew(&mut self) -> Result<(), Stop> {
        if self.watch.take().is_some_and(|watch| !watch.end()) {
            let why = "the guest was interrupted at the end of a request's time";
            return Err(Error::new(Kind::Timeout, why).into());
        }
        self.watch = Some(Watchdog::start(&self.run, self.instance.interrupt())?);
        Ok(())
    }
}

/// What the requests end with that are in an instance that ends, if they are not what ended it.
fn with_the_instance(stop: &Stop) -> Stop {
    let why = match stop {
        Stop::Exit(code) => format!("the guest exited with {code}"),
        Stop::Error(error) => chain(error).to_string(),
    };
    Error::new(Kind::Trap, format!("the instance ended, in which there may have been other requests: {why}")).into()
}

/// The error for a guest that answers one request at a time.
pub(crate) fn one_at_a_time() -> Error {
    let message = "only a component of one piece that exports `wasi:http/handler@0.3` and runs on wharf's own host can work on \
                   several requests in one instance at a time; give each instance one request at a time";
    Error::new(Kind::Config, message)
}

impl Together<'_> {
    fn work(&mut self, is_task: bool) -> Result<(), Stop> {
        loop {
            match self.next()? {
                Next::Nobody => return Ok(()),
                Next::Over(at, ended) => self.end(at, ended),
                Next::Enter(entering) => self.enter(*entering, is_task)?,
                Next::Resume(at, event) => {
                    let Some(live) = self.lives.remove(at) else { continue };
                    self.resume(live, event)?;
                }
            }
            worker::yield_now();
        }
    }

    /// What can be done next; waits until there is something.
    fn next(&mut self) -> Result<Next, Stop> {
        let Together { session, door, lives, retired, .. } = self;
        let (host, retired) = (session.linked.host.clone(), *retired);
        if let Some(next) = host.look(&mut *session.instance, |turn, context| look(lives, door, turn, context))? {
            return Ok(next);
        }
        // While nobody runs, what the host does for one may still have it call the guest: its allocator.
        let latest = lives.iter().map(|live| live.deadline).max_by_key(|deadline| (deadline.is_none(), *deadline));
        session.run.turn_to(latest.flatten(), self.never.clone());
        session.watch_anew()?;
        loop {
            let limit = lives.iter().filter_map(|live| live.deadline).min();
            let found = host.wait_among(&mut *session.instance, limit, |turn, context| {
                let found = look(lives, door, turn, context)?;
                if found.is_none() {
                    if lives.iter_mut().any(|live| live.watch(context)) {
                        context.waker().wake_by_ref();
                    } else if !retired {
                        door.park();
                    }
                }
                Ok(found)
            })?;
            if let Some(next) = found {
                return Ok(next);
            }
        }
    }

    /// Nothing more is done for a request.
    fn end(&mut self, at: usize, ended: Result<(), Stop>) {
        let Some(live) = self.lives.remove(at) else { return };
        if ended.is_err() {
            self.retired = true;
            self.session.linked.host.give_up(live.number);
            self.door.close();
        }
        self.door.leave();
        if self.lives.is_empty() {
            // Whoever is told that it has ended finds no way in: the instance is looked at before it gets another request.
            self.door.close_if_empty();
        }
        let Live { task, ended: tell, .. } = live;
        drop(task);
        tell(ended);
    }

    fn enter(&mut self, entering: Entering, is_task: bool) -> Result<(), Stop> {
        let Entering { request, reply, config, deadline, left, ended } = entering;
        let answers_head = request.method() == Method::HEAD;
        let begun = self.session.linked.host.begin03(request, &reply);
        let handle = match begun {
            Ok(Some(handle)) => handle,
            // It is answered, or the instance has no room for it.
            begun => {
                self.door.leave();
                drop(reply);
                ended(begun.map(drop));
                return Ok(());
            }
        };
        let declared = self.session.declared.as_ref().and_then(|declared| declared.exported(&self.handler.name));
        let task = if is_task { Task::new(TaskKind::Response(reply.clone()), declared) } else { Task::resolved() };
        let live = Live {
            number: self.next,
            waits: None,
            task: Some(task),
            context: [0; CONTEXT_SLOTS as usize],
            answers_head,
            outbound: config.outbound.as_ref().map(|outbound| outbound.clone().for_guest()),
            deadline,
            gone: false,
            left: Leaving::new(left),
            stopped: Leaving::new(config.cancel.clone()),
            config,
            ended,
        };
        self.next += 1;
        let (handler, mut slots) = (self.handler.clone(), [handle]);
        self.step(live, |session| {
            if is_task {
                session.enter(&handler.name, &mut slots)?;
                return Ok(Some(slots[0]));
            }
            session.answer_at_once(&handler, &mut slots, reply)?;
            Ok(None)
        })
    }

    fn resume(&mut self, live: Live, (event, first, second): Delivered) -> Result<(), Stop> {
        let callback = self.callback.clone();
        self.step(live, |session| {
            let slots = &mut [event as u64, first.into(), second.into()];
            session.enter(&callback, slots)?;
            Ok(Some(slots[0]))
        })
    }

    /// Calls the guest for a request. What it answers says what that waits for; nothing, that it has exited.
    fn step(
        &mut self,
        mut live: Live,
        call: impl FnOnce(&mut Session) -> Result<Option<u64>, Stop>,
    ) -> Result<(), Stop> {
        let stepped = self.turn_to(&mut live).and_then(|()| call(self.session));
        let stepped = stepped.and_then(|packed| {
            let host = &self.session.linked.host;
            let waits = match packed {
                None => None,
                Some(packed) => match Code::of(packed as u32) {
                    None => return Err(host.wrong_code(packed as u32)),
                    Some(Code::Exit) => None,
                    Some(code) => Some(code),
                },
            };
            let task = host.end_turn()?;
            if waits.is_none() && packed.is_some() && !task.is_resolved() {
                return Err(host.unresolved());
            }
            Ok((waits, task))
        });
        let (waits, task) = match stepped {
            Ok(stepped) => stepped,
            Err(stop) => return Err(self.fail(live, stop)),
        };
        live.waits = waits;
        if waits.is_some() {
            for (value, slot) in live.context.iter_mut().zip(&self.slots) {
                *value = self.session.instance.global(slot).unwrap_or_default();
            }
        }
        live.task = Some(task);
        self.lives.push_back(live);
        self.session.run.yielded();
        Ok(())
    }

    /// Tells a request that it is what ended the instance. Gives what ended it, to tell the others.
    fn fail(&mut self, live: Live, stop: Stop) -> Stop {
        let others = match &stop {
            Stop::Exit(code) => Stop::Exit(*code),
            Stop::Error(error) => Error::new(error.kind(), chain(error).to_string()).into(),
        };
        self.session.linked.host.close();
        self.door.leave();
        let Live { task, ended, .. } = live;
        drop(task);
        ended(Err(stop));
        others
    }

    /// It is this request's turn.
    fn turn_to(&mut self, live: &mut Live) -> Result<(), Stop> {
        let session = &mut *self.session;
        session.run.turn_to(live.deadline, live.stopped.token.clone());
        session.watch_anew()?;
        if self.turn.replace(live.number) != Some(live.number) {
            session.linked.turn_to(&live.config.wasi, live.outbound.clone(), &live.config.data);
        }
        for (value, slot) in live.context.iter().zip(&self.slots) {
            session.instance.set_global(slot, *value);
        }
        match live.task.take() {
            Some(task) => session.linked.host.take_turn(live.number, task, live.answers_head),
            None => Err(Error::new(Kind::Internal, "a request has no task").into()),
        }
    }
}

/// What can be done next, if there is something.
fn look(
    lives: &mut VecDeque<Live>,
    door: &Door,
    turn: &mut Idle<'_>,
    context: &mut Context<'_>,
) -> Outcome<Option<Next>> {
    if let Some(entering) = door.take(lives.is_empty(), context) {
        return Ok(Some(Next::Enter(entering)));
    }
    let now = Instant::now();
    for (at, live) in lives.iter_mut().enumerate() {
        if live.waits.is_none() && !turn.goes_on_after(live.number) {
            return Ok(Some(Next::Over(at, Ok(()))));
        }
        if let Some(stop) = live.over(now) {
            return Ok(Some(Next::Over(at, Err(stop))));
        }
        if let Some(event) = live.event(turn)? {
            return Ok(Some(Next::Resume(at, event)));
        }
    }
    Ok((lives.is_empty() && door.close_if_empty()).then_some(Next::Nobody))
}
