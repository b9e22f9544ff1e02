//! Streams and futures as parameters and results of host functions.

use std::any::Any;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use wharf_plan::Passing;

use super::Pump;
use super::channel::{Channel, HostEnd, Moved, Shared, Sink, Source};
use super::ends::{self, End};
use crate::abi::wasi02::canon::{Cx, Flat, Lift, Lower, NotAResource, Outcome, Resources, Type, WitType, rule};
use crate::abi::wasi02::io;
use crate::types::ValType;

/// The most bytes of one read.
const MAX_READ: u32 = 64 << 10;

/// A value that one part of the host waits for and another will have.
pub(crate) struct Promise<T>(Arc<Mutex<Promised<T>>>);

impl<T> Clone for Promise<T> {
    fn clone(&self) -> Self {
        Promise(self.0.clone())
    }
}

/// Who will have it. Dropped unused it is none.
pub(crate) struct Settle<T>(Arc<Mutex<Promised<T>>>);

struct Promised<T> {
    /// None inside: nobody will have it.
    value: Option<Option<T>>,
    /// Whether the host is about to have it, whatever the guest does.
    begun: bool,
    waker: Option<Waker>,
}

fn promised<T>(shared: &Mutex<Promised<T>>) -> MutexGuard<'_, Promised<T>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Both sides of a promise.
pub(crate) fn promise<T>() -> (Settle<T>, Promise<T>) {
    let shared = Arc::new(Mutex::new(Promised { value: None, begun: false, waker: None }));
    (Settle(shared.clone()), Promise(shared))
}

impl<T> Settle<T> {
    /// Says that the host brings it about from now on.
    pub(crate) fn begin(&self) {
        promised(&self.0).begun = true;
    }

    /// Gives the value. Only the first counts.
    pub(crate) fn settle(&self, value: T) {
        self.end(Some(value));
    }

    fn end(&self, value: Option<T>) {
        let mut promised = promised(&self.0);
        if promised.value.is_none() {
            promised.value = Some(value);
        }
        let waker = promised.waker.take();
        drop(promised);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Drop for Settle<T> {
    fn drop(&mut self) {
        self.end(None);
    }
}

impl<T> Promise<T> {
    /// The value, once; none if nobody will have it, or it was taken.
    pub(crate) fn poll(&self, context: &mut Context<'_>) -> Poll<Option<T>> {
        let mut promised = promised(&self.0);
        match &mut promised.value {
            Some(value) => Poll::Ready(value.take()),
            None => {
                promised.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Whether it is known what comes of it.
    pub(crate) fn is_settled(&self) -> bool {
        promised(&self.0).value.is_some()
    }

    /// Whether it waits for something that only the guest can do.
    pub(crate) fn is_stuck(&self) -> bool {
        let promised = promised(&self.0);
        promised.value.is_none() && !promised.begun
    }
}

/// A `stream<u8>` whose readable end is the host's, or on its way to the guest.
pub(crate) struct ByteStream(HostEnd);

impl ByteStream {
    /// What the host writes. How it ends, other than well, is for another to tell.
    pub(crate) fn new(source: Box<dyn io::Source>, ended: impl FnOnce(Option<io::End>) + Send + 'static) -> Self {
        let source = HostBytes { source, rest: bytes::Bytes::new(), ended: Some(Box::new(ended)) };
        ByteStream(HostEnd::new(Channel::from_source(source)))
    }

    /// One that has ended.
    pub(crate) fn empty() -> Self {
        struct Nothing;
        impl io::Source for Nothing {
            fn read(&mut self, _: usize) -> Result<bytes::Bytes, io::End> {
                Err(io::End::Closed)
            }

            fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<()> {
                Poll::Ready(())
            }
        }
        ByteStream::new(Box::new(Nothing), drop)
    }

    /// What the host itself writes there, to be read by it.
    pub(crate) fn take_source(&self) -> Option<HostBytes> {
        let source = self.0.take_source()?.into_any().downcast::<HostBytes>().ok()?;
        Some(*source)
    }

    /// Has what the guest writes go to `sink`.
    pub(crate) fn read_into(&self, sink: impl Sink + 'static) {
        self.0.read_into(sink);
    }

    /// The same until the guest drops its end, whatever becomes of the host's.
    pub(crate) fn keep(self, sink: impl Sink + 'static) {
        self.0.read_into(sink);
        _ = self.0.into_shared();
    }

    /// Whether the guest has dropped its end.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.writer_dropped()
    }
}

/// Bytes that the host writes.
pub(crate) struct HostBytes {
    source: Box<dyn io::Source>,
    /// What was read, and did not fit.
    rest: bytes::Bytes,
    ended: Option<Box<dyn FnOnce(Option<io::End>) + Send>>,
}

impl HostBytes {
    /// At most `max` bytes; none at the end. With a `max` of 0, ready when there are some.
    pub(crate) fn poll_read(&mut self, max: usize, context: &mut Context<'_>) -> Poll<Option<bytes::Bytes>> {
        loop {
            if !self.rest.is_empty() {
                let len = max.min(self.rest.len());
                return Poll::Ready(Some(self.rest.split_to(len)));
            }
            if self.ended.is_none() {
                return Poll::Ready(None);
            }
            if io::unconstrained(context, |context| self.source.poll_ready(context)).is_pending() {
                return Poll::Pending;
            }
            match self.source.read(if max == 0 { 1 } else { max }) {
                Ok(bytes) => self.rest = bytes,
                Err(end) => {
                    if let Some(ended) = self.ended.take() {
                        ended(if let io::End::Closed = end { None } else { Some(end) });
                    }
                }
            }
        }
    }
}

impl Drop for HostBytes {
    fn drop(&mut self) {
        if let Some(ended) = self.ended.take() {
            ended(None);
        }
    }
}

impl Source for HostBytes {
    fn poll(&mut self, cx: &mut Cx<'_>, ptr: u32, room: u32, context: &mut Context<'_>) -> Outcome<Poll<Moved>> {
        match self.poll_read(room.min(MAX_READ) as usize, context) {
            Poll::Pending => Ok(Poll::Pending),
            Poll::Ready(None) => Ok(Poll::Ready(Moved::Ended)),
            Poll::Ready(Some(bytes)) => {
                cx.write(ptr, &bytes)?;
                Ok(Poll::Ready(Moved::Values(bytes.len() as u32)))
            }
        }
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any + Send> {
        self
    }
}

/// What makes a value that the host gives.
type Making<T> = Box<dyn FnMut(&mut Context<'_>) -> Poll<T> + Send>;

/// A `future<T>` that the host gives to the guest.
pub(crate) struct FutureOut<T> {
    make: Making<T>,
    stuck: Option<Box<dyn Fn() -> bool + Send>>,
}

impl<T: Lower + Send + 'static> FutureOut<T> {
    /// One whose value `poll` makes, once.
    pub(crate) fn new(poll: impl FnMut(&mut Context<'_>) -> Poll<T> + Send + 'static) -> Self {
        FutureOut { make: Box::new(poll), stuck: None }
    }

    /// The same, which waits for something that only the guest can do while `stuck` says so.
    pub(crate) fn stuck_while(self, stuck: impl Fn() -> bool + Send + 'static) -> Self {
        FutureOut { stuck: Some(Box::new(stuck)), ..self }
    }

    /// Whether it waits for something that only the guest can do.
    fn is_stuck(&self) -> bool {
        self.stuck.as_ref().is_some_and(|stuck| stuck())
    }

    /// The value, once.
    pub(crate) fn poll_value(&mut self, context: &mut Context<'_>) -> Poll<T> {
        (self.make)(context)
    }
}

impl<T: Lower + Send + 'static> Source for FutureOut<T> {
    fn poll(&mut self, cx: &mut Cx<'_>, ptr: u32, _: u32, context: &mut Context<'_>) -> Outcome<Poll<Moved>> {
        match io::unconstrained(context, |context| (self.make)(context)) {
            Poll::Pending => Ok(Poll::Pending),
            Poll::Ready(value) => {
                value.store(cx, ptr)?;
                Ok(Poll::Ready(Moved::Values(1)))
            }
        }
    }

    fn stuck(&self) -> bool {
        self.is_stuck()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any + Send> {
        self
    }
}

/// A `future<T>` that the guest gives to the host.
pub(crate) struct FutureIn<T> {
    /// Where the guest's value arrives, with the end that is the host's until then.
    from_guest: Option<(HostEnd, Promise<T>)>,
    from_host: Option<FutureOut<T>>,
}

impl<T: Lift + Lower + Send + 'static> FutureIn<T> {
    fn of(channel: Shared) -> Outcome<Self> {
        let end = HostEnd::new(channel);
        if let Some(source) = end.take_source() {
            return match source.into_any().downcast::<FutureOut<T>>() {
                Ok(future) => Ok(FutureIn { from_guest: None, from_host: Some(*future) }),
                Err(_) => rule("a future was given to the host that has another type"),
            };
        }
        let (settle, promise) = promise();
        end.read_into(Taking(settle));
        Ok(FutureIn { from_guest: Some((end, promise)), from_host: None })
    }

    /// The value; none if there will be none.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<T>> {
        match (&mut self.from_guest, &mut self.from_host) {
            (Some((_, promise)), _) => promise.poll(context),
            (None, Some(future)) => future.poll_value(context).map(Some),
            (None, None) => Poll::Ready(None),
        }
    }

    /// The same for the guest to read, with `missing` where there will be none. What the host gave stays what it was,
    /// however often it is passed on.
    pub(crate) fn into_out(self, missing: impl FnOnce() -> T + Send + 'static) -> FutureOut<T> {
        if let Some(future) = self.from_host {
            return future;
        }
        let (from_guest, mut missing) = (self.from_guest, Some(missing));
        let promise = from_guest.as_ref().map(|(_, promise)| promise.clone());
        let out = FutureOut::new(move |context| {
            let value = match &from_guest {
                Some((_, promise)) => std::task::ready!(promise.poll(context)),
                None => None,
            };
            // It is asked for its value once.
            value.or_else(|| missing.take().map(|missing| missing())).map_or(Poll::Pending, Poll::Ready)
        });
        out.stuck_while(move || promise.as_ref().is_some_and(Promise::is_stuck))
    }

    /// Lets the guest write it, and looks at it no more.
    pub(crate) fn forget(self) {
        if let Some((end, _)) = self.from_guest {
            _ = end.into_shared();
        }
    }

    /// Has the value go on to where another is waited for: what the guest writes by itself, what the host has with what this
    /// gives.
    pub(crate) fn pass_to(self, settle: Settle<T>) -> Option<PassedOn<T>> {
        if let Some((end, _)) = self.from_guest {
            end.read_into(Taking(settle));
            _ = end.into_shared();
            return None;
        }
        let from = self.from_host?;
        settle.begin();
        Some(PassedOn { from, settle })
    }

    /// Whether only the guest can go on with it.
    pub(crate) fn is_stuck(&self) -> bool {
        match (&self.from_guest, &self.from_host) {
            (Some((_, promise)), _) => !promise.is_settled(),
            (None, future) => future.as_ref().is_some_and(FutureOut::is_stuck),
        }
    }
}

/// A future of the host's that has its value go on to where another is waited for.
pub(crate) struct PassedOn<T> {
    from: FutureOut<T>,
    settle: Settle<T>,
}

impl<T: Lower + Send + 'static> Pump for PassedOn<T> {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.from.poll_value(context).map(|value| self.settle.settle(value))
    }

    /// Nothing ends later for it: who brings it about says so itself.
    fn stuck(&self) -> bool {
        true
    }
}

/// Takes the one value of a future.
struct Taking<T>(Settle<T>);

impl<T: Lift + Send> Sink for Taking<T> {
    fn poll(&mut self, cx: &mut Cx<'_>, ptr: u32, count: u32, _: &mut Context<'_>) -> Outcome<Poll<Moved>> {
        self.0.settle(T::load(cx, ptr)?);
        Ok(Poll::Ready(Moved::Values(count.min(1))))
    }
}

macro_rules! handle_type {
    ($(($($generic:ident: $bound:ident)?) $name:ty, |$resources:ident| $wit:expr;)*) => {$(
        impl$(<$generic: $bound>)? Type for $name {
            const SIZE: u32 = 4;
            const ALIGN: u32 = 4;
            const FLAT: usize = 1;
            const REALLOC: bool = false;

            fn flat(out: &mut Vec<ValType>) {
                out.push(ValType::I32);
            }

            fn wit($resources: &Resources) -> Result<WitType, NotAResource> {
                Ok($wit)
            }
        }
    )*};
}

handle_type! {
    () ByteStream, |_resources| WitType::Stream(Some(Box::new(WitType::U8)));
    (T: Type) FutureOut<T>, |resources| WitType::Future(T::wit(resources)?.some().map(Box::new));
    (T: Type) FutureIn<T>, |resources| WitType::Future(T::wit(resources)?.some().map(Box::new));
}

impl Lift for ByteStream {
    fn lift(cx: &mut Cx<'_>, flat: &mut Flat<'_>) -> Outcome<Self> {
        let handle = u32::lift(cx, flat)?;
        ends::give(cx, handle, Passing::Stream, 1, 1).map(|channel| ByteStream(HostEnd::new(channel)))
    }

    fn load(cx: &mut Cx<'_>, ptr: u32) -> Outcome<Self> {
        let handle = u32::load(cx, ptr)?;
        ends::give(cx, handle, Passing::Stream, 1, 1).map(|channel| ByteStream(HostEnd::new(channel)))
    }
}

/// Opens a handle for the readable end of something.
fn open(cx: &mut Cx<'_>, channel: Shared, of: Passing, size: u32, align: u32) -> Outcome<u32> {
    ends::publish(cx, End::readable(channel, of, size, align))
}

impl ByteStream {
    fn open(self, cx: &mut Cx<'_>) -> Outcome<u32> {
        open(cx, self.0.into_shared(), Passing::Stream, 1, 1)
    }
}

impl Lower for ByteStream {
    fn lower(self, cx: &mut Cx<'_>, flat: &mut Flat<'_>) -> Outcome {
        self.open(cx)?.lower(cx, flat)
    }

    fn store(self, cx: &mut Cx<'_>, ptr: u32) -> Outcome {
        self.open(cx)?.store(cx, ptr)
    }
}

impl<T: Lift + Lower + Send + 'static> Lift for FutureIn<T> {
    fn lift(cx: &mut Cx<'_>, flat: &mut Flat<'_>) -> Outcome<Self> {
        let handle = u32::lift(cx, flat)?;
        FutureIn::of(ends::give(cx, handle, Passing::Future, T::SIZE, T::ALIGN)?)
    }

    fn load(cx: &mut Cx<'_>, ptr: u32) -> Outcome<Self> {
        let handle = u32::load(cx, ptr)?;
        FutureIn::of(ends::give(cx, handle, Passing::Future, T::SIZE, T::ALIGN)?)
    }
}

impl<T: Lower + Send + 'static> Lower for FutureOut<T> {
    fn lower(self, cx: &mut Cx<'_>, flat: &mut Flat<'_>) -> Outcome {
        open(cx, Channel::from_source(self), Passing::Future, T::SIZE, T::ALIGN)?.lower(cx, flat)
    }

    fn store(self, cx: &mut Cx<'_>, ptr: u32) -> Outcome {
        open(cx, Channel::from_source(self), Passing::Future, T::SIZE, T::ALIGN)?.store(cx, ptr)
    }
}
