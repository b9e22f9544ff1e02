//! Clients of the counter, which see what its instances were handed.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use wharf_core::{GuestConfig, HostedGuest, Kind, Run, io};
use wharf_server::{Handler, HandlerOptions, Reuse};

use super::counter::counter;
use crate::case::{CaseResult, Unmet};
use crate::cases::wasi03::probe::load;
use crate::context::Context;
use crate::served::{End, Served, Setup, read_to_end};
use crate::{check, check_eq};

/// How long a request may take that is to be answered, and how long anything is waited for.
pub(super) const LONG: Duration = Duration::from_secs(20);

/// How long one may take that is to run out of time.
pub(super) const SHORT: Duration = Duration::from_millis(400);

/// More requests than any case has.
pub(super) const MANY: u32 = 1_000_000;

/// What the counter says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) count: u8,
    pub(super) inside: u8,
    pub(super) cancelled: u8,
    pub(super) arrived: u8,
    pub(super) lost: u8,
}

/// A client in the middle of an exchange.
pub(super) struct Client {
    pub(super) stream: TcpStream,
    /// What has come and was not looked at.
    pub(super) seen: VecDeque<u8>,
}

impl Client {
    /// Asks for what a letter stands for, with a body of one byte, which is yet to come.
    pub(super) fn ask(served: &Served, letter: char) -> CaseResult<Self> {
        let length = if "qxogck".contains(letter) { 0 } else { 1 };
        let head = format!(
            "POST /{letter} HTTP/1.1\r\nhost: a.example\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
        );
        let mut stream = served.connect()?;
        stream.write_all(head.as_bytes()).map_err(Unmet::harness)?;
        Ok(Client { stream, seen: VecDeque::new() })
    }

    /// Asks for it, and is told.
    pub(super) fn told(served: &Served, letter: char) -> CaseResult<(Self, Report)> {
        let mut client = Self::ask(served, letter)?;
        let report = client.report()?;
        Ok((client, report))
    }

    fn byte(&mut self) -> CaseResult<u8> {
        loop {
            if let Some(byte) = self.seen.pop_front() {
                return Ok(byte);
            }
            let mut buffer = [0; 1024];
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(Unmet::failed("the connection ends before there is a report")),
                Ok(count) => self.seen.extend(&buffer[..count]),
                Err(error) => return Err(Unmet::failed(format!("{error} while waiting for a report"))),
            }
        }
    }

    /// Whatever comes up to the end of this.
    pub(super) fn until(&mut self, end: &str) -> CaseResult<String> {
        let mut text = Vec::new();
        while !text.ends_with(end.as_bytes()) {
            let seen = |unmet: Unmet| unmet.context(format!("after {:?}", String::from_utf8_lossy(&text)));
            text.push(self.byte().map_err(seen)?);
        }
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    fn digits(&mut self) -> CaseResult<Report> {
        let mut digit = || Ok::<_, Unmet>(self.byte()?.wrapping_sub(b'0'));
        Ok(Report { count: digit()?, inside: digit()?, cancelled: digit()?, arrived: digit()?, lost: digit()? })
    }

    /// The report with which the response begins.
    pub(super) fn report(&mut self) -> CaseResult<Report> {
        let head = self.until("\r\n\r\n")?;
        check!(head.starts_with("HTTP/1.1 200 "), "the answer is `{head}`");
        if head.to_ascii_lowercase().contains("transfer-encoding") {
            self.until("\r\n")?;
        }
        self.digits()
    }

    /// Sends the byte.
    pub(super) fn go_on(&mut self) -> CaseResult {
        self.stream.write_all(b".").map_err(Unmet::harness)
    }

    /// Sends the byte; the report with which the response ends.
    pub(super) fn finish(mut self) -> CaseResult<Report> {
        self.go_on()?;
        self.until("!")?;
        let report = self.digits()?;
        let wire = read_to_end(&mut self.stream);
        check_eq!(wire.end, End::Closed, "how the connection ends");
        let rest: Vec<u8> = self.seen.into_iter().chain(wire.bytes).collect();
        check!(rest.ends_with(b"0\r\n\r\n"), "the response is not whole: `{}`", String::from_utf8_lossy(&rest));
        Ok(report)
    }

    /// Leaves at once: to close is to say that nothing more is asked for.
    pub(super) fn leave(self) -> CaseResult {
        self.stream.set_nonblocking(true).map_err(Unmet::harness)?;
        let _io = io().enter();
        let stream = tokio::net::TcpStream::from_std(self.stream).map_err(Unmet::harness)?;
        stream.set_zero_linger().map_err(Unmet::harness)
    }

    /// All that comes until the connection ends.
    pub(super) fn rest(mut self) -> String {
        let wire = read_to_end(&mut self.stream);
        let rest: Vec<u8> = self.seen.into_iter().chain(wire.bytes).collect();
        String::from_utf8_lossy(&rest).into_owned()
    }
}

pub(super) fn options(most: u32, at_once: u32) -> HandlerOptions {
    let mut options = HandlerOptions::default();
    (options.max_reuse, options.max_concurrent_reuse, options.pre_warm) = (Reuse::times(most), at_once, Some(0));
    // Where a request goes is not to be up to how soon an instance has gone on to wait.
    options.max_busy = Some(1);
    options
}

pub(super) fn serve(guest: Arc<dyn HostedGuest>, handler: HandlerOptions, timeout: Duration) -> CaseResult<Served> {
    let config = move || GuestConfig { timeout: Some(timeout), ..GuestConfig::default() };
    Served::guest(guest, Setup { handler, config: Box::new(move |_| Ok(config())), ..Setup::default() })
}

pub(super) fn loaded(context: &Context) -> CaseResult<Arc<dyn HostedGuest>> {
    let component = counter()?;
    context.subject().shared("wasi03/counter", || load(context, &component))
}

/// The counter, `most` requests to an instance and so many at once. On a host that has a new instance for each request, this
/// is refused, and there is no more to be seen: then there is none.
pub(super) fn served(context: &Context, most: u32, at_once: u32, timeout: Duration) -> CaseResult<Option<Served>> {
    let guest = loaded(context)?;
    if !guest.answers_together() && at_once > 1 {
        check!(
            context.subject().component_host().is_some(),
            "wharf's own host refuses several requests in one instance"
        );
        is_refused(guest, options(most, at_once))?;
        return Ok(None);
    }
    serve(guest, options(most, at_once), timeout).map(Some)
}

pub(super) fn is_refused(guest: Arc<dyn HostedGuest>, options: HandlerOptions) -> CaseResult {
    match Handler::new(guest, options, |_| Ok(GuestConfig::default())) {
        Err(error) => {
            check_eq!(error.kind(), Kind::Config, "the kind of the error `{error}`");
            check!(error.to_string().contains("--max-instance-"), "`{error}` does not say which option");
            Ok(())
        }
        Ok(_) => Err(Unmet::failed("it is not refused")),
    }
}

/// What the next request is told.
pub(super) fn query(served: &Served) -> CaseResult<Report> {
    Ok(Client::told(served, 'q')?.1)
}

/// Looks until it is so.
pub(super) fn until(what: &str, mut is_so: impl FnMut() -> CaseResult<bool>) -> CaseResult {
    let end = Instant::now() + LONG;
    while Instant::now() < end {
        if is_so()? {
            return Ok(());
        }
        sleep(Duration::from_millis(2));
    }
    Err(Unmet::failed(format!("{what} within {LONG:?}")))
}

/// Waits until so many instances work on requests and wait for something.
pub(super) fn waiting(served: &Served, instances: usize) -> CaseResult {
    until("the instances do not wait", || Ok(served.handler().waiting_instances() == instances))
}

/// Waits until nothing is worked on.
pub(super) fn settled(served: &Served) -> CaseResult {
    Ok(Run::default().wait(served.handler().settled())?)
}

/// Waits until nothing is worked on, and so many instances are kept that have answered requests.
pub(super) fn idle(served: &Served, instances: usize) -> CaseResult {
    settled(served)?;
    until("the instances are not idle", || Ok(served.handler().idle_instances().1 == instances))
}

/// A request that waits, in the instance that has been handed so many with it.
pub(super) fn enters(served: &Served, letter: char, count: u8, inside: u8) -> CaseResult<Client> {
    let (client, report) = Client::told(served, letter)?;
    check_eq!((report.count, report.inside), (count, inside), "how many were handed to the instance, and are in it");
    waiting(served, 1)?;
    Ok(client)
}
