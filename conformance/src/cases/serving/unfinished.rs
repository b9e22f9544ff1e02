//! Messages that guests leave unfinished: each end of a guest, with each framing, in each version of HTTP. What clients
//! see is compared with core's decision, and written down in `docs/unfinished.md`.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Version};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use wharf_core::{GuestConfig, Run, io};

use super::reader::{Seen, responses};
use super::script::{Expected, Step, TIME, expected, guest, path, request};
use crate::case::{Case, CaseResult, Unmet};
use crate::check;
use crate::context::Context;
use crate::random::{Random, number, seed};
use crate::served::{Configure, End, Served, Setup, read_to_end};

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("serving/unfinished/http11", "RFC 9112, section 8", |context| version(context, Version::HTTP_11)),
    Case::must("serving/unfinished/http10", "RFC 9112, section 8", |context| version(context, Version::HTTP_10)),
    Case::must("serving/unfinished/http2", "RFC 9113, section 8.1.1", |context| version(context, Version::HTTP_2)),
    Case::must("serving/unfinished/random", "RFC 9112, section 8", random),
];

/// The variable that asks for another number of random requests.
const COUNT: &str = "WHARF_RANDOM_REQUESTS";

/// The variable that has the table written anew.
const WRITE: &str = "WHARF_WRITE_DOCS";

/// How many clients ask at the same time.
const CLIENTS: usize = 8;

/// The table as it is in the tree.
const TABLE: &str = include_str!("unfinished.md");

const ENDS: [(&str, Option<Step>); 6] = [
    ("finishes", Some(Step::Finish)),
    ("drops the body", Some(Step::Drop)),
    ("returns", None),
    ("traps", Some(Step::Trap)),
    ("exits", Some(Step::Exit(0))),
    ("runs out of time", Some(Step::Spin)),
];

const FRAMINGS: [(&str, &[Step], Method); 5] = [
    ("content-length: 5", &[Step::Announce(5)], Method::GET),
    ("no length", &[], Method::GET),
    ("HEAD, content-length: 5", &[Step::Announce(5)], Method::HEAD),
    ("204", &[Step::Status(204)], Method::GET),
    ("304", &[Step::Status(304)], Method::GET),
];

/// The rows of the table: what the guest flushes, how it ends, and the steps of that.
fn rows() -> Vec<(String, Vec<Step>)> {
    let mut rows = Vec::new();
    for (what, end) in ENDS {
        for count in [0, 3, 5] {
            let write = (count > 0).then_some(Step::Flush(count));
            rows.push((format!("{what} | {count}"), write.into_iter().chain(end).collect()));
        }
    }
    rows.push(("finishes | 6".to_owned(), vec![Step::Flush(6), Step::Finish]));
    rows
}

/// The scripted guest, which has no more than [`TIME`].
fn serve(context: &Context) -> CaseResult<Served> {
    let config: Configure = Box::new(|_| Ok(GuestConfig { timeout: Some(TIME), ..GuestConfig::default() }));
    Served::start(context, &guest(), Setup { config, ..Setup::default() })
}

/// Does something with each, [`CLIENTS`] at a time.
fn each<T: Sync>(all: &[T], does: impl Fn(usize, &T) -> CaseResult + Sync) -> CaseResult {
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(None));
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                while let Some((at, one)) =
                    Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|at| Some((at, all.get(at)?)))
                {
                    if let Err(unmet) = does(at, one) {
                        *failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(unmet);
                        next.store(all.len(), Ordering::Relaxed);
                    }
                }
            });
        }
    });
    failed.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).map_or(Ok(()), Err)
}

/// What follows on the same connection.
const FOLLOW_UP: [Step; 4] = [Step::Announce(2), Step::Respond, Step::Flush(2), Step::Finish];

/// What a client of HTTP/1 sees of requests that it sends at once, and how the connection ended.
fn ask(served: &Served, asked: &[(Vec<Step>, Method)], version: Version) -> CaseResult<(Vec<Seen>, End)> {
    use std::io::Write;
    let last = asked.len() - 1;
    let text: String =
        asked.iter().enumerate().map(|(at, (steps, method))| request(steps, method, version, at == last)).collect();
    let mut stream = served.connect()?;
    stream.write_all(text.as_bytes()).map_err(Unmet::harness)?;
    let wire = read_to_end(&mut stream);
    let methods: Vec<Method> = asked.iter().map(|(_, method)| method.clone()).collect();
    let seen = responses(&wire, &methods).map_err(|why| Unmet::failed(format!("{why}; asked for {text:?}")))?;
    Ok((seen, wire.end))
}

/// Compares what was seen with what has to be, one request after another; a broken response is the last.
fn compare(asked: &[(Vec<Step>, Method)], seen: &[Seen], end: End, wasmtimes: bool, version: Version) -> CaseResult {
    let mut seen_left = seen.iter();
    for (at, (steps, method)) in asked.iter().enumerate() {
        let wanted = expected(steps, method, wasmtimes);
        let what = format!("{method} {} in {version:?}, request {at}", path(steps));
        let Some(saw) = seen_left.next() else {
            return Err(Unmet::failed(format!("{what}: {wanted:?} should come, and nothing came; the end is {end:?}")));
        };
        let got = if saw.whole {
            Expected::Whole(saw.status, saw.body.clone())
        } else {
            Expected::Broken(saw.status, saw.body.clone())
        };
        let right = got == wanted
            || saw.to_the_end && end == End::Reset && is_less(&wanted, &got)
            || wasmtimes && is_wasmtimes(steps, method, &wanted, &got);
        check!(right, "{what}: {wanted:?} should come, and {got:?} came; the end is {end:?}");
        if !saw.whole {
            let ends = if saw.to_the_end { end == End::Reset } else { end != End::StillOpen };
            check!(ends, "{what}: it broke off with {end:?}");
            break;
        }
    }
    check!(seen_left.next().is_none(), "a response came after a broken one");
    Ok(())
}

/// Whether less came of a message that breaks off. A reset takes with it what the system had accepted and not yet delivered.
fn is_less(wanted: &Expected, got: &Expected) -> bool {
    match (wanted, got) {
        (Expected::Broken(_, sent), Expected::Broken(_, less)) => sent.starts_with(less),
        _ => false,
    }
}

/// Whether what came is as safe as what should, and Wasmtime's host does not allow for better: where what is written counts
/// as flushed, less of it may have left when the message breaks off; and a body that is given up looks like one of another
/// length than announced, which is no fault where there is no content.
fn is_wasmtimes(steps: &[Step], method: &Method, wanted: &Expected, got: &Expected) -> bool {
    let announces = steps.iter().any(|step| matches!(step, Step::Announce(_)));
    match (wanted, got) {
        (Expected::Broken(_, sent), Expected::Whole(500 | 504, none)) => sent.is_empty() && none.is_empty(),
        (Expected::Broken(..), Expected::Broken(..)) => is_less(wanted, got),
        (Expected::Whole(500 | 504, _), Expected::Whole(_, none)) => {
            let bodiless = method == Method::HEAD || steps.iter().any(|step| matches!(step, Step::Status(204 | 304)));
            none.is_empty() && announces && bodiless
        }
        _ => false,
    }
}

/// What a client of HTTP/2 sees, over a connection of its own.
fn ask_http2(served: &Served, steps: &[Step], method: &Method) -> CaseResult<Seen> {
    let (address, asked) =
        (served.address(), Request::builder().method(method).uri(format!("http://a{}", path(steps))));
    let asked = asked.body(Empty::<Bytes>::new()).map_err(Unmet::harness)?;
    let exchange = async move {
        let stream = tokio::net::TcpStream::connect(address).await.map_err(Unmet::harness)?;
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                .await
                .map_err(Unmet::harness)?;
        tokio::spawn(connection);
        let response = sender.send_request(asked).await.map_err(|error| Unmet::failed(format!("no head: {error}")))?;
        let status = response.status().as_u16();
        let (mut incoming, mut body) = (response.into_body(), Vec::new());
        loop {
            let whole = match incoming.frame().await {
                Some(Ok(frame)) => {
                    body.extend(frame.into_data().unwrap_or_default());
                    continue;
                }
                Some(Err(_)) => false,
                None => true,
            };
            return Ok(Seen { status, body, whole, to_the_end: false });
        }
    };
    let exchange = io().spawn(async move { tokio::time::timeout(Duration::from_secs(30), exchange).await });
    let seen = Run::default().wait(exchange)?.map_err(Unmet::harness)?;
    seen.map_err(|_| Unmet::failed(format!("{method} {} did not end", path(steps))))?
}

/// How a cell of the table reads.
fn cell(seen: &Seen, version: Version) -> String {
    let body = if seen.body.is_empty() { String::new() } else { format!(", {} bytes", seen.body.len()) };
    let end = match seen.whole {
        true => "",
        false if seen.to_the_end || version == Version::HTTP_2 => ", **broken** by a reset",
        false => ", **broken**",
    };
    format!("{}{body}{end}", seen.status)
}

fn title(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "## HTTP/1.0",
        Version::HTTP_2 => "## HTTP/2",
        _ => "## HTTP/1.1",
    }
}

/// Has the guest end in each way, with each framing.
fn version(context: &Context, version: Version) -> CaseResult {
    let served = serve(context)?;
    // There what is written is sent, whether it is flushed or not.
    let wasmtimes = context.subject().component_host().is_some();
    let rows = rows();
    let all: Vec<(usize, usize)> =
        (0..rows.len()).flat_map(|row| (0..FRAMINGS.len()).map(move |column| (row, column))).collect();
    let cells = Mutex::new(BTreeMap::new());
    each(&all, |_, &(row, column)| {
        let (_, first, method) = &FRAMINGS[column];
        let steps = [*first, &[Step::Respond], &rows[row].1[..]].concat();
        let seen = if version == Version::HTTP_2 {
            let seen = ask_http2(&served, &steps, method)?;
            let end = if seen.whole { End::Closed } else { End::Reset };
            compare(&[(steps, method.clone())], std::slice::from_ref(&seen), end, wasmtimes, version)?;
            vec![seen]
        } else {
            let mut asked = vec![(steps, method.clone())];
            if version == Version::HTTP_11 {
                asked.push((FOLLOW_UP.to_vec(), Method::GET));
            }
            let (seen, end) = ask(&served, &asked, version)?;
            compare(&asked, &seen, end, wasmtimes, version)?;
            seen
        };
        let text = seen.first().map(|seen| cell(seen, version)).unwrap_or_default();
        cells.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert((row, column), text);
        Ok(())
    })?;
    let cells = cells.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    let framings = FRAMINGS.iter().map(|(name, ..)| format!(" {name} |")).collect::<String>();
    let mut table = format!("{}\n\n| the guest | flushed |{framings}\n|---|---|{}\n", title(version), "---|".repeat(5));
    for (row, (name, _)) in rows.iter().enumerate() {
        let line: String = (0..FRAMINGS.len()).map(|column| format!(" {} |", cells[&(row, column)])).collect();
        table.push_str(&format!("| {name} |{line}\n"));
    }
    if std::env::var_os(WRITE).is_some() {
        return write(version, &table);
    }
    // The table is of wharf's own host.
    check!(
        wasmtimes || TABLE.contains(&table),
        "docs/unfinished.md does not say what clients see; run this case with {WRITE}=1. They see:\n{table}"
    );
    Ok(())
}

/// Puts the table into the file, in the place of the one that is there.
fn write(version: Version, table: &str) -> CaseResult {
    static WRITING: Mutex<()> = Mutex::new(());
    let _alone = WRITING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/unfinished.md");
    let text = std::fs::read_to_string(file).map_err(Unmet::harness)?;
    let Some(at) = text.find(title(version)) else {
        return Err(Unmet::failed(format!("docs/unfinished.md has no section {:?}", title(version))));
    };
    let end = text[at + 1..].find("\n## ").map_or(text.len(), |end| at + 1 + end);
    let text = format!("{}{table}{}", &text[..at], &text[end..]);
    std::fs::write(file, text).map_err(Unmet::harness)
}

/// Random steps: a response of some kind, writes, waits, an end.
fn steps(random: &mut Random) -> (Vec<Step>, Method) {
    let mut steps = Vec::new();
    let method = if random.below(8) == 0 { Method::HEAD } else { Method::GET };
    if random.below(2) == 0 {
        steps.push(Step::Announce(random.below(7) as u8));
    }
    match random.below(12) {
        0 => steps.push(Step::Status(204)),
        1 => steps.push(Step::Status(304)),
        _ => {}
    }
    // Some end before there is a response.
    match random.below(16) {
        0 => return (steps, method),
        1 => steps.extend([Step::RespondBodiless]),
        _ => {
            steps.push(Step::Respond);
            for _ in 0..random.below(4) {
                steps.push(match random.below(8) {
                    0 => Step::Wait,
                    1 | 2 => Step::Write(1 + random.below(3) as u8),
                    _ => Step::Flush(1 + random.below(3) as u8),
                });
            }
        }
    }
    let finishes = steps.last() != Some(&Step::RespondBodiless);
    match random.below(8) {
        0 => steps.push(Step::Trap),
        1 => steps.push(Step::Exit(random.below(2) as u8)),
        2 => {}
        3 if finishes => steps.push(Step::Drop),
        _ if finishes => steps.push(Step::Finish),
        _ => {}
    }
    (steps, method)
}

/// Pipelined requests on many connections, whose responses must be the ones of the model, each its own.
fn random(context: &Context) -> CaseResult {
    let count = number(COUNT, 600)?;
    let wasmtimes = context.subject().component_host().is_some();
    let (mut random, mut connections, mut requests) = (Random(seed()?), Vec::new(), 0);
    while requests < count {
        let version = if random.below(6) == 0 { Version::HTTP_10 } else { Version::HTTP_11 };
        let pipelined = if version == Version::HTTP_10 { 1 } else { 1 + random.below(4) };
        let asked: Vec<_> = (0..pipelined).map(|_| steps(&mut random)).collect();
        requests += pipelined;
        connections.push((asked, version));
    }
    let served = serve(context)?;
    each(&connections, |_, (asked, version)| {
        let (seen, end) = ask(&served, asked, *version)?;
        compare(asked, &seen, end, wasmtimes, *version)
    })
}
