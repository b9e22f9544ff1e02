//! Calls between components that no adapter would make so: a module may bring adapters of its own.

use super::*;

const START: &str = "start-call;callback=callback";
const PREPARE: &str = "prepare-call;params=i";
/// By number: what passes parameters on, what passes a result on, and the callee.
const NUMBERS: [u64; 2] = [0, 1];
const CALLEE: u64 = 2;
const WITHOUT_RESULT: u64 = wharf_plan::ASYNC_WITHOUT_RESULT as u64;

fn function(name: &str, params: usize, results: usize) -> Export {
    let ty = FuncType { params: vec![ValType::I32; params], results: vec![ValType::I32; results] };
    Export { name: name.to_owned(), ty: ExportType::Function(ty) }
}

/// A guest whose second component takes a number, which its function answers with.
fn calling() -> Guest {
    let calls = r#""component_imports": [],
        "calls": {"functions": ["start", "finish", "callee", "narrow"], "streams": [], "futures": [], "results": [], "may_block": null}"#;
    let import = r#"{"module": "wharf:component/intrinsics", "name": "start-call;callback=callback",
         "kind": {"kind": "intrinsic", "name": "start-call;callback=callback"}},"#;
    let plan = PLAN.replacen(r#""component_imports": []"#, calls, 1).replacen(
        r#""imports": ["#,
        &format!(r#""imports": [{import}"#),
        1,
    );
    let text = String::from(
        r#"(import "wharf:component/intrinsics" "start-call;callback=callback"
            (func (param i32 i32 i32 i32) (result i32)))"#,
    );
    let functions = r#"(func (export "start") (param i32) (result i32) unreachable)
        (func (export "finish"))
        (func (export "callee") (param i32) (result i32) unreachable)
        (func (export "narrow") (result i32) unreachable)
        (func (export "callback") (param i32 i32 i32) (result i32) unreachable)"#;
    let wasm = module_with(&plan, &text, functions);
    let mut all = exports();
    all.extend([function("start", 1, 1), function("finish", 0, 0), function("callee", 1, 1)]);
    all.extend([function("narrow", 0, 1), function("callback", 3, 1)]);
    guest_of(Composed::read(&wasm, &imports(), &all).unwrap().unwrap(), Budget::unlimited())
}

impl Guest {
    /// Prepares a call with this number, which the callee answers its caller with.
    fn prepare(&mut self, answer: u64) -> std::result::Result<Vec<u64>, Stop> {
        let [start, finish] = NUMBERS;
        self.call(PREPARE, &[start, finish, 0, 1, 0, 1, 0, WITHOUT_RESULT, answer])
    }
}

#[test]
fn a_call_is_prepared_and_started() {
    let mut guest = calling();
    guest.prepare(1).unwrap();
    assert_eq!(guest.gives(START, &[CALLEE, 1, 1, 1]), 1 | 1 << 4, "it has started, and has the first handle");
    let called: Vec<_> = guest.fake.called.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    assert_eq!(called, [("start", 1), ("callee", 1)]);
}

#[test]
fn what_is_not_prepared_is_not_started() {
    let mut guest = calling();
    guest.traps(START, &[CALLEE, 1, 1, 1], "no call is prepared");
    guest.prepare(1).unwrap();
    ends(guest.prepare(1), Kind::Trap, "a call was prepared while another is");
}

#[test]
fn what_does_not_exist_is_not_called() {
    let mut guest = calling();
    guest.traps(PREPARE, &[9, 1, 0, 1, 0, 1, 0, WITHOUT_RESULT, 1], "function 9 does not exist");
    guest.traps(
        PREPARE,
        &[0, 1, 0, 7, 0, 1, 0, WITHOUT_RESULT, 1],
        "a component instance is called that does not exist",
    );
    guest.prepare(1).unwrap();
    guest.traps(START, &[9, 1, 1, 1], "function 9 does not exist");
    guest.traps(START, &[3, 1, 1, 1], "`narrow` is called with another number of values than it takes");
    for name in ["stream-transfer", "future-transfer"] {
        guest.traps(name, &[1, 0, 0], "of a type that does not exist");
    }
}

#[test]
fn a_callee_that_breaks_a_rule_ends_the_guest() {
    for (answer, text) in
        [(0, "ended without returning a result"), (7, "0x7 is not a valid answer"), (0x52, "5 is not")]
    {
        let mut guest = calling();
        guest.prepare(answer).unwrap();
        guest.traps(START, &[CALLEE, 1, 1, 1], text);
    }
}

#[test]
fn one_that_may_not_call_out_prepares_no_call() {
    let mut guest = calling();
    guest.fake.globals.insert("leave_0", 0);
    ends(guest.prepare(1), Kind::Trap, "from its allocator or its post-return function");
}

#[test]
fn calls_under_way_are_limited() {
    let mut guest = calling();
    let stopped = (0..100_000).find_map(|_| {
        guest.prepare(1).unwrap();
        guest.call(START, &[CALLEE, 1, 1, 1]).err()
    });
    ends::<()>(Err(stopped.expect("it ends")), Kind::Limit, "the most");
}

#[test]
fn a_guest_of_other_adapters_has_no_such_calls() {
    let mut guest = guest();
    guest.traps(PREPARE, &[0, 1, 0, 1, 0, 1, 0, WITHOUT_RESULT, 1], "none of its components calls another one");
    guest.traps("stream-transfer", &[1, 0, 0], "none of its components calls another one");
}
