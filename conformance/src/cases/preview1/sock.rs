//! Sockets: the functions are there, and no descriptor is a socket.

use wharf_core::grants::WasiConfig;

use super::host;
use super::probe::{DIR, Errno, READ, WasiProbe, at};
use crate::case::{Case, CaseResult};
use crate::context::Context;

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("preview1/sock/accept", "wasi_snapshot_preview1: sock_accept", |c| no_socket(c, "sock_accept")),
    Case::must("preview1/sock/recv", "wasi_snapshot_preview1: sock_recv", |c| no_socket(c, "sock_recv")),
    Case::must("preview1/sock/send", "wasi_snapshot_preview1: sock_send", |c| no_socket(c, "sock_send")),
    Case::must("preview1/sock/shutdown", "wasi_snapshot_preview1: sock_shutdown", |c| no_socket(c, "sock_shutdown")),
    Case::must("preview1/sock/bad-flags", "wasi_snapshot_preview1: riflags, siflags, sdflags", bad_flags),
];

fn arguments(probe: &mut WasiProbe, function: &str, fd: u64, flags: u64) -> CaseResult<Vec<u64>> {
    let [iovs, count] = probe.iovecs(&[(at::DATA, 4), (at::DATA + 4, 4)])?;
    let (out, out_2) = (at::OUT.into(), at::OUT_2.into());
    Ok(match function {
        "sock_accept" => vec![fd, flags, out],
        "sock_recv" => vec![fd, iovs, count, flags, out, out_2],
        "sock_send" => vec![fd, iovs, count, flags, out],
        _ => vec![fd, flags],
    })
}

fn no_socket(context: &Context, function: &str) -> CaseResult {
    let directory = host::directory()?;
    host::put(directory.path().join("file"), "content")?;
    let mut probe = host::granted(context, &directory)?;
    let file = probe.open("file", 0, READ)?;
    for fd in [0, 1, 2, DIR, file] {
        let args = arguments(&mut probe, function, fd, 0)?;
        probe.fails(function, &args, Errno::NOTSOCK)?;
    }
    for fd in [file + 1, 0x7fff_ffff, 0xffff_ffff] {
        let args = arguments(&mut probe, function, fd, 0)?;
        probe.fails(function, &args, Errno::BADF)?;
    }
    Ok(())
}

fn bad_flags(context: &Context) -> CaseResult {
    let mut probe = WasiProbe::start(context, WasiConfig::new())?;
    for (function, flags) in [("sock_accept", 32), ("sock_recv", 4), ("sock_send", 1), ("sock_shutdown", 4)] {
        for flags in [flags, 0x1_0000, 0xffff_ffff] {
            let args = arguments(&mut probe, function, 1, flags)?;
            probe.fails(function, &args, Errno::INVAL)?;
        }
    }
    Ok(())
}
