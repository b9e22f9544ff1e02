//! Composed components, what is made of them, and what joins them, damaged at random, the same way each time.
//!
//! Whatever comes of it, it is an error, never a panic, and what core hands to an engine is valid.

use std::time::Duration;

use crate::support::composed::{echo, pair, things, waiting};
use crate::support::random::Random;
use http_body_util::{BodyExt, Empty};
use serde_json::{Value, json};
use wasm_encoder::{CustomSection, Module, RawSection};
use wasmparser::{Parser, Payload, Validator, WasmFeatures};
use wharf::core::abi::wasi02::http::Reply;
use wharf::core::{Backend, Error, Guest, GuestConfig, Kind, LoadOptions, Prepared, Session, Stop};
use wharf_component::plan::PLAN_VERSION;
use wharf_component::{FlattenError, FlattenOptions, PLAN_SECTION, Plan, flatten};

/// How long a guest may run that a mutation has made endless.
const LIMIT: Duration = Duration::from_millis(50);

/// What came of the mutants.
#[derive(Debug, Default)]
struct Outcomes {
    refused: u32,
    ran: u32,
    /// Of those that ran, the ones that failed.
    failed: u32,
}

impl Outcomes {
    /// Each happens, or this would show nothing.
    fn check(&self) {
        assert!(self.refused > 20 && self.ran > 20 && self.failed > 0, "{self:?}");
    }

    fn refuse(&mut self, error: &Error, what: &dyn Fn() -> String) {
        assert!(error.kind() != Kind::Internal, "{error}: {}", what());
        self.refused += 1;
    }
}

fn fixtures() -> Vec<Vec<u8>> {
    let steps = r#"
        (local.set $a (call $make (i32.const 5)))
        (local.set $b (call $make (i32.const 70)))
        (call $must (call $read (local.get $a)) (i32.const 5))
        (call $drop (local.get $a))
        (call $must (call $eat (local.get $b)) (i32.const 70))"#;
    let texts = [
        echo("utf8", "latin1+utf16", "gr\u{fc}n \u{20ac}"),
        echo("latin1+utf16", "utf16", "\u{20ac}uro"),
        echo("utf16", "utf8", "\u{1f600}!"),
        things(steps),
        pair(),
        waiting(),
    ];
    texts.map(|text| wat::parse_str(text).expect("the text assembles")).into()
}

fn backend() -> Box<dyn Backend> {
    wharf::backend(wharf::backends().next().expect("there is a backend")).expect("it is there")
}

fn options() -> LoadOptions {
    LoadOptions { max_memory: 16 << 20, ..LoadOptions::default() }
}

fn flattened(component: &[u8]) -> Vec<u8> {
    flatten(component, &FlattenOptions::default()).expect("the component is fine before it is damaged").wasm
}

/// Prepares the module and runs it on the backend, for as long as `limit`.
fn run(backend: &dyn Backend, module: &[u8], limit: Duration, outcomes: &mut Outcomes) {
    let what = || format!("{module:02x?}");
    let prepared = match Prepared::new(module, &options()) {
        Ok(prepared) => prepared,
        Err(error) => return outcomes.refuse(&error, &what),
    };
    let features = WasmFeatures::WASM2 | WasmFeatures::MULTI_MEMORY;
    let valid = Validator::new_with_features(features).validate_all(prepared.wasm()).map(drop);
    assert!(valid.is_ok(), "{valid:?}: {}", what());
    let guest = match Guest::from_prepared(backend, &prepared, &options()) {
        Ok(guest) => guest,
        Err(error) => return outcomes.refuse(&error, &what),
    };
    outcomes.ran += 1;
    let config = GuestConfig { timeout: Some(limit), ..GuestConfig::default() };
    let ended = if guest.is_handler() {
        let (reply, _) = Reply::channel();
        let body = Empty::new().map_err(|never| match never {}).boxed_unsync();
        let request = hyper::Request::get("http://guest.example/abcd").body(body).unwrap();
        guest.start(config).and_then(|mut session| session.handle(request, reply)).map(|()| 0)
    } else {
        guest.run(config, None).map_err(Stop::from)
    };
    if let Err(Stop::Error(error)) = &ended {
        assert!(error.kind() != Kind::Internal, "{error}: {}", what());
    }
    outcomes.failed += u32::from(!matches!(ended, Ok(0)));
}

#[test]
fn damaged_components() {
    let (backend, mut outcomes) = (backend(), Outcomes::default());
    for (seed, component) in (1..).zip(fixtures()) {
        let mut random = Random::new(seed);
        for _ in 0..600 {
            let mutant = random.damage(&component);
            match flatten(&mutant, &FlattenOptions::default()) {
                Ok(flattened) => {
                    assert_eq!(Plan::read(&flattened.wasm).expect("it was just written"), flattened.plan);
                    run(&*backend, &flattened.wasm, LIMIT, &mut outcomes);
                }
                Err(FlattenError::Internal { message, .. }) => panic!("{message}: {mutant:02x?}"),
                Err(_) => outcomes.refused += 1,
            }
        }
    }
    outcomes.check();
}

/// A module may come flattened, from anybody.
#[test]
fn damaged_modules() {
    let (backend, mut outcomes) = (backend(), Outcomes::default());
    for (seed, component) in (1..).zip(fixtures()) {
        let (module, mut random) = (flattened(&component), Random::new(seed << 8));
        for _ in 0..200 {
            let mutant = random.damage(&module);
            // For whoever inspects it.
            let _ = Plan::read(&mutant);
            run(&*backend, &mutant, LIMIT, &mut outcomes);
        }
    }
    outcomes.check();
}

/// The module with another plan.
fn with_plan(module: &[u8], plan: &Value) -> Vec<u8> {
    let mut out = Module::new();
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload.expect("the module is valid");
        if matches!(&payload, Payload::CustomSection(section) if section.name() == PLAN_SECTION) {
            continue;
        }
        if let Some((id, range)) = payload.as_section() {
            out.section(&RawSection { id, data: &module[range] });
        }
    }
    let data = serde_json::to_vec(plan).unwrap();
    out.section(&CustomSection { name: PLAN_SECTION.into(), data: data.into() });
    out.finish()
}

/// Changes one thing somewhere inside `value`.
fn change(value: &mut Value, random: &mut Random) {
    match value {
        Value::Array(items) if !items.is_empty() && random.below(6) > 0 => {
            let at = random.below(items.len());
            match random.below(8) {
                0 => drop(items.remove(at)),
                1 => items.insert(at, items[at].clone()),
                2 => {
                    let other = random.below(items.len());
                    items.swap(at, other);
                }
                _ => change(&mut items[at], random),
            }
        }
        Value::Object(fields) if !fields.is_empty() && random.below(8) > 0 => {
            let at = random.below(fields.len());
            let (name, field) = fields.iter_mut().nth(at).expect("it is in range");
            if random.below(12) == 0 {
                let name = name.clone();
                fields.remove(&name);
            } else {
                change(field, random);
            }
        }
        _ => {
            *value = match random.below(8) {
                0 => Value::Null,
                1 => json!(["memory", "memory_1", "$may_leave_0", "", "\u{0}"][random.below(5)]),
                2 => json!([]),
                3 => json!({}),
                _ => json!(random.odd()),
            }
        }
    }
}

#[test]
fn plans_that_do_not_fit() {
    let (backend, mut outcomes) = (backend(), Outcomes::default());
    for (seed, component) in (1..).zip(fixtures()) {
        let module = flattened(&component);
        let plan = serde_json::to_value(Plan::read(&module).unwrap()).unwrap();
        let mut whole = Outcomes::default();
        run(&*backend, &with_plan(&module, &plan), Duration::from_secs(60), &mut whole);
        assert!(whole.ran == 1 && whole.failed == 0, "before it is damaged: {whole:?}");
        let mut random = Random::new(seed << 16);
        for _ in 0..150 {
            let mut other = plan.clone();
            // What core relies on, and sometimes anything.
            for _ in 0..=random.below(2) {
                let field =
                    ["imports", "exports", "instances", "resources", "handle_tables", "calls", ""][random.below(7)];
                match other.get_mut(field) {
                    Some(field) => change(field, &mut random),
                    None => change(&mut other, &mut random),
                }
            }
            let mutant = with_plan(&module, &other);
            let _ = Plan::read(&mutant);
            run(&*backend, &mutant, LIMIT, &mut outcomes);
        }
    }
    outcomes.check();
}

/// What joins components, with its numbers of parameters and results.
const TRANSCODERS: [(&str, usize, usize); 12] = [
    ("utf8-to-utf8", 3, 0),
    ("utf16-to-utf16", 3, 0),
    ("latin1-to-latin1", 3, 0),
    ("latin1-to-utf16", 3, 0),
    ("utf8-to-utf16", 3, 1),
    ("utf16-to-compact-probably-utf16", 3, 1),
    ("utf16-to-utf8", 5, 2),
    ("latin1-to-utf8", 5, 2),
    ("utf8-to-latin1", 3, 2),
    ("utf16-to-latin1", 3, 2),
    ("utf8-to-compact-utf16", 5, 1),
    ("utf16-to-compact-utf16", 5, 1),
];

/// A module that lets its caller call all of them: two instances, one resource of each and one of the host's, and a table
/// for each pair. `lends` lends handle 1 without end.
fn intrinsics() -> (Vec<u8>, Vec<(String, usize)>) {
    let mut functions: Vec<(String, usize, usize)> = Vec::new();
    for table in 0..6 {
        functions.push((format!("[resource-new]{table}"), 1, 1));
        functions.push((format!("[resource-rep]{table}"), 1, 1));
        functions.push((format!("[resource-drop]{table}"), 1, 0));
    }
    for (name, params, results) in [
        ("resource-transfer-own", 3, 1),
        ("resource-transfer-borrow", 3, 1),
        ("enter-sync-call", 3, 0),
        ("exit-sync-call", 0, 0),
        ("trap", 1, 0),
    ] {
        functions.push((name.to_owned(), params, results));
    }
    for (name, params, results) in TRANSCODERS {
        for (from, to) in [("memory", "memory_1"), ("memory_1", "memory"), ("memory", "memory")] {
            functions.push((format!("transcode-{name};from={from};to={to}"), params, results));
        }
    }
    let (mut imports, mut exports, mut planned) = (String::new(), String::new(), Vec::new());
    for (at, (name, params, results)) in functions.iter().enumerate() {
        let ty = format!("(param{}) (result{})", " i32".repeat(*params), " i32".repeat(*results));
        imports.push_str(&format!("(import \"wharf:component/intrinsics\" \"{name}\" (func $f{at} {ty}))"));
        let gets: String = (0..*params).map(|param| format!("(local.get {param})")).collect();
        exports.push_str(&format!("(func (export \"{name}\") {ty} (call $f{at} {gets}))"));
        planned.push(
            json!({"module": "wharf:component/intrinsics", "name": name, "kind": {"kind": "intrinsic", "name": name}}),
        );
    }
    let at = |wanted: &str| functions.iter().position(|(name, ..)| name == wanted).expect("it is there");
    let (enter, lend) = (at("enter-sync-call"), at("resource-transfer-borrow"));
    let module = wat::parse_str(format!(
        r#"(module {imports}
            (memory (export "memory") 1) (memory (export "memory_1") 1)
            (data (i32.const 0) "some text, gr\c3\bcn, \ff, \d8\00, and zeros") (data (i32.const 65500) "\ff\fe\fd")
            (global (export "$may_leave_0") (mut i32) (i32.const 1))
            (func (export "end") (param i32) (drop (i32.div_u (i32.const 1) (local.get 0))))
            (func (export "lends")
                (call $f{enter} (i32.const 0) (i32.const 0) (i32.const 0))
                (loop (drop (call $f{lend} (i32.const 1) (i32.const 0) (i32.const 3))) (br 0)))
            {exports})"#
    ))
    .expect("the text assembles");
    let tables: Vec<Value> = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]
        .map(|(instance, resource)| json!({"instance": instance, "resource": resource}))
        .into();
    let plan = json!({
        "version": PLAN_VERSION, "imports": planned, "exports": [],
        "memories": ["memory", "memory_1"], "memory_count": 2, "tables": 0, "start": false,
        "instances": [{"may_leave": "$may_leave_0"}, {"may_leave": null}],
        "resources": [
            {"kind": "defined", "instance": 1, "destructor": "end"},
            {"kind": "defined", "instance": 0, "destructor": null},
            {"kind": "imported", "interface": "wasi:http/types@0.2.3", "name": "fields"},
        ],
        "handle_tables": tables, "streams": [], "futures": [], "types": [], "functions": [], "traps": [[2, "unaligned"]], "component_imports": [],
    });
    (with_plan(&module, &plan), functions.into_iter().map(|(name, params, _)| (name, params)).collect())
}

fn start(guest: &Guest) -> Session {
    let config = GuestConfig { timeout: Some(Duration::from_secs(60)), ..GuestConfig::default() };
    match guest.start(config) {
        Ok(session) => session,
        Err(stop) => panic!("{stop:?}"),
    }
}

#[test]
fn calls_that_no_adapter_makes() {
    let (module, functions) = intrinsics();
    let guest = Guest::load(&*backend(), &module, &options()).expect("the module is fine");
    let (mut random, mut answered, mut stopped) = (Random::new(1), 0, 0);
    for _ in 0..400 {
        let mut session = start(&guest);
        for _ in 0..100 {
            let (name, params) = &functions[random.below(functions.len())];
            let table = name.starts_with("resource-transfer");
            // Small numbers, mostly, which are handles and tables.
            let mut param = |at: usize| match random.below(4) {
                0 => u64::from(random.odd()),
                _ if table && at > 0 => random.below(6) as u64,
                _ => random.below(4) as u64,
            };
            let params: Vec<u64> = (0..*params).map(&mut param).collect();
            match session.call(name, &params) {
                Ok(_) => answered += 1,
                Err(Stop::Error(error)) => {
                    let fits = matches!(error.kind(), Kind::Trap | Kind::Limit);
                    assert!(fits, "{name} {params:?}: {:?} {error}", error.kind());
                    stopped += 1;
                    break;
                }
                Err(stop) => panic!("{name} {params:?}: {stop:?}"),
            }
        }
    }
    assert!(answered > 300 && stopped > 300, "{answered} {stopped}");
}

/// What is lent is written down, so that there is an end to it.
#[test]
fn lending_without_end() {
    let guest = Guest::load(&*backend(), &intrinsics().0, &options()).expect("the module is fine");
    let mut session = start(&guest);
    assert_eq!(session.call("[resource-new]0", &[7]).ok(), Some(vec![1]));
    match session.call("lends", &[]) {
        Err(Stop::Error(error)) => assert!(error.kind() == Kind::Limit, "{error}"),
        other => panic!("{other:?}"),
    }
}
