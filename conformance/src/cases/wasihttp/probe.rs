//! A probe of WASI 0.2: every function of core's table that a case asks for, a guest's allocator, and memory.

use wharf_core::abi::wasi02::functions;
use wharf_core::{Guest, GuestConfig, HostedSession, Kind, LoadOptions, Stop, ValType};

use crate::bare::assemble;
use crate::case::{CaseResult, Unmet};
use crate::context::Context;
use crate::probe::Probe;
use crate::{check, check_eq};

/// The release that the probes are built for: one that no table names.
pub(super) const VERSION: &str = "0.2.3";

/// The interface that has no release, and the version of its draft.
const LOGGING: &str = "wasi:logging/logging";
const DRAFT: &str = "0.1.0-draft";

/// Where results go.
pub(super) const RET: u32 = 0x4000;

/// Where arguments are put.
const ARGS: u32 = 0x100;

/// How large the memory is; the allocator gives from half of it on.
pub(super) const MEMORY: u32 = 4 << 16;

/// As many bytes as the WIT text lets a guest write and flush at once.
pub(super) const AT_ONCE: u64 = 4096;

/// What no probe needs to import to have everything else under its own name.
const HTTP: [&str; 7] = [
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:http/types",
    "wasi:http/outgoing-handler",
    "wasi:cli/stdout",
    "wasi:random/random",
];

fn list(keyword: &str, types: &[ValType]) -> String {
    let types: Vec<&str> = types.iter().map(|ty| ty.name()).collect();
    format!("({keyword} {})", types.join(" "))
}

/// The text of a module that imports every function of `interfaces`, exports a wrapper for each, and has `fields` of
/// its own. In there a host function is called by its name, `(call $"[constructor]fields")`.
pub(super) fn module(interfaces: &[&str], fields: &str) -> String {
    text(interfaces, fields, true)
}

/// The text of an HTTP guest that imports what its `fields` call, and exports nothing but what they export.
pub(super) fn lean_module(fields: &str) -> String {
    text(&[&HTTP[..], &["wasi:cli/exit", "wasi:clocks/monotonic-clock"]].concat(), fields, false)
}

fn text(interfaces: &[&str], fields: &str, wraps: bool) -> String {
    let (mut imports, mut wrappers) = (String::new(), String::new());
    let wanted = |name: &str| wraps || fields.contains(&format!("$\"{name}\""));
    for function in functions().filter(|f| interfaces.contains(&f.interface) && wanted(f.name)) {
        let (name, ty) = (function.name, function.ty());
        let signature = format!("{} {}", list("param", &ty.params), list("result", &ty.results));
        let arguments: String = (0..ty.params.len()).map(|local| format!("(local.get {local})")).collect();
        let version = if function.interface == LOGGING { DRAFT } else { VERSION };
        imports.push_str(&format!(
            "(import \"{}@{version}\" \"{name}\" (func $\"{name}\" {signature}))\n",
            function.interface
        ));
        if wraps {
            wrappers.push_str(&format!("(func (export \"{name}\") {signature} (call $\"{name}\" {arguments}))\n"));
        }
    }
    format!(
        r#"(module {imports}
            (memory (export "memory") 4 4)
            (global $next (mut i32) (i32.const 0x20000))
            (func (export "reset") (global.set $next (i32.const 0x20000)))
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                (local $at i32)
                (local.set $at
                    (i32.and
                        (i32.add (global.get $next) (i32.sub (local.get 2) (i32.const 1)))
                        (i32.sub (i32.const 0) (local.get 2))))
                (global.set $next (i32.add (local.get $at) (local.get 3)))
                (local.get $at))
            {wrappers} {fields})"#
    )
}

/// The text of an HTTP probe with `fields` of its own.
pub(super) fn http_module(fields: &str) -> String {
    module(&HTTP, fields)
}

/// A running probe.
pub(super) struct Wasi02 {
    pub(super) probe: Probe<Box<dyn HostedSession>>,
    args: u32,
    /// Whether it is wharf's own host that words the traps.
    own: bool,
}

impl Wasi02 {
    /// Starts a probe of `wasi:http`.
    pub(super) fn http(context: &Context, config: GuestConfig) -> CaseResult<Self> {
        Self::start(context, &http_module(""), config)
    }

    /// Starts a probe with this text.
    pub(super) fn start(context: &Context, text: &str, config: GuestConfig) -> CaseResult<Self> {
        let session = context.hosted(text)?.start(config)?;
        Ok(Wasi02 { probe: Probe { session }, args: ARGS, own: context.subject().component_host().is_none() })
    }

    /// Starts a probe of `wasi:http` on wharf's own host that may take so much memory.
    pub(super) fn within(context: &Context, max_memory: u64) -> CaseResult<Self> {
        let options = LoadOptions { max_memory, ..LoadOptions::default() };
        let guest = Guest::load(&**context.backend(), &assemble(&http_module(""))?, &options)?;
        let session = Box::new(guest.start(GuestConfig::default())?);
        Ok(Wasi02 { probe: Probe { session }, args: ARGS, own: true })
    }

    /// Where a result goes that is not for a slot, as the last argument of a call that the case makes by itself. What
    /// was put into memory for that call is forgotten.
    pub(super) fn out(&mut self) -> u64 {
        self.args = ARGS;
        RET.into()
    }

    /// Puts bytes into memory for the next call; their address and count are two of its arguments.
    pub(super) fn bytes(&mut self, bytes: impl AsRef<[u8]>) -> CaseResult<[u64; 2]> {
        let (at, bytes) = (self.args.next_multiple_of(8), bytes.as_ref());
        self.args = at + u32::try_from(bytes.len()).map_err(Unmet::harness)?;
        check!(self.args <= RET, "the case's arguments need {} bytes", self.args);
        self.probe.put(at, bytes)?;
        Ok([at.into(), bytes.len() as u64])
    }

    /// Calls a function, which must return; gives its result, if it has one in a slot.
    pub(super) fn call(&mut self, name: &str, arguments: &[u64]) -> CaseResult<u64> {
        self.args = ARGS;
        self.probe.call("reset", &[])?;
        Ok(self.probe.call(name, arguments)?.first().copied().unwrap_or_default())
    }

    /// Calls a function whose result goes to memory; gives the first byte there, the number of its case.
    pub(super) fn case(&mut self, name: &str, arguments: &[u64]) -> CaseResult<u8> {
        let mut arguments = arguments.to_vec();
        arguments.push(RET.into());
        self.probe.put(RET, &[0xa5; 64])?;
        self.call(name, &arguments)?;
        self.byte(0)
    }

    /// Calls a function that answers `result<T, ..>`, which must be `ok`; gives the first four bytes of `T`.
    pub(super) fn ok(&mut self, name: &str, arguments: &[u64]) -> CaseResult<u64> {
        let case = self.case(name, arguments)?;
        check!(case == 0, "{name} answered an error, with {:?}", self.probe.bytes(RET, 16)?);
        Ok(self.probe.u32_at(RET + 4)?.into())
    }

    /// The memory as it is, to compare with after a trap. A component's cannot be looked into then: there is none.
    pub(super) fn before_a_trap(&mut self) -> Option<Vec<u8>> {
        self.probe.session.memory().map(|memory| memory.to_vec())
    }

    /// A trap may not have written anything since `before`.
    pub(super) fn wrote_nothing(&mut self, before: Option<Vec<u8>>) -> CaseResult {
        before.map_or(Ok(()), |before| self.probe.only_wrote(&before, &[]))
    }

    /// A text for people must contain these words. Another host than wharf's own has words of its own.
    pub(super) fn worded(&self, text: &str, words: &str) -> CaseResult {
        check!(!self.own || text.contains(words), "the text is {text:?}");
        Ok(())
    }

    /// Calls a function, which must end the guest with a trap; wharf's own host names the function and says this.
    pub(super) fn traps(&mut self, name: &str, arguments: &[u64], text: &str) -> CaseResult {
        match self.probe.try_call(name, arguments) {
            Err(Stop::Error(error)) => {
                let message = error.to_string();
                check_eq!(error.kind(), Kind::Trap, "the kind of `{message}`");
                let worded = !self.own || message.contains(name) && message.contains(text);
                check!(worded, "the trap of {name} says `{message}`");
                Ok(())
            }
            Err(stop) => Err(stop.into()),
            Ok(results) => Err(Unmet::failed(format!("{name} should trap and returned {results:?}"))),
        }
    }

    /// A byte of the result.
    pub(super) fn byte(&mut self, at: u32) -> CaseResult<u8> {
        Ok(self.probe.bytes(RET + at, 1)?[0])
    }

    /// A word of the result.
    pub(super) fn word(&mut self, at: u32) -> CaseResult<u32> {
        self.probe.u32_at(RET + at)
    }

    /// The string or list of bytes whose address and count lie at `at`.
    pub(super) fn string_at(&mut self, at: u32) -> CaseResult<Vec<u8>> {
        let (ptr, len) = (self.probe.u32_at(at)?, self.probe.u32_at(at + 4)?);
        self.probe.bytes(ptr, len)
    }

    /// New fields with these entries, each of which must be accepted.
    pub(super) fn fields(&mut self, entries: &[(&str, &str)]) -> CaseResult<u64> {
        let fields = self.call("[constructor]fields", &[])?;
        for (name, value) in entries {
            let answer = self.append(fields, name, value)?;
            check_eq!(answer, None, "the error of appending {name}: {value}");
        }
        Ok(fields)
    }

    /// Appends to fields; gives the number of the `header-error`, if there is one.
    pub(super) fn append(&mut self, fields: u64, name: &str, value: &str) -> CaseResult<Option<u8>> {
        let ([name, name_len], [value, value_len]) = (self.bytes(name)?, self.bytes(value)?);
        self.changes("[method]fields.append", &[fields, name, name_len, value, value_len])
    }

    /// Calls a function that answers `result<_, header-error>`.
    pub(super) fn changes(&mut self, name: &str, arguments: &[u64]) -> CaseResult<Option<u8>> {
        Ok(match self.case(name, arguments)? {
            0 => None,
            _ => Some(self.byte(1)?),
        })
    }

    /// The entries of fields, as text.
    pub(super) fn entries(&mut self, fields: u64) -> CaseResult<Vec<(String, String)>> {
        self.case("[method]fields.entries", &[fields])?;
        let (list, count) = (self.word(0)?, self.word(4)?);
        let mut entries = Vec::new();
        for at in (list..).step_by(16).take(count as usize) {
            let (name, value) = (self.string_at(at)?, self.string_at(at + 8)?);
            let text = |bytes| String::from_utf8(bytes).map_err(|error| Unmet::failed(error.to_string()));
            entries.push((text(name)?, text(value)?));
        }
        Ok(entries)
    }

    /// Waits until what a future or a stream `subscribe`s is ready.
    pub(super) fn wait(&mut self, subscribe: &str, handle: u64) -> CaseResult {
        let pollable = self.call(subscribe, &[handle])?;
        self.call("[method]pollable.block", &[pollable])?;
        self.call("[resource-drop]pollable", &[pollable])?;
        Ok(())
    }

    /// Writes to an output stream, waiting as it takes.
    pub(super) fn write(&mut self, stream: u64, bytes: &[u8]) -> CaseResult<u8> {
        let [ptr, len] = self.bytes(bytes)?;
        self.case("[method]output-stream.blocking-write-and-flush", &[stream, ptr, len])
    }

    /// Reads an input stream to its end; gives what came, and whether it ended well.
    pub(super) fn read_all(&mut self, stream: u64) -> CaseResult<(Vec<u8>, bool)> {
        let mut all = Vec::new();
        loop {
            if self.case("[method]input-stream.blocking-read", &[stream, 0x8000])? == 0 {
                all.extend(self.string_at(RET + 4)?);
                continue;
            }
            // `closed` is the second case of `stream-error`.
            return Ok((all, self.byte(4)? == 1));
        }
    }
}
