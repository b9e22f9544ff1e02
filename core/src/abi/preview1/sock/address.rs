//! Addresses as WasmEdge's dialects have them: `{buf: u32, len: u32}`, where the buffer holds 4 bytes of an IPv4
//! address, 16 of an IPv6 address, or 128, of which the first two are the family and the address follows.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::abi::preview1::errno::{Errno, Outcome};
use crate::memory::Memory;

/// Numbers of families.
pub(super) const INET4: u16 = 1;
pub(super) const INET6: u16 = 2;
pub(super) const UNIX: u16 = 3;

/// The length of a buffer that says its family.
const STORAGE: u32 = 128;

/// A buffer for an address, which lies in memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Buffer {
    ptr: u32,
    len: u32,
}

impl Buffer {
    /// Reads the record at `ptr` and checks that its buffer lies in memory and has one of the known lengths.
    ///
    /// # Errors
    /// [`Errno::Fault`], [`Errno::Inval`].
    pub(super) fn at(memory: &Memory<'_>, ptr: u32) -> Outcome<Self> {
        memory.slice(ptr, 8)?;
        let buffer = Buffer { ptr: memory.read_u32(ptr)?, len: memory.read_u32(ptr.wrapping_add(4))? };
        memory.slice(buffer.ptr, buffer.len)?;
        if matches!(buffer.len, 4 | 16 | STORAGE) { Ok(buffer) } else { Err(Errno::Inval.into()) }
    }

    /// Refuses a buffer of another length than these.
    ///
    /// # Errors
    /// [`Errno::Inval`].
    pub(super) fn of_length(self, lengths: &[u32]) -> Outcome<Self> {
        if lengths.contains(&self.len) { Ok(self) } else { Err(Errno::Inval.into()) }
    }

    /// The address in it, with `port`, for a socket of the family that `v6` says.
    ///
    /// # Errors
    /// [`Errno::Afnosupport`] for an address of another family, [`Errno::Inval`] for one of no family or a port beyond
    /// 65535.
    pub(super) fn read(self, memory: &Memory<'_>, port: u32, v6: bool) -> Outcome<SocketAddr> {
        let (family, at) = match self.len {
            4 => (INET4, self.ptr),
            16 => (INET6, self.ptr),
            _ => (u16::from_le_bytes(memory.array(self.ptr)?), self.ptr.wrapping_add(2)),
        };
        let ip = match family {
            INET4 => IpAddr::V4(Ipv4Addr::from(memory.array::<4>(at)?)),
            INET6 => IpAddr::V6(Ipv6Addr::from(memory.array::<16>(at)?)),
            UNIX => return Err(Errno::Afnosupport.into()),
            _ => return Err(Errno::Inval.into()),
        };
        let port = u16::try_from(port).map_err(|_| Errno::Inval)?;
        if ip.is_ipv6() != v6 {
            return Err(Errno::Afnosupport.into());
        }
        Ok(SocketAddr::new(ip, port))
    }

    /// Refuses an address that the buffer has no room for.
    ///
    /// # Errors
    /// [`Errno::Nomem`], as in WasmEdge.
    pub(super) fn fits(self, v6: bool) -> Outcome {
        if v6 && self.len == 4 { Err(Errno::Nomem.into()) } else { Ok(()) }
    }

    /// Writes an address that [`fits`](Buffer::fits), and leaves the rest of the buffer as it is.
    ///
    /// # Errors
    /// [`Errno::Fault`].
    pub(super) fn write(self, memory: &mut Memory<'_>, ip: IpAddr) -> Outcome {
        let at = if self.len == STORAGE {
            let family = if ip.is_ipv4() { INET4 } else { INET6 };
            memory.write(self.ptr, &family.to_le_bytes())?;
            self.ptr.wrapping_add(2)
        } else {
            self.ptr
        };
        match ip {
            IpAddr::V4(ip) => memory.write(at, &ip.octets())?,
            IpAddr::V6(ip) => memory.write(at, &ip.octets())?,
        }
        Ok(())
    }
}
