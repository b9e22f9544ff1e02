//! The bodies of messages: those that a guest makes, on their way to whoever sends them, and those that arrive.

use std::task::{Context, Poll, Waker};

use crate::abi::concurrent::{
    ByteStream, FutureIn, FutureOut, HostBytes, Moved, PIECES, Promise, Pump, Settle, Sink, promise,
};
use crate::abi::wasi02::canon::{Cx, Flat, Handle, Lift, Lower, NotAResource, Outcome, Own, Resources, Type, WitType};
use crate::abi::wasi02::http::ErrorCode;
use crate::abi::wasi02::http::fields::Fields;
use crate::abi::wasi02::http::incoming::{BodySource, Shared, lock};
use crate::abi::wasi02::http::outgoing::BodySink;
use crate::abi::wasi02::http::pipe::Writer;
use crate::abi::wasi02::io::{End, Sink as _};
use crate::budget::Budget;
use crate::http::keep_trailers;
use crate::message::GuestEnd;
use crate::run::Run;
use crate::types::ValType;

/// How much of what a guest writes is taken at once.
const MAX_WRITE: usize = 64 << 10;

/// What became of a message.
pub(crate) type Sent = Result<(), ErrorCode>;

/// The trailers of a message: `result<option<trailers>, error-code>`.
pub(crate) struct Trailers(pub(super) Result<Option<Fields>, ErrorCode>);

type Lifted = Result<Option<Own<Fields>>, ErrorCode>;
type Lowered = Result<Option<Handle<Fields>>, ErrorCode>;

impl Type for Trailers {
    const SIZE: u32 = Lifted::SIZE;
    const ALIGN: u32 = Lifted::ALIGN;
    const FLAT: usize = Lifted::FLAT;
    const REALLOC: bool = Lifted::REALLOC;

    fn flat(out: &mut Vec<ValType>) {
        Lifted::flat(out);
    }

    fn wit(resources: &Resources) -> Result<WitType, NotAResource> {
        Lifted::wit(resources)
    }
}

impl Lift for Trailers {
    fn lift(cx: &mut Cx<'_>, flat: &mut Flat<'_>) -> Outcome<Self> {
        Lifted::lift(cx, flat).map(|lifted| Trailers(lifted.map(|fields| fields.map(|Own(fields)| fields))))
    }

    fn load(cx: &mut Cx<'_>, ptr: u32) -> Outcome<Self> {
        Lifted::load(cx, ptr).map(|lifted| Trailers(lifted.map(|fields| fields.map(|Own(fields)| fields))))
    }
}

impl Trailers {
    fn open(self, cx: &mut Cx<'_>) -> Outcome<Lowered> {
        Ok(match self.0 {
            Ok(Some(fields)) => Ok(Some(cx.push(fields)?)),
            Ok(None) => Ok(None),
            Err(code) => Err(code),
        })
    }
}

impl Lower for Trailers {
    fn lower(self, cx: &mut Cx<'_>, flat: &mut Flat<'_>) -> Outcome {
        self.open(cx)?.lower(cx, flat)
    }

    fn store(self, cx: &mut Cx<'_>, ptr: u32) -> Outcome {
        self.open(cx)?.store(cx, ptr)
    }
}

/// The body of a message.
pub(super) enum Body {
    /// The guest makes it.
    Made(Made),
    /// It arrives.
    Arrived(Shared),
}

/// A body that the guest makes.
pub(super) struct Made {
    pub(super) contents: Option<ByteStream>,
    pub(super) trailers: FutureIn<Trailers>,
    pub(super) sent: Settle<Sent>,
}

impl Made {
    /// One of these parts, and the future of what becomes of it.
    pub(super) fn new(contents: Option<ByteStream>, trailers: FutureIn<Trailers>) -> (Self, FutureOut<Sent>) {
        let (sent, promise) = promise();
        (Made { contents, trailers, sent }, became(promise))
    }
}

/// A future of what becomes of a message: an error where nothing does.
fn became(promise: Promise<Sent>) -> FutureOut<Sent> {
    let waits = promise.clone();
    let became = FutureOut::new(move |context| {
        promise.poll(context).map(|sent| {
            let unsent = || Err(ErrorCode::InternalError(Some("the message was never sent".to_owned())));
            sent.unwrap_or_else(unsent)
        })
    });
    became.stuck_while(move || waits.is_stuck())
}

/// The stream of a body that arrives, and its trailers: they are there once the stream has ended or was dropped.
pub(super) fn arriving(arriving: &Shared, budget: &Budget) -> (ByteStream, FutureOut<Trailers>) {
    let (left, was_left) = promise::<()>();
    let stream = ByteStream::new(Box::new(BodySource(arriving.clone())), move |_| left.settle(()));
    let (shared, budget) = (arriving.clone(), budget.clone());
    let (waits, body) = (was_left.clone(), arriving.clone());
    let trailers = FutureOut::new(move |context: &mut Context<'_>| poll_trailers(&shared, &was_left, &budget, context));
    (stream, trailers.stuck_while(move || waits.is_stuck() && lock(&body).end.is_none()))
}

fn poll_trailers(shared: &Shared, left: &Promise<()>, budget: &Budget, context: &mut Context<'_>) -> Poll<Trailers> {
    let mut arriving = lock(shared);
    if arriving.end.is_none() {
        if !left.is_settled() {
            _ = left.poll(context);
            return Poll::Pending;
        }
        if arriving.poll_end(context).is_pending() {
            return Poll::Pending;
        }
    }
    let trailers = arriving.trailers.take();
    Poll::Ready(Trailers(match (&arriving.end, trailers) {
        (Some(Err(error)), _) => Err(error.into()),
        (_, None) => Ok(None),
        (_, Some(trailers)) => Fields::arrived(&trailers, budget).map(Some).map_err(ErrorCode::from),
    }))
}

/// Where a body comes from while it is sent.
enum Feed {
    /// What the guest writes goes to the message by itself.
    Guest(ByteStream),
    /// The host's, which the guest has passed on.
    Host(HostBytes),
    Done,
}

/// Where trailers come from.
enum Tail {
    Future(FutureIn<Trailers>),
    Arriving(FutureOut<Trailers>),
    Done,
}

/// A message that the guest has handed over, on its way.
pub(super) struct Transmission {
    feed: Feed,
    tail: Tail,
    sink: BodySink,
    run: Run,
    sent: Option<Settle<Sent>>,
    /// What broke it off.
    broken: Option<ErrorCode>,
}

impl Transmission {
    /// Sends `body` by `writer`.
    pub(super) fn new(body: Body, writer: Writer, cx: &Cx<'_>) -> Self {
        let sink = || BodySink { writer: writer.clone(), budget: cx.state.budget.clone() };
        let (feed, tail, sent) = match body {
            Body::Made(made) => {
                made.sent.begin();
                let feed = match made.contents {
                    None => Feed::Done,
                    Some(contents) => match contents.take_source() {
                        Some(source) => Feed::Host(source),
                        None => {
                            contents.read_into(Writing(sink()));
                            Feed::Guest(contents)
                        }
                    },
                };
                (feed, Tail::Future(made.trailers), Some(made.sent))
            }
            Body::Arrived(shared) => {
                let budget = cx.state.budget.clone();
                let source = ByteStream::new(Box::new(BodySource(shared.clone())), drop);
                let feed = source.take_source().map_or(Feed::Done, Feed::Host);
                let (settle, left) = promise::<()>();
                drop(settle);
                let tail =
                    FutureOut::new(move |context: &mut Context<'_>| poll_trailers(&shared, &left, &budget, context));
                (feed, Tail::Arriving(tail), None)
            }
        };
        Transmission { feed, tail, sink: sink(), run: cx.run(), sent, broken: None }
    }

    /// Passes on what there is. Ready when there is no more.
    fn poll_feed(&mut self, context: &mut Context<'_>) -> Poll<()> {
        for _ in 0..PIECES {
            match &mut self.feed {
                Feed::Done => return Poll::Ready(()),
                Feed::Guest(stream) => {
                    if !stream.is_closed() && self.sink.writer.room().is_some() {
                        return Poll::Pending;
                    }
                    self.feed = Feed::Done;
                }
                Feed::Host(source) => {
                    if self.sink.poll_ready(context).is_pending() {
                        return Poll::Pending;
                    }
                    match source.poll_read(MAX_WRITE, context) {
                        Poll::Pending => return Poll::Pending,
                        Poll::Ready(None) => self.feed = Feed::Done,
                        Poll::Ready(Some(bytes)) => {
                            if let Err(end) = self.sink.write(&self.run, bytes) {
                                self.broken = code_of(end);
                                self.feed = Feed::Done;
                            }
                        }
                    }
                }
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    fn settle(&mut self, sent: Sent) -> Poll<()> {
        if let Some(settle) = self.sent.take() {
            settle.settle(sent);
        }
        Poll::Ready(())
    }

    fn break_off(&mut self, code: ErrorCode) -> Poll<()> {
        self.sink.writer.end(GuestEnd::Dropped);
        self.settle(Err(code))
    }
}

fn code_of(end: End) -> Option<ErrorCode> {
    match end {
        End::Failed(error) => error.http,
        End::Closed | End::Stop(_) => Some(ErrorCode::ConnectionTerminated),
    }
}

impl Pump for Transmission {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.sink.writer.poll_gone(context).is_ready() {
            return self.break_off(ErrorCode::ConnectionTerminated);
        }
        if self.poll_feed(context).is_pending() {
            return Poll::Pending;
        }
        if let Some(code) = self.broken.take() {
            return self.break_off(code);
        }
        let trailers = match &mut self.tail {
            Tail::Done => None,
            Tail::Future(future) => match future.poll(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(trailers) => Some(trailers),
            },
            Tail::Arriving(future) => match future.poll_value(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(trailers) => Some(Some(trailers)),
            },
        };
        if let Some(trailers) = trailers {
            self.tail = Tail::Done;
            let trailers = match trailers.map(|Trailers(trailers)| trailers) {
                Some(Ok(trailers)) => trailers,
                Some(Err(code)) => return self.break_off(code),
                None => return self.break_off(ErrorCode::InternalError(Some("its trailers are missing".to_owned()))),
            };
            let trailers = trailers.map(|fields| {
                let mut trailers = fields.to_map();
                keep_trailers(&mut trailers);
                trailers
            });
            if let Err(code) = self.sink.writer.finish(trailers.filter(|trailers| !trailers.is_empty())) {
                return self.settle(Err(code));
            }
        }
        match self.sink.writer.poll_sent(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(true) => self.settle(Ok(())),
            Poll::Ready(false) => self.settle(Err(ErrorCode::ConnectionTerminated)),
        }
    }

    fn stuck(&self) -> bool {
        match (&self.feed, &self.tail) {
            (Feed::Guest(_), _) => true,
            (Feed::Done, Tail::Future(future)) => future.is_stuck(),
            _ => false,
        }
    }
}

impl Drop for Transmission {
    /// The guest has ended. After the end of a body that is nothing to it.
    fn drop(&mut self) {
        self.sink.writer.end(GuestEnd::Returned);
    }
}

/// Takes what a guest writes for a body.
struct Writing(BodySink);

impl Sink for Writing {
    fn poll(&mut self, cx: &mut Cx<'_>, ptr: u32, count: u32, context: &mut Context<'_>) -> Outcome<Poll<Moved>> {
        if self.0.poll_ready(context).is_pending() {
            return Ok(Poll::Pending);
        }
        let Ok(room) = self.0.room() else { return Ok(Poll::Ready(Moved::Ended)) };
        let count = count.min(u32::try_from(room).unwrap_or(u32::MAX));
        let bytes = bytes::Bytes::copy_from_slice(cx.memory()?.slice(ptr, count)?);
        if bytes.is_empty() {
            return Ok(Poll::Ready(Moved::Values(0)));
        }
        match self.0.write(&cx.state.run, bytes) {
            Ok(()) => Ok(Poll::Ready(Moved::Values(count))),
            Err(_) => Ok(Poll::Ready(Moved::Ended)),
        }
    }
}

/// The parts of a message, of which `res` says what becomes of it.
pub(super) fn parts(cx: &mut Cx<'_>, body: Body, res: FutureIn<Sent>) -> Outcome<(ByteStream, FutureOut<Trailers>)> {
    Ok(match body {
        Body::Arrived(shared) => {
            res.forget();
            arriving(&shared, &cx.state.budget)
        }
        Body::Made(Made { contents, trailers, sent }) => {
            if let Some(passed_on) = res.pass_to(sent) {
                cx.state.concurrent.pump(passed_on)?;
            }
            let missing = || Trailers(Err(ErrorCode::InternalError(Some("there are no trailers".to_owned()))));
            let trailers = trailers.into_out(missing);
            (contents.unwrap_or_else(ByteStream::empty), trailers)
        }
    })
}

/// Nobody to wake: what is looked at once.
pub(super) fn at_once<'a>() -> Context<'a> {
    Context::from_waker(Waker::noop())
}
