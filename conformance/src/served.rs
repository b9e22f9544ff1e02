//! A guest behind wharf's server, and a client that sends bytes and looks at what comes back.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::{CancellationToken, DropGuard};
use wharf_core::{GuestConfig, HostedGuest, Result, Run, io};
use wharf_server::{Handler, HandlerOptions, RequestHead, Server, ServerOptions};

use crate::case::{CaseResult, Unmet};
use crate::context::Context;

/// How long a client waits for the server before it takes a connection for one that stays open.
const PATIENCE: Duration = Duration::from_secs(10);

/// What an instance is granted, as [`Handler::new`] asks for it.
pub type Configure = Box<dyn Fn(Option<RequestHead<'_>>) -> Result<GuestConfig> + Send + Sync>;

/// How a guest is served.
pub struct Setup {
    /// What clients are allowed.
    pub server: ServerOptions,
    /// How much the handler takes on.
    pub handler: HandlerOptions,
    /// What each instance is granted.
    pub config: Configure,
}

impl Default for Setup {
    /// The defaults of `wharf-server`; guests are granted nothing.
    fn default() -> Self {
        Setup {
            server: ServerOptions::default(),
            handler: HandlerOptions::default(),
            config: Box::new(|_| Ok(GuestConfig { timeout: Some(PATIENCE), ..GuestConfig::default() })),
        }
    }
}

/// How a connection was when the client stopped reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The server closed it.
    Closed,
    /// The server reset it.
    Reset,
    /// It was open, and nothing came for some seconds.
    StillOpen,
}

/// What a client saw of one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wire {
    /// Every byte that came.
    pub bytes: Vec<u8>,
    /// How it ended.
    pub end: End,
}

impl Wire {
    /// The bytes as text, for messages and for what is ASCII anyway.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// The number in the first status line.
    pub fn status(&self) -> Option<u16> {
        self.text().split(' ').nth(1)?.parse().ok()
    }
}

/// A server that runs for as long as this lives.
pub struct Served {
    address: SocketAddr,
    handler: Handler,
    _stop: DropGuard,
}

impl Served {
    /// Serves the guest of this text on the host that is put to the test, on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// [`Unmet`] if the guest does not load or start, [`Unmet::Harness`] if there is no port.
    pub fn start(context: &Context, text: &str, setup: Setup) -> CaseResult<Self> {
        Self::guest(context.hosted(text)?, setup)
    }

    /// The same of a guest that is loaded.
    ///
    /// # Errors
    /// [`Unmet`] if it does not start, [`Unmet::Harness`] if there is no port.
    pub fn guest(guest: Arc<dyn HostedGuest>, setup: Setup) -> CaseResult<Self> {
        let handler = Handler::new(guest, setup.handler, setup.config)?;
        let bound = io().spawn(Server::bind(([127, 0, 0, 1], 0).into(), setup.server));
        let server = Run::default().wait(bound)?.map_err(Unmet::harness)?.map_err(Unmet::harness)?;
        let (address, stop) = (server.address(), CancellationToken::new());
        io().spawn(server.run(handler.clone(), stop.clone()));
        Ok(Served { address, handler, _stop: stop.drop_guard() })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What answers its requests.
    pub fn handler(&self) -> &Handler {
        &self.handler
    }

    /// A connection to it, whose reads end after some seconds.
    ///
    /// # Errors
    /// [`Unmet::Harness`] if there is none.
    pub fn connect(&self) -> CaseResult<TcpStream> {
        let stream = TcpStream::connect(self.address).map_err(Unmet::harness)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(Unmet::harness)?;
        stream.set_nodelay(true).map_err(Unmet::harness)?;
        Ok(stream)
    }

    /// Sends these bytes on a connection of its own, and reads until it ends. A request that says `connection: close` gets
    /// there at once.
    ///
    /// # Errors
    /// [`Unmet::Harness`] if there is no connection.
    pub fn exchange(&self, sent: &[u8]) -> CaseResult<Wire> {
        let mut stream = self.connect()?;
        // A server that refuses a head may close before it took the whole of it.
        _ = stream.write_all(sent);
        Ok(read_to_end(&mut stream))
    }
}

/// Everything that comes on a connection, and how it ends.
pub fn read_to_end(stream: &mut TcpStream) -> Wire {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    let end = loop {
        match stream.read(&mut buffer) {
            Ok(0) => break End::Closed,
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break End::StillOpen,
            Err(_) => break End::Reset,
        }
    };
    Wire { bytes, end }
}
