//! The published adapters for preview 1, left out of a component and kept: random calls have to come to the same.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use wasi_preview1_component_adapter_provider as provider;
use wharf_component::plan::AdapterVariant;
use wharf_component::{FlattenOptions, Flattened, flatten};
use wharf_core::grants::{Output, WasiConfig};
use wharf_core::{Guest, GuestConfig, LoadOptions, Stop};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use crate::case::{Case, CaseResult, Unmet};
use crate::context::Context;
use crate::random::{PROGRAMS, Random, SEED, number, seed};
use crate::{check, check_eq};

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("guest/adapter/command", "wasi-preview1-component-adapter", |context| {
        random(context, AdapterVariant::Command)
    }),
    Case::must("guest/adapter/reactor", "wasi-preview1-component-adapter", |context| {
        random(context, AdapterVariant::Reactor)
    }),
    Case::must("guest/adapter/proxy", "wasi-preview1-component-adapter", |context| {
        random(context, AdapterVariant::Proxy)
    }),
];

/// The variable that names a directory with other adapters, as they are published.
const ADAPTERS: &str = "WHARF_ADAPTER_FILES";

/// What is compared of the memory; behind it goes what no two runs have in common.
const COMPARED: usize = 0xc000;

/// The functions, by how many parameters they have.
const FUNCTIONS: [(&str, usize); 11] = [
    ("args_get", 2),
    ("args_sizes_get", 2),
    ("clock_res_get", 2),
    ("clock_time_get", 3),
    ("environ_get", 2),
    ("environ_sizes_get", 2),
    ("fd_write", 4),
    ("proc_exit", 1),
    ("random_get", 2),
    ("sched_yield", 0),
    // The adapter keeps this one, and with it whatever has to do with descriptors.
    ("fd_close", 1),
];

const FD_WRITE: usize = 6;
const SCHED_YIELD: usize = 9;
const FD_CLOSE: usize = 10;

/// A guest that makes some calls and has their results in its memory.
struct Program {
    text: String,
    /// What is told of it when it fails.
    calls: String,
    config: Grants,
    closes: bool,
}

struct Grants {
    args: Vec<String>,
    env: Vec<(String, String)>,
    /// After how many bytes the standard output breaks, and with what.
    breaks: Option<(usize, io::ErrorKind)>,
}

/// What came of a program.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    end: String,
    /// Of one that returned: what is written before a trap, and what is not, nobody reads.
    memory: Vec<u8>,
    out: String,
    err: String,
}

impl Seen {
    /// Tells where it differs from what came with the adapter kept.
    fn unlike(&self, kept: &Seen) -> String {
        let differ = self.memory.iter().zip(&kept.memory).position(|(ours, kept)| ours != kept);
        let at = differ.unwrap_or_default();
        let bytes = |seen: &Seen| seen.memory.get(at..).and_then(|rest| rest.get(..16)).map(<[u8]>::to_vec);
        let streams = |seen: &Seen| (seen.end.clone(), seen.out.len(), seen.err.clone());
        format!(
            "with the adapter left out {:?}, kept {:?}; memory at {differ:x?}: {:?}, kept {:?}",
            streams(self),
            streams(kept),
            bytes(self),
            bytes(kept)
        )
    }
}

fn random(context: &Context, variant: AdapterVariant) -> CaseResult {
    let (count, seed) = (number(PROGRAMS, 6)?, seed()?);
    let adapter = adapter(variant)?;
    for at in 0..count {
        let mut random = Random(seed ^ (at << 20) ^ variant as u64);
        let program = program(&mut random);
        let what = || format!("{variant}, {SEED}={seed}, program {at}, {}: ", program.calls);
        let component = component(&program.text, &adapter)?;
        let flat = |keep_adapter| {
            let options = FlattenOptions { keep_adapter, ..FlattenOptions::default() };
            flatten(&component, &options).map_err(|error| Unmet::failed(format!("{}: {error}", what())))
        };
        let (kept, left_out) = (flat(true)?, flat(false)?);
        check_eq!(kept.plan.adapter, None, "{}an adapter was left out", what());
        expect_left_out(&left_out, variant, program.closes).map_err(|unmet| unmet.context(what()))?;
        let kept = run(context, &kept, &program.config)?;
        let left_out = run(context, &left_out, &program.config)?;
        check!(left_out == kept, "{}{}", what(), left_out.unlike(&kept));
    }
    Ok(())
}

/// Whether as much is left out as should be.
fn expect_left_out(flat: &Flattened, variant: AdapterVariant, closes: bool) -> CaseResult {
    let Some(adapter) = &flat.plan.adapter else { return Err(Unmet::failed("the adapter is not recognised")) };
    let stays = |name: &String| name == "fd_close" || closes && name == "fd_write" || name.starts_with("wasi:cli/run@");
    check!(adapter.kept.iter().all(stays), "these are kept: {:?}", adapter.kept);
    check!(closes == adapter.kept.contains(&"fd_close".to_owned()), "these are kept: {:?}", adapter.kept);
    // Where all that is used is the same in several, the first is named.
    let proxy = |variant| variant == AdapterVariant::Proxy;
    let alike = ["clock_res_get", "clock_time_get", "sched_yield"];
    let ambiguous = adapter.left_out.iter().all(|name| alike.contains(&name.as_str())) && adapter.kept.is_empty();
    check!(proxy(adapter.variant) == proxy(variant) || ambiguous, "{variant}: {adapter:?}");
    Ok(())
}

/// An adapter as it is published.
fn adapter(variant: AdapterVariant) -> CaseResult<Vec<u8>> {
    if let Some(directory) = std::env::var_os(ADAPTERS) {
        let file = std::path::Path::new(&directory).join(format!("wasi_snapshot_preview1.{variant}.wasm"));
        return std::fs::read(file).map_err(Unmet::harness);
    }
    Ok(match variant {
        AdapterVariant::Command => provider::WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER,
        AdapterVariant::Reactor => provider::WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
        AdapterVariant::Proxy => provider::WASI_SNAPSHOT_PREVIEW1_PROXY_ADAPTER,
    }
    .to_vec())
}

/// What toolchains make of the module.
fn component(text: &str, adapter: &[u8]) -> CaseResult<Vec<u8>> {
    let mut module = wat::parse_str(text).map_err(Unmet::harness)?;
    let mut resolve = Resolve::default();
    let package = resolve
        .push_str("calls.wit", "package test:calls; world calls { export calls: func(); export yields: func(); }")
        .map_err(|error| Unmet::harness(format!("{error:#}")))?;
    let world = resolve.select_world(&[package], None).map_err(|error| Unmet::harness(format!("{error:#}")))?;
    let mut wrap = || {
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)?;
        ComponentEncoder::default().module(&module)?.adapter("wasi_snapshot_preview1", adapter)?.encode()
    };
    wrap().map_err(|error| Unmet::harness(format!("the program is not made a component: {error:#}")))
}

/// The strings and buffers that calls are made with lie here.
const BUFFERS: u32 = 0x100;
const TEXT: u32 = 0x1000;
const RESULTS: u32 = 0x3000;
/// Where what is answered goes.
const ANSWERS: u32 = 0x4000;
/// Where what differs from run to run goes.
const VOLATILE: u32 = 0xc000;

fn program(random: &mut Random) -> Program {
    let closes = random.below(4) == 0;
    let mut used = [false; FUNCTIONS.len()];
    let mut calls = String::new();
    for at in 0..1 + random.below(16) {
        let mut function = random.below(FUNCTIONS.len() as u64 - 1) as usize;
        if closes && random.below(6) == 0 {
            function = FD_CLOSE;
        }
        // An end is for the last.
        if FUNCTIONS[function].0 == "proc_exit" && random.below(4) > 0 {
            function = FD_WRITE;
        }
        used[function] = true;
        let name = FUNCTIONS[function].0;
        let params: String = params(random, name).iter().map(|param| format!(" {param}")).collect();
        calls += &match name {
            "proc_exit" => format!("(call $proc_exit{params})"),
            _ => format!("(i32.store (i32.const {}) (call ${name}{params}))", RESULTS + 4 * at as u32),
        };
    }
    if closes && !used[FD_CLOSE] {
        used[FD_CLOSE] = true;
        calls += "(drop (call $fd_close (i32.const 77)))";
    }
    // Something is left out of each.
    used[SCHED_YIELD] = true;
    let import = |(name, count): &(&str, usize)| {
        let params = if *name == "clock_time_get" { "i32 i64 i32".to_owned() } else { "i32 ".repeat(*count) };
        let result = if *name == "proc_exit" { "" } else { "(result i32)" };
        format!("(import \"wasi_snapshot_preview1\" \"{name}\" (func ${name} (param {params}) {result}))\n")
    };
    let imports: String = FUNCTIONS.iter().zip(used).filter(|(_, used)| *used).map(|(f, _)| import(f)).collect();
    // The adapter takes its memory from the guest, or has it grow.
    let allocator = r#"(func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
        (i32.shl (memory.grow (i32.const 3)) (i32.const 16)))"#;
    let allocator = if random.below(2) == 0 { allocator } else { "" };
    let buffers: String = (0..8)
        .map(|_| {
            let len = [0, 0, 1, 5, 40, 4096, 4097, 0x1f00][random.below(8) as usize];
            let at = if random.below(40) == 0 { 0xffff_f000 } else { TEXT + random.below(0x40) as u32 };
            [at, len]
                .iter()
                .flat_map(|number| number.to_le_bytes())
                .map(|byte| format!("\\{byte:02x}"))
                .collect::<String>()
        })
        .collect();
    let line = "the quick brown fox jumps over the lazy dog 0123456789 ABCDEFG\\n";
    let text = format!(
        r#"(module {imports}
            (memory (export "memory") 1)
            (data (i32.const {BUFFERS}) "{buffers}")
            (data (i32.const {TEXT}) "{}")
            {allocator}
            (func (export "_start"))
            (func (export "yields") (drop (call $sched_yield)))
            (func (export "calls") {calls}))"#,
        line.repeat(0x2000 / 63)
    );
    let word = |random: &mut Random| "abcdefghij"[..random.below(10) as usize].to_owned();
    let args = (0..random.below(4)).map(|_| word(random)).collect();
    let env = (0..random.below(4)).map(|at| (format!("N{at}{}", word(random)), word(random))).collect();
    let kinds = [io::ErrorKind::BrokenPipe, io::ErrorKind::StorageFull, io::ErrorKind::PermissionDenied];
    let breaks = (random.below(3) == 0).then(|| (random.below(200) as usize * 40, kinds[random.below(3) as usize]));
    let calls = format!("{calls} with buffers {buffers}, breaking at {breaks:?}");
    Program { text, calls, config: Grants { args, env, breaks }, closes }
}

/// The parameters of a call, most of them good ones.
fn params(random: &mut Random, name: &str) -> Vec<String> {
    let constant = |number: u32| format!("(i32.const {number})");
    let wild = |random: &mut Random, good: u32| match random.below(60) {
        0 => 0xffff_fff0,
        1 => 0x7fff_0000,
        _ => good,
    };
    let answer = |random: &mut Random| {
        let good = ANSWERS + random.below(0x100) as u32 * 4 + random.below(5) as u32 / 4;
        wild(random, good)
    };
    let volatile = |random: &mut Random| {
        let good = VOLATILE + random.below(0x100) as u32 * 8;
        wild(random, good)
    };
    let clock = |random: &mut Random| [0, 1, 1, 2, 3, 4, 0xffff_ffff][random.below(7) as usize];
    let numbers = match name {
        "args_get" | "args_sizes_get" | "environ_get" | "environ_sizes_get" | "clock_res_get" => {
            let first = if name == "clock_res_get" { clock(random) } else { answer(random) };
            vec![first, answer(random)]
        }
        "clock_time_get" => {
            let (clock, time) = (clock(random), volatile(random));
            return vec![constant(clock), format!("(i64.const {})", random.below(1000)), constant(time)];
        }
        "random_get" => {
            let len = [0, 1, 8, 40, 0x600, 0x0410_0000][random.below(6) as usize];
            let len = if len > 0x1000 && random.below(8) > 0 { 3 } else { len };
            vec![volatile(random), len]
        }
        "fd_write" => {
            let fd = [1, 1, 1, 2, 2, 0, 3, 4, 0xffff_ffff][random.below(9) as usize];
            let at = BUFFERS + 8 * random.below(6) as u32;
            vec![fd, wild(random, at), random.below(4) as u32, answer(random)]
        }
        "proc_exit" => vec![[0, 1, 3, 255][random.below(4) as usize]],
        "fd_close" => vec![random.below(6) as u32],
        _ => Vec::new(),
    };
    numbers.into_iter().map(constant).collect()
}

fn run(context: &Context, flat: &Flattened, grants: &Grants) -> CaseResult<Seen> {
    let guest = Guest::load(&**context.backend(), &flat.wasm, &LoadOptions::default())?;
    let (out, err) = (Pipe::new(grants.breaks), Pipe::new(None));
    let mut wasi = WasiConfig::default().args(grants.args.clone())?;
    for (name, value) in &grants.env {
        wasi = wasi.env(name, value)?;
    }
    let wasi = wasi.stdout(Output::writer(out.clone())).stderr(Output::writer(err.clone()));
    let mut session = guest.start(GuestConfig { wasi, ..GuestConfig::default() })?;
    let end = match session.call("calls", &[]) {
        Ok(_) => "returned".to_owned(),
        Err(Stop::Exit(code)) => format!("exited with {code}"),
        Err(Stop::Error(error)) => format!("ended by {:?}", error.kind()),
    };
    let memory = session.memory().and_then(|memory| memory.get(..COMPARED)).map(<[u8]>::to_vec);
    let mut memory = memory.ok_or_else(|| Unmet::failed("there is no memory"))?;
    if end != "returned" {
        memory.clear();
    }
    // Where the adapter traps it says in which of its lines.
    let err = err.contents();
    let own = ["unreachable executed at adapter line", "assertion failed at adapter line"];
    let err = own.iter().fold(err.as_str(), |err, own| err.split(own).next().unwrap_or_default()).to_owned();
    Ok(Seen { end, memory, out: out.contents(), err })
}

/// Keeps what is written, and may break.
#[derive(Clone)]
struct Pipe {
    kept: Arc<Mutex<Vec<u8>>>,
    breaks: Option<(usize, io::ErrorKind)>,
}

impl Pipe {
    fn new(breaks: Option<(usize, io::ErrorKind)>) -> Self {
        Pipe { kept: Arc::default(), breaks }
    }

    fn contents(&self) -> String {
        String::from_utf8_lossy(&self.kept.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

impl io::Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        match self.breaks {
            Some((after, kind)) if kept.len() + bytes.len() > after => Err(kind.into()),
            _ => {
                kept.extend_from_slice(bytes);
                Ok(bytes.len())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
