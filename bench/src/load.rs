//! The load, on one thread: connections that ask as soon as they have been answered, or at fixed times.

use std::net::SocketAddr;
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use hdrhistogram::Histogram;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::task::LocalSet;

use crate::answer::{self, Answer};
use crate::serving::Served;

/// How much longer than asked for a load may take: a server that stops answering is an error.
const PATIENCE: Duration = Duration::from_secs(60);

/// What came of a load.
#[derive(Debug)]
pub(crate) struct Load {
    /// Answers a second.
    pub(crate) rate: f64,
    /// How long each took, in nanoseconds.
    pub(crate) times: Histogram<u64>,
}

impl Load {
    /// How long so many answers of 100 took at most, in microseconds.
    pub(crate) fn micros(&self, percent: f64) -> f64 {
        self.times.value_at_percentile(percent) as f64 / 1e3
    }
}

/// When requests are sent.
enum Pace {
    /// As soon as the last one of the connection was answered, until then.
    Closed(Instant),
    /// When they are due, by the next connection that is free.
    Open(Mutex<UnboundedReceiver<Instant>>),
}

/// Asks for as long as `time`, on as many connections, each as soon as it has been answered.
///
/// # Errors
/// If any answer is not a complete one with status 200 and a body, or none comes.
pub(crate) fn closed(served: &Served, connections: usize, time: Duration) -> anyhow::Result<Load> {
    run(served.address, served.request, connections, time, |start| Pace::Closed(start + time))
        .with_context(|| format!("{} under load", served.name()))
}

/// Asks `rate` times a second for as long as `time`, whether earlier requests have been answered or not. A request
/// takes from when it was due, so that those that had to wait for a connection count with their waiting.
///
/// # Errors
/// As of [`closed`].
pub(crate) fn open(served: &Served, connections: usize, time: Duration, rate: f64) -> anyhow::Result<Load> {
    run(served.address, served.request, connections, time, |start| due(start, time, rate))
        .with_context(|| format!("{} at {rate:.0} requests a second", served.name()))
}

/// Tells connections when the next request is due, from a thread: it sleeps more exactly than the timers of the runtime.
fn due(start: Instant, time: Duration, rate: f64) -> Pace {
    let (sender, receiver) = mpsc::unbounded_channel();
    thread::spawn(move || {
        let count = (time.as_secs_f64() * rate).ceil().max(1.0) as u64;
        for number in 0..count {
            let due = start + Duration::from_secs_f64(number as f64 / rate);
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if sender.send(due).is_err() {
                return; // The load has failed.
            }
        }
    });
    Pace::Open(Mutex::new(receiver))
}

fn run(
    address: SocketAddr,
    request: &'static str,
    connections: usize,
    time: Duration,
    pace: impl FnOnce(Instant) -> Pace,
) -> anyhow::Result<Load> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let mut streams = Vec::new();
        for _ in 0..connections {
            let stream = TcpStream::connect(address).await.context("cannot connect")?;
            stream.set_nodelay(true)?;
            streams.push(stream);
        }
        let start = Instant::now();
        let pace = Rc::new(pace(start));
        let asking = streams.into_iter().map(|stream| tokio::task::spawn_local(ask(stream, request, pace.clone())));
        let asking: Vec<_> = asking.collect();
        let all = async {
            let mut times = Histogram::new(3)?;
            for task in asking {
                times.add(task.await??)?;
            }
            anyhow::Ok(times)
        };
        let times = tokio::time::timeout(time + PATIENCE, all).await.context("answers do not come")??;
        if times.is_empty() {
            bail!("nothing was answered in {time:?}");
        }
        Ok(Load { rate: times.len() as f64 / start.elapsed().as_secs_f64(), times })
    })
}

async fn ask(mut stream: TcpStream, request: &str, pace: Rc<Pace>) -> anyhow::Result<Histogram<u64>> {
    let mut times = Histogram::new(3)?;
    let mut bytes = Vec::with_capacity(4096);
    loop {
        let due = match &*pace {
            Pace::Closed(end) => Some(Instant::now()).filter(|now| now < end),
            Pace::Open(due) => due.lock().await.recv().await,
        };
        let Some(due) = due else { return Ok(times) };
        stream.write_all(request.as_bytes()).await.context("a request cannot be sent")?;
        bytes.clear();
        let answer = loop {
            if stream.read_buf(&mut bytes).await? == 0 {
                bail!("a connection ended within the answer {:?}", String::from_utf8_lossy(&bytes));
            }
            if let Some(answer) = answer::whole(&bytes)? {
                break answer;
            }
        };
        times.record(u64::try_from(due.elapsed().as_nanos())?.max(1))?;
        match answer {
            Answer { status: 200, body: 1.. } => {}
            Answer { status: 200, .. } => bail!("an answer has an empty body"),
            Answer { status, .. } => bail!("an answer has status {status}"),
        }
    }
}

/// Opens as many connections, and has each answered once; they stay open.
///
/// # Errors
/// If one cannot be opened, is not answered with 200, or does not stay open.
pub(crate) fn idle(address: SocketAddr, request: &str, count: usize) -> anyhow::Result<Vec<std::net::TcpStream>> {
    let mut streams = Vec::new();
    for number in 0..count {
        let context = || format!("connection {number} of {count}");
        let mut stream = std::net::TcpStream::connect(address).with_context(context)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let Answer { status, .. } = crate::serving::ask(&mut stream, request).with_context(context)?;
        if status != 200 {
            bail!("connection {number} of {count} is answered with status {status}");
        }
        streams.push(stream);
    }
    Ok(streams)
}

/// Whether all of these are open still.
pub(crate) fn all_open(streams: &[std::net::TcpStream]) -> anyhow::Result<()> {
    for stream in streams {
        stream.set_nonblocking(true)?;
        match stream.peek(&mut [0]) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            _ => bail!("an idle connection was not kept open"),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    /// A server that answers each request like this, after a while.
    fn server(answer: &'static str, after: Duration) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                thread::spawn(move || {
                    while let Ok(1..) = stream.read(&mut [0; 1024]) {
                        thread::sleep(after);
                        if stream.write_all(answer.as_bytes()).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        address
    }

    const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\na";
    const TIME: Duration = Duration::from_millis(200);

    #[test]
    fn at_a_fixed_rate_a_request_takes_from_when_it_was_due() {
        let address = server(OK, Duration::from_millis(20));
        // 40 requests, of which one connection has 50 a second answered at most: the last is due 195 ms after the first,
        // and answered no earlier than after 800 ms; the one in the middle is due after 100 ms, and answered after 400 ms.
        let load = run(address, "GET", 1, TIME, |start| due(start, TIME, 200.0)).unwrap();
        assert_eq!(load.times.len(), 40);
        assert!(
            load.micros(100.0) >= 600e3 && load.micros(50.0) >= 295e3,
            "{} {}",
            load.micros(100.0),
            load.micros(50.0)
        );
    }

    #[test]
    fn without_a_rate_each_connection_asks_when_it_was_answered() {
        let address = server(OK, Duration::from_millis(20));
        let load = run(address, "GET", 3, TIME, |start| Pace::Closed(start + TIME)).unwrap();
        assert!((3..=30).contains(&load.times.len()), "{}", load.times.len());
        assert!(load.rate <= 150.0 && load.micros(50.0) >= 20e3, "{load:?}");
    }

    #[test]
    fn an_answer_that_is_no_success_ends_the_load() {
        for (answer, reason) in [
            ("HTTP/1.1 503 Busy\r\ncontent-length: 1\r\n\r\na", "status 503"),
            ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", "empty body"),
            ("SMTP ready\r\n\r\n", "not HTTP/1.1"),
        ] {
            let address = server(answer, Duration::ZERO);
            let error = run(address, "GET", 2, TIME, |start| Pace::Closed(start + TIME)).unwrap_err();
            assert!(format!("{error:#}").contains(reason), "{error:#}");
        }
    }
}
