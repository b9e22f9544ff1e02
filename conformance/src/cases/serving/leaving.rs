//! Clients that leave, and clients that only have nothing more to say.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread::sleep;
use std::time::{Duration, Instant};

use wharf_core::{Run, io};

use super::guests::{OWN, SHORT, SPIN, fetch, guest, serve};
use crate::case::{Case, CaseResult, Unmet};
use crate::cases::wasihttp::handler::{FINISH, HELLO, RESPOND};
use crate::context::Context;
use crate::origin::{Gate, Origin, Step};
use crate::served::{End, Served, read_to_end};
use crate::{check, check_eq};

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("serving/leaving/while-an-origin-is-waited-for", "RFC 9112, section 9.5", waiting),
    Case::must("serving/leaving/while-the-guest-computes", "RFC 9112, section 9.5", computing),
    Case::must("serving/leaving/others-are-served-beside-guests-that-compute", "RFC 9112, section 9.5", beside),
    Case::must("serving/leaving/in-the-body", "RFC 9112, section 9.5", streaming),
    Case::must("serving/leaving/many-at-once", "RFC 9112, section 9.5", many),
    Case::must("serving/leaving/half-closed", "RFC 9112, section 9.6", half_closed),
    Case::must("serving/leaving/half-closed-within-the-body", "RFC 9112, sections 7.1 and 9.6", within),
    Case::must("serving/leaving/half-closed-and-waiting", "RFC 9112, section 9.6; RFC 9110, section 15.2", patient),
];

/// No request takes this long to be seen: what has not happened by then does not.
const LIMIT: Duration = Duration::from_secs(5);

fn holding() -> CaseResult<Origin> {
    Origin::raw([Step::ReadRequest, Step::Hold])
}

/// A connection that has sent these bytes.
fn sent(served: &Served, bytes: &[u8]) -> CaseResult<TcpStream> {
    let mut stream = served.connect()?;
    stream.write_all(bytes).map_err(Unmet::harness)?;
    Ok(stream)
}

/// Closes with a reset.
fn reset(stream: TcpStream) -> CaseResult {
    stream.set_nonblocking(true).map_err(Unmet::harness)?;
    let _io = io().enter();
    let stream = tokio::net::TcpStream::from_std(stream).map_err(Unmet::harness)?;
    stream.set_zero_linger().map_err(Unmet::harness)
}

/// Asks until the one place is free.
fn is_free(served: &Served) -> CaseResult<bool> {
    let end = Instant::now() + LIMIT;
    while Instant::now() < end {
        match served.exchange(SHORT)?.status() {
            Some(200) => return Ok(true),
            Some(503) => sleep(Duration::from_millis(5)),
            other => return Err(Unmet::failed(format!("a request beside it is answered with {other:?}"))),
        }
    }
    Ok(false)
}

/// Waits until the one place is taken.
fn is_taken(served: &Served) -> CaseResult<bool> {
    let end = Instant::now() + LIMIT;
    while Instant::now() < end {
        if served.exchange(SHORT)?.status() == Some(503) {
            return Ok(true);
        }
        sleep(Duration::from_millis(5));
    }
    Ok(false)
}

type Leave = fn(TcpStream) -> CaseResult;

/// What a client sends, and how it leaves.
const WAYS: [(&str, &[u8], Leave); 6] = [
    ("closes", OWN, |stream| {
        drop(stream);
        Ok(())
    }),
    ("resets", OWN, reset),
    ("closes with a request that nobody read", b"GET / HTTP/1.1\r\nhost: a\r\n\r\nGET / HTTP/1.1\r\n", |stream| {
        drop(stream);
        Ok(())
    }),
    ("closes within its body", b"GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nhello", |stream| {
        drop(stream);
        Ok(())
    }),
    ("resets within its body", b"GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nhello", reset),
    ("resets when it had closed its side", OWN, |stream| {
        stream.shutdown(Shutdown::Write).map_err(Unmet::harness)?;
        sleep(Duration::from_millis(20));
        reset(stream)
    }),
];

fn waiting(context: &Context) -> CaseResult {
    let origin = holding()?;
    let served = serve(context, &guest(&[&fetch(origin.address())]), &[&origin], 1)?;
    for (way, bytes, leave) in WAYS {
        let before = origin.requests().len();
        let stream = sent(&served, bytes)?;
        if !origin.wait_until(|origin| origin.requests().len() > before) {
            let answer = read_to_end(&mut { stream }).text();
            return Err(Unmet::failed(format!("a client that {way}: nothing was asked; the answer is {answer:?}")));
        }
        leave(stream)?;
        check!(origin.wait_until(|origin| origin.open() == 0), "a client that {way}: the guest's connection stays");
        check!(is_free(&served)?, "a client that {way} keeps its place");
    }
    Ok(())
}

fn computing(context: &Context) -> CaseResult {
    let served = serve(context, &guest(&[SPIN]), &[], 1)?;
    for (way, bytes, leave) in WAYS {
        let stream = sent(&served, bytes)?;
        if !is_taken(&served)? {
            let answer = read_to_end(&mut { stream }).text();
            return Err(Unmet::failed(format!(
                "a client that {way}: its guest does not run; the answer is {answer:?}"
            )));
        }
        leave(stream)?;
        check!(is_free(&served)?, "a client that {way} keeps its place");
    }
    Ok(())
}

/// More guests compute than the server has workers. It serves others all the same, and ends these when their clients leave.
fn beside(context: &Context) -> CaseResult {
    const SPINNING: usize = 4;
    let served = serve(context, &guest(&[SPIN]), &[], SPINNING + 1)?;
    let streams = (0..SPINNING).map(|_| sent(&served, OWN)).collect::<CaseResult<Vec<_>>>()?;
    sleep(Duration::from_millis(300));
    let start = Instant::now();
    check_eq!(served.exchange(SHORT)?.status(), Some(200), "the status of a request beside them");
    check!(start.elapsed() < LIMIT, "a request beside them took {:?}", start.elapsed());
    drop(streams);
    let settled = Run::default().wait_until(served.handler().settled(), Instant::now().checked_add(LIMIT))?;
    check!(settled.is_some(), "guests of clients that have left go on");
    Ok(())
}

/// The client has read all that there was, so that its system closes in good order.
fn streaming(context: &Context) -> CaseResult {
    let origin = holding()?;
    let served = serve(context, &guest(&[RESPOND, HELLO, &fetch(origin.address())]), &[&origin], 1)?;
    for (way, leave) in [("closes", WAYS[0].2), ("resets", WAYS[1].2)] {
        let before = origin.requests().len();
        let mut stream = sent(&served, OWN)?;
        let (mut seen, mut buffer) = (Vec::new(), [0; 512]);
        while !seen.ends_with(b"hello\r\n") {
            let read = stream.read(&mut buffer).map_err(Unmet::harness)?;
            check!(read > 0, "a client that {way}: the response ended: {:?}", String::from_utf8_lossy(&seen));
            seen.extend_from_slice(&buffer[..read]);
        }
        check!(origin.wait_until(|origin| origin.requests().len() > before), "a client that {way}: nothing was asked");
        leave(stream)?;
        check!(origin.wait_until(|origin| origin.open() == 0), "a client that {way}: the guest's connection stays");
        check!(is_free(&served)?, "a client that {way} keeps its place");
    }
    Ok(())
}

/// As many as there are places.
const MANY: usize = 128;

fn many(context: &Context) -> CaseResult {
    let origin = holding()?;
    let served = serve(context, &guest(&[&fetch(origin.address())]), &[&origin], MANY)?;
    let streams = (0..MANY).map(|_| sent(&served, OWN)).collect::<CaseResult<Vec<_>>>()?;
    check!(origin.wait_until(|origin| origin.open() == MANY), "{} of {MANY} requests came", origin.open());
    check_eq!(served.exchange(SHORT)?.status(), Some(503), "a request while every place is taken");
    drop(streams);
    check!(is_free(&served)?, "nobody is left, and there is no place");
    check!(origin.wait_until(|origin| origin.open() == 0), "{} connections of the guests stay", origin.open());
    Ok(())
}

fn half_closed(context: &Context) -> CaseResult {
    let served = serve(context, &guest(&[RESPOND, HELLO, FINISH]), &[], 1)?;
    for head in ["GET / HTTP/1.1\r\nhost: a\r\n\r\n", "GET / HTTP/1.0\r\nhost: a\r\n\r\n"] {
        let mut stream = sent(&served, head.as_bytes())?;
        stream.shutdown(Shutdown::Write).map_err(Unmet::harness)?;
        let wire = read_to_end(&mut stream);
        check_eq!(wire.status(), Some(200), "the status in {:?}", wire.text());
        check!(wire.text().contains("hello"), "the body is missing in {:?}", wire.text());
    }
    Ok(())
}

/// The guest takes its time, before the response begins and once it has.
fn patient(context: &Context) -> CaseResult {
    for version in ["1.1", "1.0"] {
        let gate = Gate::new();
        let answer = Step::text("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        let origin = Origin::raw([Step::ReadRequest, Step::Gate(gate.clone()), answer])?;
        let served = serve(context, &guest(&[&fetch(origin.address()), RESPOND, HELLO, FINISH]), &[&origin], 1)?;
        let mut stream = sent(&served, format!("GET / HTTP/{version}\r\nhost: a\r\n\r\n").as_bytes())?;
        stream.shutdown(Shutdown::Write).map_err(Unmet::harness)?;
        check!(origin.wait_until(|origin| origin.requests().len() == 1), "{version}: nothing was asked");
        sleep(Duration::from_millis(200));
        gate.open();
        let text = read_to_end(&mut stream).text();
        let interim = "HTTP/1.1 100 Continue\r\n\r\n";
        let last = text.strip_prefix(interim).unwrap_or(&text);
        check_eq!(text.len() > last.len(), version == "1.1", "whether an interim response is sent with {version}");
        check!(last.starts_with(&format!("HTTP/{version} 200 OK\r\n")), "with {version}, this was answered: {text:?}");
        check!(last.contains("hello"), "the body is missing in {text:?}");
    }
    Ok(())
}

/// The client closes its side when the response has begun, and the guest takes its time before it goes on, and before it
/// ends.
fn within(context: &Context) -> CaseResult {
    for version in ["1.1", "1.0"] {
        let gates = [Gate::new(), Gate::new()];
        let answer = |gate: &Gate| {
            let head = Step::text("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
            Origin::raw([Step::ReadRequest, Step::Gate(gate.clone()), head])
        };
        let origins = [answer(&gates[0])?, answer(&gates[1])?];
        let steps = [RESPOND, HELLO, &fetch(origins[0].address()), HELLO, &fetch(origins[1].address()), FINISH];
        let served = serve(context, &guest(&steps), &[&origins[0], &origins[1]], 1)?;
        let mut stream = sent(&served, format!("GET / HTTP/{version}\r\nhost: a\r\n\r\n").as_bytes())?;
        let (mut seen, mut buffer) = (Vec::new(), [0; 512]);
        let first = if version == "1.1" { "5\r\nhello\r\n" } else { "hello" };
        while !String::from_utf8_lossy(&seen).ends_with(first) {
            let read = stream.read(&mut buffer).map_err(Unmet::harness)?;
            check!(read > 0, "{version}: the response ended: {:?}", String::from_utf8_lossy(&seen));
            seen.extend_from_slice(&buffer[..read]);
        }
        sleep(Duration::from_millis(100));
        stream.shutdown(Shutdown::Write).map_err(Unmet::harness)?;
        if version == "1.1" {
            // The client is asked whether it is there, by the first digit of the next chunk's length.
            stream.read_exact(&mut buffer[..1]).map_err(Unmet::harness)?;
            check_eq!(buffer[0], b'0', "what comes while the guest has nothing to send");
        }
        for (gate, origin) in gates.iter().zip(&origins) {
            check!(origin.wait_until(|origin| origin.requests().len() == 1), "{version}: nothing was asked");
            sleep(Duration::from_millis(200));
            gate.open();
        }
        let rest = read_to_end(&mut stream);
        check_eq!(rest.end, End::Closed, "how the connection ends with {version}");
        let expected = if version == "1.1" { "5\r\nhello\r\n0\r\n\r\n" } else { "hello" };
        check_eq!(rest.text(), expected, "the rest of the response with {version}");
    }
    Ok(())
}
