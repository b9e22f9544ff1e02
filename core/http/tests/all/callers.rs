//! A guest's thread may be anything: plain, a worker of a multi-thread tokio, or the only thread of one.

use std::io::Write;
use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::Duration;

use crate::support::*;
use wharf_http::Outbound;

const CHUNKS: usize = 2000;

/// Sends `CHUNKS` chunks, many more than tokio's budget for one poll of a task, and lets the reader keep up with it.
fn chunked() -> Origin {
    Origin::new(|_, stream| {
        _ = stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        for _ in 0..CHUNKS {
            if stream.write_all(b"1\r\nx\r\n").is_err() {
                return Then::Close;
            }
        }
        _ = stream.write_all(b"0\r\n\r\n");
        Then::Keep
    })
}

fn guest(outbound: &Outbound, origin: &Origin) {
    for _ in 0..3 {
        assert_eq!(fetch(outbound, get(&origin.url("/"))).unwrap().body().len(), CHUNKS);
    }
    for _ in 0..300 {
        let pending = outbound.send(get(&origin.url("/")));
        drop(wait(pending).unwrap());
    }
}

#[test]
fn a_plain_thread() {
    let origin = chunked();
    guest(&outbound(allowing(&[&origin])), &origin);
}

#[test]
fn inside_a_current_thread_tokio() {
    let origin = chunked();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async { guest(&outbound(allowing(&[&origin])), &origin) });
}

#[test]
fn inside_a_task_of_a_multi_thread_tokio() {
    let origin = chunked();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    runtime.block_on(async {
        tokio::spawn(async move { guest(&outbound(allowing(&[&origin])), &origin) }).await.unwrap();
    });
}

#[test]
fn awaited_in_an_async_host() {
    let origin = chunked();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let outbound = outbound(allowing(&[&origin]));
        let mut body = outbound.send(get(&origin.url("/"))).await.unwrap().into_body();
        let mut read = 0;
        while let Some(chunk) = body.chunk().await {
            read += chunk.unwrap().len();
        }
        assert_eq!(read, CHUNKS);
    });
}

#[test]
fn dropping_a_response_ends_its_connection() {
    let (origin, sent) = flooding(u64::MAX / 2);
    let outbound = outbound(allowing(&[&origin]));
    drop(send(&outbound, get(&origin.url("/"))).unwrap());
    let mut before = sent.load(Ordering::SeqCst);
    for _ in 0..100 {
        sleep(Duration::from_millis(100));
        let now = sent.load(Ordering::SeqCst);
        if now == before {
            return;
        }
        before = now;
    }
    panic!("the origin can still send");
}
