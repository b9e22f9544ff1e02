//! The commands that the guest guide shows. What the examples do in each language is the suite's to say.

use crate::support::{Files, backends, end, wharf};
use wharf_conformance::origin::{Body, Origin, Reply};
use wharf_guests::{AS_DOWNLOAD, AS_FETCH, C_FORM, PrebuiltGuest};

fn write(files: &Files, guest: PrebuiltGuest) -> String {
    files.write(&format!("{}.wasm", guest.name), guest.wasm().unwrap())
}

#[test]
fn examples_run_as_shown() {
    let files = Files::new();
    let [fetch, form, download] = [AS_FETCH, C_FORM, AS_DOWNLOAD].map(|guest| write(&files, guest));
    let origin = Origin::http(|request| match request.target.as_str() {
        "/large" => Reply::ok("").body(Body::Filler(24 << 20)),
        _ => Reply::ok(request.body.clone()).header("set-cookie", "a=1; path=/").header("set-cookie", "b=2"),
    })
    .unwrap();
    for backend in backends() {
        let run = |options: &[&str], args: &[&str]| {
            let ended =
                end(&mut wharf(&[&["run", "--backend", backend, "-a", &origin.base()], options, args].concat()));
            assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{backend}: {ended:?}");
            ended.out
        };
        let printed = run(&[], &[&fetch, &origin.url("/"), "PUT", "some text", "x-twice:1", "x-twice:2"]);
        let expected = "200\ncontent-length: 9\nset-cookie: a=1; path=/\nset-cookie: b=2\n\nsome text";
        assert_eq!(printed, expected, "{backend}");
        assert_eq!(origin.requests().pop().unwrap().all("x-twice"), [b"1", b"2"], "{backend}");
        let printed = run(&[], &[&form, &origin.url("/"), "a b=1&2=3", "c=\u{fc}"]);
        assert_eq!(printed, "200\na+b=1%262%3D3&c=%C3%BC\n", "{backend}");
        let printed = run(&["--max-memory", "8MiB"], &[&download, &origin.url("/large")]);
        assert_eq!(printed, "25165824 bytes, CRC-32 d3adc921\n", "{backend}");
    }
}

#[test]
fn a_denial_is_told_by_both() {
    let files = Files::new();
    let fetch = write(&files, AS_FETCH);
    for backend in backends() {
        let ended = end(&mut wharf(&["run", "--backend", backend, &fetch, "http://127.0.0.1:8000/"]));
        assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""), "{backend}: {ended:?}");
        let lines: Vec<&str> = ended.err.lines().collect();
        let [host, guest] = lines[..] else { panic!("{backend}: {ended:?}") };
        assert!(host.ends_with("a guest was denied http://127.0.0.1:8000; to permit it, allow http://127.0.0.1:8000"));
        assert_eq!(guest, "as-fetch: the destination is not allowed (code 7)", "{backend}");
    }
}
