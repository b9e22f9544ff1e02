//! The plan: what is read of it, and what does not fit its module.

use super::*;

#[track_caller]
fn refused(plan: &str, text: &str) {
    match read(plan) {
        Err(error) => {
            assert_eq!(error.kind(), Kind::Guest);
            assert!(error.to_string().contains(text), "{error}");
        }
        Ok(_) => panic!("{plan} was read"),
    }
}

/// The plan with one thing in place of another.
fn with(old: &str, new: &str) -> String {
    assert!(PLAN.contains(old), "{old}");
    PLAN.replacen(old, new, 1)
}

#[test]
fn who_is_who() {
    let plan = read(PLAN).unwrap().unwrap();
    assert_eq!([0, 1, 2, 3, 4].map(|import| plan.caller(import)), [None, Some(1), Some(1), Some(1), None]);
    assert_eq!(plan.handler(), 1);
    assert_eq!(["run", "handle", "none"].map(|export| plan.exporter(export)), [Some(0), Some(1), None]);
    assert_eq!([0, 1, 2].map(|instance| plan.may_leave(instance)), [Some("leave_0"), Some("leave_1"), None]);
    assert_eq!([0, 1, 6, 7].map(|table| plan.instance_of(table)), [Some(0), Some(1), Some(0), None]);
    let no_handler = read(&with("wasi:http/incoming-handler@", "wasi:http/incoming-handlers@")).unwrap().unwrap();
    assert_eq!(no_handler.handler(), 0);
}

#[test]
fn only_a_composed_module_has_one() {
    let others: Vec<_> = imports().into_iter().map(|import| Import { module: "env".to_owned(), ..import }).collect();
    let empty = wat::parse_str("(module)").unwrap();
    assert!(Composed::read(&empty, &others, &exports()).unwrap().is_none());
    assert_eq!(Composed::read(&empty, &imports(), &exports()).unwrap_err().kind(), Kind::Guest);
}

#[test]
fn there_are_only_so_many_instances() {
    let instances = |count| with(r#"{"may_leave": "leave_0"}"#, &vec![r#"{"may_leave": null}"#; count].join(","));
    assert!(read(&instances(9_999)).is_ok());
    refused(&instances(10_000), "more component instances than are allowed");
}

#[test]
fn a_destructor_takes_a_representation_and_returns_nothing() {
    for ty in [
        ExportType::Function(FuncType { params: vec![], results: vec![] }),
        ExportType::Function(FuncType { params: vec![ValType::I32], results: vec![ValType::I32] }),
        ExportType::UncallableFunction,
    ] {
        let exports = [Export { name: "drop_1".to_owned(), ty }];
        let error = Composed::read(&module(PLAN), &imports(), &exports).unwrap_err();
        assert!(error.to_string().contains("a destructor of another type"), "{error}");
    }
}
