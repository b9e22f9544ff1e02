//! Drives the functions as an adapter would, over a guest of two components that is nothing but memories and globals.

mod calls;
mod handles;
mod plan;
mod transcode;

use std::collections::HashMap;
use std::sync::Arc;

use wharf_plan::{INTRINSICS_MODULE, Intrinsic};

use super::{Composed, Of, call, ty};
use crate::abi::wasi02::Host;
use crate::budget::Budget;
use crate::error::{Kind, Result};
use crate::grants::WasiConfig;
use crate::run::Run;
use crate::stop::Stop;
use crate::types::{Caller, Export, ExportType, FuncType, Import, Trap, TrapCode, ValType};

/// How large each memory is here.
const MEMORY: usize = 64 << 10;

/// Two components. Resource 0 is the host's, 1 the second component's, with a destructor, and 2 the first one's, without.
/// Tables 0 and 1 are for resource 0 in each, 2 and 3 for resource 1, 4 and 5 for resource 2, and 6 for none.
const PLAN: &str = r#"{
    "version": 5,
    "imports": [
        {"module": "wharf:component/intrinsics", "name": "trap", "kind": {"kind": "intrinsic", "name": "trap"}},
        {"module": "wasi:x/y@0.2.0", "name": "now", "kind": {
            "kind": "call", "interface": "wasi:x/y@0.2.0", "function": "now", "ty": 0,
            "options": {"instance": 1, "memory": null, "realloc": null, "encoding": "utf8", "post_return": null, "asynchronous": false, "callback": null}
        }},
        {"module": "wharf:component/intrinsics", "name": "[resource-rep]3",
         "kind": {"kind": "intrinsic", "name": "[resource-rep]3"}},
        {"module": "wasi:http/types@0.2.0", "name": "[resource-drop]fields", "kind": {"kind": "resource-drop", "table": 1}}
    ],
    "exports": [
        {"name": "run", "interface": "wasi:cli/run@0.2.0", "function": "run", "ty": 0,
         "options": {"instance": 0, "memory": null, "realloc": null, "encoding": "utf8", "post_return": null, "asynchronous": false, "callback": null}},
        {"name": "handle", "interface": "wasi:http/incoming-handler@0.2.3", "function": "handle", "ty": 0,
         "options": {"instance": 1, "memory": null, "realloc": null, "encoding": "utf8", "post_return": null, "asynchronous": false, "callback": null}}
    ],
    "memories": ["memory", "other"],
    "memory_count": 2,
    "tables": 0,
    "start": false,
    "instances": [{"may_leave": "leave_0"}, {"may_leave": "leave_1"}],
    "resources": [
        {"kind": "imported", "interface": "wasi:http/types@0.2.0", "name": "fields"},
        {"kind": "defined", "instance": 1, "destructor": "drop_1"},
        {"kind": "defined", "instance": 0, "destructor": null}
    ],
    "handle_tables": [
        {"instance": 0, "resource": 0}, {"instance": 1, "resource": 0},
        {"instance": 0, "resource": 1}, {"instance": 1, "resource": 1},
        {"instance": 0, "resource": 2}, {"instance": 1, "resource": 2},
        {"instance": 0, "resource": null}
    ],
    "streams": [],
    "futures": [],
    "types": [],
    "functions": [{"params": [], "result": null, "asynchronous": false}],
    "traps": [[17, "reentered"], [30, "string-out-of-bounds"]],
    "component_imports": []
}"#;

/// The module's imports and exports; core looks for those that connect components, and at destructors.
fn imports() -> Vec<Import> {
    let ty = FuncType { params: vec![ValType::I32], results: vec![] };
    vec![Import { module: INTRINSICS_MODULE.to_owned(), name: "trap".to_owned(), ty }]
}

fn exports() -> Vec<Export> {
    let destructor = FuncType { params: vec![ValType::I32], results: vec![] };
    vec![Export { name: "drop_1".to_owned(), ty: ExportType::Function(destructor) }]
}

/// The module of this plan.
fn module(plan: &str) -> Vec<u8> {
    module_with(plan, "", "")
}

/// The same with more imports, before all others, and functions.
fn module_with(plan: &str, imports: &str, functions: &str) -> Vec<u8> {
    wat::parse_str(format!(
        r#"(module
            (@custom "wharf.plan" {plan:?})
            {imports}
            (import "wharf:component/intrinsics" "trap" (func (param i32)))
            (import "wasi:x/y@0.2.0" "now" (func))
            (import "wharf:component/intrinsics" "[resource-rep]3" (func (param i32) (result i32)))
            (import "wasi:http/types@0.2.0" "[resource-drop]fields" (func (param i32)))
            (memory (export "memory") 1)
            (memory (export "other") 1)
            (global (export "leave_0") (mut i32) (i32.const 1))
            (global (export "leave_1") (mut i32) (i32.const 1))
            (func (export "drop_1") (param i32))
            {functions}
            (func (export "run"))
            (func (export "handle")))"#
    ))
    .unwrap()
}

fn read(plan: &str) -> Result<Option<Composed>> {
    Composed::read(&module(plan), &imports(), &exports())
}

/// Two memories, globals, and what was called.
struct Fake {
    memories: HashMap<&'static str, Vec<u8>>,
    globals: HashMap<&'static str, u64>,
    called: Vec<(String, u64)>,
    traps: bool,
}

impl Caller for Fake {
    fn memory(&mut self) -> Option<&mut [u8]> {
        self.memory_named("memory")
    }

    fn memory_named(&mut self, export: &str) -> Option<&mut [u8]> {
        self.memories.get_mut(export).map(Vec::as_mut_slice)
    }

    fn call(&mut self, export: &str, slots: &mut [u64]) -> std::result::Result<(), Trap> {
        self.called.push((export.to_owned(), slots[0]));
        if self.traps { Err(Trap::new(TrapCode::Unreachable, "unreachable")) } else { Ok(()) }
    }

    fn global(&mut self, export: &str) -> Option<u64> {
        self.globals.get(export).copied()
    }

    fn set_global(&mut self, export: &str, value: u64) -> bool {
        self.globals.get_mut(export).map(|global| *global = value).is_some()
    }
}

struct Guest {
    host: Host,
    fake: Fake,
}

fn guest_within(budget: Budget) -> Guest {
    guest_of(read(PLAN).unwrap().unwrap(), budget)
}

fn guest_of(plan: Composed, budget: Budget) -> Guest {
    let plan = Arc::new(plan);
    let host = Host::new(&WasiConfig::new(), None, Run::default(), Some(plan), Default::default(), budget);
    let fake = Fake {
        memories: HashMap::from([("memory", vec![0; MEMORY]), ("other", vec![0xa5; MEMORY])]),
        globals: HashMap::from([("leave_0", 1), ("leave_1", 1)]),
        called: Vec::new(),
        traps: false,
    };
    Guest { host, fake }
}

fn guest() -> Guest {
    guest_within(Budget::unlimited())
}

impl Guest {
    /// Calls a function with these parameters; gives its results.
    fn call(&mut self, name: &str, params: &[u64]) -> std::result::Result<Vec<u64>, Stop> {
        let intrinsic = Intrinsic::parse(name).unwrap_or_else(|| panic!("{name} is not a function"));
        let ty = ty(&intrinsic);
        assert_eq!(ty.params.len(), params.len(), "{name}");
        let mut slots = params.to_vec();
        slots.resize(ty.slots(), 0);
        call(&intrinsic, &self.host, &mut self.fake, &mut slots)?;
        slots.truncate(ty.results.len());
        Ok(slots)
    }

    /// The same where there is none.
    #[track_caller]
    fn does(&mut self, name: &str, params: &[u64]) {
        assert!(self.call(name, params).unwrap().is_empty());
    }

    /// The same where there is one.
    #[track_caller]
    fn gives(&mut self, name: &str, params: &[u64]) -> u64 {
        match self.call(name, params).as_deref() {
            Ok([result]) => *result,
            other => panic!("{name}{params:?}: {other:?}"),
        }
    }

    #[track_caller]
    fn ends(&mut self, name: &str, params: &[u64], kind: Kind, text: &str) {
        ends(self.call(name, params), kind, text);
    }

    #[track_caller]
    fn traps(&mut self, name: &str, params: &[u64], text: &str) {
        self.ends(name, params, Kind::Trap, text);
    }
}

/// What came of something has to be the guest's end, which says why.
#[track_caller]
fn ends<T: std::fmt::Debug>(outcome: std::result::Result<T, Stop>, kind: Kind, text: &str) {
    match outcome {
        Err(Stop::Error(error)) => {
            let message = error.to_string();
            assert_eq!(error.kind(), kind, "{message}");
            assert!(message.contains(text), "{message}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_adapter_that_traps_says_why() {
    let mut guest = guest();
    for (code, text) in
        [(17, "already being called"), (30, "a string that is not within its memory"), (99, "trap 99 of an adapter")]
    {
        guest.traps("trap", &[code], text);
    }
}
