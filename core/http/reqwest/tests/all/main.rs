//! The tests of `wharf-http`, on reqwest; and in `contract`, what is asked of a client that somebody else made.

use wharf_http_reqwest::{ReqwestBuilder as Builder, ReqwestTransport as Sends};

#[path = "../../../tests/all/addresses.rs"]
mod addresses;
#[path = "../../../tests/all/callers.rs"]
mod callers;
mod contract;
#[path = "../../../tests/all/redirects.rs"]
mod redirects;
#[path = "../../../tests/all/send.rs"]
mod send;
#[path = "../../../tests/all/support/mod.rs"]
mod support;
#[path = "../../../tests/all/timeouts.rs"]
mod timeouts;
#[path = "../../../tests/all/tls.rs"]
mod tls;
