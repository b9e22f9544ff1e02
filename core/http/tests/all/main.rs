//! HTTP against origins on this machine. `wharf-http-reqwest` runs all of these files but `exact`, with its own transport as
//! `Sends`.

use wharf_http::{PooledBuilder as Builder, PooledTransport as Sends};

mod addresses;
mod callers;
mod exact;
mod redirects;
mod send;
mod support;
mod timeouts;
mod tls;
