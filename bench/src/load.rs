//! The load: connections that ask as soon as they have been answered, on one thread.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::serving::Served;

/// What came of it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Load {
    /// Requests a second.
    pub(crate) rate: f64,
    /// Half of all answers took no longer, in microseconds.
    pub(crate) p50: f64,
    /// 99 of 100.
    pub(crate) p99: f64,
}

/// Asks for as long as `time`, on as many connections.
///
/// # Errors
/// If any answer is not a complete one with status 200.
pub(crate) fn run(served: &Served, connections: usize, time: Duration) -> anyhow::Result<Load> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let start = Instant::now();
    let tasks = tokio::task::LocalSet::new();
    let all = tasks.block_on(&runtime, async {
        let asking =
            (0..connections).map(|_| tokio::task::spawn_local(ask(served.address, served.request, start + time)));
        let asking: Vec<_> = asking.collect();
        let mut all = Vec::new();
        for task in asking {
            all.extend(task.await??);
        }
        anyhow::Ok(all)
    });
    let mut times = all?;
    let seconds = start.elapsed().as_secs_f64();
    times.sort_unstable();
    let (Some(p50), Some(p99)) = (times.get(times.len() / 2), times.get(times.len() * 99 / 100)) else {
        bail!("nothing was answered in {time:?}");
    };
    let micros = |time: &Duration| time.as_secs_f64() * 1e6;
    Ok(Load { rate: times.len() as f64 / seconds, p50: micros(p50), p99: micros(p99) })
}

async fn ask(address: std::net::SocketAddr, request: &str, end: Instant) -> anyhow::Result<Vec<Duration>> {
    let mut stream = TcpStream::connect(address).await.context("cannot connect")?;
    stream.set_nodelay(true)?;
    let mut times = Vec::new();
    let mut answer = Vec::with_capacity(4096);
    loop {
        let asked = Instant::now();
        if asked >= end {
            return Ok(times);
        }
        stream.write_all(request.as_bytes()).await?;
        answer.clear();
        while !complete(&answer)? {
            if stream.read_buf(&mut answer).await? == 0 {
                bail!("the connection ended within {:?}", String::from_utf8_lossy(&answer));
            }
        }
        times.push(asked.elapsed());
    }
}

/// Whether this is a whole response. Only what the servers here send is understood: a length, or chunks without
/// trailers, whose bytes do not look like the last chunk.
fn complete(answer: &[u8]) -> anyhow::Result<bool> {
    let Some(head) = answer.windows(4).position(|part| part == b"\r\n\r\n") else { return Ok(false) };
    let text = std::str::from_utf8(&answer[..head]).context("a head that is not UTF-8")?;
    if !text.starts_with("HTTP/1.1 200") {
        bail!("the answer is {text:?}");
    }
    let body = &answer[head + 4..];
    let header = |line: &str| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    };
    Ok(match text.lines().find_map(header) {
        Some(length) => body.len() >= length,
        None => body.ends_with(b"0\r\n\r\n"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_complete_or_not() {
        for (answer, is) in [
            ("HTTP/1.1 200 OK\r\n", false),
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na", false),
            ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nab", true),
            ("HTTP/1.1 200 OK\r\n\r\n1\r\na\r\n", false),
            ("HTTP/1.1 200 OK\r\n\r\n1\r\na\r\n0\r\n\r\n", true),
        ] {
            assert_eq!(complete(answer.as_bytes()).unwrap(), is, "{answer:?}");
        }
        assert!(complete(b"HTTP/1.1 500 No\r\n\r\n").is_err());
    }
}
