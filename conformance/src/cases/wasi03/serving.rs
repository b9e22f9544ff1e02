//! A service of WASI 0.3 behind wharf's server: what clients see on their connection.

use std::io::{Read, Write};
use std::time::Duration;

use wharf_core::GuestConfig;
use wharf_guests::HELLO_SERVICE;

use super::probe::load;
use super::service::component;
use crate::case::{Case, CaseResult, Unmet};
use crate::context::Context;
use crate::served::{End, Served, Setup};
use crate::{check, check_eq};

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("wasi03/serving/a-request-is-answered", "RFC 9112, section 6", |context| {
        let served = served(context, Duration::from_secs(20))?;
        let wire = served.exchange(b"GET /x HTTP/1.1\r\nhost: a.example\r\nconnection: close\r\n\r\n")?;
        check_eq!(wire.status(), Some(200), "the status of `{}`", wire.text());
        check!(wire.text().contains("hello from /x"), "the body of `{}`", wire.text());
        check_eq!(wire.end, End::Closed, "how the connection ends");
        Ok(())
    })
    .guests(&[HELLO_SERVICE]),
    Case::must("wasi03/serving/a-head-has-no-body", "RFC 9110, section 9.3.2", |context| {
        let served = served(context, Duration::from_secs(20))?;
        let wire = served.exchange(b"HEAD /x HTTP/1.1\r\nhost: a.example\r\nconnection: close\r\n\r\n")?;
        check_eq!(wire.status(), Some(200), "the status of `{}`", wire.text());
        check!(wire.text().ends_with("\r\n\r\n"), "there is a body: `{}`", wire.text());
        Ok(())
    })
    .guests(&[HELLO_SERVICE]),
    Case::must("wasi03/serving/bodies-go-both-ways-at-once", "wasi:http/types@0.3.0: response.new", |context| {
        let served = served(context, Duration::from_secs(20))?;
        let mut stream = served.connect()?;
        let head = b"POST /echo HTTP/1.1\r\nhost: a.example\r\ncontent-length: 12\r\n\r\n";
        stream.write_all(head).map_err(Unmet::harness)?;
        let mut seen = Vec::new();
        for part in ["first-", "second"] {
            stream.write_all(part.as_bytes()).map_err(Unmet::harness)?;
            let mut buffer = [0; 4096];
            while !String::from_utf8_lossy(&seen).contains(part) {
                let count = stream.read(&mut buffer).map_err(|error| {
                    Unmet::failed(format!(
                        "{error} while waiting for `{part}`, after {:?}",
                        String::from_utf8_lossy(&seen)
                    ))
                })?;
                check!(count > 0, "the connection ends before `{part}` comes back");
                seen.extend_from_slice(&buffer[..count]);
            }
        }
        Ok(())
    })
    .guests(&[HELLO_SERVICE]),
    Case::must("wasi03/serving/a-trap-leaves-the-last-chunk-out", "RFC 9112, section 8", |context| {
        let served = served(context, Duration::from_secs(20))?;
        let wire = served.exchange(b"GET /trap HTTP/1.1\r\nhost: a.example\r\nconnection: close\r\n\r\n")?;
        let whole = wire.status() == Some(200) && wire.text().ends_with("0\r\n\r\n");
        check!(!whole, "a response that was broken off looks whole: `{}`", wire.text());
        Ok(())
    })
    .guests(&[HELLO_SERVICE]),
    Case::must("wasi03/serving/a-guest-that-never-ends-is-a-timeout", "RFC 9110, section 15.6.5", |context| {
        let served = served(context, Duration::from_millis(500))?;
        let wire = served.exchange(b"GET /spin HTTP/1.1\r\nhost: a.example\r\nconnection: close\r\n\r\n")?;
        check_eq!(wire.status(), Some(504), "the status of `{}`", wire.text());
        Ok(())
    })
    .guests(&[HELLO_SERVICE]),
    Case::must("wasi03/serving/an-error-code-is-a-status", "RFC 5842, section 7.2", |context| {
        let served = served(context, Duration::from_secs(20))?;
        let wire = served.exchange(b"GET /error HTTP/1.1\r\nhost: a.example\r\nconnection: close\r\n\r\n")?;
        check_eq!(wire.status(), Some(508), "the status of `{}`", wire.text());
        Ok(())
    })
    .guests(&[HELLO_SERVICE]),
    Case::must("wasi03/serving/many-requests-have-an-instance-each", "wasi:http/handler@0.3.0", |context| {
        let served = served(context, Duration::from_secs(20))?;
        for at in 0..20 {
            let request = format!("GET /{at} HTTP/1.1\r\nhost: a.example\r\nconnection: close\r\n\r\n");
            let wire = served.exchange(request.as_bytes())?;
            check!(wire.text().contains(&format!("hello from /{at}\n")), "answer {at} is `{}`", wire.text());
        }
        Ok(())
    })
    .guests(&[HELLO_SERVICE]),
];

/// The service behind a server, each of whose instances may run for so long.
fn served(context: &Context, timeout: Duration) -> CaseResult<Served> {
    let component = component()?;
    let guest = context.subject().shared("wasi03/service", || load(context, &component))?;
    let config = move || GuestConfig { timeout: Some(timeout), ..GuestConfig::default() };
    Served::guest(guest, Setup { config: Box::new(move |_| Ok(config())), ..Setup::default() })
}
