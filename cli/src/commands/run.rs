//! `wharf run`.

use std::ffi::OsStr;
use std::path::Path;

use anyhow::anyhow;
use wharf::core::grants::{Input, Output};
use wharf::core::{Error, GuestConfig, Kind, Trap, TrapCode};

use crate::args::{RunArgs, Usage};
use crate::commands::grants;
use crate::commands::load::{Loading, Purpose};
use crate::console::Console;
use crate::signals::Signals;
use crate::{descriptors, exit};

pub(crate) fn run(args: &RunArgs, console: Console) -> anyhow::Result<u8> {
    let signals = Signals::listen()?;
    descriptors::raise_limit();
    let (module, guest_args) = split(args)?;
    // What is wrong with the grants is told before a long compilation.
    let outbound = grants::outbound(&args.outbound, &args.limits)?;
    let network = grants::network(&args.sockets, &outbound)?;
    let wasi = grants::wasi(&args.guest, module, guest_args)?
        .stdin(Input::Inherit)
        .stdout(Output::Inherit)
        .stderr(Output::Inherit)
        .network(network);
    let invoke = args.invoke.as_deref();
    let loading = Loading::new(&args.backend, &args.host, &args.limits.load, &args.cache, &args.images);
    let program = loading.guest(module, Purpose::Run(invoke), console)?;
    let config = GuestConfig {
        wasi,
        outbound: Some(outbound),
        timeout: args.limits.timeout,
        cancel: signals.guest_starts(),
        ..GuestConfig::default()
    };
    match program.run(config, invoke) {
        Ok(code) => Ok(exit::guest_code(code)),
        Err(error) => Err(match (error.kind(), signals.stopped()) {
            (Kind::Cancelled, Some(stopped)) => stopped.into(),
            (Kind::Trap, _) => trapped(error).into(),
            // It was loaded: it ends as if it had trapped.
            (Kind::Limit, _) => Error::new(Kind::Trap, "the guest was ended at a limit").with_source(error).into(),
            _ => error.into(),
        }),
    }
}

/// The module's path, and the guest's arguments. A `--` between them, which older commands ask for, is dropped.
fn split(args: &RunArgs) -> anyhow::Result<(&Path, Vec<String>)> {
    let (module, rest) = args.module_and_args.split_first().ok_or_else(|| anyhow!("no module was given"))?;
    // A file may be named like an option; an option that is not one is more often a slip of the pen.
    if module.as_encoded_bytes().starts_with(b"-") && !Path::new(module).exists() {
        let module = Path::new(module).display();
        return Err(Usage(format!(
            "unexpected argument '{module}' found: it is not an option of `wharf run`; see --help"
        ))
        .into());
    }
    let rest = rest.strip_prefix(&["--".into()]).unwrap_or(rest);
    let text = |arg: &OsStr| {
        let wrong =
            || Usage(format!("the guest's argument {arg:?} is not UTF-8, which WASI requires; pass it in a file"));
        arg.to_str().map(str::to_owned).ok_or_else(wrong)
    };
    Ok((Path::new(module), rest.iter().map(|arg| text(arg)).collect::<Result<_, _>>()?))
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
