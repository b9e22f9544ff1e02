//! A component with one core instance.

use wharf_component::plan::{Encoding, Function, ImportKind, Param, Resource, Type};
use wharf_component::{FlattenOptions, PLAN_SECTION, Plan, PlanError, flatten};

use crate::run::{flattened, start, start_with};

/// Adds two numbers, and one more that the host gives.
const ADDER: &str = r#"
(component
  (import "host:numbers/more@0.2.3" (instance $more (export "one" (func (result u32)))))
  (core func $one (canon lower (func $more "one")))
  (core module $m
    (import "host:numbers/more@0.2.3" "one" (func $one (result i32)))
    (func (export "add") (param i32 i32) (result i32)
      local.get 0 local.get 1 i32.add call $one i32.add))
  (core instance $i (instantiate $m
    (with "host:numbers/more@0.2.3" (instance (export "one" (func $one))))))
  (func $add (param "a" u32) (param "b" u32) (result u32) (canon lift (core func $i "add")))
  (instance $out (export "add" (func $add)))
  (export "my:math/ops@1.0.0" (instance $out)))
"#;

#[test]
fn one_instance_runs() {
    let flattened = flattened(ADDER);
    let mut run = start_with(&flattened, |_, _, _| vec![1]).unwrap();
    assert_eq!(run.call("my:math/ops@1.0.0#add", &[20, 21]), [42]);
    assert_eq!(run.log(), ["host:numbers/more@0.2.3#one()"]);
}

/// Adds up what is below a number, by tail calls: a direct one, one through a table, and one of what the host gives.
const TAIL: &str = r#"
(component
  (import "host:numbers/more@0.2.3" (instance $more (export "one" (func (result u32)))))
  (core func $one (canon lower (func $more "one")))
  (core module $m
    (import "host:numbers/more@0.2.3" "one" (func $one (result i32)))
    (type $step (func (param i32 i32) (result i32)))
    (table funcref (elem $sum))
    (func $sum (type $step)
      (if (i32.eqz (local.get 0)) (then (return (local.get 1))))
      (block (if (i32.eq (local.get 0) (i32.const 1)) (then (br 1)))
        (return_call $sum (i32.sub (local.get 0) (i32.const 1)) (i32.add (local.get 0) (local.get 1))))
      (return_call_indirect (type $step) (i32.const 0) (i32.add (local.get 0) (local.get 1)) (i32.const 0)))
    (func (export "f") (param i32) (result i32)
      (if (i32.eqz (local.get 0)) (then (return_call $one)))
      (i32.const 1000)
      (drop)
      (return_call $sum (local.get 0) (i32.const 0))))
  (core instance $i (instantiate $m
    (with "host:numbers/more@0.2.3" (instance (export "one" (func $one))))))
  (func (export "f") (param "a" u32) (result u32) (canon lift (core func $i "f"))))
"#;

#[test]
fn tail_calls_are_calls() {
    let flattened = flattened(TAIL);
    let mut run = start_with(&flattened, |_, _, _| vec![7]).unwrap();
    assert_eq!(run.call("f", &[0]), [7]);
    assert_eq!(run.call("f", &[1]), [1]);
    assert_eq!(run.call("f", &[100]), [5050]);
}

#[test]
fn the_plan_says_what_the_imports_and_exports_are() {
    let plan = flattened(ADDER).plan;
    let [import] = plan.imports.as_slice() else { panic!("one import: {:?}", plan.imports) };
    assert_eq!((import.module.as_str(), import.name.as_str()), ("host:numbers/more@0.2.3", "one"));
    let ImportKind::Call { interface, function, ty, options } = &import.kind else { panic!("{import:?}") };
    assert_eq!((interface.as_str(), function.as_str()), ("host:numbers/more@0.2.3", "one"));
    assert_eq!(options.encoding, Encoding::Utf8);
    assert_eq!((&options.memory, &options.realloc, &options.post_return), (&None, &None, &None));
    let u32_type = plan.types.iter().position(|ty| *ty == Type::U32).unwrap() as u32;
    assert_eq!(plan.functions[*ty as usize], Function { params: vec![], result: Some(u32_type) });

    let [export] = plan.exports.as_slice() else { panic!("one export: {:?}", plan.exports) };
    assert_eq!(export.name, "my:math/ops@1.0.0#add");
    assert_eq!(export.interface.as_deref(), Some("my:math/ops@1.0.0"));
    assert_eq!(export.function, "add");
    let param = |name: &str| Param { name: name.to_owned(), ty: u32_type };
    let ty = Function { params: vec![param("a"), param("b")], result: Some(u32_type) };
    assert_eq!(plan.functions[export.ty as usize], ty);
    assert_eq!(plan.component_imports, ["host:numbers/more@0.2.3"]);
    assert!(!plan.start);
    assert_eq!((plan.memory_count, plan.tables), (0, 0));
}

#[test]
fn the_module_carries_its_plan() {
    let flattened = flattened(ADDER);
    assert_eq!(Plan::read(&flattened.wasm).unwrap(), flattened.plan);
}

/// A module with a plan of somebody's own.
fn with_plan(edit: impl Fn(&mut serde_json::Value)) -> Result<Plan, PlanError> {
    let flattened = flattened(STRINGS);
    let mut plan = serde_json::to_value(&flattened.plan).unwrap();
    edit(&mut plan);
    let mut module = Vec::new();
    for payload in wasmparser::Parser::new(0).parse_all(&flattened.wasm) {
        // The plan comes last, so everything before it is the module without one.
        if let wasmparser::Payload::CustomSection(section) = payload.unwrap()
            && section.name() == PLAN_SECTION
        {
            let json = plan.to_string();
            let end = flattened.wasm.windows(PLAN_SECTION.len()).position(|w| w == PLAN_SECTION.as_bytes()).unwrap();
            // Section id, its length in five bytes, the name's length: the header is written anew.
            let mut body = vec![PLAN_SECTION.len() as u8];
            body.extend(PLAN_SECTION.as_bytes());
            body.extend(json.as_bytes());
            let header = flattened.wasm[..end].iter().rposition(|byte| *byte == 0).unwrap();
            module.extend(&flattened.wasm[..header]);
            module.push(0);
            let mut length = body.len();
            while length > 0x7f {
                module.push((length & 0x7f) as u8 | 0x80);
                length >>= 7;
            }
            module.push(length as u8);
            module.extend(body);
        }
    }
    Plan::read(&module)
}

#[test]
fn a_plan_that_does_not_fit_is_refused() {
    with_plan(|_| ()).unwrap();
    let refused = |edit: fn(&mut serde_json::Value)| match with_plan(edit) {
        Err(PlanError::Inconsistent { what }) => what,
        other => panic!("{other:?}"),
    };
    assert!(refused(|plan| plan["imports"][0]["name"] = "other".into()).contains("imports"));
    assert!(refused(|plan| plan["exports"][0]["name"] = "other".into()).contains("other"));
    assert!(refused(|plan| plan["exports"][0]["ty"] = 99.into()).contains("99"));
    assert!(refused(|plan| plan["exports"][0]["options"]["instance"] = 7.into()).contains("instance 7"));
    assert!(refused(|plan| plan["exports"][0]["options"]["memory"] = "cabi_realloc".into()).contains("memory"));
    assert!(refused(|plan| plan["types"][0] = serde_json::json!({ "list": { "element": 0 } })).contains("type 0"));
    assert!(refused(|plan| plan["start"] = true.into()).contains("$start"));
    assert!(matches!(with_plan(|plan| plan["version"] = 9.into()), Err(PlanError::Version { found: 9 })));
    assert!(matches!(with_plan(|plan| plan["extra"] = 1.into()), Err(PlanError::Malformed(_))));
    assert!(matches!(Plan::read(b"\0asm\x01\0\0\0"), Err(PlanError::Missing)));
}

#[test]
fn the_result_is_the_same_each_time() {
    assert_eq!(flattened(ADDER).wasm, flattened(ADDER).wasm);
}

#[test]
fn names_of_functions_are_kept_on_request() {
    let wasm = wat::parse_str(ADDER.replace("(func (export \"add\")", "(func $addition (export \"add\")")).unwrap();
    let named = |keep_names| {
        let flattened = flatten(&wasm, &FlattenOptions { keep_names, ..FlattenOptions::default() }).unwrap();
        start_with(&flattened, |_, _, _| vec![1]).unwrap();
        flattened.wasm.windows(8).any(|window| window == b"addition")
    };
    assert!(named(true));
    assert!(!named(false));
}

/// Strings in and out: memory, allocator, post-return, and two functions with other options.
const STRINGS: &str = r#"
(component
  (import "greet" (func $greet (param "name" string) (result string)))
  (core module $libc
    (memory (export "mem") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 256)
    (func (export "realloc2") (param i32 i32 i32 i32) (result i32) i32.const 512))
  (core instance $libc (instantiate $libc))
  (core func $greet8 (canon lower (func $greet) (memory (core memory $libc "mem")) (realloc (core func $libc "realloc"))))
  (core func $greet16 (canon lower (func $greet) (memory (core memory $libc "mem")) (realloc (core func $libc "realloc2"))
    string-encoding=utf16))
  (core module $m
    (import "libc" "mem" (memory 1))
    (import "" "8" (func $greet8 (param i32 i32 i32)))
    (import "" "16" (func $greet16 (param i32 i32 i32)))
    (data (i32.const 16) "world")
    (func (export "run") (result i32)
      i32.const 16 i32.const 5 i32.const 32 call $greet8
      i32.const 16 i32.const 5 i32.const 32 call $greet16
      i32.const 32)
    (func (export "post") (param i32) (i32.store (i32.const 0) (local.get 0))))
  (core instance $i (instantiate $m
    (with "libc" (instance $libc))
    (with "" (instance (export "8" (func $greet8)) (export "16" (func $greet16))))))
  (func (export "run") (result string)
    (canon lift (core func $i "run") (memory (core memory $libc "mem")) (post-return (core func $i "post")))))
"#;

#[test]
fn options_that_are_not_the_default_ones_are_named() {
    let flattened = flattened(STRINGS);
    let names: Vec<_> = flattened.plan.imports.iter().map(|i| format!("{}#{}", i.module, i.name)).collect();
    assert_eq!(names, ["$root#greet", "$root#greet;realloc=cabi_realloc_1;encoding=utf16"]);
    let run = &flattened.plan.exports[0];
    assert_eq!(run.options.memory.as_deref(), Some("memory"));
    assert_eq!(run.options.post_return.as_deref(), Some("cabi_post_run"));
    assert_eq!(flattened.plan.memories, ["memory"]);

    let mut running = start(&flattened);
    assert_eq!(running.call("run", &[]), [32]);
    assert_eq!(running.log()[0], "$root#greet(16,5,32)");
    running.call("cabi_post_run", &[7]);
    assert_eq!(running.bytes("memory", 0, 4), [7, 0, 0, 0]);
    assert_eq!(running.bytes("memory", 16, 5), b"world");
    assert_eq!(running.call("cabi_realloc", &[0, 0, 1, 1]), [256]);
    assert_eq!(running.call("cabi_realloc_1", &[0, 0, 1, 1]), [512]);
}

#[test]
fn the_host_may_call_back_into_memory_and_allocator() {
    let flattened = flattened(STRINGS);
    let mut running = start_with(&flattened, |caller, _, params| {
        let realloc = caller.get_export("cabi_realloc").unwrap().into_func().unwrap();
        let mut out = [wasmi::Val::I32(0)];
        realloc.call(&mut *caller, &[0, 0, 1, 2].map(wasmi::Val::I32), &mut out).unwrap();
        let memory = caller.get_export("memory").unwrap().into_memory().unwrap();
        let pointer = crate::run::number(&out[0]) as usize;
        let retptr = crate::run::number(&params[2]) as usize;
        memory.write(&mut *caller, pointer, b"hi").unwrap();
        memory.write(&mut *caller, retptr, &[0, 1, 0, 0, 2, 0, 0, 0]).unwrap();
        vec![]
    })
    .unwrap();
    assert_eq!(running.call("run", &[]), [32]);
    assert_eq!(running.bytes("memory", 32, 8), [0, 1, 0, 0, 2, 0, 0, 0]);
    assert_eq!(running.bytes("memory", 256, 2), b"hi");
}

#[test]
fn imported_resources_are_dropped_under_their_interface() {
    let flattened = flattened(
        r#"
(component
  (import "wasi:http/types@0.2.3" (instance $types
    (export "fields" (type $fields (sub resource)))
    (export "[constructor]fields" (func (result (own $fields))))))
  (alias export $types "fields" (type $fields))
  (core func $drop (canon resource.drop $fields))
  (core func $new (canon lower (func $types "[constructor]fields")))
  (core module $m
    (import "t" "new" (func $new (result i32)))
    (import "t" "drop" (func $drop (param i32)))
    (func (export "go") call $new call $drop))
  (core instance $i (instantiate $m (with "t" (instance (export "new" (func $new)) (export "drop" (func $drop))))))
  (func (export "go") (canon lift (core func $i "go"))))
"#,
    );
    let mut run = start_with(&flattened, |_, _, _| vec![9]).unwrap();
    run.call("go", &[]);
    assert_eq!(
        run.log(),
        ["wasi:http/types@0.2.3#[constructor]fields()", "wasi:http/types@0.2.3#[resource-drop]fields(9)"]
    );
    let plan = &flattened.plan;
    assert_eq!(
        plan.resources,
        [Resource::Imported { interface: "wasi:http/types@0.2.3".to_owned(), name: "fields".to_owned() }]
    );
    let drop = plan.imports.iter().find(|import| import.name == "[resource-drop]fields").unwrap();
    let ImportKind::ResourceDrop { table } = drop.kind else { panic!("{drop:?}") };
    assert_eq!(plan.handle_tables[table as usize].resource, Some(0));
}

#[test]
fn own_resources_use_intrinsics_and_export_their_destructor() {
    let flattened = flattened(
        r#"
(component
  (core module $d
    (global $dropped (mut i32) (i32.const 0))
    (func (export "dtor") (param i32) (global.set $dropped (local.get 0)))
    (func (export "dropped") (result i32) global.get $dropped))
  (core instance $d (instantiate $d))
  (type $r (resource (rep i32) (dtor (core func $d "dtor"))))
  (core func $new (canon resource.new $r))
  (core func $rep (canon resource.rep $r))
  (core func $drop (canon resource.drop $r))
  (core module $m
    (import "r" "new" (func $new (param i32) (result i32)))
    (import "r" "rep" (func $rep (param i32) (result i32)))
    (import "r" "drop" (func $drop (param i32)))
    (func (export "make") (result i32) i32.const 77 call $new)
    (func (export "value") (param i32) (result i32) local.get 0 call $rep)
    (func (export "end") (param i32) local.get 0 call $drop))
  (core instance $i (instantiate $m (with "r" (instance
    (export "new" (func $new)) (export "rep" (func $rep)) (export "drop" (func $drop))))))
  (export $out "thing" (type $r))
  (func (export "[static]thing.make") (result (own $out)) (canon lift (core func $i "make")))
  (func (export "[static]thing.dropped") (result u32) (canon lift (core func $d "dropped")))
  (func (export "[static]thing.end") (param "t" (own $out)) (canon lift (core func $i "end"))))
"#,
    );
    let plan = &flattened.plan;
    let [Resource::Defined { instance: 0, destructor: Some(destructor) }] = plan.resources.as_slice() else {
        panic!("{:?}", plan.resources)
    };
    let mut run = start_with(&flattened, |_, _, _| vec![3]).unwrap();
    assert_eq!(run.call("[static]thing.make", &[]), [3]);
    run.call("[static]thing.end", &[3]);
    let module = wharf_component::INTRINSICS_MODULE;
    let table = plan.handle_tables.iter().position(|table| table.resource == Some(0)).unwrap();
    assert_eq!(
        run.log(),
        [format!("{module}#[resource-new]{table}(77)"), format!("{module}#[resource-drop]{table}(3)")]
    );
    run.call(destructor, &[77]);
    assert_eq!(run.call("[static]thing.dropped", &[]), [77]);
}

#[test]
fn a_function_may_be_called_memory() {
    let flattened = flattened(
        r#"
(component
  (import "log" (func $log (param "text" string)))
  (core module $libc (memory (export "memory") 1) (func (export "f")))
  (core instance $libc (instantiate $libc))
  (core func $log (canon lower (func $log) (memory (core memory $libc "memory"))))
  (core module $m (import "" "log" (func (param i32 i32))))
  (core instance (instantiate $m (with "" (instance (export "log" (func $log))))))
  (func (export "memory") (canon lift (core func $libc "f"))))
"#,
    );
    assert_eq!(flattened.plan.memories, ["memory"]);
    assert_eq!(flattened.plan.exports[0].function, "memory");
    assert_ne!(flattened.plan.exports[0].name, "memory");
    start(&flattened).call(&flattened.plan.exports[0].name, &[]);
}
