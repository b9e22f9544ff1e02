//! `sockets/bounds/...`: every function of WasmEdge's dialects with pointers that leave the memory, with descriptors
//! that are not open, and with descriptors that are not sockets.

use wharf_core::abi::preview1::{WASMEDGE_V1, WASMEDGE_V2};

use super::peer;
use super::probe::{INET4, RECORD, STREAM, SockProbe, listening};
use crate::case::{Case, CaseResult};
use crate::cases::preview1::probe::{Errno, at};
use crate::context::Context;
use crate::{check, check_eq};

/// An argument, by what it means.
#[derive(Debug, Clone, Copy)]
enum Arg {
    /// Where something lies, or is to be put: of at least two bytes.
    Ptr(u32),
    /// How much, of bytes or of records that lie at the pointer before it.
    Len(u32),
    /// A socket.
    Fd,
    /// Anything else.
    Val(u64),
}

use Arg::{Fd, Len, Ptr, Val};

const OUT: Arg = Ptr(at::OUT);
const OUT_2: Arg = Ptr(at::OUT_2);
const PORT: Arg = Ptr(at::OUT_2 + 0x20);
const ADDRESS: Arg = Ptr(RECORD);
const IOVS: Arg = Ptr(at::LIST);
const NODE: Arg = Ptr(at::PATH_2);
const HINTS: Arg = Ptr(at::LIST + 0x100);
const ONE: Arg = Len(1);
const NONE: Arg = Val(0);

const BIND: &[Arg] = &[Fd, ADDRESS, Val(80)];
const OPEN: &[Arg] = &[Val(INET4), Val(STREAM), OUT];
const RECV: &[Arg] = &[Fd, IOVS, ONE, NONE, OUT, OUT_2];
const RECV_FROM_V2: &[Arg] = &[Fd, IOVS, ONE, ADDRESS, NONE, PORT, OUT, OUT_2];
const SEND: &[Arg] = &[Fd, IOVS, ONE, NONE, OUT];
const SEND_TO: &[Arg] = &[Fd, IOVS, ONE, ADDRESS, Val(80), NONE, OUT];
const OPTION: &[Arg] = &[Fd, NONE, NONE, Ptr(at::DATA), OUT];
const ADDRESS_V1: &[Arg] = &[Fd, ADDRESS, OUT, OUT_2];
const ADDRESS_V2: &[Arg] = &[Fd, ADDRESS, OUT];

/// A case for each function: its export, the length of the address buffer that it takes, its arguments.
macro_rules! bounds {
    ($($id:literal, $export:literal, $room:literal => $args:expr;)*) => {
        /// The cases of this file.
        pub(super) const CASES: &[Case] = &[$(
            Case::must(
                concat!("sockets/bounds/", $id),
                concat!("WasmEdge: ", $export, ", out of bounds"),
                |context| bounds(context, $export, $room, $args),
            )
        ),*];

        const _: () = {
            let count = [$($id),*].len();
            assert!(count == WASMEDGE_V1.len() + WASMEDGE_V2.len(), "a function has no case here");
        };
    };
}

bounds! {
    "v1/sock-open", "v1/sock_open", 16 => OPEN;
    "v1/sock-bind", "v1/sock_bind", 4 => BIND;
    "v1/sock-listen", "v1/sock_listen", 16 => &[Fd, Val(1)];
    "v1/sock-accept", "v1/sock_accept", 16 => &[Fd, OUT];
    "v1/sock-connect", "v1/sock_connect", 4 => BIND;
    "v1/sock-recv-from", "v1/sock_recv_from", 16 => &[Fd, IOVS, ONE, ADDRESS, NONE, OUT, OUT_2];
    "v1/sock-send-to", "v1/sock_send_to", 4 => SEND_TO;
    "v1/sock-getlocaladdr", "v1/sock_getlocaladdr", 16 => ADDRESS_V1;
    "v1/sock-getpeeraddr", "v1/sock_getpeeraddr", 16 => ADDRESS_V1;
    "v1/sock-getsockopt", "v1/sock_getsockopt", 16 => OPTION;
    "v1/sock-setsockopt", "v1/sock_setsockopt", 16 => &[Fd, NONE, NONE, Ptr(at::DATA), Len(4)];
    "v1/sock-getaddrinfo", "v1/sock_getaddrinfo", 16 => &[NODE, Len(4), NODE, Len(4), HINTS, OUT_2, Val(1), OUT];
    "v1/epoll-oneoff", "v1/epoll_oneoff", 16 => &[Ptr(at::LIST + 0x200), Ptr(at::DATA), ONE, OUT];
    "v2/sock-open-v2", "v2/sock_open_v2", 16 => OPEN;
    "v2/sock-bind-v2", "v2/sock_bind_v2", 128 => BIND;
    "v2/sock-listen-v2", "v2/sock_listen_v2", 16 => &[Fd, Val(1)];
    "v2/sock-accept-v2", "v2/sock_accept_v2", 16 => &[Fd, NONE, OUT];
    "v2/sock-connect-v2", "v2/sock_connect_v2", 128 => BIND;
    "v2/sock-recv-v2", "v2/sock_recv_v2", 16 => RECV;
    "v2/sock-recv-from", "v2/sock_recv_from", 128 => RECV_FROM_V2;
    "v2/sock-recv-from-v2", "v2/sock_recv_from_v2", 128 => RECV_FROM_V2;
    "v2/sock-send-v2", "v2/sock_send_v2", 16 => SEND;
    "v2/sock-send-to-v2", "v2/sock_send_to_v2", 128 => SEND_TO;
    "v2/sock-getlocaladdr", "v2/sock_getlocaladdr", 128 => ADDRESS_V2;
    "v2/sock-getlocaladdr-v2", "v2/sock_getlocaladdr_v2", 128 => ADDRESS_V2;
    "v2/sock-getpeeraddr", "v2/sock_getpeeraddr", 128 => ADDRESS_V2;
    "v2/sock-getpeeraddr-v2", "v2/sock_getpeeraddr_v2", 128 => ADDRESS_V2;
}

const POINTERS: [u32; 7] = [at::END - 1, at::END, at::END + 1, 0x7fff_ffff, 0x8000_0000, 0xffff_fff0, 0xffff_ffff];
const LENGTHS: [u32; 6] = [at::END + 1, 0x0555_5556, 0x1000_0000, 0x2000_0000, 0x7fff_ffff, 0xffff_ffff];
const CLOSED: [u32; 4] = [99, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff];

fn lay_out(probe: &mut SockProbe, room: usize) -> CaseResult {
    probe.wasi.probe.canary()?;
    // An address that nobody allowed, so that nothing happens if all the rest is right.
    let mut address = vec![1; room];
    if room == 128 {
        address[..2].copy_from_slice(&[1, 0]);
    }
    probe.buffer(&address)?;
    probe.wasi.iovecs(&[(at::DATA, 4)])?;
    probe.wasi.probe.put(at::PATH_2, b"1.1\0")?;
    probe.wasi.probe.put(at::LIST + 0x100, &[0; 28])?;
    // A clock that has rung already, and a length that an option's value fits.
    probe.wasi.probe.put(at::LIST + 0x200, &[0; 48])?;
    probe.wasi.probe.put(at::OUT, &4u32.to_le_bytes())
}

fn bounds(context: &Context, export: &str, room: usize, good: &[Arg]) -> CaseResult {
    let mut probe = SockProbe::start(context, listening()?)?;
    let (listener, address) = probe.listener(peer::HERE)?;
    let stream = peer::connect(address)?;
    let socket = probe.accept(listener)?;
    peer::send(&stream, b"data")?;
    lay_out(&mut probe, room)?;
    let value = |arg: &Arg| match arg {
        Ptr(value) | Len(value) => u64::from(*value),
        Val(value) => *value,
        Fd => socket,
    };
    let args: Vec<u64> = good.iter().map(value).collect();
    for (index, arg) in good.iter().enumerate() {
        let (bad, right): (&[u32], &[Errno]) = match arg {
            Ptr(_) => (&POINTERS, &[Errno::FAULT]),
            // A count may be refused before it is found to leave the memory.
            Len(_) => (&LENGTHS, &[Errno::FAULT, Errno::INVAL, Errno::AINONAME]),
            Fd => (&CLOSED, &[Errno::BADF]),
            Val(_) => (&[], &[]),
        };
        for bad in bad {
            let mut args = args.clone();
            args[index] = u64::from(*bad);
            let errno = probe.wasi.call(export, &args, &[])?;
            check!(
                right.contains(&errno),
                "{export} with argument {index} of {bad:#x} answers {errno:?}, not {right:?}"
            );
        }
        if matches!(arg, Fd) {
            for stream in 0..3 {
                let mut args = args.clone();
                args[index] = stream;
                check_eq!(probe.wasi.call(export, &args, &[])?, Errno::NOTSOCK, "{export} of descriptor {stream}");
            }
        }
    }
    // A buffer for an address that leaves the memory, while its record does not.
    if good.iter().any(|arg| matches!(arg, Ptr(RECORD))) {
        for wild in POINTERS {
            probe.wasi.probe.put(RECORD, &wild.to_le_bytes())?;
            probe.wasi.fails(export, &args, Errno::FAULT)?;
        }
        probe.wasi.probe.put(RECORD, &[at::DATA.to_le_bytes(), 0xffff_ffffu32.to_le_bytes()].concat())?;
        probe.wasi.fails(export, &args, Errno::FAULT)?;
    }
    // What was there to be received still is.
    check_eq!(probe.recv(socket, 16, 0)?, Ok(b"data".to_vec()), "what is received afterwards");
    Ok(())
}
