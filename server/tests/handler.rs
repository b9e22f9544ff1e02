//! The handler in a program of one's own: what each request is granted, and how much is taken on.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, Request, Response, Uri};
use http_body_util::{BodyExt, Empty};
use tower_service::Service;
use wharf_core::grants::WasiConfig;
use wharf_core::{Guest, GuestConfig, HostedGuest, HostedSession, Kind, LoadOptions, Result, Stop};
use wharf_server::{Handler, HandlerOptions, RequestHead, ResponseBody, Reuse};
use wharf_wasmtime::Wasmtime;

/// Answers with the status 200, and 1 more for each variable of its environment.
const VARIABLES: &str = r#"(module
    (import "wasi_snapshot_preview1" "environ_sizes_get" (func $sizes (param i32 i32) (result i32)))
    (import "wasi:http/types@0.2.0" "[constructor]fields" (func $fields (result i32)))
    (import "wasi:http/types@0.2.0" "[constructor]outgoing-response" (func $response (param i32) (result i32)))
    (import "wasi:http/types@0.2.0" "[method]outgoing-response.set-status-code"
        (func $status (param i32 i32) (result i32)))
    (import "wasi:http/types@0.2.0" "[static]response-outparam.set"
        (func $set (param i32 i32 i32 i32 i64 i32 i32 i32 i32)))
    (import "wasi:http/types@0.2.0" "[resource-drop]incoming-request" (func $drop (param i32)))
    (memory (export "memory") 1)
    (func (export "wasi:http/incoming-handler@0.2.0#handle") (param $request i32) (param $out i32)
        (local $made i32)
        (call $drop (local.get $request))
        (drop (call $sizes (i32.const 0) (i32.const 4)))
        (local.set $made (call $response (call $fields)))
        (drop (call $status (local.get $made) (i32.add (i32.const 200) (i32.load (i32.const 0)))))
        (call $set (local.get $out) (i32.const 0) (local.get $made)
            (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))))"#;

/// A guest whose instances are counted.
struct Counted {
    guest: Guest,
    starts: AtomicUsize,
}

impl Counted {
    fn load() -> Arc<Self> {
        Self::of(VARIABLES)
    }

    fn of(text: &str) -> Arc<Self> {
        let backend = Wasmtime::new().unwrap();
        let guest = Guest::load(&backend, &wat::parse_str(text).unwrap(), &LoadOptions::default()).unwrap();
        Arc::new(Counted { guest, starts: AtomicUsize::new(0) })
    }

    fn starts(&self) -> usize {
        self.starts.load(Ordering::Relaxed)
    }
}

impl HostedGuest for Counted {
    fn is_handler(&self) -> bool {
        self.guest.is_handler()
    }

    fn start(&self, config: GuestConfig) -> Result<Box<dyn HostedSession>, Stop> {
        self.starts.fetch_add(1, Ordering::Relaxed);
        HostedGuest::start(&self.guest, config)
    }

    fn run(&self, config: GuestConfig, invoke: Option<&str>) -> Result<i32> {
        self.guest.run(config, invoke)
    }
}

/// Who a request is from.
#[derive(Clone)]
struct Tenant(&'static str);

/// What finds out who a request is from, and has that said to the service behind it.
#[derive(Clone)]
struct Authenticated<S>(S);

impl<S: Service<Request<Empty<Bytes>>>> Service<Request<Empty<Bytes>>> for Authenticated<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<std::result::Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Empty<Bytes>>) -> S::Future {
        if request.headers().get("authorization").is_some_and(|token| token == "Bearer secret") {
            request.extensions_mut().insert(Tenant("shop"));
        }
        self.0.call(request)
    }
}

/// One variable for requests to `one.example`, two below `/two`, three for the shop, none for any other.
fn granted(request: Option<RequestHead<'_>>) -> Result<GuestConfig> {
    let Some(request) = request else { return Ok(GuestConfig::default()) };
    let host = request.authority();
    let variables = if request.extension().is_some_and(|Tenant(name)| *name == "shop") {
        3
    } else if request.parts().uri.path().starts_with("/two") {
        2
    } else {
        usize::from(host.is_some_and(|host| host.host().eq_ignore_ascii_case("one.example")))
    };
    let mut wasi = WasiConfig::new();
    for number in 0..variables {
        wasi = wasi.env(format!("V{number}"), "x")?;
    }
    Ok(GuestConfig { wasi, ..GuestConfig::default() })
}

type Mounted = Authenticated<Handler>;
type Answering =
    Pin<Box<dyn Future<Output = std::result::Result<Response<ResponseBody>, std::convert::Infallible>> + Send>>;

async fn status(service: &mut Mounted, uri: &str, host: &str, token: &str) -> u16 {
    let request = Request::get(uri.parse::<Uri>().unwrap()).header("host", host).header("authorization", token);
    let answering: Answering = service.call(request.body(Empty::new()).unwrap());
    let (head, body) = answering.await.unwrap().into_parts();
    // A body that is dropped before its end ends its guest.
    body.collect().await.unwrap();
    head.status.as_u16()
}

#[tokio::test]
async fn each_request_is_granted_its_own() {
    let handler = Handler::new(Counted::load(), HandlerOptions::default(), granted).unwrap();
    let mut service = Authenticated(handler);
    for (uri, host, token, expected) in [
        ("/", "one.example", "", 201),
        ("/", "ONE.example:8080", "", 201),
        ("/", "other.example", "", 200),
        // The target comes before Host, for the configuration as for the guest.
        ("http://one.example/", "other.example", "", 201),
        ("http://other.example/", "one.example", "", 200),
        ("/two", "one.example", "", 202),
        ("/", "other.example", "Bearer secret", 203),
        ("/", "other.example", "Bearer guessed", 200),
    ] {
        assert_eq!(status(&mut service, uri, host, token).await, expected, "{uri} {host} {token}");
    }
}

/// What was started with one grant waits for the next request with it, whatever comes between.
#[tokio::test]
async fn instances_of_several_configurations_are_used_again() {
    let guest = Counted::load();
    let mut options = HandlerOptions::default();
    (options.max_reuse, options.pre_warm) = (Reuse::times(u32::MAX), Some(0));
    let mut service = Authenticated(Handler::new(guest.clone(), options, granted).unwrap());
    let before = guest.starts();
    for _ in 0..5 {
        assert_eq!(status(&mut service, "/", "one.example", "").await, 201);
        assert_eq!(status(&mut service, "/two", "a", "").await, 202);
        assert_eq!(status(&mut service, "/", "a", "Bearer secret").await, 203);
        service.0.settled().await;
    }
    assert_eq!(guest.starts() - before, 3);
    assert_eq!(service.0.idle_instances().1, 3);
}

/// The numbers are those of the requests, and an error is one request's.
#[tokio::test]
async fn a_configuration_that_fails_is_one_requests() {
    let handler = Handler::new(Counted::load(), HandlerOptions::default(), |request| match request {
        Some(request) if request.number() == 1 => Err(wharf_core::Error::new(Kind::Config, "not this one")),
        _ => Ok(GuestConfig::default()),
    });
    let mut service = Authenticated(handler.unwrap());
    for expected in [200, 500, 200] {
        assert_eq!(status(&mut service, "/", "a", "").await, expected);
    }
}

/// Guests that had all threads of a runtime would leave none for what else it does.
#[test]
fn guests_do_not_get_all_threads_of_the_runtime() {
    let mut options = HandlerOptions::default();
    options.blocking_threads = 4;
    for (guests, fits) in [(3, true), (4, false), (usize::MAX, false)] {
        options.max_concurrent = guests;
        let handler = Handler::new(Counted::load(), options, |_| Ok(GuestConfig::default()));
        match handler {
            Ok(_) => assert!(fits, "{guests}"),
            Err(error) => {
                assert!(!fits && error.kind() == Kind::Config, "{guests}: {error}");
                assert!(error.to_string().contains("max_blocking_threads"), "{error}");
            }
        }
    }
}

/// Answers with 200 and how many requests it has been handed; what it does before that with some of them is up to `fails`,
/// which finds that number in `$count`.
fn counter(fails: &str) -> String {
    VARIABLES.replacen("(memory", "(global $count (mut i32) (i32.const 0)) (memory", 1).replacen(
        "(drop (call $sizes (i32.const 0) (i32.const 4)))",
        &format!(
            "(global.set $count (i32.add (global.get $count) (i32.const 1)))
            {fails}
            (i32.store (i32.const 0) (global.get $count))"
        ),
        1,
    )
}

/// What each of so many requests is answered with, and how many instances were made for them.
async fn answers(guest: &str, method: Method, requests: usize) -> (Vec<u16>, usize) {
    let guest = Counted::of(guest);
    let mut options = HandlerOptions::default();
    (options.max_reuse, options.pre_warm) = (Reuse::times(100), Some(0));
    let handler = Handler::new(guest.clone(), options, |_| Ok(GuestConfig::default())).unwrap();
    let (before, mut answers) = (guest.starts(), Vec::new());
    for _ in 0..requests {
        let request =
            Request::post("/").method(method.clone()).header("host", "a").body(Empty::<Bytes>::new()).unwrap();
        let (head, body) = handler.handle(request).await.into_parts();
        body.collect().await.unwrap();
        handler.settled().await;
        answers.push(head.status.as_u16());
    }
    (answers, guest.starts() - before)
}

#[tokio::test]
async fn a_request_that_a_used_instance_cannot_answer_is_given_to_a_new_one() {
    for (fails, expected) in [
        // It traps with its third: that one is answered by a new instance, which goes on as the old one did.
        ("(if (i32.eq (global.get $count) (i32.const 3)) (then unreachable))", [201, 202, 201, 202, 201, 202]),
        // The same for one that says nothing.
        ("(if (i32.eq (global.get $count) (i32.const 3)) (then return))", [201, 202, 201, 202, 201, 202]),
        // What no instance answers is not asked of a third.
        ("(if (i32.ne (global.get $count) (i32.const 9)) (then unreachable))", [500; 6]),
    ] {
        for method in [Method::GET, Method::POST] {
            assert_eq!(answers(&counter(fails), method, 6).await.0, expected, "{fails}");
        }
    }
}

#[tokio::test]
async fn a_guest_that_cannot_answer_twice_gets_an_instance_for_each_request() {
    for fails in [
        "(if (i32.eq (global.get $count) (i32.const 2)) (then unreachable))",
        "(if (i32.eq (global.get $count) (i32.const 2)) (then return))",
    ] {
        // The one that there was answers the first request, and fails with the second: each has its own from then on.
        assert_eq!(answers(&counter(fails), Method::GET, 6).await, (vec![201; 6], 5), "{fails}");
    }
    // The same for one that leaves a handle open after each answer: none of its instances is used again.
    let leaky = counter("(drop (call $fields))");
    assert_eq!(answers(&leaky, Method::GET, 6).await, (vec![201; 6], 5));
}
