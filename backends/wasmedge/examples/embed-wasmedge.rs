//! An embedder's own WasmEdge host, with WasmEdge's own WASI, to which wharf adds HTTP.
//!
//! Two guests run the same module in stores of their own: the first may reach the example's server, the second may
//! reach nothing.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use wasmedge_sdk::vm::SyncInst;
use wasmedge_sdk::wasi::WasiModule;
use wasmedge_sdk::{AsInstance, Module, Store};
use wharf_core::Run;
use wharf_core::abi::experimental::{ErrorCode, Http};
use wharf_core::http::{Limits, Outbound, Policy};

const GREETING: &str = "hello from the origin\n";
/// Where the guest keeps what it prints.
const CHUNK: u32 = 65_536;

fn main() -> Result<()> {
    let origin = serve()?;
    let module = Module::from_bytes(None, wat::parse_str(include_str!("fetch.wat"))?)?;

    let policy = Policy::builder().allow(&format!("http://{origin}"))?.build();
    let (status, printed) = run(&module, origin, policy)?;
    ensure!(status == 0 && printed == GREETING, "the guest exited with {status} and printed {printed:?}");

    let (status, _) = run(&module, origin, Policy::deny_all())?;
    println!("without a grant: error code {status}");
    ensure!(status == ErrorCode::DestinationNotAllowed as u32, "the guest exited with {status}");
    Ok(())
}

/// Runs the guest under `policy`: its exit status, and what it printed, as found in its memory.
fn run(module: &Module, origin: SocketAddr, policy: Policy) -> Result<(u32, String)> {
    let deadline = Run::default();
    deadline.set_deadline(Some(Instant::now() + Duration::from_secs(10)));
    let http = Http::new(Outbound::with_defaults(policy, Limits::default())?, deadline);

    let mut http = wharf_wasmedge::experimental_imports(http)?;
    let mut wasi = WasiModule::create(Some(vec!["fetch", &format!("http://{origin}/")]), None, None)?;
    let mut imports: HashMap<String, &mut dyn SyncInst> = HashMap::new();
    imports.insert(wharf_core::abi::experimental::MODULE.to_owned(), &mut http);
    imports.insert(wasi.name().to_owned(), wasi.as_mut());

    let mut store = Store::new(None, imports)?;
    let mut guest = store.register_active_module(module)?;
    // WasmEdge takes an exit for a success, so the status tells.
    {
        let mut start = guest.get_func_mut("_start")?;
        store.executor().call_func(&mut start, [])?;
    }
    let chunk = guest.get_memory_ref("memory")?.get_data(CHUNK, GREETING.len() as u32)?;
    drop((guest, store));
    Ok((wasi.exit_code(), String::from_utf8(chunk)?))
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
