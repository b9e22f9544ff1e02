//! HTTP against origins on this machine.

mod addresses;
mod callers;
mod redirects;
mod send;
mod support;
mod timeouts;
mod tls;
