//! What an embedder grants a guest, whatever ABI it speaks and whichever host it runs on: arguments, environment,
//! directories, standard streams, sockets.
//!
//! An embedder fills a [`WasiConfig`], which checks what it is given; a host reads what is [`Granted`].

mod config;
mod error;
mod network;
mod open;
mod stdio;
mod streams;

pub use self::config::{DEFAULT_MAX_FDS, Directory, Granted, MAX_STRINGS, WasiConfig};
pub use self::error::GrantError;
pub use self::network::{GrantedNetwork, Listen, Network};
pub use self::open::{OpenInput, OpenOutput};
pub use self::stdio::{Capture, Input, Lines, Output, Reader, Writer};
pub use self::streams::{InputStream, OutputStream, Stream};
