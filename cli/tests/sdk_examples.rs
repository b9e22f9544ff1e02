//! The guest SDKs' examples: the same in each language, on every backend, with the same output.

mod support;

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};
use std::time::Duration;

use support::{Ended, Files, backends, end, wharf};
use wharf_conformance::origin::{Body, Gate, Origin, Reply};
use wharf_guests::PrebuiltGuest;

/// How long an answer may take: the guest is compiled meanwhile.
const PATIENCE: Duration = Duration::from_secs(300);

/// An example: its module, and the arguments that come before its own.
type Example = (PrebuiltGuest, &'static [&'static str]);

/// The examples of a language.
struct Language {
    fetch: Example,
    form: Example,
    download: Example,
}

const ASSEMBLYSCRIPT: Language = Language {
    fetch: (wharf_guests::AS_FETCH, &[]),
    form: (wharf_guests::AS_FORM, &[]),
    download: (wharf_guests::AS_DOWNLOAD, &[]),
};

const C: Language = Language {
    fetch: (wharf_guests::C_FETCH, &[]),
    form: (wharf_guests::C_FORM, &[]),
    download: (wharf_guests::C_DOWNLOAD, &[]),
};

const GO: Language = Language {
    fetch: (wharf_guests::GO_HTTP, &["fetch"]),
    form: (wharf_guests::GO_HTTP, &["form"]),
    download: (wharf_guests::GO_HTTP, &["download"]),
};

/// Runs an example on every backend, and gives what all of them did.
fn run(example: &Example, options: &[&str], args: &[&str]) -> Ended {
    let (guest, first) = example;
    let files = Files::new();
    let module = files.write(&format!("{}.wasm", guest.name), guest.wasm().unwrap());
    let mut seen: Vec<Ended> = backends()
        .into_iter()
        .map(|backend| end(&mut wharf(&[&["run", "--backend", backend], options, &[&module], first, args].concat())))
        .collect();
    assert!(seen.iter().all(|ended| *ended == seen[0]), "{seen:?}");
    seen.swap_remove(0)
}

/// Sends a request with everything in it, and prints everything of its answer.
fn fetches(language: &Language) {
    let origin = Origin::http(|request| {
        let sent = |name| request.all(name).into_iter().map(String::from_utf8_lossy).collect::<Vec<_>>().join("|");
        let text = format!("{} {} [{}] [{}] ", request.method, request.target, sent("x-twice"), sent("x-time"));
        Reply::status(207)
            .header("x-time", "12:30:45")
            .header("set-cookie", "a=1; path=/")
            .header("x-empty", "")
            .header("set-cookie", "b=2")
            .body(Body::Full([text.as_bytes(), &request.body].concat().into()))
    })
    .unwrap();
    let url = origin.url("/path?q=%20");
    let options = ["-a", &origin.base()];
    let printed = |body: &str| {
        let length = body.len();
        format!(
            "207\ncontent-length: {length}\nset-cookie: a=1; path=/\nset-cookie: b=2\nx-empty: \nx-time: 12:30:45\n\n{body}"
        )
    };

    let ended = run(&language.fetch, &options, &[&url]);
    assert_eq!(ended.out, printed("GET /path?q=%20 [] [] "), "{ended:?}");
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));

    let args = [&url, "PROPFIND", "a body: ü", "x-twice:1", "x-time:01:02", "x-twice:2"];
    let ended = run(&language.fetch, &options, &args);
    assert_eq!(ended.out, printed("PROPFIND /path?q=%20 [1|2] [01:02] a body: ü"), "{ended:?}");
    let ended = run(&language.fetch, &options, &[&url, "DELETE"]);
    assert!(ended.out.contains("DELETE /path"), "{ended:?}");
}

/// What fails ends with a message and its code, and does not abort.
fn says_what_failed(language: &Language) {
    let origin = Origin::replying(Reply::ok("").body(Body::Broken("some".into()))).unwrap();
    let url = origin.url("/");
    for example in [&language.fetch, &language.form, &language.download] {
        let ended = run(example, &[], &[&url]);
        assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""), "{ended:?}");
        let message = ended.err.lines().last().unwrap();
        assert!(message.starts_with(example.0.name), "{ended:?}");
        assert!(message.ends_with("the destination is not allowed (code 7)"), "{ended:?}");
        assert_eq!(run(example, &[], &[]).code, Some(2));
    }
    assert_eq!(origin.requests(), []);

    let allowed = ["-a", &origin.base()];
    for example in [&language.fetch, &language.form, &language.download] {
        let ended = run(example, &allowed, &[&url]);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.err.lines().last().unwrap().ends_with("the request failed (code 11)"), "{ended:?}");
    }
    // What came before the body broke off was read.
    assert!(run(&language.fetch, &allowed, &[&url]).out.ends_with("\n\nsome"));

    let missing = Origin::replying(Reply::status(404)).unwrap();
    let ended = run(&language.download, &["-a", &missing.base()], &[&missing.url("/")]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.ends_with(": the origin answered 404\n"), "{ended:?}");

    let bad = run(&language.fetch, &allowed, &[&url, "GET", "", "a:b\nc:d"]);
    assert_eq!(bad.code, Some(1), "{bad:?}");
    assert!(bad.err.ends_with("invalid header (code 9)\n"), "{bad:?}");
}

/// Posts fields that have to be encoded.
fn posts_forms(language: &Language) {
    let origin = Origin::http(|request| {
        let kind = request.header("content-type").unwrap_or_default().to_owned();
        Reply::status(201).body(Body::Full([kind.as_bytes(), b" ", &request.body].concat().into()))
    })
    .unwrap();
    let args = [&origin.url("/form"), "a b=1&2=3", "c=ü\n", "d="];
    let ended = run(&language.form, &["-a", &origin.base()], &args);
    let expected = "201\napplication/x-www-form-urlencoded a+b=1%262%3D3&c=%C3%BC%0A&d=\n";
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), expected), "{ended:?}");
    assert!(origin.requests().iter().all(|request| request.method == "POST"));
}

/// Reads a body that is three times as large as the memory that the guest may have.
fn streams_downloads(language: &Language) {
    let origin = Origin::replying(Reply::ok("").body(Body::Filler(24 << 20))).unwrap();
    let ended = run(&language.download, &["--max-memory", "8MiB", "-a", &origin.base()], &[&origin.url("/")]);
    // The checksum is zlib's of as many letters x.
    assert_eq!(ended.out, "25165824 bytes, CRC-32 d3adc921\n", "{ended:?}");
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
}

fn all(language: &Language) {
    fetches(language);
    says_what_failed(language);
    posts_forms(language);
    streams_downloads(language);
}

#[test]
fn assemblyscript() {
    all(&ASSEMBLYSCRIPT);
}

#[test]
fn c() {
    all(&C);
}

#[test]
#[ignore = "the guest is too large to be committed"]
fn go() {
    all(&GO);
}

/// A guest that was started with a listener, and ends with the test.
struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        // Fails only if it has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
#[ignore = "the guest is too large to be committed"]
fn a_proxy_in_go() {
    let files = Files::new();
    let module = files.write("go-http.wasm", wharf_guests::GO_HTTP.wasm().unwrap());
    // An error says that another test was first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let sender = reqwest::blocking::Client::builder().timeout(PATIENCE).no_proxy().build().unwrap();
    for backend in backends() {
        let gate = Gate::new();
        let opened = gate.clone();
        let origin = Origin::http(move |request| match request.target.as_str() {
            "/slow" => Reply::ok("").body(Body::Gated("first".into(), opened.clone(), " last".into())),
            "/broken" => Reply::ok("").body(Body::Broken("some".into())),
            _ => Reply::status(203)
                .header("set-cookie", "a=1")
                .header("set-cookie", "b=2")
                .body(Body::Full([request.method.as_bytes(), b" ", &request.body].concat().into())),
        })
        .unwrap();
        let start = |allowed: &str, target: &str| {
            let args =
                ["run", "--backend", backend, "--tcplisten", "127.0.0.1:0", "-a", allowed, &module, "proxy", target];
            let mut child = wharf(&args).stderr(Stdio::piped()).spawn().unwrap();
            let mut err = BufReader::new(child.stderr.take().unwrap());
            let mut line = String::new();
            err.read_line(&mut line).unwrap();
            let address = line.trim().strip_prefix("listening on ").unwrap_or_else(|| panic!("{line:?}")).to_owned();
            (Serving(child), format!("http://{address}"), err)
        };
        let (_serving, base, _err) = start(&origin.base(), &origin.base());
        let answer = sender.put(format!("{base}/path")).body("text").send().unwrap();
        assert_eq!(answer.status(), 203, "{backend}");
        assert_eq!(answer.headers().get_all("set-cookie").iter().collect::<Vec<_>>(), ["a=1", "b=2"], "{backend}");
        assert_eq!(answer.text().unwrap(), "PUT text", "{backend}");
        let received = origin.requests().pop().unwrap();
        assert_eq!((received.target.as_str(), &received.authority), ("/path", &origin.authority()), "{backend}");
        assert_eq!(received.header("x-forwarded-host"), base.strip_prefix("http://"), "{backend}");

        // The first piece is here before the origin sends the last.
        let mut answer = sender.get(format!("{base}/slow")).send().unwrap();
        let mut first = [0; 5];
        answer.read_exact(&mut first).unwrap();
        assert_eq!(&first, b"first", "{backend}");
        gate.open();
        let mut rest = String::new();
        answer.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, " last", "{backend}");

        assert!(sender.get(format!("{base}/broken")).send().unwrap().text().is_err(), "{backend}");

        let (_serving, base, _err) = start("http://127.0.0.1:1", &origin.base());
        assert_eq!(sender.get(&base).send().unwrap().status(), 502, "{backend}");
    }
}
