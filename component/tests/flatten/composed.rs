//! Components made of components: several memories, and what the host does between them.

use wasmi::{Caller, Val};
use wharf_component::plan::{ImportKind, Intrinsic, Resource};
use wharf_component::{FlattenError, FlattenOptions};

use crate::run::{Log, flattened, number, refused, start_with};

/// A component that shouts, and one that has it shout what it says. Each has a memory of its own.
const SHOUT: &str = r#"
(component
  (component $shouter
    (core module $m
      (memory (export "memory") 1)
      (global $next (mut i32) (i32.const 1024))
      (func (export "realloc") (param i32 i32 i32 i32) (result i32)
        (local $at i32)
        (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
        (global.set $next (i32.add (local.get $at) (local.get 3)))
        local.get $at)
      ;; Upper-cases ASCII in place, in units of UNIT bytes.
      (func (export "shout") (param $at i32) (param $length i32) (result i32)
        (local $i i32)
        (i32.store (i32.const 0) (local.get $at))
        (i32.store (i32.const 4) (local.get $length))
        (block $done
          (loop $next
            (br_if $done (i32.eq (local.get $i) (local.get $length)))
            (i32.store8
              (i32.add (local.get $at) (i32.mul (local.get $i) (i32.const UNIT)))
              (i32.sub (i32.load8_u (i32.add (local.get $at) (i32.mul (local.get $i) (i32.const UNIT)))) (i32.const 32)))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br $next)))
        i32.const 0))
    (core instance $i (instantiate $m))
    (func (export "shout") (param "text" string) (result string)
      (canon lift (core func $i "shout") (memory (core memory $i "memory")) (realloc (core func $i "realloc")) ENCODING)))
  (component $speaker
    (import "shout" (func $shout (param "text" string) (result string)))
    (core module $libc
      (memory (export "memory") 1)
      (data (i32.const 16) "quiet")
      (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 2048))
    (core instance $libc (instantiate $libc))
    (core func $shout (canon lower (func $shout) (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
    (core module $m
      (import "libc" "memory" (memory 1))
      (import "" "shout" (func $shout (param i32 i32 i32)))
      (func (export "speak") (result i32)
        (call $shout (i32.const 16) (i32.const 5) (i32.const 8))
        i32.const 8))
    (core instance $i (instantiate $m
      (with "libc" (instance $libc)) (with "" (instance (export "shout" (func $shout))))))
    (func (export "speak") (result string) (canon lift (core func $i "speak") (memory (core memory $libc "memory")))))
  (instance $shouter (instantiate $shouter))
  (instance $speaker (instantiate $speaker (with "shout" (func $shouter "shout"))))
  (export "speak" (func $speaker "speak")))
"#;

fn shout(encoding: &str, unit: &str) -> String {
    let text = SHOUT.replace("ENCODING", encoding).replace("UNIT", unit);
    // The text format wants references to exports nested.
    text.replace("(memory $i \"memory\")", "(memory (core memory $i \"memory\"))")
        .replace("(memory $libc \"memory\")", "(memory (core memory $libc \"memory\"))")
        .replace("(realloc (func ", "(realloc (core func ")
}

/// The transcoders that these tests need, as a host does them.
fn transcode(caller: &mut Caller<'_, Log>, name: &str, params: &[Val]) -> Vec<i64> {
    let Some(rest) = name.split("#transcode-").nth(1) else { return Vec::new() };
    let mut parts = rest.split(';');
    let operation = parts.next().unwrap();
    let mut memory = |caller: &mut Caller<'_, Log>| {
        let name = parts.next().unwrap().split('=').nth(1).unwrap();
        caller.get_export(name).unwrap().into_memory().unwrap()
    };
    let (from, to) = (memory(caller), memory(caller));
    let param = |index: usize| number(&params[index]) as usize;
    let unit = if operation.starts_with("utf16") { 2 } else { 1 };
    let source = from.data(&*caller)[param(0)..param(0) + param(1) * unit].to_vec();
    let units: Vec<u16> = match unit {
        1 => std::str::from_utf8(&source).unwrap().encode_utf16().collect(),
        _ => source.chunks(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect(),
    };
    match operation {
        "utf8-to-utf8" => {
            to.write(caller, param(2), &source).unwrap();
            vec![]
        }
        "utf8-to-utf16" => {
            let bytes: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
            to.write(caller, param(2), &bytes).unwrap();
            vec![units.len() as i64]
        }
        "utf16-to-utf8" => {
            let text = String::from_utf16(&units).unwrap();
            assert!(text.len() <= param(3));
            to.write(caller, param(2), text.as_bytes()).unwrap();
            vec![units.len() as i64, text.len() as i64]
        }
        other => panic!("the tests do not transcode {other}"),
    }
}

#[test]
fn strings_cross_from_memory_to_memory() {
    for (encoding, unit) in [("", "1"), ("string-encoding=utf16", "2")] {
        let flattened = flattened(&shout(encoding, unit));
        assert_eq!(flattened.plan.memory_count, 2);
        let mut run = start_with(&flattened, transcode).unwrap();
        let options = &flattened.plan.exports[0].options;
        let memory = options.memory.clone().unwrap();
        assert_eq!(run.call("speak", &[]), [8]);
        assert_eq!(run.bytes(&memory, 8, 8), [0, 8, 0, 0, 5, 0, 0, 0]);
        assert_eq!(run.bytes(&memory, 2048, 5), b"QUIET");
        assert_eq!(run.bytes(&memory, 16, 5), b"quiet", "the original is in another memory");
    }
}

/// One that is entered again before its post-return function was called breaks down.
#[test]
fn the_callee_is_told_when_its_result_was_read() {
    let opens = "(local $i i32) (if (global.get $open) (then (unreachable))) (global.set $open (i32.const 1))";
    let closes = r#"(global $next (mut i32) (i32.const 1024)) (global $open (mut i32) (i32.const 0))
        (func (export "free") (param i32) (global.set $open (i32.const 0)))"#;
    let text = shout(r#"(post-return (core func $i "free"))"#, "1").replace("(local $i i32)", opens);
    let flattened = flattened(&text.replace("(global $next (mut i32) (i32.const 1024))", closes));
    let mut run = start_with(&flattened, transcode).unwrap();
    for _ in 0..2 {
        assert_eq!(run.call("speak", &[]), [8]);
    }
}

#[test]
fn may_leave_is_an_exported_flag() {
    let flattened = flattened(&shout("", "1"));
    let mut run = start_with(&flattened, transcode).unwrap();
    let flags: Vec<String> = flattened.plan.instances.iter().filter_map(|i| i.may_leave.clone()).collect();
    assert!(!flags.is_empty());
    for flag in flags {
        assert_eq!(run.global(&flag), 1);
    }
    run.call("speak", &[]);
    assert!(run.log().iter().all(|call| call.starts_with("wharf:component/intrinsics#")), "{:?}", run.log());
}

#[test]
fn an_engine_without_several_memories_is_told() {
    let options = FlattenOptions { multi_memory: false, ..FlattenOptions::default() };
    assert_eq!(refused(&shout("", "1"), &options), FlattenError::NeedsMultiMemory { memories: 2 });
}

#[test]
fn resources_cross_from_component_to_component() {
    let flattened = flattened(
        r#"
(component
  (component $maker
    (type $r (resource (rep i32)))
    (core func $new (canon resource.new $r))
    (core module $m
      (import "" "new" (func $new (param i32) (result i32)))
      (func (export "make") (result i32) i32.const 55 call $new)
      (func (export "read") (param i32) (result i32) local.get 0))
    (core instance $i (instantiate $m (with "" (instance (export "new" (func $new))))))
    (export $out "thing" (type $r))
    (func (export "make") (result (own $out)) (canon lift (core func $i "make")))
    (func (export "read") (param "t" (borrow $out)) (result u32) (canon lift (core func $i "read"))))
  (component $user
    (import "maker" (instance $maker
      (export "thing" (type $thing (sub resource)))
      (export "make" (func (result (own $thing))))
      (export "read" (func (param "t" (borrow $thing)) (result u32)))))
    (alias export $maker "thing" (type $thing))
    (core func $make (canon lower (func $maker "make")))
    (core func $read (canon lower (func $maker "read")))
    (core func $drop (canon resource.drop $thing))
    (core module $m
      (import "" "make" (func $make (result i32)))
      (import "" "read" (func $read (param i32) (result i32)))
      (import "" "drop" (func $drop (param i32)))
      (func (export "use") (result i32)
        (local $t i32)
        (local.set $t (call $make))
        (call $read (local.get $t))
        (call $drop (local.get $t))))
    (core instance $i (instantiate $m (with "" (instance
      (export "make" (func $make)) (export "read" (func $read)) (export "drop" (func $drop))))))
    (func (export "use") (result u32) (canon lift (core func $i "use"))))
  (instance $maker (instantiate $maker))
  (instance $user (instantiate $user (with "maker" (instance $maker))))
  (export "use" (func $user "use")))
"#,
    );
    let plan = &flattened.plan;
    assert!(matches!(plan.resources.as_slice(), [Resource::Defined { .. }]));
    // Every handle is the representation here, which shows that the right tables are named.
    let mut run = start_with(&flattened, |_, _, params| params.first().map(number).into_iter().collect()).unwrap();
    assert_eq!(run.call("use", &[]), [55]);
    let position = |wanted: fn(&ImportKind) -> bool| plan.imports.iter().any(|import| wanted(&import.kind));
    assert!(position(|kind| matches!(kind, ImportKind::Intrinsic { name: Intrinsic::TransferOwn })));
    assert!(position(|kind| matches!(kind, ImportKind::Intrinsic { name: Intrinsic::TransferBorrow })));
    let transfer = run.log().iter().find(|call| call.contains("transfer-own")).unwrap();
    let tables: Vec<usize> =
        transfer.split(['(', ')']).nth(1).unwrap().split(',').skip(1).map(|n| n.parse().unwrap()).collect();
    let [from, to] = tables[..] else { panic!("{transfer}") };
    assert_ne!(plan.handle_tables[from].instance, plan.handle_tables[to].instance);
    assert_eq!(plan.handle_tables[from].resource, Some(0));
    assert_eq!(plan.handle_tables[to].resource, Some(0));
}

#[test]
fn the_same_import_in_two_instances_has_two_names() {
    let flattened = flattened(
        r#"
(component
  (import "h:h/clock@0.2.0" (instance $clock (export "now" (func (result u64)))))
  (component $user
    (import "now" (func $now (result u64)))
    (core func $now (canon lower (func $now)))
    (core module $m (import "" "now" (func $now (result i64))) (func (export "f") (result i64) call $now))
    (core instance $i (instantiate $m (with "" (instance (export "now" (func $now))))))
    (func (export "f") (result u64) (canon lift (core func $i "f"))))
  (instance $a (instantiate $user (with "now" (func $clock "now"))))
  (instance $b (instantiate $user (with "now" (func $clock "now"))))
  (export "a" (func $a "f"))
  (export "b" (func $b "f")))
"#,
    );
    let names: Vec<&str> = flattened.plan.imports.iter().map(|import| import.name.as_str()).collect();
    let [first, second] = names[..] else { panic!("{names:?}") };
    assert_eq!(first, "now");
    assert!(second.starts_with("now;instance="), "{second}");
}

/// As deep as value types may be: what follows them by recursion has the stack for it.
#[test]
fn deep_types_cross_between_components() {
    let mut types = "(type $t0 u8)".to_owned();
    for level in 1..96 {
        types.push_str(&format!("(type $t{level} (option $t{}))", level - 1));
    }
    let libc = "(core module $libc (memory (export \"m\") 1)
        (func (export \"realloc\") (param i32 i32 i32 i32) (result i32) i32.const 64)
        (func (export \"f\") (param i32)))
        (core instance $libc (instantiate $libc))";
    let options = "(memory (core memory $libc \"m\")) (realloc (core func $libc \"realloc\"))";
    flattened(&format!(
        "(component
          (component $a {types} {libc}
            (func (export \"f\") (param \"x\" $t95) (canon lift (core func $libc \"f\") {options})))
          (component $b {types} {libc}
            (import \"f\" (func $f (param \"x\" $t95)))
            (core func $f (canon lower (func $f) {options}))
            (core module $m (import \"\" \"f\" (func $f (param i32))))
            (core instance (instantiate $m (with \"\" (instance (export \"f\" (func $f)))))))
          (instance $a (instantiate $a))
          (instance (instantiate $b (with \"f\" (func $a \"f\")))))"
    ));
}
