//! `wharf run`.

use std::ffi::OsStr;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use etcetera::BaseStrategy;
use wharf::core::abi::preview1::{Input, Network, Output, WasiConfig};
use wharf::core::http::{Limits, Outbound, Policy};
use wharf::core::{Backend, CodeCache, Error, Guest, GuestConfig, Kind, LoadOptions, Trap, TrapCode};

use crate::args::{DirGrant, EnvEntry, RunArgs, Usage};
use crate::commands::read_module;
use crate::console::Console;
use crate::progress::Progress;
use crate::signals::Signals;
use crate::{backend, exit};

pub(crate) fn run(args: &RunArgs, console: Console) -> anyhow::Result<u8> {
    let signals = Signals::listen()?;
    let (module, guest_args) = split(args)?;
    // What is wrong with the grants is told before a long compilation.
    let outbound = outbound(args)?;
    let wasi = wasi(args, module, guest_args)?.network(network(args, &outbound)?);
    let backend = backend::make(&args.backend)?;
    let guest = load(args, &*backend, module, console)?;
    let config =
        GuestConfig { wasi, outbound: Some(outbound), timeout: args.limits.timeout, cancel: signals.guest_starts() };
    match guest.run(config, args.guest.invoke.as_deref()) {
        Ok(code) => Ok(exit::guest_code(code)),
        Err(error) => Err(match (error.kind(), signals.stopped()) {
            (Kind::Cancelled, Some(stopped)) => stopped.into(),
            (Kind::Trap, _) => trapped(error).into(),
            _ => error.into(),
        }),
    }
}

/// The module's path, and the guest's arguments. A `--` between them, which older commands ask for, is dropped.
fn split(args: &RunArgs) -> anyhow::Result<(&Path, Vec<String>)> {
    let (module, rest) = args.module_and_args.split_first().ok_or_else(|| anyhow!("no module was given"))?;
    let rest = rest.strip_prefix(&["--".into()]).unwrap_or(rest);
    let text = |arg: &OsStr| {
        let wrong = || Usage(format!("the guest's argument {arg:?} is not UTF-8, which a guest's arguments must be"));
        arg.to_str().map(str::to_owned).ok_or_else(wrong)
    };
    Ok((Path::new(module), rest.iter().map(|arg| text(arg)).collect::<Result<_, _>>()?))
}

fn wasi(args: &RunArgs, module: &Path, guest_args: Vec<String>) -> anyhow::Result<WasiConfig> {
    let program = module.file_name().unwrap_or_default().to_string_lossy();
    let mut wasi = WasiConfig::new()
        .stdin(Input::Inherit)
        .stdout(Output::Inherit)
        .stderr(Output::Inherit)
        .arg(program)?
        .args(guest_args)?;
    for EnvEntry { name, value } in &args.guest.env {
        let value = match value {
            Some(value) => value.clone(),
            None => std::env::var(name).map_err(|error| Usage(format!("--env {name}: {error}; write {name}=VALUE")))?,
        };
        wasi = wasi.env(name, value)?;
    }
    for DirGrant { host, guest } in &args.guest.dir {
        wasi = wasi.preopen(host, guest).with_context(|| "--dir")?;
    }
    Ok(wasi)
}

fn outbound(args: &RunArgs) -> anyhow::Result<Outbound> {
    let mut policy =
        Policy::builder().allow_private_addresses(args.outbound.allow_private_ips).redirects(args.outbound.redirects);
    for entry in &args.outbound.allow_host {
        policy = policy.allow(&entry.0)?;
    }
    let given = &args.limits;
    let limits = Limits {
        open_responses: given.concurrency,
        in_flight_requests: given.concurrency,
        header_bytes: given.max_header_bytes.as_u64(),
        request_body_bytes: given.max_request_body.as_u64(),
        response_body_bytes: given.max_response_body.map_or(u64::MAX, |size| size.as_u64()),
        connect_timeout: given.connect_timeout,
        first_byte_timeout: given.first_byte_timeout,
        between_bytes_timeout: given.between_bytes_timeout,
        ..Limits::default()
    };
    Ok(Outbound::with_defaults(policy.build(), limits)?)
}

/// What the guest may do with sockets: connect where it may send requests, and listen where the options say.
fn network(args: &RunArgs, outbound: &Outbound) -> anyhow::Result<Network> {
    let given = &args.sockets;
    let mut network = Network::new()
        .connect(outbound.policy().clone())
        .connect_timeout(args.limits.connect_timeout)
        .max_sockets(given.max_sockets)
        .max_socket_buffer(usize::try_from(given.max_socket_buffer.as_u64()).unwrap_or(usize::MAX));
    for listen in &given.allow_listen {
        network = network.allow_listen(*listen);
    }
    for address in &given.tcplisten {
        let listener = TcpListener::bind(address).with_context(|| format!("--tcplisten {address}: cannot listen"))?;
        let bound = listener.local_addr().with_context(|| format!("--tcplisten {address}"))?;
        // Nobody can know otherwise which port the system chose.
        if address.port() == 0 {
            eprintln!("listening on {bound}");
        }
        network = network.listener(listener)?;
    }
    Ok(network)
}

fn load(args: &RunArgs, backend: &dyn Backend, module: &Path, console: Console) -> anyhow::Result<Guest> {
    let options =
        LoadOptions { max_memory: args.limits.max_memory.as_u64(), cache: cache(args)?, ..LoadOptions::default() };
    let wasm = read_module(module, options.max_module_bytes)?;
    let what = module.file_name().unwrap_or_default().to_string_lossy();
    let progress = Progress::start(console, &format!("compiling {what} with {}", backend.info().name));
    let guest = Guest::load(backend, &wasm, &options);
    drop(progress);
    guest.with_context(|| format!("`{}`", module.display()))
}

fn cache(args: &RunArgs) -> anyhow::Result<Option<Arc<CodeCache>>> {
    if args.cache.no_cache {
        return Ok(None);
    }
    if let Some(directory) = &args.cache.cache_dir {
        return Ok(Some(Arc::new(CodeCache::open(directory).context("--cache-dir")?)));
    }
    // Nobody asked for this one, so that a machine without it only runs slower.
    let Ok(user) = etcetera::base_strategy::choose_native_strategy() else {
        tracing::info!("compiled code is not kept: the user has no home directory");
        return Ok(None);
    };
    match CodeCache::open(&user.cache_dir().join("wharf")) {
        Ok(cache) => Ok(Some(Arc::new(cache))),
        Err(error) => {
            tracing::warn!("compiled code is not kept: {}", wharf::core::chain(&error));
            Ok(None)
        }
    }
}

/// Says the same of a trap whatever the engine's own words, which are logged.
fn trapped(error: Error) -> Error {
    let Some(trap) = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<Trap>()) else {
        return error;
    };
    tracing::info!("the engine says: {}", trap.message);
    let reason = match trap.code {
        TrapCode::Unreachable => "it executed `unreachable`, as a panic does",
        TrapCode::MemoryOutOfBounds => "it accessed an address outside its memory",
        TrapCode::TableOutOfBounds => "it accessed an element outside a table",
        TrapCode::NullElement => "it called an empty element of a table",
        TrapCode::BadSignature => "it called a function through a table with the wrong signature",
        TrapCode::DivisionByZero => "it divided an integer by zero",
        TrapCode::IntegerOverflow => "an integer division overflowed",
        TrapCode::BadConversion => "it converted a float to an integer that cannot hold it",
        TrapCode::StackOverflow => "its call stack is exhausted",
        _ => trap.message.lines().next().unwrap_or("the engine does not say why"),
    };
    Error::new(Kind::Trap, format!("the guest trapped: {reason}"))
}
