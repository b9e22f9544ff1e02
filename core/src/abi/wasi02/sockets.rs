//! `wasi:sockets`: present, since toolchains import it whether a program uses it or not, and refused.
//!
//! Making a socket or resolving a name answers `access-denied`. So a guest never holds a socket, and the types of
//! sockets here have no values: to call a method of one takes a handle that there cannot be, which is a trap.

use bytes::Bytes;

use super::canon::{Borrow, Cx, Handle, Outcome, Own, record, variant};
use super::io::{InputStream, IoError, OutputStream, Pollable};
use super::table::Resource;
use super::{drop_resource, interfaces};

variant! {
    /// `wasi:sockets/network.error-code`.
    enum ErrorCode as "error-code" {
        Unknown, AccessDenied, NotSupported, InvalidArgument, OutOfMemory, Timeout, ConcurrencyConflict, NotInProgress,
        WouldBlock, InvalidState, NewSocketLimit, AddressNotBindable, AddressInUse, RemoteUnreachable,
        ConnectionRefused, ConnectionReset, ConnectionAborted, DatagramTooLarge, NameUnresolvable,
        TemporaryResolverFailure, PermanentResolverFailure,
    }
}

variant! {
    /// `wasi:sockets/network.ip-address-family`.
    enum AddressFamily as "ip-address-family" {
        Ipv4, Ipv6,
    }
}

type Ipv4 = (u8, u8, u8, u8);
type Ipv6 = (u16, u16, u16, u16, u16, u16, u16, u16);

variant! {
    /// `wasi:sockets/network.ip-address`.
    enum IpAddress as "ip-address" {
        Ipv4(address: Ipv4),
        Ipv6(address: Ipv6),
    }
}

/// `ipv4-socket-address`: port, address.
type Ipv4Socket = (u16, Ipv4);

/// `ipv6-socket-address`: port, flow information, address, scope.
type Ipv6Socket = (u16, u32, Ipv6, u32);

variant! {
    /// `wasi:sockets/network.ip-socket-address`.
    enum SocketAddress as "ip-socket-address" {
        Ipv4(address: Ipv4Socket),
        Ipv6(address: Ipv6Socket),
    }
}

variant! {
    /// `wasi:sockets/tcp.shutdown-type`.
    enum ShutdownType as "shutdown-type" {
        Receive, Send, Both,
    }
}

record! {
    /// `wasi:sockets/udp.incoming-datagram`.
    struct IncomingDatagram {
        data: Bytes,
        remote_address: SocketAddress,
    }
}

record! {
    /// `wasi:sockets/udp.outgoing-datagram`.
    struct OutgoingDatagram {
        data: Bytes,
        remote_address: Option<SocketAddress>,
    }
}

/// `wasi:sockets/network.network`. It grants nothing.
struct Network;

impl Resource for Network {
    const NAME: &'static str = "network";
}

/// A resource that the host never makes.
trait Never: Resource {
    /// What anything done with one answers.
    fn never<R>(&self) -> R;
}

macro_rules! never {
    ($($(#[$doc:meta])* $name:ident $wit:literal;)*) => {$(
        $(#[$doc])*
        enum $name {}

        impl Resource for $name {
            const NAME: &'static str = $wit;
        }

        impl Never for $name {
            fn never<R>(&self) -> R {
                match *self {}
            }
        }
    )*};
}

never! {
    /// `wasi:sockets/tcp.tcp-socket`.
    Tcp "tcp-socket";
    /// `wasi:sockets/udp.udp-socket`.
    Udp "udp-socket";
    /// `wasi:sockets/udp.incoming-datagram-stream`.
    Incoming "incoming-datagram-stream";
    /// `wasi:sockets/udp.outgoing-datagram-stream`.
    Outgoing "outgoing-datagram-stream";
    /// `wasi:sockets/ip-name-lookup.resolve-address-stream`.
    Resolving "resolve-address-stream";
}

/// A method of a resource that the host never makes.
fn method<T: Never, R>(cx: &mut Cx<'_>, this: Borrow<T>) -> Outcome<R> {
    Ok(cx.get(this)?.never())
}

/// The same with an argument.
fn method_1<T: Never, A, R>(cx: &mut Cx<'_>, this: Borrow<T>, _: A) -> Outcome<R> {
    method(cx, this)
}

/// The same with two.
fn method_2<T: Never, A, B, R>(cx: &mut Cx<'_>, this: Borrow<T>, _: A, _: B) -> Outcome<R> {
    method(cx, this)
}

fn instance_network(cx: &mut Cx<'_>) -> Outcome<Handle<Network>> {
    cx.push(Network)
}

fn create<T: Resource>(_: &mut Cx<'_>, _: AddressFamily) -> Outcome<Answer<Handle<T>>> {
    Ok(Err(ErrorCode::AccessDenied))
}

fn resolve(_: &mut Cx<'_>, _: Borrow<Network>, _: String) -> Outcome<Answer<Handle<Resolving>>> {
    Ok(Err(ErrorCode::AccessDenied))
}

/// No stream here comes from a socket, so no error of one does.
fn network_error_code(_: &mut Cx<'_>, _: Borrow<IoError>) -> Outcome<Option<ErrorCode>> {
    Ok(None)
}

type Answer<T = ()> = Result<T, ErrorCode>;
type Streams = (Handle<InputStream>, Handle<OutputStream>);
type Accepted = (Handle<Tcp>, Handle<InputStream>, Handle<OutputStream>);

interfaces! { "wasi:sockets/network";
    "[resource-drop]network"(this: Own<Network>) -> () => drop_resource;
    "network-error-code"(error: Borrow<IoError>) -> Option<ErrorCode> => network_error_code;
    @ "wasi:sockets/instance-network";
    "instance-network"() -> Handle<Network> => instance_network;
    @ "wasi:sockets/ip-name-lookup";
    "resolve-addresses"(network: Borrow<Network>, name: String) -> Answer<Handle<Resolving>> => resolve;
    "[method]resolve-address-stream.resolve-next-address"(
        this: Borrow<Resolving>
    ) -> Answer<Option<IpAddress>> => method;
    "[method]resolve-address-stream.subscribe"(this: Borrow<Resolving>) -> Handle<Pollable> => method;
    "[resource-drop]resolve-address-stream"(this: Own<Resolving>) -> () => drop_resource;
    @ "wasi:sockets/tcp-create-socket";
    "create-tcp-socket"(family: AddressFamily) -> Answer<Handle<Tcp>> => create;
    @ "wasi:sockets/tcp";
    "[method]tcp-socket.start-bind"(
        this: Borrow<Tcp>, network: Borrow<Network>, address: SocketAddress
    ) -> Answer => method_2;
    "[method]tcp-socket.finish-bind"(this: Borrow<Tcp>) -> Answer => method;
    "[method]tcp-socket.start-connect"(
        this: Borrow<Tcp>, network: Borrow<Network>, address: SocketAddress
    ) -> Answer => method_2;
    "[method]tcp-socket.finish-connect"(this: Borrow<Tcp>) -> Answer<Streams> => method;
    "[method]tcp-socket.start-listen"(this: Borrow<Tcp>) -> Answer => method;
    "[method]tcp-socket.finish-listen"(this: Borrow<Tcp>) -> Answer => method;
    "[method]tcp-socket.accept"(this: Borrow<Tcp>) -> Answer<Accepted> => method;
    "[method]tcp-socket.local-address"(this: Borrow<Tcp>) -> Answer<SocketAddress> => method;
    "[method]tcp-socket.remote-address"(this: Borrow<Tcp>) -> Answer<SocketAddress> => method;
    "[method]tcp-socket.is-listening"(this: Borrow<Tcp>) -> bool => method;
    "[method]tcp-socket.address-family"(this: Borrow<Tcp>) -> AddressFamily => method;
    "[method]tcp-socket.set-listen-backlog-size"(this: Borrow<Tcp>, value: u64) -> Answer => method_1;
    "[method]tcp-socket.keep-alive-enabled"(this: Borrow<Tcp>) -> Answer<bool> => method;
    "[method]tcp-socket.set-keep-alive-enabled"(this: Borrow<Tcp>, value: bool) -> Answer => method_1;
    "[method]tcp-socket.keep-alive-idle-time"(this: Borrow<Tcp>) -> Answer<u64> => method;
    "[method]tcp-socket.set-keep-alive-idle-time"(this: Borrow<Tcp>, value: u64) -> Answer => method_1;
    "[method]tcp-socket.keep-alive-interval"(this: Borrow<Tcp>) -> Answer<u64> => method;
    "[method]tcp-socket.set-keep-alive-interval"(this: Borrow<Tcp>, value: u64) -> Answer => method_1;
    "[method]tcp-socket.keep-alive-count"(this: Borrow<Tcp>) -> Answer<u32> => method;
    "[method]tcp-socket.set-keep-alive-count"(this: Borrow<Tcp>, value: u32) -> Answer => method_1;
    "[method]tcp-socket.hop-limit"(this: Borrow<Tcp>) -> Answer<u8> => method;
    "[method]tcp-socket.set-hop-limit"(this: Borrow<Tcp>, value: u8) -> Answer => method_1;
    "[method]tcp-socket.receive-buffer-size"(this: Borrow<Tcp>) -> Answer<u64> => method;
    "[method]tcp-socket.set-receive-buffer-size"(this: Borrow<Tcp>, value: u64) -> Answer => method_1;
    "[method]tcp-socket.send-buffer-size"(this: Borrow<Tcp>) -> Answer<u64> => method;
    "[method]tcp-socket.set-send-buffer-size"(this: Borrow<Tcp>, value: u64) -> Answer => method_1;
    "[method]tcp-socket.subscribe"(this: Borrow<Tcp>) -> Handle<Pollable> => method;
    "[method]tcp-socket.shutdown"(this: Borrow<Tcp>, kind: ShutdownType) -> Answer => method_1;
    "[resource-drop]tcp-socket"(this: Own<Tcp>) -> () => drop_resource;
    @ "wasi:sockets/udp-create-socket";
    "create-udp-socket"(family: AddressFamily) -> Answer<Handle<Udp>> => create;
    @ "wasi:sockets/udp";
    "[method]udp-socket.start-bind"(
        this: Borrow<Udp>, network: Borrow<Network>, address: SocketAddress
    ) -> Answer => method_2;
    "[method]udp-socket.finish-bind"(this: Borrow<Udp>) -> Answer => method;
    "[method]udp-socket.stream"(
        this: Borrow<Udp>, address: Option<SocketAddress>
    ) -> Answer<(Handle<Incoming>, Handle<Outgoing>)> => method_1;
    "[method]udp-socket.local-address"(this: Borrow<Udp>) -> Answer<SocketAddress> => method;
    "[method]udp-socket.remote-address"(this: Borrow<Udp>) -> Answer<SocketAddress> => method;
    "[method]udp-socket.address-family"(this: Borrow<Udp>) -> AddressFamily => method;
    "[method]udp-socket.unicast-hop-limit"(this: Borrow<Udp>) -> Answer<u8> => method;
    "[method]udp-socket.set-unicast-hop-limit"(this: Borrow<Udp>, value: u8) -> Answer => method_1;
    "[method]udp-socket.receive-buffer-size"(this: Borrow<Udp>) -> Answer<u64> => method;
    "[method]udp-socket.set-receive-buffer-size"(this: Borrow<Udp>, value: u64) -> Answer => method_1;
    "[method]udp-socket.send-buffer-size"(this: Borrow<Udp>) -> Answer<u64> => method;
    "[method]udp-socket.set-send-buffer-size"(this: Borrow<Udp>, value: u64) -> Answer => method_1;
    "[method]udp-socket.subscribe"(this: Borrow<Udp>) -> Handle<Pollable> => method;
    "[resource-drop]udp-socket"(this: Own<Udp>) -> () => drop_resource;
    "[method]incoming-datagram-stream.receive"(
        this: Borrow<Incoming>, most: u64
    ) -> Answer<Vec<IncomingDatagram>> => method_1;
    "[method]incoming-datagram-stream.subscribe"(this: Borrow<Incoming>) -> Handle<Pollable> => method;
    "[resource-drop]incoming-datagram-stream"(this: Own<Incoming>) -> () => drop_resource;
    "[method]outgoing-datagram-stream.check-send"(this: Borrow<Outgoing>) -> Answer<u64> => method;
    "[method]outgoing-datagram-stream.send"(
        this: Borrow<Outgoing>, datagrams: Vec<OutgoingDatagram>
    ) -> Answer<u64> => method_1;
    "[method]outgoing-datagram-stream.subscribe"(this: Borrow<Outgoing>) -> Handle<Pollable> => method;
    "[resource-drop]outgoing-datagram-stream"(this: Own<Outgoing>) -> () => drop_resource;
}
