//! Sockets: streams and datagrams over IPv4 and IPv6, on the same descriptors as files.
//!
//! Three dialects name them ([`Dialect`]), and share everything below: [`standard`] and [`wasmedge`] read a dialect's
//! arguments, [`Socket`] and [`transport`] do what is asked, [`Network`] says whether it may be done.
//!
//! - A socket never blocks in the operating system. Where a guest has to wait, core waits in its stead, and the wait
//!   ends with the guest's [`Run`](crate::Run).
//! - Nothing is buffered here: bytes go from the operating system to the guest's memory and back. What the operating
//!   system may buffer for a guest, [`Network::max_socket_buffer`] bounds.
//! - What the policy refuses is `acces`.

mod address;
mod dialect;
mod lookup;
mod network;
mod options;
mod socket;
pub(super) mod standard;
pub(super) mod transport;
pub(super) mod wasmedge;

pub use dialect::Dialect;

pub(super) use lookup::getaddrinfo;
pub(super) use network::Sockets;
pub(super) use options::{getsockopt, setsockopt};
pub(super) use socket::Socket;
