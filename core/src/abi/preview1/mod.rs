//! WASI preview 1, the same on every engine and closed by default.
//!
//! [`WasiConfig`] says what a guest is granted, [`Wasi`] is one guest's state, and [`FUNCTIONS`] is what it imports
//! from [`MODULE`]: all functions of preview 1, over core's own view of a guest's memory. No engine's own WASI is
//! involved. [`WASMEDGE_V1`] and [`WASMEDGE_V2`] are what guests built for WasmEdge import besides, see [`Dialect`].
//!
//! What holds for every function:
//! - It answers an error number. A pointer, length or count that leaves the guest's memory is `fault`, a descriptor
//!   that is not open is `badf`, an undefined enumeration value or flag is `inval`, a path that is not UTF-8 is
//!   `ilseq`. Nothing here panics. Pointers need no alignment. Of the room for a granted directory's name only what
//!   the name takes has to lie in memory.
//! - Everything it writes to is checked before it acts: a call that answers `fault` has changed nothing.
//! - Every wait ends with the guest's [`Run`], and every long piece of work looks at it: then the guest ends.
//! - Work and memory are bounded: 1024 buffers a read or write, 4096 subscriptions a poll besides two for each socket,
//!   4096 bytes a path, and [`WasiConfig::max_fds`] descriptors and [`Network::max_sockets`](crate::grants::Network::max_sockets) sockets.
//!
//! Files are reached through cap-std, below the directories that were granted. A path that leads out of one,
//! whether by `..`, from the root, or through a symbolic link, is `perm`.
//!
//! Where the documents of preview 1 say nothing, the answer is that of Wasmtime's own preview 1, with these
//! exceptions: reads and writes use all of the buffers, not only the first; rights can be given up, and then count;
//! `sync` flags are honoured; a file where a directory is needed is `notdir` everywhere; listing a directory goes on
//! where it was, so that files may be removed on the way; `ctim` is the time of the last status change.

mod clock;
mod dir;
mod env;
pub(in crate::abi) mod errno;
mod fds;
mod file;
mod io;
mod path;
mod poll;
mod random;
mod rights;
mod sock;
mod types;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Instant;

use wharf_grants::WasiConfig;

use crate::abi::Function;
use crate::abi::preview1::errno::{Errno, Fail, Outcome};
use crate::abi::preview1::fds::Fds;
use crate::abi::preview1::sock::{Sockets, standard, wasmedge};
use crate::budget::Budget;
use crate::error::{Error, Kind};
use crate::memory::Memory;
use crate::run::Run;
use crate::stop::Stop;
use crate::types::{Caller, ValType};

pub use sock::Dialect;

/// The module that guests import these functions from.
pub const MODULE: &str = "wasi_snapshot_preview1";

/// One guest's preview 1 state: its arguments, its descriptors, its clock.
pub struct Wasi {
    args: Arc<Vec<String>>,
    env: Arc<Vec<String>>,
    fds: Fds,
    sockets: Sockets,
    run: Run,
    start: Instant,
}

impl Wasi {
    /// The state of a guest that is granted `config` and whose waits end with `run`. Its monotonic clock starts now.
    pub fn new(config: WasiConfig, run: Run) -> Self {
        let granted = config.granted();
        Wasi {
            args: granted.args.clone(),
            env: granted.env.clone(),
            fds: Fds::new(granted),
            sockets: Sockets::new(granted.network.clone()),
            run,
            start: Instant::now(),
        }
    }

    /// Starts anew with what `config` grants: what the guest had open is closed. Its clock goes on.
    pub(crate) fn reset_for(&mut self, config: WasiConfig) {
        let budget = self.fds.budget().clone();
        *self = Wasi { start: self.start, ..Wasi::new(config, self.run.clone()).bounded(&budget) };
    }

    /// The same, with what the guest opens charged to `budget`.
    #[must_use]
    pub fn bounded(mut self, budget: &Budget) -> Self {
        self.fds.charge_to(budget.clone());
        self
    }

    /// Ends the guest if its run is over: called within work that takes long.
    fn alive(&self) -> Outcome {
        self.run.over().map_or(Ok(()), |stop| Err(Fail::Stop(stop)))
    }
}

/// A parameter, taken from its slot.
trait Param: Sized {
    const TYPE: ValType;

    fn take(slots: &mut std::slice::Iter<'_, u64>) -> Result<Self, Stop>;
}

fn slot(slots: &mut std::slice::Iter<'_, u64>) -> Result<u64, Stop> {
    slots
        .next()
        .copied()
        .ok_or_else(|| Stop::Error(Error::new(Kind::Internal, "a preview 1 function got fewer slots than parameters")))
}

impl Param for u32 {
    const TYPE: ValType = ValType::I32;

    /// The bits above the lowest 32 are not part of the value.
    fn take(slots: &mut std::slice::Iter<'_, u64>) -> Result<Self, Stop> {
        slot(slots).map(|bits| bits as u32)
    }
}

impl Param for u64 {
    const TYPE: ValType = ValType::I64;

    fn take(slots: &mut std::slice::Iter<'_, u64>) -> Result<Self, Stop> {
        slot(slots)
    }
}

impl Param for i64 {
    const TYPE: ValType = ValType::I64;

    fn take(slots: &mut std::slice::Iter<'_, u64>) -> Result<Self, Stop> {
        slot(slots).map(|bits| bits as i64)
    }
}

/// A guest that exports no memory has one of no bytes here: what needs memory answers `fault`, the rest works.
fn memory(caller: &mut dyn Caller) -> Memory<'_> {
    Memory::new(caller.memory().unwrap_or_default())
}

/// Puts an outcome into the result slot.
fn answer(slots: &mut [u64], outcome: Outcome) -> Result<(), Stop> {
    let errno = match outcome {
        Ok(()) => Errno::Success,
        Err(Fail::Errno(errno)) => errno,
        Err(Fail::Stop(stop)) => return Err(stop),
    };
    match slots.first_mut() {
        Some(result) => {
            *result = u64::from(errno as u16);
            Ok(())
        }
        None => Err(Stop::Error(Error::new(Kind::Internal, "a preview 1 function got no slot for its result"))),
    }
}

/// A table: name, parameters in order, and the Rust function that does it. The signature is that of the parameters.
macro_rules! functions {
    ($(#[$doc:meta])* $table:ident { $($name:ident($($param:ident: $ty:ty),*) => $call:path;)* }) => {
        $(#[$doc])*
        pub static $table: &[Function<Wasi>] = &[$(Function {
            name: stringify!($name),
            params: &[$(<$ty as Param>::TYPE),*],
            results: functions!(@results $name),
            call: |wasi, caller, slots| {
                #[allow(unused_mut, unused_variables, reason = "some functions have no parameters")]
                let mut taken = slots.iter();
                $(let $param = <$ty as Param>::take(&mut taken)?;)*
                let outcome = $call(wasi, &mut memory(caller) $(, $param)*);
                functions!(@answer $name, slots, outcome)
            },
        }),*];
    };
    (@results proc_exit) => { &[] };
    (@results $name:ident) => { &[ValType::I32] };
    (@answer proc_exit, $slots:ident, $outcome:ident) => { Err($outcome) };
    (@answer sock_recv_from, $slots:ident, $outcome:ident) => { answer($slots, $outcome.map(drop)) };
    (@answer $name:ident, $slots:ident, $outcome:ident) => { answer($slots, $outcome) };
}

functions! {
    /// Every function of preview 1, and no other.
    FUNCTIONS {
        args_get(argv: u32, argv_buf: u32) => env::args_get;
        args_sizes_get(count: u32, size: u32) => env::args_sizes_get;
        environ_get(environ: u32, environ_buf: u32) => env::environ_get;
        environ_sizes_get(count: u32, size: u32) => env::environ_sizes_get;
        clock_res_get(id: u32, resolution: u32) => clock::res_get;
        clock_time_get(id: u32, precision: u64, time: u32) => clock::time_get;
        fd_advise(fd: u32, offset: u64, len: u64, advice: u32) => file::advise;
        fd_allocate(fd: u32, offset: u64, len: u64) => file::allocate;
        fd_close(fd: u32) => file::close;
        fd_datasync(fd: u32) => file::datasync;
        fd_fdstat_get(fd: u32, stat: u32) => file::fdstat_get;
        fd_fdstat_set_flags(fd: u32, flags: u32) => file::fdstat_set_flags;
        fd_fdstat_set_rights(fd: u32, base: u64, inheriting: u64) => file::fdstat_set_rights;
        fd_filestat_get(fd: u32, stat: u32) => file::filestat_get;
        fd_filestat_set_size(fd: u32, size: u64) => file::filestat_set_size;
        fd_filestat_set_times(fd: u32, atim: u64, mtim: u64, flags: u32) => file::filestat_set_times;
        fd_pread(fd: u32, iovs: u32, iovs_len: u32, offset: u64, nread: u32) => io::pread;
        fd_prestat_get(fd: u32, prestat: u32) => dir::prestat_get;
        fd_prestat_dir_name(fd: u32, path: u32, path_len: u32) => dir::prestat_dir_name;
        fd_pwrite(fd: u32, iovs: u32, iovs_len: u32, offset: u64, nwritten: u32) => io::pwrite;
        fd_read(fd: u32, iovs: u32, iovs_len: u32, nread: u32) => io::read;
        fd_readdir(fd: u32, buf: u32, buf_len: u32, cookie: u64, used: u32) => dir::readdir;
        fd_renumber(fd: u32, to: u32) => file::renumber;
        fd_seek(fd: u32, offset: i64, whence: u32, position: u32) => io::seek;
        fd_sync(fd: u32) => file::sync;
        fd_tell(fd: u32, position: u32) => io::tell;
        fd_write(fd: u32, iovs: u32, iovs_len: u32, nwritten: u32) => io::write;
        path_create_directory(fd: u32, path: u32, path_len: u32) => path::create_directory;
        path_filestat_get(fd: u32, flags: u32, path: u32, path_len: u32, stat: u32) => path::filestat_get;
        path_filestat_set_times(
            fd: u32, flags: u32, path: u32, path_len: u32, atim: u64, mtim: u64, set: u32
        ) => path::filestat_set_times;
        path_link(
            old_fd: u32, old_flags: u32, old_path: u32, old_path_len: u32, new_fd: u32, new_path: u32, new_path_len: u32
        ) => path::link;
        path_open(
            fd: u32, flags: u32, path: u32, path_len: u32, oflags: u32, base: u64, inheriting: u64, fdflags: u32, opened: u32
        ) => path::open;
        path_readlink(fd: u32, path: u32, path_len: u32, buf: u32, buf_len: u32, used: u32) => path::readlink;
        path_remove_directory(fd: u32, path: u32, path_len: u32) => path::remove_directory;
        path_rename(
            old_fd: u32, old_path: u32, old_path_len: u32, new_fd: u32, new_path: u32, new_path_len: u32
        ) => path::rename;
        path_symlink(target: u32, target_len: u32, fd: u32, path: u32, path_len: u32) => path::symlink;
        path_unlink_file(fd: u32, path: u32, path_len: u32) => path::unlink_file;
        poll_oneoff(subscriptions: u32, events: u32, count: u32, nevents: u32) => poll::oneoff;
        proc_exit(code: u32) => env::exit;
        proc_raise(signal: u32) => env::raise;
        sched_yield() => env::sched_yield;
        random_get(buf: u32, buf_len: u32) => random::get;
        sock_accept(fd: u32, flags: u32, accepted: u32) => standard::accept;
        sock_recv(fd: u32, iovs: u32, iovs_len: u32, flags: u32, nread: u32, out_flags: u32) => standard::recv;
        sock_send(fd: u32, iovs: u32, iovs_len: u32, flags: u32, nwritten: u32) => standard::send;
        sock_shutdown(fd: u32, how: u32) => standard::shutdown;
    }
}

functions! {
    /// What WasmEdge's first dialect adds, some of it under a name that preview 1 has with another signature.
    WASMEDGE_V1 {
        sock_open(family: u32, ty: u32, opened: u32) => wasmedge::open;
        sock_bind(fd: u32, address: u32, port: u32) => wasmedge::bind;
        sock_listen(fd: u32, backlog: u32) => wasmedge::listen;
        sock_accept(fd: u32, accepted: u32) => wasmedge::accept_v1;
        sock_connect(fd: u32, address: u32, port: u32) => wasmedge::connect;
        sock_recv_from(
            fd: u32, iovs: u32, iovs_len: u32, address: u32, flags: u32, nread: u32, out_flags: u32
        ) => wasmedge::recv_from_v1;
        sock_send_to(
            fd: u32, iovs: u32, iovs_len: u32, address: u32, port: u32, flags: u32, nwritten: u32
        ) => wasmedge::send_to;
        sock_getlocaladdr(fd: u32, address: u32, ty: u32, port: u32) => wasmedge::get_local_v1;
        sock_getpeeraddr(fd: u32, address: u32, ty: u32, port: u32) => wasmedge::get_peer_v1;
        sock_getsockopt(fd: u32, level: u32, name: u32, value: u32, len: u32) => sock::getsockopt;
        sock_setsockopt(fd: u32, level: u32, name: u32, value: u32, len: u32) => sock::setsockopt;
        sock_getaddrinfo(
            node: u32, node_len: u32, service: u32, service_len: u32, hints: u32, results: u32, max: u32, count: u32
        ) => sock::getaddrinfo;
        epoll_oneoff(subscriptions: u32, events: u32, count: u32, nevents: u32) => poll::oneoff;
    }
}

functions! {
    /// What WasmEdge's second dialect adds to, or changes in, the first.
    WASMEDGE_V2 {
        sock_open_v2(family: u32, ty: u32, opened: u32) => wasmedge::open;
        sock_bind_v2(fd: u32, address: u32, port: u32) => wasmedge::bind;
        sock_listen_v2(fd: u32, backlog: u32) => wasmedge::listen;
        sock_accept_v2(fd: u32, flags: u32, accepted: u32) => standard::accept;
        sock_connect_v2(fd: u32, address: u32, port: u32) => wasmedge::connect;
        sock_recv_v2(fd: u32, iovs: u32, iovs_len: u32, flags: u32, nread: u32, out_flags: u32) => standard::recv;
        sock_recv_from(
            fd: u32, iovs: u32, iovs_len: u32, address: u32, flags: u32, port: u32, nread: u32, out_flags: u32
        ) => wasmedge::recv_from_v2;
        sock_recv_from_v2(
            fd: u32, iovs: u32, iovs_len: u32, address: u32, flags: u32, port: u32, nread: u32, out_flags: u32
        ) => wasmedge::recv_from_v2;
        sock_send_v2(fd: u32, iovs: u32, iovs_len: u32, flags: u32, nwritten: u32) => standard::send;
        sock_send_to_v2(
            fd: u32, iovs: u32, iovs_len: u32, address: u32, port: u32, flags: u32, nwritten: u32
        ) => wasmedge::send_to;
        sock_getlocaladdr(fd: u32, address: u32, port: u32) => wasmedge::get_local_v2;
        sock_getlocaladdr_v2(fd: u32, address: u32, port: u32) => wasmedge::get_local_v2;
        sock_getpeeraddr(fd: u32, address: u32, port: u32) => wasmedge::get_peer_v2;
        sock_getpeeraddr_v2(fd: u32, address: u32, port: u32) => wasmedge::get_peer_v2;
    }
}
