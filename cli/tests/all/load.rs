//! Many connections at once to servers inside guests: no request is lost, and none gets another's answer.
//!
//! The figures here are small. `WHARF_LOAD_CONNECTIONS` and `WHARF_LOAD_REQUESTS` set larger ones, and `--nocapture`
//! shows what they cost.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::support::server::{GO, HYPER, Hello, PATIENCE, POLL, Server, WASMEDGE};
use crate::support::{Files, backends, limited};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

fn number(variable: &str, default: usize) -> usize {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{variable}={text}")))
}

/// Opens a connection, waits until all are open, and then sends its requests, each once the one before is answered.
/// Returns how many were.
async fn connection(address: SocketAddr, number: usize, requests: usize, all_open: Arc<Barrier>) -> usize {
    let stream = tokio::net::TcpStream::connect(address).await.expect("a connection");
    let (mut sender, driver) =
        hyper::client::conn::http1::handshake::<_, Full<Bytes>>(TokioIo::new(stream)).await.expect("HTTP");
    let driver = tokio::spawn(driver);
    all_open.wait().await;
    for request in 0..requests {
        let name = format!("request {request} of connection {number}");
        let expected = format!("Hello, {name}!\n");
        let sent = Request::post("/hello").header("host", "here").body(Full::from(name)).expect("a request");
        let answered = async {
            let response = sender.send_request(sent).await?;
            let status = response.status();
            Ok::<(StatusCode, Bytes), hyper::Error>((status, response.into_body().collect().await?.to_bytes()))
        };
        let (status, body) = tokio::time::timeout(PATIENCE, answered)
            .await
            .unwrap_or_else(|_| panic!("{expected:?} does not come"))
            .unwrap_or_else(|error| panic!("{expected:?}: {error:?}"));
        assert_eq!((status, &*body), (StatusCode::OK, expected.as_bytes()));
    }
    drop(sender);
    driver.await.expect("the connection's end").expect("a clean end");
    requests
}

/// Sends requests over so many connections at once, and gives the time that took.
fn load(server: &Server, connections: usize, requests: usize) -> Duration {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let start = Instant::now();
    let answered: usize = runtime.block_on(async {
        let all_open = Arc::new(Barrier::new(connections));
        let mut running = JoinSet::new();
        for number in 0..connections {
            // The first take one more each, if it cannot be shared out evenly.
            let share = requests / connections + usize::from(number < requests % connections);
            running.spawn(connection(server.address, number, share, all_open.clone()));
        }
        let mut answered = 0;
        while let Some(ended) = running.join_next().await {
            answered += ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        }
        answered
    });
    assert_eq!(answered, requests);
    start.elapsed()
}

/// How many descriptors wharf may still open for itself once it has served a connection.
const OWN: usize = 8;

/// Waits until the server has closed what it had open for its connections.
fn let_go(server: &Server, before: usize) {
    let start = Instant::now();
    while server.descriptors() > before + OWN {
        assert!(start.elapsed() < PATIENCE, "{} descriptors, before it were {before}", server.descriptors());
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn loses_none_and_crosses_none(hello: Hello) {
    let (connections, requests) = (number("WHARF_LOAD_CONNECTIONS", 200), number("WHARF_LOAD_REQUESTS", 2000));
    let files = Files::new();
    let file = hello.file(&files);
    for backend in backends() {
        let server = hello.start(&file, backend);
        // Once, so that most of what is made at first use is there.
        load(&server, 1, 1);
        let (descriptors, memory) = (server.descriptors(), server.memory("VmRSS"));
        let took = load(&server, connections, requests);
        let_go(&server, descriptors);
        println!(
            "{} on {backend}: {requests} requests over {connections} connections in {:.1} s; memory before {memory} kB, \
             at most {} kB, after {} kB",
            hello.guest.name,
            took.as_secs_f64(),
            server.memory("VmHWM"),
            server.memory("VmRSS"),
        );
    }
}

#[test]
fn hello_hyper() {
    loses_none_and_crosses_none(HYPER);
}

#[test]
fn hello_wasmedge() {
    loses_none_and_crosses_none(WASMEDGE);
}

#[test]
fn hello_poll() {
    loses_none_and_crosses_none(POLL);
}

#[test]
#[ignore = "the guest is too large to be committed"]
fn hello_go() {
    loses_none_and_crosses_none(GO);
}

/// The operating system lets a process have few descriptors at first, and more if it asks.
#[test]
fn more_connections_than_the_soft_limit_of_descriptors() {
    let files = Files::new();
    let file = POLL.file(&files);
    let command = POLL.command(&file, &POLL.option());
    let server = POLL.start_as(limited("-S -n 256", &command));
    load(&server, 300, 300);
}
