//! Core's HTTP against origins on this machine.

mod http_addresses;
mod http_callers;
mod http_redirects;
mod http_send;
mod http_support;
mod http_timeouts;
mod http_tls;
