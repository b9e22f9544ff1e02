//! The rewriting is checked by validating what comes out and reading it; the meter, on an engine that plays a script.

use wasmparser::{ExternalKind, KnownCustom, Name, Operator, Parser, Payload, Validator};

use super::*;
use crate::error::{Error, Kind};
use crate::imports::Calls;
use crate::limits::LoadOptions;
use crate::prepare::Prepared;
use crate::stop::Stop;
use crate::types::PORTABLE;

const ALL: [Frames; 3] = [Frames::Engine, Frames::Interpreter, Frames::Native];

fn rewritten(wat: &str, frames: Frames) -> Vec<u8> {
    let prepared = Prepared::new(&wat::parse_str(wat).unwrap(), &LoadOptions::default()).unwrap();
    let out = rewrite(prepared.wasm(), frames).unwrap();
    Validator::new_with_features(PORTABLE).validate_all(&out).unwrap();
    out
}

/// The operators of each function, in order.
fn bodies(wasm: &[u8]) -> Vec<Vec<Operator<'_>>> {
    let bodies = Parser::new(0).parse_all(wasm).filter_map(|payload| match payload.unwrap() {
        Payload::CodeSectionEntry(body) => Some(body.get_operators_reader().unwrap().into_iter().map(Result::unwrap)),
        _ => None,
    });
    bodies.map(Iterator::collect).collect()
}

fn exports(wasm: &[u8]) -> Vec<(String, ExternalKind, u32)> {
    let mut exports = Vec::new();
    for payload in Parser::new(0).parse_all(wasm) {
        if let Payload::ExportSection(section) = payload.unwrap() {
            exports.extend(section.into_iter().map(|export| {
                let export = export.unwrap();
                (export.name.to_owned(), export.kind, export.index)
            }));
        }
    }
    exports
}

fn calls_of(body: &[Operator<'_>], function: u32) -> usize {
    body.iter().filter(|op| matches!(op, Operator::Call { function_index } if *function_index == function)).count()
}

const EVERYTHING: &str = r#"(module
  (type $t (func (param i32) (result i32)))
  (import "m" "f" (func $f (type $t))) (import "m" "g" (func $g))
  (memory (export "memory") 1) (table 4 funcref) (elem (i32.const 0) $f $local) (elem declare func $g)
  (global $mine (mut i64) (i64.const 3)) (data $d "abc")
  (func $local (type $t) (if (local.get 0) (then (return (i32.const 1)))) (call $f (local.get 0)))
  (func (export "three") (param f64) (result i32 i64 f64)
    (block $b (loop $l (br_if $b (i32.const 1)) (call $g) (br $l)))
    (i32.const 1) (global.get $mine) (local.get 0) (return))
  (func (export "bulk") (param i32)
    (memory.init $d (i32.const 0) (i32.const 0) (local.get 0))
    (memory.fill (i32.const 0) (i32.const 0) (local.get 0))
    (memory.copy (i32.const 0) (i32.const 1) (local.get 0))
    (drop (table.grow (ref.func $g) (local.get 0))) (table.fill (i32.const 0) (ref.null func) (local.get 0)))
  (func (export "table") (param v128) (result i32) (call_indirect (type $t) (i32.const 1) (i32.const 0)))
  (func $tiny (export "tiny") (result i32) (i32.const 7))
  (export "g" (func $g))
  (start $g))"#;

#[test]
fn what_comes_out_is_valid() {
    for frames in ALL {
        rewritten(EVERYTHING, frames);
        rewritten("(module)", frames);
    }
}

#[test]
fn counters_are_exported_where_they_are_needed() {
    for frames in ALL {
        let exports = exports(&rewritten(EVERYTHING, frames));
        let has = |name: &str| exports.iter().any(|(n, kind, _)| n == name && *kind == ExternalKind::Global);
        assert!(has(FUEL));
        assert_eq!(has(STACK), frames != Frames::Engine);
    }
}

#[test]
fn loops_calls_and_bulk_operations_reach_the_check() {
    for frames in ALL {
        let wasm = rewritten(EVERYTHING, frames);
        let bodies = bodies(&wasm);
        // The check is the fourth import, after the question whether a table may grow.
        let checks: Vec<usize> = bodies.iter().map(|body| calls_of(body, 3)).collect();
        assert_eq!(
            checks[..6],
            [1, 2, 5, 1, 0, 2],
            "{frames:?}: entry and call; loop; four bulk operations and a call; call; nothing; the growing of a table"
        );
        assert_eq!(bodies.len(), 9, "three functions stand for the imports");
    }
}

#[test]
fn of_a_long_body_most_instructions_are_not_counted_one_by_one() {
    let taken = |instructions: usize| {
        let wat = format!("(module (func (loop {})))", "(nop)".repeat(instructions));
        let wasm = rewritten(&wat, Frames::Engine);
        let body = bodies(&wasm).swap_remove(0);
        let start = body.iter().position(|op| matches!(op, Operator::Loop { .. })).unwrap();
        let Operator::I32Const { value } = body[start + 2] else { panic!("{:?}", body[start + 2]) };
        value
    };
    // The loop itself and its end count, too.
    assert_eq!(taken(100), 102);
    assert_eq!(taken(51_198), 128 + 199);
}

#[test]
fn a_reference_to_an_import_is_one_to_what_calls_it() {
    let wasm = rewritten(EVERYTHING, Frames::Engine);
    let (_, _, index) = exports(&wasm).into_iter().find(|(name, ..)| name == "g").unwrap();
    let body = &bodies(&wasm)[index as usize - 4];
    assert!(matches!(body[..], [Operator::Call { function_index: 1 }, Operator::End]), "{body:?}");
}

#[test]
fn functions_keep_their_names_and_other_custom_sections_go() {
    let wat = r#"(module (import "m" "f" (func $host)) (func $guest (call $host))
        (@custom "precompiled" "native code"))"#;
    let wasm = rewritten(wat, Frames::Native);
    let mut names = Vec::new();
    for payload in Parser::new(0).parse_all(&wasm) {
        let Payload::CustomSection(section) = payload.unwrap() else { continue };
        assert_eq!(section.name(), "name");
        let KnownCustom::Name(subsections) = section.as_known() else { panic!("a name section is known") };
        for subsection in subsections {
            let Name::Function(map) = subsection.unwrap() else { panic!("only functions") };
            names.extend(map.into_iter().map(|name| name.map(|name| (name.index, name.name.to_owned())).unwrap()));
        }
    }
    assert_eq!(names, [(0, "host".to_owned()), (2, "guest".to_owned())]);
}

#[test]
fn names_that_cannot_be_read_are_left_out() {
    let wasm = rewritten(r#"(module (func) (@custom "name" "\01\ff\ff"))"#, Frames::Native);
    assert!(!Parser::new(0).parse_all(&wasm).any(|payload| matches!(payload, Ok(Payload::CustomSection(_)))));
}

#[test]
fn a_function_that_may_need_too_large_a_frame_is_refused_where_frames_are_native() {
    let body = "(local.set 0 (i32.add (local.get 0) (i32.const 1)))".repeat(70_000);
    let wasm = wat::parse_str(format!("(module (func (param i32) {body}))")).unwrap();
    assert_eq!(rewrite(&wasm, Frames::Native).unwrap_err().kind(), Kind::Limit);
    assert!(rewrite(&wasm, Frames::Interpreter).is_ok());
}

#[test]
fn a_function_that_initialises_much_data_is_not_too_large() {
    // As a linker writes it for data that holds addresses, of a length beyond what other instructions may have.
    let store = "(i32.store (i32.add (global.get 0) (i32.const 0x300000)) (i32.const 0x310000))";
    let relocations = store.repeat(25_000);
    let wat = format!("(module (memory 100) (global i32 (i32.const 0)) (func {relocations}))");
    rewritten(&wat, Frames::Native);
}

#[test]
fn names_of_the_meters_are_reserved() {
    let wasm = wat::parse_str(r#"(module (func (export "$wharf.fuel")))"#).unwrap();
    assert_eq!(Prepared::new(&wasm, &LoadOptions::default()).unwrap_err().kind(), Kind::Unsupported);
}

/// An engine whose guest is a function over its own caller.
#[derive(Clone)]
struct Script(fn(&mut Live) -> Result<(), Trap>);

struct Live {
    script: Script,
    imports: Arc<Imports>,
    fuel: u64,
    stack: u64,
}

impl Live {
    /// A call of import `index` by the guest.
    fn import(&mut self, index: usize) -> Result<(), Trap> {
        let imports = Arc::clone(&self.imports);
        imports.call(index, self, &mut []).map_err(|halt| Trap::new(TrapCode::Host, halt.to_string()))
    }
}

impl Module for Script {
    fn serialize(&self) -> Result<Option<TrustedCode<'_>>> {
        Ok(None)
    }

    fn instantiate(&self, imports: Arc<Imports>) -> Result<Box<dyn Instance>> {
        Ok(Box::new(Live { script: self.clone(), imports, fuel: 0, stack: 0 }))
    }
}

impl Caller for Live {
    fn memory(&mut self) -> Option<&mut [u8]> {
        None
    }

    fn call(&mut self, _export: &str, _slots: &mut [u64]) -> Result<(), Trap> {
        (self.script.0)(self)
    }

    fn global(&mut self, export: &str) -> Option<u64> {
        Some(if export == FUEL { self.fuel } else { self.stack })
    }

    fn set_global(&mut self, export: &str, value: u64) -> bool {
        *(if export == FUEL { &mut self.fuel } else { &mut self.stack }) = value;
        true
    }
}

impl Instance for Live {}

/// The one host function: calls the guest again, or ends it.
struct Host(bool);

impl Calls for Host {
    fn call(&self, _index: usize, caller: &mut dyn Caller, _slots: &mut [u64]) -> Result<(), Stop> {
        if self.0 {
            return Err(Stop::Exit(3));
        }
        caller.call("go", &mut []).map_err(|trap| Error::new(Kind::Internal, format!("{:?}", trap.code)).into())
    }
}

const HOST: usize = 0;
const CHECK: usize = 1;

fn instance(
    frames: Frames,
    exits: bool,
    script: fn(&mut Live) -> Result<(), Trap>,
) -> (Box<dyn Instance>, Arc<Imports>) {
    let ty = FuncType { params: Vec::new(), results: Vec::new() };
    let import = Import { module: "m".to_owned(), name: "f".to_owned(), ty };
    let imports = Arc::new(Imports::new(Arc::from([import]), Host(exits)));
    (Metered::new(Script(script), frames).instantiate(Arc::clone(&imports)).unwrap(), imports)
}

fn code(result: Result<(), Trap>) -> TrapCode {
    result.unwrap_err().code
}

#[test]
fn a_check_fills_up_the_fuel() {
    for frames in ALL {
        let (mut live, _) = instance(frames, false, |live| live.import(CHECK));
        live.call("go", &mut []).unwrap();
        assert_eq!(live.global(FUEL), Some(FULL as u64));
    }
}

#[test]
fn an_interrupted_guest_ends_at_its_check_and_is_not_entered_again() {
    static SEEN: Mutex<Option<Arc<dyn Interrupt>>> = Mutex::new(None);
    let (mut live, _) = instance(Frames::Engine, false, |live| {
        SEEN.lock().unwrap().as_ref().unwrap().interrupt();
        live.import(CHECK)
    });
    *SEEN.lock().unwrap() = Some(live.interrupt());
    assert_eq!(code(live.call("go", &mut [])), TrapCode::Interrupted);
    assert_eq!(code(live.call("go", &mut [])), TrapCode::Interrupted);
}

#[test]
fn what_a_host_function_gave_as_reason_stays_with_its_own_imports() {
    let (mut live, imports) = instance(Frames::Engine, true, |live| live.import(HOST));
    assert_eq!(code(live.call("go", &mut [])), TrapCode::Host);
    assert!(matches!(imports.take_stop(), Some(Stop::Exit(3))));
}

#[test]
fn an_interpreted_guest_ends_when_its_frames_are_too_many() {
    let (mut live, _) = instance(Frames::Interpreter, false, |live| {
        assert_eq!(live.stack, INTERPRETER_STACK as u64);
        live.stack = u64::from((-1i32).cast_unsigned());
        live.import(CHECK)
    });
    assert_eq!(code(live.call("go", &mut [])), TrapCode::StackOverflow);
    assert_eq!(code(live.call("go", &mut [])), TrapCode::StackOverflow, "the count begins anew with each call");
    assert_eq!(live.global(FUEL), Some(FULL as u64), "or it would wrap around after many such calls");
}

#[test]
fn a_native_guest_ends_when_its_frames_are_measured_to_be_too_many() {
    fn recurse(live: &mut Live) -> Result<(), Trap> {
        let frame = std::hint::black_box([0u8; 4096]);
        live.import(CHECK)?;
        let result = recurse(live);
        std::hint::black_box(frame);
        result
    }
    let thread = std::thread::Builder::new().stack_size(NATIVE_STACK);
    let ended = thread.spawn(|| code(instance(Frames::Native, false, recurse).0.call("go", &mut [])));
    assert_eq!(ended.unwrap().join().unwrap(), TrapCode::StackOverflow);
}

#[test]
fn guest_and_host_call_each_other_only_so_often() {
    let (mut live, imports) = instance(Frames::Engine, false, |live| live.import(HOST));
    assert_eq!(code(live.call("go", &mut [])), TrapCode::Host);
    let Some(Stop::Error(error)) = imports.take_stop() else { panic!("the innermost call was refused") };
    assert_eq!(error.to_string(), "StackOverflow");
}
