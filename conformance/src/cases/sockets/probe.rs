//! A probe of every socket function, and short ways to put sockets to work in a guest.

use std::net::SocketAddr;
use std::sync::Arc;

use wharf_core::abi::preview1::{FUNCTIONS, MODULE, WASMEDGE_V1, WASMEDGE_V2};
use wharf_core::grants::{Network, WasiConfig};
use wharf_core::http::Policy;
use wharf_core::{GuestConfig, Stop};

use crate::case::{CaseResult, Unmet};
use crate::cases::preview1::probe::{Errno, WasiProbe, at, range, types};
use crate::check_eq;
use crate::context::Context;
use crate::probe::Wat;

/// The record of an address: where its buffer is and how long.
pub(super) const RECORD: u32 = at::PATH;
/// The buffer of an address; 128 bytes.
pub(super) const ADDRESS: u32 = at::PATH + 0x10;

/// Kinds of sockets.
pub(super) const DATAGRAM: u64 = 1;
pub(super) const STREAM: u64 = 2;
/// Families.
pub(super) const INET4: u64 = 1;
pub(super) const INET6: u64 = 2;

/// How an address is put in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As 4 or 16 bytes.
    Bare,
    /// As 128 bytes, of which the first two are the family.
    Storage,
}

/// A running probe.
pub(super) struct SockProbe {
    pub(super) wasi: WasiProbe,
}

impl SockProbe {
    /// The module. Functions that have the name of another with another signature, and all that are WasmEdge's, are
    /// exported as `v1/NAME` and `v2/NAME`.
    pub(super) fn wat() -> Wat {
        let standard = FUNCTIONS.iter().map(|function| ("", function));
        let first = WASMEDGE_V1.iter().map(|function| ("v1/", function));
        let second = WASMEDGE_V2.iter().map(|function| ("v2/", function));
        standard.chain(first).chain(second).fold(Wat::new(), |wat, (dialect, function)| {
            let wrapper = format!("{dialect}{}", function.name);
            wat.import_as(MODULE, function.name, &wrapper, &types(function.params), &types(function.results))
        })
    }

    /// Starts the probe with this network.
    pub(super) fn start(context: &Context, network: Network) -> CaseResult<Self> {
        let wasi = WasiConfig::new().network(network);
        Self::start_with(context, GuestConfig { wasi, ..GuestConfig::default() })
    }

    /// Starts the probe.
    pub(super) fn start_with(context: &Context, config: GuestConfig) -> CaseResult<Self> {
        Ok(SockProbe { wasi: WasiProbe::of(context.probe(&Self::wat(), config)?)? })
    }

    /// Opens a socket.
    pub(super) fn open(&mut self, family: u64, ty: u64) -> CaseResult<u64> {
        self.wasi.ok("v1/sock_open", &[family, ty, at::OUT.into()], &[range(at::OUT, 4)])?;
        Ok(self.wasi.probe.u32_at(at::OUT)?.into())
    }

    /// Puts an address in memory, and gives its two arguments.
    pub(super) fn address(&mut self, address: SocketAddr, form: Form) -> CaseResult<[u64; 2]> {
        let bare = match address.ip() {
            std::net::IpAddr::V4(ip) => ip.octets().to_vec(),
            std::net::IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        let bytes = match form {
            Form::Bare => bare,
            Form::Storage => {
                let family = if address.is_ipv4() { INET4 } else { INET6 };
                let mut bytes = (family as u16).to_le_bytes().to_vec();
                bytes.extend(bare);
                bytes.resize(128, 0);
                bytes
            }
        };
        self.buffer(&bytes)?;
        Ok([RECORD.into(), address.port().into()])
    }

    /// Puts the record of a buffer in memory, and what is in the buffer.
    pub(super) fn buffer(&mut self, bytes: &[u8]) -> CaseResult<u64> {
        let len = u32::try_from(bytes.len()).map_err(Unmet::harness)?;
        self.wasi.probe.put(RECORD, &[ADDRESS.to_le_bytes(), len.to_le_bytes()].concat())?;
        self.wasi.probe.put(ADDRESS, bytes)?;
        Ok(RECORD.into())
    }

    /// Calls `function` with a socket and an address.
    pub(super) fn to(&mut self, function: &str, fd: u64, address: SocketAddr, form: Form) -> CaseResult<Errno> {
        let [address, port] = self.address(address, form)?;
        self.wasi.call(function, &[fd, address, port], &[])
    }

    /// Opens a socket that listens on a loopback address, and gives its address.
    pub(super) fn listener(&mut self, on: &str) -> CaseResult<(u64, SocketAddr)> {
        let on: SocketAddr = on.parse().map_err(Unmet::harness)?;
        let fd = self.open(if on.is_ipv4() { INET4 } else { INET6 }, STREAM)?;
        check_eq!(self.to("v1/sock_bind", fd, on, Form::Bare)?, Errno::SUCCESS, "what binding to {on} answers");
        self.wasi.ok("v1/sock_listen", &[fd, 16], &[])?;
        let port = self.local_port(fd)?;
        Ok((fd, SocketAddr::new(on.ip(), port)))
    }

    /// The port that a socket is bound to.
    pub(super) fn local_port(&mut self, fd: u64) -> CaseResult<u16> {
        self.buffer(&[0; 16])?;
        let allowed = [range(ADDRESS, 16), range(at::OUT, 4), range(at::OUT_2, 4)];
        let args = [fd, RECORD.into(), at::OUT.into(), at::OUT_2.into()];
        self.wasi.ok("v1/sock_getlocaladdr", &args, &allowed)?;
        u16::try_from(self.wasi.probe.u32_at(at::OUT_2)?).map_err(|_| Unmet::failed("a port above 65535"))
    }

    /// Accepts a connection.
    pub(super) fn accept(&mut self, fd: u64) -> CaseResult<u64> {
        self.wasi.ok("v1/sock_accept", &[fd, at::OUT.into()], &[range(at::OUT, 4)])?;
        Ok(self.wasi.probe.u32_at(at::OUT)?.into())
    }

    /// Connects a new stream to an address, which must succeed.
    pub(super) fn connected(&mut self, to: SocketAddr) -> CaseResult<u64> {
        let fd = self.open(if to.is_ipv4() { INET4 } else { INET6 }, STREAM)?;
        check_eq!(self.to("v1/sock_connect", fd, to, Form::Bare)?, Errno::SUCCESS, "what connecting to {to} answers");
        Ok(fd)
    }

    /// Sends bytes from one buffer, and gives the count or the error number.
    pub(super) fn send(&mut self, fd: u64, bytes: &[u8]) -> CaseResult<Result<u32, Errno>> {
        self.wasi.probe.put(at::DATA, bytes)?;
        let len = u32::try_from(bytes.len()).map_err(Unmet::harness)?;
        let [iovs, count] = self.wasi.iovecs(&[(at::DATA, len)])?;
        let errno = self.wasi.call("sock_send", &[fd, iovs, count, 0, at::OUT.into()], &[range(at::OUT, 4)])?;
        if errno == Errno::SUCCESS { Ok(Ok(self.wasi.probe.u32_at(at::OUT)?)) } else { Ok(Err(errno)) }
    }

    /// Sends all of these bytes, which must succeed at once.
    pub(super) fn send_all(&mut self, fd: u64, bytes: &[u8]) -> CaseResult {
        check_eq!(self.send(fd, bytes)?, Ok(bytes.len() as u32), "what sending {} bytes gives", bytes.len());
        Ok(())
    }

    /// Receives into one buffer, and gives the bytes or the error number. No more than them is written.
    pub(super) fn recv(&mut self, fd: u64, len: u32, flags: u64) -> CaseResult<Result<Vec<u8>, Errno>> {
        let [iovs, count] = self.wasi.iovecs(&[(at::DATA, len)])?;
        let args = [fd, iovs, count, flags, at::OUT.into(), at::OUT_2.into()];
        let before = self.wasi.probe.snapshot()?;
        let errno = self.wasi.unchecked("sock_recv", &args)?;
        if errno != Errno::SUCCESS {
            self.wasi.probe.only_wrote(&before, &[])?;
            return Ok(Err(errno));
        }
        let received = self.wasi.probe.u32_at(at::OUT)?;
        let allowed = [range(at::DATA, received), range(at::OUT, 4), range(at::OUT_2, 2)];
        self.wasi.probe.only_wrote(&before, &allowed)?;
        Ok(Ok(self.wasi.probe.bytes(at::DATA, received)?))
    }

    /// Makes calls on a descriptor answer rather than wait.
    pub(super) fn nonblocking(&mut self, fd: u64) -> CaseResult {
        self.wasi.ok("fd_fdstat_set_flags", &[fd, 4], &[])
    }

    /// Calls a function that is expected to end the guest.
    pub(super) fn ends(&mut self, function: &str, args: &[u64]) -> Result<Vec<u64>, Stop> {
        self.wasi.probe.try_call(function, args)
    }
}

/// A network where the guest may listen on loopback addresses, on ports that the system chooses.
pub(super) fn listening() -> CaseResult<Network> {
    Ok(Network::new().allow_listen("127.0.0.1:0".parse()?).allow_listen("[::1]:0".parse()?))
}

/// A network where the guest may also connect to these.
pub(super) fn reaching(addresses: &[SocketAddr]) -> CaseResult<Network> {
    let entries: Vec<String> = addresses.iter().map(SocketAddr::to_string).collect();
    allowing(&entries.iter().map(String::as_str).collect::<Vec<_>>())
}

/// A network where the guest may also connect to what these entries of an allow-list name.
pub(super) fn allowing(entries: &[&str]) -> CaseResult<Network> {
    let mut policy = Policy::builder();
    for entry in entries {
        policy = policy.allow(entry).map_err(Unmet::harness)?;
    }
    Ok(listening()?.connect(Arc::new(policy.build())))
}
