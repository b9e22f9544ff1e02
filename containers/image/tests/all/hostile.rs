//! Registries that lie.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

use futures_executor::block_on;
use wharf_image::{Client, ClientOptions, Digest, ImageError, Package, Shape};

use crate::support::*;

/// What comes of pulling from a registry that answers honestly, but for one path.
fn with(path: &str, answer: impl Fn() -> Answer + Send + Sync + 'static) -> ImageError {
    let (path, content) = (path.to_owned(), artifact(&[MODULE]));
    let honest = content.clone();
    let registry = Registry::start(move |seen| if seen.path == path { answer() } else { found(&honest, seen) });
    registry.pull("app").expect_err("it is refused")
}

#[test]
fn a_manifest_is_what_was_asked_for() {
    let content = artifact(&[MODULE]);
    let other = Digest::of(b"other");
    let manifest = content[MANIFEST].clone();
    let registry = Registry::start(move |seen| match seen.path.contains("/manifests/") {
        true => Answer::ok(manifest.clone()),
        false => found(&content, seen),
    });
    assert!(matches!(registry.pull(&format!("app@{other}")), Err(ImageError::Mismatch { .. })));
    assert!(registry.pull("app").is_ok());
    let error = with(MANIFEST, move || {
        let body = artifact(&[MODULE])[MANIFEST].clone();
        let answer = Answer::ok(body);
        Answer { head: format!("{}\r\ndocker-content-digest: {other}", answer.head), ..answer }
    });
    assert!(matches!(error, ImageError::Mismatch { .. }), "{error}");
}

#[test]
fn a_layer_is_what_the_manifest_says() {
    let mut changed = MODULE.to_vec();
    changed[7] = 1;
    let error = with(&blob(MODULE), move || Answer::ok(changed.clone()));
    assert!(matches!(error, ImageError::Mismatch { .. }), "{error}");
    for body in [&MODULE[..7], &[MODULE, b"x"].concat()] {
        let body = body.to_vec();
        let error = with(&blob(MODULE), move || Answer::ok(body.clone()));
        assert!(matches!(error, ImageError::Length { .. }), "{error}");
    }
    let error = with(&blob(MODULE), || Answer::status("404 Not Found"));
    assert!(matches!(error, ImageError::Missing { .. }), "{error}");
}

#[test]
fn nothing_is_read_beyond_its_limit() {
    let endless = || Answer { head: "200 OK".to_owned(), body: Vec::new(), endless: true };
    assert!(matches!(with(MANIFEST, endless), ImageError::TooLarge { .. }));
    assert!(matches!(with(&blob(MODULE), endless), ImageError::Length { .. }));
    // What is announced as too long is not read at all, and what is announced and does not come is no answer.
    let announced =
        || Answer { head: "200 OK\r\ncontent-length: 99999999999".to_owned(), body: Vec::new(), endless: false };
    assert!(matches!(with(MANIFEST, announced), ImageError::TooLarge { .. }));
    let short = || Answer { head: "200 OK\r\ncontent-length: 100".to_owned(), body: b"{}".to_vec(), endless: false };
    assert!(matches!(with(MANIFEST, short), ImageError::Http { .. }));
    let complains = || Answer { head: "500 Oh".to_owned(), body: Vec::new(), endless: true };
    assert!(matches!(with(MANIFEST, complains), ImageError::Status { status: 500, .. }));
    // A layer that says that it is larger than a guest may be is not asked for.
    let mut content = artifact(&[MODULE]);
    let manifest = String::from_utf8(content[MANIFEST].clone()).unwrap().replace("\"size\":8", "\"size\":80000000000");
    content.insert(MANIFEST.to_owned(), manifest.into());
    let registry = Registry::of(content);
    assert!(matches!(registry.pull("app"), Err(ImageError::TooLarge { .. })));
    assert_eq!(registry.seen().len(), 1);
}

#[test]
fn what_trickles_is_not_waited_for() {
    // The head comes, and then nothing.
    let registry = Registry::start(|_| {
        std::thread::sleep(Duration::from_secs(30));
        Answer::ok("{}")
    });
    let mut options = ClientOptions::default();
    options.timeout = Duration::from_secs(1);
    let begun = Instant::now();
    let pulled = block_on(Client::new(options).pull(&registry.reference("app"), &[], None));
    assert!(matches!(pulled, Err(ImageError::Late { .. })), "{pulled:?}");
    assert!(begun.elapsed() < Duration::from_secs(20), "it took {:?}", begun.elapsed());
}

/// What comes of pulling a blob whose bytes come one by one, with such a pause after each.
fn trickled(change: impl FnOnce(&mut ClientOptions), pause: Duration) -> ImageError {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _request = stream.read(&mut [0; 4096]).unwrap();
        let mut sent = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n");
        for byte in MODULE {
            sent = sent.and_then(|()| stream.write_all(&[*byte]));
            std::thread::sleep(pause);
        }
    });
    let mut content = artifact(&[MODULE]);
    content.remove(&blob(MODULE));
    let location = format!("302 There\r\nlocation: http://{host}/");
    let registry = Registry::start(move |seen| match seen.path.contains("/blobs/") {
        true => Answer::status(&location),
        false => found(&content, seen),
    });
    let mut options = ClientOptions::default();
    change(&mut options);
    block_on(Client::new(options).pull(&registry.reference("app"), &[], None)).unwrap_err()
}

#[test]
fn a_body_that_is_slow_is_told_from_one_that_stops() {
    // It always moves, and the time of the whole is over.
    let limit = Duration::from_millis(700);
    let error = trickled(|options| options.timeout = limit, Duration::from_millis(200));
    assert!(matches!(error, ImageError::Late { limit: of, .. } if of == limit), "{error:?}");
    assert!(error.to_string().contains("700ms"), "{error}");
    // There is time enough, and it does not move.
    let pause = Duration::from_millis(200);
    let error = trickled(|options| options.pause = pause, Duration::from_secs(2));
    assert!(matches!(error, ImageError::Slow { limit, .. } if limit == pause), "{error:?}");
}

#[test]
fn a_length_that_is_not_that_is_told_as_it_is() {
    for (body, how) in [(&MODULE[..7], "sends less"), (&[MODULE, b"x"].concat(), "sends more")] {
        let body = body.to_vec();
        let error = with(&blob(MODULE), move || Answer::ok(body.clone())).to_string();
        assert!(error.contains("should have 8 bytes") && error.ends_with(how), "{error}");
    }
}

#[test]
fn what_a_registry_says_is_cut_and_gives_no_orders() {
    let long = "\u{1b}[2J".to_owned() + &"x".repeat(1 << 20);
    let mut answers = vec![format!("{{\"layers\":{}}}", serde_json::json!(long))];
    for (from, to) in [("application/wasm", long.as_str()), ("sha256:", long.as_str())] {
        let manifest = String::from_utf8(artifact(&[MODULE])[MANIFEST].clone()).unwrap();
        answers.push(manifest.replace(from, serde_json::json!(to).to_string().trim_matches('"')));
    }
    for answer in answers {
        let error = wharf_http::chain(&with(MANIFEST, move || Answer::ok(answer.clone())));
        assert!(error.len() < 1000 && !error.contains('\u{1b}'), "{} bytes: {error:.300}", error.len());
    }
    let layer = image("/app.wasm", &[b"x".to_vec()]);
    for (from, to) in [("/app.wasm", &*long), ("application/vnd.oci.image.layer.v1.tar", &long)] {
        let registry = Registry::of(renamed(&layer, from, serde_json::json!(to).to_string().trim_matches('"')));
        let error = wharf_http::chain(&registry.pull("app").unwrap_err());
        assert!(error.len() < 1000 && !error.contains('\u{1b}'), "{} bytes: {error:.300}", error.len());
    }
}

#[test]
fn nobody_is_asked_who_we_are_before_the_registry_wants_to_know() {
    let registry = Registry::of(artifact(&[MODULE]));
    // There is no such helper.
    let (_directory, client) = client_of("{\"credsStore\":\"nowhere-to-be-found\"}", |_| {});
    block_on(client.pull(&registry.reference("app"), &[], None)).unwrap();
    let registry = Registry::start(|_| Answer::status("401 Who\r\nwww-authenticate: Basic realm=\"x\""));
    let error = block_on(client.pull(&registry.reference("app"), &[], None)).unwrap_err();
    assert!(matches!(error, ImageError::Credentials { .. }), "{error}");
}

#[test]
fn a_manifest_is_one_and_has_one_guest() {
    let answers = [
        "",
        "{",
        "[]",
        "null",
        "{}",
        "{\"schemaVersion\":1,\"fsLayers\":[]}",
        "{\"layers\":[],\"manifests\":[]}",
        "{\"layers\":[]}",
        "{\"manifests\":{}}",
        "{\"manifests\":[]}",
    ];
    for text in answers {
        let error = with(MANIFEST, move || Answer::ok(text));
        assert!(matches!(error, ImageError::NoGuest { .. }), "{text}: {error}");
    }
    let deep = "[".repeat(1 << 20);
    assert!(matches!(with(MANIFEST, move || Answer::ok(deep.clone())), ImageError::NoGuest { .. }));
    for layers in [&[][..], &[MODULE, b"\0asm\x0d\0\x01\0"], &[b"\x7fELF"]] {
        let error = Registry::of(artifact(layers)).pull("app").unwrap_err();
        assert!(matches!(error, ImageError::NoGuest { .. }), "{error}");
    }
}

#[test]
fn credentials_stay_with_the_registry() {
    let thief = Registry::of(BTreeMap::from([("/stolen".to_owned(), MODULE.to_vec())]));
    let location = format!("307 Elsewhere\r\nlocation: http://{}/stolen", thief.host);
    let content = artifact(&[MODULE]);
    let registry = Registry::start(move |seen| match (&seen.authorization, seen.path.contains("/blobs/")) {
        (None, _) => Answer::status("401 Who\r\nwww-authenticate: Basic realm=\"x\""),
        (Some(_), true) => Answer::status(&location),
        (Some(_), false) => found(&content, seen),
    });
    let directory = tempfile::tempdir().unwrap();
    let auths = format!("{{\"auths\":{{\"{}\":{{\"auth\":\"dXNlcjpzZWNyZXQ=\"}}}}}}", registry.host);
    std::fs::write(directory.path().join("config.json"), auths).unwrap();
    let mut options = ClientOptions::default();
    options.credentials = Some(wharf_image::DockerConfig::in_directory(directory.path()));
    let client = Client::new(options);
    let pulled = block_on(client.pull(&registry.reference("app"), &[], None)).unwrap();
    // It is the layer, wherever it comes from.
    assert_eq!(pulled.wasm, MODULE);
    assert_eq!(registry.seen()[1].authorization.as_deref(), Some("Basic dXNlcjpzZWNyZXQ="));
    assert!(thief.seen().iter().all(|seen| seen.authorization.is_none()), "{:?}", thief.seen());
    assert_eq!(thief.seen().len(), 1);
}

#[test]
fn where_a_registry_leads_is_looked_at() {
    for location in
        ["", "http://", "file:///etc/passwd", "http://user@127.0.0.1/", "http://169.254.169.254/latest", "ftp://host/"]
    {
        let head = format!("302 Elsewhere\r\nlocation: {location}");
        let error = with(&blob(MODULE), move || Answer::status(&head));
        let refused = matches!(error, ImageError::Elsewhere { .. } | ImageError::Answer { .. });
        // An empty location is the same place again.
        assert!(refused, "{location}: {error}");
    }
    let error = with(MANIFEST, || Answer::status(&format!("302 Again\r\nlocation: {MANIFEST}")));
    assert!(matches!(error, ImageError::Elsewhere { .. }), "{error}");
}

#[test]
fn what_a_registry_wants_to_know_is_looked_at() {
    for wanted in [
        "",
        "x",
        "Bearer",
        "Bearer realm=\"\"",
        "Bearer realm=\"not a url\"",
        "Bearer realm=\"file:///etc/passwd\"",
        "Negotiate",
        "Bearer service=\"x\"",
        "Bearer realm=\"http://169.254.169.254/\"",
        "Bearer realm=\"http:",
    ] {
        let head = format!("401 Who\r\nwww-authenticate: {wanted}");
        let error = with(MANIFEST, move || Answer::status(&head));
        assert!(matches!(error, ImageError::Challenge { .. } | ImageError::Elsewhere { .. }), "{wanted}: {error}");
    }
    let error = with(MANIFEST, || Answer::status("401 Who\r\nwww-authenticate: Basic realm=\"x\""));
    assert!(matches!(error, ImageError::Unauthorized { .. }), "{error}");
    // Tokens that are not: endless, of control characters, none.
    for (body, endless) in [("", true), ("{\"token\":\"a\\nb\"}", false), ("{}", false), ("x", false)] {
        let tokens = Registry::start(move |_| Answer { head: "200 OK".to_owned(), body: body.into(), endless });
        let head = format!("401 Who\r\nwww-authenticate: Bearer realm=\"http://{}/token\"", tokens.host);
        let error = with(MANIFEST, move || Answer::status(&head));
        assert!(matches!(error, ImageError::Challenge { .. } | ImageError::TooLarge { .. }), "{body}: {error}");
    }
}

#[test]
fn a_token_is_had_and_sent() {
    let tokens = Registry::start(|_| Answer::ok("{\"token\":\"abc\"}"));
    let head = format!("401 Who\r\nwww-authenticate: Bearer realm=\"http://{}/t?a=b\",service=\"s\"", tokens.host);
    let content = artifact(&[MODULE]);
    let registry = Registry::start(move |seen| match seen.authorization.as_deref() {
        Some("Bearer abc") => found(&content, seen),
        _ => Answer::status(&head),
    });
    assert_eq!(registry.pull("app").unwrap().wasm, MODULE);
    assert_eq!(tokens.seen()[0].path, "/t?a=b&scope=repository%3Aapp%3Apull&service=s");
}

#[test]
fn a_registry_that_takes_nothing_is_named() {
    let image = Package::new("app.wasm", MODULE, Shape::Artifact).build().unwrap();
    for (head, post) in [("500 Oh", ""), ("202 Go", ""), ("202 Go", "\r\nlocation: ftp://host/")] {
        let answer = format!("{head}{post}");
        let registry = Registry::start(move |seen| match seen.method.as_str() {
            "HEAD" => Answer::status("404 Not Found"),
            _ => Answer::status(&answer),
        });
        let error = block_on(client().push(&registry.reference("app"), &image)).unwrap_err();
        let told =
            matches!(error, ImageError::Status { .. } | ImageError::Answer { .. } | ImageError::Elsewhere { .. });
        assert!(told, "{head}{post}: {error}");
    }
    let registry = Registry::start(|_| Answer::status("500 Oh"));
    let wrong = format!("app@{}", Digest::of(b""));
    let error = block_on(client().push(&registry.reference(&wrong), &image)).unwrap_err();
    assert!(matches!(error, ImageError::Mismatch { .. }), "{error}");
}
