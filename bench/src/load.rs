//! The load, on one thread: connections that ask as soon as they have been answered, or at fixed times.

use std::net::SocketAddr;
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
    run(served, connections, time, |start| Pace::Closed(start + time))
}

/// Asks `rate` times a second for as long as `time`, whether earlier requests have been answered or not. A request
/// takes from when it was due, so that those that had to wait for a connection count with their waiting.
///
/// # Errors
/// As of [`closed`].
pub(crate) fn open(served: &Served, connections: usize, time: Duration, rate: f64) -> anyhow::Result<Load> {
    run(served, connections, time, |start| {
        let (sender, receiver) = mpsc::unbounded_channel();
        // A thread sleeps more exactly than the timers of the runtime.
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
    })
}

fn run(
    served: &Served,
    connections: usize,
    time: Duration,
    pace: impl FnOnce(Instant) -> Pace,
) -> anyhow::Result<Load> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (address, request) = (served.address, served.request);
    let load = LocalSet::new().block_on(&runtime, async {
        let mut streams = Vec::new();
        for _ in 0..connections {
            let stream = TcpStream::connect(address).await.context("cannot connect")?;
            stream.set_nodelay(true)?;
            streams.push(stream);
        }
        let start = Instant::now();
        let pace = std::rc::Rc::new(pace(start));
        let asking: Vec<_> =
            streams.into_iter().map(|stream| tokio::task::spawn_local(ask(stream, request, pace.clone()))).collect();
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
    });
    load.with_context(|| format!("{} under load", served.name()))
}

async fn ask(mut stream: TcpStream, request: &str, pace: std::rc::Rc<Pace>) -> anyhow::Result<Histogram<u64>> {
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
