//! A command built for WASI preview 1, made a component by `wit-component` with the adapter that toolchains use.

use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER,
};
use wharf_component::{FlattenOptions, Flattened, flatten};
use wit_component::ComponentEncoder;

use crate::run::{number, start_with};

/// Writes "hello" to standard output.
const HELLO: &str = r#"
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\10\00\00\00\05\00\00\00")
  (data (i32.const 16) "hello")
  (func (export "_start")
    (if (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 32)) (then unreachable))))
"#;

fn hello() -> Flattened {
    let module = wat::parse_str(HELLO).unwrap();
    let component = ComponentEncoder::default()
        .module(&module)
        .unwrap()
        .validate(true)
        .adapter(WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER)
        .unwrap()
        .encode()
        .unwrap();
    flatten(&component, &FlattenOptions::default()).unwrap()
}

#[test]
fn the_adapter_of_preview_1_flattens_without_its_shims() {
    let plan = hello().plan;
    assert_eq!((plan.memory_count, plan.tables), (1, 0), "the shims' table is gone");
    let names: Vec<_> = plan.imports.iter().map(|import| (import.module.as_str(), import.name.as_str())).collect();
    let write = "[method]output-stream.blocking-write-and-flush";
    assert!(
        names.iter().any(|(module, name)| module.starts_with("wasi:io/streams@0.2.") && *name == write),
        "{names:?}"
    );
    assert!(names.iter().any(|(_, name)| *name == "[resource-drop]output-stream"), "{names:?}");
    assert!(names.iter().all(|(_, name)| !name.contains(';')), "every option is the default one: {names:?}");
    assert!(
        plan.exports.iter().any(|export| export.name.starts_with("wasi:cli/run@0.2.") && export.name.ends_with("#run"))
    );
}

#[test]
fn a_command_runs_to_its_end() {
    let flattened = hello();
    let run = flattened.plan.exports[0].name.clone();
    // A host of the least kind: streams are handle 5, writing succeeds.
    let mut running = start_with(&flattened, |caller, name, params| {
        let memory = caller.get_export("memory").unwrap().into_memory().unwrap();
        let param = |index: usize| number(&params[index]) as usize;
        if name.ends_with("#get-stdout") {
            return vec![5];
        }
        if name.contains("write") && name.contains("output-stream") {
            assert_eq!(param(0), 5);
            assert_eq!(&memory.data(&*caller)[param(1)..param(1) + param(2)], b"hello");
            memory.write(caller, param(3), &[0; 4]).unwrap();
        } else if name.ends_with("output-stream.check-write") {
            let mut answer = [0; 16];
            answer[8..].copy_from_slice(&4096_u64.to_le_bytes());
            memory.write(caller, param(1), &answer).unwrap();
        }
        vec![]
    })
    .unwrap();
    assert_eq!(running.call(&run, &[]), [0], "the command succeeds");
    assert!(running.log().iter().any(|call| call.contains("write")), "{:?}", running.log());
}
