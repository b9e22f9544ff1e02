//! A socket of the operating system, and how core waits for it.

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno as Os;
use rustix::net::{AddressFamily, SocketType, sockopt};

use crate::abi::preview1::Wasi;
use crate::abi::preview1::errno::{Errno, Fail, Outcome};
use crate::abi::preview1::types::Filetype;
use crate::run::Waited;

/// What a socket carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::abi::preview1) enum Carries {
    Stream,
    Datagrams,
}

/// An open socket.
pub(in crate::abi::preview1) struct Socket {
    fd: Arc<OwnedFd>,
    pub(super) carries: Carries,
    pub(super) v6: bool,
    /// Whether the embedder opened it: then other guests may have it too.
    pub(super) granted: bool,
    state: Mutex<State>,
}

/// What the guest has done to a socket.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct State {
    pub(super) bound: bool,
    pub(super) listening: bool,
    pub(super) receive_timeout: Option<Duration>,
    pub(super) send_timeout: Option<Duration>,
    /// For how many seconds the guest would have closing wait.
    pub(super) linger: Option<i32>,
}

impl Socket {
    /// Opens a socket.
    ///
    /// # Errors
    /// Those of the operating system.
    pub(super) fn open(carries: Carries, v6: bool) -> Outcome<Self> {
        let family = if v6 { AddressFamily::INET6 } else { AddressFamily::INET };
        let ty = match carries {
            Carries::Stream => SocketType::STREAM,
            Carries::Datagrams => SocketType::DGRAM,
        };
        let fd = system::open(family, ty)?;
        Socket::new(fd, carries, v6)
    }

    fn new(fd: OwnedFd, carries: Carries, v6: bool) -> Outcome<Self> {
        if carries == Carries::Stream {
            // No dialect has a name for it, and guests write what they mean to send.
            sockopt::set_tcp_nodelay(&fd, true)?;
        }
        Ok(Socket { fd: Arc::new(fd), carries, v6, granted: false, state: Mutex::default() })
    }

    /// A listener that the embedder opened.
    pub(in crate::abi::preview1) fn granted(fd: Arc<OwnedFd>) -> Self {
        let v6 = rustix::net::getsockname(&fd).is_ok_and(|address| address.address_family() == AddressFamily::INET6);
        let state = State { bound: true, listening: true, ..State::default() };
        Socket { fd, carries: Carries::Stream, v6, granted: true, state: Mutex::new(state) }
    }

    /// Accepts a connection, if one is there.
    pub(super) fn accept(&self) -> Result<OwnedFd, Os> {
        system::accept(&self.fd)
    }

    /// The socket of a connection that this one accepted.
    pub(super) fn accepted(&self, fd: OwnedFd) -> Outcome<Self> {
        Socket::new(fd, Carries::Stream, self.v6)
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(in crate::abi::preview1) fn filetype(&self) -> Filetype {
        match self.carries {
            Carries::Stream => Filetype::SocketStream,
            Carries::Datagrams => Filetype::SocketDgram,
        }
    }

    /// The address at the other end.
    ///
    /// # Errors
    /// [`Errno::Notconn`].
    pub(super) fn peer(&self) -> Outcome<SocketAddr> {
        let address = rustix::net::getpeername(self)?.ok_or(Errno::Notconn)?;
        SocketAddr::try_from(address).map_err(|_| Errno::Notconn.into())
    }

    /// The address at this end.
    ///
    /// # Errors
    /// Those of the operating system.
    pub(super) fn local(&self) -> Outcome<SocketAddr> {
        let address = rustix::net::getsockname(self)?;
        SocketAddr::try_from(address).map_err(|_| Errno::Afnosupport.into())
    }

    /// What the operating system reported of a socket: what a subscription for reading or writing is told, if it is
    /// met, as a count of bytes and whether the other end is gone.
    pub(in crate::abi::preview1) fn readiness(&self, writes: bool, events: PollFlags) -> Option<(u64, bool)> {
        let gone = PollFlags::HUP | PollFlags::ERR;
        if writes {
            return events.intersects(PollFlags::OUT | gone).then(|| (1, events.intersects(gone)));
        }
        if !events.intersects(PollFlags::IN | gone) {
            return None;
        }
        if self.state().listening {
            return Some((1, events.intersects(gone)));
        }
        let bytes = rustix::io::ioctl_fionread(self).unwrap_or(0);
        // At the end of a stream there is something to read, and it is nothing.
        let ended = self.carries == Carries::Stream && bytes == 0;
        Some((bytes, ended || events.intersects(gone) && bytes == 0))
    }

    /// Does `action` until the host is ready for it, or once if not to `wait`.
    ///
    /// # Errors
    /// What `action` fails with, [`Errno::Again`] if it would have to wait for longer than `limit`.
    pub(super) fn attempt<T>(
        &self,
        wasi: &Wasi,
        ready: PollFlags,
        wait: bool,
        limit: Option<Duration>,
        mut action: impl FnMut() -> Result<T, Os>,
    ) -> Outcome<T> {
        // A limit beyond what the clock can count to is no limit.
        let end = limit.and_then(|limit| Instant::now().checked_add(limit));
        loop {
            wasi.alive()?;
            match action() {
                Err(Os::INTR) => {}
                Err(Os::AGAIN) if wait => {
                    if !self.wait(wasi, ready, end)? {
                        return Err(Errno::Again.into());
                    }
                }
                done => return Ok(done?),
            }
        }
    }

    /// Waits until the socket is `ready`; false if `end` came first.
    ///
    /// # Errors
    /// The stop that ends the guest.
    pub(super) fn wait(&self, wasi: &Wasi, ready: PollFlags, end: Option<Instant>) -> Outcome<bool> {
        let mut fds = vec![PollFd::new(self, ready)];
        let waited = wasi.run.wait_fds(wasi.sockets.wake_pipe()?, &mut fds, std::future::pending::<()>(), end)?;
        match waited {
            Ok(Waited::Ready | Waited::Other(())) => Ok(true),
            Ok(Waited::Limit) => Ok(false),
            Err(error) => Err(Fail::from(error)),
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Descriptors that do not block and are not passed on to other programs.
#[cfg(target_os = "linux")]
mod system {
    use std::os::fd::{AsFd, OwnedFd};

    use rustix::io::Errno;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, accept_with, socket_with};

    const FLAGS: SocketFlags = SocketFlags::NONBLOCK.union(SocketFlags::CLOEXEC);

    pub(super) fn open(family: AddressFamily, ty: SocketType) -> Result<OwnedFd, Errno> {
        socket_with(family, ty, FLAGS, None)
    }

    pub(super) fn accept(listener: impl AsFd) -> Result<OwnedFd, Errno> {
        accept_with(listener, FLAGS)
    }
}

/// The same, where it takes two steps.
#[cfg(not(target_os = "linux"))]
mod system {
    use std::os::fd::{AsFd, OwnedFd};

    use rustix::io::{Errno, FdFlags, fcntl_setfd, ioctl_fionbio};
    use rustix::net::{AddressFamily, SocketType};

    pub(super) fn open(family: AddressFamily, ty: SocketType) -> Result<OwnedFd, Errno> {
        prepare(rustix::net::socket(family, ty, None)?)
    }

    pub(super) fn accept(listener: impl AsFd) -> Result<OwnedFd, Errno> {
        prepare(rustix::net::accept(listener)?)
    }

    fn prepare(fd: OwnedFd) -> Result<OwnedFd, Errno> {
        ioctl_fionbio(&fd, true)?;
        fcntl_setfd(&fd, FdFlags::CLOEXEC)?;
        Ok(fd)
    }
}
