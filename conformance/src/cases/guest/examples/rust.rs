//! What the examples in Rust do beside the contract.

use wharf_guests::{PrebuiltGuest, RUST_DOWNLOAD, RUST_DOWNLOAD_HTTP, RUST_FETCH, RUST_FETCH_HTTP};

use super::download::printed;
use super::{EXPERIMENTAL, Example};
use crate::case::{Case, CaseResult, Unmet};
use crate::context::Context;
use crate::origin::{Body, Gate, Origin, Reply};
use crate::{check, check_eq};

const PROVES: &str = "guests/README.md, Rust";

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("guest/examples/rust/fetches-several", PROVES, |c| several(c, RUST_FETCH)).guests(&[RUST_FETCH]),
    Case::must("guest/examples/rust-wasi-http/fetches-several", PROVES, |c| several(c, RUST_FETCH_HTTP))
        .guests(&[RUST_FETCH_HTTP]),
    Case::must("guest/examples/rust-wasi-http/fetches-at-once", PROVES, at_once).guests(&[RUST_FETCH_HTTP]),
    Case::must("guest/examples/rust/downloads-to-a-file", PROVES, |c| to_a_file(c, RUST_DOWNLOAD))
        .guests(&[RUST_DOWNLOAD]),
    Case::must("guest/examples/rust-wasi-http/downloads-to-a-file", PROVES, |c| to_a_file(c, RUST_DOWNLOAD_HTTP))
        .guests(&[RUST_DOWNLOAD_HTTP]),
];

fn example(guest: PrebuiltGuest) -> Example {
    Example { guest, first: &[], traits: EXPERIMENTAL }
}

/// Each URL begins a request of its own; the responses are printed in the order of the requests.
fn several(context: &Context, guest: PrebuiltGuest) -> CaseResult {
    let origin = Origin::http(|request| {
        Reply::ok([request.method.as_bytes(), request.target.as_bytes(), &request.body, b"\n"].concat())
    })?;
    let urls = ["/1", "/2", "/3"].map(|path| origin.url(path));
    let args = [&urls[0], "PUT", &urls[2], &urls[1], &urls[2], "x-header:1", "POST"];
    let example = example(guest);
    let ended = example.run(context, Some(&origin), &args)?;
    let answer = |text: String| format!("200\ncontent-length: {}\n\n{text}", text.len());
    let answers = [format!("PUT/1{}\n", urls[2]), "GET/2\n".to_owned(), "POST/3\n".to_owned()].map(answer);
    example.printed(&ended, &answers.concat(), "three requests")
}

/// Each response comes when the other request has arrived.
fn at_once(context: &Context) -> CaseResult {
    // Were one of them answered at once, the other could still go over its connection.
    let [first, second] = [Gate::new(), Gate::new()];
    let origin = Origin::http(move |request| {
        let (arrived, awaited) = if request.target == "/first" { (&first, &second) } else { (&second, &first) };
        arrived.open();
        Reply::ok("").once(awaited.clone())
    })?;
    let example = example(RUST_FETCH_HTTP);
    let ended = example.run(context, Some(&origin), &[&origin.url("/first"), &origin.url("/second")])?;
    check_eq!(ended.code, 0, "the exit code; {:?}", ended.err);
    check_eq!(origin.accepted(), 2, "the count of connections");
    Ok(())
}

/// The file holds what was sent, and no more of it was in memory than there is.
fn to_a_file(context: &Context, guest: PrebuiltGuest) -> CaseResult {
    let example = example(guest);
    let length = example.traits.memory * 3;
    let origin = Origin::replying(Reply::ok("").body(Body::Filler(length)))?;
    let directory = tempfile::tempdir().map_err(Unmet::harness)?;
    let mut config = context.net().allow(&origin.base()).config()?;
    config.wasi = config.wasi.preopen(directory.path(), "/out")?;
    let ended = example.run_with(context, config, &[&origin.url("/"), "/out/file"])?;
    example.printed(&ended, &printed(length), "a download to a file")?;
    let file = std::fs::read(directory.path().join("file")).map_err(Unmet::harness)?;
    check!(file.len() as u64 == length && file.iter().all(|byte| *byte == b'x'), "the file holds something else");
    let nowhere = example.run(context, Some(&origin), &[&origin.url("/"), "/nowhere/file"])?;
    example.failed(&nowhere, "", "", "a file that cannot be made")
}
