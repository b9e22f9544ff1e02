//! An embedder's own Wasmer host, with Wasmer's own WASI (WASIX), to which wharf adds HTTP.
//!
//! Two guests run the same module in stores of their own: the first may reach the example's server, the second may
//! reach nothing.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use wasmer::{Engine, FunctionEnv, Imports, Instance, Module, Store};
use wasmer_wasix::{Pipe, WasiEnv, WasiError};
use wharf_core::Run;
use wharf_core::abi::experimental::{ErrorCode, Http};
use wharf_core::http::{Limits, Outbound, Policy};

const GREETING: &str = "hello from the origin\n";

/// What each of the embedder's stores carries.
struct Host {
    http: Http,
}

fn main() -> Result<()> {
    let origin = serve()?;
    // WASIX runs its tasks on the tokio runtime it finds here.
    let tokio = tokio::runtime::Runtime::new()?;
    let _entered = tokio.enter();

    let engine = Engine::default();
    let module = Module::new(&engine, wat::parse_str(include_str!("fetch.wat"))?)?;

    let policy = Policy::builder().allow(&format!("http://{origin}"))?.build();
    let (status, printed) = run(&engine, &module, origin, policy)?;
    print!("{printed}");
    ensure!(status == 0 && printed == GREETING, "the guest exited with {status} and printed {printed:?}");

    let (status, printed) = run(&engine, &module, origin, Policy::deny_all())?;
    println!("without a grant: error code {status}");
    let denied = ErrorCode::DestinationNotAllowed as i32;
    ensure!(status == denied && printed.is_empty(), "the guest exited with {status} and printed {printed:?}");

    let error = attach_shared(&engine).err().context("a shared memory is taken")?;
    println!("with a shared memory: {error}");
    Ok(())
}

/// Attaches wharf's imports to a guest whose memory other threads may write to, which wharf refuses.
fn attach_shared(engine: &Engine) -> Result<()> {
    let module = Module::new(engine, wat::parse_str(r#"(module (memory (export "memory") 1 1 shared))"#)?)?;
    let mut store = Store::new(engine.clone());
    let http = Http::new(Outbound::with_defaults(Policy::deny_all(), Limits::default())?, Run::default());
    let host = FunctionEnv::new(&mut store, Host { http });
    let mut imports = Imports::new();
    let http = wharf_wasmer::add_experimental_to_imports(&mut store, &host, &mut imports, |host: &Host| &host.http)?;
    let instance = Instance::new(&mut store, &module, &imports)?;
    Ok(http.attach(&store, &instance)?)
}

/// Runs the guest under `policy`: its exit status and what it printed.
fn run(engine: &Engine, module: &Module, origin: SocketAddr, policy: Policy) -> Result<(i32, String)> {
    let mut store = Store::new(engine.clone());
    let (stdout, mut printed) = Pipe::channel();
    let mut wasi = WasiEnv::builder("fetch")
        .arg(format!("http://{origin}/"))
        .stdout(Box::new(stdout))
        .engine(engine.clone())
        .finalize(&mut store)?;
    let mut imports = wasi.import_object(&mut store, module)?;

    let deadline = Run::default();
    deadline.set_deadline(Some(Instant::now() + Duration::from_secs(10)));
    let http = Http::new(Outbound::with_defaults(policy, Limits::default())?, deadline);
    let host = FunctionEnv::new(&mut store, Host { http });
    let http = wharf_wasmer::add_experimental_to_imports(&mut store, &host, &mut imports, |host: &Host| &host.http)?;

    let instance = Instance::new(&mut store, module, &imports)?;
    http.attach(&store, &instance)?;
    wasi.initialize(&mut store, instance.clone())?;
    let start = instance.exports.get_typed_function::<(), ()>(&store, "_start")?;
    let status = match start.call(&mut store) {
        Ok(()) => 0,
        Err(error) => match error.downcast::<WasiError>()? {
            WasiError::Exit(status) => status.raw(),
            other => bail!(other),
        },
    };
    wasi.on_exit(&mut store, None);
    let mut text = vec![0; 1 << 20];
    let length = printed.try_read(&mut text).unwrap_or(0);
    text.truncate(length);
    Ok((status, String::from_utf8(text)?))
}

/// A server on a port of its own that answers every request with the greeting.
fn serve() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").context("the example needs a free port on 127.0.0.1")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            if let Err(error) = stream.and_then(answer) {
                eprintln!("the example's server: {error}");
            }
        }
    });
    Ok(address)
}

fn answer(stream: TcpStream) -> std::io::Result<()> {
    let mut lines = BufReader::new(&stream).lines();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let length = GREETING.len();
    write!(&stream, "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{GREETING}")
}
