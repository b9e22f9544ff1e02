//! Waiting for clocks and descriptors.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use cap_std::fs::MetadataExt;
use rustix::event::{PollFd, PollFlags, Timespec};

use wharf_grants::InputStream;

use crate::abi::preview1::Wasi;
use crate::abi::preview1::clock::Clock;
use crate::abi::preview1::errno::{Errno, Outcome};
use crate::abi::preview1::fds::Object;
use crate::abi::preview1::rights;
use crate::abi::preview1::sock::Socket;
use crate::abi::preview1::types::{Event, known, u32_at, u64_at};
use crate::memory::Memory;
use crate::run::Waited;

/// The most subscriptions of one call, besides two for each socket that the guest may have open.
const MAX_SUBSCRIPTIONS: u32 = 4096;

/// The most of one call in any case: what it keeps for each has to stay within bounds.
const MAX_IN_ANY_CASE: u32 = 1 << 20;

/// The size of the record `subscription`.
pub(super) const SUBSCRIPTION_SIZE: u32 = 48;

const CLOCK: u8 = 0;
const FD_READ: u8 = 1;
const FD_WRITE: u8 = 2;
const ABSOLUTE: u32 = 1;

struct Subscription {
    userdata: u64,
    kind: u8,
    on: On,
}

/// What a subscription waits for.
enum On {
    /// A moment; `None` is later than the host's clock can tell.
    Clock(Option<Instant>),
    /// Input that may have to be waited for.
    Input(Arc<InputStream>),
    /// A file, or output: never waits.
    Ready { nbytes: u64, hangup: bool },
    /// A socket, which stands at this place among those that are waited for.
    Socket { socket: Arc<Socket>, at: usize },
}

/// Waits until a subscription is met, and reports all that are.
pub(super) fn oneoff(
    wasi: &Wasi,
    memory: &mut Memory<'_>,
    subscriptions: u32,
    events: u32,
    count: u32,
    nevents: u32,
) -> Outcome {
    let sockets = u32::try_from(wasi.sockets.granted().max_sockets).unwrap_or(u32::MAX);
    let most = sockets.saturating_mul(2).saturating_add(MAX_SUBSCRIPTIONS).min(MAX_IN_ANY_CASE);
    if count == 0 || count > most {
        return Err(Errno::Inval.into());
    }
    let list = memory.slice(subscriptions, count * SUBSCRIPTION_SIZE)?;
    memory.slice(events, count * Event::SIZE as u32)?;
    memory.slice(nevents, 4)?;
    let mut sockets = 0;
    let parsed = list.chunks_exact(SUBSCRIPTION_SIZE as usize).map(|bytes| parse(wasi, bytes, &mut sockets));
    let parsed = parsed.collect::<Outcome<Vec<_>>>()?;

    let first = parsed.iter().filter_map(Subscription::moment).min();
    let mut fds = parsed.iter().filter_map(Subscription::wanted).collect::<Vec<_>>();
    let met = loop {
        if !fds.is_empty() {
            now(&mut fds)?;
        }
        let met = parsed.iter().filter_map(|subscription| subscription.met(&fds)).collect::<Vec<_>>();
        if !met.is_empty() {
            break met;
        }
        if fds.is_empty() {
            wasi.run.wait_until(any_input(&parsed), first)?.transpose()?;
        } else {
            match wasi.run.wait_fds(wasi.sockets.wake_pipe()?, &mut fds, any_input(&parsed), first)?? {
                Waited::Other(input) => input?,
                Waited::Ready | Waited::Limit => {}
            }
        }
    };

    let mut at = events;
    for event in &met {
        memory.write(at, &event.encode())?;
        at = at.wrapping_add(Event::SIZE as u32);
    }
    memory.write(nevents, &(met.len() as u32).to_le_bytes())?;
    Ok(())
}

/// Asks the operating system what the sockets are ready for, without waiting.
fn now(fds: &mut [PollFd<'_>]) -> Outcome {
    loop {
        match rustix::event::poll(fds, Some(&Timespec::default())) {
            Err(rustix::io::Errno::INTR) => {}
            asked => return Ok(asked.map(drop)?),
        }
    }
}

fn parse(wasi: &Wasi, bytes: &[u8], sockets: &mut usize) -> Outcome<Subscription> {
    let (userdata, kind) = (u64_at(bytes, 0), bytes[8]);
    let on = match kind {
        CLOCK => {
            let clock = Clock::of(u32_at(bytes, 16)).map_err(|_| Errno::Inval)?;
            let timeout = u64_at(bytes, 24);
            let flags = known(u32::from(u16::from_le_bytes([bytes[40], bytes[41]])), ABSOLUTE)?;
            On::Clock(match flags {
                ABSOLUTE => clock.moment(wasi, timeout),
                _ => Instant::now().checked_add(Duration::from_nanos(timeout)),
            })
        }
        FD_READ | FD_WRITE => descriptor(wasi, u32_at(bytes, 16), kind, sockets)?,
        _ => return Err(Errno::Inval.into()),
    };
    Ok(Subscription { userdata, kind, on })
}

/// What it means to wait for a descriptor. A file is always ready; at its end it says so with `hangup`.
fn descriptor(wasi: &Wasi, fd: u32, kind: u8, sockets: &mut usize) -> Outcome<On> {
    let fd = wasi.fds.get(fd)?;
    let writes = kind == FD_WRITE;
    fd.require(if writes { rights::FD_WRITE } else { rights::FD_READ })?;
    fd.require(rights::POLL_FD_READWRITE)?;
    match &fd.object {
        Object::Input(stream) => Ok(On::Input(stream.clone())),
        Object::Output(_) => Ok(On::Ready { nbytes: 1, hangup: false }),
        Object::File(_) if writes => Ok(On::Ready { nbytes: 1, hangup: false }),
        Object::File(file) => {
            let metadata = file.file.metadata()?;
            if !metadata.is_file() {
                return Ok(On::Ready { nbytes: 1, hangup: false });
            }
            let position = io::Seek::stream_position(&mut &file.file)?;
            let nbytes = metadata.size().saturating_sub(position);
            Ok(On::Ready { nbytes, hangup: nbytes == 0 })
        }
        Object::Socket(socket) => {
            let at = *sockets;
            *sockets += 1;
            Ok(On::Socket { socket: socket.clone(), at })
        }
        Object::Dir(_) => Err(Errno::Badf.into()),
    }
}

impl Subscription {
    fn moment(&self) -> Option<Instant> {
        match self.on {
            On::Clock(moment) => moment,
            On::Input(_) | On::Ready { .. } | On::Socket { .. } => None,
        }
    }

    /// What is asked of the operating system, for a socket.
    fn wanted(&self) -> Option<PollFd<'_>> {
        match &self.on {
            On::Socket { socket, .. } => {
                let flags = if self.kind == FD_WRITE { PollFlags::OUT } else { PollFlags::IN };
                Some(PollFd::new(&**socket, flags))
            }
            On::Clock(_) | On::Input(_) | On::Ready { .. } => None,
        }
    }

    fn met(&self, fds: &[PollFd<'_>]) -> Option<Event> {
        let (nbytes, hangup) = match &self.on {
            On::Clock(moment) => {
                moment.filter(|moment| *moment <= Instant::now())?;
                (0, false)
            }
            On::Input(stream) => {
                let available = stream.available()?;
                (available as u64, available == 0)
            }
            On::Ready { nbytes, hangup } => (*nbytes, *hangup),
            On::Socket { socket, at } => socket.readiness(self.kind == FD_WRITE, fds.get(*at)?.revents())?,
        };
        Some(Event { userdata: self.userdata, kind: self.kind, nbytes, hangup })
    }
}

/// Waits for any of the inputs; for ever if there is none.
async fn any_input(subscriptions: &[Subscription]) -> io::Result<()> {
    type Wait<'a> = Pin<Box<dyn Future<Output = io::Result<()>> + Send + 'a>>;
    let mut waits = subscriptions
        .iter()
        .filter_map(|subscription| match &subscription.on {
            On::Input(stream) => Some(Box::pin(stream.ready()) as Wait<'_>),
            On::Clock(_) | On::Ready { .. } | On::Socket { .. } => None,
        })
        .collect::<Vec<_>>();
    std::future::poll_fn(|context: &mut Context<'_>| {
        let ready = waits.iter_mut().find_map(|wait| match wait.as_mut().poll(context) {
            Poll::Ready(ready) => Some(ready),
            Poll::Pending => None,
        });
        ready.map_or(Poll::Pending, Poll::Ready)
    })
    .await
}
