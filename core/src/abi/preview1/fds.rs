//! The file descriptor table.
//!
//! What a descriptor refers to is an [`Object`]. A function takes what it needs out of the table and lets go of the
//! table before it does any I/O. Sockets are in the same table as everything else, but counted separately.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cap_std::fs::{Dir, File};
use wharf_grants::{Granted, InputStream, OutputStream, Stream};

use crate::abi::preview1::dir::Listing;
use crate::abi::preview1::errno::{Errno, Outcome};
use crate::abi::preview1::rights;
use crate::abi::preview1::sock::Socket;
use crate::abi::preview1::types::FD_NONBLOCK;
use crate::budget::{Budget, Charge};

/// What an open descriptor takes: its entry, its object, and of a directory that is being listed the buffer.
const FD: u64 = 1 << 10;

/// What a socket takes, the operating system's part without what it buffers included.
const SOCKET: u64 = 4 << 10;

/// What the buffer of a directory takes while it is listed.
const LISTING: u64 = 32 << 10;

/// What a descriptor refers to.
#[derive(Clone)]
pub(super) enum Object {
    Input(Arc<InputStream>),
    Output(Arc<OutputStream>),
    File(Arc<OpenFile>),
    Dir(Arc<OpenDir>),
    Socket(Arc<Socket>),
}

/// An open file.
pub(super) struct OpenFile {
    pub(super) file: File,
    /// Whether the granted directory it was found under may be written to.
    pub(super) writable: bool,
}

impl OpenFile {
    /// The file, for something that changes it.
    ///
    /// # Errors
    /// [`Errno::Perm`] if it lies under a directory that was granted to be read only.
    pub(super) fn to_change(&self) -> Outcome<&File> {
        if self.writable { Ok(&self.file) } else { Err(Errno::Perm.into()) }
    }
}

/// An open directory.
pub(super) struct OpenDir {
    pub(super) dir: Arc<Dir>,
    /// The name a granted directory has for the guest; `None` for one that the guest opened.
    pub(super) name: Option<Arc<str>>,
    /// Whether the granted directory may be written to.
    pub(super) writable: bool,
    /// Where the guest is in reading the directory.
    pub(super) listing: Mutex<Option<Listing>>,
}

impl OpenDir {
    /// The directory, for something that changes what is in it.
    ///
    /// # Errors
    /// [`Errno::Perm`] if it was granted to be read only.
    pub(super) fn to_change(&self) -> Outcome<&Dir> {
        if self.writable { Ok(&self.dir) } else { Err(Errno::Perm.into()) }
    }
}

/// An open descriptor.
#[derive(Clone)]
pub(super) struct Fd {
    pub(super) object: Object,
    /// What may be done with it.
    pub(super) base: u64,
    /// What may be done with descriptors opened through it.
    pub(super) inheriting: u64,
    /// Its `fdflags`.
    pub(super) flags: u32,
    /// For what the guest opened itself; made when it is put into the table.
    pub(super) charge: Option<Arc<Charge>>,
}

impl Fd {
    pub(super) fn new(object: Object, base: u64, inheriting: u64) -> Self {
        Fd { object, base, inheriting, flags: 0, charge: None }
    }

    /// What it takes.
    fn cost(&self) -> u64 {
        match self.object {
            Object::Socket(_) => SOCKET,
            Object::Dir(_) => FD + LISTING,
            Object::Input(_) | Object::Output(_) | Object::File(_) => FD,
        }
    }

    /// Refuses what the descriptor has no right to: [`Errno::Badf`] for reading and writing, as POSIX specifies, else
    /// [`Errno::Notcapable`].
    pub(super) fn require(&self, right: u64) -> Outcome {
        if self.base & right == right {
            Ok(())
        } else if right & (rights::FD_READ | rights::FD_WRITE) != 0 {
            Err(Errno::Badf.into())
        } else {
            Err(Errno::Notcapable.into())
        }
    }

    /// The file it refers to.
    ///
    /// # Errors
    /// [`Errno::Badf`] if it is not one.
    pub(super) fn file(&self) -> Outcome<&Arc<OpenFile>> {
        match &self.object {
            Object::File(file) => Ok(file),
            Object::Input(_) | Object::Output(_) | Object::Dir(_) | Object::Socket(_) => Err(Errno::Badf.into()),
        }
    }

    /// The socket it refers to.
    ///
    /// # Errors
    /// [`Errno::Notsock`] if it is not one.
    pub(super) fn socket(&self) -> Outcome<&Arc<Socket>> {
        match &self.object {
            Object::Socket(socket) => Ok(socket),
            _ => Err(Errno::Notsock.into()),
        }
    }

    /// Whether a function that would have to wait does so.
    pub(super) fn waits(&self) -> bool {
        self.flags & FD_NONBLOCK == 0
    }

    /// The file it stands for, to be used at some position.
    ///
    /// # Errors
    /// [`Errno::Spipe`] if it is a stream or a socket, [`Errno::Badf`] if it is a directory.
    pub(super) fn seekable(&self) -> Outcome<&Arc<OpenFile>> {
        match &self.object {
            Object::Input(_) | Object::Output(_) | Object::Socket(_) => Err(Errno::Spipe.into()),
            Object::File(_) | Object::Dir(_) => self.file(),
        }
    }
}

/// A guest's open descriptors; the index is the number.
pub(super) struct Fds {
    table: Mutex<Vec<Option<Fd>>>,
    /// How many descriptors there may be that are not sockets.
    limit: usize,
    /// How many sockets there may be.
    socket_limit: usize,
    budget: Budget,
}

/// Which of the limits a descriptor counts towards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counted {
    Socket,
    Other,
}

impl Counted {
    fn of(fd: &Fd) -> Self {
        match fd.object {
            Object::Socket(_) => Counted::Socket,
            _ => Counted::Other,
        }
    }
}

impl Fds {
    /// The standard streams, then the granted listeners, then the granted directories.
    ///
    /// Listeners come first because guests that are given one look for it at 3, and directories are found by name.
    pub(super) fn new(granted: &Granted) -> Self {
        let network = granted.network.granted();
        let stdin = Object::Input(Arc::new(InputStream::new(granted.stdin.clone())));
        let stdout = Object::Output(Arc::new(OutputStream::new(granted.stdout.clone(), Stream::Stdout)));
        let stderr = Object::Output(Arc::new(OutputStream::new(granted.stderr.clone(), Stream::Stderr)));
        let mut table = vec![
            Some(Fd::new(stdin, rights::INPUT, 0)),
            Some(Fd::new(stdout, rights::OUTPUT, 0)),
            Some(Fd::new(stderr, rights::OUTPUT, 0)),
        ];
        for listener in &network.listeners {
            let object = Object::Socket(Arc::new(Socket::granted(listener.clone())));
            let fd = Fd::new(object, rights::LISTENER, rights::CONNECTION);
            // Guests that are given a listener expect that accepting from it does not wait, until they say otherwise.
            table.push(Some(Fd { flags: FD_NONBLOCK, ..fd }));
        }
        let listeners = network.listeners.len();
        for directory in &*granted.directories {
            let dir = OpenDir {
                dir: directory.dir.clone(),
                name: Some(directory.guest.clone()),
                writable: directory.writable,
                listing: Mutex::default(),
            };
            // A directory granted for reading shows the same rights. wasi-libc leaves out of a request what is not
            // inheritable: an open for writing would then succeed, and only the write fail.
            table.push(Some(Fd::new(Object::Dir(Arc::new(dir)), rights::DIRECTORY, rights::DIRECTORY | rights::FILE)));
        }
        let limit = granted.max_fds.max(table.len() - listeners);
        let socket_limit = network.max_sockets.max(listeners);
        Fds { table: Mutex::new(table), limit, socket_limit, budget: Budget::unlimited() }
    }

    /// What is opened from here on is charged to `budget`.
    pub(super) fn charge_to(&mut self, budget: Budget) {
        self.budget = budget;
    }

    pub(super) fn budget(&self) -> &Budget {
        &self.budget
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Option<Fd>>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The descriptor `fd`.
    ///
    /// # Errors
    /// [`Errno::Badf`].
    pub(super) fn get(&self, fd: u32) -> Outcome<Fd> {
        self.lock().get(fd as usize).and_then(Clone::clone).ok_or_else(|| Errno::Badf.into())
    }

    /// The descriptor `fd`, if it has `right`.
    ///
    /// # Errors
    /// [`Errno::Badf`], [`Errno::Notcapable`].
    pub(super) fn with(&self, fd: u32, right: u64) -> Outcome<Fd> {
        let fd = self.get(fd)?;
        fd.require(right)?;
        Ok(fd)
    }

    /// The directory `fd`, if it has `right`.
    ///
    /// # Errors
    /// [`Errno::Notdir`] for a file, [`Errno::Badf`] for a stream or nothing, [`Errno::Notcapable`].
    pub(super) fn dir(&self, fd: u32, right: u64) -> Outcome<Arc<OpenDir>> {
        self.dir_and_inheriting(fd, right).map(|(dir, _)| dir)
    }

    /// The directory `fd`, if it has `right`, and the rights that what is opened through it may have.
    ///
    /// # Errors
    /// As [`dir`](Fds::dir).
    pub(super) fn dir_and_inheriting(&self, fd: u32, right: u64) -> Outcome<(Arc<OpenDir>, u64)> {
        let fd = self.get(fd)?;
        match &fd.object {
            Object::Dir(dir) => {
                fd.require(right)?;
                Ok((dir.clone(), fd.inheriting))
            }
            Object::File(_) | Object::Socket(_) => Err(Errno::Notdir.into()),
            Object::Input(_) | Object::Output(_) => Err(Errno::Badf.into()),
        }
    }

    /// Changes the descriptor `fd`.
    ///
    /// # Errors
    /// [`Errno::Badf`], and what `change` returns.
    pub(super) fn update(&self, fd: u32, change: impl FnOnce(&mut Fd) -> Outcome) -> Outcome {
        match self.lock().get_mut(fd as usize) {
            Some(Some(fd)) => change(fd),
            _ => Err(Errno::Badf.into()),
        }
    }

    /// Refuses if there is no room for one more descriptor.
    ///
    /// # Errors
    /// [`Errno::Nfile`].
    pub(super) fn room(&self, counted: Counted) -> Outcome {
        self.check_room(&self.lock(), counted)
    }

    fn check_room(&self, table: &[Option<Fd>], counted: Counted) -> Outcome {
        let limit = match counted {
            Counted::Socket => self.socket_limit,
            Counted::Other => self.limit,
        };
        let taken = table.iter().flatten().filter(|fd| Counted::of(fd) == counted).count();
        if taken < limit { Ok(()) } else { Err(Errno::Nfile.into()) }
    }

    /// Puts `fd` at the lowest free number.
    ///
    /// # Errors
    /// [`Errno::Nfile`] if there is no room for it, [`Errno::Nomem`] if the guest has no memory left for it.
    pub(super) fn insert(&self, mut fd: Fd) -> Outcome<u32> {
        let mut table = self.lock();
        self.check_room(&table, Counted::of(&fd))?;
        fd.charge = Some(Arc::new(self.budget.charge(fd.cost()).map_err(|_| Errno::Nomem)?));
        let at = table.iter().position(Option::is_none).unwrap_or(table.len());
        if at == table.len() {
            table.push(Some(fd));
        } else {
            table[at] = Some(fd);
        }
        u32::try_from(at).map_err(|_| Errno::Nfile.into())
    }

    /// Whether the number `fd` refers to a granted directory.
    pub(super) fn granted_after(&self, fd: u32) -> bool {
        let granted = |fd: &Fd| matches!(&fd.object, Object::Dir(dir) if dir.name.is_some());
        self.lock().iter().skip(fd as usize).flatten().any(granted)
    }

    /// Frees the number `fd`. What it stood for is closed after the table is let go.
    ///
    /// # Errors
    /// [`Errno::Badf`].
    pub(super) fn close(&self, fd: u32) -> Outcome<Fd> {
        self.lock().get_mut(fd as usize).and_then(Option::take).ok_or_else(|| Errno::Badf.into())
    }

    /// Moves `from` to the number `to`, which must be open, and returns what was there.
    ///
    /// # Errors
    /// [`Errno::Badf`].
    pub(super) fn renumber(&self, from: u32, to: u32) -> Outcome<Option<Fd>> {
        let (from, to) = (from as usize, to as usize);
        let mut table = self.lock();
        let open = |at: usize| matches!(table.get(at), Some(Some(_)));
        if !open(from) || !open(to) {
            return Err(Errno::Badf.into());
        }
        if from == to {
            return Ok(None);
        }
        let moved = table[from].take();
        Ok(std::mem::replace(&mut table[to], moved))
    }
}
