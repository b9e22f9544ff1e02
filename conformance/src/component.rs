//! A probe's core module as a component, for a host that runs nothing else.
//!
//! The module becomes the only one of a component whose world imports what the module imports, and exports each of its
//! functions as one of integers: a pointer is a `u32` like any other, so that cases can do with it as they please. What
//! cases read and write of its memory goes through two functions more.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;

use wasmparser::{ExternalKind, FuncType, Parser, Payload, TypeRef, ValType};
use wharf_core::abi::wasi02::http::Reply;
use wharf_core::http::Body;
use wharf_core::{Budget, Error, GuestConfig, HostedGuest, HostedSession, Kind, Result, Stop};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use crate::bare::assemble;
use crate::case::{CaseResult, Unmet};

/// The release that the interfaces in core's tree are of.
const VERSION: &str = "0.2.12";

/// The packages, each behind those that it uses.
const PACKAGES: [(&str, &str); 8] = [
    ("io.wit", include_str!("../wit/io.wit")),
    ("clocks.wit", include_str!("../wit/clocks.wit")),
    ("random.wit", include_str!("../wit/random.wit")),
    ("filesystem.wit", include_str!("../wit/filesystem.wit")),
    ("sockets.wit", include_str!("../wit/sockets.wit")),
    ("cli.wit", include_str!("../wit/cli.wit")),
    ("http.wit", include_str!("../wit/http.wit")),
    ("logging.wit", include_str!("../wit/logging.wit")),
];

/// What lets a host see a probe's memory: the list's address and length are put where no probe has anything.
const WINDOW: &str = r#"
    (func (export "peek") (param i32 i32) (result i32)
        (i32.store (i32.const 0x1fff0) (local.get 0))
        (i32.store (i32.const 0x1fff4) (local.get 1))
        (i32.const 0x1fff0))
    (func (export "poke") (param i32 i32 i32) (memory.copy (local.get 0) (local.get 1) (local.get 2)))"#;
const WINDOW_WIT: &str =
    "export peek: func(at: u32, len: u32) -> list<u8>;\nexport poke: func(at: u32, bytes: list<u8>);\n";

/// How the text of a memory begins that has room for the [`WINDOW`].
const MEMORY: &str = r#"(memory (export "memory") 4 "#;

/// The option in an import's name that says how strings are encoded, and what it is for a component, whose functions
/// all have the same.
const ENCODINGS: [(&str, StringEncoding); 2] =
    [(";encoding=utf16", StringEncoding::UTF16), (";encoding=latin1+utf16", StringEncoding::CompactUTF16)];

/// Loads a component on the host that is put to the test.
pub type LoadComponent = Arc<dyn Fn(&[u8]) -> Result<Arc<dyn HostedGuest>> + Send + Sync>;

/// The module of this text as a component, and the component's names for the module's exports.
pub(crate) fn of_module(text: &str) -> CaseResult<(Vec<u8>, HashMap<String, String>)> {
    let mut text = text.to_owned();
    for version in ["0.2.0", "0.2.3", "0.2.4"] {
        text = text.replace(&format!("@{version}"), &format!("@{VERSION}"));
    }
    let mut encoding = StringEncoding::UTF8;
    for (option, says) in ENCODINGS {
        if text.contains(option) {
            text = text.replace(option, "");
            encoding = says;
        }
    }
    let surface = Surface::read(&assemble(&text)?).map_err(Unmet::harness)?;
    let (mut fields, mut wit, mut names) = (String::new(), String::new(), HashMap::new());
    for interface in &surface.imports {
        _ = writeln!(wit, "import {interface};");
    }
    for (at, (name, index, ty)) in surface.functions.iter().enumerate() {
        // What the canonical ABI requires of a module is not an export of the component.
        if name.starts_with("cabi_") || name == "_initialize" {
            continue;
        }
        if let Some((interface, _)) = name.split_once('#') {
            _ = writeln!(wit, "export {interface};");
        } else {
            let integer = |ty: &ValType| if *ty == ValType::I64 { "u64" } else { "u32" };
            let params = ty.params().iter().enumerate().map(|(at, ty)| format!("p{at}: {}", integer(ty)));
            let params = params.collect::<Vec<_>>().join(", ");
            let result = ty.results().first().map_or(String::new(), |ty| format!(" -> {}", integer(ty)));
            _ = writeln!(wit, "export call{at}: func({params}){result};");
            _ = writeln!(fields, "(export \"call{at}\" (func {index}))");
            names.insert(name.clone(), format!("call{at}"));
        }
    }
    if text.contains(MEMORY) {
        fields.push_str(WINDOW);
        wit.push_str(WINDOW_WIT);
    }
    let end = text.rfind(')').ok_or_else(|| Unmet::harness("the case's module text has no end"))?;
    text.insert_str(end, &fields);
    Ok((encode(assemble(&text)?, &wit, encoding)?, names))
}

fn encode(mut module: Vec<u8>, wit: &str, encoding: StringEncoding) -> CaseResult<Vec<u8>> {
    let mut resolve = Resolve { all_features: true, ..Resolve::default() };
    // What has no release is published under its draft's version, and imported without one as well.
    let unversioned = wit.lines().any(|line| line.starts_with("import ") && !line.contains('@'));
    for (name, text) in PACKAGES {
        let text = if unversioned { text.replace("@0.1.0-draft", "") } else { text.to_owned() };
        resolve.push_str(name, &text).map_err(|error| Unmet::harness(format!("{error:#}")))?;
    }
    let wrong = |error| Unmet::harness(format!("the probe is not a component: {error:#}\n{wit}"));
    let world = format!("package wharf:probe;\nworld probe {{\n{wit}}}\n");
    let package = resolve.push_str("probe.wit", &world).map_err(|error| Unmet::harness(format!("{error:#}\n{wit}")))?;
    let world = resolve.select_world(&[package], None).map_err(|error| Unmet::harness(format!("{error:#}\n{wit}")))?;
    embed_component_metadata(&mut module, &resolve, world, encoding).map_err(wrong)?;
    let mut encoder = ComponentEncoder::default().validate(true).module(&module).map_err(wrong)?;
    encoder.encode().map_err(wrong)
}

/// What a module imports and exports.
#[derive(Default)]
struct Surface {
    /// The interfaces, each once.
    imports: Vec<String>,
    /// The functions, with their indices.
    functions: Vec<(String, u32, FuncType)>,
}

impl Surface {
    fn read(module: &[u8]) -> wasmparser::Result<Self> {
        let (mut surface, mut types, mut functions) = (Surface::default(), Vec::new(), Vec::new());
        for payload in Parser::new(0).parse_all(module) {
            match payload? {
                Payload::TypeSection(section) => {
                    types = section.into_iter_err_on_gc_types().collect::<wasmparser::Result<_>>()?;
                }
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        let import = import?;
                        if let TypeRef::Func(ty) = import.ty {
                            functions.push(ty);
                        }
                        if !surface.imports.iter().any(|known| known == import.module) {
                            surface.imports.push(import.module.to_owned());
                        }
                    }
                }
                Payload::FunctionSection(section) => {
                    for ty in section {
                        functions.push(ty?);
                    }
                }
                Payload::ExportSection(section) => {
                    for export in section {
                        let export = export?;
                        let ty = functions.get(export.index as usize).and_then(|ty| types.get(*ty as usize));
                        if let (ExternalKind::Func, Some(ty)) = (export.kind, ty) {
                            let ty: &FuncType = ty;
                            surface.functions.push((export.name.to_owned(), export.index, ty.clone()));
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(surface)
    }
}

/// A probe as a component, which answers to the names of the module's exports.
pub(crate) struct Component {
    pub(crate) guest: Arc<dyn HostedGuest>,
    pub(crate) names: HashMap<String, String>,
}

impl HostedGuest for Component {
    fn is_handler(&self) -> bool {
        self.guest.is_handler()
    }

    fn start(&self, config: GuestConfig) -> Result<Box<dyn HostedSession>, Stop> {
        Ok(Box::new(Started { session: self.guest.start(config)?, names: self.names.clone() }))
    }

    fn run(&self, config: GuestConfig, invoke: Option<&str>) -> Result<i32> {
        self.guest.run(config, invoke)
    }
}

struct Started {
    session: Box<dyn HostedSession>,
    names: HashMap<String, String>,
}

impl HostedSession for Started {
    fn call(&mut self, export: &str, params: &[u64]) -> Result<Vec<u64>, Stop> {
        let name = self.names.get(export).ok_or_else(|| {
            Error::new(Kind::Guest, format!("the probe exports no function `{export}` that a component can"))
        })?;
        self.session.call(name, params)
    }

    fn handle(&mut self, request: http::Request<Body>, reply: Reply) -> Result<(), Stop> {
        self.session.handle(request, reply)
    }

    fn memory(&mut self) -> Option<&mut [u8]> {
        self.session.memory()
    }

    fn read_memory(&mut self, at: u32, len: u32) -> Option<Vec<u8>> {
        self.session.read_memory(at, len)
    }

    fn write_memory(&mut self, at: u32, bytes: &[u8]) -> Option<()> {
        self.session.write_memory(at, bytes)
    }

    fn open_handles(&mut self) -> usize {
        self.session.open_handles()
    }

    fn budget(&self) -> Budget {
        self.session.budget()
    }
}
