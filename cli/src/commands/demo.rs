//! `wharf demo`: a guest that serves, and is asked; and a guest that asks a real server, and is denied.

mod server;
mod serving;

use std::fmt::Write;
use std::time::Duration;

use anyhow::{Context, bail};
use wharf::core::grants::{Capture, Output, WasiConfig};
use wharf::core::http::{Limits, Outbound, Policy};
use wharf::core::{Guest, GuestConfig, LoadOptions};
use wharf_guests::{FETCH, HELLO_HTTP};

use self::server::Server;
use crate::args::DemoArgs;
use crate::console::Console;
use crate::output::{FAINT, HEADING, printable, styled};
use crate::progress::Progress;
use crate::{backend, exit, output};

/// What the guest prints is a few lines.
const OUTPUT_LIMIT: usize = 64 << 10;

/// The demonstration ends, whatever happens.
const TIMEOUT: Duration = Duration::from_secs(30);

pub(crate) fn demo(args: &DemoArgs, console: Console) -> anyhow::Result<u8> {
    let backend = backend::make(&args.backend)?;
    let (name, engine) = (backend.info().name, &backend.info().engine_version);
    let server = Server::start()?;
    let origin = server.origin();
    output::print(&format!(
        "The guest `{}` answers requests; {name} {engine} runs it. It may reach a server on {origin} and nothing else.\n",
        HELLO_HTTP.name
    ))?;
    serving::demo(&*backend, console, &origin)?;
    // What the serving guest asked it was shown.
    server.take_requests();

    output::print(&format!(
        "\nA server listens on {origin}. The guest is `{}`, built on the crate wasi-experimental-http 0.10.0; \
         {name} {engine} runs it.\n",
        FETCH.name
    ))?;

    let wasm = FETCH.wasm()?;
    let progress = Progress::start(console, &format!("compiling {}.wasm with {name}", FETCH.name));
    let guest = Guest::load(&*backend, &wasm, &LoadOptions::default()).context("the guest of the demonstration")?;
    drop(progress);

    let url = format!("{origin}/greet");
    let guest_args = [url.as_str(), "POST", "wharf", "content-type:text/plain"];
    let allowed = exchange(&guest, &server, name, Some(&origin), &guest_args)?;
    if allowed.code != 0 || allowed.requests != 1 || !allowed.printed.contains(server::GREETING) {
        bail!("the guest did not get the server's answer");
    }
    let denied = exchange(&guest, &server, name, None, &guest_args)?;
    if denied.code == 0 || denied.requests != 0 {
        bail!("the guest was not denied, though nothing was allowed");
    }
    Ok(exit::SUCCESS)
}

/// What came of one run.
struct Exchange {
    code: i32,
    requests: usize,
    printed: String,
}

/// Runs the guest with one origin allowed, or none, and prints what happened.
fn exchange(
    guest: &Guest,
    server: &Server,
    backend: &str,
    allowed: Option<&str>,
    guest_args: &[&str],
) -> anyhow::Result<Exchange> {
    let allow = allowed.map_or_else(String::new, |origin| format!(" -a {origin}"));
    let command = format!("$ wharf run --backend {backend}{allow} {}.wasm {}", FETCH.name, guest_args.join(" "));
    output::print(&format!("\n{}\n", styled(HEADING, command)))?;

    let printed = Capture::new(OUTPUT_LIMIT);
    let policy = match allowed {
        Some(origin) => Policy::builder().allow(origin)?.build(),
        None => Policy::deny_all(),
    };
    let config = GuestConfig {
        wasi: WasiConfig::new()
            .arg(format!("{}.wasm", FETCH.name))?
            .args(guest_args.iter().copied())?
            .stdout(Output::Capture(printed.clone()))
            .stderr(Output::Capture(printed.clone())),
        outbound: Some(Outbound::with_defaults(policy, Limits::default())?),
        timeout: Some(TIMEOUT),
        ..GuestConfig::default()
    };
    let code = guest.run(config, None)?;
    let printed = String::from_utf8_lossy(&printed.contents()).into_owned();
    let requests = server.take_requests();

    let mut text = String::new();
    // Writing to a string cannot fail.
    if requests.is_empty() {
        let _ = writeln!(text, "{}", styled(FAINT, "the server saw nothing"));
    }
    for request in &requests {
        block(&mut text, "the server saw", request);
    }
    block(&mut text, "the guest printed", &printed);
    let _ = writeln!(text, "{}", styled(FAINT, format_args!("exit code {code}")));
    output::print(&text)?;
    Ok(Exchange { code, requests: requests.len(), printed })
}

fn block(text: &mut String, heading: &str, lines: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{}", styled(FAINT, heading));
    for line in lines.lines() {
        let _ = writeln!(text, "{}", format!("    {}", printable(line)).trim_end());
    }
}
