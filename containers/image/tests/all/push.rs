//! What is pushed: how long it may take, where it goes, and who is told what.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;
use std::time::Duration;

use futures_executor::block_on;
use wharf_image::{Client, ClientOptions, Image, ImageError, Package, Reference, Shape};

use crate::support::*;

fn packed(wasm: Vec<u8>) -> Image {
    Package::new("app.wasm", wasm, Shape::Artifact).build().unwrap()
}

/// Takes an upload as the steps of its protocol are, and lets in who has `token`.
fn takes(seen: &Seen) -> Answer {
    match (seen.method.as_str(), seen.path.starts_with("/v2/app/blobs/uploads/")) {
        ("HEAD", _) => Answer::status("404 Not Found"),
        ("POST", true) => Answer::status("202 Go\r\nlocation: /v2/app/blobs/uploads/1?state=x"),
        _ => Answer::status("201 Created"),
    }
}

/// A registry that sends its clients elsewhere with blobs. What is done there with a large one is `take`'s.
fn with_upload(take: impl Fn(&mut TcpStream, usize) + Send + 'static) -> Reference {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let uploads = format!("http://{}/upload", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let (mut head, mut byte) = (Vec::new(), [0]);
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) > 0 {
                head.push(byte[0]);
            }
            let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
            let length = head.split_once("content-length: ").unwrap().1.split_once('\r').unwrap().0.parse().unwrap();
            match length < LARGE {
                true => {
                    stream.read_exact(&mut vec![0; length]).unwrap();
                    stream.write_all(CREATED).unwrap();
                }
                false => take(&mut stream, length),
            }
        }
    });
    let registry = Registry::start(move |seen| match seen.method.as_str() {
        "POST" => Answer::status(&format!("202 Go\r\nlocation: {uploads}")),
        _ => takes(seen),
    });
    registry.reference("app")
}

const CREATED: &[u8] = b"HTTP/1.1 201 Created\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

const LARGE: usize = 16 << 20;

/// More than the system keeps of what is not read.
fn large() -> Vec<u8> {
    let mut wasm = [MODULE, b"\0"].concat();
    let (mut length, mut left) = (Vec::new(), LARGE);
    while left > 0 {
        length.push((left & 0x7f) as u8 | if left > 0x7f { 0x80 } else { 0 });
        left >>= 7;
    }
    wasm.extend(length);
    wasm.resize(wasm.len() + LARGE, 0);
    wasm
}

fn client_that_waits(pause: Duration) -> Client {
    let mut options = ClientOptions::default();
    (options.timeout, options.pause) = (Duration::from_secs(60), pause);
    Client::new(options)
}

#[test]
fn an_upload_may_take_long_while_it_moves() {
    let pause = Duration::from_secs(2);
    let reference = with_upload(move |stream, length| {
        let (mut part, mut read, mut slow) = (vec![0; 512 << 10], 0, 0);
        while read < length {
            match stream.read(&mut part).unwrap_or(0) {
                0 => return,
                some => read += some,
            }
            if read >> 20 > slow {
                slow = read >> 20;
                std::thread::sleep(Duration::from_millis(40));
            }
        }
        // It looks at the whole for longer than it may pause.
        std::thread::sleep(pause + Duration::from_millis(500));
        let _answered = stream.write_all(CREATED);
    });
    let pushed = block_on(client_that_waits(pause).push(&reference, &packed(large())));
    assert!(pushed.is_ok(), "{pushed:?}");
}

#[test]
fn an_upload_that_is_not_taken_is_given_up() {
    let held = Mutex::new(Vec::new());
    let reference = with_upload(move |stream, _| held.lock().unwrap().push(stream.try_clone().unwrap()));
    let pause = Duration::from_millis(300);
    let error = block_on(client_that_waits(pause).push(&reference, &packed(large()))).unwrap_err();
    assert!(matches!(error, ImageError::Slow { limit, .. } if limit == pause), "{error}");
}

#[test]
fn what_would_not_be_read_again_is_not_sent() {
    let registry = Registry::start(takes);
    let image = packed([MODULE, b"\0\x02\x01x"].concat());
    let mut options = ClientOptions::default();
    options.max_guest_bytes = 11;
    let error = block_on(Client::new(options).push(&registry.reference("app"), &image)).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, ImageError::TooLarge { limit: 11, .. }) && text.contains("12 bytes"), "{text}");
    assert!(registry.seen().is_empty());
}

#[test]
fn a_blob_goes_where_the_registry_says_without_credentials() {
    let other = Registry::start(|_| Answer::status("201 Created"));
    let location = format!("202 Go\r\nlocation: http://{}/there?a=b", other.host);
    let registry = Registry::start(move |seen| match (&seen.authorization, seen.method.as_str()) {
        (None, _) => Answer::status("401 Who\r\nwww-authenticate: Basic realm=\"x\""),
        (_, "POST") => Answer::status(&location),
        _ => takes(seen),
    });
    let config = format!("{{\"auths\":{{\"{}\":{{\"auth\":\"dXNlcjpzZWNyZXQ=\"}}}}}}", registry.host);
    let (_directory, client) = client_of(&config, |_| {});
    let image = packed(MODULE.to_vec());
    block_on(client.push(&registry.reference("app:1"), &image)).unwrap();
    let seen = other.seen();
    assert_eq!(seen.len(), 2, "the guest and its configuration");
    assert!(seen.iter().all(|seen| seen.method == "PUT" && seen.authorization.is_none()), "{seen:?}");
    assert!(seen.iter().any(|seen| seen.body == MODULE && seen.path.starts_with("/there?a=b&digest=sha256")));
    assert_eq!(registry.seen().last().unwrap().path, "/v2/app/manifests/1");
}

#[test]
fn a_token_that_runs_out_is_had_anew() {
    let tokens = Registry::start({
        let given = Mutex::new(0);
        move |_| {
            *given.lock().unwrap() += 1;
            Answer::ok(format!("{{\"access_token\":\"t{}\"}}", given.lock().unwrap()))
        }
    });
    let who = format!("401 Who\r\nwww-authenticate: Bearer realm=\"http://{}/t\",service=\"s\"", tokens.host);
    // The first token is good until the first blob is to be taken.
    let registry = Registry::start(move |seen| {
        let token = seen.authorization.as_deref().and_then(|text| text.strip_prefix("Bearer "));
        match (token, seen.method.as_str()) {
            (Some("t1"), "HEAD" | "POST") | (Some("t2"), _) => takes(seen),
            _ => Answer::status(&who),
        }
    });
    // It is had for an identity token, which goes there in a form.
    let config = format!("{{\"auths\":{{\"{}\":{{\"identitytoken\":\"secret\"}}}}}}", registry.host);
    let (_directory, client) = client_of(&config, |_| {});
    block_on(client.push(&registry.reference("app"), &packed(MODULE.to_vec()))).unwrap();
    let asked = tokens.seen();
    assert_eq!(asked.len(), 2, "{asked:?}");
    let form =
        "grant_type=refresh_token&refresh_token=secret&client_id=wharf&scope=repository%3Aapp%3Apull%2Cpush&service=s";
    for seen in asked {
        assert_eq!((seen.method.as_str(), seen.authorization.as_deref(), &*seen.body), ("POST", None, form.as_bytes()));
    }
    // What was refused was sent again, and whole.
    let puts = registry.seen().into_iter().filter(|seen| seen.method == "PUT" && seen.body == MODULE);
    let tokens: Vec<String> = puts.filter_map(|seen| seen.authorization).collect();
    assert!(tokens.contains(&"Bearer t2".to_owned()), "{tokens:?}");
}

#[test]
fn who_is_not_let_in_is_told_what_to_do() {
    let image = packed(MODULE.to_vec());
    let said = "{\"errors\":[{\"code\":\"DENIED\",\"message\":\"no\\u001b[2Jno\"}]}";
    let answer = |head: &'static str| {
        let body = said.as_bytes().to_vec();
        move |_: &Seen| Answer {
            head: format!("{head}\r\ncontent-length: {}", body.len()),
            body: body.clone(),
            endless: false,
        }
    };
    let basic = "401 Who\r\nwww-authenticate: Basic realm=\"x\"";
    let told = |head, with: bool| {
        let registry = Registry::start(answer(head));
        let auth = if with { "dXNlcjp3cm9uZw==" } else { "" };
        let config = format!("{{\"auths\":{{\"{}\":{{\"auth\":\"{auth}\"}}}}}}", registry.host);
        let (_directory, client) = client_of(if with { &config } else { "{}" }, |_| {});
        let pull = block_on(client.pull(&registry.reference("app"), &[], None)).unwrap_err();
        let push = block_on(client.push(&registry.reference("app"), &image)).unwrap_err();
        (pull.to_string(), push.to_string(), registry.host)
    };
    let (pull, _, host) = told(basic, false);
    assert!(pull.contains(&format!("has none; `docker login {host}` puts them there")), "{pull}");
    let (pull, _, host) = told(basic, true);
    assert!(
        pull.contains(&format!("does not take the credentials of docker's configuration; `docker login {host}`")),
        "{pull}"
    );
    let (pull, push, _) = told("403 No", false);
    assert!(
        pull.contains("without credentials there is no right to pull from app") && pull.ends_with(": DENIED no [2Jno"),
        "{pull:?}"
    );
    assert!(push.contains("no right to push to app"), "{push}");
}
