//! An embedder's own Wasmtime host, with Wasmtime's own WASI, to which wharf adds HTTP.
//!
//! Two guests run the same module in stores of their own: the first may reach the example's server, the second may
//! reach nothing.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use wasmtime::error::Context as _;
use wasmtime::{Engine, Linker, Module, Result, Store, ensure};
use wasmtime_wasi::p1::{self, WasiP1Ctx};
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;
use wasmtime_wasi::{I32Exit, WasiCtxBuilder};
use wharf_core::Run;
use wharf_core::abi::experimental::{ErrorCode, Http};
use wharf_core::http::{Limits, Outbound, Policy};

const GREETING: &str = "hello from the origin\n";

/// What each of the embedder's stores carries.
struct Host {
    wasi: WasiP1Ctx,
    http: Http,
}

fn main() -> Result<()> {
    let origin = serve()?;

    let engine = Engine::default();
    let module = Module::new(&engine, wat::parse_str(include_str!("fetch.wat"))?)?;
    let mut linker: Linker<Host> = Linker::new(&engine);
    p1::add_to_linker_sync(&mut linker, |host: &mut Host| &mut host.wasi)?;
    wharf_wasmtime::add_experimental_to_linker(&mut linker, |host: &Host| &host.http)?;

    let policy = Policy::builder().allow(&format!("http://{origin}"))?.build();
    let (status, printed) = run(&linker, &module, origin, policy)?;
    print!("{printed}");
    ensure!(status == 0 && printed == GREETING, "the guest exited with {status} and printed {printed:?}");

    let (status, printed) = run(&linker, &module, origin, Policy::deny_all())?;
    println!("without a grant: error code {status}");
    let denied = ErrorCode::DestinationNotAllowed as i32;
    ensure!(status == denied && printed.is_empty(), "the guest exited with {status} and printed {printed:?}");
    Ok(())
}

/// Runs the guest under `policy`: its exit status and what it printed.
fn run(linker: &Linker<Host>, module: &Module, origin: SocketAddr, policy: Policy) -> Result<(i32, String)> {
    let deadline = Run::default();
    deadline.set_deadline(Some(Instant::now() + Duration::from_secs(10)));
    let stdout = MemoryOutputPipe::new(1 << 20);
    let wasi = WasiCtxBuilder::new().args(&["fetch", &format!("http://{origin}/")]).stdout(stdout.clone()).build_p1();
    let http = Http::new(Outbound::with_defaults(policy, Limits::default())?, deadline);
    let mut store = Store::new(linker.engine(), Host { wasi, http });
    let start = linker.instantiate(&mut store, module)?.get_typed_func::<(), ()>(&mut store, "_start")?;
    let status = match start.call(&mut store, ()) {
        Ok(()) => 0,
        Err(error) => error.downcast::<I32Exit>()?.0,
    };
    drop(store);
    Ok((status, String::from_utf8(stdout.contents().into())?))
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
