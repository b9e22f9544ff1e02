//! A component that imports an embedder's functions and exports a wrapper for each, by which the case calls it with exact
//! arguments, and looks at what came of it in the component's memory.

use std::fmt::Write;

use wharf_component::{FlattenOptions, flatten};
use wharf_core::{Error, Guest, GuestConfig, Kind, Linker, LoadOptions, Result, Session, Stop, chain};

use crate::bare::assemble;
use crate::case::{CaseResult, Unmet};
use crate::check;
use crate::context::Context;

/// The interface that the cases offer.
pub(super) const STORE: &str = "my:kv/store@1.0.0";

/// Where the case writes what arguments point to, and where results go.
pub(super) const ARGS: u32 = 0x1000;
pub(super) const RET: u32 = 0x4000;

/// An allocator that only ever gives, from here.
pub(super) const HEAP: u32 = 0x8000;

/// The text of a component.
#[derive(Default)]
pub(super) struct Text {
    types: String,
    lowered: String,
    imports: String,
    given: String,
    wrappers: String,
    lifted: String,
}

impl Text {
    pub(super) fn new() -> Self {
        Text::default()
    }

    /// Declares something in the interface's type: `(export "bucket" (type $bucket (sub resource)))`.
    pub(super) fn ty(mut self, field: &str) -> Self {
        self.types.push_str(field);
        self.types.push('\n');
        self
    }

    /// Imports a function of this type, and exports a wrapper of it. Core types as in the text format, space-separated.
    pub(super) fn func(mut self, name: &str, ty: &str, params: &str, results: &str) -> Self {
        _ = writeln!(self.types, "(export \"{name}\" (func {ty}))");
        let canon = format!(
            "(canon lower (func $i \"{name}\") (memory (core memory $libc \"memory\")) (realloc (core func $libc \"cabi_realloc\")))"
        );
        self.wrap(name, &canon, params, results);
        self
    }

    /// Imports what drops a resource of the interface's, and exports a wrapper of it.
    pub(super) fn drops(mut self, resource: &str) -> Self {
        let name = format!("[resource-drop]{resource}");
        self.wrap(&name, &format!("(canon resource.drop ${resource})"), "i32", "");
        self
    }

    fn wrap(&mut self, name: &str, canon: &str, params: &str, results: &str) {
        let count = params.split_whitespace().count();
        let arguments: String = (0..count).map(|local| format!("(local.get {local})")).collect();
        _ = writeln!(self.lowered, "(core func $\"c {name}\" {canon})");
        _ = writeln!(self.given, "(export \"{name}\" (func $\"c {name}\"))");
        _ = writeln!(self.imports, "(import \"i\" \"{name}\" (func $\"{name}\" (param {params}) (result {results})))");
        _ = writeln!(
            self.wrappers,
            "(func (export \"{name}\") (param {params}) (result {results}) (call $\"{name}\" {arguments}))"
        );
        let wit = |core: &str| core.replace("i32", "u32").replace("i64", "u64");
        let params = params.split_whitespace().enumerate().map(|(at, core)| format!("(param \"p{at}\" {})", wit(core)));
        let results = results.split_whitespace().map(|core| format!("(result {})", wit(core)));
        let lifted = export(name);
        _ = writeln!(
            self.lifted,
            "(func (export \"{lifted}\") {} {} (canon lift (core func $m \"{name}\")))",
            params.collect::<String>(),
            results.collect::<String>()
        );
    }

    /// The component, of which everything is imported from `interface`.
    pub(super) fn of(&self, interface: &str) -> CaseResult<Vec<u8>> {
        let Text { types, lowered, imports, given, wrappers, lifted } = self;
        let aliases: String = types
            .match_indices("(sub resource)")
            .filter_map(|(at, _)| types[..at].rsplit_once("(export \"")?.1.split_once('"'))
            .map(|(resource, _)| format!("(alias export $i \"{resource}\" (type ${resource}))\n"))
            .collect();
        assemble(&format!(
            r#"(component
                (import "{interface}" (instance $i
                    {types}))
                {aliases}
                (core module $libc
                    (memory (export "memory") 2)
                    (global $next (mut i32) (i32.const {HEAP}))
                    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                        (local $at i32)
                        (local.set $at (i32.and
                            (i32.add (global.get $next) (i32.sub (local.get 2) (i32.const 1)))
                            (i32.sub (i32.const 0) (local.get 2))))
                        (global.set $next (i32.add (local.get $at) (local.get 3)))
                        (local.get $at)))
                (core instance $libc (instantiate $libc))
                {lowered}
                (core module $m
                    {imports}
                    {wrappers})
                (core instance $m (instantiate $m (with "i" (instance {given}))))
                {lifted})"#
        ))
    }
}

/// The name by which a component exports the wrapper of `name`: one that WIT allows.
fn export(name: &str) -> String {
    format!("call-{}", name.replace(['[', ']', '.'], "-").replace("--", "-").trim_matches('-'))
}

/// A component as a core module.
pub(super) fn flat(component: &[u8]) -> CaseResult<Vec<u8>> {
    let flat = flatten(component, &FlattenOptions::default());
    Ok(flat.map_err(|error| Unmet::harness(format!("the case's component is not flattened: {error}")))?.wasm)
}

impl Context {
    /// Loads a component beside what `linker` offers, without judging what comes of it.
    pub(super) fn load_component(&self, component: &[u8], linker: &Linker) -> CaseResult<Result<Guest>> {
        Ok(self.load_with(&flat(component)?, linker))
    }

    /// The same for a core module.
    pub(super) fn load_with(&self, wasm: &[u8], linker: &Linker) -> Result<Guest> {
        Guest::load(&**self.backend(), wasm, &LoadOptions { linker: linker.clone(), ..LoadOptions::default() })
    }
}

/// An instance of such a component.
pub(super) struct Probe(pub(super) Session);

impl Probe {
    /// Starts the component of this text, which imports [`STORE`].
    pub(super) fn start(context: &Context, text: &Text, linker: &Linker, config: GuestConfig) -> CaseResult<Self> {
        let guest = context.load_component(&text.of(STORE)?, linker)??;
        Ok(Probe(guest.start(config)?))
    }

    /// Calls the function of this name, which gives at most one result.
    pub(super) fn try_call(&mut self, name: &str, args: &[u64]) -> Result<u64, Stop> {
        Ok(self.0.call(&export(name), args)?.first().copied().unwrap_or_default())
    }

    pub(super) fn call(&mut self, name: &str, args: &[u64]) -> CaseResult<u64> {
        self.try_call(name, args).map_err(|stop| Unmet::from(stop).context(name))
    }

    /// The call must end the guest with an error of this kind that says each of `words`.
    pub(super) fn ends(&mut self, name: &str, args: &[u64], kind: Kind, words: &[&str]) -> CaseResult<Error> {
        ended(self.try_call(name, args), kind, words).map_err(|unmet| unmet.context(name))
    }

    /// Writes bytes and gives what an argument says of them: where they are, and how many.
    pub(super) fn put(&mut self, at: u32, bytes: &[u8]) -> CaseResult<[u64; 2]> {
        let memory = self.0.memory().ok_or_else(|| Unmet::failed("the probe has no memory"))?;
        memory[at as usize..][..bytes.len()].copy_from_slice(bytes);
        Ok([at.into(), bytes.len() as u64])
    }

    pub(super) fn get(&mut self, at: u32, len: u32) -> CaseResult<Vec<u8>> {
        let memory = self.0.memory().ok_or_else(|| Unmet::failed("the probe has no memory"))?;
        let range = memory.get(at as usize..).and_then(|memory| memory.get(..len as usize));
        range.map(<[u8]>::to_vec).ok_or_else(|| Unmet::failed(format!("{len} bytes at {at:#x} are not in memory")))
    }

    pub(super) fn word(&mut self, at: u32) -> CaseResult<u32> {
        Ok(u32::from_le_bytes(self.get(at, 4)?.try_into().map_err(|_| Unmet::harness("four bytes are not four"))?))
    }

    /// The string or list of bytes whose address and count lie at `at`.
    pub(super) fn bytes_at(&mut self, at: u32) -> CaseResult<Vec<u8>> {
        let (ptr, len) = (self.word(at)?, self.word(at + 4)?);
        self.get(ptr, len)
    }
}

/// The guest must have ended with an error of this kind that says each of `words`.
pub(super) fn ended<T>(result: Result<T, Stop>, kind: Kind, words: &[&str]) -> CaseResult<Error> {
    match result {
        Err(Stop::Error(error)) => {
            let text = chain(&error);
            check!(error.kind() == kind, "expected an error of kind {kind:?}, saw {:?}: {text}", error.kind());
            for word in words {
                check!(text.contains(word), "the error does not say {word:?}: {text}");
            }
            Ok(error)
        }
        Err(Stop::Exit(code)) => Err(Unmet::failed(format!("expected an error of kind {kind:?}, saw exit {code}"))),
        Ok(_) => Err(Unmet::failed(format!("expected an error of kind {kind:?}, saw the call return"))),
    }
}
